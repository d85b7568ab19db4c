package fakeupstream_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/proxy"

	"github.com/simrun/simrun/fakeupstream"
)

// proxied returns a client of a forward proxy at a URL, which trusts ca.
func proxied(t *testing.T, address string, ca *fakeupstream.CA) *http.Client {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	transport := &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: pool(t, ca)}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// dialTo returns a Dial that finds every host at one server.
func dialTo(server *httptest.Server) fakeupstream.Dial {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
}

// serveRefusing serves a forward proxy with a fault around its requests, nil for none, and returns its URL.
func serveRefusing(t *testing.T, dial fakeupstream.Dial, wrong fakeupstream.Middleware) (address string) {
	t.Helper()
	var h http.Handler = &fakeupstream.ForwardProxy{Dial: dial}
	if wrong != nil {
		h = wrong(h)
	}
	return serveForward(t, h)
}

func TestDialFaults(t *testing.T) {
	ca := newCA(t)
	far := serveTLS(t, ca, known, "site.test", "other.test")
	not := func(name string) func(string) bool {
		return func(addr string) bool { return strings.HasPrefix(addr, name) }
	}
	for name, c := range map[string]struct {
		fault fakeupstream.DialFault
		words string
	}{
		"refuse": {fakeupstream.RefuseHosts(), "Forbidden"},
		"close":  {fakeupstream.CloseTunnels(), "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			dial := fakeupstream.WhenDial(not("site.test"), c.fault)(dialTo(far))
			client := proxied(t, serveRefusing(t, dial, nil), ca)
			_, err := client.Get("https://site.test/")
			assert.ErrorContains(t, err, c.words)
			_, body, err := get(t, client, "https://other.test/")
			require.NoError(t, err)
			assert.True(t, text == body)
		})
	}
}

// TestStallTunnels waits for the client to lose patience, and wants the proxy to end with it.
func TestStallTunnels(t *testing.T) {
	dial := fakeupstream.StallTunnels()(nil)
	conn, reader := rawTunnel(t, serveRefusing(t, dial, nil), "site.test:443", "")
	fmt.Fprint(conn, "anybody there?")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := reader.ReadByte()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, conn.CloseWrite())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err = reader.ReadByte()
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the proxy keeps a tunnel whose client has ended")
}

func TestDemandLogin(t *testing.T) {
	ca := newCA(t)
	far := serveTLS(t, ca, known, "site.test")
	address := serveRefusing(t, dialTo(far), fakeupstream.DemandLogin("alice:open:sesame"))
	for login, words := range map[string]string{
		"": "Proxy Authentication Required", "alice:sesame@": "Proxy Authentication Required", "alice:open%3Asesame@": ""} {
		client := proxied(t, strings.Replace(address, "://", "://"+login, 1), ca)
		_, err := client.Get("https://site.test/")
		if words == "" {
			assert.NoError(t, err, login)
			continue
		}
		assert.ErrorContains(t, err, words, login)
	}
}

func TestRefuseConnect(t *testing.T) {
	far := httptest.NewServer(known)
	defer far.Close()
	for _, status := range []int{400, 405, 407, 502} {
		client := proxied(t, serveRefusing(t, dialTo(far), fakeupstream.RefuseConnect(status)), newCA(t))
		_, err := client.Get("https://site.test/")
		assert.ErrorContains(t, err, http.StatusText(status))
		_, body, err := get(t, client, "http://site.test/")
		require.NoError(t, err, "no tunnel is needed")
		assert.True(t, text == body)
	}
}

func TestInterceptor(t *testing.T) {
	ca := newCA(t)
	box, err := fakeupstream.NewInterceptor(time.Now())
	require.NoError(t, err)
	far := serveTLS(t, ca, known, "site.test")
	var seen fakeupstream.Log
	proxy := httptest.NewServer(&fakeupstream.Interceptor{
		Dial: dialTo(far), Roots: pool(t, ca), Observe: seen.Observe, ErrorLog: log.New(t.Output(), "", 0),
		Certificate: func(host string, _ *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if host == "unknown.test" {
				return nil, errors.New("unknown")
			}
			leaf, err := box.Leaf(host)
			return &leaf, err
		},
	})
	defer proxy.Close()
	trusting := proxied(t, proxy.URL, box)
	for range 2 {
		resp, body, err := get(t, trusting, "https://site.test/page?q=1")
		require.NoError(t, err)
		assert.True(t, text == body)
		assert.Contains(t, resp.TLS.PeerCertificates[0].Issuer.CommonName, "inspection")
	}
	requests := seen.Requests()
	require.Len(t, requests, 2)
	assert.Equal(t, []string{"site.test", "GET", "/page?q=1"}, []string{requests[0].Host, requests[0].Method, requests[0].Path})

	resp, _, err := get(t, trusting, "https://wrong.test/")
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadGateway, resp.StatusCode, "the far host has no certificate for that name")

	_, err = trusting.Get("https://unknown.test/")
	assert.ErrorContains(t, err, "remote error: tls: ")
	_, err = proxied(t, proxy.URL, ca).Get("https://site.test/")
	var unknown x509.UnknownAuthorityError
	assert.ErrorAs(t, err, &unknown)
	resp, _, err = get(t, trusting, "http://site.test/")
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadRequest, resp.StatusCode)
}

