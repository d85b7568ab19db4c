package fakeupstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"sync"
	"time"
)

// A ForwardProxy is an http.Handler that acts as the proxy of HTTP_PROXY and HTTPS_PROXY: it opens
// tunnels for CONNECT over HTTP/1.1 and forwards requests whose target is a whole http:// URL.
// It takes whoever asks to wherever they ask; the network that it dials in is its fence.
// Its fields must not be changed once it serves.
type ForwardProxy struct {
	// Dial opens the connection to the host that a client asks for. Nil means a net.Dialer.
	// An error that is a [Refusal] says what to answer.
	Dial Dial

	// OnTunnel is called for each connection that Dial opened, before anything goes through it, from many
	// goroutines at once. Nil means nobody wants to know.
	OnTunnel func(Tunnel)
}

// A Tunnel says on whose behalf a ForwardProxy opened a connection.
type Tunnel struct {
	Client netip.AddrPort // the client, as the proxy sees it
	Local  netip.AddrPort // the proxy, as the target sees it; zero if the connection has no such address
	Target string         // host:port as the client wrote it
}

// ServeHTTP answers 502 with the reason as text if the target cannot be reached, or as a [Refusal] says.
// A tunnel passes on the end of either direction by itself, and is closed when both have ended, when
// either fails, or when the request's context ends; see [http.Server.BaseContext], because
// [http.Server.Close] knows nothing of tunnels. ServeHTTP returns when the tunnel is closed.
func (p *ForwardProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		p.connect(w, r)
	case r.URL.Scheme == "http" && r.URL.Host != "":
		p.forward(w, r)
	default:
		http.Error(w, fmt.Sprintf("a forward proxy does not serve %q itself", r.URL), http.StatusBadRequest)
	}
}

func (p *ForwardProxy) dial(r *http.Request, network, addr string) (net.Conn, error) {
	dial := p.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(r.Context(), network, addr)
	if err != nil {
		return nil, err
	}
	if p.OnTunnel != nil {
		client, _ := netip.ParseAddrPort(r.RemoteAddr)
		p.OnTunnel(Tunnel{Client: client, Local: addrPort(conn.LocalAddr()), Target: addr})
	}
	return conn, nil
}

func addrPort(addr net.Addr) netip.AddrPort {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	// net.TCPAddr holds IPv4 addresses in their IPv6 form, which would equal no parsed address.
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func (p *ForwardProxy) connect(w http.ResponseWriter, r *http.Request) {
	upstream, err := p.dial(r, "tcp", r.Host)
	if err != nil {
		badGateway(w, r, err)
		return
	}
	defer upstream.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "CONNECT needs HTTP/1.1: "+err.Error(), http.StatusHTTPVersionNotSupported)
		return
	}
	defer client.Close()
	client.SetDeadline(time.Time{}) // the server's own deadlines are not for tunnels
	if _, err := io.WriteString(client, established); err != nil {
		return
	}
	tunnel(r.Context(), client, readAhead(client, buffered.Reader), upstream)
}

// established is the answer to a CONNECT that opens a tunnel.
const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// readAhead returns what a client sends, beginning with what the server has already read of it. Only that
// part may be read through buffered: at the end of the connection it would cancel the request's context,
// as if nobody waited for the answer, when the client has only ended its own direction.
func readAhead(client net.Conn, buffered *bufio.Reader) io.Reader {
	early, _ := buffered.Peek(buffered.Buffered())
	return io.MultiReader(bytes.NewReader(early), client)
}

// tunnel copies both ways until both have ended or ctx is done. It closes neither connection if both
// ways ended well.
func tunnel(ctx context.Context, client net.Conn, fromClient io.Reader, upstream net.Conn) {
	abort := func() {
		client.Close()
		upstream.Close()
	}
	defer context.AfterFunc(ctx, abort)()
	var up sync.WaitGroup
	up.Go(func() { copyHalf(upstream, fromClient, abort) })
	copyHalf(client, upstream, abort)
	up.Wait()
}

// copyHalf copies until src ends, and then ends dst's direction. If it cannot, it ends both by abort.
func copyHalf(dst net.Conn, src io.Reader, abort func()) {
	if _, err := io.Copy(dst, src); err != nil {
		abort()
		return
	}
	half, ok := dst.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		abort()
	}
}

// forward takes one request to its target, on a connection of its own.
func (p *ForwardProxy) forward(w http.ResponseWriter, r *http.Request) {
	transport := &http.Transport{
		DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			return p.dial(r, network, addr)
		},
		DisableKeepAlives:  true,
		DisableCompression: true,
	}
	proxy := httputil.ReverseProxy{ // removes the hop-by-hop headers of RFC 9110 section 7.6.1
		Rewrite:       func(out *httputil.ProxyRequest) { out.Out.Header.Add("Via", "1.1 fakeupstream") },
		Transport:     transport,
		FlushInterval: -1,
		ErrorHandler:  badGateway,
	}
	proxy.ServeHTTP(w, r)
}

func badGateway(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		http.Error(w, refusal.Reason, refusal.Status)
		return
	}
	http.Error(w, fmt.Sprintf("cannot reach %s: %v", r.Host, err), http.StatusBadGateway)
}
