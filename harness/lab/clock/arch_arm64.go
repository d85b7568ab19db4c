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
// still waited. When the thread stops, the kernel has made it ready to begin the call anew: the program counter is back at
// the instruction that makes it, and register 0 is the first argument again. Both stay as they are if the program counter
// is changed (do_signal in arch/arm64/kernel/signal.c). A call that is not begun anew has returned EINTR.
//
// A thread that waits for a futex again meanwhile finds that it was woken for nothing, which futex(2) allows: the kernel
// would go on with restart_syscall(2), which does not show its limit.
func finish(tid int, c call, value int64) (waited bool, err error) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return false, err
	}
	var at [4]byte
	if _, err := unix.PtracePeekText(tid, uintptr(regs.Pc), at[:]); err != nil {
		return false, err
	}
	nr, anew := int64(regs.Regs[8]), at == [4]byte{0x01, 0x00, 0x00, 0xd4} // svc #0
	same := nr == c.nr && [5]uint64(regs.Regs[1:6]) == [5]uint64(c.args[1:])
	switch {
	case anew && same && regs.Regs[0] == c.args[0]:
	case anew && nr == unix.SYS_FUTEX:
		value = -int64(unix.EINTR)
	case anew || !same || !interrupted(int64(regs.Regs[0])):
		return false, nil
	}
	if anew {
		regs.Pc += uint64(len(at))
	}
	regs.Regs[0] = uint64(value)
	return value != -int64(unix.EINTR), unix.PtraceSetRegs(tid, &regs)
}
