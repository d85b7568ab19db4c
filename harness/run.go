//go:build linux

package harness

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

const (
	tick        = 50 * time.Millisecond // how often the cells' use of the CPU is looked at
	cellMemory  = 64 << 20              // bytes that a cell is given room for
	mostCells   = 512                   // that live at once, however much memory there is
	statusEvery = 6                     // ticks
	idleLoad    = 0.03                  // CPUs that a cell on the virtual clock keeps busy at most while it waits
)

// Run runs the cells and hands each to emit as it ends, already judged. A cell that waits takes no slot:
// the next one starts when the live ones leave room on Options.Jobs CPUs, as long as there is memory for it.
// emit and progress are called from one goroutine; an error of emit ends the run. When ctx ends, cells
// that are under way are ended and not emitted.
func (p *Plan) Run(ctx context.Context, emit func(*record.Cell) error, progress func(Status)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &runner{plan: p, ended: make(chan end), resting: make(chan *cell), live: map[record.Key]*cell{}, begin: time.Now(),
		room: float64(p.options.Jobs), retries: slices.Clone(p.retries)}
	defer r.drain(cancel)
	r.tryClock = sync.OnceValue(func() error {
		if err := CheckClock(ctx); err != nil {
			return fmt.Errorf("the virtual clock does not work here: %w", err)
		}
		return nil
	})
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for ticks := 0; r.left() > 0; ticks++ {
		r.startSome(ctx)
		if ticks%statusEvery == 0 && progress != nil {
			progress(r.status())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-r.resting:
			c.load, c.rests = 0, true // so that the next one can start now
		case e := <-r.ended:
			if e.unkept != nil {
				r.noClock = e.noClock
				r.start(ctx, r.live[e.key].plan.withRealClock(cmp.Or(e.noClock, e.unkept)))
				continue
			}
			if err := r.settle(e.facts, emit); err != nil {
				return err
			}
		case <-ticker.C:
			r.look()
		}
	}
	if progress != nil {
		progress(r.status())
	}
	return nil
}

// settle judges a cell that has ended, and hands it on.
func (r *runner) settle(c *record.Cell, emit func(*record.Cell) error) error {
	p := r.live[c.Key].plan
	r.account(c)
	r.plan.secrets.cell(c)
	verdict.Judge(&r.plan.header, c)
	r.adapt(c)
	if r.plan.again(c) {
		r.retries = append(r.retries, p.after(c))
	}
	return emit(c)
}

// A runner is the running state of a run.
type runner struct {
	plan     *Plan
	begin    time.Time
	looked   time.Time     // when look was last called
	used     time.Duration // CPU time of this program and all that it has started, then
	others   float64       // CPUs that were busy with that beside the cells
	own      float64       // CPUs that this program and its cells have kept busy of late
	gone     time.Duration // CPU time that cells used between the last look at them and their end
	room     float64       // CPUs for cells that work, at most Options.Jobs
	retries  []planned     // to be run again when all others have been
	next     int           // index of the cell that starts next
	noClock  error         // why no cell can have the virtual clock; nil: those that want it can
	tryClock func() error  // CheckClock, once: not one cell after the other shall fail to have it
	done     int
	live     map[record.Key]*cell
	resting  chan *cell // its command has ended, and the kernel takes its lab apart
	ended    chan end
}

// An end is how a cell ended.
type end struct {
	key     record.Key
	facts   *record.Cell
	unkept  error // not nil: its clock could not be kept, and it has to be run again, with the real one
	noClock error // then: why no cell's can
}

// startSome starts cells while there is room.
func (r *runner) startSome(ctx context.Context) {
	for r.next < len(r.plan.cells) && r.cpu() && len(r.live) < mostCells && r.memory() {
		c := r.plan.cells[r.next]
		r.next++
		r.start(ctx, c)
	}
	if c, ok := r.retryOne(); ok {
		r.start(ctx, c)
	}
}

// cpu reports whether the live cells leave room for one more, and whatever else this program does, which in
// tests may be further runs. One that starts keeps a CPU busy; half of that may be missing, since cells do
// not need theirs at the same moment.
func (r *runner) cpu() bool {
	sum, working := r.others, 0
	for _, c := range r.live {
		sum += c.load
		if !c.rests && (!c.looked || c.load > idleLoad) {
			working++
		}
	}
	if r.virtual() && working >= r.plan.options.Jobs {
		return false // those that do not wait for the kernel's timers keep a CPU busy, and what they live through without one counts
	}
	return len(r.live) == 0 || sum <= r.room-0.5
}

// virtual reports whether cells have the virtual clock.
func (r *runner) virtual() bool { return r.plan.options.Virtual && r.noClock == nil }

// memory reports whether there is room for a few more cells. Without live cells there always is.
func (r *runner) memory() bool {
	return len(r.live) == 0 || availableMemory() > 4*cellMemory
}

