package verdict

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// weeks makes runs of four scenarios and two configs, of which a function says which cells work.
func weeks(nights int, works func(night, scenario, config int) bool) []*record.Results {
	var runs []*record.Results
	for n := range nights {
		r := night(4, 2, 1, func(s, c, _ int) record.Cell {
			if works(n, s, c) {
				return record.Cell{Outcome: record.OK, Seconds: 1}
			}
			return record.Cell{Outcome: record.Error, Class: "http-503", Seconds: 2}
		})
		r.Run.Started = "2026-01-0" + string(rune('1'+n)) + "T03:00:00Z"
		for i := range r.Run.Scenarios {
			r.Run.Scenarios[i].Weight = 1
		}
		runs = append(runs, r)
	}
	return runs
}

func TestTrendFollowsConfigsThroughTheNights(t *testing.T) {
	runs := weeks(3, func(n, s, c int) bool { return c == 0 || s >= n })
	runs[0], runs[2] = runs[2], runs[0] // the order of the arguments does not matter
	got := NewTrend(runs)
	require.Len(t, got.Runs, 3)
	assert.Equal(t, "2026-01-01T03:00:00Z", got.Runs[0].Started)
	require.Len(t, got.Configs, 2)
	var survival []float64
	for _, n := range got.Configs[1].Nights {
		require.True(t, n.Ranked)
		survival = append(survival, n.Survival)
	}
	assert.Equal(t, []float64{1, 0.75, 0.5}, survival)
	assert.Equal(t, 8, got.Cells)
	assert.Empty(t, got.Omitted)
	assert.Equal(t, "2026-01-03T03:00:00Z", runs[0].Run.Started, "the argument is as it was")
}

func TestTrendSaysSinceWhenACellIsAsItIs(t *testing.T) {
	key := func(scenario, config string) record.Key {
		return record.Key{Scenario: scenario, Config: config, Project: "small"}
	}
	got := NewTrend(weeks(5, func(n, s, c int) bool {
		switch {
		case s == 0 && c == 0:
			return n < 2 // broke in the third night
		case s == 1 && c == 1:
			return n >= 4 // mended in the last
		case s == 2 && c == 0:
			return n%2 == 0 // turns each night
		}
		return true
	}))
	assert.Equal(t, []Turn{
		{Cell: key("s1", "c1"), Since: 4, Old: "error http-503", New: "ok", Turns: 1},
		{Cell: key("s2", "c0"), Since: 4, Old: "error http-503", New: "ok", Turns: 4},
		{Cell: key("s0", "c0"), Since: 2, Fails: true, Old: "ok", New: "error http-503", Turns: 1},
	}, got.Turns)
}

func TestTrendLooksAtWhatAllRunsHave(t *testing.T) {
	runs := weeks(3, func(_, s, _ int) bool { return s != 3 })
	runs[0].Run.Scenarios[3].Digest = "other"
	runs[1].Run.Scenarios[2].Name = "elsewhere"
	got := NewTrend(runs)
	assert.Equal(t, []Omission{{"scenarios: they are not in all runs, or not the same", []string{"elsewhere", "s2", "s3"}}}, got.Omitted)
	assert.Equal(t, 4, got.Cells)
	for _, c := range got.Configs {
		for _, n := range c.Nights {
			assert.InDelta(t, 1, n.Survival, 0, "what failed is not in all runs")
		}
	}
}

func TestTrendOfASingleRunHasNoTurns(t *testing.T) {
	got := NewTrend(weeks(1, func(int, int, int) bool { return false }))
	assert.Empty(t, got.Turns)
	assert.Len(t, got.Configs[0].Nights, 1)
}
