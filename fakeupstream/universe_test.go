package fakeupstream_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// fingerprint returns the hash of each file below dir.
func fingerprint(t *testing.T, dir string) map[string]string {
	hashes := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		hashes[path] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	require.NoError(t, err)
	return hashes
}

func TestGenerateIsDeterministic(t *testing.T) {
	a, b := generate(t), generate(t)
	require.NotEqual(t, a.Dir, b.Dir)
	hashes := fingerprint(t, a.Dir)
	assert.Equal(t, hashes, fingerprint(t, b.Dir))
	for _, name := range []string{
		"universe.json",
		"project/go.mod",
		"proxy/github.com/!blue!harbor/lib002/@v/v1.0.0.zip",
		"git/git.corp.example/team/secret001.git/refs/tags/v1.1.0",
	} {
		assert.Contains(t, hashes, name)
	}

	other := small
	other.Seed++
	c, err := fakeupstream.Generate(t.Context(), filepath.Join(t.TempDir(), "other"), other, hosts)
	require.NoError(t, err)
	assert.NotEqual(t, a.Modules[0].Sum, c.Modules[0].Sum, "the seed changes nothing")
}

func TestGenerateHonoursItsInput(t *testing.T) {
	u := generate(t)
	private, size := 0, int64(0)
	for _, m := range u.Modules {
		zip := zipFile(t, u, m)
		sum, err := dirhash.HashZip(zip, dirhash.Hash1)
		require.NoError(t, err)
		assert.Equal(t, sum, m.Sum, "%s %s", m.Path, m.Version)
		info, err := os.Stat(zip)
		require.NoError(t, err)
		size += info.Size()
		if m.Private {
			private++
		}
		assert.Equal(t, m.Private, u.IsPrivate(m.Path))
	}
	assert.Len(t, u.Modules, (small.Public+small.Private)*small.Versions)
	assert.Equal(t, small.Private*small.Versions, private)
	assert.InEpsilon(t, int64(small.ZipSize)*int64(len(u.Modules)), size, 0.5)
	assert.False(t, u.IsPrivate("git.corp.example/team/none"))
}

func zipFile(t *testing.T, u *fakeupstream.Universe, m fakeupstream.Module) string {
	escaped, err := module.EscapePath(m.Path)
	require.NoError(t, err)
	return filepath.Join(u.Proxy, escaped, "@v", m.Version+".zip")
}

func TestGenerateWithoutModules(t *testing.T) {
	spec := scenarios.Modules{Versions: 1, Depth: 1}
	u, err := fakeupstream.Generate(t.Context(), filepath.Join(t.TempDir(), "empty"), spec, fakeupstream.Hosts{})
	require.NoError(t, err)
	assert.Empty(t, u.Modules)
	assert.Empty(t, u.Git)
	cmd := exec.CommandContext(t.Context(), "gofmt", "-l", u.Project)
	output, err := cmd.CombinedOutput()
	require.NoError(t, err)
	assert.Empty(t, string(output))
}

// Without git there are no repositories, and the rest is the same.
func TestGenerateWithoutGit(t *testing.T) {
	with := generate(t)
	t.Setenv("PATH", t.TempDir())
	without := generate(t)
	assert.Empty(t, without.Git)
	assert.Equal(t, with.Modules, without.Modules)
	assert.Equal(t, fingerprint(t, with.Proxy), fingerprint(t, without.Proxy))

	w := httptest.NewRecorder()
	url := "https://github.com/acme/lib001/info/refs?service=git-upload-pack"
	(&fakeupstream.VCS{Dir: with.Git}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
	assert.Equal(t, 500, w.Code)
	w = httptest.NewRecorder()
	(&fakeupstream.VCS{Dir: without.Git}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
	assert.Equal(t, 404, w.Code)
}

func TestGenerateOpensWhatIsThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "universe")
	var calls sync.WaitGroup
	for range 3 {
		calls.Go(func() {
			_, err := fakeupstream.Generate(t.Context(), dir, small, hosts)
			assert.NoError(t, err)
		})
	}
	calls.Wait()
	made, err := fakeupstream.OpenUniverse(dir)
	require.NoError(t, err)
	again, err := fakeupstream.Generate(t.Context(), dir, small, hosts)
	require.NoError(t, err)
	assert.Equal(t, made, again)
	assertOnly(t, filepath.Dir(dir), "universe")

	other := small
	other.Depth = 1
	_, err = fakeupstream.Generate(t.Context(), dir, other, hosts)
	assert.ErrorContains(t, err, "generated from other modules or hosts")
}

func TestGenerateRemovesWhatKilledCallsLeft(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "universe")
	old, young, strange := dir+".tmp-1", dir+".tmp-2", filepath.Join(parent, "other.tmp-1")
	for _, d := range []string{old, young, strange} {
		require.NoError(t, os.Mkdir(d, 0o755))
	}
	longAgo := time.Now().Add(-48 * time.Hour)
	require.NoError(t, os.Chtimes(old, longAgo, longAgo))
	require.NoError(t, os.Chtimes(strange, longAgo, longAgo))

	_, err := fakeupstream.Generate(t.Context(), dir, small, hosts)
	require.NoError(t, err)
	assertOnly(t, parent, "other.tmp-1", "universe", "universe.tmp-2")
}

func TestGenerateLeavesNothingHalfDone(t *testing.T) {
	parent := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := fakeupstream.Generate(ctx, filepath.Join(parent, "universe"), small, hosts)
	require.ErrorIs(t, err, context.Canceled)
	assertOnly(t, parent)
}

func assertOnly(t *testing.T, dir string, want ...string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	assert.Equal(t, want, names)
}