func (r *runner) start(ctx context.Context, p planned) {
	if p.skip != "" {
		r.live[p.key] = &cell{key: p.key, plan: p, start: time.Now()}
		go func() { r.ended <- end{facts: &record.Cell{Key: p.key, Outcome: record.Skipped, Note: p.skip}} }()
		return
	}
	if p.spec.Virtual && r.noClock != nil {
		p = p.withRealClock(r.noClock)
	}
	c, err := startCell(ctx, p.key, p.spec, r.plan.options.Captures)
	if err != nil && p.spec.Virtual {
		r.start(ctx, p.withRealClock(err))
		return
	}
	if err != nil {
		r.live[p.key] = &cell{key: p.key, plan: p, start: time.Now()}
		go func() {
			r.ended <- end{key: p.key, facts: &record.Cell{Key: p.key, Outcome: record.HarnessError, Note: err.Error()}}
		}()
		return
	}
	c.plan = p
	r.live[p.key] = c
	rest := func() {
		select {
		case r.resting <- c:
		case <-ctx.Done():
		}
	}
	go func() {
		e := end{key: p.key, facts: c.finish(p.spec.Timeout, rest)}
		if e.unkept = c.unkept; e.unkept != nil {
			e.noClock = r.tryClock()
		}
		r.ended <- e
	}()
}

// drain ends what is under way and waits for it.
func (r *runner) drain(cancel func()) {
	cancel()
	for range len(r.live) {
		<-r.ended
	}
}

// look finds out how much of a CPU each live cell has kept busy since the last look, and ends the programs of those
// that exceed their limits.
func (r *runner) look() {
	now, used := time.Now(), trees()
	since := now.Sub(r.looked)
	ours := used[os.Getpid()].cpu
	r.own = ownMemory*r.own + (1-ownMemory)*float64(ours-r.used)/float64(since)
	others := ours - r.used - r.gone
	for _, c := range r.live {
		if c.lab == nil {
			continue // it could not be started
		}
		so, alive := used[c.lab.PID()]
		switch {
		case !alive:
			c.load = 0
		case c.looked:
			c.load = float64(so.cpu-c.used) / float64(since)
		}
		if alive {
			others -= so.cpu - c.used
			c.watch(so)
		}
		c.used, c.looked = so.cpu, true
	}
	r.looked, r.used, r.gone = now, ours, 0
	r.others = max(0, float64(others)/float64(since)) // what nobody waited for is missing in the sum
}

func (r *runner) status() Status {
	s := Status{Done: r.done, Total: len(r.plan.cells), Elapsed: time.Since(r.begin), Left: -1}
	for _, c := range r.live {
		if c.lab != nil {
			s.Running = append(s.Running, Running{Key: c.key, For: time.Since(c.start)})
		}
	}
	slices.SortFunc(s.Running, func(a, b Running) int { return int(b.For - a.For) })
	for i := range min(3, len(s.Running)) {
		s.Running[i] = r.live[s.Running[i].Key].status()
		s.Running[i].Doing = r.plan.secrets.text(s.Running[i].Doing)
	}
	if r.next > 0 && r.next < s.Total && s.Elapsed > 10*time.Second { // by the cells that were started: those that wait say little
		s.Left = time.Duration(float64(s.Elapsed) / float64(r.next) * float64(s.Total-r.next))
	}
	return s
}

// clockTick is the unit of CPU times in /proc: USER_HZ is 100 on every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// trees returns what each process and its living descendants take from this machine.
func trees() map[int]usage {
	parent, used := map[int]int{}, map[int]usage{}
	for _, name := range processes() {
		if pid, ppid, u, ok := readStat("/proc/" + name + "/stat"); ok {
			parent[pid], used[pid] = ppid, u
		}
	}
	total := map[int]usage{}
	for pid, u := range used {
		for p, hops := pid, 0; p > 1 && hops < 64; p, hops = parent[p], hops+1 {
			sum := total[p]
			sum.add(u)
			total[p] = sum
		}
	}
	return total
}

// processes returns the numbers of all processes, and whatever else lies in /proc.
func processes() []string {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	return slices.DeleteFunc(names, func(s string) bool { return s[0] < '0' || s[0] > '9' })
}

// readStat reads /proc/PID/stat, see proc_pid_stat(5). CPU is that of the process and of those of its
// children that it has waited for.
func readStat(name string) (pid, ppid int, u usage, ok bool) {
	pid, f, ok := statFields(name)
	if !ok {
		return 0, 0, u, false
	}
	ppid, _ = strconv.Atoi(f[1])
	for _, ticks := range f[11:15] { // utime stime cutime cstime
		n, _ := strconv.ParseInt(ticks, 10, 64)
		u.cpu += time.Duration(n) * clockTick
	}
	u.tasks, _ = strconv.Atoi(f[17])
	pages, _ := strconv.ParseInt(f[21], 10, 64)
	u.memory = pages * int64(os.Getpagesize())
	return pid, ppid, u, true
}

// statFields returns the number of a process and the fields of its /proc/PID/stat from the third on, of which there
// are at least 22; false if it has ended.
func statFields(name string) (pid int, fields []string, ok bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, nil, false
	}
	text, rest, _ := strings.Cut(string(b), " ")
	pid, err = strconv.Atoi(text)
	fields = strings.Fields(rest[strings.LastIndexByte(rest, ')')+1:]) // the second one, the name, may hold anything
	return pid, fields, err == nil && len(fields) >= 22
}

// availableMemory returns the bytes that programs can still take, see proc_meminfo(5).
func availableMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var kib int64
		if n, _ := fmt.Sscanf(s.Text(), "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
