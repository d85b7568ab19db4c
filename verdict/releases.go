package verdict

import (
	"cmp"
	"go/version"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
)

// A Divergence is a scenario, config and project that end differently with different Go releases.
type Divergence struct {
	Scenario, Config, Project string

	Ends []ReleaseEnd // oldest release first
}

// A ReleaseEnd is how the cells of one Go release ended.
type ReleaseEnd struct {
	Go    string
	Ends  []string // such as "ok", or "error" and the class; sorted, one each
	Cells []record.Key
}

// Divergences finds what Go releases do differently, in the order of the cells. Where repetitions disagree,
// releases differ if none of one ended as any of the other.
func Divergences(cells []record.Cell) []Divergence {
	if !slices.ContainsFunc(cells, func(c record.Cell) bool { return c.Go != cells[0].Go }) {
		return nil // of one release, however many cells there are
	}
	type place struct{ scenario, config, project string }
	var places []place
	at := map[place][]ReleaseEnd{}
	for i := range cells {
		c := &cells[i]
		if c.Outcome == record.HarnessError || c.Outcome == record.Skipped {
			continue
		}
		p := place{c.Scenario, c.Config, c.Project}
		if at[p] == nil {
			places = append(places, p)
		}
		at[p] = addEnd(at[p], c)
	}
	var all []Divergence
	for _, p := range places {
		if diverge(at[p]) {
			slices.SortFunc(at[p], func(a, b ReleaseEnd) int { return version.Compare(a.Go, b.Go) })
			all = append(all, Divergence{p.scenario, p.config, p.project, at[p]})
		}
	}
	return all
}

// addEnd adds how a cell ended to the release that it is of.
func addEnd(releases []ReleaseEnd, c *record.Cell) []ReleaseEnd {
	i := slices.IndexFunc(releases, func(r ReleaseEnd) bool { return r.Go == c.Go })
	if i < 0 {
		i = len(releases)
		releases = append(releases, ReleaseEnd{Go: c.Go})
	}
	r := &releases[i]
	r.Cells = append(r.Cells, c.Key)
	end := strings.TrimSpace(string(c.Outcome) + " " + c.Class)
	if at, known := slices.BinarySearch(r.Ends, end); !known {
		r.Ends = slices.Insert(r.Ends, at, end)
	}
	return releases
}

// diverge reports whether some two releases have no end in common.
func diverge(releases []ReleaseEnd) bool {
	for i, a := range releases {
		for _, b := range releases[i+1:] {
			if !slices.ContainsFunc(a.Ends, func(end string) bool { return slices.Contains(b.Ends, end) }) {
				return true
			}
		}
	}
	return false
}

// String says which releases ended how: those that ended alike are named together.
func (d *Divergence) String() string {
	var texts []string
	for i, r := range d.Ends {
		if slices.ContainsFunc(d.Ends[:i], r.same) {
			continue
		}
		var names []string
		for _, other := range d.Ends[i:] {
			if r.same(other) {
				names = append(names, cmp.Or(other.Go, "unknown release"))
			}
		}
		texts = append(texts, strings.Join(names, ", ")+": "+strings.Join(r.Ends, " or "))
	}
	return strings.Join(texts, "; ")
}

func (r ReleaseEnd) same(other ReleaseEnd) bool { return slices.Equal(r.Ends, other.Ends) }
