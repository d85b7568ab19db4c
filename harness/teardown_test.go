//go:build linux

package harness

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// patience is how long the tests wait for what the kernel does in its own time, on a busy machine.
const patience = 30 * time.Second

// silentLibrary has a scenario in which go hangs by one config and git by the other, and a healthy one.
const silentLibrary = `
world: one-proxy
about: A module proxy and the origin behind it.
hosts:
  proxy.example: {role: module-proxy, rtt: 2ms}
  code.example:  {role: vcs, rtt: 2ms}
nameservers: {ns1: {rtt: 2ms}}
---
name: silent
about: Neither the proxy nor git at the origin ever answers.
world: one-proxy
faults:
  - host: proxy.example
    http: {hang: true}
  - host: code.example
    http: {path: "*/info/refs", hang: true}
---
name: well
about: Nothing is wrong.
world: one-proxy
---
configs:
  - name: by-proxy
    about: One proxy.
    env: {GOPROXY: "https://proxy.example", GOSUMDB: "off"}
  - name: by-git
    about: No proxy.
    env: {GOPROXY: direct, GOSUMDB: "off"}
---
projects:
  - name: tiny
    about: One module.
    modules: {seed: 1, public: 1, versions: 1, depth: 1, zip-size: 1KiB}
`

// TestCommand runs the real simrun, as it is built, and treats it badly.
func TestCommand(t *testing.T) {
	requireLab(t)
	t.Parallel()
	binary := buildSimrun(t)
	t.Run("memory", func(t *testing.T) { testMemory(t, binary) }) // alone: whoever runs simrun too takes a share of its text
	t.Run("leaves nothing", func(t *testing.T) { testLeavesNothing(t, binary) })
	t.Run("goes on when a lab dies", func(t *testing.T) { testLabDies(t, binary) })
}

// testLeavesNothing ends a run while its cells wait, in every way there is, and then looks for what is left.
func testLeavesNothing(t *testing.T, binary string) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		signals []syscall.Signal
		status  int // -1: ended by a signal
	}{
		{"killed", []syscall.Signal{unix.SIGKILL}, -1},
		{"interrupted", []syscall.Signal{unix.SIGINT}, 130},
		{"terminated", []syscall.Signal{unix.SIGTERM}, 130},
		{"stopped and killed", []syscall.Signal{unix.SIGSTOP, unix.SIGKILL}, -1},
		{"crashed", []syscall.Signal{unix.SIGABRT}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before := hostState(t)
			r := startRun(t, binary, "--timeout", "5m", "--scenario", "silent")
			labs := r.awaitLabs(2)
			traces := r.traces(labs)
			for _, s := range test.signals {
				require.NoError(t, r.cmd.Process.Signal(s))
			}
			assert.Equal(t, test.status, r.wait(), "%s", r.stderr.String())
			traces.requireGone(t)
			before.requireSame(t)
			r.requireNothingLeft()
			assert.Empty(t, r.results(), "no cell has ended")
		})
	}
}

// testLabDies ends the lab of one cell from outside. That cell is a harness error, which says why, and the
// others are what they would have been.
func testLabDies(t *testing.T, binary string) {
	t.Parallel()
	for _, test := range []struct {
		signal syscall.Signal
		note   string
	}{
		{unix.SIGABRT, "SIGABRT: abort"},
		{unix.SIGSEGV, "SIGSEGV: segmentation violation"},
		{unix.SIGKILL, "signal: killed"},
	} {
		t.Run(test.note, func(t *testing.T) {
			t.Parallel()
			before := hostState(t)
			r := startRun(t, binary, "--timeout", "15s")
			labs := r.awaitLabs(2)
			traces := r.traces(labs)
			require.NoError(t, unix.Kill(labs[0], test.signal))
			assert.Equal(t, 3, r.wait(), "%s", r.stderr.String())
			traces.requireGone(t)
			before.requireSame(t)
			r.requireNothingLeft()
			outcomes := map[string][]record.Outcome{}
			for _, c := range r.results() {
				outcomes[c.Scenario] = append(outcomes[c.Scenario], c.Outcome)
				if c.Outcome == record.HarnessError {
					assert.Contains(t, c.Note, test.note)
					assert.Contains(t, c.Note, "the lab process ended without a result")
					assert.Empty(t, c.Class, "no opinion on the config")
				}
			}
			assert.Equal(t, []record.Outcome{record.OK, record.OK}, outcomes["well"])
			assert.ElementsMatch(t, []record.Outcome{record.HarnessError, record.Hang}, outcomes["silent"])
			assert.Contains(t, r.stdout.String(), "HARNESS-ERROR")
		})
	}
}

