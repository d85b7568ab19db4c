package verdict

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
)

// CompareRules say when a change of time counts. The zero value means the defaults.
type CompareRules struct {
	Alpha float64 // chance that two runs of which nothing differs show any change of time; 0 means 0.05
	Least float64 // the smallest change of time that counts, as a share of the old time; 0 means 0.25
}

// A Comparison is what changed from an old run to a new one. Only what both runs have is compared:
// scenarios whose worlds and faults are the same, projects with the same modules, and configs by name,
// whatever their settings, because a change of settings is something to compare.
type Comparison struct {
	Rules       CompareRules // as they were applied
	Differences []Difference // between the runs as wholes: who reads the changes should know of them
	Omitted     []Omission   // what is not compared, and why
	Compared    int          // pairs of cells that were compared, all repetitions of a cell as one

	Outcomes []Change     // what changed in how cells end and in what they give away; regressions first
	Flaky    []Change     // cells whose repetitions disagree in a run, and not in the same way in both
	Times    []TimeChange // where time changed by more than chance; the slower first

	Tests     int     // times that were tested, of configs and of cells
	Contended int     // cells whose times are left out, as they ran while they had to wait for the machine
	Untested  int     // times with too few repetitions for any difference to be told from chance
	Overall   float64 // new time by old time, the median over all cells that ended alike; 0: there is none
	Machine   float64 // time that the machine takes to set up a cell, new by old; 0: not known
}

// A Difference is something in which two runs differ as wholes.
type Difference struct{ What, Old, New string }

// An Omission is what is left out of a comparison for one reason. Names is never empty.
type Omission struct {
	Reason string
	Names  []string
}

// A ChangeKind says what sort of change there was.
type ChangeKind string

// The kinds. The first three are regressions.
const (
	NewFailure   ChangeKind = "new failure"     // ok before, in every repetition, and no longer in any
	NewLeak      ChangeKind = "new leak"        // a host outside saw private modules that did not before
	LessVerified ChangeKind = "less verified"   // what is downloaded is checked less, or a false module got in
	OtherFailure ChangeKind = "other failure"   // failed before and now, in another way
	Mended       ChangeKind = "mended"          // failed before, and is ok in every repetition now
	LeakMended   ChangeKind = "leak mended"     // fewer hosts outside see private modules
	MoreVerified ChangeKind = "better verified" // what is downloaded is checked better
	Flaky        ChangeKind = "flaky"           // the repetitions of a run disagree
)

// Regression reports whether a change is for the worse.
func (k ChangeKind) Regression() bool { return k == NewFailure || k == NewLeak || k == LessVerified }

// A Change is one change of one cell. Cell.Rep is 0; Cell.Go is empty if the runs are of two Go releases.
type Change struct {
	Kind     ChangeKind
	Cell     record.Key
	Old, New string // such as "ok", "error tcp-connect-timeout", "2/3 ok"
}

// Regressions returns how many changes are for the worse: of outcomes, of leaks, and of times.
func (c *Comparison) Regressions() int {
	n := 0
	for _, change := range c.Outcomes {
		if change.Kind.Regression() {
			n++
		}
	}
	for _, change := range c.Times {
		if change.Ratio > 1 {
			n++
		}
	}
	return n
}

// A pair is all repetitions of a cell in two runs: at least one in each, and all of them ran.
type pair struct {
	key      record.Key
	old, new []*record.Cell
}

// Compare says what changed from one run to another. All cells must have been judged.
func Compare(old, new *record.Results, rules CompareRules) *Comparison {
	rules.Alpha, rules.Least = cmp.Or(rules.Alpha, 0.05), cmp.Or(rules.Least, 0.25)
	c := &Comparison{Rules: rules, Differences: differences(old, new)}
	pairs := c.match(old, new)
	c.Compared = len(pairs)
	for i := range pairs {
		c.compareOutcomes(&pairs[i])
	}
	slices.SortStableFunc(c.Outcomes, func(a, b Change) int { return cmp.Compare(severity(a.Kind), severity(b.Kind)) })
	c.compareTimes(pairs)
	return c
}

// severity orders the kinds, the worst first.
func severity(k ChangeKind) int {
	return slices.Index([]ChangeKind{NewFailure, NewLeak, LessVerified, OtherFailure, Mended, LeakMended, MoreVerified}, k)
}

// match finds the cells that both runs have, in the order of the new run, and notes what is left out.
func (c *Comparison) match(old, new *record.Results) []pair {
	same := c.sameInBoth(&old.Run, &new.Run)
	across := acrossReleases(old, new)
	before, after := byKey(old, same, across), byKey(new, same, across)
	var pairs []pair
	for _, key := range sortedKeys(&new.Run, after) {
		if cells, ok := before[key]; ok {
			pairs = append(pairs, pair{key: key, old: cells, new: after[key]})
		}
	}
	c.leaveOut("they ran in the old run only", sortedKeys(&old.Run, without(before, after)))
	c.leaveOut("they ran in the new run only", sortedKeys(&new.Run, without(after, before)))
	return pairs
}

