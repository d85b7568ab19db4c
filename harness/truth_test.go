//go:build linux

package harness

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// Limits of a try of a probe.
const (
	enough  = 40 * time.Second // for whatever is to be whole in the end
	silence = 6 * time.Second  // after which nothing is taken to come any more
)

// bulk is how many bytes a probe of a rate sends at least, and how long the zip files are that it fetches.
const bulk = 128 << 10

// A check is a probe of a declared fault, and what it sees if the fault is there. The same probe of the
// same world without the fault must see everything well.
type check struct {
	fault  string
	about  string
	probe  probe
	shows  func(sighting) bool
	partly bool               // only some of the tries show the fault
	absent bool               // the fault is not in force at the time of the probe
	picks  func(try int) bool // which tries show the fault, from 1 on; nil means all, or some if partly is set
}

// TestFaultsAreThere runs an independent client, which is not the go command, in every scenario of the
// library and of testdata/faults.yaml, and in the same worlds without the faults: each fault must be seen as
// it is declared, and none without it. What to look for is derived from the declaration.
func TestFaultsAreThere(t *testing.T) {
	t.Parallel()
	requireLab(t)
	o := probeOptions(t)
	own, err := scenarios.Load([]string{"testdata/faults.yaml"}, scenarios.Options{Vars: o.Vars})
	require.NoError(t, err)
	all := slices.Concat(o.Scenarios, own.Scenarios)
	o.Scenarios = slices.Clone(all)
	declared := map[string]*scenarios.Scenario{} // by the names of the scenarios and of their controls
	for _, s := range all {
		control := *s
		control.Name, control.Faults = withoutFaults(s.Name), nil
		o.Scenarios = append(o.Scenarios, &control)
		declared[s.Name], declared[control.Name] = s, s
	}
	checks := map[string][]check{}
	cells := runProbeCells(t, o, func(scenario string, u *fakeupstream.Universe) (probes []probe) {
		own, err := checksOf(declared[scenario], u)
		require.NoError(t, err, scenario)
		checks[scenario] = own
		for _, c := range own {
			probes = append(probes, c.probe)
		}
		return probes
	})
	controls, voids := 0, 0
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			with, without := sightingsOf(t, cells[s.Name]), sightingsOf(t, cells[withoutFaults(s.Name)])
			for i, c := range checks[s.Name] {
				c.verify(t, with[i], without[i])
				controls++
				if !c.controlled(without[i]) {
					voids++
					t.Logf("%s: void, as the control shows it, too: %+v", c.about, without[i])
				}
			}
			verifyShares(t, checks[s.Name], with, without)
			for _, f := range cells[s.Name].Faults {
				assert.Positive(t, f.Bit, "the counter of %s", f.Fault)
			}
		})
	}
	assert.LessOrEqual(t, 20*voids, controls, "controls of %d in which the fault shows where there is none", controls)
}

// withoutFaults returns the name of the negative control of a scenario.
func withoutFaults(scenario string) string { return "without-" + scenario }

// probeOptions are the options of a run of all scenarios with a project whose modules have large zip files.
func probeOptions(t *testing.T) Options {
	t.Helper()
	o := libraryOptions(t)
	program, err := os.Executable()
	require.NoError(t, err)
	o.Configs = []*scenarios.Config{{Name: "none"}}
	o.Projects = []*scenarios.Project{{
		Name:    "probes",
		Modules: &scenarios.Modules{Seed: 1, Public: 2, Private: 1, Versions: 2, Depth: 1, ZipSize: bulk},
		Run:     []string{program, probeWord},
	}}
	return o
}

// libraryOptions are the options of a run of the whole built-in library.
func libraryOptions(t *testing.T) Options {
	t.Helper()
	g, err := FindGo(t.Context(), "")
	require.NoError(t, err)
	vars := g.Vars()
	for name, host := range map[string]string{"go-proxy": "proxy.test", "go-sumdb": "sum.test"} {
		vars[name] = cmp.Or(vars[name], host) // a distribution's go command may have no such defaults
	}
	lib, err := scenarios.Builtin(scenarios.Options{Vars: vars})
	require.NoError(t, err)
	return Options{Go: []*Go{g}, Vars: vars, CacheDir: t.TempDir(), Seed: 1, Timeout: 2 * enough,
		Scenarios: lib.Scenarios, Configs: lib.Configs, Projects: lib.Projects}
}

