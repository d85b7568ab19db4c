package fakeupstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"
)

// An Interceptor is an http.Handler that answers CONNECT as a forward proxy does that inspects TLS: it ends the
// client's TLS itself, with a certificate for whatever host the client wants, reads the requests, and takes them
// to that host over TLS of its own. It speaks HTTP/1.1 to both sides. Its fields must not be changed once it
// serves.
type Interceptor struct {
	// Dial opens the connection to the far host. Nil means a net.Dialer.
	Dial Dial

	// Roots are the authorities of which the far hosts must have a certificate. Nil means those of the system.
	Roots *x509.CertPool

	// Certificate returns the one to show to a client that asks for a host. An error ends the handshake.
	Certificate func(host string, hello *tls.ClientHelloInfo) (*tls.Certificate, error)

	// Observe, if not nil, is put around the handler of the requests inside the tunnels.
	Observe func(http.Handler) http.Handler

	// ErrorLog gets what goes wrong on the client's side. Nil means the standard logger.
	ErrorLog *log.Logger
}

// ServeHTTP answers 200 to CONNECT before it knows whether the far host can be reached; if it cannot, the requests
// in the tunnel get 502. It returns when the client has ended the connection.
func (i *Interceptor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := r.Host
	name, _, err := net.SplitHostPort(target)
	if err != nil || !isConnect(r) {
		http.Error(w, "an interceptor is for CONNECT host:port", http.StatusBadRequest)
		return
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "CONNECT needs HTTP/1.1: "+err.Error(), http.StatusHTTPVersionNotSupported)
		return
	}
	defer client.Close()
	client.SetDeadline(time.Time{})
	if _, err := io.WriteString(client, established); err != nil {
		return
	}
	inner := tls.Server(&earlyConn{client, readAhead(client, buffered.Reader)}, &tls.Config{
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if h.ServerName != "" {
				name = h.ServerName
			}
			return i.Certificate(name, h)
		},
	})
	i.serve(r.Context(), inner, target)
}

// serve answers the requests that come over one connection.
func (i *Interceptor) serve(ctx context.Context, conn *tls.Conn, target string) {
	transport := i.transport(target)
	defer transport.CloseIdleConnections()
	var handler http.Handler = &httputil.ReverseProxy{
		Rewrite: func(out *httputil.ProxyRequest) {
			out.Out.URL.Scheme, out.Out.URL.Host = "https", out.In.Host
			out.Out.Header.Add("Via", "1.1 fakeupstream")
		},
		Transport:     transport,
		FlushInterval: -1,
		ErrorHandler:  badGateway,
	}
	if i.Observe != nil {
		handler = i.Observe(handler)
	}
	l := newOneConn(conn)
	server := &http.Server{Handler: handler, ConnState: l.state, ErrorLog: i.ErrorLog,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	_ = server.Serve(l) // it ends with the connection
}

// transport returns what takes requests to the far host at an address, whatever name they are for.
func (i *Interceptor) transport(target string) *http.Transport {
	dial := i.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dial(ctx, network, target)
		},
		TLSClientConfig:    &tls.Config{RootCAs: i.Roots},
		DisableCompression: true,
	}
}

// An earlyConn is a connection of which a part has been read already.
type earlyConn struct {
	net.Conn
	all io.Reader // that part, and then the connection
}

func (c *earlyConn) Read(b []byte) (int, error) { return c.all.Read(b) }

// A oneConn is a listener of one connection, that ends when the connection has.
type oneConn struct {
	conn  net.Conn
	ready chan net.Conn
	done  chan struct{}
	end   sync.Once
}

func newOneConn(c net.Conn) *oneConn {
	l := &oneConn{conn: c, ready: make(chan net.Conn, 1), done: make(chan struct{})}
	l.ready <- c
	return l
}

func (l *oneConn) state(_ net.Conn, s http.ConnState) {
	if s == http.StateClosed || s == http.StateHijacked {
		l.Close()
	}
}

// Accept returns the connection, and then waits for its end.
func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		return nil, errConnEnded
	}
}

var errConnEnded = errors.New("the only connection has ended")

func (l *oneConn) Close() error   { l.end.Do(func() { close(l.done) }); return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }
