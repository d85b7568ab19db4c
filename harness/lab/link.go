//go:build linux

package lab

import (
	"container/heap"
	"maps"
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
	capture     *capture                                // nil: no packets are kept
	guests      atomic.Pointer[map[netip.Addr]*os.File] // TUN devices of further machines on the client's side; nil: none

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

	reject  scenarios.Reject // how it is answered at the end of its way; empty means not at all
	corrupt bool             // a byte of it has been changed
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
	if guests := l.guests.Load(); guests != nil {
		for _, tun := range *guests { // each twice, for its two addresses
			tun.Close()
		}
	}
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
	l.keep(buf, came, outbound)
	l.fromGuest(buf, came)
}

// fromGuest takes a packet that the client host or another machine on its side has sent.
func (l *link) fromGuest(buf []byte, came time.Duration) {
	p, ok := parse(buf)
	if !ok || p.dst.Addr().IsMulticast() {
		l.release(buf)
		return
	}
	s := l.sites[p.dst.Addr()]
	if s == nil {
		l.track.stray(p.dst.Addr())
		l.sendToClient(icmpFor(l.gateway(p.dst.Addr()), p, buf, unreachableNet), p.src.Addr())
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
	draw := l.track.next(c.flow, on.up)
	l.track.leaves(c.flow, p, on.up)
	fate, ok := on.admit(draw, p, c, since, begun)
	if !ok {
		l.track.loses(c.flow, fate.forever, c.sent)
		l.release(c.buf)
		return
	}
	c.lane, c.due, c.reject = on, fate.due, fate.reject
	if fate.corrupt {
		c.corrupt = corrupt(c.buf[p.header:], draw)
		l.track.loses(c.flow, false, c.sent)
	}
	if !fate.twice {
		l.carry(c)
		return
	}
	buf := l.buffers.Get().(*[bufferSize]byte)[:]
	twin := c
	twin.buf = buf[:copy(buf, c.buf)]
	l.carry(c)
	l.carry(twin)
}

// carry delivers a parcel now or later.
func (l *link) carry(c parcel) {
	if c.due <= c.sent && c.lane.waiting.Load() == 0 {
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
		l.alarm.off()
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
	p, _ := parse(c.buf)
	if !c.lane.up {
		if !c.corrupt {
			l.track.delivered(c.site, c.flow, p, c.sent, l.now())
			l.track.acknowledges(c.flow, p, false)
		}
		l.sendToClient(c.buf, p.dst.Addr())
		return
	}
	if answer, refused := refuse(c, p); refused {
		l.track.ends(c.flow)
		l.release(c.buf)
		if a, ok := parse(answer); ok {
			l.reply(c.site, a, answer, max(c.due, c.sent))
		}
		return
	}
	if !c.corrupt {
		l.track.reached(c.flow, p, c.sent, l.now())
		l.track.acknowledges(c.flow, p, true)
	}
	_, _ = l.wan.Write(c.buf) // fails only when the link is stopped
	l.release(c.buf)
}

// sendToClient hands a packet to the client host, or to the other machine on its side that has the address.
func (l *link) sendToClient(buf []byte, to netip.Addr) {
	tun := l.guest(to)
	if tun == nil {
		l.keep(buf, l.now(), inbound)
		tun = l.client
	}
	_, _ = tun.Write(buf) // fails only when the link is stopped
	l.release(buf)
}

// guest returns the device of the machine beside the client host that has an address, or nil.
func (l *link) guest(a netip.Addr) *os.File {
	guests := l.guests.Load()
	if guests == nil {
		return nil
	}
	return (*guests)[a]
}

// addGuest begins to forward the packets of a further machine on the client's side. Machines are added one
// after the other.
func (l *link) addGuest(tun *os.File, addrs ...netip.Addr) {
	all := map[netip.Addr]*os.File{}
	if old := l.guests.Load(); old != nil {
		maps.Copy(all, *old)
	}
	for _, a := range addrs {
		all[a] = tun
	}
	l.guests.Store(&all)
	l.done.Go(func() { l.read(tun, l.fromGuest) })
}

// release gives a buffer back. Those of answers made here are too small to take a packet, and are left.
func (l *link) release(buf []byte) {
	if cap(buf) >= bufferSize {
		l.buffers.Put((*[bufferSize]byte)(buf[:bufferSize]))
	}
}

// refuse says whether a packet is turned away at its site, by a fault or because nothing listens, and the
// answer. The answer is empty where a standard forbids one.
func refuse(c parcel, p packet) (answer []byte, refused bool) {
	s := c.site
	switch {
	case c.reject != "":
		return rejection(c.reject, p, c.buf), true
	case p.proto == protoTCP && !s.tcp[p.dst.Port()]:
		return rejection(scenarios.RejectRST, p, c.buf), true
	case p.proto == protoUDP && !s.udp[p.dst.Port()]:
		return rejection(scenarios.RejectPort, p, c.buf), true
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
