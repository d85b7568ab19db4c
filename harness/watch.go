//go:build linux

package harness

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/simrun/simrun/harness/lab"
)

// orDefault fills in what is not set.
func (l Limits) orDefault() Limits {
	half := max(leastMemory, availableMemory()/2)
	if l.Memory == 0 {
		l.Memory = min(mostCellMemory, half)
	}
	if l.Disk == 0 {
		l.Disk = min(mostCellDisk, half)
	}
	if l.Processes == 0 {
		l.Processes = mostProcesses
	}
	if l.Files == 0 {
		l.Files = mostFiles
	}
	return l
}

func (l Limits) ofLab() lab.Limits {
	return lab.Limits{Memory: l.Memory, Disk: l.Disk, Processes: l.Processes, Files: l.Files}
}

// exceeded says which limit the programs of a cell exceed, "" if none. A limit of 0 is none.
func (l Limits) exceeded(u usage) string {
	switch {
	case l.Memory > 0 && u.memory > l.Memory:
		return fmt.Sprintf("the programs of the cell took %d MiB of memory, and may take %d MiB", u.memory>>20, l.Memory>>20)
	case l.Processes > 0 && u.tasks > l.Processes:
		return fmt.Sprintf("there were %d processes and threads in the cell, and may be %d", u.tasks, l.Processes)
	}
	return ""
}

// A usage is what a process and its living descendants take from this machine.
type usage struct {
	cpu    time.Duration // so far
	memory int64         // bytes resident; what processes share counts in each
	tasks  int           // processes and threads
}

func (u *usage) add(other usage) {
	u.cpu, u.memory, u.tasks = u.cpu+other.cpu, u.memory+other.memory, u.tasks+other.tasks
}

// watch ends the programs of a cell that exceed its limits. The lab process lives on, and tells what happened.
func (c *cell) watch(u usage) {
	if what := c.spec.Limits.exceeded(u); what != "" && c.stopped == "" {
		c.stopped = what
		_ = c.lab.Send(question{Stop: what}) // a cell that has just ended does not read it
	}
}

// stop ends all programs of the cell, because they exceed a limit. What is the first process of a pid namespace
// outlives that: kill(2).
func (in *internet) stop(why string) {
	in.limit.CompareAndSwap(nil, &why)
	_ = syscall.Kill(-1, syscall.SIGKILL)
}

// withLimit adds to the output of a command for which limit of the cell it was ended.
func (in *internet) withLimit(output string) (limit, text string) {
	why := in.limit.Load()
	if why == nil {
		return "", output
	}
	return *why, strings.TrimSuffix(output, "\n") + strings.Repeat("\n", min(len(output), 1)) + "simrun: ended all programs: " + *why + "\n"
}