// runProbeCells runs one cell for each scenario, in which the independent client makes the scenario's
// probes, and returns the cells by scenario.
func runProbeCells(t *testing.T, o Options, probesOf func(scenario string, u *fakeupstream.Universe) []probe) map[string]*record.Cell {
	t.Helper()
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	for _, c := range p.cells {
		text, err := json.Marshal(probesOf(c.key.Scenario, c.spec.Universe))
		require.NoError(t, err)
		c.spec.Command = append(slices.Clone(c.spec.Command), string(text))
	}
	return runAll(t, p)
}

// runAll runs a plan of one cell for each scenario and returns the cells by scenario.
func runAll(t *testing.T, p *Plan) map[string]*record.Cell {
	t.Helper()
	cells := map[string]*record.Cell{}
	require.NoError(t, p.Run(context.WithoutCancel(t.Context()), func(c *record.Cell) error {
		cells[c.Scenario] = c
		return nil
	}, nil))
	return cells
}

// sightingsOf returns what the client of a cell saw: for each probe, one sighting for each try.
func sightingsOf(t *testing.T, c *record.Cell) (all [][]sighting) {
	t.Helper()
	require.Equal(t, record.OK, c.Outcome, "%s%s", c.Note, c.Stderr)
	require.NoError(t, json.Unmarshal([]byte(c.Stderr), &all), c.Stderr)
	return all
}

// verify compares what was seen with and without the faults.
func (c *check) verify(t *testing.T, with, without []sighting) {
	t.Helper()
	for _, s := range without {
		assert.True(t, s.well(), "%s: without any fault it is not well: %+v", c.about, s)
	}
	if c.absent {
		for _, s := range with {
			assert.True(t, s.well(), "%s: outside its time the fault is there: %+v", c.about, s)
		}
		return
	}
	if c.picks != nil {
		for i, s := range with {
			assert.Equal(t, c.picks(i+1), c.shows(s), "%s: try %d: %+v", c.about, i+1, s)
			assert.True(t, c.picks(i+1) || s.well(), "%s: try %d is not well: %+v", c.about, i+1, s)
		}
		return
	}
	if c.partly {
		seen := count(with, c.shows)
		assert.Positive(t, seen, "%s: tries of %d that show the fault", c.about, len(with))
		if !void(count(without, c.shows), len(without)) {
			assert.Less(t, seen, len(with), "%s: tries that show the fault", c.about)
		}
		return
	}
	for _, s := range with {
		assert.True(t, c.shows(s), "%s: a try does not show the fault: %+v", c.about, s)
	}
}

// controlled reports whether a control shows that the world is well without the fault. On a busy machine some
// tries look like those of a slow host. Where all do, that is about the machine, and rare.
func (c *check) controlled(without []sighting) bool {
	return c.absent || c.picks != nil || c.partly || count(without, c.shows) < len(without)
}

// void reports whether so many tries of a control show a fault that it measures the machine: a client knows a
// lost packet by its kernel's having sent it again, for example, which the kernel also does where the packet
// link has not run for a second.
func void(shown, tries int) bool { return 20*shown > tries }

// verifyShares compares how often those faults are seen that show in some of the tries only: each in all its
// places together. Where the control is void, it is still checked that the fault bit.
func verifyShares(t *testing.T, checks []check, with, without [][]sighting) {
	t.Helper()
	seen, seenWithout, tries := map[string]int{}, map[string]int{}, map[string]int{}
	for i, c := range checks {
		if c.partly && !c.absent {
			seen[c.fault] += count(with[i], c.shows)
			seenWithout[c.fault] += count(without[i], c.shows)
			tries[c.fault] += len(without[i])
		}
	}
	for fault, n := range seen {
		if void(seenWithout[fault], tries[fault]) {
			t.Logf("%s: the machine is too busy to compare: %d of %d tries show it where it is not", fault, seenWithout[fault], tries[fault])
			continue
		}
		assert.Greater(t, n, seenWithout[fault], "%s: tries that show the fault, against those without it", fault)
	}
}

