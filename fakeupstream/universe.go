package fakeupstream

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/simrun/simrun/scenarios"
)

// A Universe is a set of modules on disk, and the module that needs them all. It can be passed to
// another process as JSON.
type Universe struct {
	Dir     string   // that Generate filled; empty for a user's own modules
	Proxy   string   // directory for ModuleProxy.Tree
	Git     string   // directory for VCS.Dir; empty if there are no repositories
	Project string   // directory of the module that needs the others
	Modules []Module // in the order of their paths and versions
}

// A Module is one version of a module.
type Module struct {
	Path     string
	Version  string
	Private  bool
	Sum      string // h1: hash of the zip file, as in go.sum; empty if only the go.mod file is needed
	GoModSum string // h1: hash of the go.mod file, as in go.sum
}

// IsPrivate reports whether the universe has a private module with this path.
func (u *Universe) IsPrivate(path string) bool {
	i, ok := slices.BinarySearchFunc(u.Modules, path, func(m Module, path string) int {
		return strings.Compare(m.Path, path)
	})
	return ok && u.Modules[i].Private
}

// sortModules sorts by path, and by version within a path.
func sortModules(modules []Module) {
	slices.SortFunc(modules, func(a, b Module) int {
		return cmp.Or(
			strings.Compare(a.Path, b.Path),
			semver.Compare(a.Version, b.Version),
			strings.Compare(a.Version, b.Version), // semver leaves build metadata out
		)
	})
}

// The parts of a generated universe's directory.
const (
	proxyDir     = "proxy"
	gitDir       = "git"
	projectDir   = "project"
	manifestFile = "universe.json" // written last, so that it marks a complete directory
)

// GeneratorVersion changes whenever Generate makes other bytes of the same input.
const GeneratorVersion = 2

// A manifest is the content of universe.json.
type manifest struct {
	Version int               `json:"version"`
	Spec    scenarios.Modules `json:"spec"`
	Hosts   Hosts             `json:"hosts"`
	Modules []Module          `json:"modules"`
}

// OpenUniverse opens a directory that [Generate] made. The error is an [fs.ErrNotExist] if there is no
// universe in dir.
func OpenUniverse(dir string) (*Universe, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, fmt.Errorf("open universe %q: %w", dir, err)
	}
	return newUniverse(dir, m.Modules), nil
}

func newUniverse(dir string, modules []Module) *Universe {
	u := &Universe{
		Dir:     dir,
		Proxy:   filepath.Join(dir, proxyDir),
		Git:     filepath.Join(dir, gitDir),
		Project: filepath.Join(dir, projectDir),
		Modules: modules,
	}
	if _, err := os.Stat(u.Git); errors.Is(err, fs.ErrNotExist) {
		u.Git = ""
	}
	return u
}

func readManifest(dir string) (*manifest, error) {
	data, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("read %s: %w", manifestFile, err)
	}
	if m.Version != GeneratorVersion {
		return nil, fmt.Errorf("%s has version %d, want %d; remove the directory, and it is made anew", manifestFile, m.Version, GeneratorVersion)
	}
	return &m, nil
}

func writeManifest(dir string, m *manifest) error {
	data, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, manifestFile), append(data, '\n'), 0o644)
}

func (m Module) version() module.Version { return module.Version{Path: m.Path, Version: m.Version} }