// testMemory measures what one waiting cell costs: its lab process, the go command, and git where there is
// one. The bar is on Pss, which counts a page that n processes share as 1/n of a page to each: the programs'
// text is in memory once however many cells wait. Rss counts it in every process.
func testMemory(t *testing.T, binary string) {
	const most = 40e6 // bytes
	r := startRun(t, binary, "--timeout", "5m", "--scenario", "silent")
	for _, lab := range r.awaitLabs(2) {
		r.awaitIdle(lab)
		var rss, pss int
		for _, pid := range append(descendants(lab), lab) {
			m := memoryOf(t, pid)
			t.Logf("%-16s Rss %5d KiB  Pss %5d KiB  anonymous %5d KiB", comm(pid), m["Rss:"], m["Pss:"], m["Pss_Anon:"])
			rss, pss = rss+m["Rss:"], pss+m["Pss:"]
		}
		t.Logf("one waiting cell: Rss %.1f MB, Pss %.1f MB", float64(rss)*1024/1e6, float64(pss)*1024/1e6)
		assert.Positive(t, pss)
		assert.Less(t, float64(pss)*1024, most, "bytes of one waiting cell")
	}
	require.NoError(t, r.cmd.Process.Signal(unix.SIGTERM))
	r.wait()
}

func TestCellThatCannotBeIsAHarnessError(t *testing.T) {
	requireLab(t)
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(*spec)
		note  string
	}{
		{"no such program", func(s *spec) { s.Command = []string{"/nonexistent/program"} }, "start /nonexistent/program: "},
		{"no such role", func(s *spec) { s.World.Hosts[0].Role = "oracle" }, `host proxy.test has the role "oracle", which nothing plays`},
		{"no such project", func(s *spec) { s.Universe.Project = "/nonexistent/project" }, "furnish the client host: "},
		{"a bug of simrun", func(s *spec) {
			s.Faults = []scenarios.Fault{{Target: scenarios.Target{Nameserver: []int{7}}, Packet: &scenarios.PacketFault{}}}
		}, "panic: runtime error: index out of range"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, err := NewPlan(t.Context(), nearOptions(t, small))
			require.NoError(t, err)
			test.spoil(p.cells[0].spec)
			c := runOne(t, p)
			assert.Equal(t, record.HarnessError, c.Outcome)
			assert.Contains(t, c.Note, test.note)
			assert.Empty(t, c.Class)
		})
	}
}

// A runningCommand is a simrun that a test has started.
type runningCommand struct {
	t              *testing.T
	cmd            *exec.Cmd
	binary         string // its own link to the program, by which its processes are known
	tmp, out       string
	stdout, stderr bytes.Buffer
}

// buildSimrun builds the program as make build does.
func buildSimrun(tb testing.TB) string {
	tb.Helper()
	binary := filepath.Join(tb.TempDir(), "simrun")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "../cmd/simrun")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(tb, err, "%s", out)
	return binary
}

// startRun starts simrun on silentLibrary, with folders of its own, and by the real clock, so that cells wait.
func startRun(t *testing.T, binary string, flags ...string) *runningCommand {
	t.Helper()
	library := filepath.Join(t.TempDir(), "library.yaml")
	require.NoError(t, os.WriteFile(library, []byte(silentLibrary), 0o600))
	return startSimrun(t, binary, append([]string{library, "--clock", "real"}, flags...)...)
}

// startSimrun starts simrun run with arguments, with folders of its own.
func startSimrun(t *testing.T, binary string, args ...string) *runningCommand {
	t.Helper()
	dir := t.TempDir()
	r := &runningCommand{t: t, binary: filepath.Join(dir, "simrun"), tmp: filepath.Join(dir, "tmp"), out: filepath.Join(dir, "out")}
	require.NoError(t, os.Link(binary, r.binary))
	require.NoError(t, os.Mkdir(r.tmp, 0o700))
	r.cmd = exec.Command(r.binary, append([]string{"run", "--out", r.out, "--color", "never"}, args...)...)
	r.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + r.tmp}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	require.NoError(t, r.cmd.Start())
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil { // the test has failed before its wait
			_ = r.cmd.Process.Kill()
			_ = r.cmd.Wait()
		}
	})
	return r
}

