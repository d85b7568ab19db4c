//go:build linux

package harness

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// A Plan is the cells of a run in the order in which they start.
type Plan struct {
	options Options
	header  record.Run
	cells   []planned
	retries []planned // that an earlier simrun ran, and that were contended
	secrets *redactor // of what is recorded
}

// A planned cell is all that is needed to start it.
type planned struct {
	key  record.Key
	spec *spec  // shared by all repetitions
	real *spec  // the same for the real clock, where that needs another world; nil: it does not
	skip string // why it cannot be run on this machine; empty: it can

	tries []record.Try // that were contended
}

// withRealClock returns the same cell for the real clock.
func (p planned) withRealClock(because error) planned {
	s := *cmp.Or(p.real, p.spec)
	s.Virtual, s.Unkept = false, because.Error()
	p.spec = &s
	return p
}

// NewPlan makes what the cells of a run share (modules, certificates, keys) and lines the cells up:
// repetition by repetition, so that the configs that are compared run close together in time. An error is
// an [*InputError] if it is the options that are wrong.
func NewPlan(ctx context.Context, o Options) (*Plan, error) {
	o.Repeat, o.Jobs = max(o.Repeat, 1), max(o.Jobs, 0)
	if o.Jobs == 0 {
		o.Jobs = runtime.NumCPU()
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	o.Limits = o.Limits.orDefault()
	if err := checkSize(&o); err != nil {
		return nil, err
	}
	p := &Plan{options: o, header: header(o), secrets: newRedactor(&o)}
	if err := checkImages(o.Scenarios, o.Images); err != nil {
		return nil, err
	}
	stages := newStages(&o)
	for _, s := range o.Scenarios {
		for _, project := range o.Projects {
			on, err := stages.of(ctx, s, project, clientClock(s))
			if err != nil {
				return nil, err
			}
			present := on // of the virtual clock, which is what the client's clock is ahead of
			if o.Virtual && clientClock(s) != 0 {
				if present, err = stages.of(ctx, s, project, 0); err != nil {
					return nil, err
				}
			}
			p.describeProject(project, on.universe)
			for _, c := range o.Configs {
				for _, g := range o.Go {
					if err := p.add(s, project, c, g, on, present); err != nil {
						return nil, err
					}
				}
			}
		}
	}
	p.repeat()
	p.cut()
	p.header = p.secrets.run(p.header)
	return p, nil
}

// maxCells bounds the cells of a run: each takes some memory before it starts.
const maxCells = 1_000_000

// checkSize refuses runs that would take this machine's memory before the first cell starts.
func checkSize(o *Options) error {
	cells := float64(len(o.Scenarios)) * float64(len(o.Projects)) * float64(len(o.Configs)) * float64(len(o.Go)) * float64(o.Repeat)
	if cells <= maxCells {
		return nil
	}
	return wrongInput("%d scenarios, %d projects, %d configs, %d Go releases and %d repetitions are %.0f cells, and a run has at most %d: choose some with --scenario and --config, or repeat less",
		len(o.Scenarios), len(o.Projects), len(o.Configs), len(o.Go), o.Repeat, cells, maxCells)
}

// header describes the run.
func header(o Options) record.Run {
	h := record.Run{
		Version: record.Version, Simrun: o.Version, Started: time.Now().UTC().Format(time.RFC3339),
		Host: thisHost(), Seed: o.Seed, Vars: o.Vars, Input: o.Input, Clock: clockName(o.Virtual), Isolation: "namespace",
		Timeout: record.Seconds(o.Timeout.Seconds()), Repeat: o.Repeat, Jobs: o.Jobs,
	}
	for _, g := range o.Go {
		h.Releases = append(h.Releases, g.Version)
	}
	for _, s := range o.Scenarios {
		h.Scenarios = append(h.Scenarios, describe(s))
	}
	h.Private = privateHosts(o.Scenarios)
	h.RTTs = requestedRTTs(o.Scenarios)
	for _, c := range o.Configs {
		h.Configs = append(h.Configs, describeConfig(c))
	}
	return h
}

// besideEnv names what a config has beside environment variables.
func besideEnv(c *scenarios.Config) []string {
	var also []string
	if c.Netrc != "" {
		also = append(also, "a ~/.netrc")
	}
	if c.GitConfig != "" {
		also = append(also, "a ~/.gitconfig")
	}
	if c.Cache == scenarios.CacheWarm {
		also = append(also, "a module cache that is kept")
	}
	if c.Retry != nil {
		also = append(also, "a wrapper that tries again: "+c.Retry.String())
	}
	if c.PAC != nil {
		also = append(also, "a PAC, and an agent that evaluates it")
	}
	return also
}

func describeConfig(c *scenarios.Config) record.Config {
	r := record.Config{Name: c.Name, About: c.About, Env: c.Env, Also: besideEnv(c), Where: c.Pos.String()}
	if c.Cache == scenarios.CacheWarm {
		r.Cache = string(c.Cache)
	}
	if c.Retry != nil {
		r.Retry = c.Retry.String()
	}
	return r
}

// privateHosts returns the hosts that may see private modules: those of a world that are marked so, and
// its forward proxies and name servers, which are the organisation's own.
func privateHosts(all []*scenarios.Scenario) []string {
	var names []string
	for _, s := range all {
		for _, h := range s.World.Hosts {
			if (h.Private || h.IsForwardProxy()) && !slices.Contains(names, h.Name) {
				names = append(names, h.Name)
			}
		}
	}
	return names
}

// requestedRTTs returns the round trips of all worlds' hosts, each once.
func requestedRTTs(all []*scenarios.Scenario) []record.RTT {
	var rtts []record.RTT
	for _, s := range all {
		for _, h := range s.World.Hosts {
			r := record.RTT{World: s.World.Name, Host: h.Name, RTT: seconds(h.Link.RTT)}
			if !slices.Contains(rtts, r) {
				rtts = append(rtts, r)
			}
		}
	}
	return rtts
}

func describe(s *scenarios.Scenario) record.Scenario {
	r := record.Scenario{Name: s.Name, About: s.About, World: s.World.Name, Weight: s.Weight, File: s.Pos.File, Digest: s.Digest()}
	for i := range s.Faults {
		f := &s.Faults[i]
		r.Faults = append(r.Faults, f.String())
		r.Windows = append(r.Windows, record.Window{From: seconds(f.From), Until: seconds(f.Until), Every: seconds(f.Every), For: seconds(f.For)})
	}
	if len(s.Faults) > 0 {
		r.Layer = s.Faults[0].Layer()
	}
	for _, e := range s.Expect {
		x := record.Expectation{Configs: e.Configs, Outcome: record.Outcome(e.Outcome), Class: e.Class, Where: e.Pos.String()}
		if e.Seconds != nil {
			low, high := record.Seconds(e.Seconds.Min), record.Seconds(e.Seconds.Max)
			x.Min, x.Max = &low, &high
		}
		r.Expect = append(r.Expect, x)
	}
	return r
}

func seconds(d time.Duration) record.Seconds { return record.Seconds(d.Seconds()) }

func thisHost() record.Host {
	h := record.Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return h
}

// describeProject adds a project to the header, once.
func (p *Plan) describeProject(project *scenarios.Project, u *fakeupstream.Universe) {
	if slices.ContainsFunc(p.header.Projects, func(r record.Project) bool { return r.Name == project.Name }) {
		return
	}
	r := record.Project{Name: project.Name, Run: project.Run, Digest: projectDigest(project, u)}
	for _, m := range u.Modules {
		if m.Private && !slices.Contains(r.Private, m.Path) {
			r.Private = append(r.Private, m.Path)
		}
	}
	p.header.Projects = append(p.header.Projects, r)
}

// projectDigest hashes what makes one project another: its command, and the modules that it finds.
func projectDigest(project *scenarios.Project, u *fakeupstream.Universe) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", project.Run)
	if m := project.Modules; m != nil && m.State != "" {
		fmt.Fprintf(h, "%q\n", m.State)
	}
	if project.Parallel > 1 {
		fmt.Fprintf(h, "%d at once\n", project.Parallel)
	}
	for _, m := range u.Modules {
		fmt.Fprintf(h, "%q\n", []string{m.Path, m.Version, m.Sum, m.GoModSum})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// add appends the first repetition of a cell, in the world of the real clock or in that of the virtual one.
func (p *Plan) add(s *scenarios.Scenario, project *scenarios.Project, c *scenarios.Config, g *Go, on, present *stage) error {
	own, err := p.newSpec(s, project, c, g, on)
	if err != nil {
		return err
	}
	cell := planned{key: record.Key{Scenario: s.Name, Config: c.Name, Project: project.Name, Go: g.Version}, spec: own, skip: missingProgram(s.World)}
	if present != on {
		cell.real = own
		if cell.spec, err = p.newSpec(s, project, c, g, present); err != nil {
			return err
		}
		cell.spec.Ahead = clientClock(s)
	}
	p.cells = append(p.cells, cell)
	return nil
}

func (p *Plan) newSpec(s *scenarios.Scenario, project *scenarios.Project, c *scenarios.Config, g *Go, on *stage) (*spec, error) {
	command, err := g.command(project, on.universe)
	if err != nil {
		return nil, err
	}
	o := &p.options
	own := &spec{World: s.World, Faults: s.Faults, Config: c, Universe: on.universe, Keys: on.keys, Trees: on.trees, Altered: on.altered, Images: o.Images,
		Command: command, Parallel: project.Parallel, Env: clientEnv(g, c, on.keys), Timeout: o.Timeout, Limits: o.Limits, Virtual: o.Virtual, Seed: o.Seed}
	if c.Cache == scenarios.CacheWarm {
		own.Warm = on.warm
	}
	own.Hidden, own.Shown = privateFolders(), shown(g, own)
	return own, nil
}

// repeat appends the other repetitions of all cells, which share all but their numbers.
func (p *Plan) repeat() {
	once := p.cells
	p.cells = slices.Grow(once, len(once)*(p.options.Repeat-1))
	for rep := 1; rep < p.options.Repeat; rep++ {
		for _, c := range once {
			c.key.Rep = rep
			p.cells = append(p.cells, c)
		}
	}
}

// Header describes the run as results.jsonl begins with it.
func (p *Plan) Header() record.Run { return p.header }

// Shell runs a command on the client host of the first scenario, config and project of the options, at the
// terminal of this process and without a deadline, and returns its exit status.
func Shell(ctx context.Context, o Options, argv []string) (exit int, err error) {
	p, err := NewPlan(ctx, o)
	if err != nil {
		return 0, err
	}
	s := *p.cells[0].spec
	program, err := o.Go[0].program(argv[0], s.Universe.Project)
	if err != nil {
		return 0, err
	}
	s.Shell, s.Command = true, append([]string{program}, argv[1:]...)
	s.Shown = shown(o.Go[0], &s)
	s.Env = append(slices.Clone(s.Env), "TERM="+os.Getenv("TERM"), "PS1="+p.cells[0].key.Scenario+"$ ")
	return runShellCell(ctx, &s)
}
