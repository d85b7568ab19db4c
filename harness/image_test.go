//go:build linux

package harness

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// nginxRoot returns the files of an image of nginx: the program, the libraries that it needs, and what others have put
// into its way.
func nginxRoot(t *testing.T) io.Reader {
	t.Helper()
	nginx, err := programPath("nginx")
	require.NoError(t, err)
	libraries, err := exec.Command("ldd", nginx).Output()
	require.NoError(t, err)
	files := []string{nginx}
	for _, word := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			files = append(files, word)
		}
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file[1:], Mode: 0o4755, Size: int64(len(data))}))
		_, err = w.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "srv/tmp/", Mode: 0o555}))
	passwd := "root:x:0:0::/:/bin/sh\nweb:x:4711:4711::/srv:/bin/false\n"
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644, Size: int64(len(passwd))}))
	_, err = io.WriteString(w, passwd)
	require.NoError(t, err)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "etc/resolv.conf", Linkname: "/run/no-such-folder/resolv.conf"}))
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "etc/hosts", Linkname: "../../../../../etc/hosts"}))
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeChar, Name: "dev/mem", Mode: 0o666, Devmajor: 1, Devminor: 1}))
	require.NoError(t, w.Close())
	return &archive
}

// runImage runs the scenarios of nginx, which is in an image.
func runImage(t *testing.T, image *Image, server string) map[string]*record.Cell {
	t.Helper()
	requireLab(t)
	requireNginx(t)
	image.Name, image.Root = "nginx:test", filepath.Join(t.TempDir(), "root")
	require.NoError(t, UnpackImage(nginxRoot(t), image.Root))
	text, err := os.ReadFile("testdata/programs/nginx.yaml")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "image.yaml")
	changed := strings.Replace(string(text), "exec: [nginx, -p, ., -e, stderr, -c, nginx.conf]", server, 1)
	changed = strings.Replace(changed, "user root;", "", 1)
	require.NoError(t, os.WriteFile(file, []byte(changed), 0o644))
	o := libraryOptions(t)
	lib, err := scenarios.Load([]string{file}, scenarios.Options{Vars: o.Vars})
	require.NoError(t, err)
	o.Scenarios, o.Configs, o.Projects, o.Timeout = lib.Scenarios[:1], lib.Configs, lib.Projects, 3*time.Minute
	o.Images = map[string]*Image{image.Name: image}
	return runOptions(t, o)
}

// TestNginxImageServesAHost lets an image be what TestNginxServesAHost lets a program of this machine be.
func TestNginxImageServesAHost(t *testing.T) {
	t.Parallel()
	image := &Image{Exec: []string{"nginx", "-p", ".", "-e", "stderr", "-c", "nginx.conf"}, Dir: "/srv", User: "web:web"}
	cell := runImage(t, image, "image: nginx:test")["nginx-healthy"]
	require.Equal(t, record.OK, cell.Outcome, "%s%s%v", cell.Note, cell.Stderr, cell.Programs)
	at := timesAsked(cell)
	require.Len(t, at, 2, "the company's proxy and the one behind it")
	for server, paths := range at {
		for path, times := range paths {
			if server != "goproxy.corp.example" {
				assert.Equal(t, 1, times, "%s was asked of %s, and should be kept", path, server)
			}
		}
	}
	for _, c := range cell.Conns {
		if c.Host != "goproxy.corp.example" && c.TLS {
			assert.Equal(t, "goproxy.corp.example", c.From, c.Host)
		}
	}
	require.Len(t, cell.Programs, 1)
	assert.Empty(t, cell.Programs[0].Died)
	assert.Equal(t, "nginx:test", cell.Programs[0].Image)
	written, err := os.ReadDir(filepath.Join(image.Root, "srv"))
	require.NoError(t, err)
	assert.Len(t, written, 1, "the image's own files stay what they are")
}

