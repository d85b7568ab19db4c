package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/harness/container"
	"github.com/simrun/simrun/record"
)

var isolationCheck = flag.Bool("isolation-check", false, "compare cells in containers with those in namespaces, their times too, and print a table")

// testImage is an image that the tests make, so that they do not replace one of this machine's user.
const testImage = "simrun:test"

// engineFor connects to the engine of the machine that runs the tests.
func engineFor(t *testing.T) *container.Engine {
	t.Helper()
	e, err := container.Connect(t.Context())
	if err != nil {
		if os.Getenv("SIMRUN_REQUIRE_ENGINE") != "" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: make test-containers starts an engine: ", err)
	}
	t.Cleanup(func() { assert.NoError(t, e.Close()) })
	return e
}

// staticSimrun is a simrun that runs in containers: this test binary may be linked dynamically.
var staticSimrun = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", staticFile(), ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build simrun: %w\n%s", err, out)
	}
	return staticFile(), nil
})

func staticFile() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("simrun-static-%d", os.Getpid()))
}

// makeTestImage makes testImage, once.
var makeTestImage = sync.OnceValue(func() error {
	simrun, err := staticSimrun()
	if err != nil {
		return err
	}
	if out, err := exec.Command(simrun, "image", "--tag", testImage).CombinedOutput(); err != nil {
		return fmt.Errorf("make the image: %w\n%s", err, out)
	}
	return nil
})

// A containerTest runs simrun in a folder.
type containerTest struct {
	*testing.T
	engine *container.Engine
	dir    string
}

func newContainerTest(t *testing.T) *containerTest {
	c := &containerTest{t, engineFor(t), t.TempDir()}
	require.NoError(t, makeTestImage())
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "library.yaml"), []byte(killLibrary), 0o666))
	return c
}

// simrun returns a command that has not been started.
func (c *containerTest) simrun(args ...string) *exec.Cmd {
	file, err := staticSimrun()
	require.NoError(c, err)
	cmd := exec.Command(file, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(c.dir, "cache"))
	return cmd
}

// inside returns a command that runs the library in a container.
func (c *containerTest) inside(args ...string) *exec.Cmd {
	return c.simrun(append([]string{"run", "--isolation", "container", "--image", testImage, "--quiet"}, args...)...)
}

// left returns how many containers of the tests' image there are.
func (c *containerTest) left() int { return c.leftOf(testImage) }

func (c *containerTest) leftOf(image string) int {
	n, err := c.engine.Count(c.Context(), image)
	require.NoError(c, err)
	return n
}

// cellsOfAllLayers are scenarios of which each cell is short, and two configs.
var cellsOfAllLayers = []string{
	"--scenario", "healthy-office-cn,refused-proxy,closing-proxy,unknown-proxy,expired-certificate,proxy-404-not-found,tampered-zip,sumdb-503,deleted-repository,no-git",
	"--config", "cn-comma,cn-pipe",
}

// What happens in a container is what happens in namespaces: the same outcomes, classes, hosts, modules and
// sequences of requests. With -isolation-check, fifteen repetitions are compared by their times, too.
func TestContainerCellsAreThoseOfNamespaces(t *testing.T) {
	c := newContainerTest(t)
	if err := harness.Check(t.Context()); err != nil {
		t.Skip("SKIPPED: no lab can be made on this machine without a container: ", err)
	}
	args := slices.Concat(cellsOfAllLayers, []string{"--jobs", "2", "--timeout", "60s"})
	if *isolationCheck {
		args = append(args, "--repeat", "15", "--jobs", "1")
	}
	for _, isolation := range []string{"namespace", "container"} {
		cmd := c.inside(slices.Concat(args, []string{"--out", isolation})...)
		if isolation == "namespace" {
			cmd = c.simrun(slices.Concat([]string{"run", "--isolation", isolation, "--quiet", "--out", isolation}, args)...)
		}
		text, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == statusBroken {
			err = nil // an expectation of other configs
		}
		require.NoError(t, err, "%s", text)
	}
	outer, inner := filepath.Join(c.dir, "namespace", resultsName), filepath.Join(c.dir, "container", resultsName)
	there := ordered(gist(t, inner))
	for _, cell := range ordered(gist(t, outer)) {
		at := slices.IndexFunc(there, func(c record.Cell) bool { return c.Key == cell.Key })
		require.GreaterOrEqual(t, at, 0, "%v", cell.Key)
		assert.Equal(t, cell, there[at])
	}
	run, err := record.ReadFile(inner)
	require.NoError(t, err)
	assert.Equal(t, "container", run.Run.Isolation)
	assert.Zero(t, c.left())
	if *isolationCheck {
		compareTimes(t, outer, inner)
	}
}