// wait waits for the end and returns the exit status.
func (r *runningCommand) wait() int {
	r.t.Helper()
	overdue := time.AfterFunc(2*patience, func() { _ = r.cmd.Process.Kill() })
	defer overdue.Stop()
	_ = r.cmd.Wait() // its error is the status once more
	return r.cmd.ProcessState.ExitCode()
}

// awaitLabs waits until so many lab processes live whose client hosts wait in go or in git, and returns
// their numbers.
func (r *runningCommand) awaitLabs(n int) (labs []int) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		labs = childrenOf(r.cmd.Process.Pid)
		waiting := map[string]bool{}
		for _, pid := range descendants(r.cmd.Process.Pid) {
			waiting[comm(pid)] = true
		}
		return len(labs) == n && waiting["go"] && waiting["git-remote-http"]
	}, patience, 20*time.Millisecond, "no cells: %v", &r.stderr)
	return labs
}

// awaitIdle waits until a process and its descendants use the CPU no more.
func (r *runningCommand) awaitIdle(pid int) {
	r.t.Helper()
	used := time.Duration(-1)
	require.Eventually(r.t, func() bool {
		before := used
		used = trees()[pid].cpu
		return used == before
	}, patience, 500*time.Millisecond)
}

// results reads the results and makes sure that the file is whole.
func (r *runningCommand) results() []record.Cell {
	r.t.Helper()
	results, err := record.ReadFile(filepath.Join(r.out, "results.jsonl"))
	require.NoError(r.t, err)
	assert.Zero(r.t, results.Torn, "torn line")
	return results.Cells
}

// requireNothingLeft makes sure that there is no process of the command and no file in its TMPDIR.
func (r *runningCommand) requireNothingLeft() {
	r.t.Helper()
	left, err := os.ReadDir(r.tmp)
	require.NoError(r.t, err)
	assert.Empty(r.t, left, "temporary files")
	assert.Empty(r.t, processesOf(r.binary), "processes")
}

// traces are what labs must not leave behind.
type traces struct {
	processes  map[string]int  // descriptors of processes by what they are: a number alone may be given away
	namespaces map[string]bool // such as net:[4026532008]
}

// traces returns what labs have made on this machine.
func (r *runningCommand) traces(labs []int) traces {
	r.t.Helper()
	own := map[string]bool{}
	addNamespaces(own, os.Getpid())
	made := traces{map[string]int{}, map[string]bool{}}
	for _, pid := range descendants(r.cmd.Process.Pid) {
		name := fmt.Sprintf("%s (%d)", comm(pid), pid)
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue // git starts many that end at once
		}
		require.NoError(r.t, err, name)
		r.t.Cleanup(func() { unix.Close(fd) })
		made.processes[name] = fd
		addNamespaces(made.namespaces, pid)
	}
	maps.DeleteFunc(made.namespaces, func(ns string, _ bool) bool { return own[ns] })
	const perLab = 5 // user, mnt, pid, and two of net
	require.GreaterOrEqual(r.t, len(made.namespaces), perLab*len(labs))
	require.GreaterOrEqual(r.t, len(processesOf(r.binary)), 1+len(labs))
	return made
}

// requireGone waits for the end of the processes and until each namespace has been seen to be gone. The kernel
// gives the number of a namespace to the next one that is made, and other tests make many: what processes are
// in that started later does not count.
func (made traces) requireGone(t *testing.T) {
	t.Helper()
	now := ticks(t)
	for name, fd := range made.processes {
		require.Eventually(t, func() bool { return ended(fd) }, patience, 20*time.Millisecond, "%s lives on", name)
	}
	require.Eventually(t, func() bool {
		inUse := map[string]bool{}
		for _, name := range processes() {
			if started(name) <= now {
				addNamespaces(inUse, name)
			}
		}
		maps.DeleteFunc(made.namespaces, func(ns string, _ bool) bool { return !inUse[ns] })
		return len(made.namespaces) == 0
	}, patience, 50*time.Millisecond, "namespaces are left: %v", made.namespaces)
}

