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

// A class without a party would be reported as nobody's.
func TestEveryClassHasAParty(t *testing.T) {
	for class := range remedies {
		if class != Unclassified {
			assert.NotEqual(t, "not known", party(class), class)
		}
	}
}
