//go:build linux

package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// requireTshark skips a test where Wireshark's reader is not installed, but fails it where all must be tested.
func requireTshark(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("tshark")
	switch {
	case err == nil:
	case os.Getenv("SIMRUN_REQUIRE_LAB") != "":
		t.Fatalf("SIMRUN_REQUIRE_LAB is set: %v; install tshark", err)
	default:
		t.Skipf("SKIPPED, NOT TESTED: %v; install tshark", err)
	}
}

// tshark returns the fields of the packets of a file that a display filter lets through, one line each.
func tshark(t *testing.T, file, filter string, fields ...string) []string {
	t.Helper()
	args := []string{"-n", "-r", file, "-Y", filter, "-T", "fields"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	require.NoError(t, err)
	return strings.Fields(string(out))
}

// captured runs one healthy cell, or one with faults, and returns its record and the file with its packets.
func captured(t *testing.T, faults ...scenarios.Fault) (*record.Cell, string) {
	t.Helper()
	o := nearOptions(t, small)
	o.Scenarios[0].Faults = faults
	o.Captures = filepath.Join(t.TempDir(), "captures")
	require.NoError(t, os.Mkdir(o.Captures, 0o777))
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	var cell *record.Cell
	require.NoError(t, p.Run(t.Context(), func(c *record.Cell) error { cell = c; return nil }, nil))
	require.NotNil(t, cell)
	require.NotEqual(t, record.HarnessError, cell.Outcome, cell.Note)
	require.Empty(t, cell.Lost)
	files, err := os.ReadDir(o.Captures)
	require.NoError(t, err)
	require.Len(t, files, 1, "nothing but the capture")
	assert.Equal(t, "captures/"+files[0].Name(), cell.Capture)
	return cell, filepath.Join(o.Captures, files[0].Name())
}

// An independent reader finds in the packets what the record says, and can read what TLS hides.
func TestCaptureShowsWhatTheRecordSays(t *testing.T) {
	t.Parallel()
	requireLab(t)
	requireTshark(t)
	c, file := captured(t)
	require.Equal(t, record.OK, c.Outcome, c.Stderr)

	assert.Len(t, tshark(t, file, "tcp.flags.syn == 1 && tcp.flags.ack == 0", "frame.number"), syns(c), "SYNs")
	var queries, asked []string
	for _, q := range c.Queries {
		queries = append(queries, q.Name)
	}
	asked = tshark(t, file, "dns.flags.response == 0", "dns.qry.name")
	assert.ElementsMatch(t, queries, asked)

	var requests []string
	for _, r := range c.Requests {
		requests = append(requests, r.Path)
	}
	read := append(tshark(t, file, "http2.headers.path", "http2.headers.path"), tshark(t, file, "http.request", "http.request.uri")...)
	read = strings.Split(strings.Join(read, ","), ",") // several in one packet
	assert.ElementsMatch(t, requests, read, "requests, decrypted")
}

func TestCaptureHasTheTimesOfTheRecord(t *testing.T) {
	t.Parallel()
	requireLab(t)
	requireTshark(t)
	c, file := captured(t)
	started, err := time.Parse(time.RFC3339Nano, c.Started)
	require.NoError(t, err)
	first := tshark(t, file, "tcp.flags.syn == 1 && tcp.flags.ack == 0", "frame.time_epoch")[0]
	var seconds, nanoseconds int64
	_, err = fmt.Sscanf(first, "%d.%d", &seconds, &nanoseconds)
	require.NoError(t, err)
	since := time.Unix(seconds, nanoseconds).Sub(started).Seconds()
	assert.InDelta(t, float64(c.Conns[0].Start), since, 1e-5)
}

// What a fault loses on its way up has left the client, and what would have come back has not.
func TestCaptureShowsThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	requireLab(t)
	requireTshark(t)
	c, file := captured(t, scenarios.Fault{Target: scenarios.Target{Pattern: "proxy.test", Hosts: []int{0}},
		Packet: &scenarios.PacketFault{Reject: scenarios.RejectRST}})
	require.Equal(t, record.Error, c.Outcome)
	assert.Len(t, tshark(t, file, "tcp.flags.syn == 1", "frame.number"), syns(c))
	assert.Empty(t, tshark(t, file, "tcp.flags.syn == 1 && tcp.flags.ack == 1", "frame.number"), "SYN-ACKs")
	assert.Len(t, tshark(t, file, "tcp.flags.reset == 1", "frame.number"), syns(c), "one reset for each SYN")
}

