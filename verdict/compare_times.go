package verdict

import (
	"cmp"
	"math"
	"slices"

	"github.com/simrun/simrun/record"
)

// A TimeChange is a change of time that is larger than chance explains: of one cell, or of a config in all
// scenarios together.
type TimeChange struct {
	Scenario string // empty: all of them, of this config
	Config   string
	Project  string
	Go       string         // empty if the runs are of two releases
	Cells    int            // pairs of cells that it is about
	Ratio    float64        // new time by old time; the median over the pairs
	Old, New record.Seconds // medians of the cell, or over the pairs the medians of those
	P        float64        // chance of such a difference, or of a larger one, where there is none; not yet corrected
}

const (
	// leastSeconds is the smallest change of time that counts: the start of a go command varies by as much.
	leastSeconds = 0.25
	// machineFactor is how much longer or shorter one machine may take to set up a cell than the other before
	// times are not compared: no config, scenario or Go release has a part in that, so they would tell of the
	// machine.
	machineFactor = 1.5
)

// SameSpeed reports whether the machines of two runs were alike enough to compare times.
func (c *Comparison) SameSpeed() bool {
	return c.Machine == 0 || c.Machine < machineFactor && c.Machine > 1/machineFactor
}

// compareTimes tests the times of each cell, and of each config over its scenarios. A cell that is pooled is
// compared with its own counterpart only. A scenario is not pooled over its configs: its cells run next to
// each other, so what keeps the machine busy for a minute would look like the scenario.
//
// One test serves both: the stratified rank-sum test of van Elteren, in which each pair of cells is a
// stratum. Of one pair it is the test of Mann and Whitney, which benchstat uses; of pairs without
// repetitions it is the sign test. It assumes nothing of how times are distributed, which matters: a lost
// packet adds a second to one time in ten. The tests are corrected together by Holm's method, because an
// alarm stops somebody's build, so the chance of any false one is what has to be small, not their share.
func (c *Comparison) compareTimes(pairs []pair) {
	c.Machine = ratioOf(pairs, func(c *record.Cell) record.Seconds { return c.SetupTime })
	pairs = slices.DeleteFunc(slices.Clone(pairs), func(p pair) bool { return !endedAlike(&p) })
	pairs = c.withoutContended(pairs)
	c.Overall = ratioOf(pairs, func(c *record.Cell) record.Seconds { return c.Seconds })
	tests := timeTests(pairs)
	tested := testable(tests, c.Rules.Alpha)
	c.Tests, c.Untested = len(tested), len(tests)-len(tested)
	if !c.SameSpeed() {
		return
	}
	for _, t := range holm(tested, c.Rules.Alpha) {
		if change := t.change(); c.Rules.matters(change) {
			c.Times = append(c.Times, change)
		}
	}
	slices.SortStableFunc(c.Times, func(a, b TimeChange) int { return cmp.Compare(b.Ratio, a.Ratio) })
}

// withoutContended leaves the cells out that were contended, and pairs of which that leaves nothing in a run.
func (c *Comparison) withoutContended(pairs []pair) []pair {
	var left []pair
	for _, p := range pairs {
		trusted := func(c *record.Cell) bool { return !c.Contended }
		old, new := only(p.old, trusted), only(p.new, trusted)
		c.Contended += len(p.old) - len(old) + len(p.new) - len(new)
		if len(old) > 0 && len(new) > 0 {
			left = append(left, pair{p.key, old, new})
		}
	}
	return left
}

// timeTests lines up the tests: of configs, then of cells.
func timeTests(pairs []pair) []*timeTest {
	return slices.Concat(
		grouped(pairs, func(k record.Key) record.Key { k.Scenario = ""; return k }),
		grouped(pairs, func(k record.Key) record.Key { return k }),
	)
}

// matters reports whether a change is large enough for anybody to care.
func (r CompareRules) matters(t TimeChange) bool {
	return math.Abs(math.Log(t.Ratio)) >= math.Log(1+r.Least) && math.Abs(float64(t.New-t.Old)) >= leastSeconds
}

// endedAlike reports whether the times of two cells mean the same: they ended alike, and not by the deadline.
func endedAlike(p *pair) bool {
	first := p.old[0].Outcome
	other := func(c *record.Cell) bool { return c.Outcome != first }
	return first != record.Hang && !slices.ContainsFunc(p.old, other) && !slices.ContainsFunc(p.new, other)
}

// ratioOf returns the median of a time in the new run by the same time in the old one, or 0 if there is none.
func ratioOf(pairs []pair, timeOf func(*record.Cell) record.Seconds) float64 {
	var ratios []float64
	for _, p := range pairs {
		value := func(c *record.Cell) float64 { return float64(timeOf(c)) }
		if old, new := medianOf(p.old, value), medianOf(p.new, value); old > 0 && new > 0 {
			ratios = append(ratios, new/old)
		}
	}
	if len(ratios) == 0 {
		return 0
	}
	return median(ratios)
}

// A timeTest is one comparison of times.
type timeTest struct {
	key   record.Key // without a scenario where cells are pooled
	pairs []pair
	p     float64 // two-sided
	least float64 // the smallest p that so many repetitions can give
}

