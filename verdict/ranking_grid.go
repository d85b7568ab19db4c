package verdict

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// A grid is the cells of a run by situation and config, with repetitions folded.
type grid struct {
	rules      Rules
	configs    []string // that are ranked
	all        []Situation
	counted    []Situation
	leftOut    []LeftOut
	unranked   []Unranked
	noBaseline []string
	worlds     map[string]string // by scenario
	folds      map[place]*folded
}

// A place is one entry of the grid.
type place struct{ scenario, project, goRelease, config string }

func placeOf(k record.Key) place { return place{k.Scenario, k.Project, k.Go, k.Config} }

func (s Situation) at(config string) place { return place{s.Scenario, s.Project, s.Go, config} }

// folded is the repetitions of a cell in one.
type folded struct {
	first   record.Key     // the first repetition that ran
	worked  bool           // every repetition did
	met     bool           // the fault bit in one
	failed  bool           // simrun did, or the cell was skipped, in some repetition
	seconds record.Seconds // median of those that ran, if possible without contention

	notOK, hang, leak, tampered, unverified *record.Key // the first that shows it; nil: none
}

func newGrid(run *record.Run, cells []record.Cell, rules Rules) *grid {
	g := &grid{rules: rules, worlds: map[string]string{}, folds: foldAll(cells)}
	for _, s := range run.Scenarios {
		g.worlds[s.Name] = s.World
	}
	g.all = situations(run, cells, rules)
	g.chooseConfigs(run)
	g.chooseSituations()
	g.findWorldsWithoutBaseline()
	return g
}

// situations returns those of the cells, by scenario in the order of the run.
func situations(run *record.Run, cells []record.Cell, rules Rules) []Situation {
	var list []Situation
	seen := make(map[place]bool)
	for _, s := range run.Scenarios {
		situation := Situation{Scenario: s.Name, Weight: rules.weight(s), Healthy: len(s.Faults) == 0}
		for i := range cells {
			k := &cells[i].Key
			situation.Project, situation.Go = k.Project, k.Go
			if at := situation.at(""); k.Scenario == s.Name && !seen[at] {
				seen[at] = true
				list = append(list, situation)
			}
		}
	}
	return list
}

// weight returns what a scenario counts.
func (r Rules) weight(s record.Scenario) float64 {
	weight := cmp.Or(s.Weight, 1)
	for _, w := range r.Weights {
		if scenarios.Glob(w.Scenarios, s.Name) {
			weight = w.Weight
		}
	}
	return weight
}

// foldAll folds the repetitions of each cell.
func foldAll(cells []record.Cell) map[place]*folded {
	groups := make(map[place][]*record.Cell)
	for i := range cells {
		at := placeOf(cells[i].Key)
		groups[at] = append(groups[at], &cells[i])
	}
	folds := make(map[place]*folded, len(groups))
	for at, group := range groups {
		slices.SortFunc(group, func(a, b *record.Cell) int { return cmp.Compare(a.Rep, b.Rep) })
		folds[at] = fold(group)
	}
	return folds
}

// fold makes one of the repetitions of a cell, which are sorted.
func fold(cells []*record.Cell) *folded {
	f := &folded{first: cells[0].Key, worked: true}
	var ran []*record.Cell
	for _, c := range cells {
		if c.Outcome == record.Skipped || c.Outcome == record.HarnessError {
			f.failed = true
			continue
		}
		ran = append(ran, c)
		f.add(c)
	}
	if len(ran) == 0 {
		f.worked = false
		return f
	}
	f.seconds = record.Seconds(medianOf(calm(ran), func(c *record.Cell) float64 { return float64(c.Seconds) }))
	return f
}

// add takes in one repetition that ran.
func (f *folded) add(c *record.Cell) {
	note := func(first **record.Key, shows bool) {
		if shows && *first == nil {
			*first = &c.Key
		}
	}
	ok := c.Outcome == record.OK
	f.worked = f.worked && ok
	f.met = f.met || c.Exercised()
	note(&f.notOK, !ok)
	note(&f.hang, c.Outcome == record.Hang)
	note(&f.leak, len(c.Leaks) > 0)
	note(&f.tampered, c.Integrity == record.TamperedAccepted)
	note(&f.unverified, ok && c.Integrity == record.Unverified)
}

// verdict returns what is known of a config in a situation, or nil if that is not whole.
func (g *grid) verdict(s Situation, config string) *folded {
	f := g.folds[s.at(config)]
	if f == nil || f.failed {
		return nil
	}
	return f
}

// chooseConfigs ranks the configs that have a verdict in at least half of the situations: of the others too
// little is known, and what they lack nobody could be compared by.
func (g *grid) chooseConfigs(run *record.Run) {
	for _, c := range run.Configs {
		known := 0
		for _, s := range g.all {
			if g.verdict(s, c.Name) != nil {
				known++
			}
		}
		if known == 0 || 2*known < len(g.all) {
			why := fmt.Sprintf("it has a verdict in %d of %d situations", known, len(g.all))
			g.unranked = append(g.unranked, Unranked{c.Name, why})
			continue
		}
		g.configs = append(g.configs, c.Name)
	}
}

// chooseSituations keeps those that say something about every ranked config.
func (g *grid) chooseSituations() {
	for _, s := range g.all {
		if why := g.uncounted(s); why != "" {
			g.leftOut = append(g.leftOut, LeftOut{s, why})
			continue
		}
		g.counted = append(g.counted, s)
	}
}

