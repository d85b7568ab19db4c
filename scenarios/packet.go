package scenarios

import (
	"fmt"
	"time"
)

// A PacketFault changes the link to a host while it is in force. A zero field changes nothing.
type PacketFault struct {
	Loss         Fraction      // each packet by itself, in addition to the link's own
	Bursts       Bursts        // losses that come in bursts, in addition to Loss
	Delay        time.Duration // one way, in addition to the link's own
	Jitter       time.Duration // how far the delay varies, in addition to the link's own
	Distribution Distribution  // how the delay varies by Jitter; zero means uniform
	Reorder      Fraction      // share of packets that do not take Delay and Jitter, and so overtake those that do
	Duplicate    Fraction      // share of packets that arrive twice, the copy right behind
	Corrupt      Fraction      // share of packets that arrive with a byte changed, and so with a wrong checksum
	Rate         Rate          // instead of the link's own
	Queue        Size          // instead of the link's own
	MTU          Size          // larger IP packets are lost, and no ICMP message tells the sender
	Reject       Reject        // answer instead of forwarding

	// Which packets the fault is about.
	Direction    Direction // zero means both; Reject looks at what the client sends only
	Family       Family    // zero means packets of both families
	Protocol     Protocol  // zero means all; only at name servers
	Address      int       // to and from this address of the host in each family, counted from 1; 0 means all
	AfterPackets int       // only after so many packets of a connection in the fault's directions
	AfterBytes   Size      // only after so many bytes of them, headers and all
}

// Bursts is the loss model of Gilbert ("Capacity of a burst-noise channel", 1960) and Elliott ("Estimates
// of error rates for codes on burst-noise channels", 1963): a way that is good or bad, and that may change
// with each packet. The way of each connection, in each direction, changes by itself. The zero Bursts loses
// nothing.
type Bursts struct {
	Share  Fraction // of the packets that meet the bad way, less than 1
	Length int      // mean number of packets in a row that meet the bad way, at least 1
	Loss   Fraction // share of the packets lost on the bad way; 0 means all
}

// Enter returns the chance that the way becomes bad with the next packet. It follows from the other two, as
// in the long run as many packets enter bursts as leave them.
func (b Bursts) Enter() float64 { return float64(b.Share) / (1 - float64(b.Share)) * b.Leave() }

// Leave returns the chance that the way becomes good again with the next packet.
func (b Bursts) Leave() float64 { return 1 / float64(b.Length) }

// LossInside returns the share of packets that are lost on the bad way.
func (b Bursts) LossInside() Fraction {
	if b.Loss == 0 {
		return 1
	}
	return b.Loss
}

// String returns the bursts as a file has them.
func (b Bursts) String() string {
	if b.Loss == 0 {
		return fmt.Sprintf("{share: %v, length: %d}", b.Share, b.Length)
	}
	return fmt.Sprintf("{share: %v, length: %d, loss: %v}", b.Share, b.Length, b.Loss)
}

// A Distribution says how a delay varies by a jitter around its mean.
type Distribution string

// The distributions of the language. The zero value means DistributionUniform.
const (
	DistributionUniform Distribution = "uniform" // evenly, by up to the jitter to either side
	DistributionNormal  Distribution = "normal"  // the jitter is the standard deviation
	DistributionPareto  Distribution = "pareto"  // of shape 3, as in tc-netem(8); the jitter is the standard deviation
)

// A Direction is the way that packets go.
type Direction string

// The directions of the language. The zero value means DirectionBoth.
const (
	DirectionBoth Direction = "both"
	DirectionUp   Direction = "up"   // from the client to the host
	DirectionDown Direction = "down" // from the host to the client
)

// A Protocol is what carries the queries to a name server.
type Protocol string

// The protocols of the language.
const (
	ProtocolTCP Protocol = "tcp"
	ProtocolUDP Protocol = "udp"
)

// A Reject is the answer that a packet gets instead of being forwarded.
type Reject string

