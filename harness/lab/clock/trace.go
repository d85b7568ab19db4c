package clock

import (
	"errors"
	"fmt"
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

// detach lets a stopped thread go on without a tracer.
func detach(tid, signal int) {
	_, _, _ = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(signal), 0, 0)
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
	p, err := carry(pid, 0, 0)
	detach(pid, 0)
	if err != nil {
		return err
	}
	return p.mem.Close()
}

// end makes a waiting thread return from its system call as if the time limit had come. It reports false if
// the thread waits no more.
func (w wait) end(tid int, c call, p *carried) (bool, error) {
	if err := seize(tid, 0); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return false, nil
		}
		return false, fmt.Errorf("trace thread %d: %w", tid, err)
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		return false, nil // it has ended
	}
	status, err := waitFor(tid)
	if errors.Is(err, errGone) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	signal := 0
	if status.TrapCause() != unix.PTRACE_EVENT_STOP {
		signal = int(status.StopSignal()) // it came first, and is delivered with the detach
	}
	defer detach(tid, signal)
	if signal != 0 {
		return false, nil // the signal ends the wait, or the call begins anew and is found again
	}
	waited, err := finish(tid, c.nr, w.timedOut)
	if err == nil && waited && w.erase != nil {
		err = w.erase(p.mem, c.args)
	}
	if errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	return waited, err
}
