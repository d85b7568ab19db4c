package harness

import (
	"fmt"
	"slices"

	"github.com/simrun/simrun/scenarios"
)

var rcodes = map[scenarios.Rcode]string{
	scenarios.RcodeNXDomain: "nxdomain",
	scenarios.RcodeServFail: "servfail",
	scenarios.RcodeRefused:  "refused",
	scenarios.RcodeNoData:   "noerror",
}

func (t *town) dnsChecks(f *scenarios.DNSFault, s spot) (all []check, err error) {
	name, kind, err := t.resolvable(f)
	if err != nil {
		return nil, err
	}
	c := check{about: "resolve " + name, probe: t.question(s, name, kind)}
	if f.Drop > 0 {
		drop := c
		drop.probe.Limit, drop.shows = silence, func(g sighting) bool { return g.Err == "timeout" }
		if f.Drop < 1 {
			drop.partly, drop.probe.Times, drop.probe.Flock = true, triesToMeet(float64(f.Drop)), true
		}
		all = append(all, drop)
	}
	if f.Delay > 0 {
		delay := c
		delay.shows = func(g sighting) bool { return g.First >= s.floor()+f.Delay-f.Jitter }
		all = append(all, delay)
	}
	if f.Answer != "" {
		answer := c
		answer.shows = func(g sighting) bool { return g.Rcode == rcodes[f.Answer] && len(g.Answers) == 0 }
		all = append(all, answer)
	}
	return all, nil
}

// question returns the probe that asks a name server for a host.
func (t *town) question(s spot, name, kind string) probe {
	p := s.dial()
	p.Name, p.Type = name, kind
	return p
}

// resolvable returns a name of the world that a DNS fault is about, and a type that the name has.
func (t *town) resolvable(f *scenarios.DNSFault) (name, kind string, err error) {
	for i := range t.world.Hosts {
		h := &t.world.Hosts[i]
		if f.Name != "" && !scenarios.Glob(f.Name, h.Name) {
			continue
		}
		kinds := recordTypes(h)
		if f.Type == "" {
			return h.Name, kinds[0], nil
		}
		if slices.Contains(kinds, f.Type) {
			return h.Name, f.Type, nil
		}
	}
	return "", "", fmt.Errorf("no host has the name and type")
}

// recordTypes returns the types of the records that a host has in the DNS.
func recordTypes(h *scenarios.Host) []string {
	switch h.Family {
	case scenarios.FamilyIPv4:
		return []string{"A"}
	case scenarios.FamilyIPv6:
		return []string{"AAAA"}
	}
	return []string{"A", "AAAA"}
}
