//go:build linux

package harness

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

var (
	clockCheck     = flag.Bool("clock-check", false, "compare cells of the library on both clocks, on a quiet machine")
	clockScenarios = flag.String("clock-scenarios", "*", "globs of the scenarios that are compared, with commas")
	slowRun        = flag.Bool("slow-run", false, "run 1,000 of the slowest cells on the virtual clock in TestSlowCells, and not just a few")
	clockConfigs   = flag.String("clock-configs", "*", "globs of the configs that are compared, with commas")
)

// clockReps is how often each cell is run on each clock.
const clockReps = 5

// TestClocksAgree runs the library on both clocks and prints a table of the cells that differ most. Each cell
// must have the same outcome, class and requests; and its seconds may differ by 1 % or 20 ms, whichever is more. Many
// cells take one round trip more or less by chance, since the go command does much at once, so that is tested by ranks
// and not by the medians of five. A cell that seems to differ is run more often, and one at a time, since what cells live
// through when they share CPUs is no matter of the clock. Where chance is part of a scenario, what
// is drawn for concurrent packets depends on their order: there, seconds must not differ by more than that, and there must be no more failures, in distribution.
// That is tested for each such scenario by van Elteren's rank sums, with a config for a stratum, at an alpha of 0.001;
// and again, with one cell at a time, where it fails, and at last with the machine to itself.
func TestClocksAgree(t *testing.T) {
	if !*clockCheck {
		t.Skip("measured by make clock-check, on a quiet machine")
	}
	o := libraryOptions(t)
	o.Timeout, o.Repeat = DefaultTimeout, clockReps
	o.Scenarios = slices.DeleteFunc(o.Scenarios, func(s *scenarios.Scenario) bool { return !matchesOne(*clockScenarios, s.Name) })
	o.Configs = slices.DeleteFunc(o.Configs, func(c *scenarios.Config) bool { return !matchesOne(*clockConfigs, c.Name) })
	o.Projects = slices.DeleteFunc(o.Projects, func(p *scenarios.Project) bool { return p.Name != "small" })
	real_, virtual := bothClocks(t, o, false)
	require.Equal(t, len(real_), len(virtual))

	chancy := map[string]bool{}
	for _, s := range o.Scenarios {
		chancy[s.Name] = slices.ContainsFunc(s.Faults, isChancy) || slices.ContainsFunc(s.World.Hosts, func(h scenarios.Host) bool { return h.Link.Loss > 0 })
	}
	var rows []clockRow
	suspects := map[string][]string{} // scenarios by config
	beyond, others := 0, 0
	for key, cells := range real_ {
		r := compareClocks(key, cells, virtual[key])
		rows = append(rows, r)
		switch {
		case chancy[key.Scenario]:
			if r.differs != "" {
				others++
			}
			continue
		case r.differs != "" || beyondBar([]stratum{newStratum(cells, virtual[key], lived)}) > alpha05:
			suspects[key.Config] = append(suspects[key.Config], key.Scenario)
		}
		if math.Abs(r.virtual-r.real) > bar(r.real) {
			beyond++
		}
	}
	slices.SortFunc(rows, func(a, b clockRow) int { return cmp.Compare(math.Abs(b.virtual-b.real), math.Abs(a.virtual-a.real)) })
	fmt.Print("| scenario | config | real clock, median s | virtual clock, median s | differs in |\n| --- | --- | ---: | ---: | --- |\n")
	for _, r := range rows[:min(20, len(rows))] {
		fmt.Printf("| %s | %s | %.3f | %.3f | %s |\n", r.key.Scenario, r.key.Config, r.real, r.virtual, r.differs)
	}
	fmt.Printf("\nwithout chance: medians of %d cells are further apart than the bar\n", beyond)
	fmt.Printf("with chance: %d cells showed something on the virtual clock that they had not on the real one\n\n", others)
	for _, name := range slices.Sorted(maps.Keys(chancy)) {
		if !chancy[name] || sameInDistribution(name, strata(name, real_, virtual, lived), strata(name, real_, virtual, failed)) {
			continue
		}
		again := o
		again.Scenarios = slices.DeleteFunc(slices.Clone(o.Scenarios), func(s *scenarios.Scenario) bool { return s.Name != name })
		again.Repeat, again.Jobs = 2*clockReps, 1
		same := false
		for _, alone := range []bool{false, true} {
			real_, virtual := bothClocks(t, again, alone)
			if same = sameInDistribution(name, strata(name, real_, virtual, lived), strata(name, real_, virtual, failed)); same {
				break
			}
		}
		assert.True(t, same, name)
	}
	for _, config := range slices.Sorted(maps.Keys(suspects)) {
		for _, name := range lookAgain(t, o, config, suspects[config], false) {
			assert.Empty(t, lookAgain(t, o, config, []string{name}, true), "%s / %s", name, config)
		}
	}
}

