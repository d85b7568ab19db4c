package fakeupstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/simrun/simrun/scenarios"
)

// An http.Server cannot be brought to break its protocol. So a wire between the server and its connection does,
// and a Middleware orders it to, by headers of the answer that never reach the client. It knows of HTTP/1 where
// headers end, and of HTTP/2 (RFC 9113) what frames are.
const (
	orderPrefix  = "Simrun-"
	orderLength  = orderPrefix + "Length"  // this Content-Length instead
	orderHeaders = orderPrefix + "Headers" // what becomes of the headers: one of the words below
	orderChunks  = orderPrefix + "Chunks"  // the first chunk's length is to be no number
	orderEnd     = orderPrefix + "End"     // what becomes of the frame that aborts an answer of HTTP/2
)

// What can become of headers. After the last three nothing more is sent on the connection.
const (
	headersHidden  = "hidden"  // an answer is not begun; it can only be aborted
	headersDropped = "dropped" // nor anything else: the connection is closed
	headersHalf    = "half"
	headersGarbage = "garbage"
)

// The ways to end an answer of HTTP/2, with the code of an error behind those that have one.
const (
	endReset  = "reset"  // by RST_STREAM
	endGoAway = "goaway" // by GOAWAY, before the connection is closed
	endRefuse = "refuse" // the same, and the client may take it that nobody has looked at its request
	endClose  = "close"  // with the connection
	endStall  = "stall"  // not at all: no other answer's body goes on, either
)

// babble is of no protocol.
var babble = bytes.Repeat([]byte("\xde\xad\xbe\xef"), 16)

// http2Codes are the numbers of errors, RFC 9113 section 7.
var http2Codes = map[scenarios.HTTP2Error]uint32{
	scenarios.HTTP2NoError:         0x0,
	scenarios.HTTP2ProtocolError:   0x1,
	scenarios.HTTP2InternalError:   0x2,
	scenarios.HTTP2RefusedStream:   0x7,
	scenarios.HTTP2EnhanceYourCalm: 0xb,
}

// A WireServer is an [http.Server] for handlers with faults that break the protocol: see [NeedsWire].
type WireServer struct{ server *http.Server }

// NewWireServer returns a WireServer. The other server is its own from now on: it changes its Handler, Protocols
// and ConnContext.
func NewWireServer(server *http.Server) *WireServer {
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // the server does not see that it is encrypted
	before := server.ConnContext
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if before != nil {
			ctx = before(ctx, c)
		}
		return context.WithValue(ctx, wireKey{}, c)
	}
	handler := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.TLS = r.Context().Value(wireKey{}).(interface{ state() *tls.ConnectionState }).state()
		handler.ServeHTTP(w, r)
	})
	return &WireServer{server}
}

// Serve is [http.Server.Serve]. Connections that the listener accepts may be of TLS already, and HTTP/2 is spoken on
// those that have agreed on it. It may be called for several listeners at once.
func (s *WireServer) Serve(l net.Listener) error { return s.server.Serve(wireListener{l}) }

type wireKey struct{}

type wireListener struct{ net.Listener }

// Accept waits for a connection. HTTP/2 is only spoken where it has been agreed on.
func (l wireListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if _, secure := c.(*tls.Conn); secure {
		return &wire{Conn: c}, nil
	}
	return plainWire{&wire{Conn: c}}, nil
}

// A plainWire is one of which a server does not think that it could be of HTTP/2: it looks for that only where
// there is no state of TLS.
type plainWire struct{ *wire }

// ConnectionState returns what is known of TLS.
func (c plainWire) ConnectionState() tls.ConnectionState {
	if state := c.state(); state != nil {
		return *state
	}
	return tls.ConnectionState{}
}

// A wire is the server's end of a connection. Like that of the server itself, its Write must not be called
// concurrently.
type wire struct {
	net.Conn
	write func([]byte) ([]byte, bool) // what is sent instead, and whether the connection ends after it; nil before the first Write
	over  bool                        // nothing more is sent
}