func count(all []sighting, is func(sighting) bool) (n int) {
	for _, s := range all {
		if is(s) {
			n++
		}
	}
	return n
}

// well reports whether a try came to its end as it does where nothing is wrong.
func (s sighting) well() bool {
	resolved := s.Rcode == "" || s.Rcode == "noerror" && len(s.Answers) > 0 || s.Missing && s.Rcode == "nxdomain"
	found := s.Status < 400 || s.Missing && s.Status == 404
	return s.Err == "" && found && resolved
}

// checksOf returns the checks of all faults of a scenario; of a healthy one, the probes of all its hosts.
func checksOf(s *scenarios.Scenario, u *fakeupstream.Universe) ([]check, error) {
	town := newTown(s.World, u)
	if len(s.Faults) == 0 {
		return town.healthChecks()
	}
	var all []check
	for i := range s.Faults {
		f := &s.Faults[i]
		own, err := town.checks(f)
		if err == nil && len(own) == 0 {
			err = fmt.Errorf("it is about nothing")
		}
		if err != nil {
			return nil, fmt.Errorf("the fault %q has no probe: %w", f, err)
		}
		if f.Selective() {
			own = own[:1] // more of them would count each other's connections
		}
		for _, c := range own {
			c.fault, c.about = f.String(), f.String()+": "+c.about
			all = append(all, c.selective(f).onTimeline(f)...)
		}
	}
	return all, nil
}

// selective returns the check with so many tries, one after the other, that some meet a fault that is about
// some only and others do not.
func (c check) selective(f *scenarios.Fault) check {
	switch {
	case f.Share > 0:
		c.partly, c.probe.Flock = true, true
		c.probe.Times = max(triesToMeet(float64(f.Share)), triesToMeet(1-float64(f.Share)))
	case f.Selective():
		c.probe.Times, c.probe.Flock = max(f.First, f.Nth)+2, false
		c.picks = func(try int) bool { return (f.First == 0 || try <= f.First) && (f.Nth == 0 || try%f.Nth == 0) }
	}
	return c
}

// onTimeline returns the check within the time of a fault, and its negations before, after and between.
func (c check) onTimeline(f *scenarios.Fault) []check {
	all := []check{c}
	all[0].probe.At = f.From
	if f.Every > 0 {
		all[0].probe.Limit = min(c.probe.Limit, f.For/time.Duration(c.probe.rounds()+1))
		again, between := all[0], c
		again.probe.At += f.Every
		between.probe.At, between.probe.Times, between.absent = f.From+f.For, 1, true
		between.probe.Limit = f.Every - f.For
		all = append(all, again, between)
	}
	if f.Until > 0 {
		all[0].probe.Limit = min(c.probe.Limit, (f.Until-f.From)/time.Duration(c.probe.rounds()+1))
		after := c
		after.probe.At, after.probe.Limit, after.absent = f.Until, enough, true
		all = append(all, after)
	}
	if f.From > 0 {
		before := c
		before.probe.Limit, before.probe.Times, before.absent = f.From, 1, true
		all = append(all, before)
	}
	return all
}

// A town is a world as an independent client knows it: who is where, and what there is to ask.
type town struct {
	world   *scenarios.World
	modules []fakeupstream.Module
	tree    string    // folder of the true files
	place   *internet // of which only the addresses are used
}

func newTown(w *scenarios.World, u *fakeupstream.Universe) *town {
	place := &internet{world: w, index: map[string]int{}}
	place.placeHosts()
	return &town{w, u.Modules, u.Proxy, place}
}

// A spot is one address of a host or name server.
type spot struct {
	name string
	addr netip.AddrPort
	link scenarios.Link
	host *scenarios.Host // nil for a name server

	number int // of the address among those of its family, from 1 on
}

func (s spot) dial() probe { return probe{Addr: s.addr.String(), Limit: enough, Times: 3} }

// floor is the least time of a round trip.
func (s spot) floor() time.Duration { return s.link.RTT - 2*s.link.Jitter }

// nameserver returns name server number i.
func (t *town) nameserver(i int) spot {
	at := t.place.hosts[i]
	return spot{name: at.Name, addr: netip.AddrPortFrom(at.Addrs[0], 53), link: at.Link, number: 1}
}