// sameInDistribution reports whether the cells of a scenario differ no more than by chance, and says so if they seem to.
func sameInDistribution(name string, seconds, failures []stratum) bool {
	bySeconds, byFailures := beyondBar(seconds), vanElteren(failures)
	if bySeconds > 0 || byFailures != 0 {
		fmt.Printf("%s: seconds %s, failures %.2f standard deviations apart\n", name, inWords(bySeconds), byFailures)
	}
	return bySeconds < alpha001 && math.Abs(byFailures) < alpha001
}

// matchesOne reports whether a name matches one of the globs of a list.
func matchesOne(globs, name string) bool {
	return slices.ContainsFunc(strings.Split(globs, ","), func(glob string) bool { ok, err := path.Match(glob, name); return ok && err == nil })
}

// lookAgain runs cells of a config again and again, one at a time, and returns those that still differ. They must show nothing
// on the virtual clock that they never do on the real one, and their times must not differ by more than the bar, each by itself and
// all together, by the rank-sum test at an alpha of 0.001. On the real clock cells that wait live side by side, unless they
// are to be alone.
func lookAgain(t *testing.T, o Options, config string, names []string, alone bool) (differ []string) {
	t.Helper()
	o.Scenarios = slices.DeleteFunc(slices.Clone(o.Scenarios), func(s *scenarios.Scenario) bool { return !slices.Contains(names, s.Name) })
	o.Configs = slices.DeleteFunc(slices.Clone(o.Configs), func(c *scenarios.Config) bool { return c.Name != config })
	o.Repeat, o.Jobs = 5*clockReps, 1
	real_, virtual := bothClocks(t, o, alone)
	var all []stratum
	for key := range real_ {
		r, times := compareClocks(key, real_[key], virtual[key]), newStratum(real_[key], virtual[key], lived)
		all = append(all, times)
		apart := beyondBar([]stratum{times})
		fmt.Printf("%s / %s, %d times: medians %.3f and %.3f s, %s, differs in %q\n", key.Scenario, key.Config, o.Repeat, r.real, r.virtual, inWords(apart), r.differs)
		if r.differs != "" || apart > alpha001 {
			differ = append(differ, key.Scenario)
		}
	}
	apart := beyondBar(all)
	fmt.Printf("%s: all %d scenarios that were run again, %s\n", config, len(all), inWords(apart))
	assert.Less(t, apart, alpha001, "%s: seconds", config)
	return differ
}

func inWords(apart float64) string {
	if apart <= 0 {
		return "within the bar"
	}
	return fmt.Sprintf("%.2f standard deviations beyond the bar", apart)
}

// isChancy reports whether a fault draws lots.
func isChancy(f scenarios.Fault) bool {
	share := func(s scenarios.Fraction) bool { return s > 0 && s < 1 }
	if p := f.Packet; p != nil && (share(p.Loss) || share(p.Corrupt) || share(p.Duplicate) || share(p.Reorder) || p.Jitter > 0 || p.Bursts.Share > 0) {
		return true
	}
	if d := f.DNS; d != nil && share(d.Drop) {
		return true
	}
	return share(f.Share) || f.Stream != nil && (f.Stream.Unseeded() || share(f.Stream.Toxicity))
}

// bar is by how much seconds may differ between the clocks.
func bar(seconds float64) float64 { return max(0.01*seconds, 0.02) }

// beyondBar returns by how many standard deviations times on the virtual clock are longer or shorter than those on the
// real one and the bar together.
func beyondBar(strata []stratum) float64 {
	shifted := func(sign float64) (all []stratum) {
		for _, s := range strata {
			moved := stratum{real: s.real}
			for _, v := range s.virtual {
				moved.virtual = append(moved.virtual, v+sign*bar(v))
			}
			all = append(all, moved)
		}
		return all
	}
	return max(vanElteren(shifted(-1)), -vanElteren(shifted(1)))
}

// By how many standard deviations a sum of ranks is away from what is expected, by chance, in one case of a thousand and
// in one of twenty.
const (
	alpha001 = 3.29
	alpha05  = 1.96
)

func lived(c *record.Cell) float64 { return float64(c.Seconds) }

