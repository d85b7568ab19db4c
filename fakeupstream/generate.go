package fakeupstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
	"golang.org/x/sync/errgroup"

	"github.com/simrun/simrun/scenarios"
)

// Hosts is the version control hosts below which the paths of generated modules lie, such as github.com
// and git.corp.example.
type Hosts struct {
	Public  []string `json:"public"`
	Private []string `json:"private"`
}

// goVersion is the language version of all that is generated: that of the oldest go command which knows
// GOTOOLCHAIN.
const goVersion = "1.21"

// organisations is where public modules live on their host. One has upper-case letters, for the case
// encoding of the GOPROXY protocol.
var organisations = []string{"acme", "BlueHarbor", "quillpad", "stonebridge"}

// Generate makes the universe that spec describes in dir, which must not exist yet, or opens it if an
// earlier call made it. The same spec and hosts always make the same bytes, whatever dir is.
//
// Modules of a kind, public or private, form chains of spec.Depth, each of which requires the next of its
// chain; the project requires the newest version of the head of each chain. There is no go.sum. Without a
// git command on the machine there are no repositories, and Universe.Git is empty.
//
// The directory appears whole or not at all, also if Generate is interrupted or called twice at once.
// It is an error if dir holds anything else, a universe of another spec included.
func Generate(ctx context.Context, dir string, spec scenarios.Modules, hosts Hosts) (*Universe, error) {
	if err := check(spec, hosts); err != nil {
		return nil, fmt.Errorf("generate universe %q: %w", dir, err)
	}
	u, err := openMatching(dir, spec, hosts)
	if !errors.Is(err, fs.ErrNotExist) {
		return u, err
	}
	if err := generate(ctx, dir, spec, hosts); err != nil {
		// Another call may have been faster.
		if u, err := openMatching(dir, spec, hosts); err == nil {
			return u, nil
		}
		return nil, fmt.Errorf("generate universe %q: %w", dir, err)
	}
	return OpenUniverse(dir)
}

func check(spec scenarios.Modules, hosts Hosts) error {
	switch {
	case spec.Public < 0 || spec.Private < 0:
		return fmt.Errorf("%d public and %d private modules, want none or more", spec.Public, spec.Private)
	case spec.Versions < 1:
		return fmt.Errorf("%d versions, want at least 1", spec.Versions)
	case spec.Depth < 1:
		return fmt.Errorf("depth %d, want at least 1", spec.Depth)
	case spec.ZipSize < 0 || spec.ZipSize > modzip.MaxZipFile/2:
		return fmt.Errorf("zip size %d, want 0 to %d", spec.ZipSize, modzip.MaxZipFile/2)
	case spec.Public > 0 && len(hosts.Public) == 0:
		return fmt.Errorf("%d public modules, but no public host", spec.Public)
	case spec.Private > 0 && len(hosts.Private) == 0:
		return fmt.Errorf("%d private modules, but no private host", spec.Private)
	}
	return nil
}

// openMatching opens a universe that was made from the same input.
func openMatching(dir string, spec scenarios.Modules, hosts Hosts) (*Universe, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, fmt.Errorf("open universe %q: %w", dir, err)
	}
	same := m.Spec == spec && slices.Equal(m.Hosts.Public, hosts.Public) && slices.Equal(m.Hosts.Private, hosts.Private)
	if !same {
		return nil, fmt.Errorf("open universe %q: it was generated from other modules or hosts", dir)
	}
	return newUniverse(dir, m.Modules), nil
}

// tmpInfix comes between the name of a directory and the random end of its temporary sibling's.
const tmpInfix = ".tmp-"

// staleAfter is more than any universe takes to make.
const staleAfter = time.Hour

// removeStale removes the temporary directories of calls that were killed. One that cannot be removed does
// no harm here.
func removeStale(parent, prefix string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > staleAfter {
			_ = os.RemoveAll(filepath.Join(parent, e.Name()))
		}
	}
}

func generate(ctx context.Context, dir string, spec scenarios.Modules, hosts Hosts) error {
	return whole(dir, func(tmp string) error { return populate(ctx, tmp, spec, hosts) })
}

