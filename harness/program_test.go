//go:build linux

package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// TestNginxServesAHost lets nginx be a company's module proxy: it looks the names of its upstream up in the
// world, trusts the lab's authority, and fetches each file once.
func TestNginxServesAHost(t *testing.T) {
	t.Parallel()
	requireLab(t)
	requireNginx(t)
	cells := runPrograms(t, "testdata/programs/nginx.yaml")
	healthy := cells["nginx-healthy"]
	require.Equal(t, record.OK, healthy.Outcome, "%s%s%v", healthy.Note, healthy.Stderr, healthy.Programs)
	at := timesAsked(healthy)
	require.Len(t, at, 2, "the company's proxy and the one behind it")
	for path, times := range at["goproxy.corp.example"] {
		assert.Contains(t, []int{1, 2}, times, path)
	}
	for server, paths := range at {
		if server == "goproxy.corp.example" {
			continue
		}
		for path, times := range paths {
			assert.Equal(t, 1, times, "%s was asked of %s, and should be kept", path, server)
		}
	}
	for _, c := range healthy.Conns {
		if c.Host != "goproxy.corp.example" && c.Addr != "" && c.TLS {
			assert.Equal(t, "goproxy.corp.example", c.From, c.Host)
		}
	}
	for _, q := range healthy.Queries {
		assert.NotEmpty(t, q.Answer)
	}
	require.Len(t, healthy.Programs, 1)
	assert.Empty(t, healthy.Programs[0].Died)
}

// timesAsked returns how often a server was asked for a path, by server and path.
func timesAsked(c *record.Cell) map[string]map[string]int {
	at := map[string]map[string]int{}
	for _, r := range c.Requests {
		if at[r.Server] == nil {
			at[r.Server] = map[string]int{}
		}
		at[r.Server][r.Path]++
	}
	return at
}

// TestNginxWithoutUpstream lets the real program fail in its own way, which is not the fault's.
func TestNginxWithoutUpstream(t *testing.T) {
	t.Parallel()
	requireLab(t)
	requireNginx(t)
	cell := runPrograms(t, "testdata/programs/nginx.yaml")["nginx-without-upstream"]
	require.Equal(t, record.Error, cell.Outcome, "%s%s%v", cell.Note, cell.Stderr, cell.Programs)
	assert.Contains(t, cell.Stderr, "504 Gateway Timeout", "after proxy_connect_timeout; nginx answers 502 when it has no address left to try")
	assert.Positive(t, cell.Faults[0].Bit)
	assert.Contains(t, cell.Programs[0].Output, "upstream timed out")
}

const programWorld = `world: w
hosts:
  a.test: {role: module-proxy, server: {exec: %s, files: {note: "$host is not a variable"}}}
  github.com: {role: vcs}
---
name: s
world: w
---
configs: [{name: c, env: {GOPROXY: "https://a.test", GOSUMDB: "off"}}]
---
projects: [{name: p, modules: {public: 1}, run: %s}]
`

// runProgram runs a command in a world in which a program serves a.test.
func runProgram(t *testing.T, exec, run string) *record.Cell {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program.yaml")
	require.NoError(t, os.WriteFile(file, []byte(fmt.Sprintf(programWorld, exec, run)), 0o644))
	return runPrograms(t, file)["s"]
}

func TestAProgramThatIsNotThere(t *testing.T) {
	t.Parallel()
	requireLab(t)
	cell := runProgram(t, "[no-such-program, --flag]", "[go, mod, tidy]")
	assert.Equal(t, record.Skipped, cell.Outcome)
	assert.Equal(t, "host a.test is served by no-such-program, which is not installed here", cell.Note)
}

func TestAProgramThatDoesNotStart(t *testing.T) {
	t.Parallel()
	requireLab(t)
	cell := runProgram(t, `[sh, -c, "cat note; pwd; exit 3"]`, "[go, mod, tidy]")
	assert.Equal(t, record.HarnessError, cell.Outcome)
	assert.Contains(t, cell.Note, "the program of host a.test ended before it listened (exit status 3)")
	assert.Contains(t, cell.Note, "$host is not a variable")
}

func TestAProgramThatDies(t *testing.T) {
	t.Parallel()
	requireLab(t)
	requireNginx(t)
	conf := `user root; daemon off; master_process off; pid nginx.pid; events {} http { access_log off; client_body_temp_path tmp/a; ` +
		`fastcgi_temp_path tmp/b; proxy_temp_path tmp/c; scgi_temp_path tmp/d; uwsgi_temp_path tmp/e; server { listen 127.0.0.1:8080; } }`
	file := filepath.Join(t.TempDir(), "program.yaml")
	text := fmt.Sprintf(programWorld, `[timeout, "2", nginx, -p, ., -e, stderr, -c, nginx.conf]`, `[sh, -c, "sleep 4; go mod tidy"]`)
	text = replace(`note: "$host is not a variable"`, fmt.Sprintf("nginx.conf: %q", conf))(text)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	cell := runPrograms(t, file)["s"]
	require.Equal(t, record.Error, cell.Outcome, cell.Note)
	assert.Equal(t, "download-truncated", cell.Class, cell.Stderr)
	require.Len(t, cell.Programs, 1)
	assert.Equal(t, "exit status 124", cell.Programs[0].Died)
	assert.Less(t, cell.Programs[0].Ended, cell.Seconds)
}

func requireNginx(t *testing.T) {
	t.Helper()
	if _, err := programPath("nginx"); err != nil {
		if os.Getenv("SIMRUN_REQUIRE_LAB") != "" {
			require.NoError(t, err)
		}
		t.Skip("nginx is not installed")
	}
}

// runPrograms runs all that a file declares and returns the cells by scenario.
func runPrograms(t *testing.T, file string) map[string]*record.Cell {
	t.Helper()
	o := libraryOptions(t)
	lib, err := scenarios.Load([]string{file}, scenarios.Options{Vars: o.Vars})
	require.NoError(t, err)
	o.Scenarios, o.Configs, o.Projects, o.Timeout = lib.Scenarios, lib.Configs, lib.Projects, 3*time.Minute
	return runOptions(t, o)
}

// runOptions runs all cells and returns them by scenario.
func runOptions(t *testing.T, o Options) map[string]*record.Cell {
	t.Helper()
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	cells := map[string]*record.Cell{}
	require.NoError(t, p.Run(t.Context(), func(c *record.Cell) error {
		cells[c.Scenario] = c
		return nil
	}, nil))
	return cells
}
