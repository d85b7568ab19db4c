//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/harness/container"
	"github.com/simrun/simrun/record"
)

const imageLibrary = `
world: company
hosts:
  goproxy.corp.example:
    role: module-proxy
    server:
      image: %s
      files:
        nginx.conf: |
          daemon off; master_process off; pid nginx.pid; events {}
          http {
            access_log off; client_body_temp_path a; fastcgi_temp_path b; proxy_temp_path c; scgi_temp_path d; uwsgi_temp_path e;
            server { listen 127.0.0.1:8080; location / { proxy_pass http://proxy.example; } }
          }
  proxy.example: {role: module-proxy}
  code.example:  {role: vcs}
---
name: all-well
world: company
---
configs: [{name: company, env: {GOPROXY: "https://goproxy.corp.example", GOSUMDB: "off"}}]
---
projects: [{name: tiny, modules: {seed: 1, public: 1, versions: 1, depth: 1, zip-size: 1KiB}}]
`

// engine returns the container engine of this machine.
func engine(t *testing.T) *container.Engine {
	t.Helper()
	e, err := container.Connect(t.Context())
	if err == nil {
		err = harness.Check(t.Context())
	}
	if err != nil {
		if os.Getenv("SIMRUN_REQUIRE_ENGINE") != "" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: make test-containers starts an engine: ", err)
	}
	t.Cleanup(func() { assert.NoError(t, e.Close()) })
	return e
}

// importNginx makes an image of this machine's nginx and the libraries that it needs.
func importNginx(t *testing.T, e *container.Engine, name string, changes ...string) {
	t.Helper()
	nginx := "/usr/sbin/nginx"
	libraries, err := exec.Command("ldd", nginx).Output()
	require.NoError(t, err)
	var root bytes.Buffer
	w := tar.NewWriter(&root)
	for _, file := range append(strings.Fields(string(libraries)), nginx) {
		if !strings.HasPrefix(file, "/") {
			continue
		}
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file[1:], Mode: 0o755, Size: int64(len(data))}))
		_, err = w.Write(data)
		require.NoError(t, err)
	}
	passwd := "root:x:0:0::/:\nweb:x:4711:4711::/:\n"
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644, Size: int64(len(passwd))}))
	_, err = io.WriteString(w, passwd)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, e.Import(t.Context(), name, &root, changes...))
}

// runWithImage runs a library whose module proxy is an image.
func runWithImage(t *testing.T, image, out string) (status int, said string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "library.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, imageLibrary, image), 0o644))
	var stdout, stderr bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &stdout, err: &stderr, getenv: func(string) string { return "" }}
	status = a.main(t.Context(), []string{"run", file, "--out", out, "--quiet", "--color", "never"})
	return status, stderr.String()
}

func TestImageServesAHost(t *testing.T) {
	e := engine(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	importNginx(t, e, "simrun-nginx:test", `ENTRYPOINT ["nginx", "-p", "/srv", "-e", "stderr"]`, `CMD ["-c", "nginx.conf"]`, "WORKDIR /srv", "USER web")
	for _, name := range []string{"first", "second"} { // which finds the image's files
		out := filepath.Join(t.TempDir(), name)
		status, said := runWithImage(t, "simrun-nginx:test", out)
		require.Equal(t, statusOK, status, said)
		results, err := record.ReadFile(filepath.Join(out, "results.jsonl"))
		require.NoError(t, err)
		require.Len(t, results.Cells, 1)
		cell := results.Cells[0]
		require.Equal(t, record.OK, cell.Outcome, "%s%v", cell.Stderr, cell.Programs)
		assert.Equal(t, "simrun-nginx:test", cell.Programs[0].Image)
		assert.Contains(t, cell.Hosts, "proxy.example", "nginx asks the proxy behind it")
	}
}

func TestImageThatCannotServe(t *testing.T) {
	e := engine(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	status, said := runWithImage(t, "simrun-none:test", t.TempDir())
	assert.Equal(t, statusInput, status)
	assert.Equal(t, "simrun: the container engine has no image \"simrun-none:test\"\nhint: pull or build it; nothing is pulled unasked\n", said)

	importNginx(t, e, "simrun-mute:test")
	status, said = runWithImage(t, "simrun-mute:test", filepath.Join(t.TempDir(), "out"))
	assert.Equal(t, statusInput, status)
	assert.Contains(t, said, "image simrun-mute:test says by neither ENTRYPOINT nor CMD what it runs")
}

// A host may be served by an image in a container, too: its files come along.
func TestContainerHasHostsServedByImages(t *testing.T) {
	c := newContainerTest(t)
	importNginx(t, c.engine, "simrun-nginx:test", `ENTRYPOINT ["nginx", "-p", "/srv", "-e", "stderr"]`, `CMD ["-c", "nginx.conf"]`, "WORKDIR /srv", "USER web")
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "image.yaml"), fmt.Appendf(nil, imageLibrary, "simrun-nginx:test"), 0o666))
	text, err := c.inside("image.yaml", "--out", "image").CombinedOutput()
	require.NoError(t, err, "%s", text)
	run, err := record.ReadFile(filepath.Join(c.dir, "image", resultsName))
	require.NoError(t, err)
	require.Len(t, run.Cells, 1)
	cell := run.Cells[0]
	require.Equal(t, record.OK, cell.Outcome, "%s%v", cell.Stderr, cell.Programs)
	assert.Contains(t, cell.Hosts, "proxy.example", "nginx asks the proxy behind it")
}