// state returns the state of TLS, or nil if there is none.
func (c *wire) state() *tls.ConnectionState {
	conn, ok := c.Conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}

// Write sends what the server wants to send, or what was ordered instead.
func (c *wire) Write(b []byte) (int, error) {
	if c.write == nil {
		c.write = new(wire1).change
		if len(b) > 0 && b[0] == 0 { // a server of HTTP/2 begins with SETTINGS: section 3.4
			c.write = newWire2().change
		}
	}
	if c.over {
		return len(b), nil // until the server, whose answer was aborted, closes the connection itself
	}
	out, end := c.write(b)
	if len(out) > 0 {
		if _, err := c.Conn.Write(out); err != nil {
			return 0, err
		}
	}
	if !end {
		return len(b), nil
	}
	c.over = true
	if len(out) > 0 {
		time.AfterFunc(linger, func() { c.Conn.Close() })
		return len(b), nil
	}
	return len(b), c.Conn.Close()
}

// linger is how long a connection stays open after the last words. A client of HTTP/2 acknowledges what has come
// before them. If that found a closed socket, the answer would be a reset, which may reach the client first.
const linger = 500 * time.Millisecond

// orders are what middlewares ordered for one answer, by the name of the header in lower case.
type orders map[string]string

func (o orders) get(name string) string { return o[strings.ToLower(name)] }

// add takes a header of an answer, and reports whether it is an order.
func (o orders) add(name, value string) bool {
	name = strings.ToLower(name)
	if !strings.HasPrefix(name, strings.ToLower(orderPrefix)) {
		return false
	}
	o[name] = value
	return true
}

// A wire1 carries out orders in HTTP/1. A server sends the headers of an answer in one piece, which begins a Write.
type wire1 struct {
	garble bool // the first byte of what comes next
}

func (w *wire1) change(b []byte) (out []byte, end bool) {
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok || !bytes.HasPrefix(b, []byte("HTTP/1.")) || !bytes.Contains(head, []byte("\r\n"+orderPrefix)) {
		return w.garbled(b), false
	}
	lines := bytes.SplitAfter(append(head, "\r\n"...), []byte("\r\n"))
	o, kept := orders{}, lines[:0:0]
	for _, line := range lines {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ": ")
		if !o.add(name, value) {
			kept = append(kept, line)
		}
	}
	if length := o.get(orderLength); length != "" {
		for i, line := range kept {
			if bytes.HasPrefix(line, []byte("Content-Length: ")) {
				kept[i] = []byte("Content-Length: " + length + "\r\n")
			}
		}
	}
	text := append(bytes.Join(kept, nil), "\r\n"...)
	switch o.get(orderHeaders) {
	case headersHidden, headersDropped:
		return nil, true
	case headersHalf:
		return text[:len(text)/2], true
	case headersGarbage:
		return babble, true
	}
	w.garble = o.get(orderChunks) != ""
	return append(text, w.garbled(body)...), false
}

// garbled returns the beginning of a body, which is that of a chunk's length where that is to be wrong.
func (w *wire1) garbled(b []byte) []byte {
	if !w.garble || len(b) == 0 {
		return b
	}
	w.garble = false
	return append([]byte("z"), b[1:]...)
}

// Types and flags of frames, RFC 9113 section 6.
const (
	frameHeader = 9 // bytes

	frameData         = 0x0
	frameHeaders      = 0x1
	frameRSTStream    = 0x3
	frameGoAway       = 0x7
	frameContinuation = 0x9

	flagEndHeaders = 0x4
)

// A wire2 carries out orders in HTTP/2. It unpacks the headers of all answers and packs those that are left again,
// because how they are packed depends on those before.
type wire2 struct {
	rest    []byte // of the last Write, a frame that has not come as a whole
	block   []byte // of headers, of which the end has not come
	flags   byte   // of the frame that they begin with
	decoder *hpack.Decoder
	packed  bytes.Buffer // by the encoder
	encoder *hpack.Encoder
	ends    map[uint32]string // by the number of the answer's stream, its orderEnd
	stalled uint32            // stream whose body alone goes on; 0: all do
}

