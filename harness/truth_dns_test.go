//go:build linux

package harness

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/simrun/simrun/scenarios"
)

// showsAnswer says by what a client knows each of the answers of the language.
var showsAnswer = map[scenarios.DNSAnswer]func(reply) bool{
	scenarios.AnswerNXDomain: isBare("nxdomain"),
	scenarios.AnswerServFail: isBare("servfail"),
	scenarios.AnswerRefused:  isBare("refused"),
	scenarios.AnswerNoData:   isBare("noerror"),

	scenarios.AnswerTruncated: func(r reply) bool { return r.Truncated && len(r.Answers) == 0 },
	scenarios.AnswerOversized: func(r reply) bool { return r.Size > 512 && !r.Truncated && len(r.Answers) > 0 },
	scenarios.AnswerCNAMELoop: func(r reply) bool { return r.CNAMEs == 2 && len(r.Answers) == 0 },

	scenarios.AnswerWrongID:       func(r reply) bool { return r.Stray == "id" && len(r.Answers) > 0 },
	scenarios.AnswerWrongQuestion: func(r reply) bool { return r.Stray == "question" && len(r.Answers) > 0 },
	scenarios.AnswerCut:           func(r reply) bool { return strings.Contains(r.Malformed, "too small") && r.Stray == "" },
	scenarios.AnswerPointerLoop:   func(r reply) bool { return strings.Contains(r.Malformed, "pointer") && r.Stray == "" },
	scenarios.AnswerGarbage:       func(r reply) bool { return r.Stray == "id" && len(r.Answers) == 0 },
}

// isBare reports whether a reply has an rcode, and nothing else.
func isBare(rcode string) func(reply) bool {
	return func(r reply) bool {
		return r.Rcode == rcode && r.Malformed == "" && r.Stray == "" && !r.Truncated && r.CNAMEs+len(r.Answers) == 0
	}
}

// first reports whether the first reply of a sighting is as is says.
func first(is func(reply) bool) func(sighting) bool {
	return func(g sighting) bool { return len(g.Replies) > 0 && is(g.Replies[0]) }
}

func (t *town) dnsChecks(f *scenarios.DNSFault, s spot) (all []check, err error) {
	name, kind, err := t.resolvable(f)
	if err != nil {
		return nil, err
	}
	base := check{about: "resolve " + name, probe: t.question(s, name, kind)}
	if f.Drop > 0 {
		all = append(all, base.dropped(f.Drop))
	}
	if f.Delay > 0 && !f.Injected {
		all = append(all, base.showing("delay", func(g sighting) bool { return g.First >= s.floor()+f.Delay-f.Jitter }))
	}
	switch is := t.forged(f, kind); {
	case is != nil && f.Injected:
		all = append(all, base.injected(is))
	case is != nil:
		all = append(all, base.showing("answer", first(is)))
	}
	if f.CNAMEs > 0 {
		all = append(all, base.showing("cnames", first(func(r reply) bool { return r.CNAMEs == f.CNAMEs && len(r.Answers) > 0 })))
	}
	if f.TTL != nil {
		all = append(all, base.showing("ttl", first(func(r reply) bool { return r.TTL == uint32(f.TTL.Seconds()) && len(r.Answers) > 0 })))
	}
	if f.Rotate {
		turns, err := base.rotated(t.addressesOf(name, kind))
		if err != nil {
			return nil, err
		}
		all = append(all, turns)
	}
	return all, nil
}

// showing returns the check of one more thing that the same probe shows.
func (c check) showing(what string, shows func(sighting) bool) check {
	c.about, c.shows = c.about+", "+what, shows
	return c
}

func (c check) dropped(share scenarios.Fraction) check {
	c = c.showing("drop", func(g sighting) bool { return g.Err == "timeout" })
	c.probe.Limit = silence
	if share < 1 {
		c.partly, c.probe.Times, c.probe.Flock = true, triesToMeet(float64(share)), true
	}
	return c
}

