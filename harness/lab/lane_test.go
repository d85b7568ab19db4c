//go:build linux

package lab

import (
	"math"
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

// admitted passes packets of a size through a lane, one each millisecond, and returns the fates of those that
// are not lost, by their number.
func admitted(t *testing.T, s *site, on *lane, f *flow, n, size int) map[int]fate {
	t.Helper()
	p := parsed(t, segment(clientPort4, hostPort4, flagACK, 1, 2, ""))
	all := map[int]fate{}
	for i := range n {
		c := parcel{site: s, flow: f, buf: make([]byte, size), sent: time.Duration(i) * ms}
		if w, ok := on.admit(uint64(i), p, c, 0, true); ok {
			all[i] = w
		}
	}
	return all
}

func TestMTUHoleSwallowsWhatIsLarger(t *testing.T) {
	s, bits := testSite(1, scenarios.Link{}, fault(scenarios.PacketFault{MTU: 1400}))
	assert.Len(t, admitted(t, s, &s.up, nil, 5, 1400), 5)
	assert.Zero(t, bits[0].Load())
	assert.Empty(t, admitted(t, s, &s.up, nil, 5, 1401))
	assert.EqualValues(t, 5, bits[0].Load())
}

func TestFaultBeginsAfterSoMuchOfAConnection(t *testing.T) {
	const size = 100
	for _, test := range []struct {
		name  string
		fault scenarios.PacketFault
	}{
		{"packets", scenarios.PacketFault{Loss: 1, AfterPackets: 6}},
		{"bytes", scenarios.PacketFault{Loss: 1, AfterBytes: 6*size + size/2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, bits := testSite(1, scenarios.Link{}, fault(test.fault))
			f, other := &flow{site: s}, &flow{site: s}
			assert.Len(t, admitted(t, s, &s.up, f, 4, size), 4)
			assert.Len(t, admitted(t, s, &s.down, f, 4, size), 2, "both directions count together")
			assert.Len(t, admitted(t, s, &s.up, other, 8, size), 6, "another connection counts for itself")
			assert.Len(t, admitted(t, s, &s.up, nil, 8, size), 8, "what is of no connection passes")
			assert.EqualValues(t, 4, bits[0].Load())
		})
	}
	test := fault(scenarios.PacketFault{Loss: 1, AfterPackets: 2, Direction: scenarios.DirectionDown})
	s, _ := testSite(1, scenarios.Link{}, test)
	f := &flow{site: s}
	assert.Len(t, admitted(t, s, &s.up, f, 9, size), 9)
	assert.Len(t, admitted(t, s, &s.down, f, 9, size), 2, "the other direction does not count")
}

func TestFaultOfOneAddress(t *testing.T) {
	c := Config{Hosts: []Host{{Addrs: HostAddrs(0, scenarios.FamilyDual, 2)}}}
	running := NewFault(fault(scenarios.PacketFault{Loss: 1, Address: 2}), 1)
	c.Faults = []PacketFault{{Fault: running, At: []Place{{}}}}
	f := sites(c)[c.Hosts[0].Addrs[0]].up.faults[0]
	for i, addr := range c.Hosts[0].Addrs {
		host, client := netip.AddrPortFrom(addr, 443), clientPort4
		if addr.Is6() {
			client = clientPort6
		}
		want := i%2 == 1
		assert.Equal(t, want, f.covers(parsed(t, segment(client, host, flagSYN, 1, 0, ""))), "to %v", addr)
		assert.Equal(t, want, f.covers(parsed(t, segment(host, client, flagACK, 1, 0, ""))), "from %v", addr)
	}
}

// TestBurstsAreAsDeclared checks the share of the packets that are lost and the lengths of the bursts within
// five standard deviations, and that the same connection loses the same packets in each run.
func TestBurstsAreAsDeclared(t *testing.T) {
	const packets = 200_000
	lost := func(seed uint64, b scenarios.Bursts, down bool) (which []int) {
		s, _ := testSite(seed, scenarios.Link{}, fault(scenarios.PacketFault{Bursts: b}))
		on := &s.up
		if down {
			on = &s.down
		}
		all := admitted(t, s, on, &flow{site: s}, packets, 40)
		for i := range packets {
			if _, ok := all[i]; !ok {
				which = append(which, i)
			}
		}
		return which
	}
	for _, b := range []scenarios.Bursts{{Share: 0.05, Length: 8}, {Share: 0.3, Length: 3}, {Share: 0.5, Length: 1}} {
		which := lost(1, b, false)
		bursts := 1
		for i := range which[1:] {
			if which[i+1] != which[i]+1 {
				bursts++
			}
		}
		share, length := float64(b.Share), float64(b.Length)
		// The lengths are geometric with standard deviation sqrt(length*(length-1)); the lost ones are their sum.
		spread := 5 * length / math.Sqrt(float64(bursts))
		assert.InDelta(t, length, float64(len(which))/float64(bursts), spread, "mean length of %v", b)
		assert.InDelta(t, share, float64(len(which))/packets, 5*math.Sqrt(2*share*length/packets), "share of %v", b)
	}
	b := scenarios.Bursts{Share: 0.05, Length: 8}
	first := lost(1, b, false)
	assert.Equal(t, first, lost(1, b, false))
	assert.NotEqual(t, first, lost(2, b, false), "another seed")
	assert.NotEqual(t, first, lost(1, b, true), "the other direction")
	b.Loss = 0.5
	assert.InDelta(t, 0.5, float64(len(lost(1, b, false)))/float64(len(first)), 0.05, "half of those in bursts")
}

// TestDeviations compares the draws with the distributions' own mean, standard deviation and quantiles.
func TestDeviations(t *testing.T) {
	const draws = 100_000
	for _, test := range []struct {
		by              scenarios.Distribution
		least, half, sd float64 // in units of the jitter
	}{
		{"", -1, 0, 1 / math.Sqrt(3)},
		{scenarios.DistributionUniform, -1, 0, 1 / math.Sqrt(3)},
		{scenarios.DistributionNormal, math.Inf(-1), 0, 1},
		{scenarios.DistributionPareto, -0.5 / math.Sqrt(0.75), (math.Cbrt(2) - 1.5) / math.Sqrt(0.75), 1},
	} {
		var sum, squares float64
		below := 0
		for i := range uint64(draws) {
			x := float64(deviation(test.by, time.Second, chance(1, i, 0))) / 1e9
			require.GreaterOrEqual(t, x, test.least-1e-9, test.by)
			sum, squares = sum+x, squares+x*x
			if x < test.half {
				below++
			}
		}
		assert.InDelta(t, 0, sum/draws, 0.02, "mean of %q", test.by)
		assert.InDelta(t, draws/2, below, 800, "draws of %q below its median; 5 standard deviations", test.by)
		if test.by != scenarios.DistributionPareto { // whose fourth moment is infinite: the estimate does not settle
			assert.InDelta(t, test.sd, math.Sqrt(squares/draws), 0.01, "standard deviation of %q", test.by)
		}
		assert.Less(t, deviation(test.by, time.Millisecond, 0).Abs(), time.Second, "the least roll of %q is finite", test.by)
		assert.Less(t, deviation(test.by, time.Millisecond, 1-0x1p-53).Abs(), time.Hour, "the greatest roll of %q is finite", test.by)
	}
}

func TestNothingArrivesBeforeItIsSent(t *testing.T) {
	for _, by := range []scenarios.Distribution{scenarios.DistributionUniform, scenarios.DistributionNormal, scenarios.DistributionPareto} {
		s, _ := testSite(1, scenarios.Link{}, fault(scenarios.PacketFault{Delay: ms, Jitter: 20 * ms, Distribution: by}))
		for i, w := range admitted(t, s, &s.up, nil, 1000, 40) {
			assert.GreaterOrEqual(t, w.due, time.Duration(i)*ms, "%s, packet %d", by, i)
		}
	}
}

// TestReorderedPacketsOvertakeByTheDelay also checks their share, within five standard deviations.
func TestReorderedPacketsOvertakeByTheDelay(t *testing.T) {
	const packets = 20000
	s, bits := testSite(1, scenarios.Link{RTT: 4 * ms}, fault(scenarios.PacketFault{Delay: 10 * ms, Reorder: 0.2}))
	overtook := 0
	for i, w := range admitted(t, s, &s.up, nil, packets, 40) {
		switch delay := w.due - time.Duration(i)*ms; delay {
		case 2 * ms:
			overtook++
		case 12 * ms:
		default:
			t.Fatalf("packet %d takes %v", i, delay)
		}
	}
	assert.InDelta(t, 0.2*packets, overtook, 5*57) // sqrt(20000 * 0.2 * 0.8) = 57
	assert.EqualValues(t, packets, bits[0].Load())
}

// TestSharesOfDamage checks them within five standard deviations; the same packets suffer in each run.
func TestSharesOfDamage(t *testing.T) {
	const packets = 20000
	f := fault(scenarios.PacketFault{Duplicate: 0.1, Corrupt: 0.02})
	s, bits := testSite(1, scenarios.Link{}, f)
	all := admitted(t, s, &s.up, nil, packets, 40)
	twice, corrupt, either := 0, 0, int64(0)
	for _, w := range all {
		if w.twice {
			twice++
		}
		if w.corrupt {
			corrupt++
		}
		if w.twice || w.corrupt {
			either++
		}
	}
	assert.InDelta(t, 0.1*packets, twice, 5*42)
	assert.InDelta(t, 0.02*packets, corrupt, 5*20)
	assert.Equal(t, either, bits[0].Load(), "it bites once per packet")
	again, _ := testSite(1, scenarios.Link{}, f)
	assert.Equal(t, all, admitted(t, again, &again.up, nil, packets, 40))
}

func TestRejectIsOfWhatTheClientSends(t *testing.T) {
	s, bits := testSite(1, scenarios.Link{}, fault(scenarios.PacketFault{Reject: scenarios.RejectRST}))
	assert.Equal(t, scenarios.RejectRST, admitted(t, s, &s.up, nil, 1, 40)[0].reject)
	assert.Empty(t, admitted(t, s, &s.down, nil, 1, 40)[0].reject)
	assert.EqualValues(t, 1, bits[0].Load())
}
