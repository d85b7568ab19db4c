//go:build linux

package lab

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/scenarios"
)

func TestRoundTripsTakeAtLeastTheDeclaredTime(t *testing.T) {
	t.Parallel()
	requireLab(t)
	for _, rtt := range []time.Duration{0, 10 * time.Millisecond, 60 * time.Millisecond} {
		var took [][]time.Duration
		runInside(t, "rtt", rangeOrder{Link: scenarios.Link{RTT: rtt}, Tries: 10}, &took)
		for i, way := range rttWays {
			// The link reckons with the time that waking takes, and may reckon too much, twice on each way.
			assert.GreaterOrEqual(t, slices.Min(took[i]), rtt-4*maxLead, "%s, %v", way, rtt)
		}
	}
}

func TestRateIsAboutTheDeclaredOne(t *testing.T) {
	t.Parallel()
	requireLab(t)
	const rate = 4e6
	var got float64
	runInside(t, "rate", rangeOrder{Link: scenarios.Link{Rate: rate, Queue: 1 << 20}, For: time.Second}, &got)
	assert.InEpsilon(t, rate, got, 0.2, "even where others use the machine")
}

// TestLossIsAsDeclared sends datagrams through a loss in both directions. It is a two-sided exact binomial
// test with alpha 0.001 in each direction; since the draws come from the seed, it always ends the same.
func TestLossIsAsDeclared(t *testing.T) {
	t.Parallel()
	requireLab(t)
	for _, loss := range []scenarios.Fraction{0.01, 0.1, 0.5} {
		t.Run(loss.String(), func(t *testing.T) {
			t.Parallel()
			order := rangeOrder{Fault: scenarios.PacketFault{Loss: loss}, Count: 4000, Seed: 7}
			if loss == 0.01 { // of the link itself, which is slow to test as it concerns the synchronisation, too
				order.Link.Loss, order.Fault.Loss = loss, 0
			}
			var first, second, other datagrams
			runInside(t, "datagrams", order, &first)
			assertBinomial(t, order.Count-len(first.Came), order.Count, loss)
			assertBinomial(t, len(first.Came)-len(first.Back), len(first.Came), loss)
			runInside(t, "datagrams", order, &second)
			assert.True(t, slices.Equal(first.Came, second.Came), "the same seed loses the same datagrams")
			assert.True(t, slices.Equal(first.Back, second.Back), "the same seed loses the same answers")
			order.Seed++
			runInside(t, "datagrams", order, &other)
			assert.False(t, slices.Equal(first.Came, other.Came), "another seed loses others")
		})
	}
}

func TestQueueDropsItsTail(t *testing.T) {
	t.Parallel()
	requireLab(t)
	const size, fits = 1000, 20
	link := scenarios.Link{Rate: 64_000, Queue: fits*size + size/2}
	var d datagrams
	runInside(t, "datagrams", rangeOrder{Link: link, Count: 60, Size: size, Burst: true}, &d)
	require.GreaterOrEqual(t, len(d.Came), fits)
	for i := range uint64(fits) {
		assert.Equal(t, i, d.Came[i], "what fits into the queue is delivered, in order")
	}
	drained := d.SentIn.Seconds() * float64(link.Rate) / 8 / size
	assert.LessOrEqual(t, len(d.Came), fits+1+int(math.Ceil(drained)), "what was sent in %v", d.SentIn)
}

func TestBlackHoleInOneDirection(t *testing.T) {
	t.Parallel()
	requireLab(t)
	for _, test := range []struct {
		direction  scenarios.Direction
		came, back int
	}{
		{scenarios.DirectionUp, 0, 0}, {scenarios.DirectionDown, 10, 0}, {scenarios.DirectionBoth, 0, 0},
	} {
		order := rangeOrder{Fault: scenarios.PacketFault{Loss: 1, Direction: test.direction}, Count: 10}
		var d datagrams
		runInside(t, "datagrams", order, &d)
		assert.Len(t, d.Came, test.came, "came, %s", test.direction)
		assert.Len(t, d.Back, test.back, "came back, %s", test.direction)
		assert.EqualValues(t, 10, d.Bit, "bit, %s", test.direction)
	}
}

