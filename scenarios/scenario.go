package scenarios

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// scenario reads a Scenario. Its world comes first, as hosts and variables are meant in it.
func (d *decoder) scenario(root ast.Node, world func(name string) (*World, []string)) *Scenario {
	s := &Scenario{Pos: d.position(root), Weight: 1}
	if n := keyNode(root.(*ast.MappingNode), "world"); n != nil {
		s.World = d.worldOf(n, world)
	}
	if s.World != nil {
		d.vars = withDefaults(d.vars, s.World.Vars)
	}
	d.mapping(root, s.Pos, "a scenario", scenarioFields(s))
	d.checkContradictions(s.Faults)
	return s
}

func (d *decoder) worldOf(n ast.Node, world func(name string) (*World, []string)) *World {
	var name string
	if !read(d, n, &name, nameValue) {
		return nil
	}
	w, known := world(name)
	if w == nil {
		d.failf(d.position(n), "unknown world %s%s", quote(name), suggest(name, known))
	}
	return w
}

func faultsField(s *Scenario) field {
	return field{
		shape: func() shape { return listOf(object(faultFields(new(Fault)))) },
		read: func(d *decoder, n ast.Node) {
			d.items(n, "faults", func(n ast.Node) {
				s.Faults = append(s.Faults, d.fault(n, s.World))
			})
		},
	}
}

func (d *decoder) fault(n ast.Node, w *World) Fault {
	f := Fault{Pos: d.position(n)}
	if d.mapping(n, f.Pos, "a fault", faultFields(&f)) {
		d.checkLayer(&f)
	}
	d.checkTimeline(&f)
	d.checkSumDBTimeline(&f)
	if w != nil && f.Target.Pattern != "" {
		at := f.Pos
		if n := keyNode(n.(*ast.MappingNode), "host"); n != nil {
			at = d.position(n)
		}
		d.resolve(&f.Target, w, at)
		d.checkPacketPlace(&f, w)
		d.keepSecure(&f, w, at)
		d.keepRepositories(&f, w, at)
		d.keepHTTP(&f, w, at)
		d.keepForward(&f, w, at)
		d.keepModuleProxies(&f, w, at)
		d.keepDatabases(&f, w, at)
		d.checkHTTPPlace(&f, w, n.(*ast.MappingNode))
	}
	if w != nil && f.DNS != nil {
		d.checkDNSAddress(f.DNS, w, n.(*ast.MappingNode))
	}
	return f
}

// checkTimeline checks that a fault is in force at some time.
func (d *decoder) checkTimeline(f *Fault) {
	switch {
	case f.Until > 0 && f.Until <= f.From:
		d.failf(f.Pos, "fault is never in force: it ends at %v and begins at %v", f.Until, f.From)
	case f.Every > 0 && f.For == 0:
		d.failf(f.Pos, "`every:` needs `for:`, which says how long the fault stays each time")
	case f.For > 0 && f.Every == 0:
		d.failf(f.Pos, "`for:` needs `every:`, which says how often the fault comes back; `until:` ends it for good")
	case f.Every > 0 && f.For >= f.Every:
		d.failf(f.Pos, "fault never ends: it comes back every %v and stays for %v", f.Every, f.For)
	case f.First > 0 && f.Nth > f.First:
		d.failf(f.Pos, "`nth: %d` picks none of the `first: %d`", f.Nth, f.First)
	}
}

// checkLayer checks that a fault has one layer, and one that is there at its target: the servers are
// behind streams, and name servers are not.
func (d *decoder) checkLayer(f *Fault) {
	var layers []string
	for _, l := range []struct {
		key string
		set bool
	}{
		{"packet", f.Packet != nil}, {"stream", f.Stream != nil}, {"dns", f.DNS != nil}, {"tls", f.TLS != nil},
		{"http", f.HTTP != nil}, {"module", f.Module != nil}, {"sumdb", f.SumDB != nil}, {"vcs", f.VCS != nil}, {"forward", f.Forward != nil}, {"client", f.Client != nil},
	} {
		if l.set {
			layers = append(layers, l.key)
		}
	}
	_, isNameserver := strings.CutPrefix(f.Target.Pattern, "ns:")
	switch {
	case len(layers) == 0:
		d.failf(f.Pos, "a fault needs one of `packet:`, `stream:`, `dns:`, `tls:`, `http:`, `module:`, `sumdb:`, `vcs:`, `forward:` and `client:`")
	case len(layers) > 1:
		d.failf(f.Pos, "a fault is at one layer, not at %s; write one fault for each", strings.Join(layers, " and "))
	case f.Client != nil:
		d.checkClientFault(f)
	case f.Target.Pattern == "":
		d.failf(f.Pos, "a fault needs `host:`")
	case isNameserver && f.Packet == nil && f.DNS == nil:
		d.failf(f.Pos, "a name server has `packet:` and `dns:` faults, not `%s:`", layers[0])
	case !isNameserver && f.DNS != nil:
		d.failf(f.Pos, "a `dns:` fault is at a name server, not at %s; write `host: ns:*` and `dns: {name: %s, ...}`",
			quote(f.Target.Pattern), f.Target.Pattern)
	}
}