// The rejects of the language.
const (
	RejectRST     Reject = "rst"        // TCP reset; other packets as RejectPort
	RejectHost    Reject = "icmp-host"  // destination unreachable: host
	RejectPort    Reject = "icmp-port"  // destination unreachable: port
	RejectAdmin   Reject = "icmp-admin" // destination unreachable: administratively prohibited
	RejectNetwork Reject = "icmp-net"   // destination unreachable: network
)

// InterfaceMTU is the largest IP packet that the client and the hosts send, in bytes.
const InterfaceMTU Size = 1500

// minMTU is the least that IPv4 asks of any way (RFC 791 section 3.2).
const minMTU Size = 68

// MaxAddresses is how many addresses a host has at most in each family.
const MaxAddresses = 8

var (
	distributionValue = oneOf("distribution", DistributionUniform, DistributionNormal, DistributionPareto)
	directionValue    = oneOf("direction", DirectionBoth, DirectionUp, DirectionDown)
	rejectValue       = oneOf("reject", RejectRST, RejectHost, RejectPort, RejectAdmin, RejectNetwork)
	protocolValue     = oneOf("protocol", ProtocolTCP, ProtocolUDP)
	mtuValue          = scalar[Size]{parse: parseMTU, shape: sizeValue.shape}
	addressValue      = whole("addresses of a family", 1, MaxAddresses)
)

func packetFields(f *PacketFault) fields {
	return fields{
		"loss":          set(&f.Loss, fractionValue),
		"bursts":        setStruct(&f.Bursts, "bursts", burstsFields),
		"delay":         set(&f.Delay, durationValue),
		"jitter":        set(&f.Jitter, durationValue),
		"distribution":  set(&f.Distribution, distributionValue),
		"reorder":       set(&f.Reorder, shareValue),
		"duplicate":     set(&f.Duplicate, shareValue),
		"corrupt":       set(&f.Corrupt, shareValue),
		"rate":          set(&f.Rate, rateValue),
		"queue":         set(&f.Queue, sizeValue),
		"mtu":           set(&f.MTU, mtuValue),
		"reject":        set(&f.Reject, rejectValue),
		"direction":     set(&f.Direction, directionValue),
		"family":        set(&f.Family, familyValue),
		"protocol":      set(&f.Protocol, protocolValue),
		"address":       set(&f.Address, addressValue),
		"after-packets": set(&f.AfterPackets, whole("packets of a connection", 1, 1_000_000)),
		"after-bytes":   set(&f.AfterBytes, sizeValue),
	}
}

func burstsFields(b *Bursts) fields {
	return fields{
		"share":  set(&b.Share, shareValue).must(),
		"length": set(&b.Length, whole("packets", 1, 1_000_000)).must(),
		"loss":   set(&b.Loss, shareValue),
	}
}

func parseMTU(s string) (Size, error) {
	n, err := ParseSize(s)
	if err == nil && (n < minMTU || n >= InterfaceMTU) {
		err = fmt.Errorf("%s is out of range: %v to %v, as no packet is larger than %v", quote(s), minMTU, InterfaceMTU-1, InterfaceMTU)
	}
	return n, err
}

// effects returns the fault without what says which packets it is about, and how.
func (f PacketFault) effects() PacketFault {
	f.Distribution, f.Direction, f.Family, f.Protocol = "", "", "", ""
	f.Address, f.AfterPackets, f.AfterBytes = 0, 0, 0
	return f
}

