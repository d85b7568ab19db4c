//go:build linux

package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// Folders of the client host. They are in a file system that only the cell has.
const (
	homeDir  = lab.Root + "/home"
	goPath   = lab.Root + "/gopath"
	modCache = lab.Root + "/gopath/pkg/mod"

	downloadCache = modCache + "/cache/download"

	goCache    = lab.Root + "/gocache"
	telemetry  = homeDir + "/.config/go/telemetry" // GOTELEMETRYDIR
	tmpDir     = lab.Root + "/tmp"
	projectDir = lab.Root + "/project"
	caFile     = lab.Root + "/etc/ca.pem"
	caDir      = lab.Root + "/etc/certs" // empty: git would read all that this machine trusts, in each process
	gitSystem  = lab.Root + "/etc/gitconfig"
)

// maxStderr bounds what is kept of a command's output.
const maxStderr = 256 << 10

// clientEnv returns the whole environment of a cell's command: nothing of the caller's gets in. The
// config's own variables come last and win.
func clientEnv(g *Go, config *scenarios.Config, keys keys) []string {
	env := map[string]string{
		"HOME":              homeDir,
		"PATH":              clientPath(g),
		"TMPDIR":            tmpDir,
		"GOPATH":            goPath,
		"GOMODCACHE":        modCache,
		"GOCACHE":           goCache,
		"GOENV":             homeDir + "/.config/go/env",
		"GOTOOLCHAIN":       "local",
		"SSL_CERT_FILE":     caFile,
		"SSL_CERT_DIR":      "/nonexistent",
		"GIT_CONFIG_SYSTEM": gitSystem,
	}
	maps.Copy(env, agentEnv(config.PAC))
	maps.Copy(env, config.Env)
	if db, set := swapSumDB(g, env, keys); set {
		env["GOSUMDB"] = db
	}
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	sort.Strings(list)
	return list
}

// swapSumDB returns the GOSUMDB that means the same database with the key of the lab's own.
// The go command takes a verifier key for a name that it knows by itself: dbDial in
// cmd/go/internal/modfetch/sumdb.go.
func swapSumDB(g *Go, env map[string]string, keys keys) (value string, set bool) {
	value = g.SumDB
	if v, ok := env["GOSUMDB"]; ok && v != "" {
		value = v
	}
	fields := strings.Fields(value)
	if len(fields) == 0 {
		return "", false
	}
	db, ok := keys.SumDB[fields[0]]
	switch {
	case !ok:
		return "", false
	case len(fields) > 1:
		return db.Verifier + " " + strings.Join(fields[1:], " "), true
	case db.Name != fields[0]: // another host of a database, such as sum.golang.google.cn
		return db.Verifier + " https://" + fields[0], true
	}
	return db.Verifier, true
}

// clientPath returns where the client host finds programs: the go command, git, and the system's.
func clientPath(g *Go) string {
	dirs := []string{filepath.Dir(g.Path)}
	if git, err := exec.LookPath("git"); err == nil {
		dirs = append(dirs, filepath.Dir(git))
	}
	return strings.Join(append(dirs, "/usr/local/bin", "/usr/bin", "/bin"), ":")
}

// command returns what a project runs, with its program's file first.
func (g *Go) command(project *scenarios.Project, u *fakeupstream.Universe) ([]string, error) {
	run := project.Run
	if len(run) == 0 {
		run = []string{"go", "mod", "tidy"}
	}
	program, err := g.program(run[0], u.Project)
	if err != nil {
		return nil, fmt.Errorf("project %s: %w", project.Name, err)
	}
	return append([]string{program}, run[1:]...), nil
}

// program returns the file of a program as the client host finds it: on its PATH, or from the project's
// folder, where commands run.
func (g *Go) program(name, project string) (string, error) {
	if name == "go" {
		return g.Path, nil
	}
	if strings.ContainsRune(name, '/') {
		file := name
		if !filepath.IsAbs(file) {
			file = filepath.Join(project, file)
		}
		if _, err := exec.LookPath(file); err != nil {
			return "", &InputError{err}
		}
		return name, nil
	}
	for _, dir := range filepath.SplitList(clientPath(g)) {
		if file, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return file, nil
		}
	}
	return "", wrongInput("the client host has no program %q; its PATH is %s", name, clientPath(g))
}

// furnish puts the files of the client host into place.
func furnish(s *spec) error {
	for _, dir := range []string{homeDir, telemetry, goPath, goCache, tmpDir, caDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		caFile:                  string(s.Keys.CA),
		gitSystem:               "[http]\n\tsslCAInfo = " + caFile + "\n\tsslCAPath = " + caDir + "\n[safe]\n\tdirectory = *\n",
		telemetry + "/mode":     "off", // in a fresh home each go command would count itself and start another one, to sum up
		homeDir + "/.netrc":     s.Config.Netrc,
		homeDir + "/.gitconfig": s.Config.GitConfig,
	}
	for name, content := range files {
		if content == "" {
			continue
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return err
		}
	}
	if err := os.Symlink(s.Universe.Proxy, proxyTree); err != nil {
		return err
	}
	if err := teachTrees(s); err != nil {
		return err
	}
	if err := furnishCache(s); err != nil {
		return fmt.Errorf("fill the module cache: %w", err)
	}
	for i := range max(s.Parallel, 1) {
		if err := copyProject(s.Universe.Project, projectOf(i)); err != nil {
			return err
		}
	}
	return nil
}

