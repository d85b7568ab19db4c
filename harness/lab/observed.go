//go:build linux

package lab

import (
	"net/netip"
	"sort"
	"time"

	"github.com/simrun/simrun/record"
)

// Observed is what was seen on the packet link, with times since Begin.
type Observed struct {
	Conns   []record.Conn // in order of their first packet
	Queries []record.Query
	Strays  []string
	Lost    map[string]int64
}

// Observe returns what has been seen so far. Connections from addresses that name maps to a word were
// opened by the forward proxy of that name.
func (n *Network) Observe(from func(netip.Addr) string) Observed {
	t := n.link.track
	t.mu.Lock()
	defer t.mu.Unlock()
	o := Observed{Lost: map[string]int64{}}
	for k, v := range t.lost {
		o.Lost[k] = v
	}
	for _, f := range t.flows {
		o.Conns = append(o.Conns, n.conn(f, from(f.key.client.Addr())))
	}
	for _, q := range t.queries {
		o.Queries = append(o.Queries, record.Query{
			Start: n.seconds(q.start), End: n.seconds(q.end), Server: q.site.name, Net: "udp",
			Name: q.name, Type: q.kind, Answer: q.answer,
		})
	}
	for _, a := range t.strays {
		o.Strays = append(o.Strays, a.String())
	}
	return o
}

func (n *Network) conn(f *flow, from string) record.Conn {
	return record.Conn{
		Host: f.site.name, Addr: f.key.host.String(), From: from,
		Start: n.seconds(f.start), Established: n.seconds(f.established), Tunnel: n.seconds(f.tunnel),
		TLS: f.stream.tls, Secured: n.seconds(f.secured), End: n.seconds(f.end), Reset: f.reset,
		SYNs: f.syns, BytesUp: f.bytesUp, BytesDown: f.bytesDown,
	}
}

// seconds turns a time of the link into seconds since Begin. 0 stays 0: it means never.
func (n *Network) seconds(at time.Duration) record.Seconds {
	if at == 0 {
		return 0
	}
	since, _ := n.link.at(at)
	return record.Seconds(max(since, time.Microsecond).Seconds())
}

// An Exchange is a request and its answer at the ends that a server sees.
type Exchange struct {
	Client netip.AddrPort // the client's end of the connection
	Host   netip.AddrPort // the server's end
	Start  time.Time      // the request is there
	First  time.Time      // the answer's first byte was written; zero: never
	End    time.Time      // the answer's last byte was written; zero: not yet
}

// Lived returns the index of an exchange's connection among Observed.Conns, -1 if it is unknown, and the
// times at which the client lived it: when the request left it, and when the answer's first and last bytes
// reached it. On a connection with several exchanges under way at once, the last byte is the last before
// the client spoke again.
func (n *Network) Lived(e Exchange) (conn int, start, first, end record.Seconds) {
	t := n.link.track
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.live[flowKey{e.Client, e.Host, protoTCP}]
	if f == nil || f.number < 0 {
		return -1, n.seconds(n.sinceEpoch(e.Start)), n.seconds(n.sinceEpoch(e.First)), n.seconds(n.sinceEpoch(e.End))
	}
	began := lastBefore(f.up, n.sinceEpoch(e.Start))
	start = n.seconds(began)
	if e.First.IsZero() {
		return f.number, start, 0, 0
	}
	i := firstSentAfter(f.down, n.sinceEpoch(e.First)-maxLead) // the link takes so much off the time at which a packet came
	if i < 0 {
		return f.number, start, 0, 0
	}
	first = n.seconds(f.down[i].got)
	if !e.End.IsZero() {
		end = n.seconds(f.lastOfAnswer(i, n.sinceEpoch(e.End)))
	}
	return f.number, start, first, end
}

func (n *Network) sinceEpoch(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return t.Sub(n.link.epoch)
}

// lastBefore returns when the last packet that had arrived by a time was sent.
func lastBefore(hops []hop, by time.Duration) time.Duration {
	i := sort.Search(len(hops), func(i int) bool { return hops[i].got > by })
	if i == 0 {
		return by
	}
	return hops[i-1].sent
}

// firstSentAfter returns the index of the first packet that was sent at or after a time, or -1.
func firstSentAfter(hops []hop, at time.Duration) int {
	i := sort.Search(len(hops), func(i int) bool { return hops[i].sent >= at })
	if i == len(hops) {
		return -1
	}
	return i
}

// lastOfAnswer returns when the last packet of an answer reached the client: the answer begins with packet
// i, its last byte was written at a time, and what the client asks next is answered by later packets.
func (f *flow) lastOfAnswer(i int, written time.Duration) time.Duration {
	asked := firstSentAfter(f.up, max(written, f.down[i].got)+1)
	if asked < 0 {
		return f.down[len(f.down)-1].got
	}
	next := firstSentAfter(f.down, f.up[asked].got)
	if next < 0 {
		next = len(f.down)
	}
	return f.down[max(next-1, i)].got
}
