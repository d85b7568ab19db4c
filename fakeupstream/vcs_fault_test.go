package fakeupstream_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// withVCSFault makes an internet of a code host and of one that has pages only, both with a fault, and counts
// how often it bites.
func withVCSFault(t *testing.T, f scenarios.VCSFault) (*internet, *atomic.Int64) {
	t.Helper()
	u := generate(t)
	altered, err := u.AlteredGit(t.Context(), &f)
	require.NoError(t, err)
	v := &fakeupstream.VCS{Dir: u.Git, Stderr: t.Output()}
	bit := new(atomic.Int64)
	bites := func() bool { bit.Add(1); return true }
	return newInternet(t, map[string]http.Handler{"github.com": v.Fault(f, altered, bites)(v)}), bit
}

// clone clones a repository of the internet and returns where it is, and what git says.
func clone(t *testing.T, in *internet, args ...string) (dir, output string, err error) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "clone")
	output, err = runGit(t, in, append(append([]string{"clone", "--quiet", "--branch=v1.0.0"}, args...), "https://github.com/acme/lib001", dir)...)
	return dir, output, err
}

func TestVCSFaultsOfRepositories(t *testing.T) {
	tests := map[scenarios.Repository]string{
		scenarios.RepositoryNotFound:     "remote: Repository not found.\nfatal: repository 'https://github.com/acme/lib001/' not found",
		scenarios.RepositoryForbidden:    "remote: The 'acme' organization has enabled or enforced SAML SSO.",
		scenarios.RepositoryUnauthorized: "could not read Username for 'https://github.com'",
		scenarios.RepositoryRateLimited:  "remote: Short term bandwidth rate limit exceeded",
		scenarios.RepositoryRemoteError:  "fatal: remote error: The git server is currently unable to handle this request due to load.",
		scenarios.RepositorySignInPage:   "is this a git repository?",
	}
	for answer, want := range tests {
		t.Run(string(answer), func(t *testing.T) {
			in, bit := withVCSFault(t, scenarios.VCSFault{Repository: answer})
			_, output, err := clone(t, in)
			require.Error(t, err)
			assert.Contains(t, output, want)
			assert.Positive(t, bit.Load())
		})
	}
}

// Credentials do not help where all are refused.
func TestVCSFaultUnauthorized(t *testing.T) {
	in, _ := withVCSFault(t, scenarios.VCSFault{Repository: scenarios.RepositoryUnauthorized})
	output, err := runGit(t, in, "ls-remote", "https://alice:secret@github.com/acme/lib001")
	require.Error(t, err)
	assert.Contains(t, output, "remote: Invalid username or token.")
	assert.Contains(t, output, "Authentication failed")
}

func TestVCSFaultDumbProtocol(t *testing.T) {
	in, bit := withVCSFault(t, scenarios.VCSFault{Repository: scenarios.RepositoryDumb})
	dir, output, err := clone(t, in)
	require.NoError(t, err, output)
	assert.FileExists(t, filepath.Join(dir, "lib001.go"))
	assert.Positive(t, bit.Load())
	_, output, err = clone(t, in, "--depth=1")
	require.Error(t, err)
	assert.Contains(t, output, "dumb http transport does not support shallow capabilities")
}

func TestVCSFaultsOfPacks(t *testing.T) {
	tests := map[scenarios.Pack]string{
		scenarios.PackCut:     "unexpected disconnect",
		scenarios.PackAborted: "remote: aborting due to possible repository corruption on the remote side.",
		scenarios.PackCorrupt: "inflate",
	}
	for pack, want := range tests {
		for _, version := range []string{"0", "2"} {
			t.Run(string(pack)+" in version "+version, func(t *testing.T) {
				in, bit := withVCSFault(t, scenarios.VCSFault{Pack: pack})
				output, err := runGit(t, in, "-c", "protocol.version="+version, "clone", "https://github.com/acme/lib001", filepath.Join(t.TempDir(), "clone"))
				require.Error(t, err)
				assert.Contains(t, output, want)
				assert.EqualValues(t, 1, bit.Load(), "only the request for the pack is changed")
			})
		}
	}
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.String()
}

