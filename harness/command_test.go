//go:build linux

package harness

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

var fromA = map[string]string{"GOPROXY": "https://a.test", "GOSUMDB": "off"}

// TestAttemptsOfWrappers runs commands that fail first, that never end and that end well at once, each in the
// wrapper of a config or beside others.
func TestAttemptsOfWrappers(t *testing.T) {
	t.Parallel()
	requireLab(t)
	refusedTwice := []map[string]any{{"host": "a.test", "http": map[string]any{"status": 503}, "first": 2}}
	silent := []map[string]any{{"host": "a.test", "http": map[string]any{"hang": true}}}
	cells := runSettings(t, []Setting{
		{ID: "cured", Project: "R", Env: fromA, Retry: map[string]any{"attempts": 5}, Faults: refusedTwice},
		{ID: "not-tried-again", Project: "R", Env: fromA, Faults: refusedTwice},
		{ID: "at-once", Project: "R", Env: fromA, Retry: map[string]any{"attempts": 5}},
		{ID: "timed-out", Project: "R", Env: fromA, Retry: map[string]any{"attempts": 2, "timeout": "1s", "backoff": "500ms"}, Faults: silent},
		{ID: "waits-for-ever", Project: "R", Env: fromA, Retry: map[string]any{"attempts": 2}, Faults: silent, Deadline: "3s"},
		{ID: "between-attempts", Project: "R", Env: fromA, Retry: map[string]any{"attempts": 2, "backoff": "1h"}, Faults: refusedTwice, Deadline: "5s"},
		{ID: "three-at-once", Project: "three", Env: fromA, Parallel: 3},
		{ID: "one-of-two", Project: "R", Env: fromA, Parallel: 2, Run: []string{"sh", "-c", "case $PWD in *-2) exit 3;; esac; go mod tidy"}},
	})
	outcomes := func(id string) (all []record.Outcome) {
		require.NotNil(t, cells[id], id)
		for _, a := range cells[id].Attempts {
			all = append(all, a.Outcome)
		}
		return all
	}
	assert.Equal(t, record.OK, cells["cured"].Outcome, "%s", cells["cured"].Stderr)
	assert.Equal(t, []record.Outcome{record.Error, record.Error, record.OK}, outcomes("cured"))
	assert.Contains(t, cells["cured"].Attempts[0].Stderr, "503 Service Unavailable")

	assert.Equal(t, record.Error, cells["not-tried-again"].Outcome)
	assert.Empty(t, outcomes("not-tried-again"))

	assert.Equal(t, []record.Outcome{record.OK}, outcomes("at-once"))

	timedOut := cells["timed-out"]
	assert.Equal(t, record.Error, timedOut.Outcome)
	assert.Equal(t, 124, timedOut.Exit)
	assert.Equal(t, verdict.AttemptTimeout, timedOut.Class)
	assert.Equal(t, []record.Outcome{record.Hang, record.Hang}, outcomes("timed-out"))
	assert.NotEmpty(t, timedOut.Waiting)
	first, second := timedOut.Attempts[0], timedOut.Attempts[1]
	assert.GreaterOrEqual(t, second.Start, first.Start+first.Seconds+0.5, "the wait between them")

	assert.Equal(t, record.Hang, cells["waits-for-ever"].Outcome)
	assert.Equal(t, []record.Outcome{record.Hang}, outcomes("waits-for-ever"))

	assert.Equal(t, record.Hang, cells["between-attempts"].Outcome)
	assert.Equal(t, []record.Outcome{record.Error}, outcomes("between-attempts"))

	assert.Equal(t, record.OK, cells["three-at-once"].Outcome, "%s", cells["three-at-once"].Stderr)
	assert.Equal(t, []record.Outcome{record.OK, record.OK, record.OK}, outcomes("three-at-once"))
	assert.Len(t, cells["three-at-once"].Modules, 3, "one module cache for all")

	assert.Equal(t, record.Error, cells["one-of-two"].Outcome)
	assert.Equal(t, 3, cells["one-of-two"].Exit)
	assert.ElementsMatch(t, []record.Outcome{record.OK, record.Error}, outcomes("one-of-two"))
}
