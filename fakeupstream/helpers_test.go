package fakeupstream_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

var hosts = fakeupstream.Hosts{Public: []string{"github.com"}, Private: []string{"git.corp.example"}}

// small has public and private chains, old versions, and a path with upper-case letters (lib002).
var small = scenarios.Modules{Seed: 1, Public: 4, Private: 2, Versions: 2, Depth: 2, ZipSize: 8 << 10}

func generate(t *testing.T) *fakeupstream.Universe {
	u, err := fakeupstream.Generate(t.Context(), filepath.Join(t.TempDir(), "universe"), small, hosts)
	require.NoError(t, err)
	return u
}

// keys returns the signer and the verifier key of a new checksum database.
func keys(t *testing.T, name string) (skey, vkey string) {
	skey, vkey, err := note.GenerateKey(nil, name)
	require.NoError(t, err)
	return skey, vkey
}

// serveTLS serves h over HTTP/2 and HTTP/1.1 with a certificate for the names.
func serveTLS(t *testing.T, ca *fakeupstream.CA, h http.Handler, names ...string) *httptest.Server {
	leaf, err := ca.Leaf(append(names, "127.0.0.1")...)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(t.Output(), "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func newCA(t *testing.T) *fakeupstream.CA {
	ca, err := fakeupstream.NewCA(time.Now())
	require.NoError(t, err)
	return ca
}

func pool(t *testing.T, ca *fakeupstream.CA) *x509.CertPool {
	p := x509.NewCertPool()
	require.True(t, p.AppendCertsFromPEM(ca.PEM()))
	return p
}

// An internet is hosts with names, all reached through one forward proxy on loopback.
type internet struct {
	ca      *fakeupstream.CA
	caFile  string
	proxy   string // URL of the forward proxy
	forward *fakeupstream.ForwardProxy
	log     *fakeupstream.Log
}

func newInternet(t *testing.T, handlers map[string]http.Handler) *internet {
	in := &internet{ca: newCA(t), log: &fakeupstream.Log{}}
	in.caFile = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(in.caFile, in.ca.PEM(), 0o644))
	addrs := make(map[string]string)
	for name, h := range handlers {
		addrs[name+":443"] = serveTLS(t, in.ca, in.log.Observe(h), name).Listener.Addr().String()
	}
	in.forward = &fakeupstream.ForwardProxy{
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			real, ok := addrs[addr]
			if !ok {
				return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
			}
			return new(net.Dialer).DialContext(ctx, network, real)
		},
	}
	in.proxy = serveForward(t, in.forward)
	return in
}

// ended returns the requests of a log when all of them have ended: a client may have its answer a moment before.
func ended(t *testing.T, seen *fakeupstream.Log) (all []fakeupstream.Request) {
	t.Helper()
	running := func(r fakeupstream.Request) bool { return r.End.IsZero() }
	require.Eventually(t, func() bool {
		all = seen.Requests()
		return !slices.ContainsFunc(all, running)
	}, 10*time.Second, time.Millisecond)
	return all
}

// serveForward serves a forward proxy over plain HTTP and returns its URL.
func serveForward(t *testing.T, h http.Handler) string {
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewUnstartedServer(h)
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	t.Cleanup(func() {
		cancel()
		server.Close()
	})
	return server.URL
}

// client returns an HTTP client that reaches the hosts of the internet.
func (in *internet) client(t *testing.T) *http.Client {
	proxy, err := url.Parse(in.proxy)
	require.NoError(t, err)
	transport := &http.Transport{
		Proxy:             http.ProxyURL(proxy),
		TLSClientConfig:   &tls.Config{RootCAs: pool(t, in.ca)},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// A goCommand runs the real go command with a cache of its own.
type goCommand struct {
	dir string
	env []string
}

// newHome makes a home folder without Go's telemetry, for which the go command would start another one that may outlive it.
func newHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	telemetry := filepath.Join(home, ".config", "go", "telemetry")
	require.NoError(t, os.MkdirAll(telemetry, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(telemetry, "mode"), []byte("off"), 0o600))
	return home
}

func newGo(t *testing.T, in *internet, env ...string) *goCommand {
	home := newHome(t)
	base := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"GOPATH=" + filepath.Join(home, "go"),
		"GOMODCACHE=" + filepath.Join(home, "modcache"),
		"GOCACHE=" + filepath.Join(home, "cache"),
		"GOENV=off",
		"GOTOOLCHAIN=local",
		"GOFLAGS=-modcacherw",
		"GIT_CONFIG_NOSYSTEM=1",
		"SSL_CERT_FILE=" + in.caFile,
		"GIT_SSL_CAINFO=" + in.caFile,
		"HTTPS_PROXY=" + in.proxy,
	}
	return &goCommand{dir: t.TempDir(), env: append(base, env...)}
}

func (g *goCommand) run(t *testing.T, args ...string) (string, error) {
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = g.dir
	cmd.Env = g.env
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// get returns the answer to a GET, whose body is already read.
func get(t *testing.T, client *http.Client, url string) (*http.Response, string, error) {
	t.Helper()
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := readAll(resp)
	return resp, body, err
}

func readAll(resp *http.Response) (string, error) {
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
