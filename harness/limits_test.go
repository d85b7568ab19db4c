//go:build linux

package harness

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// limitedCell runs a shell script as the command of a healthy cell, under limits. Scripts are hostile only as far as
// the machine bears it if a limit does not hold.
func limitedCell(t *testing.T, l Limits, script string) *record.Cell {
	t.Helper()
	requireLab(t)
	o := nearOptions(t, small)
	o.Limits, o.Timeout = l, time.Minute
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	p.cells[0].spec.Command = []string{"/bin/bash", "-c", script}
	return runOne(t, p)
}

func TestLimitsOfACell(t *testing.T) {
	t.Parallel()
	const enough = 600 << 20 // for the lab process, which has the limit, too: with the race detector it takes half of that
	for _, test := range []struct {
		name   string
		limits Limits
		script string
		says   string
	}{
		{"a fork storm", Limits{Processes: 400}, // dash gives up at once, bash tries again for long
			`exec dash -c 'i=0; while [ $i -lt 1500 ]; do sleep 5 & i=$((i+1)); done; wait'`, "(?i)fork|there were"}, // by the kernel, or else by the scheduler
		{"one process takes memory", Limits{Memory: enough},
			`x=0123456789abcdef; for i in $(seq 26); do x=$x$x; done`, "cannot allocate"},
		{"many processes take memory", Limits{Memory: enough},
			`eat() { x=$(head -c 60000000 /dev/zero | tr '\0' x); sleep 20; }; for i in 1 2 3 4 5 6 7 8 9 10; do eat & done; wait`,
			"simrun: ended all programs: the programs of the cell took"},
		{"a file fills the disk", Limits{Disk: 32 << 20},
			`head -c 100000000 /dev/zero >"$TMPDIR/large"`, "No space left on device"},
		{"too many open files", Limits{Files: 300},
			`for i in $(seq 10 600); do eval "exec $i</dev/null" || exit 1; done`, "300: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := limitedCell(t, test.limits, test.script)
			assert.Equal(t, record.Error, c.Outcome, "%s\n%s", c.Note, c.Stderr)
			assert.Regexp(t, test.says, c.Stderr)
			assert.Equal(t, strings.Contains(c.Stderr, "simrun: ended all programs: "), c.Limit != "", c.Limit)
		})
	}
}

func TestParseLimit(t *testing.T) {
	t.Parallel()
	var l Limits
	for _, text := range []string{"memory=1GiB", "disk=64MiB", "processes=500", "files=300"} {
		require.NoError(t, l.ParseLimit(text))
	}
	assert.Equal(t, Limits{Memory: 1 << 30, Disk: 64 << 20, Processes: 500, Files: 300}, l)
	assert.Equal(t, l, l.orDefault())
	for text, says := range map[string]string{
		"fork=1":       `"fork" is no limit: there are memory, disk, processes, files`,
		"memory":       "memory=: ",
		"memory=1MiB":  "memory=1MiB is less than a cell needs: the least is 268435456",
		"processes=10": "processes=10 is less than a cell needs: the least is 301",
		"processes=-1": "is less than a cell needs",
		"files=many":   "files=many: ",
	} {
		require.ErrorContains(t, l.ParseLimit(text), says)
	}
}

func TestExceeded(t *testing.T) {
	t.Parallel()
	assert.Empty(t, Limits{}.exceeded(usage{memory: 1 << 50, tasks: 1 << 20}))
	l := Limits{}.orDefault()
	assert.Empty(t, l.exceeded(usage{memory: l.Memory, tasks: l.Processes}))
	assert.Contains(t, l.exceeded(usage{memory: l.Memory + 1}), "MiB of memory")
	assert.Contains(t, l.exceeded(usage{tasks: l.Processes + 1}), "processes and threads")
}
