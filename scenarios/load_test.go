package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var testVars = map[string]string{"go-proxy": "proxy.example", "go-sumdb": "sum.example", "file-proxy": "file:///tree"}

func load(t *testing.T, files map[string]string) (*Library, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return Load([]string{dir}, Options{Vars: testVars})
}

func loadText(t *testing.T, text string) *Library {
	t.Helper()
	lib, err := load(t, map[string]string{"a.yaml": text})
	require.NoError(t, err)
	return lib
}

func TestBuiltin(t *testing.T) {
	lib, err := Builtin(Options{Vars: testVars})
	require.NoError(t, err)
	worlds := namesOf(lib.Worlds, func(w *World) string { return w.Name })
	assert.ElementsMatch(t, []string{"international", "office-cn", "corp-intranet", "ci-cloud", "kubernetes-pod", "open-source"}, worlds)
	assert.GreaterOrEqual(t, len(lib.Configs), 12)
	assert.GreaterOrEqual(t, len(lib.Scenarios), 14)
	assert.Len(t, lib.Projects, 8)
	for _, w := range lib.Worlds {
		healthy := "healthy-" + w.Name
		assert.True(t, slices.ContainsFunc(lib.Scenarios, func(s *Scenario) bool { return s.Name == healthy && s.World == w }), healthy)
		for _, host := range []string{"proxy.example", "sum.example", "sum.golang.google.cn", "goproxy.cn", "goproxy.io", "github.com", "git.corp.example", "goproxy.corp.example", "proxy.corp.example"} {
			assert.True(t, slices.ContainsFunc(w.Hosts, func(h Host) bool { return h.Name == host }), "%s has no %s", w.Name, host)
		}
	}
}

// TestBuiltinScenarios checks that every layer has scenarios, and that each is in the file of its name.
func TestBuiltinScenarios(t *testing.T) {
	lib, err := Builtin(Options{Vars: testVars})
	require.NoError(t, err)
	layers := map[string]bool{}
	for _, s := range lib.Scenarios {
		for i := range s.Faults {
			layers[s.Faults[i].Layer()] = true
		}
		assert.NotEmpty(t, s.About, s.Name)
		assert.Equal(t, s.Name+".yaml", filepath.Base(s.Pos.File))
	}
	assert.Equal(t, map[string]bool{"packet": true, "stream": true, "dns": true, "tls": true, "http": true, "vcs": true, "module": true, "sumdb": true, "forward": true, "client": true}, layers)
}

// TestFolderIsBuiltin checks that nothing in this folder is left out of the binary.
func TestFolderIsBuiltin(t *testing.T) {
	embedded, err := Builtin(Options{Vars: testVars})
	require.NoError(t, err)
	disk, err := Load([]string{"."}, Options{Vars: testVars})
	require.NoError(t, err)
	var onDisk []string
	for _, name := range disk.Files {
		onDisk = append(onDisk, "builtin/"+filepath.ToSlash(name))
	}
	assert.ElementsMatch(t, embedded.Files, onDisk)
}

// TestDefaultProxyIsMirror loads the library for a Go distribution whose own defaults are hosts that
// the worlds have under their own names.
func TestDefaultProxyIsMirror(t *testing.T) {
	lib, err := Builtin(Options{Vars: map[string]string{"go-proxy": "goproxy.cn", "go-sumdb": "sum.golang.google.cn", "file-proxy": "file:///tree"}})
	require.NoError(t, err)
	for _, w := range lib.Worlds {
		hosts := w.Hosts
		i := slices.IndexFunc(hosts, func(h Host) bool { return h.Name == "goproxy.cn" })
		require.GreaterOrEqual(t, i, 0)
		assert.False(t, slices.ContainsFunc(hosts[i+1:], func(h Host) bool { return h.Name == "goproxy.cn" }))
	}
}

func TestLoadWorld(t *testing.T) {
	w := loadText(t, `
world: tiny
about: Two hosts.
hosts:
  ${far}.example:8443: {role: module-proxy, private: true, family: ipv6, rtt: 30ms, jitter: 1ms, loss: 0.5%, rate: 5mbit, queue: 64KiB, sumdb: [$go-sumdb, sum.example]}
  $go-proxy: {role: vcs}
vars: {far: mars, go-proxy: not-this.example}
nameservers: {ns1: {rtt: 8ms}, ns2: {}}
resolver: {search: [corp.example], options: ["timeout:1", rotate]}
`).Worlds[0]
	assert.Equal(t, "tiny", w.Name)
	assert.Equal(t, "Two hosts.", w.About)
	require.Len(t, w.Hosts, 2)
	h := w.Hosts[0]
	assert.Equal(t, 5, h.Pos.Line)
	h.Pos = Position{}
	assert.Equal(t, Host{
		Name: "mars.example", Port: 8443, Role: RoleModuleProxy, Private: true, SumDB: []string{"sum.example"}, Family: FamilyIPv6,
		Link: Link{RTT: 30 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.005, Rate: 5e6, Queue: 64 << 10},
	}, h)
	assert.Equal(t, "proxy.example", w.Hosts[1].Name, "the caller's variable wins")
	assert.Equal(t, []string{"ns1", "ns2"}, []string{w.Nameservers[0].Name, w.Nameservers[1].Name})
	assert.Equal(t, Resolver{Search: []string{"corp.example"}, Options: []string{"timeout:1", "rotate"}}, w.Resolver)
}

