//go:build linux

package clock

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// How often a keeper looks at its cell.
const (
	soonest  = 500 * time.Microsecond // after something has happened
	coarse   = time.Millisecond       // what goroutines can wait for (netpoll in runtime/netpoll_epoll.go)
	latest   = 3 * time.Millisecond   // when nothing changes, or all the time something does
	atFirst  = 10 * time.Millisecond  // then, as long as the clock has not jumped
	lead     = 120 * time.Microsecond // before a packet is due: the link's goroutine takes as long to wake up
	minJump  = time.Millisecond       // what is nearer comes by itself
	far      = time.Second            // a jump beyond that is worth to look once more
	calmTime = 2 * time.Millisecond   // later: a CPU of a virtual machine may be away while a thread of it wakes up
)

// giveUp is how long after a connection has lost its last packet the kernel may end it: with the sixth
// retransmission of a SYN after 131 s, with Go's keep-alive probes after 150 s.
const giveUp = 120 * time.Second

// A Keeper moves the clock of one cell. Its methods may be used concurrently.
type Keeper struct {
	lab      int           // pid of the lab process
	listener *os.File      // of the filter
	fd       int           // that of listener
	stop     chan struct{} // closed to end the keeper
	done     chan struct{}
	abandon  func()
	err      error // set when done is closed

	board     int64
	ahead     time.Duration // how far the client host's clock is ahead of the lab's
	processes map[int]*carried
	threads   map[int]*thread
	offset    time.Duration
	waits     map[int]waiting
	pause     time.Duration
	timerfd   int           // of the packet link, -1: not known yet
	fired     int64         // alarm that was brought forward last
	calm      time.Duration // when a look found that the clock could jump far; 0: the look before did not
	softirqs  []string      // the kernel's threads that deliver packets when a CPU has too many

	closing sync.Once
}

// A waiting is a thread that was seen in a system call.
type waiting struct {
	pid      int
	turns    uint64 // how often the thread has been given a CPU
	call     call
	limited  bool
	deadline time.Duration // of the cell's monotonic clock
	runtime  bool          // a Go runtime's own, which is no sign of life
	idle     bool          // it waits for something that the keeper knows of
}

// Keep begins to move the clock of the cell whose lab process has a pid and has said hello. The time of day on the client
// host is ahead of the lab's by so much; negative: behind. If the keeper has to give up, it calls abandon, which must
// end the lab process.
func Keep(pid int, h Hello, ahead time.Duration, abandon func()) (*Keeper, error) {
	k := &Keeper{lab: pid, board: int64(h.Board), ahead: ahead, processes: map[int]*carried{}, threads: map[int]*thread{}, waits: map[int]waiting{},
		timerfd: -1, pause: atFirst, stop: make(chan struct{}), done: make(chan struct{}), abandon: abandon}
	k.softirqs = softirqs()
	var err error
	if k.fd, err = steal(pid, h.Listener); err != nil {
		return nil, fmt.Errorf("take the filter's listener: %w", err)
	}
	if err := unix.SetNonblock(k.fd, true); err != nil { // for os.NewFile: goroutines can wait for it then
		unix.Close(k.fd)
		return nil, err
	}
	k.listener = os.NewFile(uintptr(k.fd), "seccomp")
	go k.run()
	return k, nil
}

// steal returns a copy of a descriptor of another process: pidfd_getfd(2).
func steal(pid, fd int) (int, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(pidfd)
	return unix.PidfdGetfd(pidfd, fd, 0)
}

// Close ends the keeper. It returns the error for which it gave up, if it did, and how far the clock has
// jumped.
func (k *Keeper) Close() (jumped time.Duration, err error) {
	k.closing.Do(func() {
		close(k.stop)
		_ = k.listener.SetReadDeadline(time.Unix(0, 0)) // it is closed already if the keeper has ended
	})
	<-k.done
	return k.offset, k.err
}

