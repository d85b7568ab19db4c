package verdict

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchmath"

	"github.com/simrun/simrun/record"
)

// night is a run of so many scenarios, configs and repetitions. Each cell is made by a function.
func night(scenarios, configs, reps int, cell func(scenario, config, rep int) record.Cell) *record.Results {
	r := &record.Results{Run: record.Run{
		Simrun: "v1", Repeat: reps, Timeout: 60, Cells: scenarios * configs * reps,
		Projects: []record.Project{{Name: "small", Run: []string{"go", "mod", "tidy"}, Digest: "p"}},
	}}
	for s := range scenarios {
		r.Run.Scenarios = append(r.Run.Scenarios, record.Scenario{Name: fmt.Sprintf("s%d", s), Digest: "d"})
	}
	for c := range configs {
		r.Run.Configs = append(r.Run.Configs, record.Config{Name: fmt.Sprintf("c%d", c), Env: map[string]string{"GOPROXY": "off"}})
	}
	for rep := range reps {
		for s := range scenarios {
			for c := range configs {
				made := cell(s, c, rep)
				made.Key = record.Key{Scenario: fmt.Sprintf("s%d", s), Config: fmt.Sprintf("c%d", c), Project: "small", Go: "go1.26.8", Rep: rep}
				r.Cells = append(r.Cells, made)
			}
		}
	}
	return r
}

// noisy makes ok cells whose times vary as they do in life: by a little always, and now and then by a
// second, for a lost packet.
func noisy(random *rand.Rand) func(s, c, rep int) record.Cell {
	return func(s, c, _ int) record.Cell {
		seconds := (0.5 + float64(s+c)) * math.Exp(0.1*random.NormFloat64())
		if s%3 == 0 && random.Float64() < 0.3 {
			seconds++
		}
		return record.Cell{Outcome: record.OK, Seconds: record.Seconds(seconds), SetupTime: 0.02}
	}
}

func TestCompareOfARunWithItselfReportsNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	r := night(8, 5, 3, func(s, c, rep int) record.Cell {
		cell := noisy(random)(s, c, rep)
		cell.Outcome = []record.Outcome{record.OK, record.Error, record.Hang, record.Skipped, record.HarnessError}[random.IntN(5)]
		cell.Leaks = []record.Leak{{Module: "m", Host: "h"}}
		return cell
	})
	got := Compare(r, r, CompareRules{})
	assert.NotZero(t, got.Compared)
	assert.Zero(t, got.Regressions())
	assert.Empty(t, got.Outcomes)
	assert.Empty(t, got.Flaky)
	assert.Empty(t, got.Times)
	assert.Empty(t, got.Differences)
	assert.Empty(t, got.Omitted)
}

// Two runs of which nothing differs but chance must not show a change of time more often than was asked
// for; and the test must be able to fail.
func TestCompareRaisesNoMoreFalseAlarmsThanStated(t *testing.T) {
	const trials, alpha = 400, 0.05
	for _, tc := range []struct{ reps, size int }{{1, 12}, {5, 6}} {
		t.Run(fmt.Sprintf("with repetitions: %d", tc.reps), func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(tc.reps), 7))
			alarms := 0
			for range trials {
				old := night(tc.size, tc.size, tc.reps, noisy(random))
				recent := night(tc.size, tc.size, tc.reps, noisy(random))
				tests := testable(timeTests(new(Comparison).match(old, recent)), alpha)
				if len(holm(tests, alpha)) > 0 {
					alarms++
				}
			}
			assert.LessOrEqual(t, alarms, int(trials*alpha), "false alarms in %d comparisons", trials)
			t.Logf("%d false alarms in %d comparisons", alarms, trials)
			assert.NotZero(t, alarms, "the test never alarms, so it says nothing")
		})
	}
}

