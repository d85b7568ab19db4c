package scenarios

import "time"

// A PacketFault changes the link to a host while it is in force.
type PacketFault struct {
	Loss      Fraction      // in addition to the link's own
	Delay     time.Duration // one way, in addition to the link's own
	Jitter    time.Duration // as Link.Jitter, in addition to the link's own
	Rate      Rate          // instead of the link's own
	Queue     Size          // instead of the link's own
	Reject    Reject        // answer instead of forwarding
	Direction Direction     // zero means both; Reject looks at what the client sends only
	Family    Family        // zero means packets of both families
}

// A Direction is the way that packets go.
type Direction string

// The directions of the language. The zero value means DirectionBoth.
const (
	DirectionBoth Direction = "both"
	DirectionUp   Direction = "up"   // from the client to the host
	DirectionDown Direction = "down" // from the host to the client
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

var (
	directionValue = oneOf("direction", DirectionBoth, DirectionUp, DirectionDown)
	rejectValue    = oneOf("reject", RejectRST, RejectHost, RejectPort, RejectAdmin, RejectNetwork)
)

func packetFields(f *PacketFault) fields {
	return fields{
		"loss":      set(&f.Loss, fractionValue),
		"delay":     set(&f.Delay, durationValue),
		"jitter":    set(&f.Jitter, durationValue),
		"rate":      set(&f.Rate, rateValue),
		"queue":     set(&f.Queue, sizeValue),
		"reject":    set(&f.Reject, rejectValue),
		"direction": set(&f.Direction, directionValue),
		"family":    set(&f.Family, familyValue),
	}
}

func checkPacket(d *decoder, f *PacketFault, pos Position) {
	bare := *f
	bare.Direction, bare.Family = "", ""
	switch {
	case bare == PacketFault{}:
		d.failf(pos, "packet fault changes nothing")
	case f.Reject != "" && f.Direction == DirectionDown:
		d.failf(pos, "`reject:` looks at what the client sends; `direction: down` leaves nothing to reject")
	case f.Reject != "" && f.Loss == 1:
		d.failf(pos, "`reject:` and `loss: 100%%` contradict each other")
	}
}

func packetContradiction(a, b *PacketFault) string {
	sameWay := a.Direction.covers(b.Direction) || b.Direction.covers(a.Direction)
	sameFamily := a.Family.covers(b.Family) || b.Family.covers(a.Family)
	switch {
	case !sameFamily || !sameWay:
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
	w.add("delay", p.Delay)
	w.add("jitter", p.Jitter)
	w.add("rate", p.Rate)
	w.add("queue", p.Queue)
	w.add("reject", p.Reject)
	w.add("direction", p.Direction)
	w.add("family", p.Family)
}
