//go:build linux

package lab

import (
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/simrun/simrun/scenarios"
)

// A lane is one direction of the way to a site. Only one goroutine at a time admits packets to it, but
// for answers that the site's end makes up.
type lane struct {
	up      bool
	seed    uint64
	link    scenarios.Link
	faults  []*packetFault
	waiting atomic.Int64 // parcels of this lane that are delayed

	mu   sync.Mutex // guards what follows
	free time.Duration
	last time.Duration
}

// A fate is what becomes of a packet that is not lost.
type fate struct {
	due     time.Duration    // when it arrives at the end of the lane
	reject  scenarios.Reject // how it is answered there
	twice   bool
	corrupt bool
	forever bool // it is lost, and so is whatever is sent in its place

	delay     time.Duration // after the bottleneck
	overtakes bool          // it need not wait for those before it
	rate      scenarios.Rate
	queue     scenarios.Size
}

// What the dice are rolled for.
const (
	toLose = iota
	toVary
	toEnter
	toLeave
	toLoseInBurst
	toOvertake
	toDouble
	toCorrupt
)

// admit decides when a packet arrives at the end of the lane, and how, or that it never does.
// The draw identifies the packet, so that the same packets of a run are lost whatever their timing.
func (n *lane) admit(draw uint64, p packet, c parcel, since time.Duration, begun bool) (w fate, ok bool) {
	d := dice{n.seed, draw, 0}
	if d.hits(n.link.Loss, toLose) {
		return w, false
	}
	w = fate{delay: n.link.RTT / 2, rate: n.link.Rate, queue: n.link.Queue}
	if !n.up {
		w.delay = n.link.RTT - w.delay
	}
	if n.link.Jitter > 0 {
		w.delay += deviation(scenarios.DistributionUniform, n.link.Jitter, d.roll(toVary))
	}
	if begun {
		for i, f := range n.faults {
			d.salt = uint64(i) + 1
			if f.Active(since) && f.covers(p) && f.takes(c) && !f.alter(&w, c, n.up, d) {
				return w, false
			}
		}
	}
	return n.enqueue(w, len(c.buf), c.sent)
}

// enqueue passes a packet through the bottleneck of the lane: a transmitter of a rate behind a queue.
func (n *lane) enqueue(w fate, size int, now time.Duration) (fate, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	leaves := now
	if w.rate > 0 {
		if w.queue == 0 {
			w.queue = scenarios.DefaultQueue
		}
		begins := max(now, n.free)
		if backlog := (begins - now).Seconds() * float64(w.rate) / 8; backlog+float64(size) > float64(w.queue) {
			return w, false
		}
		leaves = begins + time.Duration(float64(size)*8/float64(w.rate)*1e9)
		n.free = leaves
	}
	w.due = leaves + max(w.delay, 0)
	if !w.overtakes {
		n.last = max(n.last, w.due)
		w.due = n.last
	}
	return w, true
}

// A packetFault is a packet fault at one host.
type packetFault struct {
	*Fault
	ports []uint16     // empty means all
	addrs []netip.Addr // of the host; empty means all

	mu  sync.Mutex // guards met
	met map[*flow]*encounter
}

// An encounter is what a packet fault knows of a flow that it has met.
type encounter struct {
	chosen  bool // the flow is one of those that the fault is about
	packets int
	bytes   int64
	begun   [2]bool // by direction, up first: the flow has a good or a bad way
	bad     [2]bool
}

// covers reports whether the fault is about this packet, whatever flow it is of.
func (f *packetFault) covers(p packet) bool {
	if (f.Packet.Family == scenarios.FamilyIPv4 && !p.dst.Addr().Is4()) ||
		(f.Packet.Family == scenarios.FamilyIPv6 && !p.dst.Addr().Is6()) {
		return false
	}
	if (f.Packet.Protocol == scenarios.ProtocolTCP && p.proto != protoTCP) ||
		(f.Packet.Protocol == scenarios.ProtocolUDP && p.proto != protoUDP) {
		return false
	}
	if len(f.addrs) > 0 && !slices.Contains(f.addrs, p.dst.Addr()) && !slices.Contains(f.addrs, p.src.Addr()) {
		return false
	}
	for _, port := range f.ports {
		if p.dst.Port() == port || p.src.Port() == port {
			return true
		}
	}
	return len(f.ports) == 0
}

