package lab

import (
	"container/heap"
	"encoding/binary"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/simrun/simrun/scenarios"
)

// maxParcels bounds the packets that a link holds. Packets beyond it are dropped and counted.
const maxParcels = 1 << 16

// bufferSize holds the largest packet of the interfaces' MTU.
const bufferSize = 2048

// A link forwards the packets between the client host and the internet, in user space, and does to them
// what the world and the faults say. One goroutine reads each side; a third delivers what is delayed.
type link struct {
	client, wan *os.File // the two TUN devices
	alarm       *alarm
	epoch       time.Time
	begun       atomic.Int64 // start of the time line, as time since epoch; 0 means not yet
	gateway4    netip.Addr   // who sends ICMP errors for addresses that do not exist
	gateway6    netip.Addr
	sites       map[netip.Addr]*site
	track       *tracker

	mu      sync.Mutex // guards what follows
	parcels parcelHeap
	order   uint64

	buffers sync.Pool
	done    sync.WaitGroup
}

// A site is the running state of one host at the far end of the link.
type site struct {
	name     string
	tcp      map[uint16]bool // ports that something listens on
	udp      map[uint16]bool
	up, down lane
	rejects  []*packetFault
}

// A parcel is a packet on its way.
type parcel struct {
	due   time.Duration
	order uint64 // parcels due at the same time keep their order
	lane  *lane
	site  *site
	flow  *flow
	sent  time.Duration
	buf   []byte
}

// now returns the time since the link's epoch, on the monotonic clock.
func (l *link) now() time.Duration { return time.Since(l.epoch) }

// at turns a time of the link into a time since the start of the go command.
func (l *link) at(now time.Duration) (since time.Duration, begun bool) {
	b := l.begun.Load()
	return now - time.Duration(b), b != 0
}

// start begins to forward. stop ends it.
func (l *link) start() error {
	var err error
	if l.alarm, err = newAlarm(); err != nil {
		return err
	}
	l.buffers.New = func() any { return new([bufferSize]byte) }
	for _, loop := range []func(){
		func() { l.read(l.client, l.fromClient) },
		func() { l.read(l.wan, l.fromInternet) },
		l.deliverDelayed,
	} {
		l.done.Go(loop)
	}
	return nil
}

// stop closes the devices and waits until nothing is forwarded any more.
func (l *link) stop() {
	l.client.Close()
	l.wan.Close()
	l.alarm.close()
	l.done.Wait()
}

// read hands every packet of a device to take, which owns the buffer, with the time at which the packet
// came. Where the goroutine has slept until then, that is as long ago as waking takes.
func (l *link) read(tun *os.File, take func(buf []byte, came time.Duration)) {
	for ready := l.now(); ; ready = l.now() {
		buf := l.buffers.Get().(*[bufferSize]byte)[:]
		n, err := tun.Read(buf)
		if err != nil {
			return // closed
		}
		came := l.now()
		if came-ready > maxLead {
			came -= l.alarm.waking()
		}
		take(buf[:n], came)
	}
}

// fromClient takes a packet that the client host has sent.
func (l *link) fromClient(buf []byte, came time.Duration) {
	p, ok := parse(buf)
	if !ok || p.dst.Addr().IsMulticast() {
		l.release(buf)
		return
	}
	s := l.sites[p.dst.Addr()]
	if s == nil {
		l.track.stray(p.dst.Addr())
		l.sendToClient(icmpFor(l.gateway(p.dst.Addr()), p, buf, unreachableNet))
		return
	}
	f := l.track.sent(s, p, came)
	l.forward(&s.up, p, parcel{site: s, flow: f, sent: came, buf: buf})
}

// fromInternet takes a packet that a host of the internet has sent.
func (l *link) fromInternet(buf []byte, came time.Duration) {
	p, ok := parse(buf)
	s := l.sites[p.src.Addr()]
	if !ok || s == nil {
		l.release(buf)
		return
	}
	l.reply(s, p, buf, came)
}

// reply puts a packet from a site on its way to the client.
func (l *link) reply(s *site, p packet, buf []byte, sent time.Duration) {
	l.forward(&s.down, p, parcel{site: s, flow: l.track.find(p.dst, p.src, p.proto), sent: sent, buf: buf})
}

// forward decides what becomes of a packet and delivers it now or later.
func (l *link) forward(on *lane, p packet, c parcel) {
	since, begun := l.at(c.sent)
	due, ok := on.admit(l.track.next(c.flow, on.up), p, c, since, begun)
	if !ok {
		l.release(c.buf)
		return
	}
	c.lane, c.due = on, due
	if due <= c.sent && on.waiting.Load() == 0 {
		l.arrive(c)
		return
	}
	l.delay(c)
}

