package fakeupstream_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
)

func file(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content)} }

var tree = fstest.MapFS{
	"example.test/a/@v/list":                                         file("v9.0.0\n"), // of a cache that has only the go.mod
	"example.test/a/@v/v9.0.0.mod":                                   file("module example.test/a\n"),
	"example.test/a/@v/v1.0.0.info":                                  file(`{"Version":"v1.0.0"}`),
	"example.test/a/@v/v1.0.0.mod":                                   file("module example.test/a\n"),
	"example.test/a/@v/v1.0.0.zip":                                   file("PK"),
	"example.test/a/@v/v1.10.0.info":                                 file(`{"Version":"v1.10.0"}`),
	"example.test/a/@v/v1.9.0.info":                                  file(`{"Version":"v1.9.0"}`),
	"example.test/a/@v/v2.0.0-rc.1.info":                             file(`{"Version":"v2.0.0-rc.1"}`),
	"example.test/a/@v/main.info":                                    file(`{"Version":"v1.10.0"}`),
	"example.test/!upper/@v/v0.1.0-!r!c.info":                        file(`{"Version":"v0.1.0-RC"}`),
	"example.test/pseudo/@v/v0.0.0-20240101000000-0123456789ab.info": file(`{"Version":"pseudo"}`),
	"example.test/modonly/@v/v1.0.0.mod":                             file("module example.test/modonly\n"),
	"example.test/private/@v/v1.0.0.info":                            file(`{"Version":"v1.0.0"}`),
	"example.test/dir/@v/v1.0.0.zip/x":                               file(""),
}

func TestModuleProxy(t *testing.T) {
	proxy := &fakeupstream.ModuleProxy{
		Tree:  tree,
		Knows: func(path string) bool { return path != "example.test/private" },
	}
	tests := []struct {
		path   string
		status int
		kind   string // of content
		body   string
	}{
		{"/example.test/a/@v/list", 200, "text/plain; charset=UTF-8", "v1.0.0\nv1.9.0\nv1.10.0\nv2.0.0-rc.1\n"},
		{"/example.test/a/@latest", 200, "application/json", `{"Version":"v1.10.0"}`},
		{"/example.test/a/@v/v1.0.0.info", 200, "application/json", `{"Version":"v1.0.0"}`},
		{"/example.test/a/@v/main.info", 200, "application/json", `{"Version":"v1.10.0"}`},
		{"/example.test/a/@v/v1.0.0.mod", 200, "text/plain; charset=UTF-8", "module example.test/a\n"},
		{"/example.test/a/@v/v1.0.0.zip", 200, "application/zip", "PK"},
		{"/example.test/!upper/@v/list", 200, "text/plain; charset=UTF-8", "v0.1.0-RC\n"},
		{"/example.test/!upper/@latest", 200, "application/json", `{"Version":"v0.1.0-RC"}`},
		{"/example.test/pseudo/@v/list", 200, "text/plain; charset=UTF-8", ""},
		{"/example.test/pseudo/@latest", 200, "application/json", `{"Version":"pseudo"}`},
		{"/example.test/modonly/@v/list", 200, "text/plain; charset=UTF-8", ""},
		{"/example.test/modonly/@latest", 404, "", "not found: module example.test/modonly: no matching versions"},
		{"/example.test/a/@v/v3.0.0.info", 404, "", "not found: example.test/a@v3.0.0: invalid version: unknown revision v3.0.0"},
		{"/example.test/dir/@v/v1.0.0.zip", 404, "", "not found"},
		{"/example.test/private/@v/list", 404, "", "not found: module example.test/private"},
		{"/example.test/none/@v/list", 404, "", "not found: module example.test/none: no matching versions"},
		{"/example.test/Upper/@v/list", 400, "", "bad request: invalid escaped module path"},
		{"/example.test/a/@v/v1.0.0.ziphash", 400, "", `unknown endpoint "v1.0.0.ziphash"`},
		{"/example.test/a/@v/..%2f..%2fmain.info", 400, "", "bad request"},
		{"/../example.test/a/@v/list", 400, "", "bad request"},
		{"/example.test/a", 400, "", "no module query"},
		{"/sumdb/sum.test/supported", 404, "", "not proxied"},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			proxy.ServeHTTP(w, httptest.NewRequest(http.MethodGet, test.path, nil))
			require.Equal(t, test.status, w.Code, w.Body)
			if test.status != 200 {
				assert.Contains(t, w.Body.String(), test.body)
				assert.Contains(t, w.Header().Get("Content-Type"), "text/plain")
				return
			}
			assert.Equal(t, test.body, w.Body.String())
			assert.Equal(t, test.kind, w.Header().Get("Content-Type"))
			assert.Equal(t, strconv.Itoa(len(test.body)), w.Header().Get("Content-Length"))
		})
	}
}

func TestModuleProxyMethods(t *testing.T) {
	server := httptest.NewServer(&fakeupstream.ModuleProxy{Tree: tree})
	defer server.Close()
	resp, err := http.Head(server.URL + "/example.test/a/@v/v1.0.0.zip")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, int64(2), resp.ContentLength)
	resp, err = http.Post(server.URL+"/example.test/a/@v/list", "", nil)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
}

func TestModuleProxyReportsBrokenTrees(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "example.test/a")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.Symlink("@v", filepath.Join(dir, "@v"))) // a loop
	w := httptest.NewRecorder()
	proxy := &fakeupstream.ModuleProxy{Tree: os.DirFS(filepath.Dir(filepath.Dir(dir)))}
	proxy.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/example.test/a/@v/list", nil))
	assert.Equal(t, http.StatusInternalServerError, w.Code)
}

func FuzzModuleProxyPath(f *testing.F) {
	for path := range tree {
		f.Add("/" + path)
	}
	f.Add("/../secret/@v/list")
	f.Add("/a.test/@v/!")
	f.Add("/a.test/@v/../../secret.mod")
	f.Add("//@v//@latest")
	root := f.TempDir()
	require.NoError(f, os.MkdirAll(filepath.Join(root, "tree"), 0o755))
	for _, name := range []string{"secret.mod", "secret.info", "secret.zip", "list"} {
		require.NoError(f, os.WriteFile(filepath.Join(root, name), []byte("secret"), 0o644))
	}
	proxy := &fakeupstream.ModuleProxy{Tree: os.DirFS(filepath.Join(root, "tree"))}
	f.Fuzz(func(t *testing.T, path string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		proxy.ServeHTTP(w, r)
		// The tree is empty: whatever is asked for is not there, is nonsense, or is a name too long for a file.
		if w.Code == http.StatusOK || (w.Code == http.StatusInternalServerError && !strings.Contains(w.Body.String(), "name too long")) {
			t.Errorf("%q: %d %s", path, w.Code, w.Body)
		}
	})
}
