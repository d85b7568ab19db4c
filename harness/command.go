//go:build linux

package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/harness/lab/clock"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// timedOut is the exit status that timeout(1) gives a command that it has ended.
const timedOut = 124

// An ending is how the commands of a cell ended.
type ending struct {
	outcome  record.Outcome
	exit     int
	stderr   string
	took     time.Duration
	usage    lab.Usage
	pressure record.Pressure
	attempts []record.Attempt // nil if there could be one only
	proven   bool             // nothing would ever have happened again
}

// said returns the output of all commands in all attempts.
func (e *ending) said() string {
	text := e.stderr
	for _, a := range e.attempts {
		text += a.Stderr
	}
	return text
}

// runCommands runs the cell's command on the client host, or so many of it at once as the project has, until
// all have ended or the deadline has come. Alone says that the cell has no other programs.
func runCommands(n *lab.Network, s *spec, alone bool) (ending, error) {
	pressure := lab.NewPressure()
	n.Begin()
	begin := time.Now() // before the deadline is set, so that what reaches it has taken as long
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	clock.TheBoard().Begin(begin.Add(s.Timeout))
	commands := make([]*command, max(s.Parallel, 1))
	errs := make([]error, len(commands))
	var running sync.WaitGroup
	for i := range commands {
		c := &command{number: i, network: n, spec: s, alone: alone, begin: begin}
		commands[i] = c
		running.Go(func() { errs[i] = c.run(ctx) })
	}
	running.Wait()
	e := conclude(commands)
	e.proven = clock.TheBoard().End()
	e.took = time.Since(begin)
	e.pressure.CPU += seconds(pressure.CPU())
	e.pressure.Memory = seconds(pressure.Memory())
	return e, errors.Join(errs...)
}

// conclude puts the ends of the commands together: the first that did not end well counts.
func conclude(commands []*command) ending {
	worst := commands[0]
	if i := slices.IndexFunc(commands, func(c *command) bool { return c.outcome != record.OK }); i >= 0 {
		worst = commands[i]
	}
	e := ending{outcome: worst.outcome, exit: worst.exit, stderr: worst.stderr}
	for _, c := range commands {
		e.usage.CPU += c.usage.CPU
		e.pressure.CPU = max(e.pressure.CPU, seconds(c.waited))
		e.usage.MaxRSS = max(e.usage.MaxRSS, c.usage.MaxRSS)
		e.attempts = append(e.attempts, c.attempts...)
	}
	slices.SortStableFunc(e.attempts, func(a, b record.Attempt) int { return compare(a.Start, b.Start) })
	if len(commands) == 1 && worst.spec.Config.Retry == nil {
		e.attempts = nil // the one that there is says nothing more
	}
	return e
}

// A command is one of those that a cell runs, with the wrapper of the config around it.
type command struct {
	number  int
	network *lab.Network
	spec    *spec
	alone   bool      // the cell has no programs but commands
	begin   time.Time // of the cell

	outcome  record.Outcome // how it ended, as the next three
	exit     int
	stderr   string
	usage    lab.Usage
	waited   time.Duration // for a CPU
	attempts []record.Attempt
}

// run runs the command until it ends well or has had all its attempts, or ctx ends.
func (c *command) run(ctx context.Context) error {
	retry := scenarios.Retry{Attempts: 1}
	if c.spec.Config.Retry != nil {
		retry = *c.spec.Config.Retry
	}
	rng := rand.New(rand.NewPCG(c.spec.Seed, uint64(c.number)))
	for n := 1; ; n++ {
		if err := c.attempt(ctx, retry.Timeout); err != nil {
			return err
		}
		if c.outcome == record.OK || ctx.Err() != nil || n >= retry.Attempts {
			return nil
		}
		select {
		case <-time.After(retry.Wait(n, rng.Float64())):
		case <-ctx.Done():
			c.outcome = record.Hang // the wrapper was ended while it waited
			return nil
		}
	}
}

// attempt runs the command once, for so long at most; 0 means as long as ctx lives.
func (c *command) attempt(ctx context.Context, limit time.Duration) error {
	own, cancel := ctx, context.CancelFunc(func() {})
	if limit > 0 {
		own, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	start := time.Now()
	output := lab.Ends{Size: maxStderr / 2}
	cmd := c.process(own, &output)
	if err := c.network.Start(cmd, c.alone); err != nil {
		return fmt.Errorf("start %s: %w", c.spec.Command[0], err)
	}
	awaitEnd(cmd.Process.Pid)
	c.waited += lab.RunDelay(cmd.Process.Pid)
	err := cmd.Wait()
	took, usage := time.Since(start), lab.UsageOf(cmd.ProcessState)
	c.usage.CPU += usage.CPU
	c.usage.MaxRSS = max(c.usage.MaxRSS, usage.MaxRSS)
	c.stderr, c.exit = output.String(), cmd.ProcessState.ExitCode()
	how := record.OK
	switch {
	case ctx.Err() != nil:
		c.outcome, how = record.Hang, record.Hang
	case own.Err() != nil:
		c.outcome, c.exit, how = record.Error, timedOut, record.Hang // the wrapper fails, and does not hang
	case c.exit != 0:
		c.outcome, how = record.Error, record.Error
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return fmt.Errorf("wait for %s: %w", c.spec.Command[0], err)
	default:
		c.outcome = record.OK
	}
	c.attempts = append(c.attempts, record.Attempt{Command: c.number, Outcome: how, Exit: c.exit, Stderr: c.stderr,
		Start: seconds(start.Sub(c.begin)), Seconds: seconds(took)})
	return nil
}

// awaitEnd waits for the end of a child process, and leaves it to be waited for once more. Until then the kernel
// tells about it.
func awaitEnd(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// process returns the command as a process group of its own, which ends with ctx.
func (c *command) process(ctx context.Context, output *lab.Ends) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.spec.Command[0], c.spec.Command[1:]...)
	cmd.Env, cmd.Dir = c.spec.Env, projectOf(c.number)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // git outlives go else
	cmd.WaitDelay = time.Second
	return cmd
}
