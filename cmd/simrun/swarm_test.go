//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/harness/container"
	"github.com/simrun/simrun/record"
)

// importSimrun makes an image whose only program is simrun. All else is to be mounted below /usr.
func importSimrun(t *testing.T, e *container.Engine, name string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "simrun")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	var root bytes.Buffer
	w := tar.NewWriter(&root)
	for _, dir := range []string{"dev/", "etc/", "opt/", "proc/", "results/", "run/", "sys/", "tmp/", "usr/"} {
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o1777}))
	}
	for _, link := range []string{"bin", "lib", "lib64", "sbin"} {
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: link, Linkname: "usr/" + link}))
	}
	data, err := os.ReadFile(program)
	require.NoError(t, err)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "opt/simrun", Mode: 0o755, Size: int64(len(data))}))
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, e.Import(t.Context(), name, &root, "ENV PATH=/opt:/usr/local/go/bin:/usr/bin:/bin"))
}

// throwAway returns Docker's command, and its environment, for the engine of .ci/engine, which has a network namespace of
// its own. A swarm changes the network of its machine, so that the test wants no other engine.
func throwAway(t *testing.T) (docker string, env []string) {
	t.Helper()
	dir := strings.TrimSuffix(strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://"), "/engine.sock")
	docker = filepath.Join(dir, "root/usr/bin/docker")
	if _, err := os.Stat(docker); err != nil || dir == "" {
		if os.Getenv("SIMRUN_REQUIRE_ENGINE") != "" {
			t.Fatal("DOCKER_HOST is not of an engine that .ci/engine has started: ", os.Getenv("DOCKER_HOST"))
		}
		t.Skip("SKIPPED: make test-containers starts an engine")
	}
	return docker, append(os.Environ(), "PATH="+filepath.Dir(docker)+":"+os.Getenv("PATH"), "HOME="+t.TempDir(),
		"FLAGS=--no-resolve-image --mount type=bind,source=/usr,target=/usr,readonly")
}

// TestSwarmExample runs a library by docs/examples/swarm, and compares it with one run.
func TestSwarmExample(t *testing.T) {
	program, env := throwAway(t)
	e := engine(t)
	importSimrun(t, e, "simrun-swarm:test")
	docker := func(args ...string) string {
		cmd := exec.Command(program, args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
	t.Cleanup(func() { docker("swarm", "leave", "--force") })

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "library.yaml"), []byte(killLibrary), 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	swarm := exec.CommandContext(ctx, "../../docs/examples/swarm", "simrun-swarm:test", "3", dir, "/results/library.yaml", "--repeat", "2")
	swarm.Env = env
	out, err := swarm.CombinedOutput()
	require.NoError(t, err, string(out))
	whole, err := record.ReadFile(filepath.Join(dir, "whole/results.jsonl"))
	require.NoError(t, err)
	one := outcomes(t, runLibrary(t, filepath.Join(dir, "library.yaml"), "--repeat", "2"))
	require.NotEmpty(t, one)
	assert.Equal(t, one, outcomes(t, whole))
	for _, part := range []string{"part1", "part2", "part3"} {
		results, err := record.ReadFile(filepath.Join(dir, part, "results.jsonl"))
		require.NoError(t, err)
		assert.NotEmpty(t, results.Cells, part)
	}
	assert.Empty(t, strings.TrimSpace(docker("service", "ls", "--quiet")), "the script leaves no service")
}

// outcomes returns how each cell of a run ended.
func outcomes(t *testing.T, results *record.Results) map[record.Key]string {
	t.Helper()
	all := map[record.Key]string{}
	for i := range results.Cells {
		c := &results.Cells[i]
		require.NotContains(t, all, c.Key)
		all[c.Key] = string(c.Outcome) + " " + c.Class
	}
	return all
}

// runLibrary runs what a file declares, on this machine.
func runLibrary(t *testing.T, file string, flags ...string) *record.Results {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	var stdout, stderr bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &stdout, err: &stderr, getenv: func(string) string { return "" }}
	status := a.main(t.Context(), append([]string{"run", file, "--out", out, "--quiet", "--color", "never"}, flags...))
	require.Equal(t, statusOK, status, stderr.String())
	results, err := record.ReadFile(filepath.Join(out, "results.jsonl"))
	require.NoError(t, err)
	return results
}