func (k *Keeper) run() {
	defer close(k.done)
	defer k.release()
	for {
		reported, ended, err := k.wait()
		if err == nil && reported {
			err = k.notified()
		}
		if err == nil && !ended && !reported {
			err = k.look()
		}
		if err != nil {
			k.err = err
			k.abandon()
		}
		if err != nil || ended {
			return
		}
	}
}

// release frees what the keeper holds.
func (k *Keeper) release() {
	for _, p := range k.processes {
		p.mem.Close()
	}
	for _, t := range k.threads {
		t.close()
	}
	if k.timerfd >= 0 {
		unix.Close(k.timerfd)
	}
	k.listener.Close()
}

// wait waits until there is something to do.
func (k *Keeper) wait() (reported, ended bool, err error) {
	var events int16
	if pause := max(k.pause, soonest); k.offset > 0 || pause < coarse {
		events, err = k.poll(pause)
	} else {
		events, err = k.sleep(pause)
	}
	select {
	case <-k.stop:
		ended = true
	default:
	}
	over := events&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 // nobody is left who could report
	return events&unix.POLLIN != 0, over || ended, err
}

// poll waits for the listener in the kernel.
func (k *Keeper) poll(most time.Duration) (events int16, err error) {
	fds := []unix.PollFd{{Fd: int32(k.fd), Events: unix.POLLIN}}
	limit := unix.NsecToTimespec(int64(most))
	if _, err = unix.Ppoll(fds, &limit, nil); errors.Is(err, unix.EINTR) {
		err = nil
	}
	return fds[0].Revents, err
}

