//go:build linux

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/harness/lab/clock"
	"github.com/simrun/simrun/record"
)

// grace is how long a lab process may live beyond its command's deadline, to put the facts together.
const grace = 20 * time.Second

// A cell is one running cell as the scheduler sees it. Its plan, load, used and looked belong to the runner.
type cell struct {
	key     record.Key
	plan    planned
	start   time.Time
	lab     *lab.Process
	capture *captureFile // nil: its packets are not kept
	spec    *spec
	keeper  *clock.Keeper
	unkept  error // why its clock could not be kept: it has to be run again, with the real one

	load   float64       // CPUs that it keeps busy; 1 until that is known, 0 when its command has ended
	used   time.Duration // CPU time so far, when it was looked at
	looked bool
	rests  bool // its command has ended, and its lab is being taken apart

	abandoned atomic.Bool // its lab process was ended, because its clock could not be kept

	stopped string // the limit that it exceeded, so that its programs were ended

	mu    sync.Mutex // guards what follows
	doing string
}

// startCell starts the lab process of a cell, which keeps its packets in folder captures, if that is not empty.
func startCell(ctx context.Context, key record.Key, s *spec, captures string) (*cell, error) {
	now := time.Now()
	f, err := newCapture(captures, key)
	if err != nil {
		return nil, err
	}
	defer f.closeOurs()
	own := *s
	own.Started, own.Capture, own.Seed = now, f != nil, s.Seed+uint64(key.Rep)
	p, err := lab.Start(ctx, &own, lab.Descriptors{Capture: f.descriptor(), Carried: s.Virtual})
	if err != nil {
		return nil, errors.Join(err, f.settle(&record.Cell{Outcome: record.HarnessError}))
	}
	return &cell{key: key, start: now, lab: p, capture: f, spec: s, load: 1}, nil
}

// finish waits for the end of a cell and returns its facts. What goes wrong on the harness's side becomes
// a harness error: it must never look like the failure of a config. It calls rest when the cell's work is
// done and only the kernel's is left: namespaces take their time to go.
func (c *cell) finish(timeout time.Duration, rest func()) *record.Cell {
	defer c.lab.Close()
	deadline := time.AfterFunc(timeout+grace, c.lab.Kill)
	facts, err := c.read()
	rest()
	usage, exitErr := c.lab.Wait()
	if c.unkept = c.closeKeeper(facts, errors.Join(err, exitErr)); c.unkept != nil {
		deadline.Stop()
		_ = c.capture.settle(&record.Cell{Outcome: record.HarnessError})
		return nil
	}
	if !deadline.Stop() {
		err = fmt.Errorf("the lab process was ended: it had not ended by itself %v after its command's deadline", grace)
	}
	if err = errors.Join(err, exitErr); err != nil {
		facts = &record.Cell{Outcome: record.HarnessError, Note: err.Error()}
	}
	if err := c.capture.settle(facts); err != nil && facts.Outcome != record.HarnessError {
		facts = &record.Cell{Outcome: record.HarnessError, Note: err.Error()}
	}
	facts.Key = c.key
	facts.Clock, facts.ClockNote = clockName(c.spec.Virtual), c.spec.Unkept
	facts.RealSeconds = record.Seconds(time.Since(c.start).Seconds())
	facts.CPUSeconds = record.Seconds(usage.CPU.Seconds())
	facts.MaxRSS = max(facts.MaxRSS, usage.MaxRSS)
	return facts
}

// read reads the messages of the lab process up to the facts.
func (c *cell) read() (*record.Cell, error) {
	for {
		var m message
		err := c.lab.Receive(&m)
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) { // reset: it left a question unread
			return nil, errors.New("the lab process ended without a result")
		}
		if err != nil {
			return nil, fmt.Errorf("read the lab process's result: %w", err)
		}
		if m.Cell != nil {
			return m.Cell, nil
		}
		if m.Hello != nil {
			if err := c.keep(*m.Hello); err != nil {
				return nil, err
			}
			continue
		}
		c.mu.Lock()
		c.doing = m.Doing
		c.mu.Unlock()
	}
}

// keep begins to move the cell's clock.
func (c *cell) keep(h clock.Hello) (err error) {
	c.keeper, err = clock.Keep(c.lab.PID(), h, c.spec.Ahead, c.abandon)
	if err != nil {
		c.abandon()
	}
	return err
}

// deathTime is how long a lab process that has been killed may take to end, with its namespaces.
const deathTime = 2 * time.Second

// abandon ends a cell whose clock cannot be kept, unless its lab process is ending already: that may be why.
func (c *cell) abandon() {
	select {
	case <-c.lab.Done():
	case <-time.After(deathTime):
		c.abandoned.Store(true)
		c.lab.Kill()
	}
}

// closeKeeper ends the keeping and returns why it failed. If it never began, that is what the cell ended of. A lab
// process that somebody else has killed tells nothing about its clock.
func (c *cell) closeKeeper(facts *record.Cell, failure error) (err error) {
	if c.keeper != nil {
		var jumped time.Duration
		jumped, err = c.keeper.Close()
		if err == nil && failure == nil {
			err = keptTime(facts, jumped, time.Since(c.start))
		}
		failure = nil
	}
	switch {
	case !c.spec.Virtual, c.lab.Killed() && !c.abandoned.Load():
		return nil
	}
	return errors.Join(err, failure)
}

// keptTime makes sure that the clock of a cell has shown the jumps that it was made to do while the command ran, and
// otherwise the time that has really passed since the cell began.
func keptTime(facts *record.Cell, jumped, passed time.Duration) error {
	const rounded = time.Millisecond // more than the seconds of the record are rounded by
	took := time.Duration(float64(facts.Seconds) * float64(time.Second))
	if took < jumped-rounded || took > jumped+passed+rounded {
		return fmt.Errorf("the cell's clock counted %v, having jumped by %v in %v", took, jumped, passed)
	}
	return nil
}

func clockName(virtual bool) string {
	if virtual {
		return "virtual"
	}
	return "real"
}

// status returns what the cell is known to wait for, and asks it for news.
func (c *cell) status() Running {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.lab.Send(question{Doing: true}) // a cell that has just ended does not answer
	return Running{Key: c.key, For: time.Since(c.start), Doing: c.doing}
}

// runShellCell runs a spec's command at the terminal of this process, in a lab.
func runShellCell(ctx context.Context, s *spec) (exit int, err error) {
	p, err := lab.Start(ctx, s, lab.Descriptors{Stdio: &[3]*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	return p.WaitExit()
}