// ordered sorts what a cell asked for: the go command asks for several modules at once.
func ordered(cells []record.Cell) []record.Cell {
	for i := range cells {
		slices.Sort(cells[i].Hosts)
		slices.SortFunc(cells[i].Requests, func(a, b record.Request) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
	return cells
}

// compareTimes prints the median seconds of each cell on both sides, and checks that they are within 5 % or 20 ms.
// Some cells have times of two kinds, a round trip apart, as it is a race in the go command which of two requests
// finds a connection ready. Their medians jump by as much from run to run. What is checked of them is that nine in
// ten of the times of either side are also times of the other.
func compareTimes(t *testing.T, outer, inner string) {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "cell\tnamespace\tcontainer\tdifference\tshared")
	there := secondsOf(t, inner)
	for name, here := range secondsOf(t, outer) {
		m, n := here[len(here)/2], there[name][len(there[name])/2]
		shared := min(shareIn(here, there[name]), shareIn(there[name], here))
		fmt.Fprintf(w, "%s\t%.3f s\t%.3f s\t%+.0f ms\t%.0f %%\n", name, m, n, 1000*(n-m), 100*shared)
		assert.True(t, near(m, n) || shared >= 0.9, "%s: %.3f and %.3f s", name, here, there[name])
	}
	require.NoError(t, w.Flush())
	t.Logf("\n%s", text.String())
}

// near reports whether two times are as good as equal.
func near(a, b record.Seconds) bool { return max(a-b, b-a) <= max(0.020, 0.05*a) }

// shareIn returns how many of the times of one side, as a fraction, have one on the other side that is near.
func shareIn(times, other []record.Seconds) float64 {
	found := 0
	for _, a := range times {
		if slices.ContainsFunc(other, func(b record.Seconds) bool { return near(a, b) }) {
			found++
		}
	}
	return float64(found) / float64(len(times))
}

// secondsOf returns the seconds of the repetitions of each cell, in ascending order.
func secondsOf(t *testing.T, file string) map[string][]record.Seconds {
	run, err := record.ReadFile(file)
	require.NoError(t, err)
	all := map[string][]record.Seconds{}
	for _, c := range run.Cells {
		name := c.Scenario + "/" + c.Config
		all[name] = append(all[name], c.Seconds)
	}
	for _, seconds := range all {
		slices.Sort(seconds)
	}
	return all
}

// Whenever simrun is killed, nothing of it is left in the engine, and a run can be resumed.
func TestContainerIsGoneWhenSimrunIsKilled(t *testing.T) {
	c := newContainerTest(t)
	run := func() *exec.Cmd { return c.inside("library.yaml", "--repeat", "30", "--out", "killed", "--resume") }
	results := filepath.Join(c.dir, "killed", resultsName)
	for kill := range 8 {
		cmd := run()
		ended := start(t, cmd)
		if kill%2 == 0 { // while it sets its container up
			time.Sleep(rand.N(time.Second))
		} else {
			awaitLines(results, 1+rand.IntN(4), 1+2*2*30, ended)
		}
		_ = cmd.Process.Kill() // unless it has come to its end
		<-ended
	}
	require.Eventually(t, func() bool { return c.left() == 0 }, 2*reapFor, 100*time.Millisecond)
	text, err := run().CombinedOutput()
	require.NoError(t, err, "%s", text)
	assert.Len(t, gist(t, results), 2*2*30)
	assert.Zero(t, c.left())
}

// Ctrl-C keeps and reports what is complete.
func TestContainerIsGoneAfterAnInterrupt(t *testing.T) {
	c := newContainerTest(t)
	cmd := c.inside("library.yaml", "--repeat", "100", "--out", "interrupted")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	ended := start(t, cmd)
	awaitLines(filepath.Join(c.dir, "interrupted", resultsName), 3, 400, ended)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	<-ended
	assert.Equal(t, statusInterrupted, cmd.ProcessState.ExitCode(), stderr.String())
	assert.Contains(t, stderr.String(), "simrun: interrupted; what is reported is not the whole run\n")
	assert.Contains(t, stdout.String(), "results: interrupted/results.jsonl\n")
	assert.Zero(t, c.left())
}

// An image without Go or git is refused in one line, with what to do.
func TestContainerImageThatLacksGoOrGit(t *testing.T) {
	c := newContainerTest(t)
	for name, programs := range map[string][]string{"git": nil, "Go": {"usr/bin/git"}} {
		image := "simrun-without-" + strings.ToLower(name) + ":test"
		var root bytes.Buffer
		w := tar.NewWriter(&root)
		for _, dir := range []string{"dev/", "etc/", "proc/", "run/", "sys/", "tmp/"} {
			require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o1777}))
		}
		for _, p := range programs {
			require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: p, Mode: 0o755}))
		}
		require.NoError(t, w.Close())
		require.NoError(t, c.engine.Import(t.Context(), image, io.Reader(&root), "ENV PATH=/usr/bin"))
		cmd := c.simrun("run", "library.yaml", "--isolation", "container", "--image", image)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Run(), &exit)
		assert.Equal(t, statusInput, exit.ExitCode())
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		require.Len(t, lines, 2, stderr.String())
		assert.Regexp(t, "^simrun: image "+image+": .*"+strings.ToLower(name), lines[0])
		assert.Equal(t, "hint: simrun image makes an image that has all", lines[1])
		assert.Zero(t, c.leftOf(image))
	}
}
