//go:build linux

package lab

import (
	"time"

	"github.com/simrun/simrun/harness/lab/clock"
)

// A flowState says what the kernel's timers still have to do for a TCP connection. They run on the real clock,
// so a cell's clock may jump only where they have nothing to do, or nothing that gets through.
type flowState int

const (
	quiet   flowState = iota // all that was sent has been acknowledged
	open                     // some has not: it is on the way, or an acknowledgment is delayed
	lossy                    // some has not, and a packet has been lost: it will be sent again
	doomed                   // whatever is sent again will be lost, too
	endless                  // number of states
)

// An unacked is what one side of a connection has sent and the other not yet acknowledged.
type unacked struct {
	begun       bool
	sent, acked uint32 // sequence numbers after the last byte
}

// leaves notes that a packet sets off, whether it arrives or not.
func (t *tracker) leaves(f *flow, p packet, up bool) {
	if f == nil || p.proto != protoTCP {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	u := &f.unacked[way(up)]
	end := p.seq + uint32(len(p.payload))
	if p.flags&flagSYN != 0 {
		end++
	}
	if p.flags&flagFIN != 0 {
		end++
	}
	switch {
	case p.flags&flagRST != 0: // who sends it has forgotten the connection
		u.acked = u.sent
	case !u.begun:
		*u = unacked{true, end, p.seq}
	case int32(end-u.sent) > 0:
		u.sent = end
	}
	t.settle(f)
}

// acknowledges notes that a packet has arrived, with what it says of the other direction.
func (t *tracker) acknowledges(f *flow, p packet, up bool) {
	if f == nil || p.proto != protoTCP {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	other := &f.unacked[way(!up)]
	switch {
	case p.flags&flagRST != 0:
		f.forget()
	case p.flags&flagACK != 0 && int32(p.ack-other.acked) > 0 && int32(p.ack-other.sent) <= 0:
		other.acked = p.ack
	}
	t.settle(f)
}

// loses notes that a packet will not arrive, and whether what is sent in its place will.
func (t *tracker) loses(f *flow, forever bool, now time.Duration) {
	if f == nil || f.key.proto != protoTCP {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f.lossy = true
	if forever && !f.doomed {
		f.doomed = true
		if t.doom.IsZero() {
			t.doom = time.Now()
		}
	}
	t.settle(f)
}

// ends notes that a host refuses a packet: the client will send no more of them.
func (t *tracker) ends(f *flow) {
	if f == nil || f.key.proto != protoTCP {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f.forget()
	t.settle(f)
}

// forget makes everything count as acknowledged.
func (f *flow) forget() {
	for i := range f.unacked {
		f.unacked[i].acked = f.unacked[i].sent
	}
	f.doomed = false
}

// settle brings a flow's state and the board up to date. The caller holds the lock.
func (t *tracker) settle(f *flow) {
	pending := f.unacked[0].acked != f.unacked[0].sent || f.unacked[1].acked != f.unacked[1].sent
	f.lossy = f.lossy && pending
	now := quiet
	switch {
	case f.doomed:
		now = doomed
	case f.lossy:
		now = lossy
	case pending:
		now = open
	}
	if now == f.state {
		return
	}
	t.state[f.state]--
	t.state[now]++
	f.state = now
	clock.TheBoard().SetConnections(t.state[open]+t.state[lossy], t.state[lossy], t.state[doomed], t.doom)
}

func way(up bool) int {
	if up {
		return 0
	}
	return 1
}
