package fakeupstream

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/simrun/simrun/scenarios"
)

// A Hello is a connection of which the ClientHello has come, and nothing has been answered.
type Hello struct {
	ServerName string      // that the client named; empty if it named none, or what came is no ClientHello
	Conn       net.Conn    // on which the ClientHello is still to be read
	Config     *tls.Config // what the server would go on with; for this connection alone

	raw net.Conn // below Conn
}

// A Handshake answers a ClientHello. It returns the connection that HTTP is to be spoken over, or nil if there
// is nothing more to say. It may be called by many goroutines at once.
type Handshake func(*Hello) net.Conn

// A TLSFault puts a fault around an honest handshake, as a [Middleware] does around a handler.
type TLSFault func(Handshake) Handshake

// WhenTLS applies f to the connections that match and leaves the others alone. It calls match once per
// connection, from many goroutines at once.
func WhenTLS(match func(*Hello) bool, f TLSFault) TLSFault {
	return func(next Handshake) Handshake {
		faulty := f(next)
		return func(h *Hello) net.Conn {
			if match(h) {
				return faulty(h)
			}
			return next(h)
		}
	}
}

// WrongTLS returns what a declared fault does to the connections that it is about; which these are, its SNI
// among them, is the caller's to say with [WhenTLS]. If the fault declares a certificate, the second argument
// is the one to show: see [CA.Flawed].
func WrongTLS(f scenarios.TLSFault, certificate tls.Certificate) TLSFault {
	var all []TLSFault
	if f.Certificate != "" {
		all = append(all, configured(func(c *tls.Config) { c.Certificates = []tls.Certificate{certificate} }))
	}
	if f.MaxVersion != "" {
		all = append(all, noNewerThan(tlsVersions[f.MaxVersion]))
	}
	if f.ClientCertificate {
		all = append(all, configured(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }))
	}
	if f.CorruptAfter > 0 {
		all = append(all, below(func(c net.Conn) net.Conn { return &corruptConn{Conn: c, left: int64(f.CorruptAfter)} }))
	}
	if wrong, ok := protocols[f.ALPN]; ok {
		all = append(all, wrong)
	}
	if wrong, ok := handshakes[f.Handshake]; ok {
		all = append(all, wrong)
	}
	return func(next Handshake) Handshake {
		for _, f := range all {
			next = f(next)
		}
		return next
	}
}

var tlsVersions = map[scenarios.TLSVersion]uint16{
	scenarios.TLS10: tls.VersionTLS10,
	scenarios.TLS11: tls.VersionTLS11,
	scenarios.TLS12: tls.VersionTLS12,
}

var protocols = map[scenarios.ALPN]TLSFault{
	scenarios.ALPNH2Announced: announceH2,
	scenarios.ALPNH2Spoken:    speakH2,
}

var handshakes = map[scenarios.Handshake]TLSFault{
	scenarios.HandshakeStall:            instead(awaitEnd),
	scenarios.HandshakeStallServerHello: below(func(c net.Conn) net.Conn { return &oneRecordConn{Conn: c} }),
	scenarios.HandshakeClose:            instead(func(net.Conn) {}),
	scenarios.HandshakeReset:            instead(reset),
	scenarios.HandshakeGarbage:          instead(func(c net.Conn) { c.Write(bytes.Repeat([]byte("\xde\xad\xbe\xef"), 16)) }),
	scenarios.HandshakeHTTP:             func(Handshake) Handshake { return func(h *Hello) net.Conn { return h.Conn } },
	scenarios.HandshakeNoSharedCipher: configured(func(c *tls.Config) {
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS12
		c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA}
		c.NextProtos = []string{"http/1.1"} // HTTP/2 forbids these ciphers: RFC 9113, appendix A
	}),
}

// configured goes on with other settings.
func configured(change func(*tls.Config)) TLSFault {
	return func(next Handshake) Handshake {
		return func(h *Hello) net.Conn {
			change(h.Config)
			return next(h)
		}
	}
}

// noNewerThan speaks old versions only. HTTP/2 needs 1.2: RFC 9113, section 9.2.
func noNewerThan(version uint16) TLSFault {
	return configured(func(c *tls.Config) {
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, version
		if version < tls.VersionTLS12 {
			c.NextProtos = []string{"http/1.1"}
		}
	})
}

// below goes on over a connection that does something to the bytes of TLS.
func below(wrap func(net.Conn) net.Conn) TLSFault {
	return func(next Handshake) Handshake {
		return func(h *Hello) net.Conn {
			h.Conn = wrap(h.Conn)
			return next(h)
		}
	}
}

// instead does something with the connection instead of the handshake, and closes it.
func instead(do func(net.Conn)) TLSFault {
	return func(Handshake) Handshake {
		return func(h *Hello) net.Conn {
			do(h.raw)
			h.raw.Close()
			return nil
		}
	}
}

// awaitEnd waits until the client ends the connection.
func awaitEnd(c net.Conn) { io.Copy(io.Discard, c) }

