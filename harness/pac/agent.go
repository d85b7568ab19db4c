package pac

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/proxy"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// maxFetch is the time in which the script itself must have come from its URL.
const maxFetch = 30 * time.Second

// A Choice is what an agent did for one connection or request of its client.
type Choice struct {
	Target string        // host:port that the client wants to reach
	Result string        // what the script returned
	Failed []string      // ways that could not be taken, with the reason, in the order of trying
	Way    string        // that was taken; empty: none could be
	Error  string        // of the script, which makes the agent go directly; or why no way was left
	Took   time.Duration // until the way was there, or all had failed
}

// An Agent is an http.Handler that is the proxy of HTTPS_PROXY and HTTP_PROXY on the client host. Its fields must
// not be changed once it serves.
type Agent struct {
	PAC    scenarios.PAC
	Host   Host
	Dial   fakeupstream.Dial // opens connections, with names looked up on the way; the PAC's timeout is the agent's business
	Report func(Choice)      // called by many goroutines at once

	start  sync.Once
	script *Script // nil: the result is constant, or the script is no good
	broken error   // why it is no good
	memory *memory
}

// ServeHTTP opens tunnels for CONNECT, and forwards requests whose target is a whole http:// URL.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect && r.URL.Host != "" {
		(&httputil.ReverseProxy{
			Rewrite:       func(*httputil.ProxyRequest) {},
			Transport:     router{a},
			FlushInterval: -1,
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				http.Error(w, err.Error(), http.StatusBadGateway)
			},
		}).ServeHTTP(w, r)
		return
	}
	tunnel := func(ctx context.Context, _, addr string) (net.Conn, error) {
		conn, _, err := a.open(ctx, "https", addr, a.reach)
		return conn, err
	}
	(&fakeupstream.ForwardProxy{Dial: tunnel}).ServeHTTP(w, r)
}

// A router sends each plain request the way that the script says.
type router struct{ agent *Agent }

// RoundTrip opens a connection for the request alone.
func (t router) RoundTrip(r *http.Request) (*http.Response, error) {
	addr := r.URL.Host
	if r.URL.Port() == "" {
		addr = net.JoinHostPort(r.URL.Hostname(), "80")
	}
	conn, way, err := t.agent.open(r.Context(), "http", addr, t.agent.approach)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	if way.Kind == scenarios.WayProxy || way.Kind == scenarios.WayHTTPS {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: way.Addr}) // over TLS already, if it is HTTPS
	}
	return transport.RoundTrip(r)
}

// open finds a way to a host:port and takes it. How far it is gone is the caller's to say. What a proxy refuses, it
// refuses for good: browsers do not look for another way then (net/docs/proxy.md of Chromium, "Evaluating proxy
// lists").
func (a *Agent) open(ctx context.Context, scheme, addr string, take func(context.Context, scenarios.Way, string) (net.Conn, error)) (net.Conn, scenarios.Way, error) {
	begin := time.Now()
	choice := Choice{Target: addr}
	ways := a.ways(ctx, scheme, addr, &choice)
	var failed []scenarios.Way
	conn, way, err := net.Conn(nil), scenarios.Way{}, error(nil)
	for _, way = range a.memory.order(ways) {
		attempt, cancel := context.WithTimeoutCause(ctx, a.PAC.Timeout, fmt.Errorf("no connection within %v", a.PAC.Timeout))
		conn, err = take(attempt, way, addr)
		if err != nil && attempt.Err() != nil {
			err = context.Cause(attempt)
		}
		cancel()
		if final := new(fakeupstream.Refusal); err == nil || errors.As(err, &final) || ctx.Err() != nil {
			break
		}
		failed = append(failed, way)
		choice.Failed = append(choice.Failed, way.String()+": "+err.Error())
	}
	a.settle(way, failed, err, &choice)
	choice.Took = time.Since(begin)
	a.Report(choice)
	return conn, way, err
}

// settle notes how a search for a way has ended.
func (a *Agent) settle(way scenarios.Way, failed []scenarios.Way, err error, choice *Choice) {
	refused := errors.As(err, new(*fakeupstream.Refusal))
	a.memory.failed(failed, err == nil || refused)
	if err == nil || refused {
		a.memory.worked(way)
		choice.Way = way.String()
	}
	if err != nil {
		choice.Error = err.Error()
	}
}

// ways asks the script. What goes wrong with it leaves the direct way, as in browsers.
func (a *Agent) ways(ctx context.Context, scheme, addr string, choice *Choice) []scenarios.Way {
	a.start.Do(func() { a.begin(context.WithoutCancel(ctx)) })
	direct := []scenarios.Way{{Kind: scenarios.WayDirect}}
	result, err := a.PAC.Result, a.broken
	if a.script != nil {
		host, _, _ := net.SplitHostPort(addr)
		result, err = a.script.Find(ctx, fmt.Sprintf("%s://%s/", scheme, bare(scheme, addr)), host)
	}
	if err != nil {
		choice.Error = err.Error()
		return direct
	}
	choice.Result = result
	ways, _ := scenarios.ParsePACResult(result)
	if len(ways) == 0 {
		return direct
	}
	return ways
}

