//go:build linux

package harness

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
	"github.com/simrun/simrun/verdict"
)

// failures is the content of testdata/failures.yaml, which explains itself.
type failures struct {
	Rows    []failure
	Missing []outOfReach
}

// A failure is an error line that users met, and a setting in which the go command prints it.
type failure struct {
	Setting `yaml:",inline"`
	Also    []string // ids of other lines that come about in the same way
	Line    string   // glob over one line of the output, within which it may lie anywhere; empty for a hang
	Class   string
}

// TestFailures brings about the error lines that users met: the real go command must print them, and they
// must be classified as what they are.
func TestFailures(t *testing.T) {
	t.Parallel()
	requireLab(t)
	rows := readFailures(t).Rows
	var settings []Setting
	for _, row := range rows {
		settings = append(settings, row.Setting)
	}
	cells := runSettings(t, settings)
	for _, row := range rows {
		t.Run(row.ID, func(t *testing.T) {
			cell := cells[scenarioName(row.ID)]
			require.NotNil(t, cell, "the run has left it out")
			row.check(t, cell)
		})
	}
}

func (f *failure) check(t *testing.T, cell *record.Cell) {
	t.Helper()
	want := record.Error
	if f.Class == verdict.Hang {
		want = record.Hang
	}
	require.Equal(t, want, cell.Outcome, "%s %s\nhosts: %v", cell.Note, cell.Stderr, cell.Hosts)
	shows := func(line string) bool { return scenarios.Glob("*"+f.Line+"*", line) }
	assert.True(t, slices.ContainsFunc(strings.Split(cell.Stderr, "\n"), shows), "no line shows %s in\n%s", f.Line, cell.Stderr)
	assert.Equal(t, f.Class, cell.Class, "class of %s", cell.Stderr)
	for _, bite := range cell.Faults {
		assert.Positive(t, bite.Bit, "the counter of %s", bite.Fault)
	}
}

// TestFailuresAreComplete checks that no known line is dropped silently: each is brought about, or said to be
// out of reach.
func TestFailuresAreComplete(t *testing.T) {
	all := readFailures(t)
	var have []string
	for _, row := range all.Rows {
		assert.Equal(t, row.Class == verdict.Hang, row.Line == "", row.ID)
		have = append(append(have, row.ID), row.Also...)
	}
	checkComplete(t, "testdata/failures.ids", have, all.Missing)
}

func readFailures(t *testing.T) *failures {
	t.Helper()
	all := new(failures)
	readTable(t, "testdata/failures.yaml", all)
	return all
}
