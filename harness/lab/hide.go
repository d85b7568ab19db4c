//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Hide takes a program, and those whose names begin with its own and a hyphen, out of folders in the mount
// namespace of the calling thread, which gets one of its own. All else in the folders stays, as links. It is
// meant for [Network.OnClient]: processes that the thread starts from now on do not find the program.
func Hide(program string, folders []string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil { // all mounts are private already
		return fmt.Errorf("hide %s: make a mount namespace: %w", program, err)
	}
	seen := map[string]bool{}
	for _, folder := range folders {
		dir, err := filepath.EvalSymlinks(folder) // /bin is /usr/bin nowadays
		if err != nil || seen[dir] {
			continue
		}
		seen[dir] = true
		if _, err := os.Lstat(filepath.Join(dir, program)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := hideIn(dir, program, filepath.Join(Root, "shadow", dir)); err != nil {
			return fmt.Errorf("hide %s in %s: %w", program, dir, err)
		}
	}
	return nil
}

// hideIn covers a folder with links to what is in it. The true one stays within reach at shadow.
func hideIn(dir, program, shadow string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(shadow, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(dir, shadow, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == program || strings.HasPrefix(e.Name(), program+"-") {
			continue
		}
		if err := os.Symlink(linkTo(e, dir, shadow), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// linkTo returns where a link to an entry of a covered folder has to lead. What is a link itself keeps its
// target, which is relative to the folder if it is relative.
func linkTo(e fs.DirEntry, dir, shadow string) string {
	there := filepath.Join(shadow, e.Name())
	if e.Type()&fs.ModeSymlink == 0 {
		return there
	}
	target, err := os.Readlink(there)
	switch {
	case err != nil:
		return there
	case filepath.IsAbs(target):
		return target
	}
	return filepath.Join(dir, target)
}
