// Package harness plans, runs and records the cells of a run: each is one real go command inside a
// network of its own (package lab) of which package fakeupstream and package dnsfake are the servers.
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// Options say what a run consists of.
type Options struct {
	Scenarios []*scenarios.Scenario
	Configs   []*scenarios.Config
	Projects  []*scenarios.Project
	Go        *Go
	Vars      map[string]string // that the files were loaded with
	Repeat    int               // repetitions of each cell; 0 means 1
	Jobs      int               // cells that may work at once; 0 means one per CPU
	Timeout   time.Duration     // deadline of each cell; 0 means DefaultTimeout
	Seed      uint64            // of all that is drawn at random
	CacheDir  string            // where generated modules are kept between runs
	Version   string            // of simrun
}

// An InputError says that what the Options ask for cannot be run, such as a project whose modules are not
// in the module cache. All other errors are the harness's own or the machine's.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns e.Err.
func (e *InputError) Unwrap() error { return e.Err }

func wrongInput(format string, args ...any) error { return &InputError{fmt.Errorf(format, args...)} }

// DefaultTimeout is the deadline of a cell: twice the go command's longest single wait that ends by itself.
const DefaultTimeout = 60 * time.Second

// A Plan is the cells of a run in the order in which they start.
type Plan struct {
	options Options
	header  record.Run
	cells   []planned
}

// A planned cell is all that is needed to start it.
type planned struct {
	key  record.Key
	spec *spec
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
	p := &Plan{options: o, header: header(o)}
	keys := map[*scenarios.World]keys{}
	sources := map[source]*fakeupstream.Universe{}
	for _, s := range o.Scenarios {
		if _, ok := keys[s.World]; !ok {
			k, err := newKeys(s.World, o.Vars["go-sumdb"])
			if err != nil {
				return nil, fmt.Errorf("make the keys of world %s: %w", s.World.Name, err)
			}
			keys[s.World] = k
		}
		for _, project := range o.Projects {
			if err := p.prepare(ctx, sources, s.World, project); err != nil {
				return nil, err
			}
		}
	}
	for rep := range o.Repeat {
		for _, s := range o.Scenarios {
			for _, project := range o.Projects {
				u := sources[sourceOf(s.World, project)]
				command, err := o.Go.command(project, u)
				if err != nil {
					return nil, err
				}
				for _, c := range o.Configs {
					p.add(rep, s, project, c, keys[s.World], u, command)
				}
			}
		}
	}
	p.header.Cells = len(p.cells)
	return p, nil
}

// header describes the run.
func header(o Options) record.Run {
	h := record.Run{
		Version: record.Version, Simrun: o.Version, Started: time.Now().UTC().Format(time.RFC3339),
		Host: thisHost(), Seed: o.Seed, Vars: o.Vars, Clock: "real", Isolation: "namespace",
		Timeout: record.Seconds(o.Timeout.Seconds()), Repeat: o.Repeat, Jobs: o.Jobs,
	}
	for _, s := range o.Scenarios {
		h.Scenarios = append(h.Scenarios, describe(s))
	}
	h.Private = privateHosts(o.Scenarios)
	for _, c := range o.Configs {
		h.Configs = append(h.Configs, record.Config{Name: c.Name, About: c.About, Env: c.Env})
	}
	return h
}

// privateHosts returns the hosts that may see private modules: those of a world that are marked so, and
// its forward proxies and name servers, which are the organisation's own.
func privateHosts(all []*scenarios.Scenario) []string {
	var names []string
	for _, s := range all {
		for _, h := range s.World.Hosts {
			if (h.Private || h.Role == scenarios.RoleForwardProxy) && !slices.Contains(names, h.Name) {
				names = append(names, h.Name)
			}
		}
	}
	return names
}