// bare returns host:port as a URL has it, without the port that goes with its scheme.
func bare(scheme, addr string) string {
	port := map[string]string{"http": ":80", "https": ":443"}[scheme]
	return strings.TrimSuffix(addr, port)
}

// begin gets the script, once.
func (a *Agent) begin(ctx context.Context) {
	a.memory = newMemory(a.PAC.Policy, a.Host.Now)
	text := a.PAC.Script
	if a.PAC.URL != "" {
		if text, a.broken = a.fetch(ctx); a.broken != nil {
			return
		}
	}
	if text != "" {
		a.script, a.broken = Compile(ctx, text, a.Host)
	}
}

// fetch gets the script from its URL, by the direct way.
func (a *Agent) fetch(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, maxFetch)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.PAC.URL, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DialContext: a.Dial, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return "", fmt.Errorf("fetch the script: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("fetch the script: %s: %s", a.PAC.URL, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, scenarios.MaxPACScript+1))
	if err != nil {
		return "", fmt.Errorf("fetch the script: %w", err)
	}
	if len(text) == 0 {
		return "", fmt.Errorf("fetch the script: %s is empty", a.PAC.URL)
	}
	return string(text), nil
}

// approach opens a connection on which a plain request for a host:port can be made.
func (a *Agent) approach(ctx context.Context, way scenarios.Way, addr string) (net.Conn, error) {
	switch way.Kind {
	case scenarios.WayProxy, scenarios.WayHTTPS:
		return a.toProxy(ctx, way)
	}
	return a.reach(ctx, way, addr)
}

// reach opens a connection through which bytes go to a host:port.
func (a *Agent) reach(ctx context.Context, way scenarios.Way, addr string) (net.Conn, error) {
	switch way.Kind {
	case scenarios.WaySOCKS:
		return a.throughSOCKS(ctx, way, addr)
	case scenarios.WayProxy, scenarios.WayHTTPS:
		conn, err := a.toProxy(ctx, way)
		if err != nil {
			return nil, err
		}
		return connect(ctx, conn, addr)
	}
	return a.Dial(ctx, "tcp", addr)
}

// toProxy opens a connection to an HTTP proxy.
func (a *Agent) toProxy(ctx context.Context, way scenarios.Way) (net.Conn, error) {
	conn, err := a.Dial(ctx, "tcp", way.Addr)
	if err != nil || way.Kind != scenarios.WayHTTPS {
		return conn, err
	}
	name, _, _ := net.SplitHostPort(way.Addr)
	secure := tls.Client(conn, &tls.Config{ServerName: name, NextProtos: []string{"http/1.1"}})
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

func (a *Agent) throughSOCKS(ctx context.Context, way scenarios.Way, addr string) (net.Conn, error) {
	dialer, err := proxy.SOCKS5("tcp", way.Addr, nil, contextDialer(a.Dial))
	if err != nil {
		return nil, err
	}
	return dialer.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
}

// A contextDialer is a Dial in the form that package proxy wants.
type contextDialer fakeupstream.Dial

// Dial is without a context.
func (d contextDialer) Dial(network, addr string) (net.Conn, error) {
	return d(context.Background(), network, addr)
}

// DialContext calls the Dial.
func (d contextDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return d(ctx, network, addr)
}

// connect asks an HTTP proxy for a tunnel. It owns the connection.
func connect(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	tunnel, err := ask(conn, addr)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return tunnel, nil
}

func ask(conn net.Conn, addr string) (net.Conn, error) {
	if _, err := fmt.Fprintf(conn, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", addr); err != nil {
		return nil, err
	}
	answer := bufio.NewReader(conn)
	resp, err := http.ReadResponse(answer, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, fmt.Errorf("answer to CONNECT: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &fakeupstream.Refusal{Status: max(resp.StatusCode, 400), Reason: "the proxy answers " + resp.Status}
	}
	early, _ := answer.Peek(answer.Buffered())
	return &tunnelConn{conn, io.MultiReader(bytes.NewReader(early), conn)}, nil
}

// A tunnelConn is a connection of which the first bytes have been read already.
type tunnelConn struct {
	net.Conn
	all io.Reader
}

func (c *tunnelConn) Read(b []byte) (int, error) { return c.all.Read(b) }

// CloseWrite ends the client's direction, if the connection can do that.
func (c *tunnelConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
