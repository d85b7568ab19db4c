package reports

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/record"
)

func TestAttemptsAreListed(t *testing.T) {
	run, c := story()
	assert.NotContains(t, explained(t, run, c, ExplainOptions{}), "Attempts")
	c.Attempts = []record.Attempt{
		{Start: 0, Seconds: 10, Outcome: record.Error, Exit: 1, Stderr: "go: first line\n\tof \x1b[2J503\n\n"},
		{Start: 11, Seconds: 20, Outcome: record.Hang, Exit: 124},
		{Start: 33, Seconds: 0.5, Outcome: record.OK, Stderr: "go: downloading m v1.0.0\n"},
	}
	text := explained(t, run, c, ExplainOptions{})
	assert.Contains(t, text, "Attempts\n  at 0.00s: error 10.0s: of ")
	assert.NotContains(t, text, "\x1b")
	assert.Contains(t, text, "\n  at 11.0s: hang >20s\n  at 33.0s: ok 0.50s\n")
}

func TestAttemptsOfSeveralCommandsSayWhichIsWhich(t *testing.T) {
	c := &record.Cell{Attempts: []record.Attempt{{Outcome: record.OK, Seconds: 1}, {Command: 1, Outcome: record.Error, Seconds: 2, Stderr: "go: no"}}}
	assert.Equal(t, []string{"command 1, at 0.00s: ok 1.00s", "command 2, at 0.00s: error 2.00s: go: no"}, attemptTexts(c))
	assert.Empty(t, attemptTexts(&record.Cell{}))
}
