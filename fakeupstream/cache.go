package fakeupstream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// FromCache returns the modules that "go mod tidy" needs in projectDir, as they are in the module cache
// modCache (the value of GOMODCACHE), from where they are served; there are no repositories. Modules
// whose paths match private, a list of globs as in GOPRIVATE, are private.
//
// To learn what is needed, FromCache runs the go command goCmd on a copy of go.mod and go.sum, without a
// network. Neither the project nor the cache's modules are changed.
//
// What is needed and not in the cache is returned beside the universe; see [DownloadCommand].
// The universe then serves the rest.
func FromCache(ctx context.Context, projectDir, modCache, goCmd, private string) (*Universe, []module.Version, error) {
	modules, err := needed(ctx, projectDir, modCache, goCmd)
	if err != nil {
		return nil, nil, fmt.Errorf("find the modules of %q in the module cache: %w", projectDir, err)
	}
	u := &Universe{
		Proxy:   filepath.Join(modCache, "cache", "download"),
		Project: projectDir,
		Modules: modules,
	}
	var missing []module.Version
	for i, m := range u.Modules {
		u.Modules[i].Private = module.MatchPrefixPatterns(private, m.Path)
		ok, err := cached(u.Proxy, m)
		if err != nil {
			return nil, nil, fmt.Errorf("look for %v in the module cache: %w", m.version(), err)
		}
		if !ok {
			missing = append(missing, m.version())
		}
	}
	return u, missing, nil
}

// DownloadCommand returns the command that brings modules, at least one, into the module cache.
func DownloadCommand(modules []module.Version) string {
	words := []string{"go mod download"}
	for _, m := range modules {
		words = append(words, m.String())
	}
	return strings.Join(words, " ")
}

// cached reports whether a proxy tree has the files of m that are needed.
func cached(tree string, m Module) (bool, error) {
	dir, err := versionDir(tree, m.Path)
	if err != nil {
		return false, err
	}
	version, err := module.EscapeVersion(m.Version)
	if err != nil {
		return false, err
	}
	files := []endpoint{endpointMod}
	if m.Sum != "" {
		files = append(files, endpointZip)
	}
	for _, ext := range files {
		_, err := os.Stat(filepath.Join(dir, version+string(ext)))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// needed returns the modules of which a tidy project needs anything. If something is not in the cache,
// the answer may hold more than that, but at least one module that is not in the cache.
func needed(ctx context.Context, projectDir, modCache, goCmd string) ([]Module, error) {
	tidySum, tidyErr := tidyOffline(ctx, projectDir, modCache, goCmd)
	if tidyErr == nil {
		return parseGoSum(tidySum)
	}
	if ctx.Err() != nil {
		return nil, tidyErr
	}
	modules, err := listed(projectDir)
	if err != nil {
		return nil, errors.Join(err, tidyErr)
	}
	tree := filepath.Join(modCache, "cache", "download")
	complete := !slices.ContainsFunc(modules, func(m Module) bool {
		ok, err := cached(tree, m)
		return err == nil && !ok
	})
	if complete {
		return nil, tidyErr // then it is not the cache that keeps the project from being tidy
	}
	return modules, nil
}

// tidyOffline returns the go.sum that "go mod tidy" makes with what is in the cache. The lines of that
// file are exactly the go.mod and zip files that the command would have to download.
func tidyOffline(ctx context.Context, projectDir, modCache, goCmd string) (goSum []byte, err error) {
	tmp, err := os.MkdirTemp("", "fakeupstream-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := copyModFiles(tmp, projectDir); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, goCmd, "mod", "tidy", "-modfile="+filepath.Join(tmp, "go.mod"))
	cmd.Dir = projectDir
	cmd.Env = offline(tmp, modCache)
	cmd.WaitDelay = time.Second
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go mod tidy without a network: %w\n%s", err, strings.TrimSpace(string(output)))
	}
	goSum, err = os.ReadFile(filepath.Join(tmp, "go.sum"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // of a project without requirements
	}
	return goSum, err
}

func copyModFiles(dst, src string) error {
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(src, name))
		if errors.Is(err, fs.ErrNotExist) && name == "go.sum" {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dst, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// offline returns an environment in which a go command sees the cache and nothing else. Without a HOME it has no telemetry,
// for which it would start another go command, which may outlive it.
func offline(tmp, modCache string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"GOPATH=" + filepath.Join(tmp, "gopath"), // not tmp: go.mod files in GOPATH are ignored
		"GOCACHE=" + filepath.Join(tmp, "cache"),
		"GOMODCACHE=" + modCache,
		"GOENV=off",
		"GOFLAGS=",
		"GOPROXY=off",
		"GOSUMDB=off",
		"GOTOOLCHAIN=local",
		"GOWORK=off",
	}
}

// listed returns the modules that go.sum and go.mod name.
func listed(projectDir string) ([]Module, error) {
	goSum, err := os.ReadFile(filepath.Join(projectDir, "go.sum"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	modules, err := parseGoSum(goSum)
	if err != nil {
		return nil, err
	}
	requirements, err := requirements(filepath.Join(projectDir, "go.mod"))
	if err != nil {
		return nil, err
	}
	for _, r := range requirements {
		known := slices.ContainsFunc(modules, func(m Module) bool { return m.version() == r })
		if !known {
			modules = append(modules, Module{Path: r.Path, Version: r.Version})
		}
	}
	sortModules(modules)
	return modules, nil
}

// requirements returns the modules that a go.mod file requires, after its replacements.
func requirements(goMod string) ([]module.Version, error) {
	data, err := os.ReadFile(goMod)
	if err != nil {
		return nil, err
	}
	f, err := modfile.Parse(goMod, data, nil)
	if err != nil {
		return nil, err
	}
	var versions []module.Version
	for _, r := range f.Require {
		m := replaced(f, r.Mod)
		if m.Version != "" { // a directory has no version
			versions = append(versions, m)
		}
	}
	return versions, nil
}

func replaced(f *modfile.File, m module.Version) module.Version {
	for _, r := range f.Replace {
		if r.Old.Path == m.Path && (r.Old.Version == "" || r.Old.Version == m.Version) {
			return r.New
		}
	}
	return m
}

// parseGoSum reads a go.sum file. Like the go command, it skips empty lines; unlike it, it knows only
// the one kind of hash that there is.
func parseGoSum(data []byte) ([]Module, error) {
	found := make(map[module.Version]*Module)
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 || !strings.HasPrefix(fields[2], "h1:") {
			return nil, fmt.Errorf("go.sum:%d: want a module, a version and an h1: hash, got %q", number, line)
		}
		version, isGoMod := strings.CutSuffix(fields[1], "/go.mod")
		key := module.Version{Path: fields[0], Version: version}
		if err := module.Check(key.Path, key.Version); err != nil {
			return nil, fmt.Errorf("go.sum:%d: %w", number, err)
		}
		m := found[key]
		if m == nil {
			m = &Module{Path: key.Path, Version: key.Version}
			found[key] = m
		}
		if isGoMod {
			m.GoModSum = fields[2]
		} else {
			m.Sum = fields[2]
		}
	}
	modules := make([]Module, 0, len(found))
	for _, m := range found {
		modules = append(modules, *m)
	}
	sortModules(modules)
	return modules, nil
}
