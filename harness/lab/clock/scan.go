//go:build linux

package clock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxThreads bounds what a keeper looks at.
const maxThreads = 4096

// A sighting is what a look at the threads of a cell shows: each of them waits.
type sighting map[int]waiting

// same reports whether no thread has run between two looks.
func same(a, b sighting) bool {
	if len(a) != len(b) {
		return false
	}
	for tid, w := range a {
		if x, ok := b[tid]; !ok || x.turns != w.turns || x.call != w.call {
			return false
		}
	}
	return true
}

// A thread is what /proc tells of one. Its files stay open: to open one takes longer than to read it. They belong to
// the thread, and not to one that gets its number later.
type thread struct {
	pid                             int
	turns, syscall, state, children int // descriptors
}

// thread returns the thread with a number.
func (k *Keeper) thread(pid, tid int) (*thread, error) {
	if t := k.threads[tid]; t != nil {
		return t, nil
	}
	t := &thread{pid: pid}
	for name, fd := range map[string]*int{"schedstat": &t.turns, "syscall": &t.syscall, "stat": &t.state, "children": &t.children} {
		var err error
		if *fd, err = unix.Open(fmt.Sprintf("/proc/%d/task/%d/%s", pid, tid, name), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			t.close()
			return nil, err
		}
	}
	k.threads[tid] = t
	return t, nil
}

func (t *thread) close() {
	for _, fd := range []int{t.turns, t.syscall, t.state, t.children} {
		if fd > 0 {
			unix.Close(fd)
		}
	}
}

// drop lets go of a thread that has ended.
func (k *Keeper) drop(tid int) {
	if t := k.threads[tid]; t != nil {
		t.close()
		delete(k.threads, tid)
	}
}

// sleeps reports whether the state of the thread is "S", see proc_pid_stat(5).
func (t *thread) sleeps() bool {
	stat, err := reread(t.state)
	return err == nil && isAsleep(stat)
}

func isAsleep(stat string) bool {
	return strings.HasPrefix(stat[strings.LastIndexByte(stat, ')')+1:], " S ")
}

// softirqs returns the folders in /proc of the kernel's threads that deliver packets when there are too many
// for a CPU to do so at once. Inside a container they cannot be seen.
var softirqs = sync.OnceValue(func() []string {
	names, _ := list("/proc")
	var found []string
	for _, name := range names {
		if comm, err := slurp("/proc/" + name + "/comm"); err == nil && strings.HasPrefix(comm, "ksoftirqd/") {
			found = append(found, "/proc/"+name)
		}
	}
	return found
})

// interrupts reports whether a packet may be on its way inside the kernel.
func (k *Keeper) interrupts() bool {
	for _, dir := range k.softirqs {
		if stat, err := slurp(dir + "/stat"); err != nil || !isAsleep(stat) {
			return true
		}
	}
	return false
}

// scan looks at all threads of all processes of the cell. It reports changed if one of them does not wait. To look
// closely takes longer: a thread that is being woken seems to wait in its system call until the CPU on which it is
// to run takes notice, which may be a while later on a virtual machine (TASK_WAKING in the kernel's
// try_to_wake_up). Only its state in /proc/PID/stat tells. It is read first: who has run since has had a turn.
func (k *Keeper) scan(closely bool) (s sighting, changed bool, err error) {
	s = sighting{}
	todo, seen := []int{k.lab}, map[int]bool{}
	for len(todo) > 0 {
		pid := todo[0]
		todo = todo[1:]
		if seen[pid] {
			continue
		}
		seen[pid] = true
		children, waits, err := k.scanProcess(pid, s, closely)
		if err != nil || !waits {
			return nil, true, err
		}
		todo = append(todo, children...)
	}
	for pid := range k.processes {
		if !seen[pid] {
			k.forget(pid)
		}
	}
	return s, false, nil
}

// scanProcess adds the threads of a process to a sighting. It reports false if one of them does not wait.
func (k *Keeper) scanProcess(pid int, s sighting, closely bool) (children []int, waits bool, err error) {
	tids, err := list("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil, false, nil // it has ended meanwhile
	}
	alive := false
	for _, name := range tids {
		tid, _ := strconv.Atoi(name)
		w, more, err := k.sight(pid, tid, closely)
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ESRCH):
			k.drop(tid)
			return nil, false, nil
		case err != nil:
			return nil, false, err
		case w.call.nr == gone:
			continue
		case !w.idle:
			k.rest()
			return nil, false, nil
		}
		alive = true
		if s[tid] = w; len(s) > maxThreads {
			return nil, false, fmt.Errorf("the cell has more than %d threads", maxThreads)
		}
		children = append(children, more...)
	}
	if !alive {
		return children, true, nil // it has ended, and nobody has waited for it yet
	}
	_, err = k.process(pid)
	if err != nil {
		return nil, false, ifAlive(pid, err)
	}
	return children, true, nil
}

// process returns a process of the cell, carried already.
func (k *Keeper) process(pid int) (*carried, error) {
	if p := k.processes[pid]; p != nil {
		return p, nil
	}
	p, err := adopt(pid)
	if err != nil {
		return nil, err
	}
	return p, k.join(p)
}

// join makes a carried process one of the cell, with the time that it is there.
func (k *Keeper) join(p *carried) (err error) {
	if p.ahead, err = k.aheadOf(p.pid); err == nil {
		err = p.set(k.offsets(p))
	}
	if err != nil {
		p.mem.Close()
		return err
	}
	k.processes[p.pid] = p
	return nil
}

