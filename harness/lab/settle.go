//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Furniture is what a guest finds in a root file system of its own beside what the folder has.
type Furniture struct {
	Files map[string]string // content by name, relative to the root; what is there of these names is replaced
	Over  map[string]string // the same, but only in place of files that the folder has
}

// Settle gives the guest a root file system of its own: what a folder of this machine has, which stays as it is. What
// the guest changes is lost with the cell. It gets the cell's /proc, empty /dev/shm, /run and /tmp, and of devices only
// those without a machine behind them. Nothing is followed out of the folder, whatever symbolic links are in it. At
// must be an empty folder below Root. Settle must be called once, after Mount and before Start.
func (g *Guest) Settle(folder, at string, f Furniture) error {
	return g.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil { // what is mounted from now on, only the guest sees
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		root := filepath.Join(at, "root")
		if err := showIn(folder, root, at); err != nil {
			return err
		}
		if err := furnishRoot(root, f); err != nil {
			return fmt.Errorf("furnish the root file system: %w", err)
		}
		return moveTo(root)
	})
}

// Do runs f where the guest's programs are started: it sees the guest's files and network, and must not block for long.
func (g *Guest) Do(f func() error) error {
	done := make(chan error)
	g.work <- func() { done <- f() }
	return <-done
}

// furnishRoot mounts what every program expects, and writes files.
func furnishRoot(dir string, f Furniture) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := attach(root, "proc", "/proc", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	for _, name := range []string{"run", "tmp", "dev"} { // the devices themselves are bound from mounts that allow them
		if err := attach(root, name, "tmpfs", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return err
		}
	}
	if err := devices(root); err != nil {
		return err
	}
	for name, content := range f.Files {
		if err := writeIn(root, name, content); err != nil {
			return err
		}
	}
	for name, content := range f.Over {
		if _, err := root.Lstat(name); err != nil {
			continue // also where a symbolic link leads out of the folder
		}
		if err := writeIn(root, name, content); err != nil {
			return err
		}
	}
	return nil
}

// devices fills /dev.
func devices(root *os.Root) error {
	for _, name := range pureDevices {
		if err := writeIn(root, "dev/"+name, ""); err != nil {
			return err
		}
		if err := attach(root, "dev/"+name, "/dev/"+name, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	for name, to := range deviceLinks {
		if err := root.Symlink(to, "dev/"+name); err != nil {
			return err
		}
	}
	return root.Mkdir("dev/shm", 0o777)
}

// attach mounts something at a place of a root file system, which is made if need be. The place is opened first, so
// that no symbolic link leads out of the root.
func attach(root *os.Root, name, source, kind string, flags uintptr, options string) error {
	if !strings.Contains(name, "/") {
		if err := root.MkdirAll(name, 0o755); err != nil {
			return err
		}
	}
	place, err := root.Open(name)
	if err != nil {
		return err
	}
	defer place.Close()
	if err := unix.Mount(source, fmt.Sprintf("/proc/self/fd/%d", place.Fd()), kind, flags, options); err != nil {
		return fmt.Errorf("mount %s: %w", name, err)
	}
	return nil
}

// writeIn replaces a file of a root file system.
func writeIn(root *os.Root, name, content string) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return root.WriteFile(name, []byte(content), 0o644)
}

// moveTo makes a mounted folder the root of the calling thread's mount namespace, and lets go of all that was
// mounted before, see pivot_root(2).
func moveTo(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("make %s the root: %w", root, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the old root: %w", err)
	}
	return unix.Chdir("/")
}