// syns counts the SYNs that the client sent.
func syns(c *record.Cell) (n int) {
	for _, conn := range c.Conns {
		n += conn.SYNs
	}
	return n
}

func TestNoCaptureIsMadeUnlessAskedFor(t *testing.T) {
	t.Parallel()
	requireLab(t)
	o := nearOptions(t, small)
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, p.Run(t.Context(), func(c *record.Cell) error {
		assert.Equal(t, record.OK, c.Outcome, c.Stderr)
		assert.Empty(t, c.Capture)
		return nil
	}, nil))
}

func TestCaptureThatCannotBeMadeIsAFailureOfTheHarness(t *testing.T) {
	t.Parallel()
	requireLab(t)
	o := nearOptions(t, small)
	o.Captures = filepath.Join(t.TempDir(), "missing")
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, p.Run(t.Context(), func(c *record.Cell) error {
		assert.Equal(t, record.HarnessError, c.Outcome)
		assert.Contains(t, c.Note, "keep the client's packets: ")
		return nil
	}, nil))
}

// A lab process that dies leaves no capture, and no record of one.
func TestCaptureOfACellThatFailedIsRemoved(t *testing.T) {
	dir := t.TempDir()
	f, err := newCapture(dir, record.Key{Scenario: "s", Config: "c"})
	require.NoError(t, err)
	f.closeOurs()
	c := &record.Cell{Outcome: record.HarnessError}
	require.NoError(t, f.settle(c))
	assert.Empty(t, c.Capture)
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, files)
}

// However a run ends, each record has its packets and each whole file its record.
func TestCapturesOfARunThatIsEnded(t *testing.T) {
	t.Parallel()
	requireLab(t)
	binary := buildSimrun(t)
	for _, test := range []struct {
		name    string
		signal  syscall.Signal
		partial int // files that say of themselves that they are
	}{
		{"killed", unix.SIGKILL, 2},
		{"interrupted", unix.SIGINT, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := startRun(t, binary, "--capture", "--timeout", "5m", "--jobs", "4")
			require.Eventually(t, func() bool {
				results, err := record.ReadFile(filepath.Join(r.out, "results.jsonl"))
				return err == nil && len(results.Cells) == 2
			}, patience, 20*time.Millisecond, "scenario well: %v", &r.stderr)
			r.awaitLabs(2) // of scenario silent
			require.NoError(t, r.cmd.Process.Signal(test.signal))
			r.wait()
			var captures []string
			for _, c := range r.results() {
				assert.FileExists(t, filepath.Join(r.out, c.Capture))
				captures = append(captures, filepath.Base(c.Capture))
			}
			assert.Len(t, captures, 2, "of scenario well")
			files, err := os.ReadDir(filepath.Join(r.out, "captures"))
			require.NoError(t, err)
			var whole []string
			for _, f := range files {
				if !strings.HasSuffix(f.Name(), partial) {
					whole = append(whole, f.Name())
				}
			}
			assert.ElementsMatch(t, captures, whole)
			assert.Len(t, files, len(whole)+test.partial)
		})
	}
}

func TestCaptureNamesDifferWhereKeysDo(t *testing.T) {
	keys := []record.Key{
		{Scenario: "a", Config: "b", Project: "c d", Go: "go1.26.8"},
		{Scenario: "a", Config: "b", Project: "c+d", Go: "go1.26.8"},
		{Scenario: "a", Config: "b", Project: "c%20d", Go: "go1.26.8"},
		{Scenario: "a", Config: "b", Project: "../c/d", Go: "go1.26.8"},
		{Scenario: "a", Config: "b", Project: "c d", Go: "go1.26.8", Rep: 1},
	}
	var names []string
	for _, k := range keys {
		name := captureName(k)
		assert.Equal(t, filepath.Base(name), name, "a name, and no path")
		assert.NotContains(t, names, name)
		names = append(names, name)
	}
	assert.Equal(t, "a+b+c%20d+go1.26.8+1.pcapng", names[0])
}
