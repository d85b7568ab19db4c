//go:build linux

package lab

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// TestLived checks how an exchange as its server saw it is turned into the client's times. The client's
// packets take 10 ms to the host, and the host's 20 ms to the client. Times are in ms since Begin.
func TestLived(t *testing.T) {
	up := func(at ...int) (hops []hop) {
		for _, sent := range at {
			hops = append(hops, hop{time.Second + time.Duration(sent)*ms, time.Second + time.Duration(sent+10)*ms})
		}
		return hops
	}
	down := func(at ...int) (hops []hop) {
		for _, sent := range at {
			hops = append(hops, hop{time.Second + time.Duration(sent)*ms, time.Second + time.Duration(sent+20)*ms})
		}
		return hops
	}
	const never = -1
	for _, test := range []struct {
		name              string
		up, down          []hop
		start, first, end int    // as the server saw it
		want              [3]int // as the client lived it; 0: never
	}{
		{"one packet each way", up(100), down(115), 111, 115, 115, [3]int{100, 135, 135}},
		{"a long answer", up(100), down(115, 116, 117), 111, 115, 117, [3]int{100, 135, 137}},
		{"the handshake is none of it", up(50, 100), down(61, 62, 115), 111, 115, 115, [3]int{100, 135, 135}},
		{"the first of two on a connection", up(100, 200), down(115, 116, 215), 111, 114, 116, [3]int{100, 135, 136}},
		{"the second of two", up(100, 200), down(115, 116, 215, 216), 211, 214, 216, [3]int{200, 235, 236}},
		{"the tail leaves after the server's last write", up(100), down(115, 140), 111, 115, 120, [3]int{100, 135, 160}},
		{"acknowledgements with data during the answer", up(100, 137), down(115, 150, 151), 111, 115, 151, [3]int{100, 135, 171}},
		{"no answer", up(100), nil, 111, never, never, [3]int{100, 0, 0}},
		{"an answer that never left", up(100), down(50), 111, 115, 116, [3]int{100, 0, 0}},
		{"an answer that has not ended", up(100), down(115, 116), 111, 115, never, [3]int{100, 135, 0}},
		{"a request whose packets are not known", nil, down(115), 111, 115, 115, [3]int{111, 135, 135}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := begunNetwork()
			f := &flow{number: 3, up: test.up, down: test.down}
			n.link.track.live[flowKey{clientPort4, hostPort4, protoTCP}] = f
			at := func(since int) time.Time {
				if since == never {
					return time.Time{}
				}
				return n.link.epoch.Add(time.Second + time.Duration(since)*ms)
			}
			e := Exchange{Client: clientPort4, Host: hostPort4, Start: at(test.start), First: at(test.first), End: at(test.end)}
			conn, start, first, end := n.Lived(e)
			assert.Equal(t, 3, conn)
			if len(test.down) > 0 && e.First == at(115) { // the link may think that the packet came before the server wrote it
				e.First = e.First.Add(maxLead)
				_, _, late, _ := n.Lived(e)
				assert.Equal(t, first, late)
			}
			for i, got := range []record.Seconds{start, first, end} {
				assert.InDelta(t, float64(test.want[i])/1e3, float64(got), 1e-9, "start, first, end [%d]", i)
			}

			e.Client = clientPort6 // nobody's
			conn, start, _, _ = n.Lived(e)
			assert.Equal(t, -1, conn)
			assert.InDelta(t, float64(test.start)/1e3, float64(start), 1e-9, "as the server saw it")
		})
	}
}

func TestObserve(t *testing.T) {
	n := begunNetwork()
	tr, s := n.link.track, &site{name: "a.test"}
	proxy := netip.AddrPortFrom(Egress(0, false), 40000)
	early := tr.sent(s, packet{src: clientPort4, dst: hostPort4, proto: protoTCP, flags: flagSYN}, time.Second-ms)
	early.established = time.Second + 5*ms
	tr.sent(s, packet{src: proxy, dst: hostPort4, proto: protoTCP, flags: flagSYN}, time.Second+10*ms)
	tr.stray(gateway6)
	tr.lose("packets")
	o := n.Observe(func(a netip.Addr) string {
		if a == proxy.Addr() {
			return "proxy.test"
		}
		return ""
	})
	require.Len(t, o.Conns, 2)
	want := record.Conn{Host: "a.test", Addr: hostPort4.String(), Start: 1e-6, Established: 0.005, SYNs: 1}
	assert.Equal(t, want, o.Conns[0], "what was before the start is at it, and 0 means never")
	assert.Equal(t, "proxy.test", o.Conns[1].From)
	assert.InDelta(t, 0.01, float64(o.Conns[1].Start), 1e-9)
	assert.Equal(t, []string{gateway6.String()}, o.Strays)
	assert.Equal(t, map[string]int64{"packets": 1}, o.Lost)
	tr.lose("packets")
	assert.Equal(t, int64(1), o.Lost["packets"], "a copy")
}
