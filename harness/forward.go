//go:build linux

package harness

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/scenarios"
)

// forwardProxy returns the honest forward proxy that host number i of the world is over HTTP, with its faults.
func (in *internet) forwardProxy(i int) (http.Handler, error) {
	dial, err := in.egress(i)
	if err != nil {
		return nil, err
	}
	var h http.Handler = &fakeupstream.ForwardProxy{Dial: dial}
	for _, f := range in.forwardFaults(i) {
		h = in.wrongForward(f, i, dial)(h)
	}
	return h, nil
}

// socksProxy returns the same for one of SOCKS.
func (in *internet) socksProxy(i int) (*fakeupstream.SOCKSProxy, error) {
	dial, err := in.egress(i)
	if err != nil {
		return nil, err
	}
	return &fakeupstream.SOCKSProxy{Dial: dial, Login: in.socksLogin(i), Log: &in.log}, nil
}

// egress returns how host number i of the world reaches the others, with what its faults do to that.
func (in *internet) egress(i int) (fakeupstream.Dial, error) {
	n := len(in.egresses)
	in.egresses = append(in.egresses, in.world.Hosts[i].Name)
	if err := in.network.AddEgress(n); err != nil {
		return nil, err
	}
	dial := fakeupstream.Dial(in.dialer(n))
	for _, f := range in.forwardFaults(i) {
		dial = in.wrongDial(f, i)(dial)
	}
	return dial, nil
}

// forwardFaults returns the forward faults of host number i of the world.
func (in *internet) forwardFaults(i int) (all []*lab.Fault) {
	for _, f := range in.faults {
		if f.Forward != nil && slices.Contains(f.Target.Hosts, i) {
			all = append(all, f)
		}
	}
	return all
}

// wrongDial returns what a fault does to the connections that a forward proxy opens.
func (in *internet) wrongDial(f *lab.Fault, i int) fakeupstream.DialFault {
	bites := func(addr string) bool { return in.bitesTarget(f, i, addr) }
	switch {
	case f.Forward.Tunnel == scenarios.TunnelStall:
		return fakeupstream.WhenDial(bites, fakeupstream.StallTunnels())
	case f.Forward.Tunnel == scenarios.TunnelClose:
		return fakeupstream.WhenDial(bites, fakeupstream.CloseTunnels())
	case len(f.Forward.Allow) > 0:
		denied := func(addr string) bool { return !f.Forward.Allows(hostOf(addr)) && bites(addr) }
		return fakeupstream.WhenDial(denied, fakeupstream.RefuseHosts())
	}
	return func(dial fakeupstream.Dial) fakeupstream.Dial { return dial }
}

// wrongForward returns what a fault does to the requests of a forward proxy.
func (in *internet) wrongForward(f *lab.Fault, i int, dial fakeupstream.Dial) fakeupstream.Middleware {
	bites := func(r *http.Request) bool { return in.bitesTarget(f, i, r.Host) }
	tunnels := func(r *http.Request) bool { return r.Method == http.MethodConnect && bites(r) }
	switch {
	case f.Forward.Connect != 0:
		return fakeupstream.When(tunnels, fakeupstream.RefuseConnect(f.Forward.Connect))
	case f.Forward.Auth != "":
		return fakeupstream.When(bites, fakeupstream.DemandLogin(f.Forward.Auth))
	case f.Forward.Intercept != "":
		return fakeupstream.When(tunnels, in.intercept(f, dial))
	}
	return func(h http.Handler) http.Handler { return h }
}

// bitesTarget reports whether a fault of host number i of the world is about the way to an address, and counts it.
func (in *internet) bitesTarget(f *lab.Fault, i int, addr string) bool {
	if !in.active(f) || !f.Forward.Selects(hostOf(addr)) || !f.Picks(in.world.Hosts[i].Name) {
		return false
	}
	f.Bit.Add(1)
	return true
}

// hostOf returns the host of an address that may have a port.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

// socksLogin returns what says, for each connection, which login the SOCKS proxy that is host number i demands.
func (in *internet) socksLogin(i int) func() string {
	return func() string {
		for _, f := range in.forwardFaults(i) {
			if f.Forward.Auth != "" && in.active(f) && f.Picks(in.world.Hosts[i].Name) {
				f.Bit.Add(1)
				return f.Forward.Auth
			}
		}
		return ""
	}
}

// interceptors are the certificates that each interception shows.
var interceptors = map[scenarios.Intercept]scenarios.Certificate{
	scenarios.InterceptTrusted:   scenarios.CertificateInterceptedTrusted,
	scenarios.InterceptUntrusted: scenarios.CertificateIntercepted,
}

// intercept answers CONNECT as a box that inspects TLS.
func (in *internet) intercept(f *lab.Fault, dial fakeupstream.Dial) fakeupstream.Middleware {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(in.keys.CA)
	box := &fakeupstream.Interceptor{
		Dial: dial, Roots: roots, Observe: in.log.Observe, ErrorLog: log.New(serverLog{in}, "", 0),
		Certificate: func(host string, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, issuer, err := in.flawed(flaw{interceptors[f.Forward.Intercept], host})
			if err != nil {
				return nil, fmt.Errorf("the box has no certificate for %s: %w", host, err)
			}
			in.issuers.add(hello.Conn, issuer)
			return &cert, nil
		},
	}
	return func(http.Handler) http.Handler { return box }
}

// interceptions returns the certificates that a forward proxy needs which inspects TLS: for every host of the
// world that speaks it.
func interceptions(f *scenarios.Fault, w *scenarios.World) (all []flaw) {
	kind, ok := interceptors[f.Forward.Intercept]
	if !ok {
		return nil
	}
	for i := range w.Hosts {
		h := &w.Hosts[i]
		if slices.ContainsFunc(h.Ports(), h.Secure) {
			all = append(all, flaw{kind, h.Name})
		}
	}
	return all
}
