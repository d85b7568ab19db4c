package lab

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/scenarios"
)

const ms = time.Millisecond

// testSite returns the running state of a host with both families and faults of it, port 0.
func testSite(seed uint64, l scenarios.Link, faults ...*scenarios.Fault) (*site, []*atomic.Int64) {
	c := Config{Seed: seed, Hosts: []Host{{Name: "a.test", TCP: []uint16{443}, UDP: []uint16{53}, Link: l,
		Addrs: []netip.Addr{hostPort4.Addr(), hostPort6.Addr()}}}}
	var bits []*atomic.Int64
	for _, f := range faults {
		running := NewFault(f, seed)
		bits = append(bits, &running.Bit)
		c.Faults = append(c.Faults, PacketFault{Fault: running, At: []Place{{}}})
	}
	return sites(c)[hostPort4.Addr()], bits
}

func fault(f scenarios.PacketFault) *scenarios.Fault { return &scenarios.Fault{Packet: &f} }

func TestAdmit(t *testing.T) {
	up4 := segment(clientPort4, hostPort4, flagSYN, 1, 0, "")
	up6 := segment(clientPort6, hostPort6, flagSYN, 1, 0, "")
	down4 := segment(hostPort4, clientPort4, flagACK, 1, 2, "")
	late := fault(scenarios.PacketFault{Delay: 5 * ms})
	late.From, late.Until = 2*time.Second, 3*time.Second
	loss, delay := scenarios.PacketFault{Loss: 1}, scenarios.PacketFault{Delay: 7 * ms}
	with := func(f scenarios.PacketFault, d scenarios.Direction, family scenarios.Family) *scenarios.Fault {
		f.Direction, f.Family = d, family
		return fault(f)
	}
	for _, test := range []struct {
		name   string
		link   scenarios.Link
		faults []*scenarios.Fault
		packet []byte
		since  time.Duration // negative: the time line has not begun
		want   time.Duration // negative: lost
		bit    []int64
	}{
		{"nothing", scenarios.Link{}, nil, up4, 0, 0, nil},
		{"half the round trip up", scenarios.Link{RTT: 5}, nil, up4, 0, 2, nil},
		{"and the rest down", scenarios.Link{RTT: 5}, nil, down4, 0, 3, nil},
		{"lost by the link itself", scenarios.Link{Loss: 1}, nil, up4, -1, -1, nil},
		{"lost by a fault", scenarios.Link{}, []*scenarios.Fault{fault(loss)}, up4, 0, -1, []int64{1}},
		{"not before the go command starts", scenarios.Link{}, []*scenarios.Fault{fault(loss)}, up4, -1, 0, []int64{0}},
		{"up only, up", scenarios.Link{}, []*scenarios.Fault{with(loss, scenarios.DirectionUp, "")}, up4, 0, -1, []int64{1}},
		{"up only, down", scenarios.Link{}, []*scenarios.Fault{with(loss, scenarios.DirectionUp, "")}, down4, 0, 0, []int64{0}},
		{"down only, up", scenarios.Link{}, []*scenarios.Fault{with(loss, scenarios.DirectionDown, "")}, up4, 0, 0, []int64{0}},
		{"both, down", scenarios.Link{}, []*scenarios.Fault{with(loss, scenarios.DirectionBoth, "")}, down4, 0, -1, []int64{1}},
		{"IPv4 only, IPv6", scenarios.Link{}, []*scenarios.Fault{with(loss, "", scenarios.FamilyIPv4)}, up6, 0, 0, []int64{0}},
		{"IPv6 only, IPv6", scenarios.Link{}, []*scenarios.Fault{with(loss, "", scenarios.FamilyIPv6)}, up6, 0, -1, []int64{1}},
		{"IPv6 only, IPv4 down", scenarios.Link{}, []*scenarios.Fault{with(loss, "", scenarios.FamilyIPv6)}, down4, 0, 0, []int64{0}},
		{"before its time", scenarios.Link{}, []*scenarios.Fault{late}, up4, 2*time.Second - 1, 0, []int64{0}},
		{"from", scenarios.Link{}, []*scenarios.Fault{late}, up4, 2 * time.Second, 5 * ms, []int64{1}},
		{"until", scenarios.Link{}, []*scenarios.Fault{late}, up4, 3 * time.Second, 0, []int64{0}},
		{"delays add up", scenarios.Link{RTT: 2 * ms}, []*scenarios.Fault{fault(delay), fault(delay)}, up4, 0, 15 * ms, []int64{1, 1}},
		{"what is lost is not shaped", scenarios.Link{}, []*scenarios.Fault{fault(loss), fault(delay)}, up4, 0, -1, []int64{1, 0}},
		// 40 bytes at 320 kbit/s take 1 ms, at 32 kbit/s 10 ms.
		{"the link's rate", scenarios.Link{Rate: 320_000}, nil, up4, 0, ms, nil},
		{"a fault's rate instead", scenarios.Link{Rate: 320_000}, []*scenarios.Fault{fault(scenarios.PacketFault{Rate: 32_000})}, up4, 0, 10 * ms, []int64{1}},
		{"a fault's queue instead", scenarios.Link{Rate: 320_000}, []*scenarios.Fault{fault(scenarios.PacketFault{Queue: 39})}, up4, 0, -1, []int64{1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, bits := testSite(1, test.link, test.faults...)
			p := parsed(t, test.packet)
			on := &s.up
			if p.src.Port() == 443 {
				on = &s.down
			}
			got, ok := on.admit(1, p, parcel{buf: test.packet}, max(test.since, 0), test.since >= 0)
			assert.Equal(t, test.want >= 0, ok, "admitted")
			if ok {
				assert.Equal(t, test.want, got.due)
			}
			for i, want := range test.bit {
				assert.Equal(t, want, bits[i].Load(), "times that fault %d bit", i)
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	at := func(places ...Place) *packetFault {
		c := Config{Hosts: make([]Host, 2), Faults: []PacketFault{{Fault: NewFault(fault(scenarios.PacketFault{Loss: 1}), 1), At: places}}}
		c.Hosts[1].Addrs = []netip.Addr{hostPort4.Addr()}
		s := sites(c)[hostPort4.Addr()]
		if len(s.up.faults) == 0 {
			return nil
		}
		require.Len(t, s.up.faults, 1, "one fault, whatever the number of its ports")
		return s.up.faults[0]
	}
	https := parsed(t, segment(clientPort4, hostPort4, flagSYN, 1, 0, ""))
	answer := parsed(t, segment(hostPort4, clientPort4, flagACK, 1, 2, ""))
	http := parsed(t, segment(clientPort4, netip.AddrPortFrom(hostPort4.Addr(), 80), flagSYN, 1, 0, ""))
	assert.Nil(t, at(Place{0, 443}), "another host's")
	one := at(Place{1, 443})
	assert.True(t, one.covers(https))
	assert.True(t, one.covers(answer))
	assert.False(t, one.covers(http))
	assert.True(t, at(Place{1, 443}, Place{1, 80}).covers(http))
	assert.True(t, at(Place{1, 443}, Place{1, 0}).covers(http), "port 0 means all, whatever else is said")
}

// TestLossIsDrawnFromTheSeed checks the share that is lost, and that it is the same packets in each run.
func TestLossIsDrawnFromTheSeed(t *testing.T) {
	const packets = 20000
	p := parsed(t, segment(clientPort4, hostPort4, flagACK, 1, 2, "data"))
	lost := func(seed uint64, f *scenarios.Fault, down bool) (which []int) {
		s, _ := testSite(seed, scenarios.Link{}, f)
		on := &s.up
		if down {
			on = &s.down
		}
		for i := range packets {
			if _, ok := on.admit(uint64(i), p, parcel{buf: make([]byte, 44)}, 0, true); !ok {
				which = append(which, i)
			}
		}
		return which
	}
	f := fault(scenarios.PacketFault{Loss: 0.3})
	first := lost(1, f, false)
	assert.InDelta(t, 0.3, float64(len(first))/packets, 0.015) // 4.6 standard deviations
	assert.Equal(t, first, lost(1, f, false))
	assert.NotEqual(t, first, lost(2, f, false), "another seed")
	assert.NotEqual(t, first, lost(1, f, true), "the other direction")
}

func TestJitterIsUniformAndKeepsTheOrder(t *testing.T) {
	const packets, every = 20000, 100 * ms
	s, _ := testSite(1, scenarios.Link{RTT: 60 * ms, Jitter: 10 * ms})
	p := parsed(t, segment(clientPort4, hostPort4, flagACK, 1, 2, ""))
	var sum time.Duration
	for i := range packets {
		now := time.Duration(i) * every
		got, ok := s.up.admit(uint64(i), p, parcel{buf: make([]byte, 40), sent: now}, 0, true)
		require.True(t, ok)
		delay := got.due - now
		require.GreaterOrEqual(t, delay, 20*ms)
		require.LessOrEqual(t, delay, 40*ms)
		sum += delay
	}
	assert.InDelta(t, 30, float64(sum/packets)/1e6, 0.2, "mean in ms; 5 standard deviations")

	s, _ = testSite(1, scenarios.Link{RTT: 60 * ms, Jitter: 30 * ms})
	last := time.Duration(0)
	for i := range packets {
		got, _ := s.up.admit(uint64(i), p, parcel{buf: make([]byte, 40), sent: time.Duration(i) * ms}, 0, true)
		require.GreaterOrEqual(t, got.due, last, "packet %d overtakes", i)
		last = got.due
	}
}

func TestEnqueue(t *testing.T) {
	const size = 1500
	w := fate{delay: 10 * ms, rate: 12_000_000, queue: 3 * size} // 1 ms each
	n := new(lane)
	for i := range 3 {
		got, ok := n.enqueue(w, size, 0)
		require.True(t, ok)
		assert.Equal(t, time.Duration(i+1)*ms+10*ms, got.due, "packet %d", i)
	}
	_, ok := n.enqueue(w, size, 0)
	assert.False(t, ok, "three wait, and the queue is full")
	got, ok := n.enqueue(w, size, ms)
	assert.True(t, ok, "one has left")
	assert.Equal(t, 14*ms, got.due)
	w.delay = 0
	got, ok = n.enqueue(w, size, 100*ms)
	assert.True(t, ok)
	assert.Equal(t, 101*ms, got.due, "an idle line sends at once")

	n, w.queue = new(lane), 0
	admitted := 0
	for ok := true; ok; admitted++ {
		_, ok = n.enqueue(w, 1024, 0)
	}
	assert.Equal(t, int(scenarios.DefaultQueue)/1024, admitted-1, "the default queue")
}
