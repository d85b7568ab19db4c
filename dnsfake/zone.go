package dnsfake

import (
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A Zone says which addresses the names of a world have. Keys are lower-case names without the final dot.
// IPv4 addresses answer A queries and IPv6 addresses answer AAAA queries, in the order given. A name with
// no addresses exists too: it answers NODATA to every query, as does a name that only has names below it
// (RFC 8020). A name that is not there answers NXDOMAIN.
type Zone map[string][]netip.Addr

const (
	// soaTTL is the time in seconds that negative answers may be kept: RFC 2308 section 5 takes it from the SOA.
	soaTTL = 5

	// maxUDPSize bounds answers over UDP whatever the client offers: RFC 6891 section 6.2.5 calls 4096 bytes
	// a good compromise.
	maxUDPSize = 4096
)

// find returns the addresses of a host of the zone, or the one that the text is.
func (z Zone) find(host string) []netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}
	}
	return z[canonical(host)]
}

// Handler returns a handler that answers from z with records that live for ttl, in whole seconds.
// It leaves it to the [Server] to cut answers to what fits into a datagram.
// It keeps a copy of z's names, so that z may be changed afterwards. The handler may be called concurrently.
func Handler(z Zone, ttl time.Duration) dns.Handler {
	return &authority{names: withParents(z), ttl: uint32(ttl / time.Second)}
}

// withParents returns a copy of z in which every name above a name exists.
func withParents(z Zone) Zone {
	all := make(Zone, len(z))
	for name, addrs := range z {
		all[name] = addrs
	}
	for name := range z {
		for found := true; found; {
			_, name, found = strings.Cut(name, ".")
			if _, ok := all[name]; !ok {
				all[name] = nil
			}
		}
	}
	return all
}

// authority is the handler of a Zone.
type authority struct {
	names Zone
	ttl   uint32
}

// ServeDNS implements [dns.Handler].
func (a *authority) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if q.Response {
		return // an answer to an answer could go back and forth for ever
	}
	send(w, a.answer(q))
}

func (a *authority) answer(q *dns.Msg) *dns.Msg {
	switch {
	case q.Opcode != dns.OpcodeQuery:
		return newReply(q, dns.RcodeNotImplemented)
	case len(q.Question) != 1:
		return newReply(q, dns.RcodeFormatError)
	case q.Question[0].Qclass != dns.ClassINET:
		return newReply(q, dns.RcodeRefused)
	}
	if opt := q.IsEdns0(); opt != nil && opt.Version() != 0 {
		return newReply(q, dns.RcodeBadVers)
	}
	return a.lookup(q)
}

func (a *authority) lookup(q *dns.Msg) *dns.Msg {
	addrs, ok := a.names[canonical(q.Question[0].Name)]
	if !ok {
		return newNegative(q, dns.RcodeNameError)
	}
	return newAddresses(q, addrs, a.ttl)
}

// newAddresses returns the answer to q for a name that has addrs.
func newAddresses(q *dns.Msg, addrs []netip.Addr, ttl uint32) *dns.Msg {
	m := newReply(q, dns.RcodeSuccess)
	for _, addr := range addrs {
		if rr := newRecord(q.Question[0], addr.Unmap(), ttl); rr != nil {
			m.Answer = append(m.Answer, rr)
		}
	}
	if len(m.Answer) == 0 {
		return newNegative(q, dns.RcodeSuccess)
	}
	return m
}

// newRecord returns addr as a resource record if the question asks for its type, else nil.
func newRecord(q dns.Question, addr netip.Addr, ttl uint32) dns.RR {
	hdr := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ttl}
	switch {
	case q.Qtype == dns.TypeA && addr.Is4():
		return &dns.A{Hdr: hdr, A: addr.AsSlice()}
	case q.Qtype == dns.TypeAAAA && addr.Is6():
		return &dns.AAAA{Hdr: hdr, AAAA: addr.AsSlice()}
	}
	return nil
}

// newReply returns an answer to q without records.
func newReply(q *dns.Msg, rcode int) *dns.Msg {
	m := new(dns.Msg)
	m.SetRcode(q, rcode)
	m.Authoritative = true
	m.RecursionAvailable = true // stub resolvers expect it of the server in resolv.conf
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(maxUDPSize, opt.Do())
	}
	return m
}

// newNegative returns an NXDOMAIN or NODATA answer with the SOA record that RFC 2308 section 3 asks for.
func newNegative(q *dns.Msg, rcode int) *dns.Msg {
	m := newReply(q, rcode)
	m.Ns = []dns.RR{&dns.SOA{
		Hdr:     dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: soaTTL},
		Ns:      "ns.invalid.",
		Mbox:    "hostmaster.invalid.",
		Serial:  1,
		Refresh: 3600,
		Retry:   600,
		Expire:  86400,
		Minttl:  soaTTL,
	}}
	return m
}

// send writes m. A client that is gone is none of the server's business, so errors of the write are dropped.
func send(w dns.ResponseWriter, m *dns.Msg) { _ = w.WriteMsg(m) }

// udpSize returns the number of bytes that the client that sent q takes over UDP.
func udpSize(q *dns.Msg) int {
	opt := q.IsEdns0()
	if opt == nil {
		return dns.MinMsgSize
	}
	return min(int(opt.UDPSize()), maxUDPSize) // Truncate raises it to the minimum of 512
}

func network(w dns.ResponseWriter) string { return w.LocalAddr().Network() }

// canonical returns name as the keys of a Zone are written.
func canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
