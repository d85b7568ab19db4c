//go:build linux

package harness

import (
	"context"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// nearWorld is a world without distance: what a cell costs there is what simrun costs.
func nearWorld() *scenarios.World {
	return &scenarios.World{
		Name: "near",
		Hosts: []scenarios.Host{
			{Name: "proxy.test", Role: scenarios.RoleModuleProxy, Private: true, SumDB: []string{"sum.test"}},
			{Name: "sum.test", Role: scenarios.RoleChecksumDB},
			{Name: "code.test", Role: scenarios.RoleVCS},
			{Name: "git.test", Role: scenarios.RoleVCS, Private: true},
		},
		Nameservers: []scenarios.Nameserver{{Name: "ns1"}},
	}
}

// nearOptions are the options of a run of healthy cells with modules of a kind.
func nearOptions(tb testing.TB, modules scenarios.Modules) Options {
	tb.Helper()
	g, err := FindGo(context.Background(), "")
	require.NoError(tb, err)
	vars := g.Vars()
	vars["go-sumdb"] = "sum.test"
	g.SumDB = "sum.test"
	return Options{
		Go: []*Go{g}, Vars: vars, CacheDir: tb.TempDir(), Seed: 1, Jobs: 1, Timeout: time.Minute,
		Scenarios: []*scenarios.Scenario{{Name: "healthy", World: nearWorld()}},
		Configs: []*scenarios.Config{{Name: "proxy", Env: map[string]string{
			"GOPROXY": "https://proxy.test", "GONOSUMDB": "git.test"}}},
		Projects: []*scenarios.Project{{Name: "modules", Modules: &modules}},
	}
}

// small is the size of the library's project of that name.
var small = scenarios.Modules{Seed: 1, Public: 3, Private: 1, Versions: 2, Depth: 2, ZipSize: 40 << 10}

// BenchmarkCell compares the CPU time of a whole cell, all its processes together, with that of a bare
// go mod tidy that fetches the same modules from the same fakes over loopback HTTPS, client alone: once
// with its folders on disk, where a user has them, and once in memory, where a cell has them. They take
// turns; the figures are medians.
//
// The cell is run by the program itself: this test binary would start more slowly.
func BenchmarkCell(b *testing.B) {
	p, err := NewPlan(context.Background(), nearOptions(b, small))
	require.NoError(b, err)
	bare := newBareTidy(b, p.cells[0].spec)
	binary := buildSimrun(b)
	var cellCPU, clientCPU, diskCPU, memoryCPU, setup, wall []float64
	for b.Loop() {
		diskCPU = append(diskCPU, ms(bare.run(b, b.TempDir())))
		memoryCPU = append(memoryCPU, ms(bare.run(b, memoryDir(b))))
		c := runNear(b, binary)
		cellCPU = append(cellCPU, float64(c.CPUSeconds)*1e3)
		clientCPU = append(clientCPU, float64(c.ClientCPU)*1e3)
		setup = append(setup, float64(c.SetupTime)*1e3)
		wall = append(wall, float64(c.RealSeconds)*1e3)
	}
	b.ReportMetric(median(diskCPU), "bare-disk-cpu-ms")
	b.ReportMetric(median(memoryCPU), "bare-memory-cpu-ms")
	b.ReportMetric(median(cellCPU), "cell-cpu-ms")
	b.ReportMetric(median(clientCPU), "client-cpu-ms")
	b.ReportMetric(median(cellCPU)/median(diskCPU), "cell/bare-disk")
	b.ReportMetric(median(cellCPU)/median(memoryCPU), "cell/bare-memory")
	b.ReportMetric(median(setup), "setup-ms")
	b.ReportMetric(median(wall), "cell-wall-ms")
}

// near is nearOptions of small in the language.
const near = `
world: near
hosts:
  proxy.test: {role: module-proxy, private: true, sumdb: [sum.test]}
  sum.test:   {role: checksum-db}
  code.test:  {role: vcs}
  git.test:   {role: vcs, private: true}
---
{name: healthy, world: near}
---
configs:
  - {name: proxy, env: {GOPROXY: "https://proxy.test", GOSUMDB: sum.test, GONOSUMDB: git.test}}
---
projects:
  - {name: small, modules: {seed: 1, public: 3, private: 1, versions: 2, depth: 2, zip-size: 40KiB}}
`

// runNear runs near with the program and returns its only cell.
func runNear(b *testing.B, binary string) *record.Cell {
	b.Helper()
	cells, _ := runNearOften(b, binary, 1, "--clock", "real") // BenchmarkVirtualClock says what the other one costs
	return &cells[0]
}

// runNearOften runs near with the program so often, one cell at a time, and returns the cells and the CPU time that the
// program and they took.
func runNearOften(b *testing.B, binary string, times int, flags ...string) ([]record.Cell, time.Duration) {
	b.Helper()
	dir := b.TempDir()
	require.NoError(b, os.WriteFile(filepath.Join(dir, "near.yaml"), []byte(near), 0o600))
	cmd := exec.Command(binary, append([]string{"run", "near.yaml", "--out", "out", "--quiet", "--var", "go-sumdb=sum.test",
		"--jobs", "1", "--repeat", strconv.Itoa(times)}, flags...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, "%s", out)
	results, err := record.ReadFile(filepath.Join(dir, "out", "results.jsonl"))
	require.NoError(b, err)
	require.Len(b, results.Cells, times)
	for _, c := range results.Cells {
		require.Equal(b, record.OK, c.Outcome, "%s", out)
	}
	return results.Cells, lab.UsageOf(cmd.ProcessState).CPU
}

// BenchmarkVirtualClock compares the CPU time of cells that never wait on both clocks, with that of the program that
// keeps the clock: runs of 60 cells on each, whose order changes every time. The overhead is the median of the pairs.
func BenchmarkVirtualClock(b *testing.B) {
	const cells = 60
	binary := buildSimrun(b)
	clocks := []string{"real", "virtual"}
	used := map[string][]float64{}
	var overhead []float64
	for b.Loop() {
		for _, clock := range clocks {
			ran, cpu := runNearOften(b, binary, cells, "--clock", clock)
			require.Equal(b, clock, ran[0].Clock, ran[0].ClockNote)
			used[clock] = append(used[clock], ms(cpu)/cells)
		}
		slices.Reverse(clocks)
		n := len(overhead)
		overhead = append(overhead, 100*(used["virtual"][n]/used["real"][n]-1))
	}
	b.ReportMetric(median(used["real"]), "real-cpu-ms")
	b.ReportMetric(median(used["virtual"]), "virtual-cpu-ms")
	b.ReportMetric(median(overhead), "overhead-%")
}

// BenchmarkThroughput runs healthy one-module cells side by side, 200 to an operation.
func BenchmarkThroughput(b *testing.B) {
	const cells = 200
	o := nearOptions(b, scenarios.Modules{Seed: 1, Public: 1, Versions: 1, Depth: 1, ZipSize: 10 << 10})
	o.Jobs, o.Repeat = 0, cells
	p, err := NewPlan(context.Background(), o)
	require.NoError(b, err)
	for b.Loop() {
		require.NoError(b, p.Run(context.Background(), func(c *record.Cell) error {
			require.Equal(b, record.OK, c.Outcome, "%s%s", c.Note, c.Stderr)
			return nil
		}, nil))
	}
	b.ReportMetric(cells*float64(b.N)/b.Elapsed().Seconds(), "cells/s")
}

// A bareTidy is go mod tidy without simrun: the same modules and fakes, on this machine's loopback.
type bareTidy struct {
	command []string
	env     []string
	project string
}

func newBareTidy(tb testing.TB, s *spec) *bareTidy {
	tb.Helper()
	key := s.Keys.SumDB["sum.test"]
	db, err := fakeupstream.OpenChecksumDB(key.Name, s.Trees[key.Name], s.Universe.Modules)
	require.NoError(tb, err)
	server := httptest.NewUnstartedServer(&fakeupstream.ModuleProxy{
		Tree: os.DirFS(s.Universe.Proxy), ChecksumDBs: []*fakeupstream.ChecksumDB{db}})
	server.EnableHTTP2 = true
	server.Config.ErrorLog = nil
	server.StartTLS()
	tb.Cleanup(server.Close)
	ca := filepath.Join(tb.TempDir(), "ca.pem")
	require.NoError(tb, os.WriteFile(ca, pemOf(server), 0o600))
	env := slices.DeleteFunc(slices.Clone(s.Env), func(v string) bool { return strings.Contains(v, lab.Root) })
	return &bareTidy{s.Command, append(env, "GOPROXY="+server.URL, "SSL_CERT_FILE="+ca, "GOENV=off"), s.Universe.Project}
}

// run runs the command with its folders in dir, which is empty, and returns the CPU time that it took.
func (t *bareTidy) run(tb testing.TB, dir string) time.Duration {
	tb.Helper()
	require.NoError(tb, copyProject(t.project, filepath.Join(dir, "project")))
	require.NoError(tb, os.MkdirAll(filepath.Join(dir, ".config/go/telemetry"), 0o755))
	require.NoError(tb, os.WriteFile(filepath.Join(dir, ".config/go/telemetry/mode"), []byte("off"), 0o600)) // as in a cell
	cmd := exec.Command(t.command[0], t.command[1:]...)
	cmd.Dir = filepath.Join(dir, "project")
	cmd.Env = append(slices.Clone(t.env), "HOME="+dir, "GOPATH="+dir+"/gopath", "GOMODCACHE="+dir+"/modcache",
		"GOCACHE="+dir+"/gocache", "TMPDIR="+dir, "GOFLAGS=-modcacherw")
	out, err := cmd.CombinedOutput()
	require.NoError(tb, err, "%s", out)
	return lab.UsageOf(cmd.ProcessState).CPU
}

// memoryDir returns a new folder in memory.
func memoryDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "simrun-bench-")
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, os.RemoveAll(dir)) })
	return dir
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// pemOf returns the certificate of a test server, which is its own authority.
func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
