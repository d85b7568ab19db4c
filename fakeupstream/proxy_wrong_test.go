package fakeupstream_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

const moduleText = "module m.test/Mod\n\ngo 1.24\n"

// twoVersions is the tree of a module whose path has a capital letter.
func twoVersions(t *testing.T) fstest.MapFS {
	tree := fstest.MapFS{}
	for _, v := range []string{"v1.9.0", "v1.10.0"} {
		at := "m.test/!mod/@v/" + v
		tree[at+".info"] = &fstest.MapFile{Data: []byte(`{"Version":"` + v + `"}`)}
		tree[at+".mod"] = &fstest.MapFile{Data: []byte(moduleText)}
		tree[at+".zip"] = &fstest.MapFile{Data: zipOf(t, "m.test/Mod@"+v)}
	}
	return tree
}

func zipOf(t *testing.T, prefix string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{"go.mod": moduleText, "mod.go": "package mod\n"} {
		w, err := z.Create(prefix + "/" + name)
		require.NoError(t, err)
		_, err = io.WriteString(w, text)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return b.Bytes()
}

// askWrong returns the answer to a GET with a fault, and whether the request met it.
func askWrong(p *fakeupstream.ModuleProxy, f scenarios.ModuleFault, path string) (w *httptest.ResponseRecorder, met bool) {
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
	meets := func(r *http.Request) bool {
		met = p.Meets(f, r)
		return met
	}
	fakeupstream.When(meets, fakeupstream.WrongModules(f, p))(p).ServeHTTP(w, r)
	return w, met
}

func TestWrongModules(t *testing.T) {
	p := &fakeupstream.ModuleProxy{Tree: twoVersions(t)}
	const at = "/m.test/!mod/@v/"
	for _, tc := range []struct {
		name   string
		fault  scenarios.ModuleFault
		path   string
		status int
		body   string // part of it
		met    bool
	}{
		{"a stale list", scenarios.ModuleFault{Stale: true}, at + "list", 200, "v1.9.0\n", true},
		{"a stale @latest", scenarios.ModuleFault{Stale: true}, "/m.test/!mod/@latest", 200, `{"Version":"v1.9.0"}`, true},
		{"by name beside a stale list", scenarios.ModuleFault{Stale: true}, at + "v1.10.0.mod", 200, moduleText, false},
		{"a list without one version", scenarios.ModuleFault{Stale: true, Version: "v1.9.*"}, at + "list", 200, "v1.10.0\n", true},
		{"a list of all that is missing", scenarios.ModuleFault{Missing: 410}, at + "list", 410, "not found", true},
		{"a list of what is missing", scenarios.ModuleFault{Missing: 410, Version: "v1.10.0"}, at + "list", 200, "v1.9.0\n", true},
		{"a missing version", scenarios.ModuleFault{Missing: 500, Version: "v1.10.0"}, at + "v1.10.0.zip", 500, "not found: m.test/Mod@v1.10.0", true},
		{"a version that is there", scenarios.ModuleFault{Missing: 500, Version: "v1.10.0"}, at + "v1.9.0.mod", 200, moduleText, false},
		{"another module", scenarios.ModuleFault{Missing: 500, Module: "other.test/*"}, at + "v1.9.0.mod", 200, moduleText, false},
		{"what nobody has", scenarios.ModuleFault{Unknown: 500}, "/other.test/m/@v/list", 500, "not found", true},
		{"what it has", scenarios.ModuleFault{Unknown: 500}, at + "list", 200, "v1.9.0\nv1.10.0\n", false},
		{"a capital letter", scenarios.ModuleFault{NoEscapes: true}, at + "list", 404, "not found", true},
		{"a page for a go.mod", scenarios.ModuleFault{Mod: scenarios.ModNotAMod}, at + "v1.9.0.mod", 200, "<!DOCTYPE html>", true},
		{"another line in a go.mod", scenarios.ModuleFault{Mod: scenarios.ModChanged}, at + "v1.9.0.mod", 200, moduleText + "\n// changed\n", true},
		{"another module's go.mod", scenarios.ModuleFault{Mod: scenarios.ModOtherModule}, at + "v1.9.0.mod", 200, "module other.example/module\n", true},
		{"a page for a zip", scenarios.ModuleFault{Zip: scenarios.ZipNotAZip}, at + "v1.9.0.zip", 200, "<!DOCTYPE html>", true},
		{"the .info beside a wrong zip", scenarios.ModuleFault{Zip: scenarios.ZipNotAZip}, at + "v1.9.0.info", 200, `{"Version":"v1.9.0"}`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, met := askWrong(p, tc.fault, tc.path)
			assert.Equal(t, tc.status, w.Code)
			assert.Equal(t, tc.met, met, "the fault is met")
			if strings.HasSuffix(tc.path, "list") && tc.status == 200 {
				assert.Equal(t, tc.body, w.Body.String())
			}
			assert.Contains(t, w.Body.String(), tc.body)
		})
	}
}

