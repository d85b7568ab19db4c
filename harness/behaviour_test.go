//go:build linux

package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// behaviours is the content of testdata/behaviours.yaml, which explains itself.
type behaviours struct {
	Rows    []behaviour
	Missing []outOfReach
}

// outOfReach are rows that cannot be run, and why.
type outOfReach struct {
	Needs string
	IDs   []string
}

// A Setting is one cell to run: settings of the go command, and what is wrong.
type Setting struct {
	ID        string
	About     string
	Note      string // where simrun and what is known without it differ, and why
	World     string // of behaviours-worlds.yaml; empty means plain
	Project   string // key of terrains
	Run       []string
	Env       map[string]string
	Netrc     string
	GitConfig string
	Cache     string           // as in a config
	Retry     map[string]any   // as in a config
	PAC       any              // as in a config
	Parallel  int              // as in a project
	Faults    []map[string]any // as in a scenario file
	Deadline  string           // empty means shortDeadline for a behaviour that hangs, else longDeadline
}

// A behaviour is one row: a setting, and what the go command does there.
type behaviour struct {
	Setting `yaml:",inline"`
	Unmet   bool // the faults lie where the command must not go

	Outcome  record.Outcome
	Class    string   // failure class; empty means none
	Stderr   []string // each is part of the command's output
	Seconds  string   // range; empty means at once, or the deadline for what hangs
	Hosts    []string // in the order of first contact, name servers apart
	Requests []string // hosts that HTTP requests reached, in order, repetitions in a row left out; empty means not checked
	Paths    []string // glob for the path of each HTTP request, in order; empty means not checked
	Count    int      // of all HTTP requests; 0 means not checked
	Once     string   // host that is not asked for the same path twice; empty means not checked
	Leaks    []string // hosts outside that saw the path of a private module
}

const (
	shortDeadline = 13 * time.Second // longer than the go command's 10 s for TLS and for DNS
	longDeadline  = 100 * time.Second
)

// atOnce is the time in seconds within which something ends that waits for nothing: what a busy machine
// needs, and less than the least of the go command's timeouts that rows are about.
const atOnce = 9.5

// TestBehaviours runs what is known of the real go command's behaviour under failure in labs, all rows side
// by side. It takes as long as the longest row waits.
func TestBehaviours(t *testing.T) {
	t.Parallel()
	requireLab(t)
	rows := readBehaviours(t).Rows
	var settings []Setting
	for _, row := range rows {
		row.Deadline = row.deadline(t).String()
		settings = append(settings, row.Setting)
	}
	cells := runSettings(t, settings)
	for _, row := range rows {
		t.Run(row.ID, func(t *testing.T) {
			cell := cells[scenarioName(row.ID)]
			require.NotNil(t, cell, "the run has left it out")
			row.check(t, cell)
		})
	}
}

// TestBehavioursAreComplete checks that no behaviour is dropped silently: each is run, or said to be out of
// reach.
func TestBehavioursAreComplete(t *testing.T) {
	all := readBehaviours(t)
	var have []string
	for _, row := range all.Rows {
		have = append(have, row.ID)
	}
	checkComplete(t, "testdata/behaviours.ids", have, all.Missing)
}

// checkComplete checks that the rows of a table and those that are out of reach are all that there are.
func checkComplete(t *testing.T, list string, have []string, missing []outOfReach) {
	t.Helper()
	for _, m := range missing {
		assert.NotEmpty(t, m.Needs)
		have = append(have, m.IDs...)
	}
	ids, err := os.ReadFile(list)
	require.NoError(t, err)
	assert.ElementsMatch(t, strings.Fields(string(ids)), have)
}

func readBehaviours(t *testing.T) *behaviours {
	t.Helper()
	all := new(behaviours)
	readTable(t, "testdata/behaviours.yaml", all)
	return all
}

// readTable reads a YAML file that has the keys of table and no others.
func readTable(t *testing.T, name string, table any) {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, yaml.NewDecoder(f, yaml.Strict()).Decode(table))
}

// scenarioName is an id in the form of the scenario language.
func scenarioName(id string) string { return strings.ReplaceAll(strings.ToLower(id), ".", "-") }

// runSettings runs one cell for each setting and returns them by the names of their scenarios.
func runSettings(t *testing.T, rows []Setting) map[string]*record.Cell {
	t.Helper()
	cells := map[string]*record.Cell{}
	require.NoError(t, planSettings(t, rows).Run(t.Context(), func(c *record.Cell) error {
		cells[c.Scenario] = c
		return nil
	}, nil))
	return cells
}

