package dnsfake

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/miekg/dns"
)

// A Server serves one handler over UDP and TCP. Its methods may be called concurrently.
//
// It does without [dns.Server], which wakes up every two seconds, answers the queries of a TCP connection
// one after the other, and cannot tell a handler that it is being shut down.
type Server struct {
	addr    string
	handler dns.Handler
	ctx     context.Context // ends when the server closes
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
}

// Listen listens on addr, such as "127.0.0.1:0", with UDP and TCP on the same port, and serves h.
// When it returns, queries are being accepted.
func Listen(addr string, h dns.Handler) (*Server, error) {
	const attempts = 10 // a port that is free for TCP may be taken for UDP
	var err error
	for range attempts {
		var pc net.PacketConn
		var l net.Listener
		if pc, l, err = listen(addr); err == nil {
			return Serve(pc, l, h), nil
		}
		if _, port, _ := net.SplitHostPort(addr); port != "0" {
			break // the next attempt would meet the same port
		}
	}
	return nil, fmt.Errorf("listen for DNS on %q: %w", addr, err)
}

func listen(addr string) (net.PacketConn, net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	pc, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return pc, l, nil
}

// Serve serves h on sockets that listen already, and takes ownership of them. Either may be nil: a server
// without a listener is one that cannot be asked over TCP. Datagrams are answered through pc's own address,
// so on a machine with several addresses pc should be bound to one.
func Serve(pc net.PacketConn, l net.Listener, h dns.Handler) *Server {
	s := &Server{handler: h}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	if l != nil {
		s.addr = l.Addr().String()
		s.closeAtEnd(l)
		s.running.Go(func() { s.serveTCP(l) })
	}
	if pc != nil {
		s.addr = pc.LocalAddr().String()
		s.closeAtEnd(pc)
		s.running.Go(func() { s.serveUDP(pc) })
	}
	return s
}

// closeAtEnd closes c when the server closes.
func (s *Server) closeAtEnd(c io.Closer) (stop func() bool) {
	return context.AfterFunc(s.ctx, func() { _ = c.Close() })
}

// Addr returns the address that is served, as "host:port".
func (s *Server) Addr() string { return s.addr }

// Close stops the server, and waits until no handler runs any more. It returns the error because of which
// the server had stopped listening earlier, if any. It may be called several times.
func (s *Server) Close() error {
	s.cancel(net.ErrClosed)
	s.running.Wait()
	if err := context.Cause(s.ctx); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *Server) serveUDP(pc net.PacketConn) {
	buf := make([]byte, dns.MaxMsgSize)
	for {
		n, client, err := pc.ReadFrom(buf)
		if err != nil {
			s.cancel(fmt.Errorf("read DNS query: %w", err))
			return
		}
		query := append([]byte(nil), buf[:n]...)
		w := &responseWriter{server: s, local: pc.LocalAddr(), client: client}
		w.write = func(b []byte) (int, error) { return pc.WriteTo(b, client) }
		s.running.Go(func() { s.serve(w, query) })
	}
}

func (s *Server) serveTCP(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			s.cancel(fmt.Errorf("accept DNS connection: %w", err))
			return
		}
		s.running.Go(func() { s.serveConn(conn) })
	}
}

func (s *Server) serveConn(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	defer s.closeAtEnd(conn)()
	w := &responseWriter{server: s, local: conn.LocalAddr(), client: conn.RemoteAddr()}
	w.write = func(b []byte) (int, error) { return conn.Write(framed(b)) }
	var answers sync.WaitGroup
	defer answers.Wait() // before conn is closed: the client may have closed only its own half
	for {
		query, err := readFramed(conn)
		if err != nil {
			return
		}
		answers.Go(func() { s.serve(w, query) })
	}
}

// readFramed reads a message with the length in front of it that RFC 1035 section 4.2.2 asks for.
func readFramed(r io.Reader) ([]byte, error) {
	var length uint16
	if err := binary.Read(r, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	msg := make([]byte, length)
	_, err := io.ReadFull(r, msg)
	return msg, err
}

// framed returns msg with its length in front of it, so that one Write sends it whole and answers that are
// ready at the same time do not mix.
func framed(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

// serve answers the message in b, whatever it holds. Handlers get to see messages with one question only:
// no others are in use (RFC 9619), and what middlewares are made of may rely on it.
func (s *Server) serve(w dns.ResponseWriter, b []byte) {
	const headerSize = 12
	q := new(dns.Msg)
	err := q.Unpack(b)
	switch {
	case len(b) < headerSize || q.Response:
		// Without a header there is nothing to refer to, and answers are never answered.
	case err != nil || len(q.Question) != 1:
		_ = w.WriteMsg(new(dns.Msg).SetRcodeFormatError(q))
	default:
		s.handler.ServeDNS(&cutter{wrapper{w}, q}, q)
	}
}

// cutter is a response writer that cuts messages to what the client takes if the way is UDP. It leaves raw
// bytes alone.
type cutter struct {
	wrapper
	query *dns.Msg
}

// WriteMsg implements [dns.ResponseWriter].
func (c *cutter) WriteMsg(m *dns.Msg) error {
	if network(c) == "udp" {
		m.Truncate(udpSize(c.query))
	}
	return c.ResponseWriter.WriteMsg(m)
}

// responseWriter is the [dns.ResponseWriter] of a Server. It has no TSIG.
type responseWriter struct {
	server        *Server
	local, client net.Addr
	write         func([]byte) (int, error)
}

func (w *responseWriter) LocalAddr() net.Addr  { return w.local }
func (w *responseWriter) RemoteAddr() net.Addr { return w.client }

func (w *responseWriter) WriteMsg(m *dns.Msg) error {
	b, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = w.write(b)
	return err
}

func (w *responseWriter) Write(b []byte) (int, error) { return w.write(b) }
func (w *responseWriter) Close() error                { return nil }
func (w *responseWriter) TsigStatus() error           { return nil }
func (w *responseWriter) TsigTimersOnly(bool)         {}
func (w *responseWriter) Hijack()                     {}

func (w *responseWriter) closing() <-chan struct{} { return w.server.ctx.Done() }