// sleep waits for the listener, or for Close, as goroutines do. It takes less CPU time than poll: the Go runtime watches
// threads that are in the kernel for long (sysmon in runtime/proc.go).
func (k *Keeper) sleep(most time.Duration) (events int16, err error) {
	conn, err := k.listener.SyscallConn()
	if err != nil {
		return 0, err
	}
	if err := k.listener.SetReadDeadline(time.Now().Add(most)); err != nil {
		return 0, err
	}
	select {
	case <-k.stop: // before the limit was set
		return 0, nil
	default:
	}
	var pollErr error
	err = conn.Read(func(uintptr) bool {
		events, pollErr = eventsOf(k.fd)
		return events != 0 || pollErr != nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return events, errors.Join(err, pollErr)
}

// notified answers one report of the filter.
func (k *Keeper) notified() error {
	n, err := receive(k.fd)
	if errors.Is(err, unix.ENOENT) {
		return nil // the thread has died meanwhile
	}
	if err != nil {
		return fmt.Errorf("receive a report: %w", err)
	}
	k.pause = 0
	switch {
	case n.Arch != machines[runtime.GOARCH].audit:
		return k.unable(n, "it is a program for another architecture")
	case n.NR == unix.SYS_EXECVE || n.NR == unix.SYS_EXECVEAT:
		return k.follow(n)
	case isTime(n.NR) || n.NR == unix.SYS_CLOCK_GETTIME || n.NR == unix.SYS_GETTIMEOFDAY:
		return k.tell(n)
	case harmless(n):
		proceed(k.fd, n)
		return nil
	}
	return k.unable(n, fmt.Sprintf("system call %d has a timer that cannot be moved", n.NR))
}

// harmless reports whether a system call has nothing to do with time after all.
func harmless(n notification) bool {
	switch n.NR {
	case unix.SYS_SETITIMER: // ITIMER_VIRTUAL and ITIMER_PROF count CPU time
		return n.Args[0] != 0 || switchesOff(n)
	case unix.SYS_RT_SIGTIMEDWAIT:
		return n.Args[2] == 0
	case unix.SYS_SEMTIMEDOP:
		return n.Args[3] == 0
	case unix.SYS_RECVMMSG, unix.SYS_MQ_TIMEDSEND, unix.SYS_MQ_TIMEDRECEIVE:
		return n.Args[4] == 0
	}
	return isAlarm(n.NR) && n.Args[0] == 0
}

// switchesOff reports whether a call of setitimer(2) asks for no timer.
func switchesOff(n notification) bool {
	pid, err := processOf(int(n.PID))
	if err != nil {
		return true // it has died
	}
	mem, err := openMemory(strconv.Itoa(pid), unix.O_RDONLY)
	if err != nil {
		return false
	}
	defer mem.Close()
	var value [32]byte // struct itimerval
	_, err = mem.ReadAt(value[:], int64(n.Args[1]))
	return err == nil && value == [32]byte{}
}

func (k *Keeper) unable(n notification, why string) error {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", n.PID))
	return fmt.Errorf("%s: %s", strings.TrimSpace(string(name)), why)
}

// follow lets a thread become a new program, and carries that before its first instruction.
func (k *Keeper) follow(n notification) error {
	tid := int(n.PID)
	switch err := unix.Tgkill(tid, tid, 0); {
	case errors.Is(err, unix.ESRCH):
		if _, err := processOf(tid); err != nil {
			return nil // it has died
		}
		return k.unable(n, "it becomes another program from a thread that is not its first")
	case err != nil:
		return k.unable(n, fmt.Sprintf("it cannot be sent a signal: %v", err))
	}
	runtime.LockOSThread() // ptrace binds the tracee to it
	defer runtime.UnlockOSThread()
	if err := seize(tid, unix.PTRACE_O_TRACEEXEC); errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return k.unable(n, fmt.Sprintf("it cannot be traced: %v", err))
	}
	proceed(k.fd, n)
	_ = unix.PtraceInterrupt(tid) // it stops in any case: as the new program, or because there is no such program
	for {
		status, err := waitFor(tid)
		switch {
		case errors.Is(err, errGone):
			return nil
		case err != nil:
			return err
		case status.TrapCause() == unix.PTRACE_EVENT_EXEC:
			k.pause = coarse // it has to start first
			return k.begin(tid)
		case status.TrapCause() == unix.PTRACE_EVENT_STOP:
			letGo(tid, 0)
			return nil
		}
		resume(tid, int(status.StopSignal()))
	}
}

// tell answers a program that asks the kernel itself for the time.
func (k *Keeper) tell(n notification) error {
	pid, err := processOf(int(n.PID))
	if err != nil {
		return nil // it has died
	}
	p, err := k.process(pid)
	if err != nil {
		return ifAlive(pid, err)
	}
	if p.hasVDSOAt(n.IP) {
		proceed(k.fd, n) // the kernel's function does not know this clock, and ours is going to add to it
		return nil
	}
	mono, real := k.offsets(p)
	clockID, out, add := int(int32(n.Args[0])), int64(n.Args[1]), real
	if n.NR != unix.SYS_CLOCK_GETTIME {
		clockID, out = unix.CLOCK_REALTIME, int64(n.Args[0])
	}
	switch {
	case isTimeOfDay(clockID):
	case countsFromStart(clockID):
		add = mono
	default:
		proceed(k.fd, n)
		return nil
	}
	now, ok := readClock(int32(clockID))
	if !ok {
		proceed(k.fd, n)
		return nil
	}
	value, err := writeTime(pid, n, out, int64(now+add))
	if err != nil {
		return k.unable(n, err.Error())
	}
	succeed(k.fd, n, value)
	return nil
}

// isTimeOfDay reports whether a clock shows the time of day.
func isTimeOfDay(clockID int) bool {
	switch clockID {
	case unix.CLOCK_REALTIME, unix.CLOCK_REALTIME_COARSE, unix.CLOCK_REALTIME_ALARM, unix.CLOCK_TAI:
		return true
	}
	return false
}

// countsFromStart reports whether a clock counts from the start of the machine.
func countsFromStart(clockID int) bool {
	switch clockID {
	case unix.CLOCK_MONOTONIC, unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
		return true
	}
	return false
}

// look looks at the cell, and lets its clock jump if nothing can happen before the next time limit.
func (k *Keeper) look() error {
	lab, err := k.process(k.lab)
	if err != nil {
		return ifAlive(k.lab, err)
	}
	calm := k.calm
	k.calm = 0 // unless this look finds the same
	b, err := readBoard(lab.mem, k.board)
	if err != nil {
		return ifAlive(k.lab, err)
	}
	if b.Running == 0 {
		k.rest()
		return nil
	}
	if err := k.overdue(lab, b); err != nil {
		return err
	}
	if k.ran() {
		k.rest()
		return nil
	}
	k.pause = min(k.pause, coarse) // all seem to wait by now
	if b.kernelActs() {
		k.rest()
		return nil
	}
	first, changed, err := k.scan(false)
	if err != nil || changed {
		return err
	}
	again, changed, err := k.scan(true)
	if err != nil || changed {
		return err
	}
	if !same(first, again) || k.ran() || k.interrupts() {
		k.pause, k.calm = 0, 0
		return nil
	}
	if err := k.remember(first); err != nil {
		return err
	}
	if b, err = readBoard(lab.mem, k.board); err != nil {
		return ifAlive(k.lab, err)
	}
	k.calm = calm
	return k.idle(lab, b)
}

// ran reports whether a known process of the cell has used a CPU since the last time, see clock_getcpuclockid(3). It
// costs little, unlike a look at all threads.
func (k *Keeper) ran() bool {
	ran := false
	for pid, p := range k.processes {
		const sched = 2 // CPUCLOCK_SCHED of include/linux/posix-timers.h: all that its threads have run
		used, ok := readClock(int32(^pid<<3 | sched))
		if !ok { // it has ended
			k.forget(pid)
		}
		if !ok || used != p.used {
			p.used, p.ran, ran = used, k.now(), true
		}
	}
	return ran
}

// forget drops a process that has ended.
func (k *Keeper) forget(pid int) {
	if p := k.processes[pid]; p != nil {
		p.mem.Close()
		delete(k.processes, pid)
	}
	for tid, t := range k.threads {
		if t.pid == pid {
			k.drop(tid)
		}
	}
}

// rest makes the pause until the next look longer.
func (k *Keeper) rest() {
	if k.offset == 0 { // no limit can pass unnoticed by the kernel
		k.pause = min(k.pause+latest, atFirst)
		return
	}
	k.pause = min(max(k.pause+k.pause/4, soonest), latest)
}

// ifAlive returns an error unless the process that it is about has ended.
func ifAlive(pid int, err error) error {
	if _, gone := os.Stat(fmt.Sprintf("/proc/%d/auxv", pid)); gone != nil {
		return nil
	}
	if b, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid)); readErr != nil || len(b) == 0 {
		return nil // a process that has ended and that nobody has waited for
	}
	return err
}

