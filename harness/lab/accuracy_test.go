package lab

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/scenarios"
)

var accuracy = flag.Bool("accuracy", false, "measure the packet link and print the tables of docs/accuracy.md")

// TestAccuracy measures how far the link is from what is declared, and prints the tables of
// docs/accuracy.md. It takes minutes and wants a quiet machine: make accuracy runs it.
func TestAccuracy(t *testing.T) {
	if !*accuracy {
		t.Skip("measured by make accuracy, on a quiet machine")
	}
	requireLab(t)
	var table strings.Builder
	tableOfRTTs(t, &table)
	tableOfRates(t, &table)
	tableOfLosses(t, &table)
	fmt.Print(table.String())
}

func tableOfRTTs(t *testing.T, w io.Writer) {
	const target = 0.3 // ms, at the median
	fmt.Fprint(w, "\n| round trip | declared | tries | median error | p99 error |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, try := range []struct {
		rtt   time.Duration
		tries int
	}{{time.Millisecond, 2000}, {10 * time.Millisecond, 500}, {50 * time.Millisecond, 200}, {300 * time.Millisecond, 40}} {
		var took [][]time.Duration
		runInside(t, "rtt", rangeOrder{Link: scenarios.Link{RTT: try.rtt}, Tries: try.tries}, &took)
		for i, way := range rttWays {
			slices.Sort(took[i])
			off := func(share float64) float64 {
				return (took[i][int(share*float64(try.tries))] - try.rtt).Seconds() * 1e3
			}
			fmt.Fprintf(w, "| %s | %v | %d | %+.3f ms | %+.3f ms |\n", way, try.rtt, try.tries, off(0.5), off(0.99))
			assert.InDelta(t, 0, off(0.5), target, "%s, %v", way, try.rtt)
		}
	}
}

func tableOfRates(t *testing.T, w io.Writer) {
	const target = 0.03
	fmt.Fprint(w, "\n| rate, UDP | declared | delivered | error |\n| --- | ---: | ---: | ---: |\n")
	for _, mbit := range []scenarios.Rate{1, 5, 50, 100} {
		rate := mbit * 1e6
		var got float64
		runInside(t, "rate", rangeOrder{Link: scenarios.Link{Rate: rate, Queue: 64 << 20}, For: 3 * time.Second}, &got)
		off := got/float64(rate) - 1
		fmt.Fprintf(w, "| IP bytes, up | %v | %.3f mbit | %+.2f %% |\n", rate, got/1e6, off*100)
		assert.InDelta(t, 0, off, target, "%v", rate)
	}
}

func tableOfLosses(t *testing.T, w io.Writer) {
	fmt.Fprint(w, "\n| loss, UDP | declared | lost | of | delivered | p |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for i, loss := range []scenarios.Fraction{0.001, 0.01, 0.03, 0.1, 0.5} {
		order := rangeOrder{Fault: scenarios.PacketFault{Loss: loss}, Count: 20000, Seed: uint64(i)} // else the rows share their draws
		var d datagrams
		runInside(t, "datagrams", order, &d)
		for _, way := range []struct {
			name    string
			lost, n int
		}{{"up", order.Count - len(d.Came), order.Count}, {"down", len(d.Came) - len(d.Back), len(d.Came)}} {
			share := float64(way.lost) / float64(way.n) * 100
			fmt.Fprintf(w, "| %s | %v | %d | %d | %.2f %% | %.2f |\n", way.name, loss, way.lost, way.n, share, binomialTest(way.lost, way.n, float64(loss)))
			assertBinomial(t, way.lost, way.n, loss)
		}
	}
}