func without(keys, others map[record.Key][]*record.Cell) map[record.Key][]*record.Cell {
	keys = maps.Clone(keys)
	maps.DeleteFunc(keys, func(k record.Key, _ []*record.Cell) bool { return others[k] != nil })
	return keys
}

// leaveOut notes cells that are not compared, which nothing that was noted before explains.
func (c *Comparison) leaveOut(reason string, keys []record.Key) {
	if len(keys) == 0 {
		return
	}
	var names []string
	for _, k := range keys {
		names = append(names, k.Scenario+" × "+k.Config)
	}
	c.Omitted = append(c.Omitted, Omission{"cells: " + reason, names})
}

// byKey returns the cells of a run that ran, by what they share with their repetitions.
func byKey(r *record.Results, same func(record.Key) bool, across bool) map[record.Key][]*record.Cell {
	found := map[record.Key][]*record.Cell{}
	for i := range r.Cells {
		cell := &r.Cells[i]
		key := cell.Key
		key.Rep = 0
		if across {
			key.Go = ""
		}
		if same(key) && cell.Outcome != record.Skipped && cell.Outcome != record.HarnessError {
			found[key] = append(found[key], cell)
		}
	}
	return found
}

// acrossReleases reports whether each run is of one Go release, and not of the same one.
func acrossReleases(old, new *record.Results) bool {
	a, b := releases(old), releases(new)
	return len(a) == 1 && len(b) == 1 && a[0] != b[0]
}

// releases returns the Go releases of a run, sorted.
func releases(r *record.Results) []string {
	var list []string
	for i := range r.Cells {
		list = append(list, r.Cells[i].Go)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// sameInBoth returns what tells whether a cell's scenario, config and project are the same in both runs,
// and notes those that are not.
func (c *Comparison) sameInBoth(old, new *record.Run) func(record.Key) bool {
	scenarios := common(c, "scenarios", old.Scenarios, new.Scenarios,
		func(s record.Scenario) string { return s.Name },
		func(a, b record.Scenario) bool {
			return a.Digest == b.Digest && a.World == b.World && slices.Equal(a.Faults, b.Faults)
		})
	configs := common(c, "configs", old.Configs, new.Configs,
		func(s record.Config) string { return s.Name },
		func(a, b record.Config) bool { return true })
	projects := common(c, "projects", old.Projects, new.Projects,
		func(p record.Project) string { return p.Name },
		func(a, b record.Project) bool { return a.Digest == b.Digest && slices.Equal(a.Run, b.Run) })
	return func(k record.Key) bool { return scenarios[k.Scenario] && configs[k.Config] && projects[k.Project] }
}

// common returns the names of what two runs both have and have alike, and notes what else there is.
func common[T any](c *Comparison, what string, old, new []T, name func(T) string, same func(a, b T) bool) map[string]bool {
	both := map[string]bool{}
	var gone, added, changed []string
	for _, o := range old {
		at := slices.IndexFunc(new, func(n T) bool { return name(n) == name(o) })
		switch {
		case at < 0:
			gone = append(gone, name(o))
		case !same(o, new[at]):
			changed = append(changed, name(o))
		default:
			both[name(o)] = true
		}
	}
	for _, n := range new {
		if !slices.ContainsFunc(old, func(o T) bool { return name(n) == name(o) }) {
			added = append(added, name(n))
		}
	}
	for _, l := range []Omission{
		{what + ": they are in the old run only", gone},
		{what + ": they are in the new run only", added},
		{what + ": they are not the same in both runs", changed},
	} {
		if len(l.Names) > 0 {
			c.Omitted = append(c.Omitted, l)
		}
	}
	return both
}

// sortedKeys returns keys as their run lists their parts.
func sortedKeys(run *record.Run, cells map[record.Key][]*record.Cell) []record.Key {
	place := map[string]int{}
	for i, s := range run.Scenarios {
		place["s "+s.Name] = i
	}
	for i, s := range run.Configs {
		place["c "+s.Name] = i
	}
	for i, s := range run.Projects {
		place["p "+s.Name] = i
	}
	return slices.SortedFunc(maps.Keys(cells), func(a, b record.Key) int {
		return cmp.Or(
			cmp.Compare(place["s "+a.Scenario], place["s "+b.Scenario]),
			cmp.Compare(place["p "+a.Project], place["p "+b.Project]),
			strings.Compare(a.Go, b.Go),
			cmp.Compare(place["c "+a.Config], place["c "+b.Config]),
		)
	})
}

// differences returns in what two runs differ as wholes.
func differences(old, new *record.Results) []Difference {
	var list []Difference
	note := func(what string, a, b any) {
		if a, b := fmt.Sprint(a), fmt.Sprint(b); a != b {
			list = append(list, Difference{what, a, b})
		}
	}
	a, b := &old.Run, &new.Run
	note("Go release", strings.Join(releases(old), ", "), strings.Join(releases(new), ", "))
	note("simrun", a.Simrun, b.Simrun)
	note("seed", a.Seed, b.Seed)
	note("deadline of a cell in seconds", float64(a.Timeout), float64(b.Timeout))
	note("clock", a.Clock, b.Clock)
	note("isolation", a.Isolation, b.Isolation)
	note("system", a.Host.OS+"/"+a.Host.Arch, b.Host.OS+"/"+b.Host.Arch)
	note("kernel", a.Host.Kernel, b.Host.Kernel)
	note("CPUs", a.Host.CPUs, b.Host.CPUs)
	for _, o := range a.Configs {
		at := slices.IndexFunc(b.Configs, func(n record.Config) bool { return n.Name == o.Name })
		if at >= 0 {
			note("settings of "+o.Name, settings(o), settings(b.Configs[at]))
		}
	}
	return list
}

// settings writes a config with its environment variables as a shell has them.
func settings(c record.Config) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		words = append(words, name+"="+c.Env[name])
	}
	if c.Cache != "" {
		words = append(words, "cache: "+c.Cache)
	}
	if c.Retry != "" {
		words = append(words, "retry: "+c.Retry)
	}
	return strings.Join(words, " ")
}

