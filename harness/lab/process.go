//go:build linux

package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/harness/lab/clock"
)

// reexecName is the argv[0] by which a process knows that it is a lab process.
const reexecName = "simrun-lab"

// controlFD is the descriptor of a lab process on which it talks to its parent.
const controlFD = 3

// A Control is one end of the connection between a lab process and its parent: JSON values both ways.
// Send may be used concurrently, Receive by one goroutine at a time.
type Control struct {
	file    *os.File
	decoder *json.Decoder
	sending sync.Mutex
}

func newControl(f *os.File) *Control { return &Control{file: f, decoder: json.NewDecoder(f)} }

// Send sends a value to the other end.
func (c *Control) Send(v any) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	return json.NewEncoder(c.file).Encode(v)
}

// Receive waits for the next value of the other end. It returns io.EOF when there will be none.
func (c *Control) Receive(v any) error { return c.decoder.Decode(v) }

// An order is the first value that a lab process gets.
type order struct {
	Check bool          `json:",omitempty"` // only make sure that a lab can be made
	Nap   time.Duration `json:",omitempty"` // only sleep for so long, by a clock that is kept
}

// Reexec turns this process into a lab process if Start started it as one, and does not return then.
// A program that uses Start calls it first in main, and tests call it first in TestMain. The first value
// that the body receives from its parent is Start's input. The process is the first of its pid namespace:
// when it ends, so does everything that it has started.
func Reexec(body func(parent *Control) error) {
	if len(os.Args) == 0 || os.Args[0] != reexecName {
		return
	}
	keepFiles()
	if err := obey(body, newControl(os.NewFile(controlFD, "control"))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// keepFiles keeps the files that this process has from its parent from what it starts, which must not speak in its
// name: the connection to the parent, and what that has inherited itself.
func keepFiles() {
	if unix.CloseRange(controlFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) != nil { // Linux before 5.11
		unix.CloseOnExec(controlFD)
	}
}

func obey(body func(*Control) error, parent *Control) error {
	var o order
	if err := parent.Receive(&o); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	if o.Nap > 0 {
		return nap(parent, o.Nap)
	}
	if !o.Check {
		return body(parent)
	}
	if err := Mount(Files{ResolvConf: "nameserver " + gateway4.String() + "\n"}); err != nil {
		return err
	}
	n, err := NewNetwork(Config{})
	if err != nil {
		return err
	}
	return n.Close()
}

// complaintSize is how much is kept of either end of what a lab process says on standard error, in bytes.
const complaintSize = 4 << 10

// A Process is a lab process as seen from outside.
type Process struct {
	*Control
	cmd    *exec.Cmd
	stderr Ends
	done   chan struct{}
	err    error
}

// Start starts this program again as a lab process, in new user, network, mount and pid namespaces, and
// sends it input as JSON. It dies with this process, however this process ends, and with ctx.
func Start(ctx context.Context, input any, d Descriptors) (*Process, error) {
	return start(ctx, d, order{}, input)
}

// Descriptors are the open files that a lab process gets from its parent.
type Descriptors struct {
	Stdio   *[3]*os.File // standard input, output and error; nil means none
	Capture *os.File     // what CaptureFile returns there; nil means none
	Carried bool         // its clock can be moved by a clock.Keeper
}

// Check finds out whether lab processes can be made on this machine, by making one with its network. The
// error says what is missing.
func Check(ctx context.Context) error {
	p, err := start(ctx, Descriptors{}, order{Check: true})
	if err != nil {
		return err
	}
	defer p.Close()
	_, err = p.Wait()
	return err
}

// napTime is how long CheckClock sleeps by the clock that it checks.
const napTime = 3 * time.Second

// CheckClock finds out whether the clock of a lab can jump on this machine, by letting one sleep. The error
// says what is in the way.
func CheckClock(ctx context.Context) error {
	p, err := start(ctx, Descriptors{Carried: true}, order{Nap: napTime})
	if err != nil {
		return err
	}
	defer p.Close()
	var hello clock.Hello
	if err := p.Receive(&hello); err != nil {
		_, failure := p.Wait()
		return cmp.Or(failure, err) // why the process ended, rather than that it did
	}
	k, err := clock.Keep(p.PID(), hello, 0, p.Kill)
	if err != nil {
		p.Kill()
		return err
	}
	var slept time.Duration
	receiveErr := p.Receive(&slept)
	_, err = p.Wait()
	jumped, keepErr := k.Close()
	switch err = errors.Join(keepErr, err, receiveErr); {
	case err != nil:
		return err
	case jumped == 0 || slept < napTime || slept > 2*napTime:
		return fmt.Errorf("a sleep of %v took %v by the lab's clock, which jumped by %v", napTime, slept, jumped)
	}
	return nil
}

// nap lets another program sleep by a clock that the parent keeps, and tells how long that took.
func nap(parent *Control, d time.Duration) error {
	hello, err := clock.NewHello()
	if err != nil {
		return err
	}
	if err := parent.Send(hello); err != nil {
		return err
	}
	begin := time.Now()
	clock.TheBoard().Begin(begin.Add(time.Hour))
	err = exec.Command("sleep", fmt.Sprint(d.Seconds())).Run()
	clock.TheBoard().End()
	return errors.Join(err, parent.Send(time.Since(begin)))
}

func start(ctx context.Context, d Descriptors, values ...any) (*Process, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("connect to the lab process: %w", err)
	}
	defer theirs.Close()
	p := &Process{Control: newControl(ours), stderr: Ends{Size: complaintSize}, done: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, "/proc/self/exe")
	p.cmd.Args = []string{reexecName}
	p.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), // where the servers find git
		"GOGC=400",                  // a healthy cell ends before its first garbage collection, at 16 MB
		"GOMAXPROCS=1",              // until there is a network: on one CPU a start costs less
	}
	p.cmd.ExtraFiles = []*os.File{theirs}
	if d.Capture != nil {
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, d.Capture)
	}
	p.cmd.Stderr = &p.stderr
	if stdio := d.Stdio; stdio != nil {
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdio[0], stdio[1], stdio[2]
	}
	p.cmd.SysProcAttr = namespaces()
	if err := spawn(p.cmd, d.Carried); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start a lab process in new namespaces: %w", explain(err))
	}
	go p.wait()
	for _, v := range values {
		if err := p.Send(v); err != nil {
			p.Kill()
			<-p.done
			return nil, fmt.Errorf("send the cell to the lab process: %w%s", err, p.complaint())
		}
	}
	return p, nil
}

