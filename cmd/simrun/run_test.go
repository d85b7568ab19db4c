package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/record"
)

// fakePlan hands out cells, and then fails if it has an error.
type fakePlan struct {
	cells []record.Cell
	err   error
}

func (p *fakePlan) Header() record.Run {
	return record.Run{
		Version: record.Version, Simrun: "v0", Clock: "real", Cells: 2,
		Scenarios: []record.Scenario{{Name: "dead-proxy", Expect: []record.Expectation{
			{Configs: "cn-pipe", Outcome: record.OK, Where: "dead.yaml:1:1"},
		}}},
		Configs: []record.Config{{Name: "cn-comma"}, {Name: "cn-pipe"}},
	}
}

func (p *fakePlan) Skip([]record.Cell) error { return nil }

func (p *fakePlan) Run(_ context.Context, emit func(*record.Cell) error, progress func(harness.Status)) error {
	for i := range p.cells {
		progress(harness.Status{Done: i, Total: 2, Left: -1})
		if err := emit(&p.cells[i]); err != nil {
			return err
		}
	}
	return p.err
}

func fakeCell(config string, o record.Outcome) record.Cell {
	c := record.Cell{Outcome: o, Seconds: 1, Requests: []record.Request{{Host: "goproxy.cn"}}}
	c.Key = record.Key{Scenario: "dead-proxy", Config: config, Project: "tiny", Go: "go1.26.8"}
	return c
}

func TestCarryOut(t *testing.T) {
	fine := []record.Cell{fakeCell("cn-comma", record.Error), fakeCell("cn-pipe", record.OK)}
	tests := []struct {
		name        string
		plan        fakePlan
		interrupted bool
		status      int
	}{
		{"as expected", fakePlan{cells: fine}, false, statusOK},
		{"expectation broken", fakePlan{cells: []record.Cell{fakeCell("cn-pipe", record.Hang)}}, false, statusBroken},
		{"harness error beats expectation", fakePlan{cells: []record.Cell{
			fakeCell("cn-pipe", record.Hang), fakeCell("cn-comma", record.HarnessError)}}, false, statusHarness},
		{"run fails", fakePlan{cells: fine[:1], err: errors.New("disk is on fire")}, false, statusHarness},
		{"interrupted", fakePlan{cells: fine[:1], err: context.Canceled}, true, statusInterrupted},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out, progress bytes.Buffer
			a := &app{out: &out, err: &progress, getenv: func(string) string { return "" }}
			ctx, cancel := context.WithCancel(t.Context())
			if test.interrupted {
				cancel()
			}
			defer cancel()
			file := filepath.Join(t.TempDir(), resultsName)
			err := a.carryOut(ctx, &runOptions{color: "auto"}, &test.plan, file)

			assert.Equal(t, test.status, statusIn(err))
			assert.Contains(t, out.String(), "dead-proxy")
			assert.Contains(t, out.String(), "results: "+file)
			assert.Contains(t, progress.String(), "[1/2] dead-proxy × cn-")
			results, err := record.ReadFile(file)
			require.NoError(t, err)
			require.Len(t, results.Cells, len(test.plan.cells))
			assert.NotEmpty(t, results.Cells[0].Requests, "the file has all facts")
			for _, name := range []string{"report.html", "report.md", "junit.xml", "bench.txt", "verdicts.json"} {
				assert.FileExists(t, filepath.Join(filepath.Dir(file), name))
			}
		})
	}
}

func statusIn(err error) int {
	if err == nil {
		return statusOK
	}
	return blame(err).status
}

func TestBlame(t *testing.T) {
	assert.Equal(t, statusInput, statusIn(fmt.Errorf("project x: %w", &harness.InputError{Err: errors.New("no go.mod")})))
	assert.Equal(t, statusHarness, statusIn(errors.New("disk is on fire")))
	assert.Equal(t, 7, statusIn(fmt.Errorf("shell: %w", &statusError{status: 7})))
}

func TestCarryOutRefusesAnExistingFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), resultsName)
	require.NoError(t, os.WriteFile(file, []byte("precious"), 0o666))
	a := &app{out: &bytes.Buffer{}, err: &bytes.Buffer{}}
	require.Error(t, a.carryOut(t.Context(), &runOptions{}, &fakePlan{}, file))
	left, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "precious", string(left))
}

func TestCheckOfFlags(t *testing.T) {
	good := runOptions{repeat: 1, timeout: time.Second, color: "auto", clock: "real",
		isolationOptions: isolationOptions{isolation: "auto", image: defaultImage}}
	require.NoError(t, good.check())
	for _, spoil := range []func(*runOptions){
		func(o *runOptions) { o.repeat = 0 },
		func(o *runOptions) { o.jobs = -1 },
		func(o *runOptions) { o.timeout = 0 },
		func(o *runOptions) { o.clock = "unreal" },
		func(o *runOptions) { o.color = "yes" },
		func(o *runOptions) { o.isolation = "jail" },
		func(o *runOptions) { o.isolation, o.pull = "namespace", true },
		func(o *runOptions) { o.isolation, o.image = "namespace", "golang:1.26" },
	} {
		o := good
		spoil(&o)
		assert.Equal(t, statusInput, statusIn(o.check()))
	}
}

func TestColored(t *testing.T) {
	a := &app{out: &bytes.Buffer{}, getenv: func(string) string { return "" }}
	assert.False(t, a.colored("auto"), "not a terminal")
	assert.True(t, a.colored("always"))
	assert.False(t, a.colored("never"))
}

func TestResultsFile(t *testing.T) {
	t.Run("makes the folder and leaves it empty", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		file, err := resultsFile(dir, false)
		require.NoError(t, err)
		assert.Equal(t, filepath.Join(dir, "results.jsonl"), file)
		require.NoDirExists(t, dir)
		require.NoError(t, makeFolder(dir))
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, entries)
	})
	t.Run("accepts a folder with other files", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o666))
		_, err := resultsFile(dir, false)
		require.NoError(t, err)
		require.NoError(t, makeFolder(dir))
	})
	t.Run("refuses a dangling link", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, resultsName)))
		_, err := resultsFile(dir, false)
		assert.Equal(t, statusInput, statusIn(err))
	})
}

func TestSuggest(t *testing.T) {
	known := []string{"--config", "--configs", "--scenario", "--out"}
	assert.Equal(t, "; did you mean --config?", suggest("--confg", known))
	assert.Equal(t, "; did you mean --scenario?", suggest("--Scenarios", known))
	assert.Empty(t, suggest("--zzzzzzzzz", known))
	assert.Empty(t, suggest("", nil))
}

func TestOnRealClock(t *testing.T) {
	assert.Empty(t, onRealClock([]record.Cell{{}, {}}))
	assert.Equal(t, "on the real clock: 2 of 3 cells, the first because: git: no\n",
		onRealClock([]record.Cell{{}, {ClockNote: "git: no"}, {ClockNote: "go: no"}}))
}