// delay keeps a parcel until it is due.
func (l *link) delay(c parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.parcels) >= maxParcels {
		l.track.lose("packets")
		l.release(c.buf)
		return
	}
	c.order, l.order = l.order, l.order+1
	c.lane.waiting.Add(1)
	heap.Push(&l.parcels, c)
	if l.parcels[0].order == c.order {
		l.alarm.at(c.due, l.now())
	}
}

// deliverDelayed delivers parcels as they become due, until the alarm is closed.
func (l *link) deliverDelayed() {
	for l.alarm.wait() {
		l.alarm.woke(l.now())
		for c, ok := l.nextDue(); ok; c, ok = l.nextDue() {
			for l.now() < c.due { // at most maxLead
			}
			l.arrive(c)
			c.lane.waiting.Add(-1)
		}
	}
}

// nextDue removes the first parcel if it is due now or in a moment, and sets the alarm otherwise.
func (l *link) nextDue() (c parcel, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.parcels) == 0 {
		return c, false
	}
	due, now := l.parcels[0].due, l.now()
	if due > now && !l.alarm.near(due, now) {
		l.alarm.at(due, now)
		return c, false
	}
	return heap.Pop(&l.parcels).(parcel), true
}

// arrive hands a parcel over at the end of its way.
func (l *link) arrive(c parcel) {
	if !c.lane.up {
		p, _ := parse(c.buf)
		l.track.delivered(c.site, c.flow, p, c.sent, l.now())
		l.sendToClient(c.buf)
		return
	}
	p, _ := parse(c.buf)
	if answer, refused := l.refuse(c, p); refused {
		l.release(c.buf)
		if a, ok := parse(answer); ok {
			l.reply(c.site, a, answer, max(c.due, c.sent))
		}
		return
	}
	l.track.reached(c.flow, p, c.sent, l.now())
	_, _ = l.wan.Write(c.buf) // fails only when the link is stopped
	l.release(c.buf)
}

func (l *link) sendToClient(buf []byte) {
	_, _ = l.client.Write(buf) // fails only when the link is stopped
	l.release(buf)
}

// release gives a buffer back. Those of answers made here are too small to take a packet, and are left.
func (l *link) release(buf []byte) {
	if cap(buf) >= bufferSize {
		l.buffers.Put((*[bufferSize]byte)(buf[:bufferSize]))
	}
}

// refuse says whether a site turns a packet away, by a fault or because nothing listens, and the answer.
// The answer is empty where a standard forbids one.
func (l *link) refuse(c parcel, p packet) (answer []byte, refused bool) {
	s, whole := c.site, c.buf
	since, begun := l.at(l.now())
	for _, f := range s.rejects {
		if begun && f.Active(since) && f.covers(p) && f.takes(c.flow) {
			f.Bit.Add(1)
			return rejection(f.Packet.Reject, p, whole), true
		}
	}
	switch {
	case p.proto == protoTCP && !s.tcp[p.dst.Port()]:
		return rejection(scenarios.RejectRST, p, whole), true
	case p.proto == protoUDP && !s.udp[p.dst.Port()]:
		return rejection(scenarios.RejectPort, p, whole), true
	}
	return nil, false
}

// rejection builds the answer that a declared reject gives to a packet.
func rejection(kind scenarios.Reject, p packet, whole []byte) []byte {
	if p.proto == protoTCP && p.flags&flagRST != 0 {
		return nil // RFC 9293 section 3.5.2: a reset is never answered
	}
	host := p.dst.Addr()
	switch {
	case kind == scenarios.RejectRST && p.proto == protoTCP:
		return resetFor(p)
	case kind == scenarios.RejectHost:
		return icmpFor(host, p, whole, unreachableHost)
	case kind == scenarios.RejectNetwork:
		return icmpFor(host, p, whole, unreachableNet)
	case kind == scenarios.RejectAdmin:
		return icmpFor(host, p, whole, unreachableAdmin)
	}
	return icmpFor(host, p, whole, unreachablePort)
}

func (l *link) gateway(beside netip.Addr) netip.Addr {
	if beside.Is4() {
		return l.gateway4
	}
	return l.gateway6
}

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

// A packetFault is a packet fault at one host.
type packetFault struct {
	*Fault
	ports []uint16 // empty means all

	mu     sync.Mutex // guards chosen
	chosen map[*flow]bool
}