// planSettings plans a cell of its own for each setting: NewPlan would combine every scenario with every
// config. What waits longest starts first.
func planSettings(t *testing.T, rows []Setting) *Plan {
	t.Helper()
	g, err := FindGo(t.Context(), "")
	require.NoError(t, err)
	o := Options{Go: []*Go{g}, Vars: g.Vars(), Jobs: runtime.NumCPU(), Seed: 1, CacheDir: t.TempDir()}
	lib := loadSettings(t, rows, o.Vars)
	o.Scenarios, o.Configs = lib.Scenarios, lib.Configs
	p := &Plan{options: o, header: header(o)}
	shared := newStages(&o)
	universes := layTerrains(t)
	for i, s := range lib.Scenarios {
		row := &rows[i]
		u := universes[row.Project]
		require.NotNil(t, u, "%s: no project %q", row.ID, row.Project)
		project := &scenarios.Project{Name: row.Project, Run: row.Run, Parallel: row.Parallel}
		p.describeProject(project, u)
		on := shared.over(t, u, s, project)
		require.NoError(t, p.add(s, project, lib.Configs[i], g, on, on))
		p.cells[i].spec.Timeout = row.timeout(t)
	}
	p.header.Cells = len(p.cells)
	slices.SortStableFunc(p.cells, func(a, b planned) int { return int(b.spec.Timeout - a.spec.Timeout) })
	return p
}

// over is stages.of with modules that were made before.
func (s *stages) over(t *testing.T, u *fakeupstream.Universe, scenario *scenarios.Scenario, project *scenarios.Project) *stage {
	t.Helper()
	k, err := s.keysOf(scenario, clientClock(scenario))
	require.NoError(t, err)
	trees, err := signedTrees(k, u, scenario)
	require.NoError(t, err)
	warm, err := s.warmCache(t.Context(), project, u)
	require.NoError(t, err)
	altered, err := alteredGit(t.Context(), u, scenario.Faults)
	require.NoError(t, err)
	return &stage{k, trees, u, altered, warm}
}

func (b *behaviour) deadline(t *testing.T) time.Duration {
	t.Helper()
	if b.Deadline == "" && b.Outcome == record.Hang {
		return shortDeadline
	}
	return b.timeout(t)
}

// timeout returns the deadline of a setting's cell.
func (s *Setting) timeout(t *testing.T) time.Duration {
	t.Helper()
	if s.Deadline == "" {
		return longDeadline
	}
	d, err := time.ParseDuration(s.Deadline)
	require.NoError(t, err, s.ID)
	return d
}