// A config that is slower everywhere is found without any repetition, and a single cell with enough of them.
func TestCompareFindsWhatIsSlower(t *testing.T) {
	slower := func(random *rand.Rand, slow func(s, c int) bool) func(s, c, rep int) record.Cell {
		make := noisy(random)
		return func(s, c, rep int) record.Cell {
			cell := make(s, c, rep)
			if slow(s, c) {
				cell.Seconds *= 2
			}
			return cell
		}
	}
	for _, tc := range []struct {
		name                     string
		scenarios, configs, reps int
		slow                     func(s, c int) bool
		want                     TimeChange
	}{
		{"a config", 20, 4, 1, func(_, c int) bool { return c == 2 }, TimeChange{Config: "c2", Cells: 20}},
		{"a cell", 2, 2, 6, func(s, c int) bool { return s == 1 && c == 1 }, TimeChange{Scenario: "s1", Config: "c1", Cells: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(3, 4))
			old := night(tc.scenarios, tc.configs, tc.reps, noisy(random))
			recent := night(tc.scenarios, tc.configs, tc.reps, slower(random, tc.slow))

			there := Compare(old, recent, CompareRules{})
			require.Len(t, there.Times, 1)
			got := there.Times[0]
			assert.Equal(t, tc.want, TimeChange{Scenario: got.Scenario, Config: got.Config, Cells: got.Cells})
			assert.InDelta(t, 2, got.Ratio, 0.3)
			assert.InDelta(t, 1, there.Overall, 0.3, "most are as fast as before")
			assert.Equal(t, 1, there.Regressions())

			back := Compare(recent, old, CompareRules{})
			require.Len(t, back.Times, 1)
			assert.InDelta(t, 0.5, back.Times[0].Ratio, 0.1)
			assert.Zero(t, back.Regressions(), "what got faster is no regression")

			assert.Empty(t, Compare(old, recent, CompareRules{Least: 2}).Times, "smaller than what counts")
			assert.Empty(t, Compare(old, recent, CompareRules{Alpha: 1e-12}).Times, "not certain enough")
		})
	}
}

// Of one pair of cells the test is the one of benchstat, whose authors have another way to work it out.
func TestVanElterenOfOnePairIsTheTestOfMannAndWhitney(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var p pair
		var old, recent []float64
		for range 1 + random.IntN(8) {
			p.old = append(p.old, &record.Cell{Seconds: record.Seconds(random.Float64())})
			old = append(old, float64(p.old[len(p.old)-1].Seconds))
		}
		for range 1 + random.IntN(8) {
			p.new = append(p.new, &record.Cell{Seconds: record.Seconds(0.3 + random.Float64())})
			recent = append(recent, float64(p.new[len(p.new)-1].Seconds))
		}
		got, least := vanElteren([]pair{p})
		thresholds := benchmath.DefaultThresholds
		want := benchmath.AssumeNothing.Compare(benchmath.NewSample(old, &thresholds), benchmath.NewSample(recent, &thresholds))
		require.InDelta(t, want.P, got, 1e-9)
		require.LessOrEqual(t, least, got+1e-12)
	}
}

// Beyond the exact distribution the normal one takes over, and must join it.
func TestVanElterenJoinsTheNormalDistribution(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 9))
	var pairs []pair
	for range exactLimit / 25 {
		var p pair
		for range 5 {
			p.old = append(p.old, &record.Cell{Seconds: record.Seconds(random.NormFloat64())})
			p.new = append(p.new, &record.Cell{Seconds: record.Seconds(random.NormFloat64() + 0.15)})
		}
		pairs = append(pairs, p)
	}
	exact, least := vanElteren(pairs)
	assert.Positive(t, least)
	u := 0.0
	for _, p := range pairs {
		u += mannWhitneyU(p.old, p.new)
	}
	assert.InEpsilon(t, exact, normalP(pairs, u), 0.05)
	_, least = vanElteren(append(pairs, pairs[0]))
	assert.Zero(t, least, "the normal distribution has no least p value")
}

func TestVanElterenWithoutRepetitionsIsTheSignTest(t *testing.T) {
	var pairs []pair
	for i := range 10 {
		seconds := record.Seconds(2)
		if i == 0 {
			seconds = 0.5
		}
		pairs = append(pairs, pair{old: []*record.Cell{{Seconds: 1}}, new: []*record.Cell{{Seconds: seconds}}})
	}
	p, least := vanElteren(pairs)
	assert.InDelta(t, 2*11.0/1024, p, 1e-12) // nine or ten of ten, on either side
	assert.InDelta(t, 2.0/1024, least, 1e-12)
}

