//go:build linux

package lab

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RefuseLocks makes flock(2) fail with ENOLCK for exclusive locks, in the calling thread and in all processes
// that it starts from now on. It is meant for [Network.OnClient].
func RefuseLocks() error {
	const (
		number    = 0      // offset of the system call's number in struct seccomp_data, see seccomp(2)
		operation = 16 + 8 // and of the lower half of its second argument; all architectures of Go's are little-endian here
	)
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	result := func(r uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: r} }
	filter := []unix.SockFilter{
		load(number),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FLOCK, Jf: 3},
		load(operation),
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.LOCK_EX, Jf: 1},
		result(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOLCK)),
		result(unix.SECCOMP_RET_ALLOW),
	}
	if err := setFilter(filter); err != nil {
		return fmt.Errorf("refuse locks by seccomp: %w", err)
	}
	return nil
}

// setFilter has the calling thread's system calls decided by a program of classic BPF, see seccomp(2).
func setFilter(filter []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	runtime.KeepAlive(&program)
	return err
}
