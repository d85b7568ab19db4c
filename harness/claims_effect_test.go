//go:build linux

package harness

import (
	"fmt"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// An effect is what a cell shows, or does not. What is left out may be anything.
type effect struct {
	Outcome   record.Outcome
	Class     string            // glob
	Integrity *record.Integrity // empty: nothing was downloaded
	Seconds   *[]float64        // least and most
	Leaks     *[]string         // hosts outside that saw the path of a private module: these and no others
	Hosts     *[]string         // hosts that were sent anything, name servers apart: these and no others, in any order
	Reaches   []string          // hosts that were sent something
	Avoids    []string          // hosts that were not
	Direct    []string          // hosts that the client connected to itself, and no forward proxy did
	Through   []string          // hosts that a forward proxy connected to, and the client did not
	Says      []string          // globs: each is in the output
	Silent    []string          // globs: none is in the output
	Requests  []string          // globs for the paths of requests: there is one for each
	Modules   []string          // globs for path@version: there is one for each in the module cache
	LikeCell  string            `yaml:"like"` // key of another cell, with the same outcome, class, leaks and hosts
	Times     *ratio            // how long it takes, by another cell's time
	Share     map[string][]float64
}

// A ratio is the least and the most of the seconds of a cell, by those of another.
type ratio struct {
	Of    string // key of the other cell
	Range []float64
}

// missing returns what of the effect a cell does not show.
func (e *effect) missing(c *record.Cell, cells map[string]*record.Cell) []string {
	if c == nil {
		return []string{"it was not run"}
	}
	var all []string
	want := func(ok bool, format string, args ...any) {
		if !ok {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	want(e.Outcome == "" || e.Outcome == c.Outcome, "the outcome is %s", c.Outcome)
	want(e.Class == "" || scenarios.Glob(e.Class, c.Class), "the class is %s", c.Class)
	want(e.Integrity == nil || *e.Integrity == c.Integrity, "integrity is %q", c.Integrity)
	want(e.Seconds == nil || within(float64(c.Seconds), *e.Seconds), "it took %.1f s", c.Seconds)
	want(e.Leaks == nil || sameSet(*e.Leaks, leaked(c)), "leaks to %v", leaked(c))
	want(e.Hosts == nil || sameSet(*e.Hosts, withoutNameservers(c.Hosts)), "hosts are %v", withoutNameservers(c.Hosts))
	e.ways(c, want)
	e.words(c, want)
	e.comparisons(c, cells, want)
	return all
}

// ways looks at where connections and requests went.
func (e *effect) ways(c *record.Cell, want func(bool, string, ...any)) {
	for _, h := range e.Reaches {
		want(slices.Contains(c.Hosts, h), "nothing went to %s", h)
	}
	for _, h := range e.Avoids {
		want(!slices.Contains(c.Hosts, h), "something went to %s", h)
	}
	connects := func(host string, itself bool) bool {
		return slices.ContainsFunc(c.Conns, func(conn record.Conn) bool { return conn.Host == host && (conn.From == "") == itself })
	}
	for _, h := range e.Direct {
		want(connects(h, true) && !connects(h, false), "a forward proxy connected to %s, or nobody", h)
	}
	for _, h := range e.Through {
		want(connects(h, false) && !connects(h, true), "the client connected to %s itself, or nobody", h)
	}
	for _, glob := range e.Modules {
		is := func(m record.Module) bool { return scenarios.Glob(glob, m.Path+"@"+m.Version) }
		want(slices.ContainsFunc(c.Modules, is), "no module %s was fetched", glob)
	}
	for _, glob := range e.Requests {
		want(slices.ContainsFunc(c.Requests, func(r record.Request) bool { return scenarios.Glob(glob, r.Path) }), "no request for %s", glob)
	}
}

// words looks at the output of the command.
func (e *effect) words(c *record.Cell, want func(bool, string, ...any)) {
	for _, glob := range e.Says {
		want(scenarios.Glob("*"+glob+"*", c.Stderr), "it does not say %q", glob)
	}
	for _, glob := range e.Silent {
		want(!scenarios.Glob("*"+glob+"*", c.Stderr), "it says %q", glob)
	}
}

// comparisons looks at other cells, and at where the time went.
func (e *effect) comparisons(c *record.Cell, cells map[string]*record.Cell, want func(bool, string, ...any)) {
	if other := cells[e.LikeCell]; e.LikeCell != "" {
		want(other != nil, "there is no cell %s", e.LikeCell)
		want(other == nil || c.Outcome == other.Outcome && c.Class == other.Class && sameSet(leaked(c), leaked(other)) &&
			sameSet(withoutNameservers(c.Hosts), withoutNameservers(other.Hosts)), "it is not like %s", e.LikeCell)
	}
	if e.Times != nil {
		other := cells[e.Times.Of]
		want(other != nil, "there is no cell %s", e.Times.Of)
		if other != nil {
			r := float64(c.Seconds) / float64(other.Seconds)
			want(within(r, e.Times.Range), "it took %.1f times as long as %s", r, e.Times.Of)
		}
	}
	for part, r := range e.Share {
		s := float64(partOf(c.Attribution, part)) / float64(c.Attribution.Total())
		want(within(s, r), "the share of %s is %.0f %%", part, 100*s)
	}
}

// partOf returns the part of an attribution that has a name in the results file.
func partOf(a record.Attribution, name string) record.Seconds {
	return map[string]record.Seconds{"dns": a.DNS, "connect": a.Connect, "tls": a.TLS, "wait": a.Wait, "transfer": a.Transfer, "local": a.Local}[name]
}

func within(x float64, r []float64) bool { return x >= r[0] && x <= r[1] }

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return strings.Join(slices.Compact(a), " ") == strings.Join(slices.Compact(b), " ")
}