// sight looks at one thread, and returns the processes that it has started.
func (k *Keeper) sight(pid, tid int, closely bool) (w waiting, children []int, err error) {
	t, err := k.thread(pid, tid)
	if err != nil {
		return w, nil, err
	}
	asleep := !closely || t.sleeps()
	if w, err = t.sight(); err != nil || w.call.nr == gone {
		return w, nil, err
	}
	if w.call.nr == unix.SYS_RESTART_SYSCALL && k.offset > 0 {
		name, _ := slurp(fmt.Sprintf("/proc/%d/comm", pid))
		return w, nil, fmt.Errorf("%s: its sleep was interrupted, by a stop or by a signal that another thread took, and nobody can see for how long it still sleeps", strings.TrimSpace(name))
	}
	if w.idle = asleep && t.waits(w.call.nr); !w.idle {
		return w, nil, nil
	}
	text, err := reread(t.children)
	for _, f := range strings.Fields(text) {
		if child, err := strconv.Atoi(f); err == nil {
			children = append(children, child)
		}
	}
	return w, children, err
}

func (t *thread) sight() (w waiting, err error) {
	stat, err := reread(t.turns)
	if err != nil {
		return w, err
	}
	if f := strings.Fields(stat); len(f) == 3 {
		w.turns, _ = strconv.ParseUint(f[2], 10, 64)
	}
	line, err := reread(t.syscall)
	if err != nil {
		return w, err
	}
	w.pid = t.pid
	w.call, err = parseCall(line)
	return w, err
}

// waits reports whether the thread, which is in a system call, waits there for a limit, for another process, or for
// ever; not for a disk, not for the keeper, and not for what is left of a limit after the process was stopped, which nobody
// can see.
func (t *thread) waits(nr int64) bool {
	switch nr {
	case running, elsewhere, unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_RESTART_SYSCALL:
		return false
	}
	if _, known := waits[nr]; known {
		return true
	}
	return t.sleeps()
}

// stillIn reports whether a thread has not run since it was seen.
func (k *Keeper) stillIn(tid int, w waiting) bool {
	t, err := k.thread(w.pid, tid)
	if err != nil {
		return false
	}
	now, err := t.sight()
	return err == nil && now.turns == w.turns && now.call == w.call
}

// remember finds out when the waits of a sighting end. Those that go on keep the limit that they had.
func (k *Keeper) remember(s sighting) error {
	for tid, w := range s {
		if old, ok := k.waits[tid]; ok && old.turns == w.turns && old.call == w.call {
			s[tid] = w
			continue
		}
		limited, err := k.limit(w)
		if err != nil {
			return ifAlive(w.pid, err)
		}
		k.waits[tid] = limited
	}
	for tid := range k.waits {
		if _, ok := s[tid]; !ok {
			delete(k.waits, tid)
		}
	}
	return nil
}

// limit adds to a wait when it ends by itself. Where its limit is relative, it counts from the time after which no thread
// of the process has run: the wait has begun a little before that.
func (k *Keeper) limit(w waiting) (waiting, error) {
	how, known := waits[w.call.nr]
	if !known {
		return w, nil
	}
	p := k.processes[w.pid]
	l, err := how.limitOf(w.call, p.mem)
	if err != nil || !l.limited {
		return w, err
	}
	w.limited = true
	w.deadline = p.ran + l.value
	if l.clockID != relative {
		mono, real := k.offsets(p)
		offset := mono
		if isTimeOfDay(l.clockID) {
			offset = real
		}
		w.deadline = k.now() + l.value - (read(int32(l.clockID)) + offset)
	}
	w.runtime = w.call.nr == unix.SYS_FUTEX && l.clockID == relative
	return w, nil
}

// begin carries a new program and lets it run.
func (k *Keeper) begin(pid int) error {
	k.forget(pid) // what it was before
	p, err := carry(pid)
	if err == nil {
		err = k.join(p)
	}
	if err != nil {
		name, _ := slurp(fmt.Sprintf("/proc/%d/comm", pid))
		err = ifAlive(pid, fmt.Errorf("%s: %w", strings.TrimSpace(name), err))
	}
	letGo(pid, 0)
	return err
}

// processOf returns the process that a thread belongs to.
func processOf(tid int) (int, error) {
	status, err := slurp(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(status, "\nTgid:")
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.Atoi(strings.TrimSpace(line))
}

// writeTime writes a time to where a program wants it, and returns what its system call returns.
func writeTime(pid int, n notification, out, ns int64) (value int64, err error) {
	sec, rest := ns/1e9, ns%1e9
	var b []byte
	switch {
	case isTime(n.NR):
		value, b = sec, binary.NativeEndian.AppendUint64(nil, uint64(sec))
	case n.NR == unix.SYS_GETTIMEOFDAY:
		b = binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, uint64(sec)), uint64(rest/1000))
	default:
		b = binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, uint64(sec)), uint64(rest))
	}
	if out == 0 {
		return value, nil
	}
	mem, err := openMemory(strconv.Itoa(pid), unix.O_WRONLY)
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	_, err = mem.WriteAt(b, out)
	return value, err
}

// list returns the names in a folder.
func list(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// reread returns a small file of /proc that is open.
func reread(fd int) (string, error) {
	var b [4096]byte
	n, err := unix.Pread(fd, b[:], 0)
	if err != nil {
		return "", err
	}
	return string(bytes.TrimRight(b[:n], "\n")), nil
}

// slurp returns a small file of /proc. It is os.ReadFile without what that does to find out the size, which
// costs as much as the reading.
func slurp(name string) (string, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return reread(fd)
}
