//go:build linux

package harness

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/scenarios"
)

// warmCache returns a folder that holds the module cache which a "go mod tidy" of the project leaves: a real
// one is run once, with the modules in a folder. It is empty if no config wants one.
func (s *stages) warmCache(ctx context.Context, project *scenarios.Project, u *fakeupstream.Universe) (string, error) {
	wants := func(c *scenarios.Config) bool { return c.Cache == scenarios.CacheWarm }
	if !slices.ContainsFunc(s.options.Configs, wants) {
		return "", nil
	}
	g := s.options.Go[0]
	made := filepath.Join(s.options.CacheDir, "modcache-"+projectDigest(project, u)+"-"+g.Version)
	if _, err := os.Stat(made); !errors.Is(err, fs.ErrNotExist) {
		return made, err
	}
	dir, err := os.MkdirTemp(s.options.CacheDir, "modcache.tmp-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := fillCache(ctx, g, u, dir); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(dir, "mod"), made); err != nil {
		if _, known := os.Stat(made); known == nil {
			return made, nil // another run was faster
		}
		return "", err
	}
	return made, nil
}

// fillCache runs "go mod tidy" on a copy of the project, with the module cache in folder mod of dir.
func fillCache(ctx context.Context, g *Go, u *fakeupstream.Universe, dir string) error {
	if err := copyProject(u.Project, filepath.Join(dir, "project")); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "mod"), 0o755); err != nil {
		return err // a project without requirements leaves no cache behind
	}
	cmd := exec.CommandContext(ctx, g.Path, "mod", "tidy")
	cmd.Dir = filepath.Join(dir, "project")
	cmd.Env = []string{"PATH=" + clientPath(g), "GOPATH=" + dir, "GOMODCACHE=" + filepath.Join(dir, "mod"),
		"GOCACHE=" + filepath.Join(dir, "gocache"), "GOPROXY=file://" + u.Proxy, "GOSUMDB=off", "GOENV=off",
		"GOTOOLCHAIN=auto", "GOFLAGS=-modcacherw"} // auto: the project may want a toolchain of the modules; no HOME: see furnish
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go mod tidy: %w\n%s", err, output)
	}
	return nil
}

// furnishCache puts what the module cache holds at the start into place.
func furnishCache(s *spec) error {
	if s.Warm != "" {
		if err := os.MkdirAll(modCache, 0o755); err != nil {
			return err
		}
		if err := lab.Show(s.Warm, modCache); err != nil {
			return err
		}
	}
	for i := range s.Faults {
		if c := s.Faults[i].Client; c != nil && c.Cache.AboutModule() {
			return damageCache(s.Universe, c.Cache)
		}
	}
	return nil
}

// aModule returns the module that faults of the module cache are about.
func aModule(u *fakeupstream.Universe) (fakeupstream.Module, error) {
	at := slices.IndexFunc(u.Modules, func(m fakeupstream.Module) bool { return !m.Private && m.Sum != "" && !m.IsToolchain() })
	if at < 0 {
		at = slices.IndexFunc(u.Modules, func(m fakeupstream.Module) bool { return m.Sum != "" })
	}
	if at < 0 {
		return fakeupstream.Module{}, errors.New("the project needs no module that could be in the cache")
	}
	for at+1 < len(u.Modules) && u.Modules[at+1].Path == u.Modules[at].Path { // they are in the order of their versions
		at++
	}
	return u.Modules[at], nil
}

// damagedFile returns the file by which the go command learns of a cache fault.
func damagedFile(u *fakeupstream.Universe, f scenarios.CacheFault) (string, error) {
	m, err := aModule(u)
	if err != nil {
		return "", err
	}
	ext := ".ziphash"
	if f == scenarios.CacheGarbledMod {
		ext = ".mod"
	}
	name, err := cacheFile(m.Path, m.Version, ext)
	return filepath.Join(downloadCache, name), err
}

// longAgo is the access time of a file that nobody has read. The kernel writes a new one at the first reading,
// as the file was changed later: see relatime in mount(8).
var longAgo = time.Date(2001, time.January, 1, 0, 0, 0, 0, time.UTC)

// damageCache puts a module into the download cache that something is wrong with.
func damageCache(u *fakeupstream.Universe, f scenarios.CacheFault) error {
	m, err := aModule(u)
	if err != nil {
		return err
	}
	for _, ext := range []string{".info", ".mod", ".zip", ".ziphash"} {
		name, err := cacheFile(m.Path, m.Version, ext)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(filepath.Join(u.Proxy, name))
		if ext == ".info" && errors.Is(err, fs.ErrNotExist) {
			continue // a module cache has it only where somebody asked for it
		}
		if err != nil {
			return err
		}
		if err := replaceFile(filepath.Join(downloadCache, name), content); err != nil {
			return err
		}
	}
	if err := spoil(m, f); err != nil {
		return err
	}
	unpacked, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(modCache, unpacked+"@"+m.Version)); err != nil { // so that it is unpacked anew
		return err
	}
	file, err := damagedFile(u, f)
	if err != nil {
		return err
	}
	return os.Chtimes(file, longAgo, time.Now())
}

// portalPage is what a captive portal answers to every request.
const portalPage = "<!DOCTYPE html><html><body>Please log in.</body></html>\n"

// spoil damages a module that is in the download cache.
func spoil(m fakeupstream.Module, f scenarios.CacheFault) error {
	file := func(ext string) string {
		name, _ := cacheFile(m.Path, m.Version, ext) // it was good a moment ago
		return filepath.Join(downloadCache, name)
	}
	switch f {
	case scenarios.CacheGarbledMod:
		return replaceFile(file(".mod"), []byte(portalPage))
	case scenarios.CacheGarbledSum: // of the length of a hash, or the go command makes it anew
		return replaceFile(file(".ziphash"), []byte(strings.Replace(m.Sum, "h1:", "h2:", 1)))
	case scenarios.CacheEmptySum:
		return replaceFile(file(".ziphash"), nil)
	case scenarios.CacheTampered:
		if err := tamper(file(".zip")); err != nil {
			return err
		}
		sum, err := dirhash.HashZip(file(".zip"), dirhash.Hash1)
		if err != nil {
			return err
		}
		return replaceFile(file(".ziphash"), []byte(sum))
	}
	return fmt.Errorf("a module with the fault %q cannot be made", f)
}

// replaceFile writes a file anew, whatever was there.
func replaceFile(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(name, content, 0o644)
}

// tamper adds a line to each file of Go code in a module's zip file.
func tamper(name string) (err error) {
	old, err := zip.OpenReader(name)
	if err != nil {
		return err
	}
	defer old.Close()
	if err := fakeupstream.CheckZip(old.File); err != nil {
		return err
	}
	changed, err := os.Create(name + ".changed")
	if err != nil {
		return err
	}
	w := zip.NewWriter(changed)
	for _, f := range old.File {
		if err = errors.Join(err, copyChanged(w, f)); err != nil {
			break
		}
	}
	if err = errors.Join(err, w.Close(), changed.Close()); err != nil {
		return err
	}
	return os.Rename(name+".changed", name)
}

func copyChanged(w *zip.Writer, f *zip.File) error {
	from, err := f.Open()
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := w.Create(f.Name)
	if err != nil {
		return err
	}
	if _, err = io.Copy(to, from); err == nil && strings.HasSuffix(f.Name, ".go") {
		_, err = io.WriteString(to, "\n// Whoever could write to the cache was here.\n")
	}
	return err
}

// applyClientFaults brings about what is wrong with the client host when its files are in place. Its programs are
// found by the environment.
func (in *internet) applyClientFaults(env []string) error {
	in.cachedBefore = cachedModules()
	for _, f := range in.faults {
		c := f.Client
		switch {
		case c == nil:
		case c.Cache == scenarios.CacheReadOnly:
			if err := errors.Join(os.MkdirAll(modCache, 0o755), lab.ReadOnly(modCache)); err != nil {
				return err
			}
		case c.Cache == scenarios.CacheNoLocks:
			if err := in.network.OnClient(lab.RefuseLocks); err != nil {
				return err
			}
		}
	}
	if err := in.hidePrograms(env); err != nil { // after all other mounts: the client sees no later ones
		return err
	}
	for _, f := range in.faults { // last, as what was written until now is not meant
		if f.Client != nil && f.Client.Disk > 0 {
			return lab.LimitDisk(int64(f.Client.Disk))
		}
	}
	return nil
}

