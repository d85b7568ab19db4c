package fakeupstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
)

// TestForwardProxyTunnels goes through a tunnel to a server over TLS.
func TestForwardProxyTunnels(t *testing.T) {
	in := newInternet(t, map[string]http.Handler{"site.test": known})
	var mu sync.Mutex
	var tunnels []fakeupstream.Tunnel
	in.forward.OnTunnel = func(tunnel fakeupstream.Tunnel) {
		mu.Lock()
		defer mu.Unlock()
		tunnels = append(tunnels, tunnel)
	}
	client := in.client(t)
	resp, body, err := get(t, client, "https://site.test/")
	require.NoError(t, err)
	assert.True(t, text == body)
	assert.Equal(t, "HTTP/2.0", resp.Proto)

	mu.Lock()
	defer mu.Unlock()
	require.Len(t, tunnels, 1)
	assert.Equal(t, "site.test:443", tunnels[0].Target)
	assert.Equal(t, in.log.Requests()[0].Remote, tunnels[0].Local, "it leads from the server's log to the client")
	assert.True(t, tunnels[0].Client.IsValid())
	assert.NotEqual(t, tunnels[0].Client, tunnels[0].Local)

	_, err = client.Get("https://other.test/")
	assert.ErrorContains(t, err, "Bad Gateway")
}

// rawTunnel opens a tunnel to addr and returns the client's connection, ready for its own bytes.
func rawTunnel(t *testing.T, proxy, addr, early string) (*net.TCPConn, *bufio.Reader) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(proxy, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n%s", addr, early)
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	return conn.(*net.TCPConn), reader
}

// serveTCP runs handle on the first connection to a new address. A tunnel's end is in its hands.
func serveTCP(t *testing.T, handle func(*net.TCPConn)) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		handle(conn.(*net.TCPConn))
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// The client ends its direction first and still gets the answer; what it sent along with its CONNECT
// is not lost.
func TestForwardProxyHalfClose(t *testing.T) {
	addr := serveTCP(t, func(conn *net.TCPConn) {
		all, err := io.ReadAll(conn)
		assert.NoError(t, err)
		fmt.Fprintf(conn, "got %q", all)
	})
	var log fakeupstream.Log
	proxy := serveForward(t, log.Observe(&fakeupstream.ForwardProxy{}))
	conn, reader := rawTunnel(t, proxy, addr, "early ")
	_, err := io.WriteString(conn, "late")
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	answer, err := io.ReadAll(reader)
	require.NoError(t, err)
	assert.Equal(t, `got "early late"`, string(answer))

	r := ended(t, &log)[0]
	assert.Equal(t, "CONNECT", r.Method)
	assert.Equal(t, addr, r.Path)
	assert.Equal(t, 200, r.Status)
	assert.Empty(t, r.Err)
}

// A failure on one side ends the other.
func TestForwardProxyPassesOnFailures(t *testing.T) {
	addr := serveTCP(t, func(conn *net.TCPConn) {
		conn.SetLinger(0) // so that the deferred Close resets
		io.ReadFull(conn, make([]byte, 1))
	})
	_, reader := rawTunnel(t, serveForward(t, &fakeupstream.ForwardProxy{}), addr, "x")
	_, err := reader.ReadByte()
	assert.Error(t, err)
}

// An idle tunnel ends with the context of the server, and its handler returns.
func TestForwardProxyEndsWithItsContext(t *testing.T) {
	addr := serveTCP(t, func(conn *net.TCPConn) { io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(returned)
		new(fakeupstream.ForwardProxy).ServeHTTP(w, r)
	}))
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	defer server.Close()
	_, reader := rawTunnel(t, server.URL, addr, "")
	cancel()
	_, err := reader.ReadByte()
	assert.Error(t, err)
	<-returned
}

func TestForwardProxyForwards(t *testing.T) {
	var got http.Header
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("X-End", "to end")
		fmt.Fprintf(w, "%s %s", r.Host, r.RequestURI)
	}))
	defer site.Close()
	var targets []string
	forward := &fakeupstream.ForwardProxy{
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, site.Listener.Addr().String())
		},
		OnTunnel: func(tunnel fakeupstream.Tunnel) { targets = append(targets, tunnel.Target) },
	}
	proxy, err := url.Parse(serveForward(t, forward))
	require.NoError(t, err)
	transport := &http.Transport{Proxy: http.ProxyURL(proxy)}
	defer transport.CloseIdleConnections()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://site.test/a%20b?c=d", nil)
	require.NoError(t, err)
	req.Header.Set("Connection", "X-Private")
	req.Header.Set("X-Private", "this link only")
	req.Header.Set("Proxy-Authorization", "Basic Zm9vOmJhcg==")
	req.Header.Set("X-End", "to end")
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := readAll(resp)
	require.NoError(t, err)

	assert.Equal(t, "site.test /a%20b?c=d", body)
	assert.Equal(t, []string{"site.test:80"}, targets)
	assert.Equal(t, "to end", got.Get("X-End"))
	assert.Equal(t, "1.1 fakeupstream", got.Get("Via"))
	assert.Empty(t, got.Get("X-Private"))
	assert.Empty(t, got.Get("Proxy-Authorization"))
	assert.Equal(t, "to end", resp.Header.Get("X-End"))
	assert.Empty(t, resp.Header.Get("Keep-Alive"))
}

func TestForwardProxyRefuses(t *testing.T) {
	forward := &fakeupstream.ForwardProxy{
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") },
	}
	proxy := serveForward(t, forward)
	resp, body, err := get(t, http.DefaultClient, proxy+"/local")
	require.NoError(t, err)
	assert.Equal(t, 400, resp.StatusCode)
	assert.Contains(t, body, `does not serve "/local"`)

	w := httptest.NewRecorder()
	forward.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://site.test/", nil))
	assert.Equal(t, 502, w.Code)
	assert.Equal(t, "cannot reach site.test: no route\n", w.Body.String())

	w = httptest.NewRecorder() // which is no Hijacker, like an HTTP/2 stream
	client, server := net.Pipe()
	defer client.Close()
	forward.Dial = func(context.Context, string, string) (net.Conn, error) { return server, nil }
	forward.ServeHTTP(w, httptest.NewRequest(http.MethodConnect, "site.test:443", nil))
	assert.Equal(t, 505, w.Code)
}
