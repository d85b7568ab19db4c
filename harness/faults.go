//go:build linux

package harness

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/simrun/simrun/dnsfake"
	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// atItsPlace returns the fault as that of the layer that carries it out. A port that is down does not get as far
// as a stream: the packet link turns the client away.
func atItsPlace(f *scenarios.Fault) *scenarios.Fault {
	if f.Stream == nil || f.Stream.Type != scenarios.StreamDown {
		return f
	}
	refused := *f
	refused.Stream, refused.Packet = nil, &scenarios.PacketFault{Reject: scenarios.RejectRST}
	return &refused
}

// dnsFaults puts the DNS faults of name server number i before the handler of a zone.
func (in *internet) dnsFaults(h dns.Handler, zone dnsfake.Zone, i int) dns.Handler {
	for n, f := range in.faults {
		if f.DNS == nil || !slices.Contains(f.Target.Nameserver, i) {
			continue
		}
		rng := rand.New(rand.NewPCG(in.seed, uint64(n)<<32|uint64(i)))
		lie := dnsfake.Fault(*f.DNS, zone, rng, func() { f.Bit.Add(1) })
		h = dnsfake.When(func(w dns.ResponseWriter, q *dns.Msg) bool {
			return in.active(f) && dnsfake.Selects(f.DNS, w, q) && f.Picks(in.world.Nameservers[i].Name+" "+q.Question[0].String())
		}, lie)(h)
	}
	return h
}

// streamFaults returns the stream faults of host number i of the world.
func (in *internet) streamFaults(i int) []*lab.Fault {
	var all []*lab.Fault
	for _, f := range in.faults {
		if f.Stream != nil && slices.Contains(f.Target.Hosts, i) {
			all = append(all, f)
		}
	}
	return all
}

// httpFaults puts the HTTP faults of host number i of the world before a handler.
func (in *internet) httpFaults(h http.Handler, i int) http.Handler {
	for _, f := range in.faults {
		if f.HTTP == nil || !slices.Contains(f.Target.Hosts, i) {
			continue
		}
		beyond := fakeupstream.Beyond(f.HTTP.Limit)
		bites := func(r *http.Request) bool {
			if !in.active(f) || !matches(f.HTTP, r) || !beyond(r) || !f.Picks(in.world.Hosts[i].Name) {
				return false
			}
			f.Bit.Add(1)
			return true
		}
		h = fakeupstream.When(bites, fakeupstream.WrongHTTP(*f.HTTP))(h)
	}
	return h
}

// hasHTTP reports whether an HTTP fault of host number i of the world is of some kind.
func (in *internet) hasHTTP(i int, is func(scenarios.HTTPFault) bool) bool {
	return slices.ContainsFunc(in.faults, func(f *lab.Fault) bool {
		return f.HTTP != nil && slices.Contains(f.Target.Hosts, i) && is(*f.HTTP)
	})
}

// matches reports whether a request is one that the fault is about.
func matches(f *scenarios.HTTPFault, r *http.Request) bool {
	if f.Method != "" && !strings.EqualFold(f.Method, r.Method) || f.HTTP2.Frame != "" && r.ProtoMajor != 2 {
		return false
	}
	return f.Path == "" || scenarios.Glob(f.Path, r.URL.Path)
}

// A queryLog keeps the DNS queries that came over TCP. It may be used concurrently.
type queryLog struct {
	mu      sync.Mutex
	queries []tcpQuery
}

type tcpQuery struct {
	dnsfake.Query
	server string
}

// add returns the observer of one name server.
func (l *queryLog) add(server string) func(dnsfake.Query) {
	return func(q dnsfake.Query) {
		if q.Net != "tcp" {
			return // the packet link has seen it
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.queries = append(l.queries, tcpQuery{q, server})
	}
}

// records returns the queries with times since the start of the go command.
func (l *queryLog) records(begin time.Time) []record.Query {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []record.Query
	for _, q := range l.queries {
		at := record.Seconds(q.Time.Sub(begin).Seconds())
		all = append(all, record.Query{Start: at, End: at, Server: q.server, Net: q.Net, Name: q.Name, Type: q.Type, Answer: q.Rcode})
	}
	return all
}
