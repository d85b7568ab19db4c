//go:build linux

package harness

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// TestContendedCellsAreRunAgain runs a command that has to wait for a CPU, as it makes many others busy, for one to two
// seconds: bash counts them by the clock on the wall.
func TestContendedCellsAreRunAgain(t *testing.T) {
	requireLab(t)
	t.Parallel()
	o := nearOptions(t, small)
	o.Retries = 1
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	p.cells[0].spec.Command = []string{"/bin/bash", "-c",
		`busy() { while [ $SECONDS -lt 2 ]; do :; done; }; for i in $(seq $0); do busy & done; busy; wait`, strconv.Itoa(4 * runtime.NumCPU())}
	var cells []*record.Cell
	require.NoError(t, p.Run(t.Context(), func(c *record.Cell) error {
		cells = append(cells, c)
		return nil
	}, nil))
	require.Len(t, cells, 2, "as it ended first, and again")
	first, last := cells[0], cells[1]
	assert.Equal(t, record.OK, first.Outcome, "%s%s", first.Note, first.Stderr)
	assert.True(t, first.Contended)
	assert.Empty(t, first.Tries)
	assert.Equal(t, first.Key, last.Key)
	assert.Equal(t, []record.Try{{Outcome: record.OK, Seconds: first.Seconds, Pressure: first.Pressure}}, last.Tries)
	assert.Greater(t, float64(last.Pressure.CPU), 0.05, "seconds that the shell waited for a CPU")

	require.NoError(t, p.Skip([]record.Cell{*first}))
	assert.Len(t, p.retries, 1, "a run that is resumed goes on with it")
	p.cells, p.retries = append(p.cells, planned{key: last.Key}), nil
	require.NoError(t, p.Skip([]record.Cell{*last}))
	assert.Empty(t, p.retries, "it has had all its tries")
}

func TestFewerCellsWorkWhileTheyHaveToWait(t *testing.T) {
	r := &runner{plan: &Plan{options: Options{Jobs: 8}}, room: 8, own: 0}
	contended, calm := &record.Cell{Outcome: record.OK, Contended: true}, &record.Cell{Outcome: record.OK}
	r.adapt(contended)
	assert.InDelta(t, 8, r.room, 1e-9, "others keep the machine busy")
	r.own = float64(runtime.NumCPU())
	r.adapt(contended)
	assert.InDelta(t, 8*roomFactor, r.room, 1e-9)
	for range 100 {
		r.adapt(contended)
	}
	assert.InDelta(t, leastRoom, r.room, 1e-9, "one may always work")
	r.adapt(&record.Cell{Outcome: record.HarnessError})
	assert.InDelta(t, leastRoom, r.room, 1e-9, "it says nothing")
	for range 100 {
		r.adapt(calm)
	}
	assert.InDelta(t, 8, r.room, 1e-9, "and no more than --jobs")
}