// takes reports whether the fault is about the flow of a packet. That is decided at the first packet of the
// flow that meets the fault while it is in force.
func (f *packetFault) takes(c *flow) bool {
	if !f.Selective() {
		return true
	}
	if c == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	chosen, met := f.chosen[c]
	if !met {
		chosen = f.Picks(c.site.name)
		f.chosen[c] = chosen
	}
	return chosen
}

// covers reports whether the fault is about this packet.
func (f *packetFault) covers(p packet) bool {
	if (f.Packet.Family == scenarios.FamilyIPv4 && !p.dst.Addr().Is4()) ||
		(f.Packet.Family == scenarios.FamilyIPv6 && !p.dst.Addr().Is6()) {
		return false
	}
	for _, port := range f.ports {
		if p.dst.Port() == port || p.src.Port() == port {
			return true
		}
	}
	return len(f.ports) == 0
}

// shapes reports whether the fault changes packets that it does not lose.
func (f *packetFault) shapes() bool {
	p := f.Packet
	return p.Delay > 0 || p.Jitter > 0 || p.Rate > 0 || p.Queue > 0
}

// admit decides when a packet arrives at the end of the lane, or that it never does.
// The draw identifies the packet, so that the same packets of a run are lost whatever their timing.
func (n *lane) admit(draw uint64, p packet, c parcel, since time.Duration, begun bool) (due time.Duration, ok bool) {
	loss, delay, jitter := n.link.Loss, n.link.RTT/2, n.link.Jitter
	if !n.up {
		delay = n.link.RTT - delay
	}
	rate, queue := n.link.Rate, n.link.Queue
	if loss > 0 && chance(n.seed, draw, 0) < float64(loss) {
		return 0, false
	}
	for i, f := range n.faults {
		if !begun || !f.Active(since) || !f.covers(p) || !f.takes(c.flow) {
			continue
		}
		if f.Packet.Loss > 0 && chance(n.seed, draw, uint64(i)+2) < float64(f.Packet.Loss) {
			f.Bit.Add(1)
			return 0, false
		}
		delay += f.Packet.Delay
		jitter += f.Packet.Jitter
		if f.Packet.Rate > 0 {
			rate = f.Packet.Rate
		}
		if f.Packet.Queue > 0 {
			queue = f.Packet.Queue
		}
		if f.shapes() {
			f.Bit.Add(1)
		}
	}
	if jitter > 0 {
		delay += time.Duration((2*chance(n.seed, draw, 1) - 1) * float64(jitter))
	}
	return n.enqueue(len(c.buf), c.sent, max(delay, 0), rate, queue)
}

// enqueue passes a packet through the bottleneck of the lane: a transmitter of a rate behind a queue.
func (n *lane) enqueue(size int, now, delay time.Duration, rate scenarios.Rate, queue scenarios.Size) (due time.Duration, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	leaves := now
	if rate > 0 {
		if queue == 0 {
			queue = scenarios.DefaultQueue
		}
		begins := max(now, n.free)
		if backlog := (begins - now).Seconds() * float64(rate) / 8; backlog+float64(size) > float64(queue) {
			return 0, false
		}
		leaves = begins + time.Duration(float64(size)*8/float64(rate)*1e9)
		n.free = leaves
	}
	n.last = max(n.last, leaves+delay)
	return n.last, true
}

// chance returns a number in [0,1) that depends on its arguments only.
func chance(seed, draw, salt uint64) float64 {
	return float64(mix(mix(seed^mix(draw))+salt)>>11) / (1 << 53)
}

// mix is the finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hash folds strings and numbers into one seed, independent of the run of the process.
func hash(seed uint64, parts ...string) uint64 {
	for _, s := range parts {
		for ; len(s) >= 8; s = s[8:] {
			seed = mix(seed ^ binary.LittleEndian.Uint64([]byte(s[:8])))
		}
		var tail [8]byte
		tail[7] = byte(len(s)) + 1
		copy(tail[:], s)
		seed = mix(seed ^ binary.LittleEndian.Uint64(tail[:]))
	}
	return seed
}

// parcelHeap orders parcels by the time at which they are due.
type parcelHeap []parcel

func (h parcelHeap) Len() int { return len(h) }
func (h parcelHeap) Less(i, j int) bool {
	return h[i].due < h[j].due || h[i].due == h[j].due && h[i].order < h[j].order
}
func (h parcelHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *parcelHeap) Push(x any)   { *h = append(*h, x.(parcel)) }
func (h *parcelHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