// compareOutcomes notes how a cell ends differently, and what else it does differently if it ends alike.
func (c *Comparison) compareOutcomes(p *pair) {
	note := func(kind ChangeKind, old, new string) {
		c.Outcomes = append(c.Outcomes, Change{kind, p.key, old, new})
	}
	okOld, okNew := succeeded(p.old), succeeded(p.new)
	switch old, new := endings(p.old), endings(p.new); {
	case mixed(okOld, p.old) || mixed(okNew, p.new):
		if okOld*len(p.new) != okNew*len(p.old) {
			c.Flaky = append(c.Flaky, Change{Flaky, p.key, shareText(okOld, p.old), shareText(okNew, p.new)})
		}
		return
	case okOld > 0 && okNew == 0:
		note(NewFailure, "ok", strings.Join(new, ", "))
		return
	case okOld == 0 && okNew > 0:
		note(Mended, strings.Join(old, ", "), "ok")
		return
	case !overlap(old, new):
		note(OtherFailure, strings.Join(old, ", "), strings.Join(new, ", "))
	}
	if !hung(p.old) && !hung(p.new) { // else it depends on the moment of the deadline
		c.compareLeaks(p, note)
	}
	if okOld > 0 {
		c.compareIntegrity(p, note)
	}
}

func succeeded(cells []*record.Cell) int {
	n := 0
	for _, c := range cells {
		if c.Outcome == record.OK {
			n++
		}
	}
	return n
}

func hung(cells []*record.Cell) bool {
	return slices.ContainsFunc(cells, func(c *record.Cell) bool { return c.Outcome == record.Hang })
}

func mixed(ok int, cells []*record.Cell) bool { return ok > 0 && ok < len(cells) }

func shareText(ok int, cells []*record.Cell) string { return fmt.Sprintf("%d/%d ok", ok, len(cells)) }

// endings returns the ways in which the repetitions of a cell ended, sorted.
func endings(cells []*record.Cell) []string {
	var list []string
	for _, c := range cells {
		text := c.Class
		if !strings.HasPrefix(text, string(c.Outcome)) { // as hang-no-output does
			text = strings.TrimRight(string(c.Outcome)+" "+c.Class, " ")
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// compareLeaks looks at which hosts see private modules, in any of the repetitions.
func (c *Comparison) compareLeaks(p *pair, note func(kind ChangeKind, old, new string)) {
	old, new := listeners(p.old), listeners(p.new)
	covers := func(all, some []string) bool {
		return !slices.ContainsFunc(some, func(h string) bool { return !slices.Contains(all, h) })
	}
	switch {
	case !covers(old, new):
		note(NewLeak, toHosts(old), toHosts(new))
	case !covers(new, old):
		note(LeakMended, toHosts(old), toHosts(new))
	}
}

func listeners(cells []*record.Cell) []string {
	var list []string
	for _, c := range cells {
		for _, l := range c.Leaks {
			list = append(list, l.Host)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func toHosts(hosts []string) string {
	if len(hosts) == 0 {
		return "no leak"
	}
	return "leaks to " + strings.Join(hosts, ", ")
}

// compareIntegrity looks at the worst integrity among the repetitions.
func (c *Comparison) compareIntegrity(p *pair, note func(kind ChangeKind, old, new string)) {
	old, new := worstIntegrity(p.old), worstIntegrity(p.new)
	switch a, b := badness(old), badness(new); {
	case a < 0 || b < 0 || a == b:
	case a < b:
		note(LessVerified, string(old), string(new))
	default:
		note(MoreVerified, string(old), string(new))
	}
}

func worstIntegrity(cells []*record.Cell) record.Integrity {
	var worst record.Integrity
	for _, c := range cells {
		if badness(c.Integrity) > badness(worst) {
			worst = c.Integrity
		}
	}
	return worst
}

// badness orders integrities. It is negative where nothing was downloaded, so that nothing can be said.
func badness(i record.Integrity) int {
	switch i {
	case record.Verified, record.TamperedRejected:
		return 0
	case record.Unverified:
		return 1
	case record.TamperedAccepted:
		return 2
	}
	return -1
}
