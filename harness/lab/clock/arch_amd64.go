//go:build linux

package clock

import "golang.org/x/sys/unix"

// ownWaits are the waits that only this architecture has.
var ownWaits = map[int64]wait{
	unix.SYS_POLL:       {limit: 2, unit: milliseconds, erase: erasePoll},
	unix.SYS_SELECT:     {limit: 4, unit: timeval, erase: eraseSelect},
	unix.SYS_EPOLL_WAIT: {limit: 3, unit: milliseconds},
	unix.SYS_PAUSE:      {limit: none},
}

// reportedHere are the system calls that only this architecture has and that the filter reports.
var reportedHere = []uint32{unix.SYS_ALARM}

// readsClock are the system calls that tell the time.
var readsClock = []uint32{unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY, unix.SYS_TIME}

// finish makes a stopped thread that waits in a system call return a value from it, and reports whether it
// still waited. A thread that has gone on to another wait meanwhile begins that anew: the kernel would go on with
// restart_syscall(2), which does not show its limit.
func finish(tid int, c call, value int64) (waited bool, err error) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return false, err
	}
	now := call{nr: int64(regs.Orig_rax), args: [6]uint64{regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9}}
	if now != c && int64(regs.Rax) == -restartBlock {
		regs.Rax = ^uint64(restartNoHand) + 1
		return false, unix.PtraceSetRegs(tid, &regs)
	}
	if now != c || !interrupted(int64(regs.Rax)) {
		return false, nil
	}
	regs.Rax, regs.Orig_rax = uint64(value), ^uint64(0) // no call to be restarted
	return true, unix.PtraceSetRegs(tid, &regs)
}

// isAlarm reports whether a system call is alarm(2).
func isAlarm(nr int32) bool { return nr == unix.SYS_ALARM }

// isTime reports whether a system call is time(2), which has no clock id.
func isTime(nr int32) bool { return nr == unix.SYS_TIME }
