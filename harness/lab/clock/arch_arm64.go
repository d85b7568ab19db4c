//go:build linux

package clock

import "golang.org/x/sys/unix"

// ownWaits are the waits that only this architecture has: none.
var ownWaits = map[int64]wait{}

// reportedHere are the system calls that only this architecture has and that the filter reports: none.
var reportedHere []uint32

// readsClock are the system calls that tell the time.
var readsClock = []uint32{unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY}

// isAlarm reports whether a system call is alarm(2), which arm64 has not.
func isAlarm(int32) bool { return false }

// isTime reports whether a system call is time(2), which arm64 has not.
func isTime(int32) bool { return false }

// finish makes a stopped thread that waits in a system call return a value from it, and reports whether it
// still waited.
func finish(tid int, nr, value int64) (waited bool, err error) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return false, err
	}
	if int64(regs.Regs[8]) != nr || !interrupted(int64(regs.Regs[0])) {
		return false, nil
	}
	// The kernel restarts a call by its number and not by register 8. A call that returns no error that
	// asks for it is not restarted: do_signal in arch/arm64/kernel/signal.c looks at register 0.
	regs.Regs[0] = uint64(value)
	return true, unix.PtraceSetRegs(tid, &regs)
}
