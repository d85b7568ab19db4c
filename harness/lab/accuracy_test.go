//go:build linux

package lab

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/scenarios"
)

var accuracy = flag.Bool("accuracy", false, "measure the packet link and write the tables to docs/accuracy.md")

// TestAccuracy measures how far the link is from what is declared, and writes the tables of docs/accuracy.md.
// It takes minutes and wants a quiet machine: make accuracy runs it.
func TestAccuracy(t *testing.T) {
	if !*accuracy {
		t.Skip("measured by make accuracy, on a quiet machine")
	}
	requireLab(t)
	var tables bytes.Buffer
	fmt.Fprintf(&tables, "Measured on %s, %d CPUs, %s, %s, load average %s at the start.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), kernelRelease(), runtime.Version(), loadAverage())
	for _, table := range []func(*testing.T, io.Writer){
		tableOfRTTs, tableOfDelays, tableOfDistributions, tableOfRates, tableOfQueues, tableOfLosses, tableOfBursts, tableOfDamage,
	} {
		table(t, &tables)
	}
	writeTables(t, "packet link", tables.String())
}

// writeTables replaces what docs/accuracy.md has between the marks of a part of it.
func writeTables(t *testing.T, part, tables string) {
	t.Helper()
	const doc = "../../docs/accuracy.md"
	begin, end := "<!-- "+part+": begin -->\n", "<!-- "+part+": end -->\n"
	text, err := os.ReadFile(doc)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	require.True(t, found && closed, "%s has no marks for the tables of the %s", doc, part)
	require.NoError(t, os.WriteFile(doc, []byte(before+begin+"\n"+tables+"\n"+end+after), 0o644))
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown kernel"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// quantile returns the value below which a share of sorted values lies.
func quantile(sorted []time.Duration, share float64) time.Duration {
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

func tableOfRTTs(t *testing.T, w io.Writer) {
	const target = 0.3 // ms, at the median
	fmt.Fprint(w, "\n| round trip | declared | tries | median error | p99 error |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, try := range []struct {
		rtt   time.Duration
		tries int
	}{{time.Millisecond, 2000}, {10 * time.Millisecond, 500}, {50 * time.Millisecond, 200}, {100 * time.Millisecond, 100}, {300 * time.Millisecond, 40}} {
		var took [][]time.Duration
		runInside(t, "rtt", rangeOrder{Link: scenarios.Link{RTT: try.rtt}, Tries: try.tries}, &took)
		for i, way := range rttWays {
			slices.Sort(took[i])
			off := func(share float64) float64 { return milliseconds(quantile(took[i], share) - try.rtt) }
			fmt.Fprintf(w, "| %s | %v | %d | %+.3f ms | %+.3f ms |\n", way, try.rtt, try.tries, off(0.5), off(0.99))
			assert.InDelta(t, 0, off(0.5), target, "%s, %v", way, try.rtt)
		}
	}
}

func tableOfDelays(t *testing.T, w io.Writer) {
	const target = 0.5 // ms, at the 99th percentile
	fmt.Fprint(w, "\n| one-way delay | declared | datagrams | median error | p99 error | calm | p99 of all |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, family := range []scenarios.Family{scenarios.FamilyIPv4, scenarios.FamilyIPv6} {
		for _, delay := range []time.Duration{1, 5, 20, 100, 300, 1000} {
			order := rangeOrder{Family: family, Count: 2000, Every: 3 * time.Millisecond}
			order.Fault = scenarios.PacketFault{Delay: delay * time.Millisecond, Direction: scenarios.DirectionUp}
			var took []delayed
			runInside(t, "delays", order, &took)
			require.Len(t, took, order.Count)
			all, calm := sortedTimes(took)
			off := func(sorted []time.Duration, share float64) float64 {
				return milliseconds(quantile(sorted, share) - order.Fault.Delay)
			}
			fmt.Fprintf(w, "| UDP, %s | %v | %d | %+.3f ms | %+.3f ms | %.1f %% | %+.3f ms |\n", family, order.Fault.Delay,
				order.Count, off(all, 0.5), off(calm, 0.99), 100*float64(len(calm))/float64(len(all)), off(all, 0.99))
			assert.InDelta(t, 0, off(calm, 0.99), target, "%s, %v", family, order.Fault.Delay)
		}
	}
}

// sortedTimes returns the times of a series and those of its calm moments, each sorted.
func sortedTimes(series []delayed) (all, calm []time.Duration) {
	for _, d := range series {
		all = append(all, d.Took)
		if d.Calm {
			calm = append(calm, d.Took)
		}
	}
	slices.Sort(all)
	slices.Sort(calm)
	return all, calm
}

// cdfs are the distribution functions of the deviations from a delay, in units of the jitter.
var cdfs = map[scenarios.Distribution]func(x float64) float64{
	scenarios.DistributionUniform: func(x float64) float64 { return min(max((x+1)/2, 0), 1) },
	scenarios.DistributionNormal:  func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 },
	scenarios.DistributionPareto:  func(x float64) float64 { return 1 - math.Pow(max(x*math.Sqrt(0.75)+1.5, 1), -3) },
}

// tableOfDistributions leaves so much time between datagrams that hardly any waits for the one before it, as
// they would if order had to be kept.
func tableOfDistributions(t *testing.T, w io.Writer) {
	fmt.Fprint(w, "\n| jitter | declared | datagrams | p10 | p50 | p90 | p99 | distance | p |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, by := range []scenarios.Distribution{scenarios.DistributionUniform, scenarios.DistributionNormal, scenarios.DistributionPareto} {
		f := scenarios.PacketFault{Delay: 30 * time.Millisecond, Jitter: 4 * time.Millisecond, Distribution: by, Direction: scenarios.DirectionUp}
		order := rangeOrder{Fault: f, Count: 1000, Every: 25 * time.Millisecond}
		var series []delayed
		runInside(t, "delays", order, &series)
		require.Len(t, series, order.Count)
		took, _ := sortedTimes(series)
		deviations := make([]float64, len(took))
		for i, d := range took {
			deviations[i] = float64(d-f.Delay) / float64(f.Jitter)
		}
		fmt.Fprintf(w, "| %s | %v, %v | %d |", by, f.Delay, f.Jitter, order.Count)
		for _, share := range []float64{0.1, 0.5, 0.9, 0.99} {
			// deviation is the quantile function itself: lane_test.go holds it against the distributions.
			want := f.Delay + deviation(by, f.Jitter, share)
			fmt.Fprintf(w, " %+.2f ms |", milliseconds(quantile(took, share)-want))
		}
		distance, p := ksTest(deviations, cdfs[by])
		fmt.Fprintf(w, " %.3f | %.2f |\n", distance, p)
		assert.Greater(t, p, 0.001, "%s", by)
	}
}

func tableOfRates(t *testing.T, w io.Writer) {
	const target = 0.03
	fmt.Fprint(w, "\n| rate, UDP | declared | delivered | error |\n| --- | ---: | ---: | ---: |\n")
	for _, mbit := range []scenarios.Rate{1, 5, 20, 50, 100} {
		for _, family := range []scenarios.Family{scenarios.FamilyIPv4, scenarios.FamilyIPv6} {
			for _, way := range []string{"up", "down"} {
				rate := mbit * 1e6
				var got float64
				runInside(t, "rate", rangeOrder{Link: scenarios.Link{Rate: rate, Queue: 64 << 20}, Family: family, Down: way == "down", For: 3 * time.Second}, &got)
				off := got/float64(rate) - 1
				fmt.Fprintf(w, "| %s, %s | %v | %.3f mbit | %+.2f %% |\n", family, way, rate, got/1e6, off*100)
				assert.InDelta(t, 0, off, target, "%v", rate)
			}
		}
	}
}

// tableOfQueues sends twice what a queue holds, so fast that hardly any of it has left meanwhile. The receiving
// socket holds some 90 datagrams.
func tableOfQueues(t *testing.T, w io.Writer) {
	const size = 1000
	fmt.Fprintf(w, "\n| queue, UDP | sent at once | in it | left meanwhile | passed |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, packets := range []int{5, 10, 20, 40, 60, 80} {
		link := scenarios.Link{Rate: 256_000, Queue: scenarios.Size(packets * size)}
		order := rangeOrder{Link: link, Count: 2 * packets, Size: size, Burst: true}
		var d datagrams
		runInside(t, "datagrams", order, &d)
		left := int(d.SentIn.Seconds() * float64(link.Rate) / 8 / size)
		fmt.Fprintf(w, "| %v | %d | %d | %d | %d |\n", link.Queue, order.Count, packets, left, len(d.Came))
		assert.GreaterOrEqual(t, len(d.Came), packets)
		assert.LessOrEqual(t, len(d.Came), packets+left+1)
	}
}

func tableOfLosses(t *testing.T, w io.Writer) {
	fmt.Fprint(w, "\n| loss, UDP | declared | lost | of | delivered | p |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for i, loss := range []scenarios.Fraction{0.001, 0.01, 0.03, 0.1, 0.5} {
		order := rangeOrder{Fault: scenarios.PacketFault{Loss: loss}, Count: 20000, Seed: uint64(i)} // else the rows share their draws
		var d datagrams
		runInside(t, "datagrams", order, &d)
		rowOfShares(t, w, "up", loss, order.Count-len(d.Came), order.Count)
		rowOfShares(t, w, "down", loss, len(d.Came)-len(d.Back), len(d.Came))
	}
}

// rowOfShares writes how many of n were hit, and what the binomial test says of it.
func rowOfShares(t *testing.T, w io.Writer, what string, declared scenarios.Fraction, hit, n int) {
	share := float64(hit) / float64(n) * 100
	fmt.Fprintf(w, "| %s | %v | %d | %d | %.2f %% | %.2f |\n", what, declared, hit, n, share, binomialTest(hit, n, float64(declared)))
	assertBinomial(t, hit, n, declared)
}

// tableOfBursts looks at which of many datagrams come. The share lost is the mean of a Markov chain of two
// states, and the lengths of bursts are geometric: both are compared as normal variables.
func tableOfBursts(t *testing.T, w io.Writer) {
	fmt.Fprint(w, "\n| bursts, UDP | of | lost | p | bursts | mean length | p |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for i, b := range []scenarios.Bursts{{Share: 0.01, Length: 2}, {Share: 0.03, Length: 4}, {Share: 0.05, Length: 8}, {Share: 0.1, Length: 20}, {Share: 0.3, Length: 3}} {
		order := rangeOrder{Fault: scenarios.PacketFault{Bursts: b, Direction: scenarios.DirectionUp}, Count: 50000, Seed: uint64(i)}
		var d datagrams
		runInside(t, "datagrams", order, &d)
		lost := float64(order.Count - len(d.Came))
		bursts, next := 0.0, uint64(0)
		for _, n := range append(d.Came, uint64(order.Count)) {
			if n != next {
				bursts++
			}
			next = n + 1
		}
		share, length, n := float64(b.Share), float64(b.Length), float64(order.Count)
		memory := 1 - b.Enter() - b.Leave()
		shareP := normalTest((lost/n - share) / math.Sqrt(share*(1-share)*(1+memory)/(1-memory)/n))
		lengthP := normalTest((lost/bursts - length) / math.Sqrt(length*(length-1)/bursts))
		fmt.Fprintf(w, "| %v | %d | %.2f %% | %.2f | %.0f | %.2f | %.2f |\n", b, order.Count, lost/n*100, shareP, bursts, lost/bursts, lengthP)
		assert.Greater(t, min(shareP, lengthP), 0.001, "%v", b)
	}
}

// tableOfDamage counts datagrams that come twice, that kernels find a wrong checksum in, and that come without
// the delay.
func tableOfDamage(t *testing.T, w io.Writer) {
	fmt.Fprint(w, "\n| damage, UDP | declared | hit | of | delivered | p |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for i, share := range []scenarios.Fraction{0.001, 0.01, 0.05, 0.2, 0.5} {
		order := rangeOrder{Count: 20000, Seed: uint64(i)}
		order.Fault = scenarios.PacketFault{Duplicate: share, Direction: scenarios.DirectionUp}
		var twice, corrupt datagrams
		runInside(t, "datagrams", order, &twice)
		rowOfShares(t, w, "duplicate", share, len(twice.Came)-order.Count, order.Count)
		order.Fault = scenarios.PacketFault{Corrupt: share, Direction: scenarios.DirectionUp}
		runInside(t, "datagrams", order, &corrupt)
		rowOfShares(t, w, "corrupt", share, corrupt.BadSums[0], order.Count)
		order.Fault = scenarios.PacketFault{Delay: 50 * time.Millisecond, Reorder: share, Direction: scenarios.DirectionUp}
		order.Count, order.Every = 5000, time.Millisecond
		var took []delayed
		runInside(t, "delays", order, &took)
		early := 0
		for _, d := range took {
			if d.Took < order.Fault.Delay/2 {
				early++
			}
		}
		rowOfShares(t, w, "reorder", share, early, len(took))
	}
}