const tinyWorld = "world: tiny\nhosts:\n  a.example: {role: module-proxy}\n  b.example:8080: {role: forward-proxy}\n---\n"

func TestLoadScenario(t *testing.T) {
	s := loadText(t, tinyWorld+`
name: all
world: tiny
faults:
  - {host: "*.example", packet: {loss: 100%, direction: both, family: ipv6}, from: 1s, until: 20s}
  - {host: "b.example:8080", stream: {type: slicer, attributes: {average_size: 64}}}
  - {host: "ns:*", dns: {name: "*.example", type: AAAA, delay: 2s, drop: 50%}}
  - {host: A.example, http: {path: "*.zip", method: GET, status: 503, retry-after: 60s, body: "sorry $$5", stall-after: 50%}}
  - {host: a.example, http: {path: "*.mod", cut-after: 1KiB}}
expect:
  - {configs: "*-comma", outcome: error, class: tcp-connect-timeout, seconds: 29..32.5}
`).Scenarios[0]
	assert.Equal(t, "tiny", s.World.Name)
	assert.InDelta(t, 1, s.Weight, 0)
	require.Len(t, s.Faults, 5)
	assert.Equal(t, []int{0, 1}, s.Faults[0].Target.Hosts)
	assert.Equal(t, 20*time.Second, s.Faults[0].Until)
	assert.Equal(t, &PacketFault{Loss: 1, Direction: DirectionBoth, Family: FamilyIPv6}, s.Faults[0].Packet)
	assert.Equal(t, []int{1}, s.Faults[1].Target.Hosts)
	assert.Equal(t, &StreamFault{Type: "slicer", Stream: "downstream", Toxicity: 1, Attributes: map[string]int64{"average_size": 64}}, s.Faults[1].Stream)
	assert.Equal(t, []int{0}, s.Faults[2].Target.Nameserver)
	assert.Equal(t, &DNSFault{Name: "*.example", Type: "AAAA", Delay: 2 * time.Second, Drop: 0.5}, s.Faults[2].DNS)
	assert.Equal(t, &HTTPFault{Path: "*.zip", Method: "GET", Status: 503, Body: "sorry $5", RetryAfter: time.Minute, StallAfter: &Amount{Share: 0.5}}, s.Faults[3].HTTP)
	assert.Equal(t, &Amount{Bytes: 1024}, s.Faults[4].HTTP.CutAfter)
	require.Len(t, s.Expect, 1)
	assert.Equal(t, &Range{29, 32.5}, s.Expect[0].Seconds)
	assert.Equal(t, "tcp-connect-timeout", s.Expect[0].Class)
}

func TestLoadConfigsAndProjects(t *testing.T) {
	lib, err := load(t, map[string]string{
		"b.yml":      "configs:\n  - name: a\n    env: {GOPROXY: off, GOFLAGS: '', N: 08}\n    netrc: |\n      machine a.example\n      login me\n",
		"mod/go.mod": "module m\n",
		"p.yaml":     "projects:\n  - {name: mine, dir: mod, run: [go, build, ./...]}\n  - {name: made, modules: {public: 2}}\n",
	})
	require.NoError(t, err)
	require.Len(t, lib.Configs, 1)
	assert.Equal(t, map[string]string{"GOPROXY": "off", "GOFLAGS": "", "N": "08"}, lib.Configs[0].Env)
	assert.Equal(t, "machine a.example\nlogin me\n", lib.Configs[0].Netrc)
	require.Len(t, lib.Projects, 2)
	assert.Equal(t, []string{"go", "build", "./..."}, lib.Projects[0].Run)
	assert.FileExists(t, filepath.Join(lib.Projects[0].Dir, "go.mod"))
	assert.Equal(t, []string{"go", "mod", "tidy"}, lib.Projects[1].Run)
	assert.Equal(t, &Modules{Public: 2, Versions: 1, Depth: 1, ZipSize: 16 << 10}, lib.Projects[1].Modules)
	assert.NotEmpty(t, lib.Scenarios, "own configs are judged against the built-in scenarios")
}

func TestLoadTakesWhatIsMissing(t *testing.T) {
	lib := loadText(t, "name: mine\nworld: ci-cloud\nexpect: [{configs: cn-comma, outcome: ok}]\n")
	assert.Len(t, lib.Scenarios, 1)
	assert.Len(t, lib.Worlds, 1)
	assert.NotEmpty(t, lib.Configs)
	assert.NotEmpty(t, lib.Projects)
}