func failed(c *record.Cell) float64 {
	if c.Outcome == record.OK {
		return 0
	}
	return 1
}

// A stratum is what was measured of one cell on each clock.
type stratum struct{ real, virtual []float64 }

func newStratum(real_, virtual []*record.Cell, of func(*record.Cell) float64) (s stratum) {
	for _, c := range real_ {
		s.real = append(s.real, of(c))
	}
	for _, c := range virtual {
		s.virtual = append(s.virtual, of(c))
	}
	return s
}

// strata returns a stratum for each config of a scenario.
func strata(scenario string, real_, virtual map[record.Key][]*record.Cell, of func(*record.Cell) float64) (all []stratum) {
	for key, cells := range real_ {
		if key.Scenario == scenario {
			all = append(all, newStratum(cells, virtual[key], of))
		}
	}
	return all
}

// vanElteren returns by how many standard deviations the ranks of the virtual values are higher than by chance, all
// strata together: P. H. van Elteren, On the combination of independent two-sample tests of Wilcoxon, 1960.
func vanElteren(strata []stratum) float64 {
	var sum, variance float64
	for _, s := range strata {
		all := slices.Concat(s.real, s.virtual)
		m, n, total := float64(len(s.virtual)), float64(len(s.real)), float64(len(all))
		var ranks, squares float64
		for i, v := range all {
			rank := midrank(all, v)
			squares += (rank - (total+1)/2) * (rank - (total+1)/2)
			if i >= len(s.real) {
				ranks += rank
			}
		}
		weight := 1 / (total + 1)
		sum += weight * (ranks - m*(total+1)/2)
		variance += weight * weight * m * n / (total * (total - 1)) * squares
	}
	if variance == 0 {
		return 0 // all the same
	}
	return sum / math.Sqrt(variance)
}

// midrank returns the rank of a value, which those that are equal share.
func midrank(all []float64, v float64) (rank float64) {
	for _, x := range all {
		switch {
		case x < v:
			rank++
		case x == v:
			rank += 0.5
		}
	}
	return rank + 0.5
}

// TestVanElteren: values that are the same are no standard deviation apart, and shifted ones many.
func TestVanElteren(t *testing.T) {
	same := stratum{[]float64{1, 2, 3, 4, 5}, []float64{1, 2, 3, 4, 5}}
	above := stratum{[]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}}
	assert.Zero(t, vanElteren([]stratum{same, same}))
	assert.Zero(t, vanElteren([]stratum{{[]float64{1, 1}, []float64{1, 1}}}), "only ties")
	assert.InDelta(t, 2.611, vanElteren([]stratum{above}), 0.001, "Wilcoxon's (40-27.5)/sqrt(5*5*11/12)")
	assert.InDelta(t, 2.611*math.Sqrt2, vanElteren([]stratum{above, above}), 0.001)
}

// bothClocks runs all cells of a run on either clock, and returns them by what they have in common.
func bothClocks(t *testing.T, o Options, alone bool) (real_, virtual map[record.Key][]*record.Cell) {
	t.Helper()
	run := func(on bool) map[record.Key][]*record.Cell {
		o.Virtual = on
		p, err := NewPlan(t.Context(), o)
		require.NoError(t, err)
		plans := []*Plan{p}
		if alone {
			plans = oneByOne(p)
		}
		cells := map[record.Key][]*record.Cell{}
		begin, kept, sum := time.Now(), 0, 0.0
		for _, p := range plans {
			require.NoError(t, p.Run(t.Context(), func(c *record.Cell) error {
				key := c.Key
				key.Rep = 0
				cells[key] = append(cells[key], c)
				sum += lived(c)
				if c.Clock == "virtual" {
					kept++
				} else if on {
					fmt.Printf("%s / %s on the real clock: %s\n", c.Scenario, c.Config, c.ClockNote)
				}
				assert.NotEqual(t, record.HarnessError, c.Outcome, c.Note)
				return nil
			}, nil))
		}
		fmt.Printf("%d cells %d times lived %.0f s and took %.0f s, %d on the virtual clock\n", len(cells), o.Repeat, sum, time.Since(begin).Seconds(), kept)
		return cells
	}
	return run(false), run(true)
}

// oneByOne returns a plan for each cell of a plan.
func oneByOne(p *Plan) (plans []*Plan) {
	for i := range p.cells {
		one := *p
		one.cells = p.cells[i : i+1]
		plans = append(plans, &one)
	}
	return plans
}

