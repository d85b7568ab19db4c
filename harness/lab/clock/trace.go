//go:build linux

package clock

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setTimer is timerfd_settime(2) with the mark that the filter lets pass.
func setTimer(fd int, after time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(after))}
	_, _, errno := unix.Syscall6(unix.SYS_TIMERFD_SETTIME, uintptr(fd), 0, uintptr(unsafe.Pointer(&spec)), 0, magic, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// seize makes this thread the tracer of another one, which goes on running: PTRACE_SEIZE in ptrace(2).
func seize(tid, options int) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, uintptr(options), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// detach lets a stopped thread go on without a tracer. It fails if somebody has killed the thread.
func detach(tid, signal int) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(signal), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// letGo lets a stopped thread go on without a tracer. Of one that somebody has killed, the tracer must take notice: only
// then does its parent.
func letGo(tid, signal int) {
	if detach(tid, signal) != nil {
		_, _ = waitFor(tid)
	}
}

// resume lets a stopped thread go on.
func resume(tid, signal int) { _ = unix.PtraceCont(tid, signal) }

// errGone means that a thread has ended.
var errGone = errors.New("the thread has ended")

// waitFor is wait4(2) for a traced thread that certainly stops or ends.
func waitFor(tid int) (unix.WaitStatus, error) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(tid, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return 0, errGone
		case err != nil:
			return 0, fmt.Errorf("wait for a traced thread: %w", err)
		case status.Exited() || status.Signaled():
			return 0, errGone
		default:
			return status, nil
		}
	}
}

// Shield is called for a process that was started with SysProcAttr.Ptrace by this thread, and has stopped at
// its first instruction: it makes the process carried and lets it go on. The thread must be the one that
// started it.
func Shield(pid int) error {
	if _, err := waitFor(pid); err != nil {
		return err
	}
	p, err := carry(pid)
	_ = detach(pid, 0) // its parent takes notice if it was killed
	if err != nil {
		return err
	}
	return p.mem.Close()
}

// nudge makes a waiting thread of the lab process look at the clock again. The lab process is a child of this one,
// where os/exec waits for its end, and that would take the stop of a traced thread for it: a ptrace stop goes
// to whichever thread of the tracer's process waits. But it is a Go program: SIGURG ends the waits of its
// runtime and does nothing else (runtime/preempt.go).
func nudge(pid, tid int) { _ = unix.Tgkill(pid, tid, unix.SIGURG) } // it fails if the thread has ended

// end makes a waiting thread return from its system call as if the time limit had come, if it still waits.
func (w wait) end(tid int, c call, p *carried) error {
	runtime.LockOSThread() // ptrace binds the tracee to it
	defer runtime.UnlockOSThread()
	if err := seize(tid, 0); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		return fmt.Errorf("trace thread %d: %w", tid, err)
	}
	_ = unix.PtraceInterrupt(tid) // it fails if the thread has ended
	status, err := waitFor(tid)
	if errors.Is(err, errGone) {
		return nil
	} else if err != nil {
		return err
	}
	if status.TrapCause() != unix.PTRACE_EVENT_STOP {
		// A signal came first. It ends the wait, or the call begins anew and is found again.
		letGo(tid, int(status.StopSignal()))
		return nil
	}
	defer letGo(tid, 0)
	waited, err := finish(tid, c, w.timedOut)
	if err == nil && waited && w.erase != nil {
		err = w.erase(p.mem, c.args)
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}
