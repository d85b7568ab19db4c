package harness

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/module"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// OwnModules returns the modules of a project of the user's own as they are in the module cache of a go
// command. The error is an [*InputError] if the project cannot be tidied with what is there, and names the
// command that fetches what is missing.
func OwnModules(ctx context.Context, g *Go, project *scenarios.Project) (*fakeupstream.Universe, error) {
	u, missing, err := fakeupstream.FromCache(ctx, project.Dir, g.ModCache, g.Path, g.Private)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &InputError{err}
	case len(missing) > 0:
		return nil, wrongInput("%d of the %d modules that it needs must be fetched into the module cache first:\n\tcd %s && %s",
			len(missing), len(u.Modules), project.Dir, downloadCommand(missing))
	}
	return u, nil
}

// downloadCommand is [fakeupstream.DownloadCommand] that fits on a screen.
func downloadCommand(missing []module.Version) string {
	const most = 10
	if len(missing) > most {
		return "go mod download all"
	}
	return fakeupstream.DownloadCommand(missing)
}

// ProjectFiles returns the files of a project that its client host gets, relative to its folder: those of
// its module. Sockets, devices and links have no say in a module.
func ProjectFiles(dir string) (names []string, err error) {
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && (d.Name() == ".git" || isModule(path)):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		name, err := filepath.Rel(dir, path)
		names = append(names, name)
		return err
	})
	return names, err
}

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// CacheFiles returns the files that the download cache may have of a module, relative to its folder.
func CacheFiles(m fakeupstream.Module) (names []string, err error) {
	for _, ext := range []string{".info", ".mod", ".zip", ".ziphash"} {
		name, err := cacheFile(m.Path, m.Version, ext)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// cacheFile returns the name of a module's file in the download cache, or in a tree of a proxy, below its folder.
func cacheFile(path, version, ext string) (string, error) {
	path, err := module.EscapePath(path)
	if err != nil {
		return "", err
	}
	version, err = module.EscapeVersion(version)
	return filepath.Join(filepath.FromSlash(path), "@v", version+ext), err
}
