//go:build linux

package harness

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/record"
)

var (
	longCells = flag.Int("long-run", 0, "run so many healthy cells in TestLongRun; 0: a few")
	killLabs  = flag.Bool("kill-run", false, "run more than 2,000 cells with every fault of the library in TestLabsAreKilled, and not just a few")
	killClock = flag.String("kill-clock", "virtual", "the clock of the cells in TestLabsAreKilled")
	killSeed  = flag.Uint64("kill-seed", 1, "number from which the moments are drawn at which labs are killed")
)

// cheapLibrary has the cheapest healthy cell: one module, one connection.
const cheapLibrary = `
world: near
hosts:
  proxy.test: {role: module-proxy}
  code.test:  {role: vcs}
nameservers: {ns1: {}}
---
{name: healthy, world: near}
---
configs:
  - {name: proxy, env: {GOPROXY: "https://proxy.test", GOSUMDB: "off"}}
---
projects:
  - {name: one, modules: {seed: 1, public: 1, versions: 1, depth: 1, zip-size: 1KiB}}
`

// mostMemory is what the scheduler may need for 50,000 cells, in bytes.
const mostMemory = 300e6

// TestLongRun runs very many healthy cells. The scheduler must not grow with them beyond its bar, the results must
// be whole, and nothing may be left: since whatever runs in a cell is in the pid namespace of its lab process, and
// ends with it, there is none of all that if there is no lab process.
func TestLongRun(t *testing.T) {
	requireLab(t)
	t.Parallel()
	cells := max(*longCells, 40)
	binary := buildSimrun(t)
	before := hostState(t)
	library := filepath.Join(t.TempDir(), "library.yaml")
	require.NoError(t, os.WriteFile(library, []byte(cheapLibrary), 0o600))
	r := startSimrun(t, binary, library, "--repeat", strconv.Itoa(cells), "--timeout", "5m", "--quiet")
	samples := r.watch(max(200*time.Millisecond, time.Duration(cells)*time.Millisecond))
	for i, s := range samples {
		if i%max(1, len(samples)/20) == 0 || i == len(samples)-1 {
			t.Log(s)
		}
	}
	require.Zero(t, r.cmd.ProcessState.ExitCode(), "%s%s", r.stdout.String(), r.stderr.String())
	peak := slices.MaxFunc(samples, func(a, b footprint) int { return a.peak - b.peak })
	assert.Less(t, float64(peak.peak)*1024, mostMemory, "bytes of the scheduler")
	r.requireNothingLeft()
	if *longCells == 0 { // in the time of a long run others may mount what they like
		before.requireSame(t)
	}

	whole := map[int]bool{}
	for _, c := range r.results() {
		require.Equal(t, record.OK, c.Outcome, "%s%s", c.Note, c.Stderr)
		whole[c.Rep] = true
	}
	assert.Len(t, whole, cells, "every repetition, once")
}

// A footprint is what the scheduler holds at a moment.
type footprint struct {
	at          time.Duration
	cells       int
	rss, peak   int // KiB
	threads     int
	descriptors int
}

func (s footprint) String() string {
	return fmt.Sprintf("%7.0f s  %6d cells  Rss %4d MB, at most %4d MB  %3d threads  %3d descriptors",
		s.at.Seconds(), s.cells, s.rss*1024/1e6, s.peak*1024/1e6, s.threads, s.descriptors)
}

// watch takes samples of a simrun until it ends. The peak of the last one is that of the whole run, with the report at
// its end.
func (r *runningCommand) watch(every time.Duration) (samples []footprint) {
	begin, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		_ = r.cmd.Wait() // its error is the status once more
	}()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for next := begin; ; {
		if s, ok := r.memory(); ok {
			s.at = time.Since(begin)
			if !time.Now().Before(next) {
				next = time.Now().Add(every)
				r.count(&s)
				samples = append(samples, s)
			} else {
				samples[len(samples)-1].peak = s.peak
			}
		}
		select {
		case <-done:
			return samples
		case <-ticker.C:
		}
	}
}

// memory looks at what a simrun takes; ok is false if it has ended. See proc_pid_status(5).
func (r *runningCommand) memory() (s footprint, ok bool) {
	proc := fmt.Sprintf("/proc/%d/", r.cmd.Process.Pid)
	status, _ := os.ReadFile(proc + "status") // it may have ended
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch key {
		case "VmRSS":
			s.rss, ok = n, true
		case "VmHWM":
			s.peak = n
		case "Threads":
			s.threads = n
		}
	}
	files, _ := os.ReadDir(proc + "fd")
	s.descriptors = len(files)
	return s, ok
}

// count finds out how many cells have ended.
func (r *runningCommand) count(s *footprint) {
	text, _ := os.ReadFile(filepath.Join(r.out, "results.jsonl"))
	s.cells = max(0, bytes.Count(text, []byte("\n"))-1)
}

