package verdict

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// A match is a run to be ranked: worlds w with the scenarios well, dead and slow.
type match struct {
	run   record.Run
	cells []record.Cell
}

func newMatch(configs ...string) *match {
	m := &match{run: record.Run{Scenarios: []record.Scenario{
		{Name: "well", World: "w", Weight: 4},
		{Name: "dead", World: "w", Weight: 2, Faults: []string{"p loss 100%"}},
		{Name: "slow", World: "w", Weight: 2, Faults: []string{"p delay 1s"}},
	}}}
	for _, c := range configs {
		m.run.Configs = append(m.run.Configs, record.Config{Name: c})
	}
	return m
}

// add adds a cell that met its fault, if its scenario has any.
func (m *match) add(scenario, config string, o record.Outcome, s record.Seconds, more ...func(*record.Cell)) {
	c := record.Cell{Key: record.Key{Scenario: scenario, Config: config}, Outcome: o, Seconds: s}
	if scenario != "well" {
		c.Faults = []record.FaultCount{{Fault: "f", Bit: 1}}
	}
	for _, f := range more {
		f(&c)
	}
	m.cells = append(m.cells, c)
}

// all adds a cell that worked in a second for all scenarios but those named.
func (m *match) all(config string, but ...string) {
	for _, s := range m.run.Scenarios {
		if !slices.Contains(but, s.Name) {
			m.add(s.Name, config, record.OK, 1)
		}
	}
}

func unmet(c *record.Cell)      { c.Faults[0].Bit = 0 }
func leaking(c *record.Cell)    { c.Leaks = []record.Leak{{Module: "m", Host: "h"}} }
func tampered(c *record.Cell)   { c.Integrity = record.TamperedAccepted }
func unverified(c *record.Cell) { c.Integrity = record.Unverified }
func secondRep(c *record.Cell)  { c.Rep = 1 }

func (m *match) rank(rules Rules) *Ranking { return Rank(&m.run, m.cells, rules) }

func TestSurvivalIsTheShareOfTheWeightInWhichEveryRepetitionWorked(t *testing.T) {
	m := newMatch("a")
	m.all("a", "dead")
	m.add("dead", "a", record.OK, 1)
	m.add("dead", "a", record.Error, 1, secondRep)
	a := m.rank(Rules{}).Standing("a")
	assert.InDelta(t, 6.0/8, a.Survival, 1e-9)
	require.Len(t, a.Failed, 1)
	assert.Equal(t, 1, a.Failed[0].Rep, "the repetition that failed is named")
}

func TestWeightsOfRulesReplaceThoseOfScenarios(t *testing.T) {
	m := newMatch("a")
	m.all("a", "dead")
	m.add("dead", "a", record.Error, 1)
	r := m.rank(Rules{Weights: []Weight{{"*", 1}, {"dead", 3}, {"slow", 0}}})
	assert.InDelta(t, 1.0/4, r.Standing("a").Survival, 1e-9)
	require.Len(t, r.LeftOut, 1)
	assert.Equal(t, "slow", r.LeftOut[0].Scenario)
	assert.Equal(t, "its weight is 0", r.LeftOut[0].Why)
}

func TestAddedTimeIsBeyondTheConfigsOwnHealthyCells(t *testing.T) {
	m := newMatch("a")
	m.add("well", "a", record.OK, 2)
	m.add("dead", "a", record.Error, 32)
	m.add("slow", "a", record.OK, 12)
	a := m.rank(Rules{}).Standing("a")
	assert.InDelta(t, 20, float64(a.Added), 1e-9)
	assert.InDelta(t, 2, float64(a.Normal), 1e-9)
}

func TestWithoutHealthyCellsTimesCountWhole(t *testing.T) {
	m := newMatch("a")
	m.add("dead", "a", record.Error, 32)
	m.add("slow", "a", record.OK, 12)
	r := m.rank(Rules{})
	assert.Equal(t, []string{"w"}, r.NoBaseline)
	assert.InDelta(t, 22, float64(r.Standing("a").Added), 1e-9)
}

func TestWhatWentAroundTheFaultCountsAndIsShownApart(t *testing.T) {
	m := newMatch("a", "b")
	m.all("a", "dead")
	m.add("dead", "a", record.OK, 1, unmet)
	m.all("b")
	a := m.rank(Rules{}).Standing("a")
	assert.InDelta(t, 1, a.Survival, 1e-9)
	assert.InDelta(t, 0.25, a.Avoided, 1e-9)
}

func TestASituationWhoseFaultNobodyMetDoesNotCount(t *testing.T) {
	m := newMatch("a", "b")
	for _, config := range []string{"a", "b"} {
		m.all(config, "dead")
		m.add("dead", config, record.OK, 1, unmet)
	}
	r := m.rank(Rules{})
	assert.Len(t, r.Situations, 2)
	require.Len(t, r.LeftOut, 1)
	assert.Equal(t, "no config met its fault", r.LeftOut[0].Why)
}

func TestHarnessErrorsAreNeverRanked(t *testing.T) {
	m := newMatch("a", "b", "broken")
	m.all("a", "dead")
	m.add("dead", "a", record.HarnessError, 0)
	m.all("b")
	for _, s := range m.run.Scenarios {
		m.add(s.Name, "broken", record.HarnessError, 0)
	}
	r := m.rank(Rules{})
	assert.InDelta(t, 1, r.Standing("a").Survival, 1e-9)
	assert.Nil(t, r.Standing("broken"))
	require.Len(t, r.Unranked, 1)
	assert.Equal(t, "it has a verdict in 0 of 3 situations", r.Unranked[0].Why)
	require.Len(t, r.LeftOut, 1)
	assert.Equal(t, "a has no verdict there", r.LeftOut[0].Why)
}