// loadSettings reads the settings as scenario i and config i of a library each.
func loadSettings(t *testing.T, rows []Setting, vars map[string]string) *scenarios.Library {
	t.Helper()
	dir := t.TempDir()
	for i := range rows {
		row := &rows[i]
		world := row.World
		if world == "" {
			world = "plain"
		}
		config := map[string]any{"name": scenarioName(row.ID), "env": row.Env, "netrc": row.Netrc, "gitconfig": row.GitConfig}
		if row.Cache != "" {
			config["cache"] = row.Cache
		}
		if row.PAC != nil {
			config["pac"] = row.PAC
		}
		if row.Retry != nil {
			config["retry"] = row.Retry
		}
		var text []byte
		for _, document := range []any{
			map[string]any{"name": scenarioName(row.ID), "world": world, "faults": row.Faults},
			map[string]any{"configs": []any{config}},
		} {
			b, err := yaml.MarshalWithOptions(document, yaml.JSON())
			require.NoError(t, err)
			text = append(append(text, b...), "---\n"...)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.yaml", i)), text, 0o644))
	}
	lib, err := scenarios.Load([]string{"testdata/behaviours-worlds.yaml", dir}, scenarios.Options{Vars: vars})
	require.NoError(t, err)
	return lib
}

// check compares a cell with what is expected of it.
func (b *behaviour) check(t *testing.T, cell *record.Cell) {
	t.Helper()
	require.Equal(t, b.Outcome, cell.Outcome, "%s %s\nhosts: %v\nwaiting: %q", cell.Note, cell.Stderr, cell.Hosts, cell.Waiting)
	for _, part := range b.Stderr {
		assert.Contains(t, cell.Stderr, part)
	}
	if b.Outcome == record.Error {
		assert.Equal(t, b.Class, cell.Class, "class of %s", cell.Stderr)
	}
	for _, f := range cell.Faults {
		assert.Equal(t, b.Unmet, f.Bit == 0, "%s bit %d times", f.Fault, f.Bit)
	}
	low, high := b.window(t)
	assert.GreaterOrEqual(t, float64(cell.Seconds), low, "seconds")
	assert.LessOrEqual(t, float64(cell.Seconds), high, "seconds")
	assert.Equal(t, b.Hosts, withoutNameservers(cell.Hosts), "hosts in order of first contact")
	if len(b.Requests) > 0 {
		assert.Equal(t, b.Requests, requested(cell), "hosts that requests reached")
	}
	if len(b.Paths) > 0 {
		b.checkPaths(t, cell)
	}
	if b.Count > 0 {
		assert.Len(t, cell.Requests, b.Count, "requests")
	}
	if b.Once != "" {
		paths := pathsAt(cell, b.Once)
		assert.NotEmpty(t, paths)
		assert.ElementsMatch(t, slices.Compact(slices.Sorted(slices.Values(paths))), paths, "requests at %s", b.Once)
	}
	assert.Equal(t, b.Leaks, leaked(cell), "hosts that saw a private path")
}

func (b *behaviour) checkPaths(t *testing.T, cell *record.Cell) {
	t.Helper()
	require.Len(t, cell.Requests, len(b.Paths), "requests")
	for i, glob := range b.Paths {
		assert.True(t, scenarios.Glob(glob, cell.Requests[i].Path), "request %d is for %s, not for %s", i, cell.Requests[i].Path, glob)
	}
}

// window returns the range in which the seconds of a row have to be.
func (b *behaviour) window(t *testing.T) (low, high float64) {
	t.Helper()
	switch {
	case b.Seconds != "":
		_, err := fmt.Sscanf(strings.Replace(b.Seconds, "..", " ", 1), "%g %g", &low, &high)
		require.NoError(t, err, "seconds: %s", b.Seconds)
		return low, high
	case b.Outcome == record.Hang:
		return b.deadline(t).Seconds(), b.deadline(t).Seconds() + atOnce
	}
	return 0, atOnce
}

func withoutNameservers(all []string) (hosts []string) {
	for _, h := range all {
		if !strings.HasPrefix(h, "ns:") {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func requested(cell *record.Cell) (hosts []string) {
	for _, r := range cell.Requests {
		hosts = append(hosts, r.Server)
	}
	return slices.Compact(hosts)
}

func pathsAt(cell *record.Cell, host string) (paths []string) {
	for _, r := range cell.Requests {
		if r.Server == host {
			paths = append(paths, r.Path)
		}
	}
	return paths
}

func leaked(cell *record.Cell) (hosts []string) {
	for _, l := range cell.Leaks {
		if !slices.Contains(hosts, l.Host) {
			hosts = append(hosts, l.Host)
		}
	}
	return hosts
}

// A terrain is a project of the rows and the modules behind it.
type terrain struct {
	modules scenarios.Modules
	public  string // host of the public modules; empty means pub.test
	change  func(t *testing.T, u *fakeupstream.Universe)
}

var (
	oneModule  = scenarios.Modules{Public: 1, Versions: 1, Depth: 1, ZipSize: 16 << 10}
	oneSecret  = scenarios.Modules{Private: 1, Versions: 1, Depth: 1, ZipSize: 16 << 10}
	noRequires = rewrite("go.mod", func(string) string { return "module example.test/app\n\ngo 1.24\n" })
)

// terrains are the projects that rows name. R requires a module and I imports it only, PR and PI do so with
// a private one; none has a go.sum.
var terrains = map[string]terrain{
	"R":      {modules: oneModule},
	"I":      {modules: oneModule, change: noRequires},
	"PR":     {modules: oneSecret},
	"PI":     {modules: oneSecret, change: noRequires},
	"I-two":  {modules: scenarios.Modules{Public: 1, Versions: 2, Depth: 1, ZipSize: 16 << 10}, change: noRequires},
	"three":  {modules: severalModules(3)},
	"four":   {modules: severalModules(4)},
	"twelve": {modules: severalModules(12)},
	"github": {modules: oneModule, public: "github.com"},

	"github-lost-commit": {modules: oneModule, public: "github.com",
		change: rewrite("go.mod", replace("v1.0.0", "v1.0.1-0.20200909051527-f90d47e0c59e"))},
	"github-old-tag": {modules: oneModule, public: "github.com", change: requireHead("v1.9.1-0.")},

	"R-go116":     {modules: oneModule, change: rewrite("go.mod", replace("go 1.21", "go 1.16"))},
	"R-future":    {modules: oneModule, change: rewrite("go.mod", replace("go 1.21", "go 1.99.0"))},
	"R-toolchain": {modules: withToolchain()},
	"dot-git": {modules: oneModule, change: func(t *testing.T, u *fakeupstream.Universe) {
		noRequires(t, u)
		rewrite("main.go", func(string) string { return "package main\n\nimport _ \"corp.test/x.git\"\n\nfunc main() {}\n" })(t, u)
	}},

	"R-gosum":      {modules: oneModule, change: pin("%[1]s %[2]s %[3]s\n%[1]s %[2]s/go.mod %[4]s\n")},
	"R-gosum-half": {modules: oneModule, change: pin("%[1]s %[2]s/go.mod %[4]s\n")},
	"R-gosum-bad":  {modules: oneModule, change: pin("%[1]s %[2]s h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n%[1]s %[2]s/go.mod %[4]s\n")},

	"R-truncated": {modules: oneModule, change: damage(func(zip []byte) []byte { return zip[:len(zip)/2] })},
	"R-bitflip": {modules: oneModule, change: damage(func(zip []byte) []byte {
		zip[len(zip)/2] ^= 0xff // in the largest file, which takes nearly all of the archive
		return zip
	})},
}

func severalModules(n int) scenarios.Modules {
	m := oneModule
	m.Public = n
	return m
}

func withToolchain() scenarios.Modules {
	m := oneModule
	m.Toolchain = "1.99.0"
	return m
}

// layTerrains makes the modules of all terrains.
func layTerrains(t *testing.T) map[string]*fakeupstream.Universe {
	t.Helper()
	made := map[string]*fakeupstream.Universe{}
	dir := t.TempDir()
	for name, land := range terrains {
		made[name] = land.generate(t, filepath.Join(dir, name))
	}
	return made
}

func (l terrain) generate(t *testing.T, dir string) *fakeupstream.Universe {
	t.Helper()
	public := l.public
	if public == "" {
		public = "pub.test"
	}
	hosts := fakeupstream.Hosts{Public: []string{public}, Private: []string{"corp.test"}}
	u, err := fakeupstream.Generate(t.Context(), dir, l.modules, hosts)
	require.NoError(t, err)
	if l.modules.Private > 0 && u.Git != "" {
		require.NoError(t, os.Symlink("corp.test", filepath.Join(u.Git, "mirror.test")))
	}
	if l.change != nil {
		l.change(t, u)
	}
	return u
}

// rewrite changes a file of the project.
func rewrite(name string, edit func(string) string) func(*testing.T, *fakeupstream.Universe) {
	return func(t *testing.T, u *fakeupstream.Universe) {
		t.Helper()
		path := filepath.Join(u.Project, name)
		old, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, []byte(edit(string(old))), 0o644))
	}
}

func replace(old, with string) func(string) string {
	return func(text string) string { return strings.Replace(text, old, with, 1) }
}

// requireHead makes the project require the newest commit of its module by a pseudo-version
// (https://go.dev/ref/mod#pseudo-versions) that begins as given.
func requireHead(begin string) func(*testing.T, *fakeupstream.Universe) {
	return func(t *testing.T, u *fakeupstream.Universe) {
		t.Helper()
		repository := filepath.Join(u.Git, filepath.FromSlash(u.Modules[0].Path)+".git")
		cmd := exec.Command("git", "log", "-1", "--format=%cd-%H", "--date=format:%Y%m%d%H%M%S", "main")
		cmd.Env = append(os.Environ(), "GIT_DIR="+repository, "TZ=UTC")
		out, err := cmd.Output()
		require.NoError(t, err)
		const length = len("20060102150405-0123456789ab")
		rewrite("go.mod", replace("v1.0.0", begin+string(out[:length])))(t, u)
	}
}

// pin writes a go.sum, of which the format gets path, version, sum and go.mod sum of the module.
func pin(format string) func(*testing.T, *fakeupstream.Universe) {
	return func(t *testing.T, u *fakeupstream.Universe) {
		t.Helper()
		m := u.Modules[0]
		text := fmt.Sprintf(format, m.Path, m.Version, m.Sum, m.GoModSum)
		require.NoError(t, os.WriteFile(filepath.Join(u.Project, "go.sum"), []byte(text), 0o644))
	}
}

// damage changes the module's zip file at the module proxies.
func damage(edit func(zip []byte) []byte) func(*testing.T, *fakeupstream.Universe) {
	return func(t *testing.T, u *fakeupstream.Universe) {
		t.Helper()
		m := u.Modules[0]
		path := filepath.Join(u.Proxy, filepath.FromSlash(m.Path), "@v", m.Version+".zip")
		zip, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, edit(zip), 0o644))
	}
}
