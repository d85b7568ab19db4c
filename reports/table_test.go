package reports

import (
	"encoding/json"
	"slices"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

func TestSummarize(t *testing.T) {
	run, cells := small()
	table := Summarize(run, cells)

	assert.Equal(t, []string{"cn-comma", "cn-pipe", "direct-only"}, table.Configs)
	require.Len(t, table.Rows, 3)
	assert.Equal(t, 9, table.Cells)
	assert.Equal(t, map[record.Outcome]int{
		record.OK: 4, record.Error: 2, record.Hang: 1, record.Skipped: 1, record.HarnessError: 1,
	}, table.Outcomes)
	assert.Equal(t, 2, table.Unexercised)

	require.Len(t, table.Broken, 1)
	assert.Equal(t, []record.Key{cells[4].Key}, table.Broken[0].Cells)
	assert.Equal(t, []Finding{{Text: cells[7].Note, Cells: []record.Key{cells[7].Key}}}, table.Failures)
	assert.Equal(t, []Finding{{Text: cells[2].Note, Cells: []record.Key{cells[2].Key}}}, table.Skips)
	assert.Equal(t, 1, table.Rows[1].Entries[1].Broken)
}

// Summarize must not change what it is given, nor give away its arguments.
func TestSummarizeIsPure(t *testing.T) {
	run, cells := small()
	slices.Reverse(cells)
	before := encode(t, run, cells)
	first := encode(t, Summarize(run, cells))
	require.Equal(t, first, encode(t, Summarize(run, cells)))
	require.Equal(t, before, encode(t, run, cells))
}

func encode(t *testing.T, values ...any) string {
	t.Helper()
	data, err := json.Marshal(values)
	require.NoError(t, err)
	return string(data)
}

func TestSummarizeKeepsWhatTheRunDoesNotList(t *testing.T) {
	run, _ := small()
	table := Summarize(run, []record.Cell{
		cell("zebra", "other", record.OK, 1),
		cell("aardvark", "another", record.OK, 2),
		cell("silent-proxy", "cn-pipe", record.OK, 3),
	})
	assert.Equal(t, []string{"cn-comma", "cn-pipe", "direct-only", "another", "other"}, table.Configs)
	var rows []string
	for _, r := range table.Rows {
		rows = append(rows, r.Scenario)
	}
	assert.Equal(t, []string{"silent-proxy", "aardvark", "zebra"}, rows)
	assert.Zero(t, table.Rows[0].Entries[0], "a cell that was not recorded")
	assert.Equal(t, record.OK, table.Rows[2].Entries[4].Outcome)
}

func TestFold(t *testing.T) {
	run, _ := small()
	tests := []struct {
		name  string
		cells []record.Cell
		want  Entry
	}{
		{"one", []record.Cell{cell("a", "b", record.OK, 2)},
			Entry{Outcome: record.OK, Reps: 1, OK: 1, Median: 2, Min: 2, Max: 2}},
		{"median of an even number", []record.Cell{cell("a", "b", record.OK, 4), cell("a", "b", record.OK, 1)},
			Entry{Outcome: record.OK, Reps: 2, OK: 2, Median: 2.5, Min: 1, Max: 4}},
		{"mixed", []record.Cell{cell("a", "b", record.OK, 1), cell("a", "b", record.Hang, 3), cell("a", "b", record.OK, 2)},
			Entry{Outcome: Mixed, Reps: 3, OK: 2, Median: 2, Min: 1, Max: 3}},
		{"a harness error hides all else", []record.Cell{
			cell("a", "b", record.OK, 1), cell("a", "b", record.HarnessError, 9), cell("a", "b", record.Error, 1)},
			Entry{Outcome: record.HarnessError, Reps: 2, OK: 1, Median: 1, Min: 1, Max: 1}},
		{"skipped does not count", []record.Cell{cell("a", "b", record.Skipped, 0), cell("a", "b", record.Error, 5)},
			Entry{Outcome: record.Error, Reps: 1, Median: 5, Min: 5, Max: 5}},
		{"all skipped", []record.Cell{cell("a", "b", record.Skipped, 0), cell("a", "b", record.Skipped, 0)},
			Entry{Outcome: record.Skipped}},
		{"partly exercised", []record.Cell{cell("a", "b", record.OK, 1, bit(0)), cell("a", "b", record.OK, 1, bit(1))},
			Entry{Outcome: record.OK, Reps: 2, OK: 2, Unexercised: 1, Median: 1, Min: 1, Max: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, fold(run, test.cells))
			slices.Reverse(test.cells)
			assert.Equal(t, test.want, fold(run, test.cells), "in the other order")
		})
	}
}

