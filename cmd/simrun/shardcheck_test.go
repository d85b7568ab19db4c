package main

import (
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

var (
	shardCheck = flag.Bool("shard-check", false, "run the library in one and in five shards, and compare")
	shardFlags = flag.String("shard-flags", "", "further flags of these runs, such as '--clock real'")
)

// TestLibraryInShards runs the library once as a whole and once in five shards, of which two are interrupted: one is
// killed and resumed, the other is ended as a CI system does and made anew. Merged, they must have the same cells with
// the same outcomes and classes as the whole. Where chance decides, as the order of requests that a client makes at the
// same time does for a fault that each third of them meets, a cell may differ if it does so within one run as well: both
// verdicts must be among those of its repetitions.
func TestLibraryInShards(t *testing.T) {
	if !*shardCheck {
		t.Skip("run by make shard-check")
	}
	const shards, before = 5, 100 // cells of a shard when it is interrupted
	dir := t.TempDir()
	run := func(args ...string) *exec.Cmd {
		return program(t, dir, append(append([]string{"run", "--quiet"}, strings.Fields(*shardFlags)...), args...)...)
	}
	succeed(t, run("--out", "whole"))
	merge := []string{"merge", "--out", "merged"}
	for i := range shards {
		shard := func(out string) []string {
			return []string{"--shard", fmt.Sprintf("%d/%d", i+1, shards), "--balance", "whole", "--out", out}
		}
		out := fmt.Sprintf("part%d", i+1)
		switch i {
		case 1:
			interrupt(t, run(shard(out)...), filepath.Join(dir, out, resultsName), before, syscall.SIGKILL)
			succeed(t, run(append(shard(out), "--resume")...))
		case 3:
			interrupt(t, run(shard("given-up")...), filepath.Join(dir, "given-up", resultsName), before, syscall.SIGTERM)
			succeed(t, run(shard(out)...))
		default:
			succeed(t, run(shard(out)...))
		}
		merge = append(merge, out)
	}
	succeed(t, program(t, dir, merge...))

	whole, merged := verdicts(t, filepath.Join(dir, "whole", resultsName)), verdicts(t, filepath.Join(dir, "merged", resultsName))
	assert.Len(t, merged, len(whole))
	var differ, chance []string
	for key, v := range whole {
		if merged[key] == v {
			continue
		}
		text := fmt.Sprintf("%s / %s: %s as a whole, %q in shards", key.Scenario, key.Config, v, merged[key])
		seen := repeated(t, run, dir, key, v, merged[key])
		if seen[v] > 0 && seen[merged[key]] > 0 {
			chance = append(chance, fmt.Sprintf("%s, %v in one run", text, seen))
		} else {
			differ = append(differ, fmt.Sprintf("%s, %v in one run", text, seen))
		}
	}
	assert.Empty(t, differ, strings.Join(differ, "\n"))
	slices.Sort(chance)
	fmt.Printf("%d cells, of which %d differ, and %d by chance:\n%s\n", len(whole), len(differ), len(chance), strings.Join(chance, "\n"))
}

// repeated runs a cell often, and very often if that does not show both verdicts; it returns how often it had which.
func repeated(t *testing.T, run func(...string) *exec.Cmd, dir string, key record.Key, both ...string) map[string]int {
	seen := map[string]int{}
	for _, times := range []string{"60", "600"} {
		out := strings.Join([]string{"again", times, key.Scenario, key.Config}, "-")
		succeed(t, run("--scenario", key.Scenario, "--config", key.Config, "--repeat", times, "--out", out))
		for _, v := range verdicts(t, filepath.Join(dir, out, resultsName)) {
			seen[v]++
		}
		if !slices.ContainsFunc(both, func(v string) bool { return seen[v] == 0 }) {
			break
		}
	}
	return seen
}

// succeed runs a command that may find broken expectations, but nothing worse.
func succeed(t *testing.T, cmd *exec.Cmd) {
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != statusBroken {
		require.NoError(t, err, "%s: %s", cmd.Args, text)
	}
}

// interrupt sends a signal to a command that has written so many cells.
func interrupt(t *testing.T, cmd *exec.Cmd, results string, cells int, with syscall.Signal) {
	ended := start(t, cmd)
	awaitLines(results, cells, cells, ended)
	require.NoError(t, cmd.Process.Signal(with))
	<-ended
	require.False(t, cmd.ProcessState.Success())
}

// verdicts returns outcome and class of each cell of a run.
func verdicts(t *testing.T, name string) map[record.Key]string {
	results, err := record.ReadFile(name)
	require.NoError(t, err)
	all := map[record.Key]string{}
	for i := range results.Cells {
		c := &results.Cells[i]
		all[c.Key] = fmt.Sprintf("%s %s", c.Outcome, c.Class)
	}
	require.Len(t, all, len(results.Cells))
	return all
}