// A clockRow is how a cell differs between the clocks.
type clockRow struct {
	key           record.Key
	real, virtual float64 // seconds, medians
	differs       string
}

func compareClocks(key record.Key, real_, virtual []*record.Cell) clockRow {
	r := clockRow{key: key, real: medianSeconds(real_), virtual: medianSeconds(virtual)}
	var in []string
	for what, of := range map[string]func(*record.Cell) string{
		"outcome":  func(c *record.Cell) string { return string(c.Outcome) },
		"class":    func(c *record.Cell) string { return c.Class },
		"requests": requestsOf,
	} {
		if !sameSets(real_, virtual, of) {
			in = append(in, what)
		}
	}
	slices.Sort(in)
	r.differs = strings.Join(in, ", ")
	return r
}

// sameSets reports whether the virtual cells show nothing that none of the real ones does.
func sameSets(real_, virtual []*record.Cell, of func(*record.Cell) string) bool {
	return !slices.ContainsFunc(virtual, func(v *record.Cell) bool {
		return !slices.ContainsFunc(real_, func(r *record.Cell) bool { return of(r) == of(v) })
	})
}

// requestsOf returns the requests, sorted: the go command makes many at once, and their order differs from one
// repetition to the next on either clock.
func requestsOf(c *record.Cell) string {
	var all []string
	for _, r := range c.Requests {
		all = append(all, r.Host+" "+r.Method+" "+r.Path)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func medianSeconds(cells []*record.Cell) float64 {
	var s []float64
	for _, c := range cells {
		s = append(s, float64(c.Seconds))
	}
	slices.Sort(s)
	return s[len(s)/2]
}

// slowScenarios are those of the library in which most is waited for, without chance.
var slowScenarios = []string{"dead-proxy", "hanging-proxy", "silent-proxy", "dead-nameservers", "stalled-zip", "tls-stalls", "stalled-clone",
	"web-proxy-stalls", "empty-window", "no-way-out"}

// TestSlowCells runs the slowest cells of the library on the virtual clock. Each must keep it to its end, the
// repetitions of a cell must live through the same time, whether they are the first or the last, and nothing may be left.
func TestSlowCells(t *testing.T) {
	requireLab(t)
	t.Parallel()
	flags, reps := []string{"--scenario", "dead-proxy,hanging-proxy", "--config", "cn-comma"}, 2
	if *slowRun {
		flags, reps = []string{"--scenario", strings.Join(slowScenarios, ","), "--project", "small"}, 4
	}
	binary := buildSimrun(t)
	before := hostState(t)
	begin := time.Now()
	r := startSimrun(t, binary, append([]string{"../scenarios", "--quiet", "--clock", "virtual", "--repeat", strconv.Itoa(reps)}, flags...)...)
	r.watch(time.Second)
	require.NotEqual(t, 3, r.cmd.ProcessState.ExitCode(), "%s", r.stderr.String())
	before.requireSame(t)
	r.requireNothingLeft()

	times, cells := map[record.Key][]float64{}, r.results()
	var sum float64
	for i := range cells {
		c, key := &cells[i], cells[i].Key
		key.Rep = 0
		assert.NotEqual(t, record.HarnessError, c.Outcome, "%v: %s", c.Key, c.Note)
		assert.Equal(t, "virtual", c.Clock, "%v: %s", c.Key, c.ClockNote)
		times[key] = append(times[key], float64(c.Seconds))
		sum += float64(c.Seconds)
	}
	var spread, drift []float64
	for key, times := range times {
		require.Len(t, times, reps, "%v", key)
		early, late := times[:reps/2], times[reps/2:] // in the order in which they ended
		drift = append(drift, (sumOf(late)-sumOf(early))/sumOf(early))
		slices.Sort(times)
		spread = append(spread, times[reps-1]-times[0])
		if difference := times[reps-1] - times[0]; difference > max(0.01*times[0], 0.02) {
			t.Logf("%s / %s: from %.3f to %.3f s", key.Scenario, key.Config, times[0], times[reps-1])
		}
	}
	slices.Sort(spread)
	slices.Sort(drift)
	t.Logf("%d cells lived %.0f s and took %.0f s; repetitions of a cell differ by %.0f ms at the median, and by %.0f ms at most; the later ones are longer by %.3f %% at the median",
		len(cells), sum, time.Since(begin).Seconds(), 1e3*spread[len(spread)/2], 1e3*spread[len(spread)-1], 100*drift[len(drift)/2])
	assert.InDelta(t, 0, drift[len(drift)/2], 0.01, "drift")
}

func sumOf(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}