// resolve finds the hosts or the name servers of the world that a target's pattern means.
func (d *decoder) resolve(t *Target, w *World, at Position) {
	var known []string
	pattern, isNameserver := strings.CutPrefix(t.Pattern, "ns:")
	if isNameserver {
		for i, ns := range w.Nameservers {
			known = append(known, "ns:"+ns.Name)
			if Glob(pattern, ns.Name) {
				t.Nameserver = append(t.Nameserver, i)
			}
		}
	} else {
		pattern = strings.ToLower(pattern)
		for i := range w.Hosts {
			h := &w.Hosts[i]
			known = append(known, h.address())
			if Glob(pattern, h.Name) || Glob(pattern, h.address()) {
				t.Hosts = append(t.Hosts, i)
			}
		}
	}
	if len(t.Hosts)+len(t.Nameserver) == 0 {
		d.failf(at, "world %s has no host %s%s", w.Name, quote(t.Pattern), suggest(t.Pattern, known))
	}
}

// checkContradictions finds faults at the same place and layer of which only one can be in force.
func (d *decoder) checkContradictions(faults []Fault) {
	for i := range faults {
		for j := range i {
			a, b := &faults[j], &faults[i]
			if !meet(a, b) || !overlapInTime(a, b) || sameEffect(a, b) || a.takesTurns() || b.takesTurns() {
				continue
			}
			if what := contradiction(a, b); what != "" {
				d.failf(b.Pos, "fault contradicts the one on line %d: both %s at the same place and time", a.Pos.Line, what)
				break
			}
		}
	}
}

// meet reports whether two faults are at one place.
func meet(a, b *Fault) bool {
	return a.Client != nil && b.Client != nil || overlap(a.Target, b.Target)
}

func overlap(a, b Target) bool {
	return slices.ContainsFunc(a.Hosts, func(i int) bool { return slices.Contains(b.Hosts, i) }) ||
		slices.ContainsFunc(a.Nameserver, func(i int) bool { return slices.Contains(b.Nameserver, i) })
}

func sameEffect(a, b *Fault) bool {
	return reflect.DeepEqual(a.Packet, b.Packet) && reflect.DeepEqual(a.Stream, b.Stream) &&
		reflect.DeepEqual(a.DNS, b.DNS) && reflect.DeepEqual(a.TLS, b.TLS) &&
		reflect.DeepEqual(a.HTTP, b.HTTP) && reflect.DeepEqual(a.Module, b.Module) && reflect.DeepEqual(a.SumDB, b.SumDB) &&
		reflect.DeepEqual(a.VCS, b.VCS) && reflect.DeepEqual(a.Forward, b.Forward) && reflect.DeepEqual(a.Client, b.Client)
}

// takesTurns reports whether the fault leaves some of its time or of what it meets to others.
func (f *Fault) takesTurns() bool {
	return f.Every > 0 || f.Selective() || f.HTTP != nil && f.HTTP.Limit != (Frequency{})
}

func overlapInTime(a, b *Fault) bool {
	const forever = 1<<63 - 1
	end := func(f *Fault) time.Duration {
		if f.Until == 0 {
			return forever
		}
		return f.Until
	}
	return a.From < end(b) && b.From < end(a)
}

// contradiction says what two faults at one place both want to decide, or returns "". Faults that say
// the same do not contradict: two patterns may well mean one host, as where $go-proxy is a mirror that
// another fault names.
func contradiction(a, b *Fault) string {
	switch {
	case a.Packet != nil && b.Packet != nil:
		return packetContradiction(a.Packet, b.Packet)
	case a.Stream != nil && b.Stream != nil:
		return streamContradiction(a.Stream, b.Stream)
	case a.DNS != nil && b.DNS != nil:
		return dnsContradiction(a.DNS, b.DNS)
	case a.TLS != nil && b.TLS != nil:
		return tlsContradiction(a.TLS, b.TLS)
	case a.HTTP != nil && b.HTTP != nil:
		return httpContradiction(a.HTTP, b.HTTP)
	case a.VCS != nil && b.VCS != nil:
		return vcsContradiction(a.VCS, b.VCS)
	case a.Forward != nil && b.Forward != nil:
		return forwardContradiction(a.Forward, b.Forward)
	case a.Module != nil && b.Module != nil:
		return moduleContradiction(a.Module, b.Module)
	case a.SumDB != nil && b.SumDB != nil:
		return sumdbContradiction(a.SumDB, b.SumDB)
	case a.Client != nil && b.Client != nil:
		return clientContradiction(a.Client, b.Client)
	}
	return ""
}

func expectField(s *Scenario) field {
	return field{
		shape: func() shape { return listOf(object(expectationFields(new(Expectation)))) },
		read: func(d *decoder, n ast.Node) {
			d.items(n, "expect", func(n ast.Node) {
				e := Expectation{Pos: d.position(n)}
				good := d.mapping(n, e.Pos, "an expectation", expectationFields(&e))
				switch {
				case good && e.Outcome == "" && e.Class == "" && e.Seconds == nil:
					d.failf(e.Pos, "an expectation needs `outcome:`, `class:` or `seconds:`")
				case e.Outcome == "ok" && e.Class != "":
					d.failf(e.Pos, "`outcome: ok` has no failure class %s", quote(e.Class))
				}
				s.Expect = append(s.Expect, e)
			})
		},
	}
}

// checkExpectations finds expectations of configs that nobody declares.
func (d *decoder) checkExpectations(s *Scenario, configs []string) {
	for _, e := range s.Expect {
		matches := func(name string) bool { return Glob(e.Configs, name) }
		if e.Configs != "" && !slices.ContainsFunc(configs, matches) {
			d.failf(e.Pos, "no config is called %s%s", quote(e.Configs), suggest(e.Configs, configs))
		}
	}
}