func TestLoadFolder(t *testing.T) {
	world := func(name string) string { return "world: " + name + "\nhosts: {a.example: {role: vcs}}\n" }
	lib, err := load(t, map[string]string{
		"b/two.yml": world("two"), "a/one.yaml": world("one"), "notes.txt": "{", "testdata/x.yaml": "{", ".git/x.yaml": "{", "_old.yaml": "{",
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "two"}, namesOf(lib.Worlds[:2], func(w *World) string { return w.Name }))
}

func TestLoadUnreadable(t *testing.T) {
	_, err := Load([]string{"no-such.yaml"}, Options{})
	require.ErrorContains(t, err, "no-such.yaml: cannot read: no such file or directory")
	dir := t.TempDir()
	_, err = Load([]string{dir}, Options{})
	require.ErrorContains(t, err, dir+": cannot read: folder has no *.yaml and no *.yml file")
}

func TestLoadSameFileTwice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "w.yaml")
	require.NoError(t, os.WriteFile(file, []byte("world: w\nhosts: {a.example: {role: vcs}}\n"), 0o644))
	lib, err := Load([]string{file, file, filepath.Dir(file)}, Options{Vars: testVars})
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(strings.Join(lib.Files, "\n"), file))
}

func TestLoadHugeFiles(t *testing.T) {
	for name, tt := range map[string]struct{ text, message string }{
		"bytes":  {strings.Repeat("#", maxFileSize+1), "file is larger than 1MiB"},
		"tokens": {strings.Repeat("a: 1\n", maxTokens), "file has more than 20000 words and marks; split it"},
		"dashes": {strings.Repeat("- ", 1000), "nested more than 32 deep"},
		"bomb":   {"a: &a [x, x]\nb: &b [*a, *a]\n", "anchors, aliases and merge keys are not part of the language"},
	} {
		_, err := load(t, map[string]string{"a.yaml": tt.text})
		require.ErrorContains(t, err, tt.message, name)
	}
}

func TestBuiltinWithoutVariables(t *testing.T) {
	_, err := Builtin(Options{})
	require.ErrorContains(t, err, "builtin/configs/corp.yaml:12:16: unknown variable $go-proxy; set it with --var go-proxy=VALUE")
}

func TestErrorsAreSortedAndFew(t *testing.T) {
	_, err := load(t, map[string]string{"b.yaml": "nonsense: 1\n", "a.yaml": "configs:\n" + strings.Repeat("  - {}\n", 20)})
	var all *LoadError
	require.ErrorAs(t, err, &all)
	assert.Len(t, all.Problems, 21)
	assert.True(t, strings.HasSuffix(all.Problems[20].Pos.File, "b.yaml"))
	assert.LessOrEqual(t, strings.Count(err.Error(), "\n")+1, 24)
	assert.Contains(t, err.Error(), "and 14 more")
}

func TestErrorDoesNotSteerTheTerminal(t *testing.T) {
	_, err := load(t, map[string]string{"a.yaml": "\x1b[31mname: a\n"})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "\x1b")
}

func TestNamed(t *testing.T) {
	lib, err := Builtin(Options{Vars: testVars})
	require.NoError(t, err)
	configs, err := lib.ConfigsNamed("two-*", "cn-comma")
	require.NoError(t, err)
	assert.Equal(t, []string{"cn-comma", "two-comma", "two-pipe"}, namesOf(configs, func(c *Config) string { return c.Name }))
	all, err := lib.ScenariosNamed()
	require.NoError(t, err)
	assert.Len(t, all, len(lib.Scenarios))
	_, err = lib.ProjectsNamed("smal")
	assert.EqualError(t, err, "no project is called \"smal\"; did you mean `small`?")
}

// FuzzLoad checks that no file makes the loader panic, and that every problem has a place and fits on the screen.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/errors/*.yaml", "*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, name := range files {
			content, err := os.ReadFile(name)
			require.NoError(f, err)
			f.Add(content)
		}
	}
	stock := new(loader).readBuiltin() // once, as it takes longer than all else
	f.Fuzz(func(t *testing.T, content []byte) {
		l := &loader{vars: testVars, stock: stock, worlds: map[string]*World{}, places: map[string]Position{}}
		l.own = parse("fuzz.yaml", content, false, &l.found)
		l.decode()
		err := l.err()
		if err == nil {
			return
		}
		require.LessOrEqual(t, strings.Count(err.Error(), "\n"), 24)
		for _, p := range l.found.list {
			require.NotEmpty(t, p.Pos.File, p.Message)
		}
	})
}

func ExampleBuiltin() {
	lib, err := Builtin(Options{Vars: map[string]string{
		"go-proxy": "proxy.example", "go-sumdb": "sum.example", "file-proxy": "file:///tree",
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	dead, err := lib.ScenariosNamed("dead-proxy")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(dead[0].World.Name, dead[0].Faults[0].Target.Pattern, dead[0].Faults[0].Packet.Loss)
	// Output: office-cn goproxy.cn 100%
}
