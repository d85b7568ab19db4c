//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// pureDevices are the devices without a machine behind them, in /dev.
var pureDevices = []string{"null", "zero", "full", "random", "urandom"}

// deviceLinks are the links that /dev has.
var deviceLinks = map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}

// seenDevices returns the devices that programs of a cell see, terminals and the lab's own among them. They are
// harmless in anybody's hands; disks and the like are not, and where simrun runs as root, or its user is in their
// groups, they would be open.
func seenDevices() (paths []string) {
	for _, name := range append([]string{"tty", "pts", "ptmx", "net/tun"}, pureDevices...) {
		paths = append(paths, filepath.Join("/dev", name))
	}
	return paths
}

// linkDevices makes what /dev has besides devices.
func linkDevices() error {
	if err := os.MkdirAll("/dev/shm", 0o777); err != nil {
		return err
	}
	for name, to := range deviceLinks {
		if err := os.Symlink(to, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// kernel is /proc/sys as the lab process sees it; nil means that it is where it always is.
var kernel *os.File

// guardKernel makes the kernel's settings read-only for all but the lab process. The kernel asks of who changes them
// for the user id of root alone, in whatever namespace (test_perm in fs/proc/proc_sysctl.c): where simrun runs as
// root, programs in the cell have that.
func guardKernel() error {
	fd, err := unix.Open("/proc/sys", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	kernel = os.NewFile(uintptr(fd), "/proc/sys")
	for _, path := range []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := ReadOnly(path); err != nil {
			return err
		}
	}
	return nil
}

// setKernel changes a setting of the kernel's for the namespaces of the calling thread; the name is that of
// its file below /proc/sys.
func setKernel(name, value string) error {
	dir := "/proc/sys"
	if kernel != nil {
		dir = "/proc/self/fd/" + strconv.Itoa(int(kernel.Fd()))
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0); err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return nil
}
