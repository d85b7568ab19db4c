package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/simrun/simrun/harness/container"
)

// reaperName is the argv[0] by which a process knows that it is a reaper.
const reaperName = "simrun-reaper"

// reapFor is how long a reaper looks for containers of a run that was killed: the engine may still be making one.
const reapFor = 30 * time.Second

// reap removes the containers of a run when the process that started it has ended, however that ended; it
// does not return if this process is a reaper. A container ends by itself when simrun does, but one that was
// killed before it started its container would leave that behind.
func reap() {
	if len(os.Args) != 2 || os.Args[0] != reaperName {
		return
	}
	orderly, _ := io.ReadAll(os.Stdin) // of one that was killed there is nothing
	if err := reapRun(os.Args[1], len(orderly) > 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(statusHarness)
	}
	os.Exit(statusOK)
}

// reapRun removes the containers of a run: once if all of them are known, else as long as one may come.
func reapRun(run string, once bool) error {
	ctx := context.Background()
	e, err := container.Connect(ctx)
	if err != nil {
		return err
	}
	for end := time.Now().Add(reapFor); ; time.Sleep(time.Second) {
		err = errors.Join(err, e.Reap(ctx, run))
		if once || err != nil || time.Now().After(end) {
			return errors.Join(err, e.Close())
		}
	}
}

// A reaper is a process that waits for the end of this one.
type reaper struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// startReaper starts the reaper of a run's containers.
func startReaper(run string) (*reaper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: self, Args: []string{reaperName, run}, SysProcAttr: ownGroup()}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the process that would remove the container: %w", err)
	}
	return &reaper{cmd, stdin}, nil
}

// Close lets the reaper remove what is left, and waits for it.
func (r *reaper) Close() error {
	_, err := io.WriteString(r.stdin, "all is in order")
	if err = errors.Join(err, r.stdin.Close(), r.cmd.Wait()); err != nil {
		return fmt.Errorf("remove what is left of the container: %w", err)
	}
	return nil
}
