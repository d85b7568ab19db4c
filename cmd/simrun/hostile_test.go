package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// escape is what would clear a terminal, set its title, turn the direction of text and forge a line.
const escape = "\x1b[2J\x1b]0;owned\x07\u202e\r\nsimrun: all is well"

// say runs simrun in this process and returns its exit status and all that it says.
func say(t *testing.T, args ...string) (status int, text string) {
	t.Helper()
	var both bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &both, err: &both, getenv: func(string) string { return "" }}
	status = a.main(t.Context(), args)
	return status, both.String()
}

// assertHarmless checks that a text cannot steer a terminal.
func assertHarmless(t *testing.T, text string) {
	t.Helper()
	for _, bad := range []string{"\x1b", "\x07", "\u202e", "\r", "\nsimrun: all is well"} {
		assert.NotContains(t, text, bad)
	}
}

// strangersRun writes a run with one cell into a folder.
func strangersRun(t *testing.T, change func(*record.Run, *record.Cell)) (dir string) {
	t.Helper()
	dir = t.TempDir()
	run := record.Run{Cells: 1, Scenarios: []record.Scenario{{Name: "s", World: "w"}}, Configs: []record.Config{{Name: "c"}},
		Projects: []record.Project{{Name: "p"}}}
	cell := record.Cell{Key: record.Key{Scenario: "s", Config: "c", Project: "p", Go: "go1.26.8"}, Outcome: record.Error, Exit: 1}
	change(&run, &cell)
	w, err := record.Create(filepath.Join(dir, resultsName), run)
	require.NoError(t, err)
	require.NoError(t, w.Append(&cell))
	require.NoError(t, w.Close())
	return dir
}

func TestAStrangersNamesDoNotSteerTheTerminal(t *testing.T) {
	dir := strangersRun(t, func(r *record.Run, c *record.Cell) {
		for _, s := range []*string{&r.Simrun, &r.Started, &r.Clock, &r.Host.OS, &r.Scenarios[0].Name, &r.Configs[0].Name, &r.Projects[0].Name,
			&c.Scenario, &c.Config, &c.Project, &c.Go, &c.Class, &c.Note, &c.Stderr, &c.ClockNote} {
			*s += escape
		}
		r.Cells = 2 // so that the run was interrupted
	})
	cell := "s" + escape + "/c" + escape
	for _, args := range [][]string{
		{"report", dir}, {"explain", dir, cell}, {"explain", dir, "x" + escape + "/y"}, {"explain", dir, cell, "--pcap", filepath.Join(dir, "x")},
		{"explain", dir, cell, "--har", filepath.Join(dir, "x.har")}, {"compare", dir, dir}, {"trend", dir, dir}, {"merge", dir, "--out", t.TempDir() + "/m"},
		{"report", dir, "--weights", escape + "=1"}, {"__complete", "explain", dir, ""},
	} {
		_, text := say(t, args...)
		assert.NotEmpty(t, text, args)
		assertHarmless(t, text)
	}
}

// Names of files, and keys and values in them, are in error lines.
func TestAStrangersFilesDoNotSteerTheTerminal(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a" + strings.ReplaceAll(escape, "\n", "") + ".yaml": "configs: [{name: X}]\n",
		"b.yaml": "\x1b[2Jkey: 1\n", "c.yaml": "configs: [{name: \"\\e[2J\\u202e\", \"\\e]0;owned\\a\": 1}]\n", "d.yaml": "configs: [\x9b\x07\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	status, text := say(t, "validate", dir)
	assert.Equal(t, statusInput, status)
	for _, file := range []string{"b.yaml", "c.yaml", "d.yaml"} {
		assert.Contains(t, text, file)
	}
	assertHarmless(t, text)
	_, text = say(t, "validate", filepath.Join(dir, "none"+escape))
	assertHarmless(t, text)
	for name, content := range map[string]string{"json": "{\"run\":{\"version\":1,\"\x1b[2J\":1}}\n", "version": `{"run":{"version":1,"seed":"\u001b[2J"}}`} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
		status, text := say(t, "report", file)
		assert.Equal(t, statusInput, status)
		assertHarmless(t, text)
	}
}

