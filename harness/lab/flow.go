//go:build linux

package lab

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Bounds of what a tracker remembers. What does not fit is counted, never silently dropped.
const (
	maxFlows   = 4096
	maxHops    = 1 << 18 // per connection and direction: more than 200 MB take, in 4 MB of memory
	maxQueries = 4096
	maxStrays  = 64
)

// A tracker watches the packets of a link and remembers what the client lived: connections, DNS queries,
// and addresses that do not exist. It may be used concurrently.
type tracker struct {
	mu      sync.Mutex
	seed    uint64
	live    map[flowKey]*flow
	ordinal map[string]uint64 // flows seen so far, by what they are about
	flows   []*flow           // TCP only, in order of their first packet
	others  flow              // whatever belongs to none of them
	queries []*query
	strays  []netip.Addr
	lost    map[string]int64
	state   [endless]int // how many flows are in each state
	doom    time.Time    // when the first flow became doomed
}

// A flowKey names a connection or an exchange of datagrams by its ends.
type flowKey struct {
	client, host netip.AddrPort
	proto        byte
}

// A flow is one TCP connection, or the datagrams between two ports. Times are since the link's epoch.
type flow struct {
	site    *site
	key     flowKey
	number  int       // index among the tracker's TCP flows
	id      uint64    // depends on what the flow is about and how many such came before, not on ports or time
	packets [2]uint64 // sent so far, by direction: up, down

	start, established, tunnel, secured, end time.Duration // 0 means never
	reset                                    bool
	syns                                     int
	bytesUp, bytesDown                       int64
	stream                                   clientStream
	up, down                                 []hop

	unacked [2]unacked // by direction: up, down
	lossy   bool       // a packet has been lost since all was acknowledged
	doomed  bool       // no packet of some sort gets through any more
	state   flowState
}

// A hop is one packet with payload: when it left one side and when it reached the other.
type hop struct{ sent, got time.Duration }

// A query is one DNS query over UDP.
type query struct {
	site       *site
	client     netip.AddrPort
	id         uint16
	name, kind string
	start, end time.Duration
	answer     string
}

func newTracker(seed uint64) *tracker {
	return &tracker{seed: seed, live: map[flowKey]*flow{}, ordinal: map[string]uint64{}, lost: map[string]int64{}}
}

// lose counts an event that did not fit into a buffer.
func (t *tracker) lose(buffer string) {
	t.mu.Lock()
	t.lost[buffer]++
	t.mu.Unlock()
}

// stray remembers an address outside the world that something tried to reach.
func (t *tracker) stray(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, seen := range t.strays {
		if seen == a {
			return
		}
	}
	if len(t.strays) == maxStrays {
		t.lost["strays"]++
		return
	}
	t.strays = append(t.strays, a)
}

// next returns a number that names the next packet of a flow in a direction. Packets of no flow, such as
// those of ICMP, are numbered together.
func (t *tracker) next(f *flow, up bool) uint64 {
	way := 0
	if !up {
		way = 1
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if f == nil {
		f = &t.others
	}
	f.packets[way]++
	return f.id ^ f.packets[way]
}

// find returns the flow between a client's and a host's port, or nil.
func (t *tracker) find(client, host netip.AddrPort, proto byte) *flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.live[flowKey{client, host, proto}]
}

// sent notes a packet as it leaves the client, before anything becomes of it, and returns its flow.
func (t *tracker) sent(s *site, p packet, now time.Duration) *flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flow(s, p, now)
	switch p.proto {
	case protoTCP:
		f.leaves(p, now)
	case protoUDP:
		if p.dst.Port() == 53 {
			t.asked(s, p, now)
		}
	}
	return f
}

// flow returns the flow of a packet from the client, a new one if the packet opens it.
func (t *tracker) flow(s *site, p packet, now time.Duration) *flow {
	key := flowKey{p.src, p.dst, p.proto}
	f := t.live[key]
	opens := p.proto == protoTCP && p.flags&(flagSYN|flagACK) == flagSYN
	if f != nil && !(opens && f.end != 0) {
		return f
	}
	about := topic(p)
	f = &flow{site: s, key: key, number: -1, start: now, id: hash(t.seed, about, strconv.FormatUint(t.ordinal[about], 10))}
	t.ordinal[about]++
	if len(t.live) >= maxFlows {
		t.lost["flows"]++
		return f
	}
	t.live[key] = f
	if p.proto == protoTCP {
		f.number = len(t.flows)
		t.flows = append(t.flows, f)
	}
	return f
}

// topic says what a flow is about in words that do not depend on timing: concurrent queries race for
// their ports and order, but not for their questions.
func topic(p packet) string {
	if p.proto == protoUDP && p.dst.Port() == 53 {
		if m := new(dns.Msg); m.Unpack(p.payload) == nil && len(m.Question) == 1 {
			return p.dst.String() + m.Question[0].String()
		}
	}
	return p.dst.String()
}

// asked notes a DNS query.
func (t *tracker) asked(s *site, p packet, now time.Duration) {
	m := new(dns.Msg)
	if m.Unpack(p.payload) != nil || len(m.Question) != 1 {
		return
	}
	if len(t.queries) == maxQueries {
		t.lost["queries"]++
		return
	}
	q := m.Question[0]
	t.queries = append(t.queries, &query{
		site: s, client: p.src, id: m.Id, start: now, answer: "none",
		name: dnsName(q), kind: dns.TypeToString[q.Qtype],
	})
}