func TestRejectsHaveTheRightErrno(t *testing.T) {
	t.Parallel()
	requireLab(t)
	for _, test := range []struct {
		reject     scenarios.Reject
		ipv4, ipv6 string
	}{
		{"", "ok", "ok"},
		{scenarios.RejectRST, "ECONNREFUSED", "ECONNREFUSED"},
		{scenarios.RejectPort, "ECONNREFUSED", "ECONNREFUSED"},
		{scenarios.RejectHost, "EHOSTUNREACH", "EHOSTUNREACH"},
		{scenarios.RejectNetwork, "ENETUNREACH", "ENETUNREACH"},
		{scenarios.RejectAdmin, "EHOSTUNREACH", "EACCES"},
	} {
		var ended map[string]string
		runInside(t, "connect", rangeOrder{Fault: scenarios.PacketFault{Reject: test.reject}}, &ended)
		assert.Equal(t, map[string]string{"ipv4": test.ipv4, "ipv6": test.ipv6}, ended, "reject %q", test.reject)
	}
}

func TestHostsOfOneFamily(t *testing.T) {
	t.Parallel()
	requireLab(t)
	var ended map[string]string
	runInside(t, "connect", rangeOrder{Family: scenarios.FamilyIPv6}, &ended)
	assert.Equal(t, map[string]string{"ipv4": "ENETUNREACH", "ipv6": "ok", "stray": "198.18.1.0"}, ended)
	ended = nil
	runInside(t, "connect", rangeOrder{Family: scenarios.FamilyIPv4}, &ended)
	assert.Equal(t, map[string]string{"ipv4": "ok", "ipv6": "ENETUNREACH", "stray": "2001:db8:1::100"}, ended)
}

func TestJitterVariesAndKeepsOrder(t *testing.T) {
	t.Parallel()
	requireLab(t)
	link := scenarios.Link{RTT: 60 * time.Millisecond, Jitter: 20 * time.Millisecond}
	var d datagrams
	runInside(t, "datagrams", rangeOrder{Link: link, Count: 200, Burst: true}, &d)
	assert.Len(t, d.Back, 200)
	assert.True(t, slices.IsSorted(d.Back), "%v", d.Back)

	var took [][]time.Duration
	runInside(t, "rtt", rangeOrder{Link: link, Tries: 20}, &took)
	for i, way := range rttWays {
		assert.GreaterOrEqual(t, slices.Min(took[i]), link.RTT-2*link.Jitter, way)
		assert.Greater(t, slices.Max(took[i]), link.RTT, "the slowest of many, %s", way)
	}
	// A new connection waits behind the last packets of the one before, as order is kept; a lone datagram does not.
	for i, way := range rttWays[2:] {
		assert.Less(t, slices.Min(took[2+i]), link.RTT, "the fastest of many, %s", way)
	}
}

// TestKernelsDropWhatIsCorrupt shows that the kernels behind the TUN devices verify checksums: what does not
// come is what they say was wrong. The shares are tested as losses are.
func TestKernelsDropWhatIsCorrupt(t *testing.T) {
	t.Parallel()
	requireLab(t)
	for _, family := range []scenarios.Family{scenarios.FamilyIPv4, scenarios.FamilyIPv6} {
		order := rangeOrder{Fault: scenarios.PacketFault{Corrupt: 0.3}, Family: family, Count: 1000, Size: 200}
		var d datagrams
		runInside(t, "datagrams", order, &d)
		assertBinomial(t, order.Count-len(d.Came), order.Count, 0.3)
		assertBinomial(t, len(d.Came)-len(d.Back), len(d.Came), 0.3)
		assert.Equal(t, [2]int{order.Count - len(d.Came), len(d.Came) - len(d.Back)}, d.BadSums, "wrong checksums, %s", family)
		assert.EqualValues(t, order.Count-len(d.Back), d.Bit)
	}
}

