package verdict

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/record"
)

func TestContended(t *testing.T) {
	for _, test := range []struct {
		name           string
		seconds        record.Seconds
		pressure       record.Pressure
		notToBeTrusted bool
	}{
		{"nothing waited", 0.01, record.Pressure{}, false},
		{"a short cell waited as long as many do", 0.01, record.Pressure{CPU: 0.05}, false},
		{"a short cell waited longer", 0.01, record.Pressure{CPU: 0.051}, true},
		{"a long cell waited for little of it", 30, record.Pressure{CPU: 3}, false},
		{"a long cell waited for much of it", 30, record.Pressure{CPU: 3.1}, true},
		{"memory was short", 1, record.Pressure{Memory: 0.11}, true},
	} {
		c := record.Cell{Outcome: record.OK, Seconds: test.seconds, Pressure: test.pressure}
		Judge(&record.Run{}, &c)
		assert.Equal(t, test.notToBeTrusted, c.Contended, test.name)
	}
}

// slowIfContended makes cells of which all repetitions but the first were contended, and took ten times as long.
func slowIfContended(_, _, rep int) record.Cell {
	c := record.Cell{Outcome: record.OK, Seconds: 1, SetupTime: 0.01}
	if rep > 0 {
		c.Seconds, c.Contended = 10, true
	}
	return c
}

func TestRankingTakesTimesOfCalmCells(t *testing.T) {
	r := night(3, 2, 4, slowIfContended)
	for _, s := range Rank(&r.Run, r.Cells, Rules{}).Standings {
		assert.InDelta(t, 1, float64(s.Normal), 1e-9, s.Config)
	}
	r = night(3, 2, 4, func(s, c, _ int) record.Cell { return slowIfContended(s, c, 1) })
	for _, s := range Rank(&r.Run, r.Cells, Rules{}).Standings {
		assert.InDelta(t, 10, float64(s.Normal), 1e-9, "%s: there are no others", s.Config)
	}
}

func TestCompareLeavesContendedTimesOut(t *testing.T) {
	calm := func(int, int, int) record.Cell { return slowIfContended(0, 0, 0) }
	old, new := night(6, 3, 8, calm), night(6, 3, 8, slowIfContended)
	c := Compare(old, new, CompareRules{})
	assert.Empty(t, c.Times)
	assert.Equal(t, 6*3*7, c.Contended)
	assert.InDelta(t, 1, c.Overall, 1e-9)
	for i := range new.Cells {
		new.Cells[i].Contended = false
	}
	assert.NotEmpty(t, Compare(old, new, CompareRules{}).Times, "they would have counted")
}