// reset makes the end of a connection a TCP reset, if the connection can do that as a [net.TCPConn] can.
func reset(c net.Conn) {
	if tcp, ok := c.(interface{ SetLinger(int) error }); ok {
		tcp.SetLinger(0)
	}
}

// announceH2 agrees on HTTP/2 and hands the connection on as one of HTTP/1.1: a server that gets no [tls.Conn]
// cannot know better.
func announceH2(next Handshake) Handshake {
	return func(h *Hello) net.Conn {
		h.Config.NextProtos = []string{"h2"}
		if c := next(h); c != nil {
			return struct{ net.Conn }{c}
		}
		return nil
	}
}

// The frames with which a server of HTTP/2 begins, and at once refuses to go on: SETTINGS and GOAWAY with
// PROTOCOL_ERROR, RFC 9113, sections 6.5 and 6.8.
const (
	settingsFrame = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	goAwayFrame   = "\x00\x00\x08\x07\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x01"
)

// speakH2 agrees on HTTP/1.1 and then does as a server of HTTP/2 whose client does not begin with its preface.
func speakH2(next Handshake) Handshake {
	return func(h *Hello) net.Conn {
		h.Config.NextProtos = []string{"http/1.1"}
		c := next(h)
		if c == nil {
			return nil
		}
		defer c.Close()
		if _, err := c.Read(make([]byte, len("PRI"))); err == nil {
			io.WriteString(c, settingsFrame+goAwayFrame)
		}
		return nil
	}
}

// A corruptConn gives the first record that is sent after so many bytes a wrong MAC. It relies on a [tls.Conn]
// to write whole records.
type corruptConn struct {
	net.Conn
	left int64
	done bool
}

func (c *corruptConn) Write(b []byte) (int, error) {
	if c.left -= int64(len(b)); c.left < 0 && !c.done {
		c.done = true
		b = slices.Clone(b)
		b[len(b)-1] ^= 1
	}
	return c.Conn.Write(b)
}

// A oneRecordConn sends the first record, and swallows what follows.
type oneRecordConn struct {
	net.Conn
	sent bool
}

func (c *oneRecordConn) Write(b []byte) (int, error) {
	const header = 5 // type, version and length: RFC 8446, section 5.1
	if c.sent || len(b) < header {
		return len(b), nil
	}
	c.sent = true
	record := min(len(b), header+int(b[3])<<8+int(b[4]))
	if n, err := c.Conn.Write(b[:record]); err != nil {
		return n, err
	}
	return len(b), nil
}

// A tlsListener makes the handshakes of the connections that another listener accepts.
type tlsListener struct {
	net.Listener
	config *tls.Config
	answer Handshake
	ready  chan net.Conn
	done   chan struct{} // closed when the other listener has ended
	err    error         // how; set before done is closed
}

// NewTLSListener is [tls.NewListener] for a server with faults. The first fault is the innermost. It owns
// the listener. A connection that a fault holds in its handshake ends when its client wants it to.
//
// For HTTP/2, "h2" must be among the NextProtos of the config, and the server be started with
// [net/http.Server.Serve].
func NewTLSListener(l net.Listener, config *tls.Config, faults ...TLSFault) net.Listener {
	answer := Handshake(func(h *Hello) net.Conn { return tls.Server(h.Conn, h.Config) })
	for _, f := range faults {
		answer = f(answer)
	}
	t := &tlsListener{Listener: l, config: config, answer: answer, ready: make(chan net.Conn), done: make(chan struct{})}
	go t.run()
	return t
}

func (l *tlsListener) run() {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			l.err = err
			close(l.done)
			return
		}
		go l.greet(conn)
	}
}

func (l *tlsListener) greet(conn net.Conn) {
	secured := l.answer(readHello(conn, l.config))
	if secured == nil {
		return
	}
	select {
	case l.ready <- secured:
	case <-l.done:
		secured.Close()
	}
}

// Accept waits for a connection whose ClientHello has come and was answered.
func (l *tlsListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		return nil, l.err
	}
}

// errRead ends a handshake whose ClientHello is all that is wanted.
var errRead = errors.New("the ClientHello has been read")

// readHello waits for the ClientHello of a connection.
func readHello(conn net.Conn, config *tls.Config) *Hello {
	h := &Hello{Config: config.Clone(), raw: conn}
	var seen bytes.Buffer
	reader := &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		h.ServerName = info.ServerName
		return nil, errRead
	}}
	// What is no ClientHello is as bad for the honest server, which gets to see all of it.
	_ = tls.Server(&peekConn{conn, io.TeeReader(conn, &seen)}, reader).Handshake()
	h.Conn = &replayConn{conn, io.MultiReader(&seen, conn)}
	return h
}

// A peekConn reads from a reader, and says nothing.
type peekConn struct {
	net.Conn
	io.Reader
}

func (c *peekConn) Read(b []byte) (int, error)  { return c.Reader.Read(b) }
func (c *peekConn) Write(b []byte) (int, error) { return len(b), nil }

// A replayConn reads from a reader.
type replayConn struct {
	net.Conn
	io.Reader
}

func (c *replayConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }
