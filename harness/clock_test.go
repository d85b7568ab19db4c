//go:build linux

package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// virtualCell runs a cell of the library with the virtual clock. A command that is not empty takes the place of
// the project's.
func virtualCell(t *testing.T, scenario, config string, timeout time.Duration, command ...string) *record.Cell {
	t.Helper()
	o := libraryOptions(t)
	o.Virtual, o.Timeout = true, timeout
	o.Scenarios = slices.DeleteFunc(o.Scenarios, func(s *scenarios.Scenario) bool { return s.Name != scenario })
	o.Configs = slices.DeleteFunc(o.Configs, func(c *scenarios.Config) bool { return c.Name != config })
	o.Projects = slices.DeleteFunc(o.Projects, func(p *scenarios.Project) bool { return p.Name != "small" })
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, p.cells, 1)
	if len(command) > 0 {
		s := p.cells[0].spec
		s.Command, s.Shown = command, append(s.Shown, command[0])
	}
	cells := runAll(t, p)
	require.Len(t, cells, 1)
	for _, c := range cells {
		require.NotEqual(t, record.HarnessError, c.Outcome, c.Note)
		return c
	}
	return nil
}

// TestVirtualClockJumps runs the real go command against hosts that let it wait.
func TestVirtualClockJumps(t *testing.T) {
	requireLab(t)
	t.Parallel()
	for _, test := range []struct {
		scenario, config string
		least, most      record.Seconds
		outcome          record.Outcome
	}{
		{"dead-proxy", "cn-comma", 29, 50, record.Error},       // the dialer's 30 s, over a kernel that sends SYNs in vain
		{"silent-proxy", "cn-comma", 9, 30, record.Error},      // the TLS handshake's 10 s
		{"dead-nameservers", "corp-pipe", 70, 72, record.Hang}, // the resolver's 5 s, again and again
	} {
		t.Run(test.scenario, func(t *testing.T) {
			t.Parallel()
			c := virtualCell(t, test.scenario, test.config, DefaultTimeout)
			assert.Equal(t, "virtual", c.Clock, c.ClockNote)
			assert.Equal(t, test.outcome, c.Outcome, c.Stderr)
			assert.GreaterOrEqual(t, c.Seconds, test.least)
			assert.LessOrEqual(t, c.Seconds, test.most)
			assert.InDelta(t, float64(c.Seconds), float64(c.Attribution.Total()), 1e-5)
			assert.Less(t, c.RealSeconds, c.Seconds, "it jumped")
		})
	}
}

// TestVirtualClockOfPrograms runs programs that are no Go: the time that they are told and the time that they
// sleep belong together.
func TestVirtualClockOfPrograms(t *testing.T) {
	requireLab(t)
	t.Parallel()
	for name, sleep := range map[string]string{
		"nanosleep":                           "sleep 3000",
		"after a program that does not exist": "env no-such-program; sleep 3000",
		"in a child":                          "(sleep 3000) & wait",
		"one by one":                          "for i in 1 2 3; do sleep 1000; done",
		"side by side":                        "sleep 1000 & sleep 3000 & sleep 2000 & wait",
		"many that begin at once":             "for i in $(seq 20); do env no-such-program & sleep 3000 & done; wait",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := virtualCell(t, "healthy-ci-cloud", "go-default", time.Hour, "/bin/sh", "-c", "date +%s; "+sleep+"; date +%s")
			assert.Equal(t, "virtual", c.Clock, c.ClockNote)
			assert.Equal(t, record.OK, c.Outcome, c.Stderr)
			times := slices.DeleteFunc(strings.Fields(c.Stderr), func(s string) bool { _, err := strconv.Atoi(s); return err != nil })
			require.Len(t, times, 2, c.Stderr)
			from, err := strconv.Atoi(times[0])
			require.NoError(t, err)
			to, err := strconv.Atoi(times[1])
			require.NoError(t, err)
			assert.InDelta(t, 3030, to-from, 30, "seconds by date(1)")
			assert.InDelta(t, 3030, float64(c.Seconds), 30, "seconds by the lab")
			assert.Less(t, c.RealSeconds, record.Seconds(300))
			started, err := time.Parse(time.RFC3339Nano, c.Started)
			require.NoError(t, err)
			assert.InDelta(t, float64(started.Unix()), float64(from), 30)
		})
	}
}

// TestVirtualClockWhileOthersWork lets a program sleep while another one works, so that the clock cannot jump: its sleep
// has begun when it has, and not when the other one is done.
func TestVirtualClockWhileOthersWork(t *testing.T) {
	requireLab(t)
	t.Parallel()
	c := virtualCell(t, "healthy-ci-cloud", "go-default", time.Hour, "/bin/sh", "-c", `date +%s; (sleep 100; date +%s) &
		end=$(($(date +%s) + 4)); while test $(date +%s) -lt $end; do :; done; sleep 1000; wait`)
	assert.Equal(t, "virtual", c.Clock, c.ClockNote)
	assert.Equal(t, record.OK, c.Outcome, c.Stderr)
	told := strings.Fields(c.Stderr)
	require.Len(t, told, 2, c.Stderr)
	from, err := strconv.Atoi(told[0])
	require.NoError(t, err)
	to, err := strconv.Atoi(told[1])
	require.NoError(t, err)
	assert.InDelta(t, 100, to-from, 1.5)
	assert.InDelta(t, 1004, float64(c.Seconds), 2)
}