// A fault of packs sees through the compression of requests that ask for many things.
func TestVCSFaultsOfPacksInCompressedRequests(t *testing.T) {
	u := generate(t)
	v := &fakeupstream.VCS{Dir: u.Git}
	bit := 0
	h := v.Fault(scenarios.VCSFault{Pack: scenarios.PackAborted}, "", func() bool { bit++; return false })(http.NotFoundHandler())
	for body, want := range map[string]int{
		gzipped("0014command=fetch0001" + strings.Repeat("0032want 0000000000000000000000000000000000000000\n", 200) + "0000"): 1,
		gzipped("0014command=ls-refs\n0000"):                                0,
		"0032want 0000000000000000000000000000000000000000\n00000009done\n": 1,
		"\x1f\x8bnot compressed":                                            0,
		"":                                                                  0,
		"00":                                                                0,
	} {
		bit = 0
		r := httptest.NewRequest(http.MethodPost, "https://github.com/acme/lib001/git-upload-pack", strings.NewReader(body))
		if strings.HasPrefix(body, "\x1f\x8b") {
			r.Header.Set("Content-Encoding", "gzip")
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		assert.Equal(t, want, bit, "%.30q", body)
	}
}

func TestVCSFaultsOfTags(t *testing.T) {
	in, bit := withVCSFault(t, scenarios.VCSFault{Tags: scenarios.TagsMoved})
	dir, output, err := clone(t, in)
	require.NoError(t, err, output)
	license, err := os.ReadFile(filepath.Join(dir, "LICENSE"))
	require.NoError(t, err)
	assert.Contains(t, string(license), "moved")
	assert.Positive(t, bit.Load())

	in, _ = withVCSFault(t, scenarios.VCSFault{Tags: scenarios.TagsMissing})
	output, err = runGit(t, in, "ls-remote", "https://github.com/acme/lib001")
	require.NoError(t, err)
	assert.Contains(t, output, "refs/heads/main")
	assert.NotContains(t, output, "refs/tags/")
}

// Ballast makes a clone large, and leaves the module as it is.
func TestVCSFaultBallast(t *testing.T) {
	const ballast = 300 << 10
	in, _ := withVCSFault(t, scenarios.VCSFault{Ballast: ballast})
	dir, output, err := clone(t, in, "--depth=1")
	require.NoError(t, err, output)
	info, err := os.Stat(filepath.Join(dir, "ballast", "data.bin"))
	require.NoError(t, err)
	assert.EqualValues(t, ballast, info.Size())
	assert.FileExists(t, filepath.Join(dir, "ballast", "go.mod"))
	largest := int64(0)
	for _, r := range ended(t, in.log) {
		largest = max(largest, r.Bytes)
	}
	assert.Greater(t, largest, int64(ballast))
}

// Altered repositories are made once, and only of the modules that a fault is about.
func TestAlteredGit(t *testing.T) {
	u := generate(t)
	f := scenarios.VCSFault{Module: "github.com/acme/*", Tags: scenarios.TagsMoved}
	dir, err := u.AlteredGit(t.Context(), &f)
	require.NoError(t, err)
	assert.DirExists(t, filepath.Join(dir, "github.com", "acme", "lib001.git"))
	assert.NoDirExists(t, filepath.Join(dir, "git.corp.example"))
	before := fingerprint(t, dir)
	again, err := u.AlteredGit(t.Context(), &f)
	require.NoError(t, err)
	assert.Equal(t, dir, again)
	assert.Equal(t, before, fingerprint(t, again))
	f.Module = ""
	other, err := u.AlteredGit(t.Context(), &f)
	require.NoError(t, err)
	assert.NotEqual(t, dir, other)
	_, err = (&fakeupstream.Universe{Dir: t.TempDir(), Git: "git"}).AlteredGit(t.Context(), &f)
	assert.ErrorContains(t, err, "universe.json")
	dir, err = (&fakeupstream.Universe{}).AlteredGit(t.Context(), &f)
	require.NoError(t, err)
	assert.Empty(t, dir, "a user's own modules have no repositories")
}

func TestVCSFaultsOfPages(t *testing.T) {
	tests := []struct {
		fault scenarios.VCSFault
		want  string
	}{
		{scenarios.VCSFault{Meta: scenarios.MetaMissing}, "<head><title>Sign in</title></head>"},
		{scenarios.VCSFault{Meta: scenarios.MetaMalformed}, `<meta name="go-import" content="go.example/acme/lib001 git https://github.com/acme/lib001.git</head>`},
		{scenarios.VCSFault{Meta: scenarios.MetaWrongPrefix}, `content="elsewhere.example/acme/lib001 git https://github.com/acme/lib001.git"`},
		{scenarios.VCSFault{Meta: scenarios.MetaUnknownVCS}, `content="go.example/acme/lib001 cvs https://github.com/acme/lib001.git"`},
		{scenarios.VCSFault{Meta: scenarios.MetaPlainHTTP}, `content="go.example/acme/lib001 git http://github.com/acme/lib001.git"`},
		{scenarios.VCSFault{Repositories: "gone.example"}, `content="go.example/acme/lib001 git https://gone.example/acme/lib001.git"`},
		{scenarios.VCSFault{Module: "*/lib002", Meta: scenarios.MetaMissing}, `content="go.example/acme/lib001 git https://github.com/acme/lib001.git"`},
	}
	v := &fakeupstream.VCS{Dir: vanityDir(t), CodeHosts: map[string]string{"go.example": "github.com"}}
	for _, test := range tests {
		h := v.Fault(test.fault, "", func() bool { return true })(v)
		assert.Contains(t, visit(h, "https://go.example/acme/lib001?go-get=1").Body.String(), test.want)
	}
}

// vanityDir returns repositories below go.example.
func vanityDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(generate(t).Git, "github.com"), filepath.Join(dir, "go.example")))
	return dir
}