// uncounted says why a situation does not count, or nothing.
func (g *grid) uncounted(s Situation) string {
	if s.Weight <= 0 {
		return "its weight is 0"
	}
	met := false
	for _, config := range g.configs {
		f := g.verdict(s, config)
		if f == nil {
			return fmt.Sprintf("%s has no verdict there", config)
		}
		met = met || f.met
	}
	if !met {
		return "no config met its fault"
	}
	return ""
}

// findWorldsWithoutBaseline finds the worlds in which some config has no healthy cell.
func (g *grid) findWorldsWithoutBaseline() {
	for _, s := range g.counted {
		world := g.worlds[s.Scenario]
		if slices.Contains(g.noBaseline, world) {
			continue
		}
		for _, config := range g.configs {
			if _, ok := g.baseline(s, config); !ok {
				g.noBaseline = append(g.noBaseline, world)
				break
			}
		}
	}
}

// baseline returns what a config takes in a healthy situation with the same world, project and Go release:
// the least, if there are several.
func (g *grid) baseline(s Situation, config string) (least record.Seconds, ok bool) {
	for _, h := range g.all {
		if !h.Healthy || h.Project != s.Project || h.Go != s.Go || g.worlds[h.Scenario] != g.worlds[s.Scenario] {
			continue
		}
		if f := g.verdict(h, config); f != nil && (!ok || f.seconds < least) {
			least, ok = f.seconds, true
		}
	}
	return least, ok
}

// standing sums up how a config did.
func (g *grid) standing(config string) Standing {
	st := Standing{Config: config}
	g.measure(&st)
	for _, s := range g.all {
		f := g.folds[s.at(config)]
		if f == nil {
			continue
		}
		collect(&st.Hangs, f.hang)
		collect(&st.Leaks, f.leak)
		collect(&st.Tampered, f.tampered)
		collect(&st.Unverified, f.unverified)
		if s.Healthy {
			collect(&st.Sick, f.notOK)
		}
	}
	for _, r := range g.rules.Require {
		if r == NoLeaks && len(st.Leaks) > 0 || r == EveryVerified && len(st.Unverified)+len(st.Tampered) > 0 {
			st.Lacks = append(st.Lacks, r)
		}
	}
	return st
}

func collect(keys *[]record.Key, key *record.Key) {
	if key != nil {
		*keys = append(*keys, *key)
	}
}

// measure fills in what is weighed: shares and means over the situations that count.
func (g *grid) measure(st *Standing) {
	var survived, avoided, added, normal mean
	for _, s := range g.counted {
		f := g.verdict(s, st.Config)
		survived.add(s.Weight, oneIf(f.worked))
		avoided.add(s.Weight, oneIf(f.worked && !f.met))
		collect(&st.Failed, f.notOK)
		if s.Healthy {
			normal.add(s.Weight, float64(f.seconds))
			continue
		}
		added.add(s.Weight, float64(g.addedTime(s, f)))
	}
	st.Survival, st.Avoided = survived.value(), avoided.value()
	st.Added, st.Normal = record.Seconds(added.value()), record.Seconds(normal.value())
}

// addedTime is what a fault cost a config in a situation. It is below 0 where the config fails at once.
func (g *grid) addedTime(s Situation, f *folded) record.Seconds {
	if slices.Contains(g.noBaseline, g.worlds[s.Scenario]) {
		return f.seconds
	}
	least, _ := g.baseline(s, f.first.Config)
	return f.seconds - least
}

// A mean is a weighted one.
type mean struct{ sum, weight float64 }

func (m *mean) add(weight, value float64) { m.sum += weight * value; m.weight += weight }

func (m *mean) value() float64 {
	if m.weight == 0 {
		return 0
	}
	return m.sum / m.weight
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// dominance collects the cells that show what one config does better than another.
func (g *grid) dominance(s, by *Standing, better []Criterion) Dominance {
	d := Dominance{By: by.Config, Better: better}
	for _, situation := range g.counted {
		own, other := g.verdict(situation, s.Config), g.verdict(situation, by.Config)
		switch {
		case other.worked && !own.worked:
			d.Proof = append(d.Proof, *own.notOK)
		case own.worked && !other.worked:
			d.Against = append(d.Against, own.first)
		}
	}
	d.Proof = appendNew(d.Proof, g.slower(s, by, better))
	for _, c := range better {
		d.Proof = appendNew(d.Proof, s.shows(c))
	}
	return d
}

// slower returns the situation in which a dominated config loses most time, if it is worse in time.
func (g *grid) slower(s, by *Standing, better []Criterion) []record.Key {
	if !slices.Contains(better, AddedTime) && !slices.Contains(better, NormalTime) {
		return nil
	}
	var worst *folded
	var most record.Seconds
	for _, situation := range g.counted {
		own, other := g.verdict(situation, s.Config), g.verdict(situation, by.Config)
		if lost := own.seconds - other.seconds; lost > most {
			worst, most = own, lost
		}
	}
	if worst == nil {
		return nil
	}
	return []record.Key{worst.first}
}

// shows returns the cells that count against a standing by a criterion that counts cells.
func (s *Standing) shows(c Criterion) []record.Key {
	switch c {
	case Tampering:
		return s.Tampered
	case Leaking:
		return s.Leaks
	case Sickness:
		return s.Sick
	case Unchecked:
		return s.Unverified
	case Hanging:
		return s.Hangs
	}
	return nil
}

// appendNew appends the keys that are not there yet.
func appendNew(keys, more []record.Key) []record.Key {
	for _, k := range more {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}
