package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Go is a go command of this machine, with the settings that it has by itself.
type Go struct {
	Path     string // of the go command, absolute and without symbolic links
	Version  string // such as go1.26.8
	Root     string // GOROOT
	Proxy    string // GOPROXY of its go.env
	SumDB    string // GOSUMDB of its go.env
	ModCache string // where this user's module cache is
}

// FindGo looks at a go command: at path, or at the one on PATH if path is empty.
func FindGo(ctx context.Context, path string) (*Go, error) {
	if path == "" {
		path = "go"
	}
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
	own, err := g.env(ctx, "HOME="+os.TempDir(), "GOENV=off", "GOTOOLCHAIN=local", "PATH="+os.Getenv("PATH"))
	if err != nil {
		return nil, err
	}
	g.Version, g.Root, g.Proxy, g.SumDB = own["GOVERSION"], own["GOROOT"], own["GOPROXY"], own["GOSUMDB"]
	users, err := g.env(ctx, append(os.Environ(), "GOTOOLCHAIN=local")...)
	if err != nil {
		return nil, err
	}
	g.ModCache = users["GOMODCACHE"]
	return g, nil
}

// env asks the go command for its settings under an environment.
func (g *Go) env(ctx context.Context, environ ...string) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, g.Path, "env", "-json", "GOVERSION", "GOROOT", "GOPROXY", "GOSUMDB", "GOMODCACHE")
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
