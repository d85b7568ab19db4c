//go:build linux

package lab

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/harness/lab/clock"
)

// maxLead bounds how much earlier than asked an alarm goes off.
const maxLead = 150 * time.Microsecond

// An alarm wakes a goroutine at a set time. Go's own timers are late by up to a millisecond in a process
// that sleeps, because epoll_wait counts in milliseconds; a timerfd (timerfd_create(2)) is exact, but a
// thread that sleeps still takes its time to wake up, more so on an idle virtual CPU. The alarm learns how
// long that takes and goes off so much earlier; who waits for it spends the rest, if any, awake.
type alarm struct {
	timer *os.File
	conn  syscall.RawConn // of timer
	set   atomic.Int64    // the time for which it is set, in the unit of the argument of at
	lead  atomic.Int64    // nanoseconds
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	conn, err := timer.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	return &alarm{timer: timer, conn: conn}, nil
}

// at sets the alarm to a time that is still to come.
func (a *alarm) at(due, now time.Duration) {
	wait := max(due-now-a.waking(), 1) // 0 would switch the timer off
	a.set.Store(int64(now + wait))
	clock.TheBoard().SetAlarm(time.Now().Add(wait))
	// It fails for a wrong argument and after close only.
	_ = a.conn.Control(func(fd uintptr) { _ = clock.SetTimer(int(fd), wait) })
}

// off says that nothing is to be waited for. The timer may still go off, for nothing.
func (a *alarm) off() { clock.TheBoard().SetAlarm(time.Time{}) }

// wait returns when the alarm goes off, and reports false when it is closed. It waits in Go's poller: a
// thread that blocks in read itself would keep one of the few processors of the runtime from the others
// for up to 10 ms (sysmon in runtime/proc.go).
func (a *alarm) wait() bool {
	var expirations [8]byte
	_, err := a.timer.Read(expirations[:])
	return err == nil
}

// woke learns from how late a waiting goroutine has come to run.
func (a *alarm) woke(now time.Duration) {
	late := int64(now) - a.set.Load()
	lead := a.lead.Load()
	lead += (late - lead) / 8
	a.lead.Store(min(max(lead, 0), int64(maxLead)))
}

// waking returns how long a sleeping goroutine takes to come to run, as far as is known.
func (a *alarm) waking() time.Duration { return time.Duration(a.lead.Load()) }

// near reports whether a time is so close that waiting for it asleep would be too long.
func (a *alarm) near(due, now time.Duration) bool { return due-now <= a.waking() }

func (a *alarm) close() { _ = a.timer.Close() }
