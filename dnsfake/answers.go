package dnsfake

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/simrun/simrun/scenarios"
)

// forgedTTL is the time in seconds that forged addresses and aliases may be kept.
const forgedTTL = 60

// Answer gives every query the answer a instead of the handler's own. What is malformed is made out of the
// handler's answer. Queries over TCP pass by what is about UDP: [scenarios.AnswerTruncated] and
// [scenarios.AnswerOversized]. Answer panics if a is none of the constants of package scenarios.
func Answer(a scenarios.DNSAnswer) Middleware {
	switch a {
	case scenarios.AnswerNXDomain:
		return instead(func(q *dns.Msg) *dns.Msg { return newNegative(q, dns.RcodeNameError) })
	case scenarios.AnswerNoData:
		return instead(func(q *dns.Msg) *dns.Msg { return newNegative(q, dns.RcodeSuccess) })
	case scenarios.AnswerServFail:
		return instead(func(q *dns.Msg) *dns.Msg { return newReply(q, dns.RcodeServerFailure) })
	case scenarios.AnswerRefused:
		return instead(func(q *dns.Msg) *dns.Msg { return newReply(q, dns.RcodeRefused) })
	case scenarios.AnswerTruncated:
		return overUDP(instead(newTruncated))
	case scenarios.AnswerCNAMELoop:
		return instead(newLoop)
	case scenarios.AnswerOversized:
		return overUDP(spoil(oversized))
	case scenarios.AnswerWrongID:
		return spoil(wrongID)
	case scenarios.AnswerWrongQuestion:
		return spoil(wrongQuestion)
	case scenarios.AnswerCut:
		return spoil(cut)
	case scenarios.AnswerPointerLoop:
		return spoil(pointerLoop)
	case scenarios.AnswerGarbage:
		return spoil(garbage)
	}
	panic(fmt.Sprintf("dnsfake: unknown answer %q", a))
}

// instead answers every query with what reply makes of it.
func instead(reply func(q *dns.Msg) *dns.Msg) Middleware {
	return func(dns.Handler) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			bite(w)
			send(w, reply(q))
		})
	}
}

// overUDP applies m to the queries that come over UDP.
func overUDP(m Middleware) Middleware {
	return When(func(w dns.ResponseWriter, _ *dns.Msg) bool { return network(w) == "udp" }, m)
}

func newTruncated(q *dns.Msg) *dns.Msg {
	m := newReply(q, dns.RcodeSuccess)
	m.Truncated = true
	return m
}

// newLoop returns an answer in which the name is an alias of an alias of itself.
func newLoop(q *dns.Msg) *dns.Msg {
	m := newReply(q, dns.RcodeSuccess)
	name := q.Question[0].Name
	m.Answer = []dns.RR{newAlias(name, aliasName(1)), newAlias(aliasName(1), name)}
	return m
}

func newAlias(from, to string) dns.RR {
	return &dns.CNAME{
		Hdr:    dns.RR_Header{Name: from, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: forgedTTL},
		Target: to,
	}
}

// aliasName returns alias number i, below a domain that RFC 6761 keeps from ever existing.
func aliasName(i int) string { return fmt.Sprintf("alias%d.invalid.", i) }

// Address answers every query for addresses as if the name had addrs, whether it exists or not. A name has
// no records of a family of which there is no address. Queries for other types pass by.
func Address(addrs ...netip.Addr) Middleware {
	reply := func(q *dns.Msg) *dns.Msg { return newAddresses(q, addrs, forgedTTL) }
	return When(asksForAddress, instead(reply))
}

func asksForAddress(_ dns.ResponseWriter, q *dns.Msg) bool {
	return len(q.Question) == 1 && isAddress(q.Question[0].Qtype)
}

func isAddress(qtype uint16) bool { return qtype == dns.TypeA || qtype == dns.TypeAAAA }

// CNAMEs puts n aliases between each name that exists and its records.
func CNAMEs(n int) Middleware {
	return edit(func(m *dns.Msg) bool {
		if m.Rcode != dns.RcodeSuccess || len(m.Question) != 1 || m.Truncated {
			return false
		}
		name := m.Question[0].Name
		var chain []dns.RR
		for i := range n {
			chain = append(chain, newAlias(name, aliasName(i+1)))
			name = aliasName(i + 1)
		}
		for _, rr := range m.Answer {
			rr.Header().Name = name
		}
		m.Answer = append(chain, m.Answer...)
		return true
	})
}

// TTL lets the records of all answers live for d, in whole seconds.
func TTL(d time.Duration) Middleware {
	return edit(func(m *dns.Msg) (changed bool) {
		for _, rr := range slices.Concat(m.Answer, m.Ns) { // the TTL field of the OPT record in m.Extra is none
			rr.Header().Ttl = uint32(d / time.Second)
			changed = true
		}
		return changed
	})
}

// Rotate begins each answer with the next one of the addresses, as many name servers do to spread load:
// the first answer for a name and type begins with the second address.
func Rotate() Middleware {
	var mu sync.Mutex
	turns := map[dns.Question]int{}
	return edit(func(m *dns.Msg) bool {
		first := slices.IndexFunc(m.Answer, func(rr dns.RR) bool { return isAddress(rr.Header().Rrtype) })
		if first < 0 || len(m.Answer)-first < 2 || len(m.Question) != 1 {
			return false
		}
		addrs, q := m.Answer[first:], m.Question[0]
		q.Name = canonical(q.Name)
		mu.Lock()
		turns[q]++
		by := turns[q] % len(addrs)
		mu.Unlock()
		m.Answer = slices.Concat(m.Answer[:first], addrs[by:], addrs[:by])
		return by > 0
	})
}

// edit lets change edit each answer; it reports whether it did.
func edit(change func(m *dns.Msg) bool) Middleware {
	return func(next dns.Handler) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			next.ServeDNS(&editor{wrapper{w}, change}, q)
		})
	}
}

type editor struct {
	wrapper
	change func(m *dns.Msg) bool
}

// WriteMsg implements [dns.ResponseWriter].
func (e *editor) WriteMsg(m *dns.Msg) error {
	if e.change(m) {
		bite(e.ResponseWriter)
	}
	return e.ResponseWriter.WriteMsg(m)
}