// idle is called when every thread waits: nothing happens before the next limit. If there is none but the
// deadline, which is a timer of the lab process, the cell hangs.
func (k *Keeper) idle(lab *carried, b notice) error {
	now := k.now()
	deadline := k.ofWallClock(b.Deadline, now)
	next, alive := deadline, false
	for _, w := range k.waits {
		if !w.limited {
			continue
		}
		next = min(next, w.deadline)
		alive = alive || !w.runtime && (w.pid != k.lab || w.deadline < deadline-time.Second)
	}
	if b.Alarm != 0 {
		next, alive = min(next, k.ofWallClock(b.Alarm, now)-lead), true
	}
	switch {
	case b.kernelActs():
		k.rest()
		return nil
	case b.Doomed > 0 && next > k.ofWallClock(b.Since, now)+giveUp:
		return errors.New("the kernel may end a connection on which nothing gets through before anything else happens")
	case next-now < minJump:
		k.pause = max(next-now, soonest)
		return nil
	case !alive && b.Doomed == 0 && b.Hung == 0:
		if err := sayHung(lab.mem, k.board); err != nil {
			return ifAlive(k.lab, err)
		}
	}
	if next-now > far && k.calm == 0 {
		k.calm, k.pause = now, calmTime
		return nil
	}
	return k.jump(lab, b, next-now)
}