// serveSOCKS returns the host:port of a proxy.
func serveSOCKS(t *testing.T, p *fakeupstream.SOCKSProxy) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go p.Serve(l)
	return l.Addr().String()
}

func TestSOCKSProxy(t *testing.T) {
	ca := newCA(t)
	far := serveTLS(t, ca, known, "site.test")
	var seen fakeupstream.Log
	var asked []string
	address := serveSOCKS(t, &fakeupstream.SOCKSProxy{Log: &seen, Login: func() string { return "alice:opensesame" },
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			asked = append(asked, addr)
			return dialTo(far)(ctx, network, addr)
		}})
	client := proxied(t, "socks5://alice:opensesame@"+address, ca)
	_, body, err := get(t, client, "https://site.test/")
	require.NoError(t, err)
	assert.True(t, text == body)
	assert.Equal(t, []string{"site.test:443"}, asked, "the name is the proxy's to look up")
	require.Len(t, seen.Requests(), 1)
	r := seen.Requests()[0]
	assert.Equal(t, []any{"CONNECT", "SOCKS5", "site.test:443", 200}, []any{r.Method, r.Proto, r.Path, r.Status})
	assert.True(t, r.Remote.IsValid() && r.Local.IsValid())

	for _, login := range []string{"alice:sesame@", ""} {
		_, err = proxied(t, "socks5://"+login+address, ca).Get("https://site.test/")
		assert.ErrorContains(t, err, "socks connect", login)
	}
}

func TestSOCKSReplies(t *testing.T) {
	for _, c := range []struct {
		err   error
		words string
	}{
		{&fakeupstream.Refusal{Status: 403, Reason: "no"}, "connection not allowed by ruleset"},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "connection refused"},
		{os.NewSyscallError("connect", syscall.ENETUNREACH), "network unreachable"},
		{os.NewSyscallError("connect", syscall.EHOSTUNREACH), "host unreachable"},
		{&net.DNSError{Name: "site.test", IsNotFound: true}, "host unreachable"},
		{context.DeadlineExceeded, "TTL expired"},
		{errors.New("whatever"), "general SOCKS server failure"},
	} {
		address := serveSOCKS(t, &fakeupstream.SOCKSProxy{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, c.err }})
		dialer, err := proxy.SOCKS5("tcp", address, nil, nil)
		require.NoError(t, err)
		for _, target := range []string{"site.test:443", "192.0.2.1:443", "[2001:db8::1]:443"} {
			_, err = dialer.Dial("tcp", target)
			assert.ErrorContains(t, err, c.words)
		}
	}
}

// FuzzSOCKSProxy checks that no client brings the proxy down or makes it wait for ever once it has gone.
func FuzzSOCKSProxy(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x09site.test\x01\xbb"))
	f.Add([]byte("\x05\x01\x02\x01\x05alice\x01x"))
	f.Add([]byte("\x04\x01\x00\x50\xc0\x00\x02\x01\x00"))
	f.Add([]byte("CONNECT site.test:443 HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, words []byte) {
		address := serveSOCKS(t, &fakeupstream.SOCKSProxy{Dial: fakeupstream.CloseTunnels()(nil)})
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer conn.Close()
		conn.Write(words)
		conn.(*net.TCPConn).CloseWrite() // it fails where the proxy has ended the connection already
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
		for buffer := make([]byte, 512); err == nil; {
			_, err = conn.Read(buffer)
		}
		assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

// A forward proxy that lets nobody reach one host.
func ExampleWhenDial() {
	closed := func(addr string) bool { return addr == "mirror.example:443" }
	dial := fakeupstream.WhenDial(closed, fakeupstream.RefuseHosts())(new(net.Dialer).DialContext)
	server := httptest.NewServer(&fakeupstream.ForwardProxy{Dial: dial})
	defer server.Close()
	address, _ := url.Parse(server.URL)
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(address)}}
	_, err := client.Get("https://mirror.example/")
	fmt.Println(errors.Unwrap(err))
	// Output: Forbidden
}

// A proxy of SOCKS that wants a login.
func ExampleSOCKSProxy() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	p := &fakeupstream.SOCKSProxy{Login: func() string { return "alice:opensesame" }}
	go p.Serve(l)
	dialer, err := proxy.SOCKS5("tcp", l.Addr().String(), &proxy.Auth{User: "alice", Password: "guess"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = dialer.Dial("tcp", "mirror.example:443")
	fmt.Println(err != nil)
	// Output: true
}