func TestAnImageWithoutTheProgram(t *testing.T) {
	t.Parallel()
	cell := runImage(t, &Image{Env: []string{"PATH=/nowhere"}}, "image: nginx:test\n      exec: [nginx]")["nginx-healthy"]
	assert.Equal(t, record.HarnessError, cell.Outcome)
	assert.Contains(t, cell.Note, `the image has no program "nginx"; its PATH is /nowhere`)
}

func TestAnImageThatRunsNothing(t *testing.T) {
	t.Parallel()
	o := libraryOptions(t)
	world := &scenarios.World{Hosts: []scenarios.Host{{Name: "a.test", Role: scenarios.RoleModuleProxy, Server: &scenarios.Server{Image: "bare"}}}}
	o.Scenarios = []*scenarios.Scenario{{Name: "s", World: world}}
	_, err := NewPlan(t.Context(), o)
	assert.EqualError(t, err, "host a.test is served by image bare, which is not there")
	o.Images = map[string]*Image{"bare": {Name: "bare"}}
	_, err = NewPlan(t.Context(), o)
	assert.EqualError(t, err, "image bare says by neither ENTRYPOINT nor CMD what it runs; write it into `exec:` of host a.test")
}

// TestUnpackImage unpacks what no image should have.
func TestUnpackImage(t *testing.T) {
	t.Parallel()
	const text = "content"
	for _, test := range []struct {
		name    string
		headers []tar.Header
		err     string // empty: it is unpacked
	}{
		{"a file above", []tar.Header{{Typeflag: tar.TypeReg, Name: "../file"}}, "its name leads out of the image"},
		{"a folder above", []tar.Header{{Typeflag: tar.TypeDir, Name: "a/../../b"}}, "its name leads out of the image"},
		{"an absolute name", []tar.Header{{Typeflag: tar.TypeReg, Name: "/file"}}, ""},
		{"below a link out", []tar.Header{{Typeflag: tar.TypeSymlink, Name: "out", Linkname: ".."}, {Typeflag: tar.TypeReg, Name: "out/file"}}, "path escapes from parent"},
		{"below an absolute link", []tar.Header{{Typeflag: tar.TypeSymlink, Name: "out", Linkname: "/tmp"}, {Typeflag: tar.TypeReg, Name: "out/file"}}, "path escapes from parent"},
		{"over a link out", []tar.Header{{Typeflag: tar.TypeSymlink, Name: "file", Linkname: "../outside"}, {Typeflag: tar.TypeReg, Name: "file"}}, "file exists"},
		{"a hard link out", []tar.Header{{Typeflag: tar.TypeLink, Name: "file", Linkname: "../outside"}}, "path escapes from parent"},
		{"a device", []tar.Header{{Typeflag: tar.TypeBlock, Name: "dev/sda"}}, ""},
		{"setuid", []tar.Header{{Typeflag: tar.TypeReg, Name: "su", Mode: 0o4755}}, ""},
		{"more than there is", []tar.Header{{Typeflag: tar.TypeReg, Name: "huge", Size: maxImageSize + 1}}, "the image's files have more than 17179869184 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var archive bytes.Buffer
			w := tar.NewWriter(&archive)
			for _, h := range test.headers {
				content := ""
				if h.Typeflag == tar.TypeReg && h.Size == 0 {
					content, h.Size = text, int64(len(text))
				}
				require.NoError(t, w.WriteHeader(&h))
				_, err := io.WriteString(w, content)
				require.NoError(t, err)
			}
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "outside"), nil, 0o600))
			err := UnpackImage(&archive, filepath.Join(dir, "image"))
			entries, readErr := os.ReadDir(dir)
			require.NoError(t, readErr)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				assert.Len(t, entries, 1, "nothing is left")
			} else {
				require.NoError(t, err)
			}
			outside, err := os.ReadFile(filepath.Join(dir, "outside"))
			require.NoError(t, err)
			assert.Empty(t, outside)
			require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				info, infoErr := d.Info()
				require.NoError(t, infoErr)
				assert.Zero(t, info.Mode()&(os.ModeSetuid|os.ModeSetgid|os.ModeDevice|os.ModeNamedPipe), path)
				return err
			}))
		})
	}
}