func TestGenerateRefuses(t *testing.T) {
	tests := []struct {
		spec  scenarios.Modules
		hosts fakeupstream.Hosts
		want  string
	}{
		{scenarios.Modules{Public: -1, Versions: 1, Depth: 1}, hosts, "-1 public"},
		{scenarios.Modules{Public: 1, Depth: 1}, hosts, "0 versions"},
		{scenarios.Modules{Public: 1, Versions: 1}, hosts, "depth 0"},
		{scenarios.Modules{Public: 1, Versions: 1, Depth: 1, ZipSize: 1 << 40}, hosts, "zip size"},
		{scenarios.Modules{Public: 1, Versions: 1, Depth: 1}, fakeupstream.Hosts{}, "no public host"},
		{scenarios.Modules{Private: 1, Versions: 1, Depth: 1}, fakeupstream.Hosts{}, "no private host"},
	}
	for _, test := range tests {
		_, err := fakeupstream.Generate(t.Context(), filepath.Join(t.TempDir(), "u"), test.spec, test.hosts)
		assert.ErrorContains(t, err, test.want)
	}
	occupied := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(occupied, "precious"), nil, 0o644))
	_, err := fakeupstream.Generate(t.Context(), occupied, small, hosts)
	require.Error(t, err)
	assertOnly(t, occupied, "precious")
}

func TestOpenUniverseRefuses(t *testing.T) {
	_, err := fakeupstream.OpenUniverse(t.TempDir())
	assert.ErrorIs(t, err, fs.ErrNotExist)
	for content, want := range map[string]string{
		`{"version": 99}`: "version 99",
		`{`:               "universe.json",
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "universe.json"), []byte(content), 0o644))
		_, err := fakeupstream.OpenUniverse(dir)
		assert.ErrorContains(t, err, want)
	}
}

// tidied returns a project and a module cache as a go command left them.
func tidied(t *testing.T) (project, modCache string, u *fakeupstream.Universe) {
	u = generate(t)
	in := newInternet(t, map[string]http.Handler{"proxy.test": &fakeupstream.ModuleProxy{Tree: os.DirFS(u.Proxy)}})
	modCache = filepath.Join(t.TempDir(), "modcache")
	g := newGo(t, in, "GOPROXY=https://proxy.test", "GOSUMDB=off", "GOMODCACHE="+modCache)
	require.NoError(t, os.CopyFS(g.dir, os.DirFS(u.Project)))
	output, err := g.run(t, "mod", "tidy")
	require.NoError(t, err, output)
	return g.dir, modCache, u
}

func TestFromCache(t *testing.T) {
	project, modCache, u := tidied(t)
	before := fingerprint(t, project)
	found, missing, err := fakeupstream.FromCache(t.Context(), project, modCache, "go", "git.corp.example")
	require.NoError(t, err)
	assert.Empty(t, missing)
	assert.Equal(t, before, fingerprint(t, project))

	var want []fakeupstream.Module
	for _, m := range u.Modules {
		if m.Version == "v1.1.0" {
			want = append(want, m)
		}
	}
	assert.Equal(t, want, found.Modules)

	// What was found is enough for a go command with an empty cache.
	in := newInternet(t, map[string]http.Handler{"proxy.test": &fakeupstream.ModuleProxy{Tree: os.DirFS(found.Proxy)}})
	g := newGo(t, in, "GOPROXY=https://proxy.test", "GOSUMDB=off")
	require.NoError(t, os.CopyFS(g.dir, os.DirFS(found.Project)))
	output, err := g.run(t, "mod", "tidy")
	require.NoError(t, err, output)
}

func TestFromCacheWithoutGoSum(t *testing.T) {
	project, modCache, _ := tidied(t)
	require.NoError(t, os.Remove(filepath.Join(project, "go.sum")))
	found, missing, err := fakeupstream.FromCache(t.Context(), project, modCache, "go", "")
	require.NoError(t, err)
	assert.Empty(t, missing)
	assert.Len(t, found.Modules, small.Public+small.Private)
	assert.NoFileExists(t, filepath.Join(project, "go.sum"))
}

func TestFromCacheNamesWhatIsMissing(t *testing.T) {
	for _, ext := range []string{".mod", ".zip"} {
		t.Run(ext, func(t *testing.T) {
			project, modCache, _ := tidied(t)
			dir := filepath.Join(modCache, "cache/download/github.com/!blue!harbor/lib002/@v")
			require.NoError(t, os.Remove(filepath.Join(dir, "v1.1.0"+ext)))
			found, missing, err := fakeupstream.FromCache(t.Context(), project, modCache, "go", "")
			require.NoError(t, err)
			assert.Equal(t, []module.Version{{Path: "github.com/BlueHarbor/lib002", Version: "v1.1.0"}}, missing)
			assert.Equal(t, "go mod download github.com/BlueHarbor/lib002@v1.1.0", fakeupstream.DownloadCommand(missing))
			assert.Len(t, found.Modules, small.Public+small.Private)
		})
	}
	t.Run("everything", func(t *testing.T) {
		project := generate(t).Project
		_, missing, err := fakeupstream.FromCache(t.Context(), project, t.TempDir(), "go", "")
		require.NoError(t, err)
		assert.Len(t, missing, 3, "the requirements of go.mod")
	})
}

func TestFromCacheRefuses(t *testing.T) {
	project, modCache, _ := tidied(t)
	code := "package main\n\nimport _ \"example.test/unheard\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(project, "more.go"), []byte(code), 0o644))
	_, _, err := fakeupstream.FromCache(t.Context(), project, modCache, "go", "")
	assert.ErrorContains(t, err, "example.test/unheard")
	_, _, err = fakeupstream.FromCache(t.Context(), t.TempDir(), modCache, "go", "")
	assert.ErrorIs(t, err, fs.ErrNotExist)
}
