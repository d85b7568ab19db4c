package fakeupstream_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// generateIn makes a universe whose project is in a state, and a way to run the real go command in the project,
// with the modules in a folder.
func generateIn(t *testing.T, spec scenarios.Modules) (u *fakeupstream.Universe, run func(env []string, args ...string) (string, error)) {
	t.Helper()
	hosts := fakeupstream.Hosts{Public: []string{"github.com"}, Private: []string{"git.corp.example"}}
	u, err := fakeupstream.Generate(t.Context(), filepath.Join(t.TempDir(), "u"), spec, hosts)
	require.NoError(t, err)
	home := newHome(t)
	return u, func(env []string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = u.Project
		cmd.Env = append([]string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "GOFLAGS=-modcacherw", "GOENV=off", "GOTOOLCHAIN=local",
			"GOPROXY=file://" + u.Proxy, "GOSUMDB=off"}, env...)
		output, err := cmd.CombinedOutput()
		return string(output), err
	}
}

var chained = scenarios.Modules{Seed: 4, Public: 5, Private: 2, Versions: 2, Depth: 2, ZipSize: 2 << 10}

func TestTidyProjectIsWhatGoModTidyLeaves(t *testing.T) {
	spec := chained
	spec.State = scenarios.ProjectTidy
	_, run := generateIn(t, spec)
	diff, err := run(nil, "mod", "tidy", "-diff")
	require.NoError(t, err, diff)
	output, err := run([]string{"GOFLAGS=-mod=readonly -modcacherw"}, "build", "-o", os.DevNull, ".")
	assert.NoError(t, err, output)
}

func TestBareProjectIsNotTidy(t *testing.T) {
	_, run := generateIn(t, chained)
	_, err := run(nil, "mod", "tidy", "-diff")
	assert.Error(t, err)
}

func TestVendoredProjectIsBuiltWithoutModules(t *testing.T) {
	spec := chained
	spec.State = scenarios.ProjectVendored
	u, run := generateIn(t, spec)
	output, err := run([]string{"GOPROXY=off"}, "build", "-mod=vendor", "-o", os.DevNull, ".")
	require.NoError(t, err, output)
	list, err := os.ReadFile(filepath.Join(u.Project, "vendor", "modules.txt"))
	require.NoError(t, err)
	output, err = run(nil, "mod", "vendor")
	require.NoError(t, err, output)
	again, err := os.ReadFile(filepath.Join(u.Project, "vendor", "modules.txt"))
	require.NoError(t, err)
	assert.Equal(t, string(again), string(list))
}

func TestToolchainIsWhatTheProjectAsksFor(t *testing.T) {
	spec := chained
	spec.Toolchain = "1.99.0"
	u, run := generateIn(t, spec)
	output, err := run([]string{"GOTOOLCHAIN=auto"}, "version")
	require.NoError(t, err, output)
	assert.Contains(t, output, "go version go1.99.0 (simulated), for: go version")
	output, err = run(nil, "version")
	require.NoError(t, err, "the toolchain at hand is older, and says so only if it has to work: %s", output)
	output, err = run(nil, "mod", "tidy")
	require.Error(t, err)
	assert.Contains(t, output, "requires go >= 1.99.0")
	toolchains := 0
	for _, m := range u.Modules {
		if m.IsToolchain() {
			toolchains++
			assert.False(t, m.Private)
		}
	}
	assert.Equal(t, 2, toolchains, "one for each platform")
}
