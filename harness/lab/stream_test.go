//go:build linux

package lab

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/scenarios"
)

// begunNetwork returns a network without devices whose time line began a second ago.
func begunNetwork() *Network {
	n := &Network{link: &link{epoch: time.Now().Add(-2 * time.Second), track: newTracker(1)}}
	n.link.begun.Store(int64(time.Second))
	return n
}

func toxic(kind string, attributes map[string]int64) *scenarios.Fault {
	return &scenarios.Fault{Stream: &scenarios.StreamFault{Type: kind, Stream: "downstream", Toxicity: 1, Attributes: attributes}}
}

func streamLink(seed uint64, faults ...*scenarios.Fault) (*StreamLink, []*atomic.Int64) {
	var all []*Fault
	var bits []*atomic.Int64
	for _, f := range faults {
		all = append(all, NewFault(f, seed))
		bits = append(bits, &all[len(all)-1].Bit)
	}
	return begunNetwork().NewStreamLink("a.test:443", seed, all), bits
}

// through opens a connection through a stream link and returns both ends.
func through(t *testing.T, l *StreamLink) (client, server net.Conn) {
	t.Helper()
	client, accepted, err := tcpPipe()
	require.NoError(t, err)
	server, err = l.Connect(accepted)
	require.NoError(t, err)
	deadline := time.Now().Add(time.Minute) // what hangs fails
	require.NoError(t, client.SetDeadline(deadline))
	require.NoError(t, server.SetDeadline(deadline))
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// download sends text from the server, closes it there, and returns what the client got and how long that
// took.
func download(t *testing.T, l *StreamLink, text []byte) (got []byte, took time.Duration, err error) {
	t.Helper()
	client, server := through(t, l)
	begin := time.Now()
	go func() {
		_, _ = server.Write(text) // fails where the fault closes the connection
		server.Close()
	}()
	got, err = io.ReadAll(client)
	return got, time.Since(begin), err
}

// tcpPipe returns both ends of a connection over loopback.
func tcpPipe() (near, far net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if far, err = l.Accept(); err != nil {
		return nil, nil, errors.Join(err, near.Close())
	}
	return near, far, nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestStreamLinkCarriesBothWays(t *testing.T) {
	l, _ := streamLink(1)
	client, server := through(t, l)
	assert.Equal(t, client.LocalAddr(), server.RemoteAddr())
	assert.Equal(t, client.RemoteAddr(), server.LocalAddr())
	text := randomBytes(1 << 20)
	for _, ends := range [][2]net.Conn{{client, server}, {server, client}} {
		go ends[0].Write(text)
		got := make([]byte, len(text))
		_, err := io.ReadFull(ends[1], got)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(text, got))
	}
	require.NoError(t, client.Close())
	_, err := server.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
}

// TestToxics checks what each toxic does to a download of 20 kB.
func TestToxics(t *testing.T) {
	text := randomBytes(20_000)
	for _, test := range []struct {
		fault *scenarios.Fault
		bytes int           // that arrive
		least time.Duration // that it takes
		err   error         // at the end; nil: the server's close
	}{
		{toxic("latency", map[string]int64{"latency": 150}), 20_000, 150 * ms, nil},
		{toxic("bandwidth", map[string]int64{"rate": 100}), 20_000, 180 * ms, nil}, // KB/s
		{toxic("slow_close", map[string]int64{"delay": 150}), 20_000, 150 * ms, nil},
		{toxic("timeout", map[string]int64{"timeout": 150}), 0, 0, nil},
		{toxic("reset_peer", map[string]int64{"timeout": 100}), 0, 100 * ms, unix.ECONNRESET},
		{toxic("slicer", map[string]int64{"average_size": 1000, "delay": 5000}), 20_000, 80 * ms, nil},
		{toxic("limit_data", map[string]int64{"bytes": 1234}), 1234, 0, nil},
	} {
		t.Run(test.fault.Stream.Type, func(t *testing.T) {
			t.Parallel()
			l, bits := streamLink(1, test.fault)
			got, took, err := download(t, l, text)
			assert.True(t, bytes.Equal(text[:test.bytes], got), "%d bytes", len(got))
			assert.GreaterOrEqual(t, took, test.least)
			if test.err == nil {
				assert.NoError(t, err)
			} else {
				assert.ErrorIs(t, err, test.err)
			}
			assert.Equal(t, int64(1), bits[0].Load())

			none, _ := streamLink(1, test.fault)
			none.since = func() (time.Duration, bool) { return 0, false }
			got, _, err = download(t, none, text)
			require.NoError(t, err, "before the go command starts nothing is wrong")
			assert.True(t, bytes.Equal(text, got))
			assert.Zero(t, none.faults[0].Bit.Load())
		})
	}
}

// TestTimeoutWithoutEndKeepsTheConnectionOpen checks that timeout 0 is silence.
func TestTimeoutWithoutEndKeepsTheConnectionOpen(t *testing.T) {
	t.Parallel()
	l, _ := streamLink(1, toxic("timeout", map[string]int64{"timeout": 0}))
	client, server := through(t, l)
	go server.Write([]byte("never seen"))
	require.NoError(t, client.SetReadDeadline(time.Now().Add(200*ms)))
	n, err := client.Read(make([]byte, 1))
	assert.Zero(t, n)
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = client.Write([]byte("up"))
	require.NoError(t, err)
	got := make([]byte, 2)
	_, err = io.ReadFull(server, got)
	require.NoError(t, err)
	assert.Equal(t, "up", string(got), "the other direction is as it was")
}

// TestTimeoutEndsTheConnection checks that a timeout lets nothing through and closes by itself.
func TestTimeoutEndsTheConnection(t *testing.T) {
	t.Parallel()
	l, _ := streamLink(1, toxic("timeout", map[string]int64{"timeout": 150}))
	client, server := through(t, l)
	begin := time.Now()
	go server.Write([]byte("never seen"))
	got, err := io.ReadAll(client)
	require.NoError(t, err)
	assert.Empty(t, got)
	assert.GreaterOrEqual(t, time.Since(begin), 150*ms)
}

func TestCloseEndsTheConnectionInGoodOrder(t *testing.T) {
	l, bits := streamLink(1, &scenarios.Fault{Stream: &scenarios.StreamFault{Type: scenarios.StreamClose, Toxicity: 1}, First: 1})
	client, accepted, err := tcpPipe()
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Write(randomBytes(1 << 10)) // the server never reads it
	require.NoError(t, err)
	server, err := l.Connect(accepted)
	require.NoError(t, err)
	assert.Nil(t, server)
	require.NoError(t, client.SetDeadline(time.Now().Add(time.Minute)))
	got, err := io.ReadAll(client)
	require.NoError(t, err)
	assert.Empty(t, got)
	assert.Equal(t, int64(1), bits[0].Load())

	got, _, err = download(t, l, []byte("the second connection"))
	require.NoError(t, err)
	assert.Equal(t, "the second connection", string(got))
}

func TestUpstreamToxic(t *testing.T) {
	f := toxic("limit_data", map[string]int64{"bytes": 3})
	f.Stream.Stream = "upstream"
	l, _ := streamLink(1, f)
	client, server := through(t, l)
	_, err := client.Write([]byte("request"))
	require.NoError(t, err)
	got, err := io.ReadAll(server)
	require.NoError(t, err)
	assert.Equal(t, "req", string(got))
}

// TestToxicityIsDrawnFromTheSeed checks that the same connections are hit in each run.
func TestToxicityIsDrawnFromTheSeed(t *testing.T) {
	const conns = 200
	hits := func(seed uint64) (which []int) {
		f := toxic("slow_close", map[string]int64{"delay": 0})
		f.Stream.Toxicity = 0.3
		l, bits := streamLink(seed, f)
		for i := range conns {
			before := bits[0].Load()
			client, server := through(t, l)
			client.Close()
			server.Close()
			if bits[0].Load() > before {
				which = append(which, i)
			}
		}
		return which
	}
	first := hits(1)
	assert.InDelta(t, 0.3*conns, len(first), 30, "4.6 standard deviations")
	assert.Equal(t, first, hits(1))
	assert.NotEqual(t, first, hits(2))
}

// TestStreamLinkEndsItsGoroutines opens many connections which the client closes: what carried them must
// end. It runs alone, as it counts all goroutines. Two toxics of toxiproxy v2.12.0 stop to read while what is
// before them still sends to them, which is left behind until the lab process ends.
func TestStreamLinkEndsItsGoroutines(t *testing.T) {
	const conns, slack = 200, 20
	for _, test := range []struct {
		name   string
		faults []*scenarios.Fault
		use    func(client, server net.Conn)
		left   int // goroutines per connection at most
	}{
		{"idle", nil, func(client, server net.Conn) {}, 0},
		{"after an answer", nil, answerOnce, 0},
		{"in the middle of a download", nil, startDownload, 0},
		{"latency", []*scenarios.Fault{toxic("latency", map[string]int64{"latency": 1})}, answerOnce, 0},
		{"bandwidth", []*scenarios.Fault{toxic("bandwidth", map[string]int64{"rate": 100})}, answerOnce, 0},
		{"slow_close", []*scenarios.Fault{toxic("slow_close", map[string]int64{"delay": 1})}, answerOnce, 0},
		{"slicer", []*scenarios.Fault{toxic("slicer", map[string]int64{"average_size": 2})}, answerOnce, 0},
		{"timeout", []*scenarios.Fault{toxic("timeout", map[string]int64{"timeout": 0})}, startDownload, 0},
		{"limit_data", []*scenarios.Fault{toxic("limit_data", map[string]int64{"bytes": 1})}, startDownload, 2},
		{"reset_peer", []*scenarios.Fault{toxic("reset_peer", map[string]int64{"timeout": 0})}, startDownload, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, _ := streamLink(1, test.faults...)
			before := runtime.NumGoroutine()
			for range conns {
				client, server := through(t, l)
				test.use(client, server)
				client.Close()
				_, _ = io.Copy(io.Discard, server) // to the client's close
				server.Close()
			}
			assert.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+slack+test.left*conns }, 10*time.Second, 10*ms,
				"goroutines of closed connections live on")
			t.Logf("goroutines: %d before, %d after", before, runtime.NumGoroutine())
		})
	}
}

func answerOnce(client, server net.Conn) {
	_, _ = server.Write([]byte("answer")) // what fails shows in the read
	_, _ = io.ReadFull(client, make([]byte, 6))
}

// startDownload begins to send much and reads little of it.
func startDownload(client, server net.Conn) {
	go func() {
		for {
			if _, err := server.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}()
	_ = client.SetReadDeadline(time.Now().Add(2 * ms)) // some faults let nothing through
	_, _ = io.ReadFull(client, make([]byte, 1000))
}