// ticks returns the time since the machine started, in units of clockTick: see proc_uptime(5).
func ticks(t *testing.T) int64 {
	t.Helper()
	var seconds float64
	text, err := os.ReadFile("/proc/uptime")
	require.NoError(t, err)
	_, err = fmt.Sscan(string(text), &seconds)
	require.NoError(t, err)
	return int64(seconds * float64(time.Second/clockTick))
}

// started returns when a process started, in the same units; 0 if it has ended: see proc_pid_stat(5).
func started(pid string) int64 {
	_, f, ok := statFields("/proc/" + pid + "/stat")
	if !ok {
		return 0
	}
	at, _ := strconv.ParseInt(f[19], 10, 64) // the 22nd field
	return at
}

// ended reports whether the process of a descriptor has ended: see pidfd_open(2).
func ended(pidfd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
	return err == nil && n == 1 // interrupted: ask again
}

// addNamespaces adds the namespaces that the threads of a process are in.
func addNamespaces[PID int | string](to map[string]bool, pid PID) {
	for _, kind := range []string{"net", "mnt", "pid", "user"} {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%v/task/*/ns/%s", pid, kind))
		for _, link := range links {
			if name, err := os.Readlink(link); err == nil { // else the thread has ended
				to[name] = true
			}
		}
	}
}

// A machineState is what of this machine a lab must not change.
type machineState struct{ mounts, interfaces []string }

func hostState(t *testing.T) machineState {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	s := machineState{mounts: strings.Split(strings.TrimSpace(string(mounts)), "\n")}
	for _, i := range interfaces {
		s.interfaces = append(s.interfaces, i.Name)
	}
	return s
}

// requireSame waits until this machine has no mount and no network interface that it did not have before.
func (before machineState) requireSame(t *testing.T) {
	t.Helper()
	var mounts, interfaces []string
	require.Eventually(t, func() bool {
		now := hostState(t)
		mounts, interfaces = added(before.mounts, now.mounts), added(before.interfaces, now.interfaces)
		return len(mounts)+len(interfaces) == 0
	}, patience, 50*time.Millisecond, "left: mounts %v, interfaces %v", &mounts, &interfaces)
}

// added returns the elements of now that before does not have.
func added(before, now []string) []string {
	return slices.DeleteFunc(slices.Clone(now), func(s string) bool { return slices.Contains(before, s) })
}

// processesOf returns the processes that run a program.
func processesOf(program string) (pids []string) {
	for _, pid := range processes() {
		if exe, err := os.Readlink("/proc/" + pid + "/exe"); err == nil && exe == program {
			pids = append(pids, pid)
		}
	}
	return pids
}

// descendants returns the numbers of all processes below a process.
func descendants(of int) (pids []int) {
	for _, child := range childrenOf(of) {
		pids = append(append(pids, child), descendants(child)...)
	}
	return pids
}

func childrenOf(of int) (pids []int) {
	for _, name := range processes() {
		if pid, parent, _, ok := readStat("/proc/" + name + "/stat"); ok && parent == of {
			pids = append(pids, pid)
		}
	}
	return pids
}

// comm returns the name of a process, of which the kernel keeps 15 bytes, or "" if it has ended.
func comm(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(name))
}

// memoryOf returns what a process has in memory, in KiB, by the kernel's names: see smaps_rollup in
// proc_pid_smaps(5).
func memoryOf(t *testing.T, pid int) map[string]int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	require.NoError(t, err)
	m := map[string]int{}
	for line := range strings.Lines(string(text)) {
		var name string
		var kib int
		if n, _ := fmt.Sscanf(line, "%s %d kB", &name, &kib); n == 2 {
			m[name] = kib
		}
	}
	return m
}

// runOne runs a plan of one cell, whatever comes of it.
func runOne(t *testing.T, p *Plan) (only *record.Cell) {
	t.Helper()
	require.NoError(t, p.Run(t.Context(), func(c *record.Cell) error { only = c; return nil }, nil))
	require.NotNil(t, only)
	return only
}
