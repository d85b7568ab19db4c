package record

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzRead checks that whatever can be read can be written and read again, and then stays as it is.
func FuzzRead(f *testing.F) {
	golden, err := os.ReadFile("testdata/results.jsonl")
	require.NoError(f, err)
	const run = `{"run":{"version":1}}` + "\n"
	f.Add(golden)
	f.Add([]byte(run + `{"cell":{"scenario":"s"`))
	f.Add([]byte(run + `{"cell":{"seconds":1e300,"stderr":"\ud800"}}`))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := Read(bytes.NewReader(text), "fuzz")
		if err != nil {
			return
		}
		second := rewrite(t, first)
		assert.Len(t, second.Cells, len(first.Cells))
		assert.Equal(t, second, rewrite(t, second))
	})
}

// rewrite returns what is read back after r was written.
func rewrite(t *testing.T, r *Results) *Results {
	t.Helper()
	lines := []line{{Run: &r.Run}}
	for i := range r.Cells {
		lines = append(lines, line{Cell: &r.Cells[i]})
	}
	var file bytes.Buffer
	for _, l := range lines {
		b, err := encode(l)
		require.NoError(t, err)
		file.Write(b)
	}
	again, err := Read(&file, "rewritten")
	require.NoError(t, err)
	return again
}