func checkPacket(d *decoder, f *PacketFault, pos Position) {
	effects := f.effects()
	switch {
	case effects == PacketFault{}:
		d.failf(pos, "packet fault changes nothing")
	case f.Reject != "" && f.Direction == DirectionDown:
		d.failf(pos, "`reject:` looks at what the client sends; `direction: down` leaves nothing to reject")
	case f.Reject != "" && f.Loss == 1:
		d.failf(pos, "`reject:` and `loss: 100%%` contradict each other")
	case f.Loss == 1 && effects != PacketFault{Loss: 1}:
		d.failf(pos, "`loss: 100%%` leaves no packet for the other keys to change")
	case f.Distribution != "" && f.Jitter == 0:
		d.failf(pos, "`distribution:` needs `jitter:`, which is what it distributes")
	case f.Reorder > 0 && f.Delay == 0:
		d.failf(pos, "`reorder:` needs `delay:`; the packets that do not take it overtake the others")
	case f.Reorder == 1:
		d.failf(pos, "`reorder: 100%%` leaves no packet to overtake")
	case f.AfterPackets > 0 && f.AfterBytes > 0:
		d.failf(pos, "`after-packets:` and `after-bytes:` contradict each other")
	case f.Bursts.Share == 1:
		d.failf(pos, "bursts with a `share: 100%%` never end; `loss:` is without bursts")
	case f.Bursts.Enter() > 1:
		d.failf(pos, "bursts of %d packets do not reach a share of %v: the packets between two bursts would be fewer than one",
			f.Bursts.Length, f.Bursts.Share)
	}
}

// checkPacketPlace checks that the hosts of a packet fault have what it is about.
func (d *decoder) checkPacketPlace(f *Fault, w *World) {
	p := f.Packet
	if p == nil {
		return
	}
	if p.Protocol != "" && len(f.Target.Hosts) > 0 {
		d.failf(f.Pos, "`protocol:` is for name servers; nothing but TCP goes to %s", quote(f.Target.Pattern))
		return
	}
	has := func(name string, addresses int, l Link) bool {
		switch {
		case p.Address > addresses:
			d.failf(f.Pos, "`address: %d` is not there: %s has %d in each family", p.Address, name, addresses)
		case p.Queue > 0 && p.Rate == 0 && l.Rate == 0:
			d.failf(f.Pos, "`queue:` needs `rate:`; the link to %s has none, so that nothing waits", name)
		default:
			return true
		}
		return false
	}
	for _, i := range f.Target.Nameserver {
		if ns := &w.Nameservers[i]; !has("ns:"+ns.Name, 1, ns.Link) {
			return
		}
	}
	for _, i := range f.Target.Hosts {
		if h := &w.Hosts[i]; !has(h.Name, max(h.Addresses, 1), h.Link) {
			return
		}
	}
}

func packetContradiction(a, b *PacketFault) string {
	sameWay := a.Direction.covers(b.Direction) || b.Direction.covers(a.Direction)
	sameFamily := a.Family.covers(b.Family) || b.Family.covers(a.Family)
	sameAddress := a.Address == b.Address || a.Address == 0 || b.Address == 0
	sameProtocol := a.Protocol == b.Protocol || a.Protocol == "" || b.Protocol == ""
	switch {
	case !sameFamily || !sameWay || !sameAddress || !sameProtocol:
		return ""
	case a.Rate != 0 && b.Rate != 0:
		return "set `rate`"
	case a.Queue != 0 && b.Queue != 0:
		return "set `queue`"
	case a.Reject != "" && b.Reject != "":
		return "set `reject`"
	}
	return ""
}

func (d Direction) covers(other Direction) bool {
	return d == other || d == DirectionBoth || d == ""
}

func (f Family) covers(other Family) bool {
	return f == other || f == FamilyDual || f == ""
}

func (p *PacketFault) describe(w *words) {
	w.add("loss", p.Loss)
	w.add("bursts", p.Bursts)
	w.add("delay", p.Delay)
	w.add("jitter", p.Jitter)
	w.add("distribution", p.Distribution)
	w.add("reorder", p.Reorder)
	w.add("duplicate", p.Duplicate)
	w.add("corrupt", p.Corrupt)
	w.add("rate", p.Rate)
	w.add("queue", p.Queue)
	w.add("mtu", p.MTU)
	w.add("reject", p.Reject)
	w.add("direction", p.Direction)
	w.add("family", p.Family)
	w.add("protocol", p.Protocol)
	w.add("address", p.Address)
	w.add("after-packets", p.AfterPackets)
	w.add("after-bytes", p.AfterBytes)
}
