//go:build linux

package lab

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAccuracyOfToxics measures how far toxiproxy's latency and bandwidth are from what is declared, and writes
// their tables of docs/accuracy.md.
func TestAccuracyOfToxics(t *testing.T) {
	if !*accuracy {
		t.Skip("measured by make accuracy, on a quiet machine")
	}
	var table strings.Builder
	tableOfLatencies(t, &table)
	tableOfBandwidths(t, &table)
	writeTables(t, "toxics", table.String())
}

func tableOfLatencies(t *testing.T, w io.Writer) {
	const target = 2 // ms, at the median: toxiproxy sleeps by the timers of Go
	fmt.Fprint(w, "\n| toxic | declared | tries | median error | p99 error |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, try := range []struct {
		latency time.Duration
		tries   int
	}{{ms, 1000}, {10 * ms, 500}, {50 * ms, 200}, {200 * ms, 100}, {1000 * ms, 100}} {
		took := latencies(t, try.latency, try.tries)
		slices.Sort(took)
		off := func(share float64) float64 {
			return (took[int(share*float64(try.tries))] - try.latency).Seconds() * 1e3
		}
		fmt.Fprintf(w, "| `latency` | %v | %d | %+.3f ms | %+.3f ms |\n", try.latency, try.tries, off(0.5), off(0.99))
		assert.InDelta(t, 0, off(0.5), target, "%v", try.latency)
	}
}

// latencies returns how long single bytes take through a toxic, each sent when the one before has come; on ten
// connections side by side, as most of the time is waiting.
func latencies(t *testing.T, latency time.Duration, tries int) []time.Duration {
	t.Helper()
	const side = 10
	came := make(chan time.Duration, tries)
	l, _ := streamLink(1, toxic("latency", map[string]int64{"latency": latency.Milliseconds()}))
	for range side {
		client, server := through(t, l)
		require.NoError(t, client.SetDeadline(time.Time{}))
		require.NoError(t, server.SetDeadline(time.Time{}))
		go func() {
			for range tries / side {
				came <- oneWay(server, client)
			}
		}()
	}
	var took []time.Duration
	for range tries {
		took = append(took, <-came)
	}
	return took
}

// oneWay returns how long a byte takes, or the longest time if it does not come.
func oneWay(from io.Writer, to io.Reader) time.Duration {
	begin := time.Now()
	if _, err := from.Write([]byte{0}); err != nil {
		return 1<<63 - 1
	}
	if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
		return 1<<63 - 1
	}
	return time.Since(begin)
}

func tableOfBandwidths(t *testing.T, w io.Writer) {
	const target, seconds = 0.03, 3
	fmt.Fprint(w, "\n| toxic | declared | delivered | error |\n| --- | ---: | ---: | ---: |\n")
	for _, rate := range []int{10, 100, 1000, 5000, 20_000} { // kB/s
		l, _ := streamLink(1, toxic("bandwidth", map[string]int64{"rate": int64(rate)}))
		client, server := through(t, l)
		text := randomBytes(seconds * rate * 1000)
		go send(server, text)
		begin := time.Now()
		n, err := io.Copy(io.Discard, client)
		require.NoError(t, err)
		require.Len(t, text, int(n))
		got := float64(n) / 1000 / time.Since(begin).Seconds()
		off := got/float64(rate) - 1
		fmt.Fprintf(w, "| `bandwidth` | %d kB/s | %.1f kB/s | %+.2f %% |\n", rate, got, off*100)
		assert.InDelta(t, 0, off, target, "%d kB/s", rate)
	}
}

// send writes all and ends the connection.
func send(to net.Conn, all []byte) {
	_, _ = to.Write(all) // the receiver counts what came
	to.Close()
}