// grouped makes a test of the pairs that share a key. A config must have several: of one pair there is a
// test already.
func grouped(pairs []pair, keyOf func(record.Key) record.Key) []*timeTest {
	var list []*timeTest
	at := map[record.Key]*timeTest{}
	for _, p := range pairs {
		key := keyOf(p.key)
		if at[key] == nil {
			at[key] = &timeTest{key: key}
			list = append(list, at[key])
		}
		at[key].pairs = append(at[key].pairs, p)
	}
	list = slices.DeleteFunc(list, func(t *timeTest) bool {
		return t.key.Scenario == "" && len(t.pairs) == 1
	})
	for _, t := range list {
		t.p, t.least = vanElteren(t.pairs)
	}
	return list
}

func (t *timeTest) change() TimeChange {
	var old, new, ratios []float64
	for _, p := range t.pairs {
		seconds := func(c *record.Cell) float64 { return float64(c.Seconds) }
		a, b := medianOf(p.old, seconds), medianOf(p.new, seconds)
		old, new, ratios = append(old, a), append(new, b), append(ratios, b/a)
	}
	return TimeChange{
		Scenario: t.key.Scenario, Config: t.key.Config, Project: t.key.Project, Go: t.key.Go,
		Cells: len(t.pairs), Ratio: median(ratios), P: t.p,
		Old: record.Seconds(median(old)), New: record.Seconds(median(new)),
	}
}

// vanElteren returns the two-sided p value of the stratified rank-sum test, and the least one that samples
// of these sizes can have. See P. van Elteren, "On the combination of independent two sample tests of
// Wilcoxon", 1960; strata are weighted by the product of their sizes, as if there were only one U.
func vanElteren(pairs []pair) (p, least float64) {
	u, most := 0.0, 0
	null := []float64{1}
	for _, s := range pairs {
		u += mannWhitneyU(s.old, s.new)
		most += len(s.old) * len(s.new)
	}
	if most > exactLimit {
		return normalP(pairs, u), 0
	}
	for _, s := range pairs {
		null = convolve(null, nullU(len(s.old), len(s.new)))
	}
	// Ties make u fall between two values of the distribution without ties: each tail takes the nearer one in.
	below, above := 0.0, 0.0
	for i, share := range null {
		if float64(i) <= math.Ceil(u) {
			below += share
		}
		if float64(i) >= math.Floor(u) {
			above += share
		}
	}
	return min(1, 2*min(below, above)), min(1, 2*null[0])
}

// exactLimit is the largest U for which the exact distribution is worked out. Beyond it the normal
// distribution is as good.
const exactLimit = 2000

// normalP is the two-sided p value of a sum of U statistics by the normal distribution, with the correction
// for continuity.
func normalP(pairs []pair, u float64) float64 {
	mean, variance := 0.0, 0.0
	for _, s := range pairs {
		n, m := float64(len(s.old)), float64(len(s.new))
		mean += n * m / 2
		variance += n * m * (n + m + 1) / 12
	}
	z := max(0, math.Abs(u-mean)-0.5) / math.Sqrt(variance)
	return math.Erfc(z / math.Sqrt2)
}

// mannWhitneyU counts the pairs of an old and a new time in which the new one is longer; ties count half.
func mannWhitneyU(old, new []*record.Cell) float64 {
	u := 0.0
	for _, a := range old {
		for _, b := range new {
			u += float64(1+cmp.Compare(b.Seconds, a.Seconds)) / 2
		}
	}
	return u
}

// nullU returns the distribution of U for samples of two sizes where nothing differs, by the recurrence of
// Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than the
// other", 1947: the longest time of all is in either sample by its size.
func nullU(n, m int) []float64 {
	row := make([][]float64, m+1) // row[j] is the distribution for i and j, where i grows
	for j := range row {
		row[j] = []float64{1}
	}
	for i := 1; i <= n; i++ {
		next := [][]float64{{1}}
		for j := 1; j <= m; j++ {
			dist := make([]float64, i*j+1)
			for u, share := range next[j-1] { // the longest is a new time, longer than all i old ones
				dist[u+i] += share * float64(j) / float64(i+j)
			}
			for u, share := range row[j] { // it is an old one
				dist[u] += share * float64(i) / float64(i+j)
			}
			next = append(next, dist)
		}
		row = next
	}
	return row[m]
}

func convolve(a, b []float64) []float64 {
	sum := make([]float64, len(a)+len(b)-1)
	for i := range a {
		for j := range b {
			sum[i+j] += a[i] * b[j]
		}
	}
	return sum
}

// testable leaves out the tests that cannot say anything with so few repetitions, so that they cost the
// others nothing: R. E. Tarone, "A modified Bonferroni method for discrete data", 1990. What is left out
// depends on the numbers of repetitions alone, never on the times.
func testable(tests []*timeTest, alpha float64) []*timeTest {
	for k := 1; ; k++ {
		var able []*timeTest
		for _, t := range tests {
			if t.least <= alpha/float64(k) {
				able = append(able, t)
			}
		}
		if len(able) <= k {
			return able
		}
	}
}

// holm returns the tests that are significant together at level alpha: S. Holm, "A simple sequentially
// rejective multiple test procedure", 1979. It holds whatever the tests have to do with each other.
func holm(tests []*timeTest, alpha float64) []*timeTest {
	tests = slices.Clone(tests)
	slices.SortStableFunc(tests, func(a, b *timeTest) int { return cmp.Compare(a.p, b.p) })
	for i, t := range tests {
		if t.p > alpha/float64(len(tests)-i) {
			return tests[:i]
		}
	}
	return tests
}

func medianOf(cells []*record.Cell, value func(*record.Cell) float64) float64 {
	var values []float64
	for _, c := range cells {
		values = append(values, value(c))
	}
	return median(values)
}

// median returns the middle of a list that is not empty, and sorts it.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
