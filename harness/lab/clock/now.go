//go:build linux

package clock

import (
	"io"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a keeper does all the time it asks of the kernel by raw system calls, as all of these return at once. Any other one
// wakes up the thread of the Go runtime that watches the others, when all rest (entersyscall in runtime/proc.go): it
// would cost more than the keeper.

// memory is a descriptor of the memory of a process, proc_pid_mem(5).
type memory int

// openMemory opens the memory of a process. The flag is one of open(2).
func openMemory(pid string, flag int) (memory, error) {
	fd, err := unix.Open("/proc/"+pid+"/mem", flag|unix.O_CLOEXEC, 0)
	return memory(fd), err
}

// ReadAt implements [io.ReaderAt].
func (m memory) ReadAt(b []byte, at int64) (int, error) { return m.do(unix.SYS_PREAD64, b, at) }

// WriteAt implements [io.WriterAt].
func (m memory) WriteAt(b []byte, at int64) (int, error) { return m.do(unix.SYS_PWRITE64, b, at) }

func (m memory) do(call uintptr, b []byte, at int64) (int, error) {
	done := 0
	for done < len(b) {
		n, _, errno := unix.RawSyscall6(call, uintptr(m), uintptr(unsafe.Pointer(&b[done])), uintptr(len(b)-done), uintptr(at)+uintptr(done), 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return done, errno
		case n == 0: // the process has ended
			return done, io.ErrUnexpectedEOF
		default:
			done += int(n)
		}
	}
	return done, nil
}

// Close implements [io.Closer].
func (m memory) Close() error { return unix.Close(int(m)) }

// eventsOf returns what poll(2) knows of a descriptor.
func eventsOf(fd int) (int16, error) {
	p, limit := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}, unix.Timespec{}
	_, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 && errno != unix.EINTR {
		return 0, errno
	}
	return p.Revents, nil
}

// read reads a clock of this process.
func read(clockID int32) time.Duration {
	t, _ := readClock(clockID) // it fails for unknown clocks only
	return t
}

// readClock reads any clock, such as the CPU time of a process; false: there is none.
func readClock(clockID int32) (time.Duration, bool) {
	var t unix.Timespec
	_, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, uintptr(clockID), uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano()), errno == 0
}