// A report is written beside a stranger's results, whose folder may have links in it.
func TestReportsDoNotFollowLinks(t *testing.T) {
	dir := strangersRun(t, func(*record.Run, *record.Cell) {})
	victim := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("mine"), 0o600))
	names := []string{"report.html", "report.md", "junit.xml", "bench.txt", "verdicts.json"}
	for _, name := range names {
		require.NoError(t, os.Symlink(victim, filepath.Join(dir, name)))
	}
	status, text := say(t, "report", dir)
	require.Equal(t, statusOK, status, text)
	content, err := os.ReadFile(victim)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(content))
	for _, name := range names {
		info, err := os.Lstat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.True(t, info.Mode().IsRegular() && info.Size() > 0, name)
	}
}

// A record says where its packets are. That is no way to other files.
func TestCapturesDoNotLeadOut(t *testing.T) {
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("mine"), 0o600))
	for _, name := range []string{filepath.Join(outside, "secret"), "../" + filepath.Base(outside) + "/secret", "captures/link", "out/secret", ".."} {
		dir := strangersRun(t, func(r *record.Run, c *record.Cell) {
			c.Capture, r.Shard = name, &record.Shard{Number: 1, Of: 1, Cells: 1}
		})
		require.NoError(t, os.Mkdir(filepath.Join(dir, "captures"), 0o755))
		require.NoError(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "captures", "link")))
		require.NoError(t, os.Symlink(outside, filepath.Join(dir, "out")))
		copied := filepath.Join(t.TempDir(), "copied")
		status, _ := say(t, "explain", dir, "s/c", "--pcap", copied)
		assert.Equal(t, statusInput, status, name)
		assert.NoFileExists(t, copied, name)
		merged := filepath.Join(t.TempDir(), "merged")
		status, text := say(t, "merge", dir, "--out", merged)
		assert.NotEqual(t, statusOK, status, name)
		assert.Contains(t, text, "copy the packets", name)
		found, err := filepath.Glob(merged + "/*/*")
		require.NoError(t, err)
		for _, file := range found {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.NotContains(t, string(content), "mine", file)
		}
	}
}

// A merged run goes into a folder in which somebody may have laid links.
func TestMergeDoesNotWriteThroughLinks(t *testing.T) {
	dir := strangersRun(t, func(r *record.Run, c *record.Cell) {
		c.Capture, r.Shard = "captures/c.pcapng", &record.Shard{Number: 1, Of: 1, Cells: 1}
	})
	require.NoError(t, os.Mkdir(filepath.Join(dir, "captures"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "captures", "c.pcapng"), []byte("packets"), 0o644))
	out, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(out, "captures")))
	status, text := say(t, "merge", dir, "--out", out)
	assert.NotEqual(t, statusOK, status)
	assert.Contains(t, text, "path escapes from parent")
	assert.NoFileExists(t, filepath.Join(outside, "c.pcapng"))
}

// A pipe where a script should be would be waited for without end.
func TestAPACIsAFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	file := filepath.Join(dir, "f.yaml")
	for _, name := range []string{"pipe", "/dev/zero", "."} {
		require.NoError(t, os.WriteFile(file, []byte("configs: [{name: c, pac: {file: "+name+"}}]\n"), 0o644))
		status, text := say(t, "validate", file)
		assert.Equal(t, statusInput, status)
		assert.Contains(t, text, "is not a file with a script")
	}
}

// What is small in a file must not become large in memory.
func TestBombsAreDefused(t *testing.T) {
	bombs := map[string]string{
		"aliases": "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n",
		"nesting": strings.Repeat("[", 100_000),
		"deep":    strings.Repeat("- ", 100_000) + "x\n",
		"words":   "configs: [" + strings.Repeat("x,", 100_000) + "]\n",
		"scalar":  "name: " + strings.Repeat("x", 2<<20) + "\n",
		"modules": "projects: [{name: p, modules: {public: 10000, versions: 1000, zip-size: 1GiB}}]\n",
		"tag":     "configs: !!binary " + strings.Repeat("A", 1000) + "\n",
	}
	for name, content := range bombs {
		file := filepath.Join(t.TempDir(), name+".yaml")
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
		status, text := say(t, "validate", file)
		assert.Equal(t, statusInput, status, name)
		assert.Less(t, len(text), 10_000, name)
	}
}