// injected waits for two replies, of which the first is forged and the second true.
func (c check) injected(forged func(reply) bool) check {
	c.probe.Replies, c.probe.Limit = 2, silence
	return c.showing("injected", func(g sighting) bool {
		return len(g.Replies) == 2 && forged(g.Replies[0]) && !forged(g.Replies[1]) && len(g.Replies[1].Answers) > 0
	})
}

// rotated looks at which of the addresses comes first: without turns, it is always the same one.
func (c check) rotated(addrs []string) (check, error) {
	if len(addrs) < 2 {
		return c, errors.New("nothing is known that shows the turns of one address")
	}
	c.partly, c.probe.Times = true, 2*len(addrs)
	return c.showing("rotate", first(func(r reply) bool { return len(r.Answers) == len(addrs) && r.Answers[0] != addrs[0] })), nil
}

// protocolChecks look at a packet fault that is about one of the protocols of a name server: by the other,
// it must answer.
func (t *town) protocolChecks(f *scenarios.PacketFault, s spot) ([]check, error) {
	last := &t.world.Hosts[len(t.world.Hosts)-1] // faults of names that go with it are about the first ones
	name, kind := last.Name, recordTypes(last)[0]
	by := func(protocol scenarios.Protocol) check {
		c := check{about: "resolve over " + string(protocol), probe: t.question(s, name, kind)}
		c.probe.Net = string(protocol)
		return c
	}
	hit, spared := by(f.Protocol), by(scenarios.ProtocolTCP)
	if f.Protocol == scenarios.ProtocolTCP {
		spared = by(scenarios.ProtocolUDP)
	}
	spared.absent = true
	switch {
	case f.Reject != "":
		hit.shows = func(g sighting) bool { return slices.Contains(rejections[f.Reject], g.Err) }
	case f.Loss == 1:
		hit.probe.Limit = silence
		hit.shows = func(g sighting) bool { return g.Err == "timeout" }
	default:
		return nil, errors.New("nothing is known that shows it for one protocol only")
	}
	return []check{hit, spared}, nil
}

// forged returns what tells a fault's own answer from the truth; nil if the fault has none.
func (t *town) forged(f *scenarios.DNSFault, kind string) func(reply) bool {
	switch {
	case f.Answer != "":
		return showsAnswer[f.Answer]
	case f.Address != "":
		want := t.addressesOf(f.Address, kind)
		return func(r reply) bool { return slices.Equal(r.Answers, want) && r.Rcode == "noerror" }
	}
	return nil
}

// addressesOf returns the addresses of a type that a host has, or the one that it is.
func (t *town) addressesOf(host, kind string) (all []string) {
	var addrs []netip.Addr
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if i, ok := t.place.index[host]; ok {
		addrs = t.place.hosts[i].Addrs
	}
	for _, a := range addrs {
		if a.Is4() == (kind == "A") {
			all = append(all, a.String())
		}
	}
	return all
}

// question returns the probe that asks a name server for a host.
func (t *town) question(s spot, name, kind string) probe {
	p := s.dial()
	p.Name, p.Type = name, kind
	_, known := t.place.index[name]
	p.Missing = !known
	return p
}

// resolvable returns a name that a DNS fault is about, and a type that the name has: a host of the world,
// else one that the client's resolver makes of a host and a search domain.
func (t *town) resolvable(f *scenarios.DNSFault) (name, kind string, err error) {
	for _, suffix := range append([]string{""}, t.world.Resolver.Search...) {
		for i := range t.world.Hosts {
			h := &t.world.Hosts[i]
			name := strings.TrimSuffix(h.Name+"."+suffix, ".")
			if f.Name != "" && !scenarios.Glob(f.Name, name) || name == f.Address {
				continue
			}
			for _, kind := range recordTypes(h) {
				if f.Type == "" || f.Type == kind {
					return name, kind, nil
				}
			}
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