func TestDuplicatesComeRightBehind(t *testing.T) {
	t.Parallel()
	requireLab(t)
	order := rangeOrder{Fault: scenarios.PacketFault{Duplicate: 0.2, Direction: scenarios.DirectionUp}, Count: 1000}
	var d datagrams
	runInside(t, "datagrams", order, &d)
	assertBinomial(t, len(d.Came)-order.Count, order.Count, 0.2)
	assert.True(t, slices.IsSorted(d.Came), "%v", d.Came)
	assert.Len(t, slices.Compact(slices.Clone(d.Came)), order.Count, "none is lost")
	assert.Equal(t, d.Came, d.Back, "all are answered")
}

func TestReorderedDatagramsOvertake(t *testing.T) {
	t.Parallel()
	requireLab(t)
	f := scenarios.PacketFault{Delay: 50 * time.Millisecond, Reorder: 0.2, Direction: scenarios.DirectionUp}
	var d datagrams
	runInside(t, "datagrams", rangeOrder{Fault: f, Count: 200, Burst: true}, &d)
	require.Len(t, d.Came, 200)
	assert.False(t, slices.IsSorted(d.Came), "some overtake")
	slices.Sort(d.Came)
	assert.Len(t, slices.Compact(d.Came), 200, "each comes once")
}

func TestMTUHoleIsSilent(t *testing.T) {
	t.Parallel()
	requireLab(t)
	for _, family := range []scenarios.Family{scenarios.FamilyIPv4, scenarios.FamilyIPv6} {
		for size, want := range map[int]int{1400: 20, 1401: 0} {
			order := rangeOrder{Fault: scenarios.PacketFault{MTU: 1400}, Family: family, Count: 20, Size: size}
			if family == scenarios.FamilyIPv6 {
				order.Size -= 20 // its header is longer than that which Size reckons with
			}
			var d datagrams
			runInside(t, "datagrams", order, &d) // an ICMP message would be an error of its socket
			assert.Len(t, d.Came, want, "%s, %d bytes", family, size)
			assert.Len(t, d.Back, want, "%s, %d bytes", family, size)
		}
	}
}

func TestConnectionsDieAfterSoManyBytes(t *testing.T) {
	t.Parallel()
	requireLab(t)
	const most = 64 << 10
	order := rangeOrder{Size: 256 << 10, For: 2 * time.Second}
	order.Fault = scenarios.PacketFault{Loss: 1, AfterBytes: most, Direction: scenarios.DirectionUp}
	var came int64
	runInside(t, "upload", order, &came)
	assert.LessOrEqual(t, came, int64(most))
	assert.Greater(t, came, int64(most*9/10), "headers are a tenth at the most")
	order.For, order.Fault.AfterBytes = time.Minute, 1<<20
	runInside(t, "upload", order, &came)
	assert.EqualValues(t, order.Size, came, "less than what may pass")
}

// TestSameSeedSameFate sends datagrams twice through all that chance decides.
func TestSameSeedSameFate(t *testing.T) {
	t.Parallel()
	requireLab(t)
	order := rangeOrder{Count: 1000, Seed: 3, Fault: scenarios.PacketFault{
		Loss: 0.02, Bursts: scenarios.Bursts{Share: 0.1, Length: 5, Loss: 0.7}, Duplicate: 0.05, Corrupt: 0.05}}
	var first, second, other datagrams
	runInside(t, "datagrams", order, &first)
	runInside(t, "datagrams", order, &second)
	assert.Equal(t, first.Came, second.Came)
	assert.Equal(t, first.Back, second.Back)
	assert.Equal(t, first.Bit, second.Bit)
	order.Seed++
	runInside(t, "datagrams", order, &other)
	assert.NotEqual(t, first.Came, other.Came, "another seed")
}
