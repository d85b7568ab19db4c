//go:build linux

package harness

import (
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// systemFolders are those below which programs and their data are; what is found there is nobody's private
// affair, even where it is somebody's home.
var systemFolders = []string{"bin", "boot", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr"}

// privateFolders returns the folders of this machine that cells do not see: the home of the user, and folders for
// temporary files, where other programs have their sockets.
var privateFolders = sync.OnceValue(func() []string {
	folders := []string{"/tmp", "/var/tmp", "/dev/shm", os.TempDir(), os.Getenv("HOME")}
	if u, err := user.Current(); err == nil {
		folders = append(folders, u.HomeDir)
	}
	var private []string
	for _, f := range folders {
		f = filepath.Clean(f)
		first, _, _ := strings.Cut(strings.TrimPrefix(f, "/"), "/")
		if filepath.IsAbs(f) && f != "/" && !slices.Contains(systemFolders, first) {
			private = append(private, f)
		}
	}
	slices.Sort(private)
	return slices.Compact(private)
})

// gitFiles returns what there is of git on this machine: the program, and the folder of those that it starts.
var gitFiles = sync.OnceValue(func() []string {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil
	}
	files := []string{git}
	if dir, err := exec.Command(git, "--exec-path").Output(); err == nil {
		files = append(files, strings.TrimSpace(string(dir)))
	}
	return files
})

// shown returns the files and folders that a cell must see, wherever they are.
func shown(g *Go, s *spec) []string {
	u := s.Universe
	all := append([]string{g.Root, g.Path, u.Dir, u.Proxy, u.Git, u.Project, s.Warm, s.Command[0]}, gitFiles()...)
	all = slices.AppendSeq(all, maps.Values(s.Altered))
	for i := range s.World.Hosts {
		server := s.World.Hosts[i].Server
		switch {
		case server == nil:
		case server.Image != "":
			all = append(all, s.Images[server.Image].Root)
		default:
			if path, err := programPath(server.Exec[0]); err == nil {
				all = append(all, path)
			}
		}
	}
	return slices.DeleteFunc(all, func(path string) bool { return !filepath.IsAbs(path) })
}