func visit(h http.Handler, url string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
	return w
}

// A host that has pages only leads git to the host that has the repositories.
func TestVCSCodeHosts(t *testing.T) {
	v := &fakeupstream.VCS{Dir: vanityDir(t), CodeHosts: map[string]string{"go.example": "github.com"}}
	page := visit(v, "https://go.example/acme/lib001/sub?go-get=1")
	assert.Contains(t, page.Body.String(), `content="go.example/acme/lib001 git https://github.com/acme/lib001.git"`)
	assert.Equal(t, 404, visit(v, "https://go.example/acme/lib001/info/refs?service=git-upload-pack").Code)
	assert.Equal(t, 404, visit(v, "https://other.example/acme/lib001?go-get=1").Code)
	in := newInternet(t, map[string]http.Handler{"github.com": v})
	dir, output, err := clone(t, in)
	require.NoError(t, err, output)
	assert.FileExists(t, filepath.Join(dir, "lib001.go"))
}

// The page for people is gone with the repository: the go command looks at it.
func TestVCSFaultNotFoundPage(t *testing.T) {
	v := &fakeupstream.VCS{Dir: generate(t).Git}
	h := v.Fault(scenarios.VCSFault{Repository: scenarios.RepositoryNotFound}, "", func() bool { return true })(v)
	assert.Equal(t, 404, visit(h, "https://github.com/acme/lib001").Code)
	assert.Equal(t, 200, visit(h, "https://github.com/acme/lib001?go-get=1").Code)
	assert.Equal(t, 200, visit(v, "https://github.com/acme/lib001").Code)
}
