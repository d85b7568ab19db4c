package main

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/record"
)

const killLibrary = `
world: one-proxy
hosts:
  proxy.example: {role: module-proxy, rtt: 2ms}
  code.example:  {role: vcs, rtt: 2ms}
nameservers: {ns1: {rtt: 2ms}}
---
name: all-well
world: one-proxy
---
name: refused
world: one-proxy
faults:
  - {host: proxy.example, packet: {reject: rst}}
---
configs:
  - {name: proxy-only, env: {GOPROXY: "https://proxy.example", GOSUMDB: "off"}}
  - {name: proxy-or-not, env: {GOPROXY: "https://proxy.example|off", GOSUMDB: "off"}}
---
projects:
  - {name: tiny, modules: {seed: 1, public: 1, versions: 1, depth: 1, zip-size: 1KiB}}
`

// TestRunSurvivesBeingKilled kills a run at twenty random moments. What comes of it in the end must be what
// comes of a run that nobody disturbed.
func TestRunSurvivesBeingKilled(t *testing.T) {
	if ok, err := there(harness.Check(t.Context())); !ok {
		require.NoError(t, err)
		t.Skip("SKIPPED, NOT TESTED: no lab can be made on this machine")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "library.yaml"), []byte(killLibrary), 0o666))
	simrun := func(out string) *exec.Cmd {
		return program(t, dir, "run", "library.yaml", "--repeat", "30", "--quiet", "--out", out, "--resume")
	}
	const kills, cells = 20, 2 * 2 * 30
	killed := filepath.Join(dir, "killed", resultsName)
	for range kills {
		cmd := simrun("killed")
		ended := start(t, cmd)
		awaitLines(killed, rand.IntN(4), 1+cells, ended)
		time.Sleep(rand.N(50 * time.Millisecond))
		_ = cmd.Process.Kill() // unless it has come to its end
		<-ended
	}
	for _, out := range []string{"killed", "calm"} {
		text, err := simrun(out).CombinedOutput()
		require.NoError(t, err, "%s", text)
	}
	assert.ElementsMatch(t, gist(t, filepath.Join(dir, "calm", resultsName)), gist(t, killed))
}

// program returns a command that is this simrun, in a folder in which it also has its cache.
func program(t *testing.T, dir string, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	require.NoError(t, err)
	return &exec.Cmd{Path: exe, Dir: dir, Env: append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+filepath.Join(dir, "cache")),
		Args: append([]string{"simrun"}, args...)}
}

// start starts a command and returns a channel that is closed when it has ended.
func start(t *testing.T, cmd *exec.Cmd) (ended chan struct{}) {
	require.NoError(t, cmd.Start())
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // cmd.ProcessState tells
	}()
	return ended
}

// awaitLines waits until a file has so many lines more than now, or as many as it can have, or until the command that
// writes it has ended.
func awaitLines(name string, more, most int, ended <-chan struct{}) {
	count := func() int {
		text, _ := os.ReadFile(name) // it may not be there yet
		return strings.Count(string(text), "\n")
	}
	for want := min(count()+more, most); count() < want; {
		select {
		case <-ended:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// gist returns of each cell of a run what must not depend on when it was run.
func gist(t *testing.T, name string) []record.Cell {
	results, err := record.ReadFile(name)
	require.NoError(t, err)
	assert.Zero(t, results.Torn)
	assert.Equal(t, results.Run.Cells, len(results.Cells))
	var cells []record.Cell
	for _, c := range results.Cells {
		g := record.Cell{Key: c.Key, Outcome: c.Outcome, Class: c.Class, Exit: c.Exit, Hosts: c.Hosts, Integrity: c.Integrity, Modules: c.Modules}
		for _, q := range c.Requests {
			g.Requests = append(g.Requests, record.Request{Server: q.Server, Method: q.Method, Path: q.Path, Status: q.Status})
		}
		cells = append(cells, g)
	}
	return cells
}