// whole makes a directory by filling a sibling of it, which is renamed at the end.
func whole(dir string, fill func(tmp string) error) (err error) {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	removeStale(parent, filepath.Base(dir)+tmpInfix)
	tmp, err := os.MkdirTemp(parent, filepath.Base(dir)+tmpInfix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := fill(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// populate fills dir.
func populate(ctx context.Context, dir string, spec scenarios.Modules, hosts Hosts) error {
	sources := plan(spec, hosts)
	modules, err := writeModules(ctx, dir, spec, sources)
	if err != nil {
		return err
	}
	if spec.Toolchain != "" {
		if modules, err = addToolchains(filepath.Join(dir, proxyDir), spec.Toolchain, modules); err != nil {
			return fmt.Errorf("write the toolchain: %w", err)
		}
	}
	if err := writeProject(filepath.Join(dir, projectDir), spec, sources, modules); err != nil {
		return fmt.Errorf("write the project: %w", err)
	}
	return writeManifest(dir, &manifest{Version: GeneratorVersion, Spec: spec, Hosts: hosts, Modules: modules})
}

// A source is a module with all its versions.
type source struct {
	path     string
	private  bool
	head     bool      // of a chain: the project requires it
	requires string    // path of the next in the chain; empty for the last
	created  time.Time // of the first version
}

func plan(spec scenarios.Modules, hosts Hosts) []source {
	public := func(i int) string {
		host := hosts.Public[i%len(hosts.Public)]
		return fmt.Sprintf("%s/%s/lib%03d", host, organisations[i%len(organisations)], i+1)
	}
	private := func(i int) string {
		return fmt.Sprintf("%s/team/secret%03d", hosts.Private[i%len(hosts.Private)], i+1)
	}
	return append(chains(spec.Public, spec.Depth, false, public), chains(spec.Private, spec.Depth, true, private)...)
}

// chains plans n modules in chains of a length; the last chain may be shorter.
func chains(n, length int, private bool, path func(i int) string) []source {
	epoch := time.Date(2024, time.January, 1, 12, 0, 0, 0, time.UTC)
	sources := make([]source, n)
	for i := range sources {
		sources[i] = source{
			path:    path(i),
			private: private,
			head:    i%length == 0,
			created: epoch.Add(time.Duration(i) * time.Minute),
		}
		if (i+1)%length != 0 && i+1 < n {
			sources[i].requires = path(i + 1)
		}
	}
	return sources
}

// writeModules writes the proxy tree and the repositories of all sources.
func writeModules(ctx context.Context, dir string, spec scenarios.Modules, sources []source) ([]Module, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	made := make([][]Module, len(sources))
	for i, s := range sources {
		group.Go(func() (err error) {
			made[i], err = writeModule(ctx, dir, spec, s)
			if err != nil {
				return fmt.Errorf("write module %s: %w", s.path, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	modules := slices.Concat(made...)
	sortModules(modules)
	return modules, nil
}

func writeModule(ctx context.Context, dir string, spec scenarios.Modules, s source) (modules []Module, err error) {
	repo, err := createRepository(ctx, filepath.Join(dir, gitDir), s.path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	for i := range spec.Versions {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := s.release(spec, i)
		if err != nil {
			return nil, err
		}
		m, err := writeRelease(filepath.Join(dir, proxyDir), r)
		if err != nil {
			return nil, err
		}
		m.Private = s.private
		modules = append(modules, m)
		if err := repo.Commit(r); err != nil {
			return nil, err
		}
		repo.Tag(r)
	}
	return modules, nil
}

func versionName(i int) string { return fmt.Sprintf("v1.%d.0", i) }

// A release is one version of a module with its files.
type release struct {
	module.Version
	time  time.Time
	files []memFile
}

const license = "Public domain.\n"

// release makes version i of a source.
func (s source) release(spec scenarios.Modules, i int) (release, error) {
	version := versionName(i)
	code, err := s.code(version)
	if err != nil {
		return release{}, err
	}
	return release{
		Version: module.Version{Path: s.path, Version: version},
		time:    s.created.AddDate(0, i, 0),
		files: []memFile{
			{"LICENSE", []byte(license)},
			{"data.bin", noise(spec, s.path, version)},
			{"go.mod", s.goMod(version)},
			{s.name() + ".go", code},
		},
	}, nil
}

// name returns the package name.
func (s source) name() string { return path.Base(s.path) }

func (s source) goMod(version string) []byte {
	text := fmt.Sprintf("module %s\n\ngo %s\n", s.path, goVersion)
	if s.requires != "" {
		text += fmt.Sprintf("\nrequire %s %s\n", s.requires, version)
	}
	return []byte(text)
}

func (s source) code(version string) ([]byte, error) {
	text := fmt.Sprintf("// Package %s is generated.\npackage %[1]s\n\n", s.name())
	next := "0"
	if s.requires != "" {
		text += fmt.Sprintf("import %q\n\n", s.requires)
		next = path.Base(s.requires) + ".Depth()"
	}
	text += fmt.Sprintf("// Version is the version of this module.\nconst Version = %q\n\n", version)
	text += fmt.Sprintf("// Depth returns the length of the chain of modules from this one on.\nfunc Depth() int { return 1 + %s }\n", next)
	return format.Source([]byte(text))
}

// overhead is how many bytes larger a zip file is than the data in it, roughly.
const overhead = 1024

// noise returns bytes that do not compress, so many that the zip file has between half and one and a half
// times the size that spec asks for.
func noise(spec scenarios.Modules, path, version string) []byte {
	seed := sha256.Sum256(fmt.Appendf(nil, "%d %s@%s", spec.Seed, path, version))
	source := rand.NewChaCha8(seed)
	size := int64(spec.ZipSize)/2 + rand.New(source).Int64N(int64(spec.ZipSize)+1)
	data := make([]byte, max(0, size-overhead))
	source.Read(data)
	return data
}

// writeRelease adds a release to a proxy tree.
func writeRelease(tree string, r release) (Module, error) {
	dir, err := versionDir(tree, r.Path)
	if err != nil {
		return Module{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Module{}, err
	}
	m, err := r.module()
	if err != nil {
		return Module{}, err
	}
	if err := writeZip(filepath.Join(dir, r.Version.Version+".zip"), r); err != nil {
		return Module{}, err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{r.Version.Version, r.time})
	if err != nil {
		return Module{}, err
	}
	return m, errors.Join(
		os.WriteFile(filepath.Join(dir, r.Version.Version+".info"), info, 0o644),
		os.WriteFile(filepath.Join(dir, r.Version.Version+".mod"), r.file("go.mod"), 0o644),
		os.WriteFile(filepath.Join(dir, r.Version.Version+".ziphash"), []byte(m.Sum), 0o644),
		appendLine(filepath.Join(dir, "list"), r.Version.Version),
	)
}

// versionDir returns the directory of a module's versions in a proxy tree.
func versionDir(tree, path string) (string, error) {
	escaped, err := module.EscapePath(path)
	if err != nil {
		return "", err
	}
	return filepath.Join(tree, filepath.FromSlash(escaped), "@v"), nil
}

func appendLine(name, line string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, line+"\n")
	return errors.Join(err, f.Close())
}

func writeZip(name string, r release) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	files := make([]modzip.File, len(r.files))
	for i, file := range r.files {
		files[i] = file
	}
	return errors.Join(modzip.Create(f, r.Version, files), f.Close())
}

func (r release) file(name string) []byte {
	for _, f := range r.files {
		if f.name == name {
			return f.data
		}
	}
	return nil
}

// module returns what go.sum says of the release.
func (r release) module() (Module, error) {
	contents := make(map[string][]byte, len(r.files))
	var names []string
	for _, f := range r.files {
		name := r.String() + "/" + f.name
		contents[name] = f.data
		names = append(names, name)
	}
	sum, err := dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(contents[name])), nil
	})
	if err != nil {
		return Module{}, err
	}
	goModSum, err := hashGoMod(r.file("go.mod"))
	return Module{Path: r.Path, Version: r.Version.Version, Sum: sum, GoModSum: goModSum}, err
}

// hashGoMod returns the h1: hash of a go.mod file.
func hashGoMod(data []byte) (string, error) {
	return dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	})
}

// A memFile is a file of a release. It implements modzip.File and fs.FileInfo.
type memFile struct {
	name string
	data []byte
}

// The methods of modzip.File and fs.FileInfo.
func (f memFile) Path() string                 { return f.name }
func (f memFile) Lstat() (fs.FileInfo, error)  { return f, nil }
func (f memFile) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.data)), nil }
func (f memFile) Name() string                 { return f.name }
func (f memFile) Size() int64                  { return int64(len(f.data)) }
func (f memFile) Mode() fs.FileMode            { return 0o644 }
func (f memFile) ModTime() time.Time           { return time.Time{} }
func (f memFile) IsDir() bool                  { return false }
func (f memFile) Sys() any                     { return nil }
