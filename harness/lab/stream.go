//go:build linux

package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/rs/zerolog"
	zerologlog "github.com/rs/zerolog/log"

	"github.com/simrun/simrun/scenarios"
)

// A StreamLink carries the connections of one host and port through toxiproxy's toxics on their way to a
// server. A toxic applies to the connections that are opened while its fault is in force.
// It may be used concurrently.
type StreamLink struct {
	name   string
	seed   uint64
	faults []*Fault
	since  func() (time.Duration, bool)
	server *toxiproxy.ApiServer
	opened atomic.Uint64
}

// NewStreamLink returns the stream link of one host and port. A connection's share of a toxic with a
// toxicity is drawn from the seed and the connection's number, so that it is the same in each run;
// toxiproxy's own draws (jitter of latency, variation of slicer) are not seeded.
func (n *Network) NewStreamLink(name string, seed uint64, faults []*Fault) *StreamLink {
	return &StreamLink{
		name: name, seed: hash(seed, name, "stream"), faults: faults,
		since:  func() (time.Duration, bool) { return n.link.at(n.link.now()) },
		server: quietToxiproxy(),
	}
}

// quietToxiproxy returns what toxiproxy's links need to run without its HTTP server. Some toxics write to
// the global logger, which would mix with the output of the go command.
var quietToxiproxy = sync.OnceValue(func() *toxiproxy.ApiServer {
	zerologlog.Logger = zerolog.Nop()
	return toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
})

// Connect takes a connection that a client has opened and returns the server's end of it, or nil where a fault
// ends the connection at once.
func (l *StreamLink) Connect(client net.Conn) (net.Conn, error) {
	number := l.opened.Add(1)
	met := l.meets(number)
	if slices.ContainsFunc(met, ofType(scenarios.StreamClose)) {
		go hangUp(client)
		return nil, nil
	}
	proxy := toxiproxy.NewProxy(l.server, l.name, client.LocalAddr().String(), l.name)
	for i, f := range met {
		if err := addToxic(proxy, i, f.Stream); err != nil {
			return nil, err
		}
	}
	resets := slices.ContainsFunc(met, ofType("reset_peer"))
	near, far, err := pipe(client, resets)
	if err != nil {
		return nil, err
	}
	var up, down io.WriteCloser = drainWriter{near}, drainWriter{client}
	if resets {
		up, down = near, client // reset_peer must see the TCP connections themselves
	}
	id := strconv.FormatUint(number, 10)
	proxy.Toxics.StartLink(l.server, id+"up", client, up, stream.Upstream)
	proxy.Toxics.StartLink(l.server, id+"down", near, down, stream.Downstream)
	return far, nil
}

// meets returns the faults that connection number n meets.
func (l *StreamLink) meets(n uint64) (met []*Fault) {
	since, begun := l.since()
	for i, f := range l.faults {
		if begun && f.Active(since) && f.Picks(l.name) && chance(l.seed, n, uint64(i)) < float64(f.Stream.Toxicity) {
			f.Bit.Add(1)
			met = append(met, f)
		}
	}
	return met
}

func ofType(kind string) func(*Fault) bool {
	return func(f *Fault) bool { return f.Stream.Type == kind }
}

// hangUp ends a connection in good order. It takes what the client still sends: the kernel would answer that to
// a closed connection with a reset, which may reach the client before it has seen the end.
func hangUp(client net.Conn) {
	defer client.Close()
	if end, ok := client.(*net.TCPConn); ok && end.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, client)
	}
}

// A drainWriter swallows what it can write no more, and closes. toxiproxy stops to read from its pipeline when a
// write fails, and the goroutines before would wait for ever.
type drainWriter struct{ io.WriteCloser }

func (d drainWriter) Write(b []byte) (int, error) {
	if _, err := d.WriteCloser.Write(b); err != nil {
		d.Close()
	}
	return len(b), nil
}

// addToxic adds a declared toxic to a connection's chain. Its toxicity has been drawn already.
func addToxic(p *toxiproxy.Proxy, i int, f *scenarios.StreamFault) error {
	toxic, err := json.Marshal(map[string]any{
		"name": fmt.Sprintf("%s-%d", f.Type, i), "type": f.Type, "stream": f.Stream, "attributes": f.Attributes,
	})
	if err != nil {
		return err
	}
	if _, err := p.Toxics.AddToxicJson(bytes.NewReader(toxic)); err != nil {
		return fmt.Errorf("toxic %s: %w", f.Type, err)
	}
	return nil
}

// pipe returns a connected pair for the way between toxiproxy and the server. toxiproxy's reset_peer works
// on TCP connections only; everything else takes the cheaper way through memory.
func pipe(client net.Conn, tcp bool) (near, far net.Conn, err error) {
	if tcp {
		near, far, err = tcpPipe()
	} else {
		near, far = net.Pipe()
	}
	if err != nil {
		return nil, nil, err
	}
	return near, &serverConn{Conn: far, client: client}, nil
}

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

// A serverConn is the server's end of a connection: it shows the addresses that the client used, and can end
// as a TCP connection does.
type serverConn struct {
	net.Conn
	client net.Conn
}

func (c *serverConn) LocalAddr() net.Addr  { return c.client.LocalAddr() }
func (c *serverConn) RemoteAddr() net.Addr { return c.client.RemoteAddr() }

// SetLinger says how the connection ends at the client, see [net.TCPConn.SetLinger].
func (c *serverConn) SetLinger(seconds int) error {
	tcp, ok := c.client.(interface{ SetLinger(int) error })
	if !ok {
		return fmt.Errorf("set how a connection ends: %T has no such setting", c.client)
	}
	return tcp.SetLinger(seconds)
}