func TestTestableLeavesOutWhatCannotBeSignificant(t *testing.T) {
	tests := []*timeTest{{least: 1}, {least: 0.1}, {least: 0.03}, {least: 0.001}, {least: 0}}
	assert.Equal(t, tests[3:], testable(tests, 0.05), "0.03 is too much for a share of three")
	assert.Empty(t, testable(tests[:2], 0.05))
	assert.Empty(t, testable(nil, 0.05))
}

func TestHolm(t *testing.T) {
	a, b, c := &timeTest{p: 0.01}, &timeTest{p: 0.024}, &timeTest{p: 0.06}
	assert.Equal(t, []*timeTest{a, b}, holm([]*timeTest{c, b, a}, 0.05))
	assert.Empty(t, holm([]*timeTest{{p: 0.03}, b, c}, 0.05), "the first must bear being one of three")
}

func TestCompareOutcomes(t *testing.T) {
	ok := record.Cell{Outcome: record.OK, Seconds: 1}
	failed := record.Cell{Outcome: record.Error, Class: "http-503", Seconds: 1}
	other := record.Cell{Outcome: record.Error, Class: "http-500", Seconds: 1}
	hang := record.Cell{Outcome: record.Hang, Seconds: 60}
	leaky, leakier, checked, unchecked, poisoned := ok, ok, ok, ok, ok
	leaky.Leaks = []record.Leak{{Module: "m", Host: "a.example"}}
	leakier.Leaks = append(leaky.Leaks, record.Leak{Module: "m", Host: "b.example"})
	checked.Integrity, unchecked.Integrity, poisoned.Integrity = record.Verified, record.Unverified, record.TamperedAccepted

	for _, tc := range []struct {
		name       string
		old, new   []record.Cell
		want       []Change
		regression bool
	}{
		{"nothing", []record.Cell{ok, ok}, []record.Cell{ok, ok}, nil, false},
		{"a new failure", []record.Cell{ok, ok}, []record.Cell{failed, failed},
			[]Change{{Kind: NewFailure, Old: "ok", New: "error http-503"}}, true},
		{"a new failure in several ways", []record.Cell{ok, ok}, []record.Cell{hang, failed},
			[]Change{{Kind: NewFailure, Old: "ok", New: "error http-503, hang"}}, true},
		{"mended", []record.Cell{hang, hang}, []record.Cell{ok, ok}, []Change{{Kind: Mended, Old: "hang", New: "ok"}}, false},
		{"fails in another way", []record.Cell{failed, failed}, []record.Cell{other, other},
			[]Change{{Kind: OtherFailure, Old: "error http-503", New: "error http-500"}}, false},
		{"fails in one of two ways", []record.Cell{failed, other}, []record.Cell{other, other}, nil, false},
		{"flaky now", []record.Cell{ok, ok}, []record.Cell{ok, failed},
			[]Change{{Kind: Flaky, Old: "2/2 ok", New: "1/2 ok"}}, false},
		{"flaky as before", []record.Cell{failed, ok}, []record.Cell{ok, failed}, nil, false},
		{"a new leak", []record.Cell{ok, ok}, []record.Cell{ok, leaky},
			[]Change{{Kind: NewLeak, Old: "no leak", New: "leaks to a.example"}}, true},
		{"a leak to one more", []record.Cell{leaky, leaky}, []record.Cell{leakier, leaky},
			[]Change{{Kind: NewLeak, Old: "leaks to a.example", New: "leaks to a.example, b.example"}}, true},
		{"a leak less", []record.Cell{leakier, leaky}, []record.Cell{leaky, leaky},
			[]Change{{Kind: LeakMended, Old: "leaks to a.example, b.example", New: "leaks to a.example"}}, false},
		{"not checked any more", []record.Cell{checked, checked}, []record.Cell{checked, unchecked},
			[]Change{{Kind: LessVerified, Old: "verified", New: "unverified"}}, true},
		{"a false module gets in", []record.Cell{unchecked, unchecked}, []record.Cell{poisoned, poisoned},
			[]Change{{Kind: LessVerified, Old: "unverified", New: "tampered-accepted"}}, true},
		{"checked again", []record.Cell{unchecked, unchecked}, []record.Cell{checked, checked},
			[]Change{{Kind: MoreVerified, Old: "unverified", New: "verified"}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			made := func(reps []record.Cell) *record.Results {
				return night(1, 1, len(reps), func(_, _, rep int) record.Cell { return reps[rep] })
			}
			got := Compare(made(tc.old), made(tc.new), CompareRules{})
			for i := range tc.want {
				tc.want[i].Cell = record.Key{Scenario: "s0", Config: "c0", Project: "small", Go: "go1.26.8"}
			}
			assert.Equal(t, tc.want, append(got.Outcomes, got.Flaky...))
			assert.Equal(t, tc.regression, got.Regressions() > 0)
		})
	}
}

