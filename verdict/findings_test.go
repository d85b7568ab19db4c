package verdict

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// findingsText writes findings for a golden file.
func findingsText(findings []Finding) string {
	var b strings.Builder
	for i, f := range findings {
		fmt.Fprintf(&b, "%d. %s\n", i+1, f.Question)
		for _, s := range f.Statements {
			fmt.Fprintf(&b, "   - %s\n", s.Text)
			for _, k := range s.Cells {
				fmt.Fprintf(&b, "     %s/%s\n", k.Scenario, k.Config)
			}
			if s.More > 0 {
				fmt.Fprintf(&b, "     and %d more\n", s.More)
			}
		}
		for _, l := range f.Lacks {
			fmt.Fprintf(&b, "   lacks %s\n", l)
		}
	}
	return b.String()
}

// The run in testdata of package reports is one that was recorded, with other names for the hosts of Go's
// defaults.
func TestFindingsOfARecordedRun(t *testing.T) {
	results, err := record.ReadFile("../reports/testdata/run.jsonl")
	require.NoError(t, err)
	ranking := Rank(&results.Run, results.Cells, Rules{})
	got := findingsText(Findings(&results.Run, results.Cells, ranking))
	const golden = "testdata/findings.golden"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o666))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run go test -update if this is meant")
}

func TestEveryQuestionIsAnsweredOrSaysWhatTheRunLacks(t *testing.T) {
	for name, m := range map[string]*match{"no cells": newMatch(), "one config": newMatch("a")} {
		t.Run(name, func(t *testing.T) {
			if len(m.run.Configs) > 0 {
				m.all("a")
			}
			findings := Findings(&m.run, m.cells, m.rank(Rules{}))
			require.Len(t, findings, 14)
			for _, f := range findings {
				assert.NotEmpty(t, len(f.Statements)+len(f.Lacks), f.Question)
			}
		})
	}
}

func TestSilenceIsTheLongestTimeWithoutAnythingFromTheNetwork(t *testing.T) {
	c := &record.Cell{
		Seconds:  60,
		Queries:  []record.Query{{Start: 0, End: 1}},
		Conns:    []record.Conn{{Start: 1, Established: 2}},
		Requests: []record.Request{{Start: 2, First: 32, End: 33}, {Start: 40}},
	}
	assert.InDelta(t, 30, float64(silence(c)), 1e-9)
}

func TestStrategiesAreComparedWithTheSameSettingsWithoutThem(t *testing.T) {
	m := newMatch("plain", "again", "kept", "other")
	env := map[string]string{"GOPROXY": "https://p.test"}
	for i := range 3 {
		m.run.Configs[i].Env = env
	}
	m.run.Configs[1].Retry, m.run.Configs[2].Cache = "attempts=3", "warm"
	m.run.Configs[3].Retry = "attempts=2" // of other settings, without a twin
	m.all("plain", "dead", "slow")
	m.add("dead", "plain", record.Error, 10)
	m.add("slow", "plain", record.Error, 10)
	m.all("again", "dead", "slow")
	m.add("dead", "again", record.Error, 33)
	m.add("slow", "again", record.OK, 12)
	m.all("kept", "well", "dead")
	m.add("dead", "kept", record.OK, 1, unmet)
	m.add("well", "kept", record.Error, 1)
	text := findingsText(Findings(&m.run, m.cells, m.rank(Rules{})))
	assert.Contains(t, text, `Of the 2 cells in which plain failed, trying again (attempts=3) saved 1 (again), in 12.0 s on average; `+
		"where it did not help, the failure came after 33.0 s instead of 10.0 s.\n     slow/again\n")
	assert.Contains(t, text, "Of the 2 cells in which plain failed, keeping the module cache saved 2 (kept), in 1.0 s on average.\n")
	assert.Contains(t, text, "kept failed in 1 cell in which plain worked.\n     well/plain\n")
	assert.NotContains(t, text, "(other)")
}

// A class without a party would be reported as nobody's.
func TestEveryClassHasAParty(t *testing.T) {
	for class := range remedies {
		if class != Unclassified {
			assert.NotEqual(t, "not known", party(class), class)
		}
	}
}