// TestLabsAreKilled kills lab processes at random moments. Each cell whose lab was killed is a harness error and
// nothing else, and all others are what they are in a run that nobody disturbs; where chance decides, they may be what
// some of their repetitions are.
func TestLabsAreKilled(t *testing.T) {
	requireLab(t)
	t.Parallel()
	pause, most, flags := 300*time.Millisecond, 10, []string{"--scenario", "proxy-*", "--config", "cn-*", "--clock", *killClock}
	if *killLabs {
		pause, most, flags = time.Second, 200, []string{"--clock", *killClock, "--config", "corp-*,go-*,direct,cn-*,retry"}
	}
	binary := buildSimrun(t)
	calm := startSimrun(t, binary, append([]string{"../scenarios", "--quiet"}, flags...)...)
	calm.watch(time.Second)
	require.NotEqual(t, 3, calm.cmd.ProcessState.ExitCode(), "%s", calm.stderr.String())
	before := hostState(t)
	r := startSimrun(t, binary, append([]string{"../scenarios", "--quiet"}, flags...)...)
	killed := r.killLabs(rand.New(rand.NewPCG(*killSeed, 0)), pause, most)
	require.Equal(t, 3, r.cmd.ProcessState.ExitCode(), "%s", r.stderr.String())
	before.requireSame(t)
	r.requireNothingLeft()

	want, cells := endsOf(calm.results()), r.results()
	assert.Len(t, cells, len(want), "no cell is lost")
	failures := 0
	for _, c := range cells {
		if c.Outcome != record.HarnessError {
			if end := endOf(&c); end != want[c.Key] {
				seen := repeatedEnds(t, binary, c.Key, want[c.Key], end)
				assert.True(t, seen[end] > 0 && seen[want[c.Key]] > 0, "%v: %q, and %q in a calm run; among repetitions: %v", c.Key, end, want[c.Key], seen)
				t.Logf("%v differs by chance: %v", c.Key, seen)
			}
			continue
		}
		failures++
		assert.Contains(t, c.Note, "signal: killed")
		assert.Empty(t, c.Class, "no opinion on the config")
		assert.Empty(t, c.Stderr)
	}
	t.Logf("%d cells, of which %d were killed", len(cells), killed)
	assert.Positive(t, killed)
	assert.Equal(t, killed, failures, "harness errors")
}

// repeatedEnds runs a cell often, and very often if that does not show both ends; it returns how often it had which.
func repeatedEnds(t *testing.T, binary string, key record.Key, both ...string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for _, times := range []string{"60", "600"} {
		r := startSimrun(t, binary, "../scenarios", "--quiet", "--clock", *killClock, "--scenario", key.Scenario, "--config", key.Config, "--repeat", times)
		r.watch(time.Second)
		for _, c := range r.results() {
			seen[endOf(&c)]++
		}
		if !slices.ContainsFunc(both, func(end string) bool { return seen[end] == 0 }) {
			break
		}
	}
	return seen
}

// endOf says how a cell ended.
func endOf(c *record.Cell) string { return strings.TrimSpace(string(c.Outcome) + " " + c.Class) }

// endsOf returns how each cell ended.
func endsOf(cells []record.Cell) map[record.Key]string {
	ends := map[record.Key]string{}
	for i := range cells {
		ends[cells[i].Key] = endOf(&cells[i])
	}
	return ends
}

// killLabs kills a lab process every now and then until the run has ended, but no more than most, and returns how many.
func (r *runningCommand) killLabs(chance *rand.Rand, pause time.Duration, most int) (killed int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.cmd.Wait() // its error is the status once more
	}()
	for {
		select {
		case <-done:
			return killed
		case <-time.After(time.Duration(chance.Int64N(2 * int64(pause)))):
		}
		var s footprint
		if r.count(&s); s.cells == 0 {
			continue // it makes labs to see whether it can, before it begins
		}
		if labs := childrenOf(r.cmd.Process.Pid); killed < most && len(labs) > 0 && killLab(labs[chance.IntN(len(labs))]) {
			killed++
		}
	}
}

// killLab kills a process, and reports whether it would have lived on. What is stopped cannot end by itself
// before it is killed.
func killLab(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if exe, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err != nil || !strings.HasPrefix(string(exe), "simrun-lab") {
		return false // it has ended, or is not there yet
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGSTOP, nil, 0)
	for range 1000 {
		if ended(fd) {
			return false
		}
		if stopped(pid) {
			return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
		}
		time.Sleep(time.Millisecond)
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGCONT, nil, 0)
	return false
}

// stopped reports whether all threads of a process are stopped: see proc_pid_stat(5).
func stopped(pid int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(text[bytes.LastIndexByte(text, ')')+1:]), " T") {
			return false
		}
	}
	return len(files) > 0
}
