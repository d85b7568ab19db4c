//go:build linux

package clock

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A unit says how a system call is given its time limit.
type unit int

const (
	milliseconds unit = iota // a number; negative means for ever
	timespec                 // the address of a struct timespec; 0 means for ever
	timeval                  // the address of a struct timeval; 0 means for ever
)

// none is the limit of a wait that has no time limit.
const none = -1

// A wait is a system call in which a thread may wait.
type wait struct {
	limit    int // index of the argument that is the time limit
	unit     unit
	absolute func(args [6]uint64) (clockID int, ok bool) // the limit is a time of a clock; nil: it never is
	timedOut int64                                       // what it returns at the limit
	erase    func(mem io.WriterAt, args [6]uint64) error // writes what the kernel does at the limit; nil: nothing
}

// waits are the system calls in which a thread may wait, by their numbers. In others it may, too, but then
// only for what another process does, and without a limit: those that have one are reported by the filter.
var waits = func() map[int64]wait {
	all := map[int64]wait{
		unix.SYS_EPOLL_PWAIT:     {limit: 3, unit: milliseconds},
		unix.SYS_EPOLL_PWAIT2:    {limit: 3, unit: timespec},
		unix.SYS_PPOLL:           {limit: 2, unit: timespec, erase: erasePoll},
		unix.SYS_PSELECT6:        {limit: 4, unit: timespec, erase: eraseSelect},
		unix.SYS_NANOSLEEP:       {limit: 0, unit: timespec},
		unix.SYS_CLOCK_NANOSLEEP: {limit: 2, unit: timespec, absolute: sleepsUntil},
		unix.SYS_FUTEX:           {limit: 3, unit: timespec, absolute: futexUntil, timedOut: -int64(unix.ETIMEDOUT)},
		unix.SYS_WAIT4:           {limit: none},
		unix.SYS_WAITID:          {limit: none},
		unix.SYS_RT_SIGSUSPEND:   {limit: none},
	}
	maps.Copy(all, ownWaits)
	return all
}()

// reported are the system calls that the filter reports whatever their arguments: those that start programs,
// and those with timers that cannot be moved.
var reported = append([]uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT,
	unix.SYS_SETITIMER, unix.SYS_TIMER_SETTIME, unix.SYS_SEMTIMEDOP, unix.SYS_RT_SIGTIMEDWAIT,
	unix.SYS_MQ_TIMEDSEND, unix.SYS_MQ_TIMEDRECEIVE, unix.SYS_RECVMMSG, unix.SYS_FUTEX_WAITV, unix.SYS_IO_URING_SETUP,
}, reportedHere...)

// sleepsUntil is about clock_nanosleep(2).
func sleepsUntil(args [6]uint64) (clockID int, ok bool) {
	const absolute = 1 // TIMER_ABSTIME
	return int(args[0]), args[1]&absolute != 0
}

// futexUntil is about futex(2): all but FUTEX_WAIT have absolute limits.
func futexUntil(args [6]uint64) (clockID int, ok bool) {
	const (
		private, realtime = 128, 256
		futexWait         = 0
		lockPI            = 6
	)
	op := args[1] &^ (private | realtime)
	if args[1]&realtime != 0 || op == lockPI {
		return unix.CLOCK_REALTIME, op != futexWait
	}
	return unix.CLOCK_MONOTONIC, op != futexWait
}

// erasePoll clears the returned events of poll(2).
func erasePoll(mem io.WriterAt, args [6]uint64) error {
	const size, revents = 8, 6 // struct pollfd
	for i := range int64(min(args[1], 1<<16)) {
		if _, err := mem.WriteAt([]byte{0, 0}, int64(args[0])+i*size+revents); err != nil {
			return err
		}
	}
	return nil
}