// host returns the first port of each address of host number i.
func (t *town) host(i int) []spot {
	h := &t.world.Hosts[i]
	at := t.place.hosts[t.place.index[h.Name]]
	var all []spot
	for i, a := range at.Addrs {
		number := i%max(h.Addresses, 1) + 1
		all = append(all, spot{h.Name, netip.AddrPortFrom(a, h.Ports()[0]), at.Link, h, number})
	}
	return all
}

// spots returns the addresses that a target means, in a family if one is given.
func (t *town) spots(target scenarios.Target, family scenarios.Family) []spot {
	var all []spot
	for _, i := range target.Nameserver {
		all = append(all, t.nameserver(i))
	}
	for _, i := range target.Hosts {
		all = append(all, t.host(i)...)
	}
	return slices.DeleteFunc(all, func(s spot) bool {
		return family == scenarios.FamilyIPv4 && s.addr.Addr().Is6() || family == scenarios.FamilyIPv6 && s.addr.Addr().Is4()
	})
}

// checks returns the checks of a fault.
func (t *town) checks(f *scenarios.Fault) (all []check, err error) {
	switch {
	case f.Packet != nil && f.Packet.Protocol != "":
		return each(t.spots(f.Target, ""), func(s spot) ([]check, error) { return t.protocolChecks(f.Packet, s) })
	case f.Packet != nil:
		return each(t.spots(f.Target, f.Packet.Family), func(s spot) ([]check, error) { return t.packetChecks(f.Packet, s) })
	case f.Stream != nil:
		return each(t.spots(f.Target, ""), func(s spot) ([]check, error) { return t.streamChecks(f.Stream, s) })
	case f.DNS != nil:
		return each(t.spots(f.Target, ""), func(s spot) ([]check, error) { return t.dnsChecks(f.DNS, s) })
	case f.TLS != nil:
		return each(t.spots(f.Target, ""), func(s spot) ([]check, error) { return t.tlsChecks(f.TLS, s) })
	case f.VCS != nil:
		return t.vcsChecks(f)
	case f.Forward != nil:
		return each(t.spots(f.Target, scenarios.FamilyIPv4), func(s spot) ([]check, error) { return t.forwardChecks(f.Forward, s) })
	case f.Client != nil:
		return t.clientHostChecks(f.Client)
	case f.HTTP != nil:
		return each(t.spots(f.Target, scenarios.FamilyIPv4), func(s spot) ([]check, error) { return t.httpChecks(f.HTTP, s) })
	case f.Module != nil:
		return each(t.spots(f.Target, scenarios.FamilyIPv4), func(s spot) ([]check, error) { return t.moduleChecks(f.Module, s) })
	case f.SumDB != nil:
		return each(t.spots(f.Target, scenarios.FamilyIPv4), func(s spot) ([]check, error) { return t.sumdbChecks(f.SumDB, s) })
	}
	return nil, fmt.Errorf("it is of no known layer")
}

// each puts the checks at all spots together.
func each(spots []spot, at func(spot) ([]check, error)) (all []check, err error) {
	for _, s := range spots {
		own, err := at(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		for _, c := range own {
			c.about = s.addr.String() + ": " + c.about
			all = append(all, c)
		}
	}
	return all, nil
}

// healthChecks visit every host at every address and ask every name server for every host. They show
// whether the way there takes as long as the world says.
func (t *town) healthChecks() ([]check, error) {
	all := scenarios.Target{}
	for i := range t.world.Nameservers {
		all.Nameserver = append(all.Nameserver, i)
	}
	for i := range t.world.Hosts {
		all.Hosts = append(all.Hosts, i)
	}
	return each(t.spots(all, ""), func(s spot) (checks []check, err error) {
		if s.host == nil {
			for _, h := range t.world.Hosts {
				for _, kind := range recordTypes(&h) {
					checks = append(checks, check{about: "resolve " + h.Name, probe: t.question(s, h.Name, kind), absent: true})
				}
			}
			return checks, nil
		}
		v, err := t.visit(s, "", "")
		return []check{{about: "visit", probe: s.visiting(v, enough), absent: true}}, err
	})
}
