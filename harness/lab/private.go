//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// covers is where the folders are that cells see in place of hidden ones.
const covers = Root + "/covers"

// freeze makes all that is mounted read-only, but for devices, which stay what they are. Linux before 5.12 cannot
// do so at once, and there all stays as it is.
func freeze() error {
	err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("make this machine's files read-only: %w", err)
	}
	return nil
}

// thaw takes back what freeze did to one mount.
func thaw(path string) error {
	err := unix.MountSetattr(unix.AT_FDCWD, path, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	if err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("make %s writable: %w", path, err)
	}
	return nil
}

// conceal covers folders of this machine with empty ones, which may be written. Of what is in them, only the
// files and folders in shown stay what they are. Folders that are not there are no error.
func conceal(hidden, shown []string) error {
	folders := make([]hiddenFolder, len(hidden))
	for i, dir := range hidden {
		folders[i].name = dir
		folders[i].real, _ = filepath.EvalSymlinks(dir)
	}
	kept, err := openShown(shown, folders)
	if err != nil {
		return err
	}
	for i, f := range folders {
		if _, err := os.Lstat(f.real); err != nil {
			continue // there is none, or one that was covered before hides it
		}
		if err := coverFolder(f.real, filepath.Join(covers, strconv.Itoa(i))); err != nil {
			return fmt.Errorf("hide %s: %w", f.name, err)
		}
	}
	for _, k := range kept {
		if err := k.show(); err != nil {
			return fmt.Errorf("show %s: %w", k.path, err)
		}
	}
	return nil
}

// A hiddenFolder is a folder of this machine that a cell does not see.
type hiddenFolder struct {
	name string
	real string // what it is by symbolic links; empty: there is no such folder
}

func coverFolder(dir, own string) error {
	if err := os.MkdirAll(own, 0o755); err != nil {
		return err
	}
	return unix.Mount(own, dir, "", unix.MS_BIND, "")
}

// A keptPath is a file or folder below a hidden one that is to be seen again.
type keptPath struct {
	path string
	file *os.File // opened without any rights but to name it
	dir  bool
}

// openShown opens what is shown and lies below a hidden folder, by the name that it has there and by that which
// symbolic links lead to. Parents come before what is in them.
func openShown(shown []string, hidden []hiddenFolder) (kept []keptPath, err error) {
	var all []string
	for _, path := range shown {
		real, err := filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, filepath.Clean(path), real)
	}
	slices.Sort(all)
	for _, path := range slices.Compact(all) {
		within := func(k keptPath) bool { return k.dir && isBelow(path, k.path) }
		if slices.ContainsFunc(kept, within) || !slices.ContainsFunc(hidden, func(h hiddenFolder) bool { return h.holds(path) }) {
			continue
		}
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		kept = append(kept, keptPath{path, os.NewFile(uintptr(fd), path), info.IsDir()})
	}
	return kept, nil
}

// holds reports whether a path is below the folder, or below what that is by symbolic links.
func (h hiddenFolder) holds(path string) bool {
	return isBelow(path, h.name) || h.real != "" && isBelow(path, h.real)
}

func isBelow(path, folder string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

// show makes the file or folder visible again at its place.
func (k *keptPath) show() error {
	defer k.file.Close()
	if err := os.MkdirAll(filepath.Dir(k.path), 0o755); err != nil {
		return err
	}
	if k.dir {
		if err := os.MkdirAll(k.path, 0o755); err != nil {
			return err
		}
	} else if err := os.WriteFile(k.path, nil, 0o644); err != nil {
		return err
	}
	return unix.Mount(fmt.Sprintf("/proc/self/fd/%d", k.file.Fd()), k.path, "", unix.MS_BIND|unix.MS_REC, "")
}

// launch starts a command from the calling thread, which must be locked to its goroutine, without rights in the cell.
// It can neither take away what is mounted there, nor change its network, nor look into the lab process.
//
// Apart, it is root in a user namespace of its own below that of the lab process, so that programs of a cell that
// are started so cannot look into each other either. Otherwise it is a process of the lab's user without
// capabilities, which is cheaper: Go copies the address space of the lab process to start a process in a user
// namespace (forkAndExecInChild1 in syscall/exec_linux.go). So it is too where /proc does not show the processes
// of the cell, as in a container that forbids to mount it: no user namespace can be set up there.
func launch(cmd *exec.Cmd, apart bool) error {
	holdThreads()
	if apart && procIsOurs() {
		isolate(cmd)
	} else if err := renounce(); err != nil {
		return err
	}
	return cmd.Start()
}

func procIsOurs() bool {
	self, err := os.Readlink("/proc/self")
	return err == nil && self == strconv.Itoa(os.Getpid())
}

// isolate gives a command a user namespace of its own.
func isolate(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	a := cmd.SysProcAttr
	a.Cloneflags |= unix.CLONE_NEWUSER
	if a.UidMappings == nil {
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
}

// renounce makes all programs without capabilities that the calling thread starts from now on: neither for being
// root nor by the attributes of their files are they given any, see capabilities(7).
func renounce() error {
	const noroot = 1<<0 | 1<<1 // SECBIT_NOROOT and SECBIT_NOROOT_LOCKED
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, noroot, 0, 0, 0); err != nil {
		return fmt.Errorf("give root no capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give programs no new privileges: %w", err)
	}
	return nil
}

// Start starts a command on the client host, without rights in the cell. Programs that are not alone there cannot
// look into each other.
func (n *Network) Start(cmd *exec.Cmd, alone bool) error {
	return n.OnClient(func() error { return launch(cmd, !alone) })
}
