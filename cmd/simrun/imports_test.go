package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/simrun/simrun"

// A goPackage is what "go list -json" says of a package.
type goPackage struct {
	ImportPath string
	Imports    []string // without those of tests
}

// A layer says which other packages of this module a package may import, and why no others.
type layer struct {
	may    []string
	reason string
}

// layers has every package of the module, without the module's path.
var layers = map[string]layer{
	"scenarios":               {nil, "the language is the bottom: reading a file must not need what runs it"},
	"record":                  {[]string{"scenarios"}, "facts must be readable where nothing can be run"},
	"dnsfake":                 {[]string{"scenarios", "record"}, "it is useful by itself in anybody's tests"},
	"fakeupstream":            {[]string{"scenarios", "record"}, "it is useful by itself in anybody's tests"},
	"harness/lab/clock":       {nil, "time must not know what is done in it"},
	"harness/lab":             {[]string{"scenarios", "record", "harness/lab/clock"}, "the network must not know what is tested in it"},
	"harness/container":       {[]string{"harness/container/quiet"}, "it runs a program in a container, and need not know which"},
	"harness/container/quiet": {nil, "it must be initialised before what it quiets"},
	"harness/pac":             {[]string{"scenarios", "fakeupstream"}, "it is a program of the client host, and must know nothing of the lab"},
	"harness": {[]string{"scenarios", "record", "dnsfake", "fakeupstream", "harness/lab", "harness/lab/clock", "harness/pac", "verdict"},
		"cells must run without a report, and without the Docker SDK"},
	"verdict": {[]string{"scenarios", "record"}, "an old results.jsonl is judged on any system, without rights"},
	"reports": {[]string{"scenarios", "record", "verdict"}, "an old results.jsonl is rendered on any system, without rights"},
	"cmd/simrun": {[]string{"scenarios", "record", "dnsfake", "fakeupstream", "harness/lab", "harness/container",
		"harness", "verdict", "reports"}, "it wires all"},
}

// A ban keeps imports out of all packages but some. Names stand for themselves and all below them if
// they end in a slash.
type ban struct {
	imports []string
	in      []string // packages that it is about; nil: all
	but     []string // packages that it is not about
	reason  string
}

var bans = []ban{
	{imports: []string{"testing", "testing/", "github.com/stretchr/"},
		reason: "a program has no *testing.T; code that needs one cannot be used outside tests"},
	{imports: []string{"golang.org/x/sys/unix", "github.com/vishvananda/"},
		but: []string{"harness", "harness/", "cmd/simrun"}, reason: "all else must work on any system"},
	{imports: []string{"github.com/testcontainers/", "github.com/containerd/", "github.com/docker/", "github.com/moby/"},
		but: []string{"harness/container"}, reason: "the Docker SDK stays out of everything else"},
	{imports: []string{"github.com/dop251/goja"},
		but: []string{"harness/pac"}, reason: "scripts of others run in a process of their own"},
	{imports: []string{"github.com/Shopify/toxiproxy/"},
		but: []string{"harness/lab"}, reason: "toxics have one home, so that no other code meets their traps"},
	{imports: []string{"github.com/spf13/"},
		but: []string{"cmd/simrun"}, reason: "flags are the command's business"},
	{imports: []string{"os", "os/", "net", "net/http", "syscall", "time", "math/rand", "math/rand/v2"},
		in: []string{"reports"}, reason: "a report depends on nothing but the records"},
	{imports: []string{"os", "os/", "net", "net/http", "syscall", "math/rand", "math/rand/v2"},
		in: []string{"verdict"}, reason: "a verdict depends on nothing but the records"},
	{imports: []string{"math/rand"}, reason: "chance comes in as a seeded *rand.Rand of math/rand/v2"},
}

func TestImports(t *testing.T) {
	packages := listPackages(t)
	require.NotEmpty(t, packages)
	for _, p := range packages {
		for _, wrong := range wrongImports(p) {
			t.Error(wrong)
		}
	}
}

// Off Linux, simrun has no labs, so it needs nothing that makes them.
func TestOtherSystemsHaveNoLabs(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", ".")
	cmd.Env = append(cmd.Environ(), "GOOS=darwin", "GOARCH=arm64")
	out, err := cmd.Output()
	require.NoError(t, err)
	deps := strings.Fields(string(out))
	assert.Contains(t, deps, module+"/harness")
	for _, path := range deps {
		for _, banned := range []string{"github.com/vishvananda/", "github.com/Shopify/", "github.com/dop251/goja", module + "/harness/pac", module + "/dnsfake"} {
			assert.Falsef(t, strings.HasPrefix(path, banned), "%s is linked into simrun for darwin", path)
		}
	}
}

// wrongImports returns a line for each import that breaks a rule.
func wrongImports(p goPackage) []string {
	name := strings.TrimPrefix(p.ImportPath, module+"/")
	rule, ok := layers[name]
	if !ok {
		return []string{fmt.Sprintf("package %s is in no layer: say in layers what it may import", name)}
	}
	var wrong []string
	for _, path := range p.Imports {
		if ours, ok := strings.CutPrefix(path, module+"/"); ok && !slices.Contains(rule.may, ours) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: %s", name, ours, rule.reason))
		}
		for _, b := range bans {
			if b.forbids(name, path) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s: %s", name, path, b.reason))
			}
		}
	}
	return wrong
}

func (b ban) forbids(name, path string) bool {
	return (b.in == nil || among(b.in, name)) && !among(b.but, name) && among(b.imports, path)
}

func among(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		return p == path || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p)
	})
}

// listPackages asks the go command about the packages of this module.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %s", exit.Stderr)
	}
	require.NoError(t, err)
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
}

// The rules must be able to fail.
func TestWrongImports(t *testing.T) {
	tests := []struct {
		name, imports string
		wrong         int
	}{
		{"scenarios", "fmt", 0},
		{"scenarios", module + "/record", 1},
		{"record", module + "/scenarios", 0},
		{"verdict", module + "/harness", 1},
		{"verdict", "os", 1},
		{"verdict", "time", 0},
		{"reports", "os/exec", 1},
		{"reports", "time", 1},
		{"dnsfake", module + "/fakeupstream", 1},
		{"dnsfake", "testing/fstest", 1},
		{"dnsfake", "golang.org/x/sys/unix", 1},
		{"harness/lab", "golang.org/x/sys/unix", 0},
		{"harness/lab", "math/rand", 1},
		{"harness", "github.com/testcontainers/testcontainers-go", 1},
		{"harness/container", "github.com/testcontainers/testcontainers-go", 0},
		{"newcomer", "fmt", 1},
	}
	for _, test := range tests {
		p := goPackage{ImportPath: module + "/" + test.name, Imports: []string{test.imports}}
		assert.Len(t, wrongImports(p), test.wrong, "%s imports %s", test.name, test.imports)
	}
}
