//go:build linux

package harness

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

var accuracy = flag.Bool("accuracy", false, "measure faults and print their tables of docs/accuracy.md")

// dnsDelays are the settings of the table of DNS delays, and how often each is tried.
var dnsDelays = []struct {
	delay time.Duration
	tries int
}{{time.Millisecond, 1000}, {10 * time.Millisecond, 500}, {50 * time.Millisecond, 200}, {200 * time.Millisecond, 100}, {time.Second, 20}, {5 * time.Second, 5}}

// TestAccuracyOfDNSDelay measures how far the delay of a name server is from what is declared, as a client
// in a cell lives it, and prints the table of docs/accuracy.md. It wants a quiet machine: make accuracy
// runs it.
func TestAccuracyOfDNSDelay(t *testing.T) {
	if !*accuracy {
		t.Skip("measured by make accuracy, on a quiet machine")
	}
	requireLab(t)
	const target = 2 * time.Millisecond // at the median
	fmt.Print("\n| DNS delay | declared | tries | median error | p99 error |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, setting := range dnsDelays {
		took := dnsTimes(t, setting.delay, setting.tries)
		slices.Sort(took)
		off := func(share float64) float64 {
			return (took[int(share*float64(len(took)))] - setting.delay).Seconds() * 1e3
		}
		fmt.Printf("| UDP, IPv4 | %v | %d | %+.3f ms | %+.3f ms |\n", setting.delay, setting.tries, off(0.5), off(0.99))
		assert.GreaterOrEqual(t, took[0], setting.delay)
		slack := setting.delay / 1000 // the kernel may wake who waits in epoll so late (select_estimate_accuracy in fs/select.c)
		assert.Less(t, took[len(took)/2]-setting.delay, target+slack, "%v", setting.delay)
	}
}

// dnsTimes returns how long lookups took, one after the other, at a name server with a delay on a way that
// takes none.
func dnsTimes(t *testing.T, delay time.Duration, tries int) (took []time.Duration) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "range.yaml")
	text := fmt.Sprintf("world: range\nhosts: {a.example: {role: vcs, family: ipv4}}\n---\n"+
		"name: delay\nworld: range\nfaults: [{host: ns:ns1, dns: {delay: %v}}]\n", delay)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	o := probeOptions(t)
	lib, err := scenarios.Load([]string{file}, scenarios.Options{Vars: o.Vars})
	require.NoError(t, err)
	o.Scenarios, o.Timeout = lib.Scenarios, time.Duration(tries)*(delay+time.Second)
	o.Projects[0].Modules.Private = 0
	cells := runProbeCells(t, o, func(_ string, u *fakeupstream.Universe) []probe {
		town := newTown(lib.Scenarios[0].World, u)
		p := town.question(town.nameserver(0), "a.example", "A")
		p.Times = tries
		return []probe{p}
	})
	for _, s := range sightingsOf(t, cells["delay"])[0] {
		require.Empty(t, s.Err)
		took = append(took, s.First)
	}
	return took
}
