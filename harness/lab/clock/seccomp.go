//go:build linux

package clock

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data, seccomp(2).
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16 // 8 bytes each
)

// A program is a filter of seccomp(2) under construction.
type program []unix.SockFilter

func (p *program) load(offset uint32) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
}

func (p *program) end(action uint32) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action})
}

// unless skips the next so many instructions if what was loaded is k.
func (p *program) unless(k uint32, skip int) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: uint8(skip)})
}

// when skips the next so many instructions if what was loaded is not k.
func (p *program) when(k uint32, skip int) {
	*p = append(*p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jf: uint8(skip)})
}

// word returns the offset of the lower half of an argument.
func word(arg int) uint32 { return uint32(dataArgs + 8*arg) }

// filter returns the program that reports what the keeper must know of: new programs, times that are not
// taken from the vDSO, and timers of the kernel that cannot be moved.
func filter(m *machine) []unix.SockFilter {
	var p program
	p.load(dataArch)
	p.unless(m.audit, 1)
	p.end(unix.SECCOMP_RET_USER_NOTIF)
	p.load(dataNumber)
	for _, nr := range reported {
		p.when(nr, 1)
		p.end(unix.SECCOMP_RET_USER_NOTIF)
	}
	for _, nr := range readsClock {
		p.exempt(nr)
	}
	p.exempt(unix.SYS_TIMERFD_SETTIME)
	p.when(unix.SYS_SETSOCKOPT, 10)
	p.load(word(1))
	p.unless(unix.SOL_SOCKET, 1)
	p.end(unix.SECCOMP_RET_ALLOW)
	p.load(word(2))
	for i, option := range timeouts {
		p.unless(option, len(timeouts)-i)
	}
	p.end(unix.SECCOMP_RET_ALLOW)
	p.end(unix.SECCOMP_RET_USER_NOTIF)
	p.end(unix.SECCOMP_RET_ALLOW)
	return p
}

// timeouts are SO_RCVTIMEO and SO_SNDTIMEO in their old and new forms, asm-generic/socket.h.
var timeouts = []uint32{20, 21, 66, 67}

// exempt reports a system call but where its fifth argument is the magic number.
func (p *program) exempt(nr uint32) {
	p.when(nr, 5)
	p.load(word(4))
	p.when(magic, 1)
	p.end(unix.SECCOMP_RET_ALLOW)
	p.end(unix.SECCOMP_RET_USER_NOTIF)
	p.load(dataNumber)
}

// Install makes all threads of this process, and all processes that they start, report to the holder of the
// descriptor that it returns. It is meant for the first thing that a lab process does: until somebody listens,
// what reports waits.
func Install() (listener int, err error) {
	m := machines[runtime.GOARCH]
	if m == nil {
		return 0, fmt.Errorf("there is no code for %s", runtime.GOARCH)
	}
	f := filter(m)
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	flags := unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return 0, fmt.Errorf("install the filter that reports new programs: %w", errno)
	}
	return int(fd), nil
}

// A notification is struct seccomp_notif, seccomp_unotify(2).
type notification struct {
	ID    uint64
	PID   uint32 // of the thread, as this process sees it
	Flags uint32
	NR    int32
	Arch  uint32
	IP    uint64
	Args  [6]uint64
}

// A response is struct seccomp_notif_resp.
type response struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

const flagContinue = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE

func receive(listener int) (n notification, err error) {
	return n, ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n))
}

// proceed lets the kernel carry out what was reported.
func proceed(listener int, n notification) {
	r := response{ID: n.ID, Flags: flagContinue}
	_ = ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)) // it fails if the thread has died
}

// succeed makes what was reported return a value without being carried out.
func succeed(listener int, n notification, value int64) {
	r := response{ID: n.ID, Val: value}
	_ = ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	for {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno == 0 {
			return nil
		} else if errno != unix.EINTR {
			return errno
		}
	}
}