// answered notes a DNS answer. It is matched as resolvers do (RFC 5452 section 9.1): what has another ID or
// question is none, and the resolver goes on waiting.
func (t *tracker) answered(p packet, now time.Duration) {
	m := new(dns.Msg)
	malformed := m.Unpack(p.payload) != nil
	if len(m.Question) != 1 || !m.Response {
		return
	}
	for i := len(t.queries) - 1; i >= 0; i-- {
		if q := t.queries[i]; q.client == p.dst && q.id == m.Id && q.asks(m.Question[0]) && q.end == 0 {
			q.end, q.answer = now, answerWord(m)
			if malformed {
				q.answer = "malformed"
			}
			return
		}
	}
}

func (q *query) asks(other dns.Question) bool {
	return q.name == dnsName(other) && q.kind == dns.TypeToString[other.Qtype]
}

// dnsName returns the name of a question in lower case, without the final dot.
func dnsName(q dns.Question) string { return strings.TrimSuffix(dns.CanonicalName(q.Name), ".") }

// reached notes a packet as it arrives at a host.
func (t *tracker) reached(f *flow, p packet, sent, now time.Duration) {
	if f == nil || len(p.payload) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f.up = t.appendHop(f.up, hop{sent, now})
}

// delivered notes a packet as it reaches the client.
func (t *tracker) delivered(s *site, f *flow, p packet, sent, now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.proto == protoUDP && p.src.Port() == 53 {
		t.answered(p, now)
	}
	if f == nil || p.proto != protoTCP {
		return
	}
	f.arrives(p, now)
	if len(p.payload) > 0 {
		f.down = t.appendHop(f.down, hop{sent, now})
	}
}

// appendHop keeps the first maxHops-1 hops and always the latest. One that was overtaken counts as sent with
// the one that overtook it, so that hops are in the order of both their times.
func (t *tracker) appendHop(hops []hop, h hop) []hop {
	if n := len(hops); n > 0 {
		h.sent = max(h.sent, hops[n-1].sent)
	}
	if len(hops) < maxHops {
		return append(hops, h)
	}
	t.lost["hops"]++
	hops[maxHops-1] = h
	return hops
}

// leaves notes a packet of the client.
func (f *flow) leaves(p packet, now time.Duration) {
	if p.flags&flagSYN != 0 {
		f.syns++
		f.stream.next = p.seq + 1
	}
	f.bytesUp += int64(len(p.payload))
	if f.stream.feed(p, f.tunnel != 0) && f.secured == 0 {
		f.secured = now
	}
	f.closes(p, now)
}

// arrives notes a packet for the client.
func (f *flow) arrives(p packet, now time.Duration) {
	if p.flags&(flagSYN|flagACK) == flagSYN|flagACK && f.established == 0 {
		f.established = now
	}
	f.bytesDown += int64(len(p.payload))
	if len(p.payload) > 0 && (f.stream.connect && f.tunnel == 0 || f.stream.socks) {
		f.tunnel = now
	}
	f.closes(p, now)
}

func (f *flow) closes(p packet, now time.Duration) {
	if p.flags&(flagFIN|flagRST) == 0 {
		return
	}
	f.reset = f.reset || p.flags&flagRST != 0 && f.end == 0
	if f.end == 0 {
		f.end = now
	}
}

// A clientStream follows the bytes that a client sends, as far as to know when its TLS handshake ended.
type clientStream struct {
	next    uint32 // sequence number of the next byte in order
	started bool
	connect bool // it began with CONNECT, or as SOCKS
	socks   bool // it has said nothing yet but what is meant for a SOCKS proxy: RFC 1928 and RFC 1929
	tls     bool
	secured bool
	header  []byte // the part of a TLS record header that is there
	skip    int    // bytes of the record's body that are still to come
}

// feed takes a segment and reports whether the handshake has ended with it. Repeated segments and those
// after a gap change nothing: the client sends the missing ones again, in order.
func (s *clientStream) feed(p packet, tunnelled bool) bool {
	if len(p.payload) == 0 || p.seq != s.next || s.secured {
		return false
	}
	s.next += uint32(len(p.payload))
	if !s.started || s.connect && tunnelled && !s.tls {
		s.begin(p.payload)
	}
	if s.tls {
		s.secured = s.records(p.payload)
	}
	return s.secured
}

// begin looks at the first bytes of the stream, or of what is tunnelled in it.
func (s *clientStream) begin(b []byte) {
	const (
		handshake = 22 // RFC 8446 section 5.1
		socks     = 5  // and below it, the version of the negotiation of RFC 1929
	)
	s.tls = b[0] == handshake
	if !s.started {
		s.socks = b[0] == socks
		s.connect = s.socks || len(b) >= 8 && string(b[:8]) == "CONNECT "
	}
	s.socks = s.socks && b[0] <= socks
	s.started = true
}

// records reads TLS record headers and reports whether one of them is of application data. Under TLS 1.3
// that is the client's Finished message; a record short enough to be an alert does not count.
func (s *clientStream) records(b []byte) bool {
	const applicationData, longestAlert = 23, 24
	for len(b) > 0 {
		if s.skip > 0 {
			n := min(s.skip, len(b))
			s.skip, b = s.skip-n, b[n:]
			continue
		}
		n := min(5-len(s.header), len(b))
		s.header, b = append(s.header, b[:n]...), b[n:]
		if len(s.header) < 5 {
			return false
		}
		s.skip = int(binary.BigEndian.Uint16(s.header[3:]))
		if s.header[0] == applicationData && s.skip > longestAlert {
			return true
		}
		s.header = s.header[:0]
	}
	return false
}

// answerWord says in one word what a DNS message answers.
func answerWord(m *dns.Msg) string {
	if m.Truncated {
		return "truncated"
	}
	if m.Rcode == dns.RcodeSuccess && len(m.Answer) == 0 {
		return "nodata"
	}
	return strings.ToLower(dns.RcodeToString[m.Rcode])
}