func newWire2() *wire2 {
	w := &wire2{decoder: hpack.NewDecoder(4096, nil), ends: map[uint32]string{}}
	w.encoder = hpack.NewEncoder(&w.packed)
	w.encoder.SetMaxDynamicTableSize(0) // whatever the client may allow
	return w
}

func (w *wire2) change(b []byte) (out []byte, end bool) {
	w.rest = append(w.rest, b...)
	for len(w.rest) >= frameHeader && !end {
		size := frameHeader + int(w.rest[0])<<16 + int(w.rest[1])<<8 + int(w.rest[2])
		if len(w.rest) < size {
			break
		}
		var instead []byte
		instead, end = w.frame(w.rest[:size])
		out = append(out, instead...)
		w.rest = w.rest[size:]
	}
	return out, end
}

// frame returns what is sent instead of a frame.
func (w *wire2) frame(f []byte) (out []byte, end bool) {
	stream := binary.BigEndian.Uint32(f[5:]) &^ (1 << 31)
	switch f[3] {
	case frameHeaders, frameContinuation:
		if f[3] == frameHeaders {
			w.block, w.flags = nil, f[4]
		}
		w.block = append(w.block, f[frameHeader:]...)
		if f[4]&flagEndHeaders == 0 {
			return nil, false
		}
		return w.headers(stream)
	case frameData:
		if w.stalled != 0 && stream != w.stalled {
			return nil, false
		}
	case frameRSTStream:
		return w.abort(stream, f)
	}
	return f, false
}

// headers returns what is sent instead of the headers of an answer.
func (w *wire2) headers(stream uint32) (out []byte, end bool) {
	fields, err := w.decoder.DecodeFull(w.block)
	if err != nil {
		return nil, true // by our own server; the client will tell
	}
	o, kept := orders{}, fields[:0]
	for _, f := range fields {
		if !o.add(f.Name, f.Value) {
			kept = append(kept, f)
		}
	}
	if what := o.get(orderEnd); what != "" {
		w.ends[stream] = what
		if what == endStall {
			w.stalled = stream
		}
	}
	switch o.get(orderHeaders) {
	case headersHidden:
		return nil, false
	case headersDropped:
		return nil, true
	case headersGarbage:
		return babble, true
	}
	f := newFrame(frameHeaders, w.flags|flagEndHeaders, stream, w.pack(kept, o.get(orderLength)))
	if o.get(orderHeaders) == headersHalf {
		return f[:len(f)/2], true
	}
	return f, false
}

// pack returns headers in the form of RFC 7541, with another Content-Length if one is given.
func (w *wire2) pack(fields []hpack.HeaderField, length string) []byte {
	w.packed.Reset()
	for _, f := range fields {
		if f.Name == "content-length" && length != "" {
			f.Value = length
		}
		w.encoder.WriteField(f) // into memory
	}
	return w.packed.Bytes()
}

// abort returns what is sent instead of a frame that aborts an answer.
func (w *wire2) abort(stream uint32, f []byte) (out []byte, end bool) {
	what, code, _ := strings.Cut(w.ends[stream], " ")
	delete(w.ends, stream)
	n, _ := strconv.ParseUint(code, 10, 32)
	switch what {
	case endReset:
		return newFrame(frameRSTStream, 0, stream, binary.BigEndian.AppendUint32(nil, uint32(n))), false
	case endGoAway, endRefuse:
		last := stream
		if what == endRefuse {
			last = max(stream, 2) - 2 // a client's streams have odd numbers
		}
		payload := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), uint32(n))
		return newFrame(frameGoAway, 0, 0, payload), true
	case endClose:
		return nil, true
	}
	return f, false
}

// newFrame returns a frame, section 4.1. A payload of headers is always less than 16 KiB, which everybody takes.
func newFrame(kind, flags byte, stream uint32, payload []byte) []byte {
	f := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(f, stream), payload...)
}
