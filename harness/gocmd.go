package harness

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"go/version"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/simrun/simrun/harness/lab"
)

// Go is a go command of this machine, with the settings that it has by itself.
type Go struct {
	Path     string // of the go command, absolute and without symbolic links
	Version  string // such as go1.26.8
	Root     string // GOROOT
	Proxy    string // GOPROXY of its go.env
	SumDB    string // GOSUMDB of its go.env
	ModCache string // where this user's module cache is
	Private  string // this user's GOPRIVATE
}

// FindGo looks at a go command: name is its path, or a release such as 1.25.5, or empty for the one on PATH.
// A release that is not there is fetched by the go command on PATH, by the settings of this user.
func FindGo(ctx context.Context, name string) (*Go, error) {
	if release, ok := releaseName(name); ok {
		return findRelease(ctx, release)
	}
	path := cmp.Or(name, "go")
	found, err := exec.LookPath(path)
	if err != nil {
		return nil, fmt.Errorf("find the go command: %w; install Go (https://go.dev/dl) or name one with --go", err)
	}
	if found, err = filepath.EvalSymlinks(found); err != nil {
		return nil, fmt.Errorf("find the go command: %w", err)
	}
	if found, err = filepath.Abs(found); err != nil {
		return nil, fmt.Errorf("find the go command: %w", err)
	}
	g := &Go{Path: found}
	own, err := g.env(ctx, "GOENV=off", "GOTOOLCHAIN=local", "PATH="+os.Getenv("PATH")) // without HOME: telemetry would write there
	if err != nil {
		return nil, err
	}
	g.Version, g.Root, g.Proxy, g.SumDB = own["GOVERSION"], own["GOROOT"], own["GOPROXY"], own["GOSUMDB"]
	users, err := g.env(ctx, append(os.Environ(), "GOTOOLCHAIN=local")...)
	if err != nil {
		return nil, err
	}
	g.ModCache, g.Private = users["GOMODCACHE"], users["GOPRIVATE"]
	return g, nil
}

// releaseName reports whether a name is that of a release of Go, such as 1.25.5 or go1.26rc1, and returns it
// with "go" in front, see https://go.dev/doc/toolchain#version.
func releaseName(name string) (release string, ok bool) {
	release = "go" + strings.TrimPrefix(name, "go")
	return release, version.IsValid(release) && version.Lang(release) != release
}

// findRelease returns the go command of a release. One that has to switch to another toolchain fetches it
// first, as a module: cmd/go/internal/toolchain/select.go.
func findRelease(ctx context.Context, release string) (*Go, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOROOT")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+release)
	cmd.Dir = "/"
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("fetch %s with the go command on PATH: %w\n%s", release, err, strings.TrimSpace(complaint.String()))
	}
	g, err := FindGo(ctx, filepath.Join(strings.TrimSpace(string(out)), "bin", "go"))
	if err == nil && g.Version != release {
		err = fmt.Errorf("%s is %s and not %s", g.Path, g.Version, release)
	}
	return g, err
}

// env asks the go command for its settings under an environment.
func (g *Go) env(ctx context.Context, environ ...string) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, g.Path, "env", "-json", "GOVERSION", "GOROOT", "GOPROXY", "GOSUMDB", "GOMODCACHE", "GOPRIVATE")
	cmd.Env = environ
	cmd.Dir = "/"
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its settings: %w", g.Path, err)
	}
	var vars map[string]string
	if err := json.Unmarshal(out, &vars); err != nil {
		return nil, fmt.Errorf("ask %s for its settings: %w", g.Path, err)
	}
	return vars, nil
}

// proxyTree is where the client host has the modules as files: $file-proxy.
const proxyTree = lab.Root + "/proxy"

// Vars returns what $go-proxy, $go-sumdb and $file-proxy stand for in worlds, scenarios and configs. A
// variable is missing where the go command's own settings name no such host: the caller supplies it then.
func (g *Go) Vars() map[string]string {
	vars := map[string]string{"file-proxy": "file://" + proxyTree}
	first, _, _ := strings.Cut(strings.ReplaceAll(g.Proxy, "|", ","), ",")
	if u, err := url.Parse(first); err == nil && u.Host != "" {
		vars["go-proxy"] = u.Host
	}
	if name := strings.Fields(g.SumDB); len(name) > 0 && name[0] != "off" {
		vars["go-sumdb"], _, _ = strings.Cut(name[0], "+")
	}
	return vars
}
