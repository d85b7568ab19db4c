package reports

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// nights is a trend in which everything occurs.
func nights() *verdict.Trend {
	t := &verdict.Trend{Cells: 42}
	for _, day := range []string{"05", "06", "07"} {
		t.Runs = append(t.Runs, record.Run{Started: "2026-01-" + day + "T03:00:00Z", Projects: []record.Project{{Name: "small"}}})
	}
	key := record.Key{Scenario: "dead-proxy", Config: "cn-pipe", Project: "small"}
	other := record.Key{Scenario: "slow-proxy", Config: "cn-comma", Project: "small"}
	night := func(survival float64, added record.Seconds) verdict.Night {
		return verdict.Night{Ranked: true, Survival: survival, Added: added}
	}
	t.Configs = []verdict.ConfigTrend{
		{Config: "cn-pipe", Nights: []verdict.Night{night(1, 3), night(0.9, 3.2), night(0.55, 6)}},
		{Config: "cn-comma", Nights: []verdict.Night{{}, night(0.3, 1), night(0.3, 1)}},
		{Config: "new", Nights: make([]verdict.Night, 3)},
	}
	t.Turns = []verdict.Turn{
		{Cell: key, Since: 2, Fails: true, Old: "ok", New: "error tcp-connect-timeout", Turns: 1},
		{Cell: other, Since: 1, Old: "hang-no-output", New: "ok", Turns: 3},
	}
	t.Omitted = []verdict.Omission{{Reason: "scenarios: they are not in all runs, or not the same", Names: []string{"newcomer"}}}
	return t
}

func TestTrendForms(t *testing.T) {
	for _, form := range []Form{Text, Markdown, HTML} {
		var b strings.Builder
		require.NoError(t, Trend(&b, form, nights()))
		golden(t, "trend-"+string(form), b.String())
	}
}

func TestTrendSaysWhetherTheLastRunIsAnyDifferent(t *testing.T) {
	trend := nights()
	assert.Equal(t, "In the last run, 1 cell began to fail, and 0 cells to work.", trendLead(trend))
	trend.Turns = trend.Turns[1:]
	assert.Equal(t, "In the last run, each cell works or fails as in the one before.", trendLead(trend))
}

func TestSparklineShowsTheLastNightsOnly(t *testing.T) {
	many := make([]verdict.Night, 40)
	many[39] = verdict.Night{Ranked: true, Survival: 1}
	line := []rune(sparkline(many))
	assert.Len(t, line, mostNights)
	assert.Equal(t, '█', line[mostNights-1])
}