func describe(s *scenarios.Scenario) record.Scenario {
	r := record.Scenario{Name: s.Name, About: s.About, World: s.World.Name, Weight: s.Weight, File: s.Pos.File}
	for i := range s.Faults {
		r.Faults = append(r.Faults, s.Faults[i].String())
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

func thisHost() record.Host {
	h := record.Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return h
}

// newKeys makes the certificates and database keys of a world's hosts.
func newKeys(w *scenarios.World, goSumDB string) (keys, error) {
	k := keys{Leaves: map[string][]byte{}, SumDB: map[string]dbKey{}}
	ca, err := fakeupstream.NewCA(time.Now())
	if err != nil {
		return k, err
	}
	k.CA = ca.PEM()
	byName := map[string]dbKey{}
	for _, h := range w.Hosts {
		leaf, err := ca.Leaf(h.Name)
		if err != nil {
			return k, err
		}
		if k.Leaves[h.Name], err = fakeupstream.MarshalCertificate(leaf); err != nil {
			return k, err
		}
		if h.Role != scenarios.RoleChecksumDB {
			continue
		}
		name := databaseName(h.Name, goSumDB)
		if _, ok := byName[name]; !ok {
			signer, verifier, err := note.GenerateKey(nil, name)
			if err != nil {
				return k, err
			}
			byName[name] = dbKey{name, signer, verifier}
		}
		k.SumDB[h.Name] = byName[name]
	}
	return k, nil
}

// databaseName returns the name of the database that a host serves. The go command knows one database
// under two hosts: dbDial in cmd/go/internal/modfetch/sumdb.go.
func databaseName(host, goSumDB string) string {
	if host == "sum.golang.google.cn" && goSumDB != "" {
		return goSumDB
	}
	return host
}

// A source is what a universe of modules is made from.
type source struct {
	project         *scenarios.Project
	public, private string // VCS hosts, joined
}

func sourceOf(w *scenarios.World, p *scenarios.Project) source {
	hosts := vcsHosts(w)
	return source{p, strings.Join(hosts.Public, " "), strings.Join(hosts.Private, " ")}
}

// vcsHosts returns the hosts below which the modules of a world have their paths.
func vcsHosts(w *scenarios.World) (hosts fakeupstream.Hosts) {
	for _, h := range w.Hosts {
		switch {
		case h.Role != scenarios.RoleVCS:
		case h.Private:
			hosts.Private = append(hosts.Private, h.Name)
		default:
			hosts.Public = append(hosts.Public, h.Name)
		}
	}
	return hosts
}

// prepare makes the universe of modules that a project needs in a world, once, and describes the project.
func (p *Plan) prepare(ctx context.Context, made map[source]*fakeupstream.Universe, w *scenarios.World, project *scenarios.Project) error {
	key := sourceOf(w, project)
	if _, ok := made[key]; ok {
		return nil
	}
	u, err := p.universe(ctx, w, project)
	if err != nil {
		return fmt.Errorf("project %s: %w", project.Name, err)
	}
	made[key] = u
	described := slices.ContainsFunc(p.header.Projects, func(r record.Project) bool { return r.Name == project.Name })
	if described {
		return nil
	}
	r := record.Project{Name: project.Name, Run: project.Run}
	for _, m := range u.Modules {
		if m.Private && !slices.Contains(r.Private, m.Path) {
			r.Private = append(r.Private, m.Path)
		}
	}
	p.header.Projects = append(p.header.Projects, r)
	return nil
}

// universe returns the modules of a project: generated ones, or those of the user's module cache.
func (p *Plan) universe(ctx context.Context, w *scenarios.World, project *scenarios.Project) (*fakeupstream.Universe, error) {
	if project.Modules == nil {
		return p.cached(ctx, project)
	}
	m, hosts := *project.Modules, vcsHosts(w)
	if err := fits(m, hosts); err != nil {
		return nil, wrongInput("it does not fit world %s: %w", w.Name, err)
	}
	name := fmt.Sprintf("modules-%d-%d-%d-%d-%d-%d-%s", m.Seed, m.Public, m.Private, m.Versions, m.Depth, m.ZipSize,
		strings.Join(append(slices.Clone(hosts.Public), hosts.Private...), "+"))
	return fakeupstream.Generate(ctx, filepath.Join(p.options.CacheDir, name), m, hosts)
}

// fits reports what a world lacks for generated modules to have their paths below its hosts.
func fits(m scenarios.Modules, hosts fakeupstream.Hosts) error {
	switch {
	case m.Public > 0 && len(hosts.Public) == 0:
		return errors.New("the project has public modules, and the world no host with the role vcs")
	case m.Private > 0 && len(hosts.Private) == 0:
		return errors.New("the project has private modules, and the world no private host with the role vcs")
	}
	return nil
}

// cached returns the user's own modules, or says which are missing.
func (p *Plan) cached(ctx context.Context, project *scenarios.Project) (*fakeupstream.Universe, error) {
	g := p.options.Go
	u, missing, err := fakeupstream.FromCache(ctx, project.Dir, g.ModCache, g.Path, g.Private)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &InputError{err}
	case len(missing) > 0:
		return nil, wrongInput("%d of the %d modules that it needs must be fetched into the module cache first:\n\tcd %s && %s",
			len(missing), len(u.Modules), project.Dir, downloadCommand(missing))
	}
	return u, nil
}

// downloadCommand is [fakeupstream.DownloadCommand] that fits on a screen.
func downloadCommand(missing []module.Version) string {
	const most = 10
	if len(missing) > most {
		return "go mod download all"
	}
	return fakeupstream.DownloadCommand(missing)
}

// add appends a cell.
func (p *Plan) add(rep int, s *scenarios.Scenario, project *scenarios.Project, c *scenarios.Config, k keys, u *fakeupstream.Universe, command []string) {
	o := &p.options
	p.cells = append(p.cells, planned{
		key: record.Key{Scenario: s.Name, Config: c.Name, Project: project.Name, Go: o.Go.Version, Rep: rep},
		spec: &spec{World: s.World, Faults: s.Faults, Config: c, Universe: u, Keys: k,
			Command: command, Env: clientEnv(o.Go, c.Env, k), Timeout: o.Timeout, Seed: o.Seed + uint64(rep)},
	})
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
	program, err := o.Go.program(argv[0], s.Universe.Project)
	if err != nil {
		return 0, err
	}
	s.Shell, s.Command = true, append([]string{program}, argv[1:]...)
	s.Env = append(slices.Clone(s.Env), "TERM="+os.Getenv("TERM"), "PS1="+p.cells[0].key.Scenario+"$ ")
	return runShellCell(ctx, &s)
}
