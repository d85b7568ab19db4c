package pac

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// A town is an agent, its client, and hosts with names: an address without a server refuses connections.
type town struct {
	client *http.Client
	hosts  map[string]*httptest.Server // by host:port

	mu      sync.Mutex
	choices []Choice
}

func newTown(t *testing.T, p scenarios.PAC) *town {
	t.Helper()
	tn := &town{hosts: map[string]*httptest.Server{}}
	if p.Timeout == 0 {
		p.Timeout = time.Minute
	}
	far := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "far "+r.URL.Path) }))
	t.Cleanup(far.Close)
	plain := httptest.NewServer(far.Config.Handler)
	t.Cleanup(plain.Close)
	tn.hosts["far.example:443"], tn.hosts["far.example:80"] = far, plain
	agent := httptest.NewServer(&Agent{PAC: p, Host: testHost(t), Dial: tn.dial, Report: func(c Choice) {
		tn.mu.Lock()
		defer tn.mu.Unlock()
		tn.choices = append(tn.choices, c)
	}})
	t.Cleanup(agent.Close)
	address, err := url.Parse(agent.URL)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(far.Certificate())
	tn.client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(address), DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}}}
	return tn
}

func (tn *town) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	server := tn.hosts[addr]
	if server == nil {
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
}

// addProxy adds an honest forward proxy that finds the hosts of the town, with what is wrong with it.
func (tn *town) addProxy(t *testing.T, addr string, wrong ...fakeupstream.Middleware) {
	t.Helper()
	var h http.Handler = &fakeupstream.ForwardProxy{Dial: tn.dial}
	for _, m := range wrong {
		h = m(h)
	}
	tn.hosts[addr] = httptest.NewServer(h)
	t.Cleanup(tn.hosts[addr].Close)
}

// get returns the body, or what the client says.
func (tn *town) get(t *testing.T, url string) string {
	t.Helper()
	resp, err := tn.client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

func (tn *town) last(t *testing.T) Choice {
	t.Helper()
	tn.mu.Lock()
	defer tn.mu.Unlock()
	require.NotEmpty(t, tn.choices)
	return tn.choices[len(tn.choices)-1]
}

func TestAgentTakesTheNextWay(t *testing.T) {
	tn := newTown(t, scenarios.PAC{Result: "PROXY dead.example:1; PROXY good.example:1", Policy: scenarios.PACChromium})
	tn.addProxy(t, "good.example:1")
	for url, target := range map[string]string{"https://far.example/x": "far.example:443", "http://far.example/x": "far.example:80"} {
		require.Equal(t, "far /x", tn.get(t, url))
		assert.Equal(t, target, tn.last(t).Target)
		assert.Equal(t, "PROXY good.example:1", tn.last(t).Way)
	}
	assert.Len(t, tn.choices[0].Failed, 1)
	assert.Empty(t, tn.choices[1].Failed, "it remembers")
}

func TestAgentTakesARefusalForFinal(t *testing.T) {
	tn := newTown(t, scenarios.PAC{Result: "PROXY closed.example:1; DIRECT", Policy: scenarios.PACChromium})
	tn.addProxy(t, "closed.example:1", fakeupstream.RefuseConnect(403))
	assert.Contains(t, tn.get(t, "https://far.example/x"), "Forbidden")
	assert.Equal(t, "PROXY closed.example:1", tn.last(t).Way)
	assert.Empty(t, tn.last(t).Failed)
	require.Equal(t, "far /x", tn.get(t, "http://far.example/x"))
}

func TestAgentWithoutAWay(t *testing.T) {
	tn := newTown(t, scenarios.PAC{Result: "PROXY dead.example:1; SOCKS dead.example; HTTPS dead.example", Policy: scenarios.PACChromium})
	assert.Contains(t, tn.get(t, "https://far.example/x"), "Bad Gateway")
	assert.Len(t, tn.last(t).Failed, 3)
	assert.Contains(t, tn.get(t, "http://far.example/x"), "connection refused")
	assert.Empty(t, tn.last(t).Way)
}

func TestAgentGivesUpOnSilence(t *testing.T) {
	silent := fakeupstream.Hang()
	tn := newTown(t, scenarios.PAC{Result: "PROXY silent.example:1; DIRECT", Timeout: 50 * time.Millisecond, Policy: scenarios.PACStrict})
	tn.addProxy(t, "silent.example:1", silent)
	require.Equal(t, "far /x", tn.get(t, "https://far.example/x"))
	assert.Equal(t, []string{"PROXY silent.example:1: no connection within 50ms"}, tn.last(t).Failed)
}

func TestAgentFetchesItsScriptOnce(t *testing.T) {
	fetched := 0
	tn := newTown(t, scenarios.PAC{URL: "http://pac.example/proxy.pac", Policy: scenarios.PACChromium})
	tn.hosts["pac.example:80"] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched++
		io.WriteString(w, returning("host == 'far.example' && url == 'https://far.example/' ? 'DIRECT' : 'PROXY dead.example:1'"))
	}))
	defer tn.hosts["pac.example:80"].Close()
	require.Equal(t, "far /x", tn.get(t, "https://far.example/x"))
	require.Contains(t, tn.get(t, "http://far.example/x"), "connection refused")
	assert.Equal(t, 1, fetched)
}

func TestAgentWithoutItsScript(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"404":   http.NotFound,
		"empty": func(http.ResponseWriter, *http.Request) {},
		"html":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>please log in</html>") },
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			w.Write(make([]byte, 2*scenarios.MaxPACScript))
		},
	} {
		tn := newTown(t, scenarios.PAC{URL: "http://pac.example/proxy.pac", Policy: scenarios.PACChromium})
		tn.hosts["pac.example:80"] = httptest.NewServer(h)
		require.Equal(t, "far /x", tn.get(t, "https://far.example/x"), name)
		assert.Equal(t, "DIRECT", tn.last(t).Way)
		assert.NotEmpty(t, tn.last(t).Error, name)
		tn.hosts["pac.example:80"].Close()
	}
}
