//go:build linux

package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
	zerologlog "github.com/rs/zerolog/log"

	"github.com/simrun/simrun/scenarios"
)

// A StreamLink carries the connections of one host and port through toxiproxy's toxics on their way to a
// server. A toxic applies to the connections that are opened while its fault is in force.
// It may be used concurrently.
//
// It chains toxics as toxiproxy's ToxicLink does (link.go), without what lets a chain change while it carries data. The
// package of that would bring metrics and an HTTP server into each lab process.
type StreamLink struct {
	name   string
	seed   uint64
	faults []*Fault
	since  func() (time.Duration, bool)
	opened atomic.Uint64
}

// NewStreamLink returns the stream link of one host and port. A connection's share of a toxic with a
// toxicity is drawn from the seed and the connection's number, so that it is the same in each run;
// toxiproxy's own draws (jitter of latency, variation of slicer) are not seeded.
func (n *Network) NewStreamLink(name string, seed uint64, faults []*Fault) *StreamLink {
	return &StreamLink{
		name: name, seed: hash(seed, name, "stream"), faults: faults,
		since: func() (time.Duration, bool) { return n.link.at(n.link.now()) },
	}
}

// Connect takes a connection that a client has opened and returns the server's end of it, or nil where a fault
// ends the connection at once.
func (l *StreamLink) Connect(client net.Conn) (net.Conn, error) {
	met := l.meets(l.opened.Add(1))
	if slices.ContainsFunc(met, ofType(scenarios.StreamClose)) {
		go hangUp(client)
		return nil, nil
	}
	near, far := net.Pipe()
	server := &serverConn{Conn: far, client: client}
	if slices.ContainsFunc(met, ofType("reset_peer")) {
		if err := server.SetLinger(0); err != nil { // its end is a reset
			return nil, err
		}
	}
	var up, down []toxics.Toxic
	for _, f := range met {
		toxic, err := newToxic(f.Stream)
		switch {
		case err != nil:
			return nil, err
		case f.Stream.Stream == "upstream":
			up = append(up, toxic)
		default:
			down = append(down, toxic)
		}
	}
	go carry(client, near, up)
	go carry(near, client, down)
	return server, nil
}

// carry brings what it reads through a chain of toxics to where it belongs, which it closes at the end.
func carry(from io.Reader, to io.WriteCloser, chain []toxics.Toxic) {
	defer to.Close()
	if len(chain) > 0 {
		from = pipeline(from, chain)
	}
	_, _ = io.Copy(drainWriter{to}, from) // however the one side ends, the other one does, too
}

// pipeline starts a chain of toxics and returns the end of it. A toxic that ends the connection by itself leaves
// those before it waiting.
func pipeline(from io.Reader, chain []toxics.Toxic) io.Reader {
	out := make(chan *stream.StreamChunk)
	end := stream.NewChanReader(out)
	for _, toxic := range slices.Backward(chain) {
		size := 0 // of the queue before it, in chunks
		if t, ok := toxic.(toxics.BufferedToxic); ok {
			size = t.GetBufferSize()
		}
		in := make(chan *stream.StreamChunk, size)
		stub := toxics.NewToxicStub(in, out)
		if t, ok := toxic.(toxics.StatefulToxic); ok {
			stub.State = t.NewState()
		}
		go toxic.Pipe(stub)
		out = in
	}
	go func() {
		begin := stream.NewChanWriter(out)
		defer begin.Close()
		_, _ = io.Copy(begin, from)
	}()
	return end
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

// A drainWriter swallows what it can write no more, and closes: the goroutines before it would wait for ever otherwise.
type drainWriter struct{ io.WriteCloser }

func (d drainWriter) Write(b []byte) (int, error) {
	if _, err := d.WriteCloser.Write(b); err != nil {
		d.Close()
	}
	return len(b), nil
}

// silence switches off the global logger that some toxics write to: it would mix with the output of the go command.
var silence = sync.OnceFunc(func() { zerologlog.Logger = zerolog.Nop() })

// newToxic returns a declared toxic for one connection. Its toxicity has been drawn already.
func newToxic(f *scenarios.StreamFault) (toxics.Toxic, error) {
	silence()
	toxic := toxics.New(&toxics.ToxicWrapper{Type: f.Type})
	if toxic == nil {
		return nil, fmt.Errorf("toxiproxy has no toxic %q", f.Type)
	}
	attributes, err := json.Marshal(f.Attributes)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(attributes, toxic); err != nil {
		return nil, fmt.Errorf("toxic %s: %w", f.Type, err)
	}
	return toxic, nil
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