func TestSpread(t *testing.T) {
	assert.InDelta(t, 0.25, Entry{Median: 2, Min: 1.9, Max: 2.5}.Spread(), 1e-9)
	assert.InDelta(t, 0.5, Entry{Median: 2, Min: 1, Max: 2.5}.Spread(), 1e-9)
	assert.Zero(t, Entry{}.Spread())
}

func TestEntryText(t *testing.T) {
	tests := []struct {
		entry Entry
		want  string
	}{
		{Entry{}, "-"},
		{Entry{Outcome: record.OK, Reps: 1, OK: 1, Median: 0.214}, "ok 0.21s"},
		{Entry{Outcome: record.Error, Reps: 1, Median: 30.04}, "error 30.0s"},
		{Entry{Outcome: record.Hang, Reps: 1, Median: 60}, "hang >60s"},
		{Entry{Outcome: record.OK, Reps: 1, OK: 1, Median: 9.995}, "ok 10.0s"},
		{Entry{Outcome: record.OK, Reps: 1, OK: 1, Median: 99.96}, "ok 100s"},
		{Entry{Outcome: record.OK, Reps: 3, OK: 3, Median: 2, Min: 1.9, Max: 2.5}, "ok 2.00s ±25%"},
		{Entry{Outcome: record.OK, Reps: 1, OK: 1, Median: 2, Unexercised: 1}, "ok 2.00s*"},
		{Entry{Outcome: record.OK, Reps: 1, OK: 1, Median: 2, Unexercised: 1, Broken: 1}, "ok 2.00s!*"},
		{Entry{Outcome: Mixed, Reps: 3, OK: 2, Median: 2}, "mixed 2/3 ok"},
		{Entry{Outcome: record.HarnessError}, "HARNESS-ERROR"},
		{Entry{Outcome: record.Skipped}, "skipped"},
	}
	for _, test := range tests {
		assert.Equal(t, test.want, test.entry.text())
	}
}

func TestLine(t *testing.T) {
	c := cell("dead-proxy", "cn-comma", record.Error, 30.02, class("tcp-connect-timeout"), rep(1))
	assert.Equal(t, "dead-proxy × cn-comma #2  error 30.0s tcp-connect-timeout", Line(&c))
	c = cell("dead-proxy", "cn-comma", record.HarnessError, 0, note("lab died:\n  out of memory"))
	assert.Equal(t, "dead-proxy × cn-comma  HARNESS-ERROR: lab died: out of memory", Line(&c))
}

func TestClean(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"cn-comma", "cn-comma"},
		{"中国 é", "中国 é"},
		{"\x1b[31m", `\x1b[31m`},
		{"a\nb\tc\r", `a\nb\tc\r`},
		{"\u202e", `\u202e`},
		{"\u009b", `\u009b`},
		{"\xff\ufffd", `\xff` + "\ufffd"},
	}
	for _, test := range tests {
		assert.Equal(t, test.want, Clean(test.in), "%q", test.in)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("cn-comma")
	f.Add("\x1b[2J\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		clean := Clean(s)
		for _, r := range clean {
			require.True(t, unicode.IsPrint(r), "%q in %q", r, clean)
		}
		require.Equal(t, clean, Clean(clean), "cleaning twice")
	})
}