func TestCompareOnlyWhatBothRunsHave(t *testing.T) {
	ok := func(_, _, _ int) record.Cell { return record.Cell{Outcome: record.OK, Seconds: 1} }
	old, recent := night(4, 3, 1, ok), night(4, 3, 1, ok)
	old.Run.Scenarios[0].Name, recent.Run.Scenarios[0].Name = "before", "after"
	recent.Run.Scenarios[1].Digest = "other"
	recent.Run.Configs = recent.Run.Configs[1:]
	recent.Cells[7].Outcome = record.HarnessError // s2 × c1
	old.Cells = old.Cells[:11]                    // without s3 × c2, as of a run that was killed

	got := Compare(old, recent, CompareRules{})
	assert.Equal(t, []Omission{
		{"scenarios: they are in the old run only", []string{"before"}},
		{"scenarios: they are in the new run only", []string{"after"}},
		{"scenarios: they are not the same in both runs", []string{"s1"}},
		{"configs: they are in the old run only", []string{"c0"}},
		{"cells: they ran in the old run only", []string{"s2 × c1"}},
		{"cells: they ran in the new run only", []string{"s3 × c2"}},
	}, got.Omitted)
	assert.Equal(t, 2, got.Compared)
}

func TestCompareSaysHowTheRunsDiffer(t *testing.T) {
	ok := func(_, _, _ int) record.Cell { return record.Cell{Outcome: record.OK, Seconds: 1} }
	old, recent := night(1, 1, 1, ok), night(1, 1, 1, ok)
	recent.Cells[0].Go = "go1.27.0"
	recent.Run.Seed, recent.Run.Timeout, recent.Run.Simrun = 2, 70, "v2"
	recent.Run.Configs[0].Env = map[string]string{"GOPROXY": "direct", "GOSUMDB": "off"}
	got := Compare(old, recent, CompareRules{})
	assert.Equal(t, []Difference{
		{"Go release", "go1.26.8", "go1.27.0"},
		{"simrun", "v1", "v2"},
		{"seed", "0", "2"},
		{"deadline of a cell in seconds", "60", "70"},
		{"settings of c0", "GOPROXY=off", "GOPROXY=direct GOSUMDB=off"},
	}, got.Differences)
	assert.Equal(t, 1, got.Compared, "releases are compared with each other")
}

func TestCompareDoesNotTakeTheMachineForTheConfigs(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	busy := func(s, c, rep int) record.Cell {
		cell := noisy(random)(s, c, rep)
		cell.Seconds, cell.SetupTime = 2*cell.Seconds, 2*cell.SetupTime
		return cell
	}
	old, recent := night(20, 4, 1, noisy(random)), night(20, 4, 1, busy)
	got := Compare(old, recent, CompareRules{})
	assert.False(t, got.SameSpeed())
	assert.InDelta(t, 2, got.Machine, 1e-9)
	assert.Empty(t, got.Times)
	assert.Zero(t, got.Regressions())
}
