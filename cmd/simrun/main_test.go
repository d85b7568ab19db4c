package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/harness/container"
)

func TestMain(m *testing.M) {
	harness.Reexec() // a lab process of a script is this test binary once more
	reap()
	testscript.Main(tests{m}, map[string]func(){"simrun": main})
}

// tests removes what tests share when all have run.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer os.Remove(staticFile())
	return t.M.Run()
}

// TestScript runs testdata/script/*.txtar, each of which drives the real command.
func TestScript(t *testing.T) {
	modCache := goSays(t, "env", "GOMODCACHE")
	// A module without requirements that this one needs, so that it is in the module cache.
	realModule := goSays(t, "list", "-m", "-f", "{{.Path}}@{{.Version}}", "golang.org/x/sync")
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(cond string) (bool, error) {
			var err error
			switch cond {
			case "lab":
				err = harness.Check(t.Context())
			case "engine":
				return engineAndImage(t)
			case "older-go": // fetches it, with this user's settings, which scripts do not have
				_, err = harness.FindGo(t.Context(), olderGo)
			default:
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return there(err)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status, "await": await},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("GOMODCACHE", modCache)
			env.Setenv("REAL_MODULE", realModule)
			env.Setenv("ROOT", root)
			env.Setenv("OLDER_GO", olderGo)
			env.Setenv("DOCKER_HOST", os.Getenv("DOCKER_HOST"))
			env.Setenv("SIMRUN_LINUX", staticFile()) // this test binary may be linked dynamically
			return os.Mkdir(env.Getenv("HOME"), 0o777)
		},
	})
}

// there reports whether a test can have what it needs, which is so if a search for it gave no error. It is an error
// to lack anything if SIMRUN_REQUIRE_LAB is set: a machine that should test all must not pass by skipping.
func there(err error) (bool, error) {
	if err != nil && os.Getenv("SIMRUN_REQUIRE_LAB") != "" {
		return false, fmt.Errorf("SIMRUN_REQUIRE_LAB is set: %w", err)
	}
	return err == nil, nil
}

// engineAndImage reports whether there is a container engine, and makes the image of the tests.
func engineAndImage(t *testing.T) (bool, error) {
	e, err := container.Connect(t.Context())
	if err != nil {
		if os.Getenv("SIMRUN_REQUIRE_ENGINE") != "" {
			return false, fmt.Errorf("SIMRUN_REQUIRE_ENGINE is set: %w", err)
		}
		return false, nil
	}
	return true, errors.Join(makeTestImage(), e.Close())
}

// olderGo is a release of Go other than the one that runs the tests.
const olderGo = "1.25.5"

// goSays returns what the go command prints.
func goSays(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", args...).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// status is the script command "status N PROGRAM ARG...": PROGRAM must end with status N, not 0.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		ts.Fatalf("%v, want exit status %d", err, want)
	}
	if exit.ExitCode() != want {
		ts.Fatalf("exit status %d, want %d", exit.ExitCode(), want)
	}
}

// await is the script command "await TEXT FILE": it goes on when a file exists and contains a text.
// What never does so ends with the test's deadline.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await TEXT FILE")
	}
	for !fileContains(ts.MkAbs(args[1]), args[0]) {
		time.Sleep(10 * time.Millisecond)
	}
}

func fileContains(name, text string) bool {
	data, err := os.ReadFile(name)
	return err == nil && strings.Contains(string(data), text)
}
