//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReleaseIsReproducible builds a release in two folders, of files with different rights, and looks whether the
// bytes are the same.
func TestReleaseIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds simrun")
	}
	t.Parallel()
	var archives [2][]byte
	name := "simrun-v1.2.3-linux-" + runtime.GOARCH
	for i := range archives {
		source := filepath.Join(t.TempDir(), strings.Repeat("deeper/", i), "source")
		require.NoError(t, os.MkdirAll(source, 0o755))
		for _, file := range []string{"go.mod", "go.sum", "LICENSE", "README.md", "CHANGELOG.md"} {
			data, err := os.ReadFile(filepath.Join("../..", file))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(source, file), data, os.FileMode(0o600+0o044*i))) // another umask
		}
		for _, dir := range []string{".ci", "cmd/simrun", "dnsfake", "fakeupstream", "harness", "record", "reports", "scenarios", "verdict"} {
			require.NoError(t, os.CopyFS(filepath.Join(source, dir), os.DirFS(filepath.Join("../..", dir))))
		}
		cmd := exec.Command(".ci/release", "v1.2.3", "dist", "linux/"+runtime.GOARCH)
		cmd.Dir = source
		cmd.Env = append(cmd.Environ(), "COMMIT=0123abc", "SOURCE_DATE_EPOCH=1700000000")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		check := exec.Command("sha256sum", "--check", "--quiet", "SHA256SUMS")
		check.Dir = filepath.Join(source, "dist")
		out, err = check.CombinedOutput()
		require.NoError(t, err, string(out))
		archives[i], err = os.ReadFile(filepath.Join(check.Dir, name+".tar.gz"))
		require.NoError(t, err)
	}
	assert.True(t, string(archives[0]) == string(archives[1]), "the two archives differ")

	unpack := exec.Command("tar", "-xz")
	unpack.Dir, unpack.Stdin = t.TempDir(), strings.NewReader(string(archives[0]))
	out, err := unpack.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, file := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		assert.FileExists(t, filepath.Join(unpack.Dir, name, file))
	}
	said, err := exec.Command(filepath.Join(unpack.Dir, name, "simrun"), "version").Output()
	require.NoError(t, err)
	assert.Equal(t, "simrun v1.2.3 "+runtime.Version()+" linux/"+runtime.GOARCH+" commit 0123abc\n", string(said))
}