// eraseSelect clears the sets of select(2).
func eraseSelect(mem io.WriterAt, args [6]uint64) error {
	zero := make([]byte, (min(args[0], 1<<20)+63)/64*8)
	for _, set := range args[1:4] {
		if set == 0 {
			continue
		}
		if _, err := mem.WriteAt(zero, int64(set)); err != nil {
			return err
		}
	}
	return nil
}

// A call is the system call that a thread waits in.
type call struct {
	nr   int64
	args [6]uint64
}

// States of a thread that need no call.
const (
	running   = -2
	gone      = -3
	elsewhere = -1 // it waits, but not in a system call: for its memory, or for a tracer
)

// parseCall reads /proc/PID/task/TID/syscall, see proc_pid_syscall(5).
func parseCall(line string) (c call, err error) {
	f := strings.Fields(line)
	switch {
	case len(f) == 0:
		return call{nr: gone}, nil
	case f[0] == "running":
		return call{nr: running}, nil
	case f[0] == "-1" && len(f) == 3 && f[1] == "0x0": // it has no stack any more
		return call{nr: gone}, nil
	case f[0] == "-1":
		return call{nr: elsewhere}, nil
	case len(f) != 9:
		return c, fmt.Errorf("cannot understand the state of a thread: %q", line)
	}
	if c.nr, err = strconv.ParseInt(f[0], 10, 64); err != nil {
		return c, fmt.Errorf("cannot understand the state of a thread: %q", line)
	}
	for i := range c.args {
		if c.args[i], err = strconv.ParseUint(f[i+1], 0, 64); err != nil {
			return c, fmt.Errorf("cannot understand the state of a thread: %q", line)
		}
	}
	return c, nil
}

// A limit is when a wait ends by itself.
type limit struct {
	limited bool
	clockID int           // absolute: the clock of the time; relative: -1
	value   time.Duration // time of the clock since its zero, or from the beginning of the call
}

// relative is the clockID of a limit that counts from the beginning of the call.
const relative = -1

// limitOf returns the time limit of a call, which may lie in the memory of its process.
func (w wait) limitOf(c call, mem io.ReaderAt) (limit, error) {
	l := limit{clockID: relative}
	if w.limit == none {
		return l, nil
	}
	arg := c.args[w.limit]
	if w.unit == milliseconds {
		if ms := int32(uint32(arg)); ms >= 0 {
			l.limited, l.value = true, time.Duration(ms)*time.Millisecond
		}
		return l, nil
	}
	if arg == 0 || c.nr == unix.SYS_FUTEX && !futexLimited(c.args) {
		return l, nil
	}
	var b [16]byte
	if _, err := mem.ReadAt(b[:], int64(arg)); err != nil {
		return l, fmt.Errorf("read the time limit of a wait: %w", err)
	}
	sec, rest := binary.NativeEndian.Uint64(b[:]), binary.NativeEndian.Uint64(b[8:])
	if w.unit == timeval {
		rest *= 1000
	}
	const most = 1 << 33 // seconds: more than a time.Duration holds
	l.limited, l.value = sec < most, time.Duration(sec)*time.Second+time.Duration(rest)
	if w.absolute != nil {
		if id, ok := w.absolute(c.args); ok {
			l.clockID = id
		}
	}
	return l, nil
}

// futexLimited reports whether the fourth argument of futex(2) is a time limit. For others than the waits it
// is a number.
func futexLimited(args [6]uint64) bool {
	switch args[1] & 127 {
	case 0, 6, 9, 11, 13: // FUTEX_WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2
		return true
	}
	return false
}

// What a system call returns inside the kernel that is to begin anew: include/linux/errno.h.
const (
	restartSys    = 512
	restartNoIntr = 513
	restartNoHand = 514
	restartBlock  = 516 // as restart_syscall(2), which waits for what is left
)

// interrupted reports whether a system call has returned because of a signal or a tracer.
func interrupted(result int64) bool {
	switch -result {
	case int64(unix.EINTR), restartSys, restartNoIntr, restartNoHand, restartBlock:
		return true
	}
	return false
}
