package fakeupstream_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

func TestVCSPages(t *testing.T) {
	vcs := &fakeupstream.VCS{Dir: generate(t).Git}
	tests := []struct {
		url    string
		status int
		want   string
	}{
		{"https://git.corp.example/team/secret001?go-get=1", 200, "git.corp.example/team/secret001 git https://git.corp.example/team/secret001.git"},
		{"https://git.corp.example/team/secret001/sub/package?go-get=1", 200, "git.corp.example/team/secret001 git https://git.corp.example/team/secret001.git"},
		{"http://git.corp.example:8080/team/secret001.git", 200, "git.corp.example/team/secret001 git http://git.corp.example:8080/team/secret001.git"},
		{"https://GitHub.com/BlueHarbor/lib002/?go-get=1", 200, "github.com/BlueHarbor/lib002 git https://GitHub.com/BlueHarbor/lib002.git"},
		{"https://git.corp.example/team?go-get=1", 404, "not found: no repository at git.corp.example/team"},
		{"https://git.corp.example/?go-get=1", 404, "not found"},
		{"https://git.corp.example/acme/lib001?go-get=1", 404, "not found"},
		{"https://git.corp.example/team/../team/secret001", 404, "not found"},
		{"https://git.corp.example/team/none/info/refs?service=git-upload-pack", 404, "not found"},
	}
	for _, test := range tests {
		t.Run(test.url, func(t *testing.T) {
			w := httptest.NewRecorder()
			vcs.ServeHTTP(w, httptest.NewRequest(http.MethodGet, test.url, nil))
			assert.Equal(t, test.status, w.Code)
			assert.Contains(t, w.Body.String(), test.want)
			isHTML := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html")
			assert.Equal(t, test.status == 200, isHTML)
		})
	}
}

// runGit runs git with the settings of the internet and none of the machine.
func runGit(t *testing.T, in *internet, args ...string) (string, error) {
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=/nonexistent",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_SSL_CAINFO=" + in.caFile,
		"https_proxy=" + in.proxy,
	}
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func TestVCSClones(t *testing.T) {
	u := generate(t)
	in := newInternet(t, map[string]http.Handler{
		"git.corp.example": &fakeupstream.VCS{Dir: u.Git, Stderr: t.Output()},
	})
	for _, version := range []string{"0", "2"} {
		for _, suffix := range []string{"", ".git"} {
			dir := filepath.Join(t.TempDir(), "clone")
			url := "https://git.corp.example/team/secret001" + suffix
			output, err := runGit(t, in, "-c", "protocol.version="+version, "clone", "--branch=v1.0.0", url, dir)
			require.NoError(t, err, output)
			code, err := os.ReadFile(filepath.Join(dir, "secret001.go"))
			require.NoError(t, err)
			assert.Contains(t, string(code), `Version = "v1.0.0"`)
			output, err = runGit(t, in, "-C", dir, "fsck", "--strict")
			require.NoError(t, err, output)
		}
	}
	output, err := runGit(t, in, "ls-remote", "https://git.corp.example/team/none")
	require.Error(t, err)
	assert.Contains(t, output, "not found")
	output, err = runGit(t, in, "ls-remote", "--tags", "https://git.corp.example/team/secret001")
	require.NoError(t, err)
	assert.Contains(t, output, "refs/tags/v1.0.0\n")
	assert.Contains(t, output, "refs/tags/v1.1.0\n")
}

// git asks for protocol version 2 by a header, which has to reach http-backend.
func TestVCSProtocolVersion(t *testing.T) {
	t.Chdir(generate(t).Dir)
	vcs := &fakeupstream.VCS{Dir: "git"} // a relative directory will do
	for header, want := range map[string]bool{"version=2": true, "": false} {
		r := httptest.NewRequest(http.MethodGet, "https://github.com/acme/lib001/info/refs?service=git-upload-pack", nil)
		r.Header.Set("Git-Protocol", header)
		w := httptest.NewRecorder()
		vcs.ServeHTTP(w, r)
		require.Equal(t, 200, w.Code)
		assert.Equal(t, want, strings.Contains(w.Body.String(), "version 2"))
	}
}

// Nobody can write to a repository.
func TestVCSRefusesPushes(t *testing.T) {
	u := generate(t)
	before := fingerprint(t, u.Git)
	in := newInternet(t, map[string]http.Handler{"github.com": &fakeupstream.VCS{Dir: u.Git}})
	dir := filepath.Join(t.TempDir(), "clone")
	output, err := runGit(t, in, "clone", "https://github.com/acme/lib001", dir)
	require.NoError(t, err, output)
	_, err = runGit(t, in, "-C", dir, "push", "origin", "HEAD:refs/heads/mine")
	require.Error(t, err)
	assert.Equal(t, before, fingerprint(t, u.Git))
}

// Faults work on git's answers too, of which nobody knows the length in advance.
func TestVCSCut(t *testing.T) {
	u := generate(t)
	packs := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/git-upload-pack") }
	cut := fakeupstream.When(packs, fakeupstream.CutAfter(scenarios.Amount{Share: 0.5}))
	in := newInternet(t, map[string]http.Handler{"github.com": cut(&fakeupstream.VCS{Dir: u.Git})})
	_, err := runGit(t, in, "clone", "https://github.com/acme/lib001", filepath.Join(t.TempDir(), "clone"))
	require.Error(t, err)
	aborted := false
	for _, r := range ended(t, in.log) {
		aborted = aborted || r.Err == "the server aborted the answer"
	}
	assert.True(t, aborted)
}