// namespaces are the attributes of a lab process: this user is root in it, and nobody else exists.
func namespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Killed reports whether somebody has ended the process by SIGKILL. It must have ended.
func (p *Process) Killed() bool {
	status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Kill ends the lab process and all that lives in its namespaces. It may be called at any time.
func (p *Process) Kill() { _ = p.cmd.Process.Kill() }

// Wait waits for the end of the process and returns what it and its descendants used. The error says
// what the process complained of. It may be called more than once.
func (p *Process) Wait() (Usage, error) {
	<-p.done
	return usageOf(p.cmd.ProcessState), p.err
}

func (p *Process) wait() {
	defer close(p.done)
	if err := p.cmd.Wait(); err != nil {
		p.err = fmt.Errorf("lab process: %w%s", err, p.complaint())
	}
}

// Close releases the connection to the process, which must have ended.
func (p *Process) Close() error { return p.file.Close() }

func (p *Process) complaint() string {
	if s := strings.TrimSpace(p.stderr.String()); s != "" {
		return ": " + s
	}
	return ""
}

// Usage is what a process and those of its descendants that it waited for have used.
type Usage struct {
	CPU    time.Duration // user and system
	MaxRSS int64         // bytes, of the largest of them
}

func usageOf(s *os.ProcessState) Usage {
	if s == nil {
		return Usage{}
	}
	ru := s.SysUsage().(*syscall.Rusage)
	return Usage{CPU: s.UserTime() + s.SystemTime(), MaxRSS: ru.Maxrss << 10}
}

// UsageOf returns what an ended process has used, with those of its descendants that it waited for.
func UsageOf(s *os.ProcessState) Usage { return usageOf(s) }

// spawner starts processes on one thread that lives as long as this process: the kernel sends the
// parent-death signal when the *thread* that forked ends, not the process (prctl(2), PR_SET_PDEATHSIG).
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// spawn starts a process, with a clock that can be moved if it is to be carried.
func spawn(cmd *exec.Cmd, carried bool) error {
	done := make(chan error)
	spawner() <- func() {
		cmd.SysProcAttr.Ptrace = carried
		err := cmd.Start()
		if err == nil && carried {
			err = clock.Shield(cmd.Process.Pid)
			if err != nil {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
		}
		done <- err
	}
	return <-done
}

// explain adds to the errors of clone(2) what they mean for namespaces.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (user namespaces are forbidden here; run simrun doctor)", err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return fmt.Errorf("%w (the limit on namespaces is reached; see /proc/sys/user)", err)
	}
	return err
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// Ends is a writer that keeps the first and the last bytes of what is written to it. It may be used
// concurrently. A crash of a Go program begins with its reason and may go on with much else.
type Ends struct {
	Size int // bytes of each end

	mu         sync.Mutex // guards what follows
	head, tail []byte
	cut        bool
}

func (e *Ends) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(len(p), e.Size-len(e.head))
	e.head, e.tail = append(e.head, p[:n]...), append(e.tail, p[n:]...)
	if over := len(e.tail) - e.Size; over > 0 {
		e.tail = append(e.tail[:0], e.tail[over:]...)
		e.cut = true
	}
	return len(p), nil
}

func (e *Ends) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cut {
		return string(e.head) + "\n[...]\n" + string(e.tail)
	}
	return string(e.head) + string(e.tail)
}

// PID returns the number of the lab process as this process sees it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// WaitExit waits for the end of a process whose exit status is not a failure of the lab.
func (p *Process) WaitExit() (exit int, err error) {
	<-p.done
	var failed *exec.ExitError
	if p.err != nil && !errors.As(p.err, &failed) {
		return 0, p.err
	}
	return p.cmd.ProcessState.ExitCode(), nil
}