// TestVirtualClockOfTheClient runs programs on a client host whose clock is wrong: they are told that time, it goes on as
// they sleep, and certificates are expired by it. The other hosts have the right one, as the times of the record show.
func TestVirtualClockOfTheClient(t *testing.T) {
	requireLab(t)
	t.Parallel()
	for scenario, ahead := range map[string]time.Duration{"clock-months-ahead": 180 * 24 * time.Hour, "clock-back-to-2006": -20 * 365 * 24 * time.Hour} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			c := virtualCell(t, scenario, "cn-comma", time.Hour, "/bin/sh", "-c", `date +%s; sleep 1000; date +%s
				git init -q . && git -c user.name=a -c user.email=a@a.test commit -q --allow-empty -m a && git log --format=%ct`)
			assert.Equal(t, "virtual", c.Clock, c.ClockNote)
			assert.Equal(t, record.OK, c.Outcome, c.Stderr)
			started, err := time.Parse(time.RFC3339Nano, c.Started)
			require.NoError(t, err)
			told := strings.Fields(c.Stderr)
			require.Len(t, told, 3, c.Stderr)
			for i, slept := range []float64{0, 1000, 1000} {
				s, err := strconv.ParseFloat(told[i], 64)
				require.NoError(t, err)
				assert.InDelta(t, ahead.Seconds()+slept, s-float64(started.Unix()), 60, "time %d", i)
			}
			assert.InDelta(t, time.Now().Unix(), started.Unix(), 3600)

			c = virtualCell(t, scenario, "corp-only", DefaultTimeout)
			assert.Equal(t, "virtual", c.Clock, c.ClockNote)
			assert.Equal(t, "tls-cert-expired", c.Class, c.Stderr)
			assert.Contains(t, c.Stderr, "current time "+started.Add(ahead).Format("2006-"), "what go says of the time")
		})
	}
}

// TestVirtualClockProvesAHang runs a command that waits for nobody.
func TestVirtualClockProvesAHang(t *testing.T) {
	requireLab(t)
	t.Parallel()
	c := virtualCell(t, "healthy-ci-cloud", "go-default", time.Hour, "/bin/sh", "-c", "mkfifo nobody; cat nobody")
	assert.Equal(t, record.Hang, c.Outcome)
	assert.True(t, c.Proven)
	assert.InDelta(t, 3605, float64(c.Seconds), 6, "it lived up to its deadline")
	assert.Less(t, c.RealSeconds, record.Seconds(300))
	c = virtualCell(t, "healthy-ci-cloud", "go-default", time.Hour, "/bin/sh", "-c", "while :; do sleep 600; done")
	assert.Equal(t, record.Hang, c.Outcome)
	assert.False(t, c.Proven, "it moves")
}

// TestVirtualClockGivesUp runs commands whose clock cannot be kept: they get the real one, and the record says
// why.
func TestVirtualClockGivesUp(t *testing.T) {
	requireLab(t)
	t.Parallel()
	thread := filepath.Join(t.TempDir(), "thread")
	build := exec.Command("go", "build", "-o", thread, "./testdata/thread")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for name, test := range map[string]struct {
		command []string
		because string
		status  int
	}{
		"a thread that becomes a program": {[]string{thread, "3"}, "thread: it becomes another program from a thread that is not its first", 0},
		"a timer of the kernel":           {[]string{"/usr/bin/timeout", "3", "/bin/sleep", "100"}, "timeout: system call", 124},
		"a stop": {[]string{"/bin/sh", "-c", "sleep 3 & sleep 1; kill -STOP $!; sleep 1; kill -CONT $!; wait"},
			"sleep: its sleep was interrupted", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := virtualCell(t, "healthy-ci-cloud", "go-default", time.Hour, test.command...)
			assert.Equal(t, "real", c.Clock)
			assert.Contains(t, c.ClockNote, test.because)
			assert.Equal(t, test.status, c.Exit, c.Stderr)
			assert.InDelta(t, 3, float64(c.Seconds), 1)
		})
	}
}

// TestVirtualClockThatNoCellCanHave takes away what the clock needs, from a process of its own: one of the filters of a
// process may have a listener.
func TestVirtualClockThatNoCellCanHave(t *testing.T) {
	requireLab(t)
	const filtered = "SIMRUN_TEST_FILTERED"
	if os.Getenv(filtered) == "" {
		t.Parallel()
		runtime.LockOSThread() // for good: the thread has the filter, as have those that it starts, and ends with the test
		listener := allowAll(t)
		defer unix.Close(listener)
		cmd := exec.Command(os.Args[0], "-test.run=^TestVirtualClockThatNoCellCanHave$")
		cmd.Env = append(os.Environ(), filtered+"=yes")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	c := virtualCell(t, "healthy-ci-cloud", "go-default", time.Hour, "/bin/sleep", "1")
	assert.Equal(t, record.OK, c.Outcome, c.Note)
	assert.Equal(t, "real", c.Clock)
	assert.Contains(t, c.ClockNote, "the virtual clock does not work here", "it was tried when the cell had failed")
	assert.Contains(t, c.ClockNote, "install the filter that reports new programs: device or resource busy")
	assert.GreaterOrEqual(t, c.RealSeconds, record.Seconds(1))
}

// allowAll gives this thread a filter of system calls that allows all, and returns its listener.
func allowAll(t *testing.T) int {
	t.Helper()
	require.NoError(t, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	filter := unix.SockFprog{Len: 1, Filter: &allow}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&filter)))
	require.Zero(t, errno)
	return int(fd)
}
