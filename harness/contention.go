//go:build linux

package harness

import (
	"runtime"
	"slices"
	"time"

	"github.com/simrun/simrun/record"
)

// How the room for cells that work changes, in CPUs.
const (
	leastRoom  = 1.0
	roomFactor = 0.8 // with each cell that was contended
	roomStep   = 0.1 // with each one that was not
	ownShare   = 0.5 // of the CPUs: when simrun takes less, it is others for whom cells wait
	ownMemory  = 0.9 // how much of what was known at the last look counts at the next one
)

// adapt lets fewer cells work at once when they had to wait for each other, and more when they had not: a little
// more each time, and much less, as TCP does (D.-M. Chiu and R. Jain, "Analysis of the increase and decrease
// algorithms for congestion avoidance in computer networks", 1989). One may always work. Where cells wait for other
// programs, fewer of them would wait as long.
func (r *runner) adapt(c *record.Cell) {
	switch {
	case c.Outcome == record.Skipped || c.Outcome == record.HarnessError:
	case c.Contended && r.own < ownShare*float64(runtime.NumCPU()):
	case c.Contended:
		r.room = max(leastRoom, r.room*roomFactor)
	default:
		r.room = min(float64(r.plan.options.Jobs), r.room+roomStep)
	}
}

// again reports whether a cell that was contended is to be run again.
func (p *Plan) again(c *record.Cell) bool { return c.Contended && len(c.Tries) < p.options.Retries }

// after returns the cell that follows one that was contended, with an account of it.
func (p planned) after(c *record.Cell) planned {
	try := record.Try{Outcome: c.Outcome, Class: c.Class, Seconds: c.Seconds, Pressure: c.Pressure}
	p.tries = append(slices.Clip(c.Tries), try)
	return p
}

// account puts a cell that has ended among those that have, and reports whether it is the first time.
func (r *runner) account(c *record.Cell) {
	live := r.live[c.Key]
	delete(r.live, c.Key)
	r.gone += time.Duration(float64(c.CPUSeconds)*float64(time.Second)) - live.used
	if c.Tries = live.plan.tries; len(c.Tries) == 0 {
		r.done++
	}
}

// left returns how many cells have not ended, or are to be run again.
func (r *runner) left() int { return len(r.plan.cells) - r.next + len(r.retries) + len(r.live) }

// retryOne starts a cell that was contended, when nothing else is left to do: it has the machine to itself as far
// as that is simrun's.
func (r *runner) retryOne() (p planned, ok bool) {
	if r.next < len(r.plan.cells) || len(r.retries) == 0 || len(r.live) > 0 {
		return p, false
	}
	p, r.retries = r.retries[0], r.retries[1:]
	return p, true
}
