//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Limits bound what the programs of a cell can take from this machine. A value of 0 bounds nothing.
type Limits struct {
	Memory    int64 // bytes of data that one process may have; what they have together is for the parent to watch
	Disk      int64 // bytes of files, which are in memory
	Processes int   // and threads, of the whole cell
	Files     int   // that one process may have open
}

// leastProcesses is what the kernel allows for the largest number of a process: it keeps the first 300 back.
const leastProcesses = 301

// Limit puts limits on this process and all that it will start. It must be called after Mount, by a lab process.
// That of processes is the one that the kernel offers: the largest number in the lab's pid namespace (Linux 6.14 and
// later, at least 301), or else RLIMIT_NPROC, which does not hold for those whom root of this machine has started.
func Limit(l Limits) error {
	if l.Disk > 0 {
		options := fmt.Sprintf("mode=0755,size=%d", l.Disk)
		if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
			return fmt.Errorf("limit the files of the cell to %d bytes: %w", l.Disk, err)
		}
	}
	if l.Processes > 0 {
		_ = limitPIDs(l.Processes) // else there is the other limit, and the parent watches
	}
	return errors.Join(limit("data", unix.RLIMIT_DATA, uint64(l.Memory)),
		limit("processes", unix.RLIMIT_NPROC, uint64(l.Processes)), limit("open files", unix.RLIMIT_NOFILE, uint64(l.Files)))
}

// holdThreads makes sure of four threads beside those that are busy; the Go runtime keeps them. The limit of processes
// holds for threads of this process, too, and the runtime ends a process that needs one and gets none within 0.2 s
// (newosproc in runtime/os_linux.go): the cell's programs could bring that about.
var holdThreads = sync.OnceFunc(func() {
	const threads = 4
	var held sync.WaitGroup
	held.Add(threads)
	for range threads {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			held.Done()
			held.Wait()
		}()
	}
	held.Wait()
})

// limit lowers a limit of this process, see getrlimit(2).
func limit(what string, resource int, most uint64) error {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(resource, &now); err != nil {
		return fmt.Errorf("look at the limit of %s: %w", what, err)
	}
	if most == 0 || now.Max <= most {
		return nil
	}
	if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: min(now.Cur, most), Max: most}); err != nil {
		return fmt.Errorf("limit %s to %d: %w", what, most, err)
	}
	return nil
}

// limitPIDs bounds the numbers of processes and threads in this pid namespace. Before Linux 6.14 there was one bound
// for the whole machine, which must stay as it is.
func limitPIDs(most int) error {
	if !ownPIDMax() {
		return errors.New("before Linux 6.14 a pid namespace has no limit of its own")
	}
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return errors.New("/proc is not that of the cell")
	}
	return setKernel("kernel/pid_max", strconv.Itoa(max(most, leastProcesses)))
}

// ownPIDMax reports whether each pid namespace of this kernel has a pid_max of its own (Linux 6.14).
func ownPIDMax() bool {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) != nil {
		return false
	}
	n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return n == 2 && (major > 6 || major == 6 && minor >= 14)
}

// CheckLimits finds out which limits the kernel does not keep by itself on this machine. The error says which, and
// what is done instead.
func CheckLimits() error {
	if ownPIDMax() || os.Getuid() != 0 {
		return nil
	}
	return errors.New("the kernel does not limit the processes of a cell, as this is root, and it is older than 6.14: a cell that has too many is ended once that is seen")
}