// takes reports whether the fault is about the flow of a packet, and has let pass what it lets pass first.
// The former is decided at the first packet of the flow that meets the fault while it is in force.
func (f *packetFault) takes(c parcel) bool {
	if !f.Selective() && f.Packet.AfterPackets == 0 && f.Packet.AfterBytes == 0 {
		return true
	}
	if c.flow == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.encounter(c.flow)
	e.packets++
	e.bytes += int64(len(c.buf))
	return e.chosen && e.packets > f.Packet.AfterPackets && e.bytes > int64(f.Packet.AfterBytes)
}

// encounter returns what is known of a flow. The caller holds the lock.
func (f *packetFault) encounter(c *flow) *encounter {
	e := f.met[c]
	if e == nil {
		e = &encounter{chosen: f.Picks(c.site.name)}
		f.met[c] = e
	}
	return e
}

// alter does to a packet what the fault is, and reports whether the packet is still there.
func (f *packetFault) alter(w *fate, c parcel, up bool, d dice) bool {
	p := f.Packet
	inBurst := f.inBurst(c.flow, up, d)
	if p.MTU > 0 && len(c.buf) > int(p.MTU) || d.hits(p.Loss, toLose) ||
		inBurst && d.hits(p.Bursts.LossInside(), toLoseInBurst) {
		f.Bit.Add(1)
		w.forever = f.Until == 0 && f.Every == 0 && (p.Loss >= 1 || p.MTU > 0 && len(c.buf) > int(p.MTU))
		return false
	}
	twice, spoilt := d.hits(p.Duplicate, toDouble), d.hits(p.Corrupt, toCorrupt)
	w.twice, w.corrupt = w.twice || twice, w.corrupt || spoilt
	rejects := up && p.Reject != ""
	if rejects && w.reject == "" {
		w.reject = p.Reject
	}
	if f.slow(w, d) || twice || spoilt || rejects {
		f.Bit.Add(1)
	}
	return true
}

// slow changes how long a packet takes, and reports whether the fault does so.
func (f *packetFault) slow(w *fate, d dice) bool {
	p := f.Packet
	if p.Rate > 0 {
		w.rate = p.Rate
	}
	if p.Queue > 0 {
		w.queue = p.Queue
	}
	if d.hits(p.Reorder, toOvertake) {
		w.overtakes = true
		return true
	}
	w.delay += p.Delay
	if p.Jitter > 0 {
		w.delay += deviation(p.Distribution, p.Jitter, d.roll(toVary))
	}
	return p.Delay > 0 || p.Jitter > 0 || p.Rate > 0 || p.Queue > 0
}

// inBurst reports whether a packet meets the bad way of its flow, and decides that at once for those of the
// flow that follow: see [scenarios.Bursts]. The first packet meets either way as often as all packets do.
func (f *packetFault) inBurst(c *flow, up bool, d dice) bool {
	b := f.Packet.Bursts
	if b.Share == 0 || c == nil {
		return false
	}
	way := 0
	if !up {
		way = 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.encounter(c)
	switch {
	case !e.begun[way]:
		e.begun[way], e.bad[way] = true, d.hits(b.Share, toEnter)
	case e.bad[way]:
		e.bad[way] = d.roll(toLeave) >= b.Leave()
	default:
		e.bad[way] = d.roll(toEnter) < b.Enter()
	}
	return e.bad[way]
}

// paretoShape is that of tc-netem(8): see iproute2's netem/pareto.c.
const paretoShape = 3

// deviation returns how far a delay is from its mean: the value of a distribution's quantile function at u,
// which is in [0,1).
func deviation(by scenarios.Distribution, jitter time.Duration, u float64) time.Duration {
	var x float64
	switch by {
	case scenarios.DistributionNormal:
		x = math.Sqrt2 * math.Erfinv(2*max(u, 0x1p-53)-1) // at 0 it is infinite
	case scenarios.DistributionPareto:
		const a = paretoShape
		mean, variance := a/(a-1.0), a/((a-1.0)*(a-1.0)*(a-2.0))
		x = (math.Pow(1-u, -1.0/a) - mean) / math.Sqrt(variance)
	default:
		x = 2*u - 1
	}
	return time.Duration(x * float64(jitter))
}