// projectOf returns the folder in which command number i runs.
func projectOf(i int) string {
	if i == 0 {
		return projectDir
	}
	return fmt.Sprintf("%s-%d", projectDir, i+1)
}

// copyProject copies the files of a project into a folder, see [ProjectFiles].
func copyProject(from, to string) error {
	names, err := ProjectFiles(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return os.MkdirAll(to, 0o755) // there may be no files
}

// copyFile copies a regular file into a folder that is made if need be.
func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm()|0o600) // scripts stay executable
}

// runShell runs a command of a person on the client host, at the terminal.
func runShell(n *lab.Network, s *spec) (exit int, err error) {
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	cmd.Env, cmd.Dir = s.Env, projectDir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	n.Begin()
	if err := n.OnClient(cmd.Start); err != nil {
		return 0, fmt.Errorf("start %s: %w", s.Command[0], err)
	}
	err = cmd.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

// downloaded returns what the module cache holds, compared with the true modules. What the go.sum of the
// project, as it was before the command ran, has a hash of is pinned: the go command needs no checksum
// database for it.
func (in *internet) downloaded(requests []record.Request) []record.Module {
	true_ := map[module.Version]string{}
	for _, m := range in.universe.Modules {
		true_[module.Version{Path: m.Path, Version: m.Version}] = m.Sum
	}
	asked, sums, bad := lookups(requests), pinned(in.universe.Project), badMods(in.universe)
	var all []record.Module
	for _, m := range cachedModules() {
		name, err := cacheFile(m.Path, m.Version, ".ziphash")
		if err != nil {
			continue // no, it was read from such a name
		}
		sum, _ := os.ReadFile(filepath.Join(downloadCache, name))
		r := record.Module{Path: m.Path, Version: m.Version, Sum: strings.TrimSpace(string(sum)), Checked: asked[m],
			Pinned: sums[m], Before: slices.Contains(in.cachedBefore, m)}
		if !strings.HasPrefix(r.Sum, "h1:") {
			r.Sum = "" // the file has something else
		}
		r.Good, r.BadMod = r.Sum == true_[m], slices.Contains(bad, m)
		all = append(all, r)
	}
	for _, m := range bad {
		known := func(r record.Module) bool { return r.Path == m.Path && r.Version == m.Version }
		if !slices.ContainsFunc(all, known) {
			all = append(all, record.Module{Path: m.Path, Version: m.Version, Checked: asked[m], BadMod: true})
		}
	}
	return all
}

// cachedModules returns the modules of which the module cache has the hash of a zip file.
func cachedModules() (all []module.Version) {
	_ = filepath.WalkDir(downloadCache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".ziphash") {
			return nil // an empty cache has no such folder
		}
		if m, ok := cachedModule(strings.TrimPrefix(path, downloadCache+"/")); ok {
			all = append(all, m)
		}
		return nil
	})
	return all
}

// badMods returns the modules of which the module cache has a go.mod file that is not the true one.
func badMods(u *fakeupstream.Universe) (bad []module.Version) {
	for _, m := range u.Modules {
		name, err := cacheFile(m.Path, m.Version, ".mod")
		if err != nil || m.GoModSum == "" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(downloadCache, name))
		if err != nil {
			continue // it has none
		}
		sum, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		})
		if err != nil || sum != m.GoModSum {
			bad = append(bad, module.Version{Path: m.Path, Version: m.Version})
		}
	}
	return bad
}

// pinned returns the modules whose zip files the go.sum of a project has the hash of. The go command
// refuses a go.sum that it cannot read, so lines of another form pin nothing.
func pinned(project string) map[module.Version]bool {
	content, _ := os.ReadFile(filepath.Join(project, "go.sum")) // without the file nothing is pinned
	sums := map[module.Version]bool{}
	for line := range strings.Lines(string(content)) {
		if f := strings.Fields(line); len(f) == 3 && !strings.HasSuffix(f[1], "/go.mod") {
			sums[module.Version{Path: f[0], Version: f[1]}] = true
		}
	}
	return sums
}

// cachedModule reads a name such as example.com/m/@v/v1.0.0.ziphash.
func cachedModule(name string) (m module.Version, ok bool) {
	escPath, file, ok := strings.Cut(name, "/@v/")
	if !ok {
		return m, false
	}
	var err1, err2 error
	m.Path, err1 = module.UnescapePath(escPath)
	m.Version, err2 = module.UnescapeVersion(strings.TrimSuffix(file, ".ziphash"))
	return m, err1 == nil && err2 == nil
}

// lookups returns the modules that a checksum database has answered for.
func lookups(requests []record.Request) map[module.Version]bool {
	asked := map[module.Version]bool{}
	for _, r := range requests {
		if m, ok := fakeupstream.LookedUp(r.Path); ok && r.Status == 200 {
			asked[m] = true
		}
	}
	return asked
}