// jump moves the clock of all processes and ends the waits whose limit has come.
func (k *Keeper) jump(lab *carried, b notice, by time.Duration) error {
	k.offset += by
	k.pause, k.calm = 0, 0
	for pid, p := range k.processes {
		if err := p.set(k.offsets(p)); err != nil {
			if err = ifAlive(pid, err); err != nil {
				return fmt.Errorf("set the clock of process %d: %w", pid, err)
			}
		}
	}
	return k.overdue(lab, b)
}

// overdue ends the waits whose limit has come. The kernel does so by itself where the clock has not jumped
// since they began.
func (k *Keeper) overdue(lab *carried, b notice) error {
	if k.offset == 0 {
		return nil
	}
	now := k.now()
	if b.Alarm != 0 && b.Alarm != k.fired && k.ofWallClock(b.Alarm, now)-lead <= now {
		k.fired = b.Alarm
		if err := k.fire(); err != nil {
			return ifAlive(k.lab, err)
		}
	}
	for tid, w := range k.waits {
		if !w.limited || w.deadline > now {
			continue
		}
		delete(k.waits, tid)
		p := k.processes[w.pid]
		if p == nil || !k.stillIn(tid, w) {
			continue
		}
		if w.pid == k.lab {
			nudge(w.pid, tid)
			continue
		}
		if err := waits[w.call.nr].end(tid, w.call, p); err != nil {
			return ifAlive(w.pid, err)
		}
	}
	return nil
}

// fire makes the packet link's timer go off.
func (k *Keeper) fire() error {
	if k.timerfd < 0 {
		fd, err := findTimer(k.lab)
		if err != nil {
			return err
		}
		k.timerfd = fd
	}
	return setTimer(k.timerfd, 1)
}

// findTimer returns a copy of the timerfd of a process that has one.
func findTimer(pid int) (int, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if to, err := os.Readlink(dir + "/" + e.Name()); err == nil && to == "anon_inode:[timerfd]" {
			fd, err := strconv.Atoi(e.Name())
			if err != nil {
				return 0, err
			}
			return steal(pid, fd)
		}
	}
	return 0, errors.New("the lab process has no timer")
}

// now returns the time of the cell's monotonic clock.
func (k *Keeper) now() time.Duration { return read(unix.CLOCK_MONOTONIC) + k.offset }

// ofWallClock turns a time of the lab's wall clock into one of the monotonic clock, now.
func (k *Keeper) ofWallClock(ns int64, now time.Duration) time.Duration {
	return now + time.Duration(ns) - (read(unix.CLOCK_REALTIME) + k.offset)
}

// offsets returns what is added to the clocks of a process.
func (k *Keeper) offsets(p *carried) (mono, real time.Duration) { return k.offset, k.offset + p.ahead }

// aheadOf returns how far the time of day of a process is ahead of the lab's: as that of the client host, if it
// runs there.
func (k *Keeper) aheadOf(pid int) (time.Duration, error) {
	if k.ahead == 0 || pid == k.lab {
		return 0, nil
	}
	lab, err := k.process(k.lab)
	if err != nil {
		return 0, err
	}
	b, err := readBoard(lab.mem, k.board)
	if err != nil {
		return 0, err
	}
	var ns unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &ns); err != nil {
		return 0, fmt.Errorf("find out on which host process %d is: %w", pid, err)
	}
	if int64(ns.Ino) != b.Client {
		return 0, nil
	}
	return k.ahead, nil
}