// TestMissingAfter checks that the proxy takes its time before it says that it does not have something.
func TestMissingAfter(t *testing.T) {
	p := &fakeupstream.ModuleProxy{Tree: twoVersions(t)}
	begin := time.Now()
	w, _ := askWrong(p, scenarios.ModuleFault{Missing: 404, After: 200 * time.Millisecond}, "/m.test/!mod/@v/v1.9.0.zip")
	assert.Equal(t, 404, w.Code)
	assert.GreaterOrEqual(t, time.Since(begin), 200*time.Millisecond)
}

// TestWrongZips checks the zip files that are whole by the rules of golang.org/x/mod/zip.
func TestWrongZips(t *testing.T) {
	tree := twoVersions(t)
	p := &fakeupstream.ModuleProxy{Tree: tree}
	const path = "m.test/!mod/@v/v1.9.0.zip"
	check := func(flaw scenarios.ZipFlaw, m module.Version) ([]byte, error) {
		w, _ := askWrong(p, scenarios.ModuleFault{Zip: flaw}, "/"+path)
		require.Equal(t, 200, w.Code)
		name := filepath.Join(t.TempDir(), "m.zip")
		require.NoError(t, os.WriteFile(name, w.Body.Bytes(), 0o600))
		_, err := modzip.CheckZip(m, name)
		return w.Body.Bytes(), err
	}
	mod := module.Version{Path: "m.test/Mod", Version: "v1.9.0"}
	changed, err := check(scenarios.ZipChanged, mod)
	assert.NoError(t, err)
	assert.NotEqual(t, tree[path].Data, changed)
	again, _ := check(scenarios.ZipChanged, mod)
	assert.Equal(t, changed, again)

	_, err = check(scenarios.ZipOtherModule, module.Version{Path: "other.example/module", Version: "v1.0.0"})
	assert.NoError(t, err)

	half, err := check(scenarios.ZipTruncated, mod)
	assert.Error(t, err)
	assert.Len(t, half, len(tree[path].Data)/2)
}

// TestCachingProxy checks that what was fetched stays when the upstream has gone, and nothing else does.
func TestCachingProxy(t *testing.T) {
	var asked atomic.Int64
	honest := &fakeupstream.ModuleProxy{Tree: twoVersions(t)}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		honest.ServeHTTP(w, r)
	}))
	defer upstream.Close()
	p := &fakeupstream.CachingProxy{Upstream: upstream.URL}
	fetch := func(path string) (int, string) {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	for range 2 {
		status, body := fetch("/m.test/!mod/@v/v1.9.0.mod")
		assert.Equal(t, 200, status)
		assert.Equal(t, moduleText, body)
	}
	assert.EqualValues(t, 1, asked.Load())
	status, body := fetch("/m.test/!mod/@v/v2.0.0.mod")
	assert.Equal(t, 404, status)
	assert.Contains(t, body, "unknown revision v2.0.0")

	upstream.Close()
	status, _ = fetch("/m.test/!mod/@v/v1.9.0.mod")
	assert.Equal(t, 200, status)
	status, body = fetch("/m.test/!mod/@v/v1.10.0.mod")
	assert.Equal(t, 502, status)
	assert.Contains(t, body, "cannot fetch /m.test/!mod/@v/v1.10.0.mod")
}

// An upstream may be a program that a user has under test, and answer without end.
func TestCachingProxyTakesNoMoreThanAModule(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(modzip.MaxZipFile+1))
	}))
	defer upstream.Close()
	w := httptest.NewRecorder()
	p := &fakeupstream.CachingProxy{Upstream: upstream.URL}
	p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/m.test/!mod/@v/v1.9.0.zip", nil))
	assert.Equal(t, 502, w.Code)
	assert.Contains(t, w.Body.String(), "answers with more than 524288000 bytes")
}

// A zip file of a user's own module cache may be a bomb. None is unpacked to be changed.
func TestCheckZip(t *testing.T) {
	of := func(sizes ...uint64) (files []*zip.File) {
		for _, size := range sizes {
			files = append(files, &zip.File{FileHeader: zip.FileHeader{UncompressedSize64: size}})
		}
		return files
	}
	const most = modzip.MaxZipFile
	require.NoError(t, fakeupstream.CheckZip(of(most/2, most/2)))
	require.ErrorContains(t, fakeupstream.CheckZip(of(most/2, most/2, 1)), "unpacks to more than")
	require.Error(t, fakeupstream.CheckZip(of(1<<63, 1<<63)), "their sum is 0 in 64 bits")
}