func TestTheDominatedAreNamedWithTheirProof(t *testing.T) {
	m := newMatch("comma", "pipe")
	m.all("pipe")
	m.all("comma", "dead")
	m.add("dead", "comma", record.Hang, 60)
	r := m.rank(Rules{})
	assert.Equal(t, "pipe", r.Recommended)
	assert.Empty(t, r.Standing("pipe").DominatedBy)
	by := r.Standing("comma").DominatedBy
	require.Len(t, by, 1)
	assert.Equal(t, "pipe", by[0].By)
	assert.Equal(t, []Criterion{Survival, Hanging, AddedTime}, by[0].Better)
	require.Len(t, by[0].Proof, 1)
	assert.Equal(t, "dead", by[0].Proof[0].Scenario)
	assert.Equal(t, "comma", by[0].Proof[0].Config)
	assert.Empty(t, r.RunnerUp, "the only other one is dominated")
}

func TestAFasterConfigThatSurvivesLessIsNotDominated(t *testing.T) {
	m := newMatch("fast", "steady")
	m.all("fast", "dead")
	m.add("dead", "fast", record.Error, 1)
	m.all("steady", "dead")
	m.add("dead", "steady", record.OK, 50)
	r := m.rank(Rules{})
	for _, s := range r.Standings {
		assert.Empty(t, s.DominatedBy, s.Config)
	}
	assert.Equal(t, "steady", r.Recommended)
	assert.Equal(t, "fast", r.RunnerUp)
	assert.Equal(t, Survival, r.Decided)
}

func TestDifferencesInTimeWithinTheNoiseDominateNobody(t *testing.T) {
	m := newMatch("a", "b")
	m.all("a")
	m.all("b", "slow")
	m.add("slow", "b", record.OK, 1.6)
	assert.Empty(t, m.rank(Rules{}).Standing("b").DominatedBy)
}

func TestSafetyComesBeforeSurvival(t *testing.T) {
	for name, harm := range map[string]func(*record.Cell){"leak": leaking, "tampering": tampered, "unverified": unverified} {
		t.Run(name, func(t *testing.T) {
			m := newMatch("harmful", "safe")
			m.all("harmful", "slow")
			m.add("slow", "harmful", record.OK, 1, harm)
			m.all("safe", "dead")
			m.add("dead", "safe", record.Error, 30)
			assert.Equal(t, "safe", m.rank(Rules{}).Recommended)
		})
	}
}

func TestARequirementLeavesNobodyIfNobodyFulfilsIt(t *testing.T) {
	m := newMatch("a")
	m.all("a", "slow")
	m.add("slow", "a", record.OK, 1, leaking)
	assert.Equal(t, "a", m.rank(Rules{}).Recommended)
	r := m.rank(Rules{Require: []Requirement{NoLeaks}})
	assert.Empty(t, r.Recommended)
	assert.Equal(t, []Requirement{NoLeaks}, r.Standing("a").Lacks)
}

func TestNothingIsRecommendedOfARunWithoutCells(t *testing.T) {
	m := newMatch("a")
	r := m.rank(Rules{})
	assert.Empty(t, r.Recommended)
	assert.Len(t, r.Unranked, 1)
}

// randomMatch has a few configs with random cells, some of them missing.
func randomMatch(random *rand.Rand) *match {
	configs := []string{"a", "b", "c", "d"}
	m := newMatch(configs...)
	outcomes := []record.Outcome{record.OK, record.OK, record.OK, record.Error, record.Hang, record.HarnessError}
	marks := []func(*record.Cell){leaking, tampered, unverified}
	for _, config := range configs {
		for _, s := range m.run.Scenarios {
			if random.IntN(20) == 0 {
				continue
			}
			m.add(s.Name, config, outcomes[random.IntN(len(outcomes))], record.Seconds(random.IntN(4)))
			c := &m.cells[len(m.cells)-1]
			if random.IntN(6) == 0 {
				marks[random.IntN(len(marks))](c)
			}
			if len(c.Faults) > 0 {
				c.Faults[0].Bit = random.Int64N(3)
			}
		}
	}
	return m
}

func TestTheRecommendedIsNeverDominatedNorHarmfulIfAnotherIsNot(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	recommended := 0
	for i := range 1500 {
		m := randomMatch(random)
		r := m.rank(Rules{})
		if r.Recommended == "" {
			continue
		}
		recommended++
		best := r.Standing(r.Recommended)
		require.Empty(t, best.DominatedBy, "match %d", i)
		for _, other := range r.Standings {
			harmless := len(other.Leaks)+len(other.Tampered) == 0 && other.Survival > 0
			require.False(t, harmless && len(best.Leaks)+len(best.Tampered) > 0, "match %d: %s is harmless", i, other.Config)
		}
	}
	require.Greater(t, recommended, 500, "most matches must have a recommendation")
}

func TestDominanceNeverGoesRoundInACircle(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 500 {
		r := randomMatch(random).rank(Rules{})
		for _, s := range r.Standings {
			at := &s
			for range r.Standings {
				if len(at.DominatedBy) > 0 {
					at = r.Standing(at.DominatedBy[len(at.DominatedBy)-1].By)
				}
			}
			require.Empty(t, at.DominatedBy, "match %d, from config %s", i, s.Config)
		}
	}
}

func TestTheOrderOfCellsDoesNotChangeTheRanking(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		m := randomMatch(random)
		want := m.rank(Rules{})
		random.Shuffle(len(m.cells), func(i, j int) { m.cells[i], m.cells[j] = m.cells[j], m.cells[i] })
		got := m.rank(Rules{})
		require.Equal(t, fmt.Sprint(want.Standings), fmt.Sprint(got.Standings))
	}
}
