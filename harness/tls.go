//go:build linux

package harness

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// authorities sign the certificates of a world. They stay with the scheduler.
type authorities struct {
	root   *fakeupstream.CA
	box    *fakeupstream.CA // inspects TLS, by the client's leave; nil until a scenario has it
	flawed map[flaw][]byte  // that were made already, PEM
}

// A flaw names a certificate that something is wrong with.
type flaw struct {
	kind scenarios.Certificate
	host string
}

// name is the flaw as a key of JSON.
func (f flaw) name() string { return string(f.kind) + " " + f.host }

// flaws returns the certificates that the faults of a scenario need.
func flaws(s *scenarios.Scenario) (all []flaw) {
	for i := range s.Faults {
		f := &s.Faults[i]
		if f.Forward != nil {
			all = append(all, interceptions(f, s.World)...)
		}
		if f.TLS == nil || f.TLS.Certificate == "" {
			continue
		}
		for _, host := range f.Target.Hosts {
			all = append(all, flaw{f.TLS.Certificate, s.World.Hosts[host].Name})
		}
	}
	return all
}

// withFlaws returns the keys of a world with what the faults of a scenario need besides.
func (k keys) withFlaws(s *scenarios.Scenario) (keys, error) {
	all := flaws(s)
	if len(all) == 0 {
		return k, nil
	}
	k.Flawed = map[string][]byte{}
	for _, f := range all {
		text, err := k.authorities.certificate(f)
		if err != nil {
			return k, err
		}
		k.Flawed[f.name()] = text
	}
	trusted := func(f flaw) bool { return f.kind == scenarios.CertificateInterceptedTrusted }
	if slices.ContainsFunc(all, trusted) {
		k.CA = slices.Concat(k.CA, k.authorities.box.PEM())
	}
	return k, nil
}

// certificate returns a flawed certificate as PEM. It makes none twice: some of them take long.
func (a *authorities) certificate(f flaw) (text []byte, err error) {
	if text, ok := a.flawed[f]; ok {
		return text, nil
	}
	cert, err := a.issue(f)
	if err != nil {
		return nil, err
	}
	if text, err = fakeupstream.MarshalCertificate(cert); err == nil {
		a.flawed[f] = text
	}
	return text, err
}

func (a *authorities) issue(f flaw) (cert tls.Certificate, err error) {
	switch f.kind {
	case scenarios.CertificateIntercepted:
		box, err := a.newBox()
		if err != nil {
			return cert, err
		}
		return box.Leaf(f.host)
	case scenarios.CertificateInterceptedTrusted:
		if a.box == nil {
			if a.box, err = a.newBox(); err != nil {
				return cert, err
			}
		}
		return a.box.Leaf(f.host)
	}
	return a.root.Flawed(f.kind, f.host)
}

func (a *authorities) newBox() (*fakeupstream.CA, error) {
	return fakeupstream.NewInterceptor(a.root.Made())
}

// clientClock returns how far the client's clock is ahead of the world's in a scenario.
func clientClock(s *scenarios.Scenario) time.Duration {
	for i := range s.Faults {
		if c := s.Faults[i].Client; c != nil && c.Clock != 0 {
			return time.Duration(c.Clock)
		}
	}
	return 0
}

// tlsFaults returns the wrappers of what is wrong with the TLS of host number i of the world.
func (in *internet) tlsFaults(i int) (all []fakeupstream.TLSFault) {
	for _, f := range in.faults {
		switch {
		case f.Client != nil && f.Client.Clock != 0:
			all = append(all, counted(f))
		case f.TLS != nil && slices.Contains(f.Target.Hosts, i):
			all = append(all, in.tlsFault(f, &in.world.Hosts[i]))
		}
	}
	return all
}

// counted changes nothing. All certificates of the world are as old as the client's clock makes them, so
// that each handshake meets the fault.
func counted(f *lab.Fault) fakeupstream.TLSFault {
	return func(next fakeupstream.Handshake) fakeupstream.Handshake {
		return func(h *fakeupstream.Hello) net.Conn {
			f.Bit.Add(1)
			return next(h)
		}
	}
}

func (in *internet) tlsFault(f *lab.Fault, host *scenarios.Host) fakeupstream.TLSFault {
	cert, issuer, err := in.flawed(flaw{f.TLS.Certificate, host.Name})
	if err != nil {
		in.fail(fmt.Errorf("certificate of %s: %w", host.Name, err))
	}
	bites := func(h *fakeupstream.Hello) bool {
		if !in.active(f) || !f.TLS.Selects(h.ServerName) || !f.Picks(host.Name) {
			return false
		}
		f.Bit.Add(1)
		if issuer != "" {
			in.issuers.add(h.Conn, issuer)
		}
		return true
	}
	return fakeupstream.WhenTLS(bites, fakeupstream.WrongTLS(*f.TLS, cert))
}

// flawed returns a certificate that a fault shows in place of the host's own, and the name of its issuer,
// which is empty if there is no such certificate or its parser has other troubles.
func (in *internet) flawed(f flaw) (cert tls.Certificate, issuer string, err error) {
	if f.kind == "" {
		return cert, "", nil
	}
	if cert, err = fakeupstream.ParseCertificate(in.keys.Flawed[f.name()]); err != nil {
		return cert, "", err
	}
	if leaf, err := x509.ParseCertificate(cert.Certificate[0]); err == nil {
		issuer = leaf.Issuer.CommonName
	}
	return cert, issuer, nil
}

// An issuerLog remembers who signed the certificates that faults have shown. It may be used concurrently.
type issuerLog struct {
	mu    sync.Mutex
	shown []shownIssuer
}

type shownIssuer struct {
	client, host netip.AddrPort
	name         string
}

func (l *issuerLog) add(conn net.Conn, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown = append(l.shown, shownIssuer{unmapped(conn.RemoteAddr()), unmapped(conn.LocalAddr()), name})
}

// fill puts the issuers into the connections on which they were shown.
func (l *issuerLog) fill(conns []record.Conn, n *lab.Network) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.shown {
		if i, _, _, _ := n.Lived(lab.Exchange{Client: s.client, Host: s.host}); i >= 0 && i < len(conns) {
			conns[i].Issuer = s.name
		}
	}
}