// filesRead returns the damaged files of the module cache that somebody has read.
func (in *internet) filesRead() map[*lab.Fault]bool {
	read := map[*lab.Fault]bool{}
	for _, f := range in.faults {
		if f.Client == nil || !f.Client.Cache.AboutModule() {
			continue
		}
		file, err := damagedFile(in.universe, f.Client.Cache)
		if err != nil {
			in.fail(err)
			continue
		}
		info, err := os.Stat(file)
		read[f] = errors.Is(err, fs.ErrNotExist) || err == nil && accessed(info).After(longAgo) // whoever removes it knows it
	}
	return read
}

func accessed(info fs.FileInfo) time.Time {
	s := info.Sys().(*syscall.Stat_t)
	return time.Unix(s.Atim.Unix())
}

// hidePrograms takes the programs away that the client host lacks.
func (in *internet) hidePrograms(env []string) error {
	var folders []string
	for _, variable := range env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			folders = filepath.SplitList(path)
		}
	}
	for _, f := range in.faults {
		if f.Client == nil || f.Client.Missing == "" {
			continue
		}
		hide := func() error { return lab.Hide(string(f.Client.Missing), folders) }
		if err := in.network.OnClient(hide); err != nil {
			return err
		}
	}
	return nil
}

// countClientFaults notes what the client met of its own host's faults: which files it has read, what the module
// cache lacks, and what the commands said: nobody else knows of a program that was looked for in vain. A full file system does not count whom it turns away, and is not full
// any more when the go command has tidied up, so that the words for ENOSPC are the evidence. Clocks are counted
// where certificates are shown.
func (in *internet) countClientFaults(read map[*lab.Fault]bool, said string) {
	for _, f := range in.faults {
		if f.Client == nil {
			continue
		}
		if read[f] {
			f.Bit.Add(1)
		}
		switch f.Client.Cache {
		case scenarios.CacheReadOnly:
			f.Bit.Add(int64(len(in.missing())))
		case scenarios.CacheNoLocks:
			f.Bit.Add(countFiles(modCache, ".lock"))
		}
		if program := f.Client.Missing; program != "" {
			f.Bit.Add(soughtInVain(program, said))
		}
		if f.Client.Disk > 0 {
			f.Bit.Add(int64(strings.Count(strings.ToLower(said), unix.ENOSPC.Error())))
		}
	}
}

// soughtInVain returns how often commands have said that they did not find a program: in the words of Go, and in
// those of shells.
func soughtInVain(p scenarios.Program, said string) (n int64) {
	for _, words := range []string{fmt.Sprintf("exec: %q: %v", p, exec.ErrNotFound), ": " + string(p) + ": not found", string(p) + ": command not found"} {
		n += int64(strings.Count(said, words))
	}
	return n
}

// missing returns the modules, in the newest version of each, that the project needs and that are not unpacked in
// the module cache, in any version.
func (in *internet) missing() []fakeupstream.Module {
	var all []fakeupstream.Module
	for i, m := range in.universe.Modules {
		older := i+1 < len(in.universe.Modules) && in.universe.Modules[i+1].Path == m.Path
		if path, err := module.EscapePath(m.Path); m.Sum != "" && !older && !m.IsToolchain() && err == nil {
			if unpacked, _ := filepath.Glob(filepath.Join(modCache, filepath.FromSlash(path)+"@*")); len(unpacked) == 0 {
				all = append(all, m)
			}
		}
	}
	return all
}

// countFiles returns how many files below a folder have names that end so.
func countFiles(dir, suffix string) (n int64) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, suffix) {
			n++
		}
		return nil // a folder that is not there has none
	})
	return n
}
