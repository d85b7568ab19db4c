//go:build linux

package harness

import (
	"strings"
	"time"

	"github.com/simrun/simrun/scenarios"
)

// showsCertificate says by what a client knows each of the certificates of the language.
var showsCertificate = map[scenarios.Certificate]func(sighting) bool{
	scenarios.CertificateExpired:             invalid("is after"),
	scenarios.CertificateNotYetValid:         invalid("is before"),
	scenarios.CertificateWrongHost:           invalid("certificate is valid for elsewhere.example, not"),
	scenarios.CertificateSelfSigned:          func(g sighting) bool { return unknownAuthority(g) && g.TLS.Chain == 1 },
	scenarios.CertificateUnknownRoot:         func(g sighting) bool { return unknownAuthority(g) && g.TLS.Issuer == "unknown CA" },
	scenarios.CertificateMissingIntermediate: func(g sighting) bool { return unknownAuthority(g) && strings.Contains(g.TLS.Issuer, "intermediate") },
	scenarios.CertificateRevoked:             func(g sighting) bool { return g.well() && g.TLS.Stapled },
	scenarios.CertificateNoSAN:               invalid("legacy Common Name"),
	scenarios.CertificateNoName:              invalid("certificate is not valid for any names"),
	scenarios.CertificateWeakKey:             func(g sighting) bool { return g.well() && g.TLS.Bits == 1024 },
	scenarios.CertificateSHA1:                invalid("insecure algorithm ECDSA-SHA1"),
	scenarios.CertificateNameConstrained:     invalid("is not permitted by any constraint"),
	scenarios.CertificateNegativeSerial:      invalid("negative serial number"),
	scenarios.CertificateHuge:                func(g sighting) bool { return g.well() && g.TLS.Bits == 4096 && g.TLS.Chain == 6 },
	scenarios.CertificateIntercepted:         func(g sighting) bool { return unknownAuthority(g) && strings.Contains(g.TLS.Issuer, "inspection") },
	scenarios.CertificateInterceptedTrusted:  func(g sighting) bool { return g.well() && strings.Contains(g.TLS.Issuer, "inspection") },
}

var unknownAuthority = invalid("certificate signed by unknown authority")

// invalid reports whether a client refuses a certificate, in such words.
func invalid(words string) func(sighting) bool {
	return func(g sighting) bool { return g.Failed == "tls" && strings.Contains(g.Err, words) }
}

// showsHandshake says by what a client knows each of the handshakes of the language.
var showsHandshake = map[scenarios.Handshake]func(sighting) bool{
	scenarios.HandshakeStall:            func(g sighting) bool { return broken("timeout")(g) && g.Received == 0 },
	scenarios.HandshakeStallServerHello: func(g sighting) bool { return broken("timeout")(g) && g.Received > 0 },
	scenarios.HandshakeClose:            func(g sighting) bool { return broken("EOF")(g) && g.Received == 0 },
	scenarios.HandshakeReset:            func(g sighting) bool { return broken("ECONNRESET")(g) && g.Received == 0 },
	scenarios.HandshakeHTTP:             func(g sighting) bool { return g.Failed == "tls" && string(g.TLS.Header) == "HTTP/" },
	scenarios.HandshakeGarbage:          func(g sighting) bool { return g.Failed == "tls" && string(g.TLS.Header) == "\xde\xad\xbe\xef\xde" },
	scenarios.HandshakeNoSharedCipher:   invalid("remote error: tls: handshake failure"),
}

var tlsVersionNames = map[scenarios.TLSVersion]string{
	scenarios.TLS10: "TLS 1.0",
	scenarios.TLS11: "TLS 1.1",
	scenarios.TLS12: "TLS 1.2",
}

func (t *town) tlsChecks(f *scenarios.TLSFault, s spot) (all []check, err error) {
	v, err := t.visit(s, "", "")
	if err != nil {
		return nil, err
	}
	own := v
	v.TLS = t.named(f, s.name)
	add := func(about string, shows func(sighting) bool) *check {
		all = append(all, check{about: about, probe: s.visiting(v, enough), shows: shows})
		return &all[len(all)-1]
	}
	if f.Certificate != "" {
		add("certificate", showsCertificate[f.Certificate])
	}
	if f.MaxVersion != "" {
		add("max-version", func(g sighting) bool { return g.TLS.Version == tlsVersionNames[f.MaxVersion] })
	}
	if f.ClientCertificate {
		add("client-certificate", func(g sighting) bool { return g.TLS.Demanded && strings.Contains(g.Err, "remote error: tls: ") })
	}
	if f.ALPN != "" {
		announced, spoken := "h2", "http/1.1"
		if f.ALPN == scenarios.ALPNH2Spoken {
			announced, spoken = spoken, announced
		}
		add("alpn", func(g sighting) bool { return g.TLS.ALPN == announced && g.TLS.Spoken == spoken }).probe.Visit.Listen = true
	}
	if f.CorruptAfter > 0 {
		c, err := t.corruptCheck(f, s)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if f.Handshake != "" {
		c := add("handshake", showsHandshake[f.Handshake])
		if strings.HasPrefix(string(f.Handshake), string(scenarios.HandshakeStall)) {
			c.probe.Limit = silence
		}
	}
	if !f.Selects(own.TLS) {
		all = append(all, check{about: "another name", probe: s.visiting(own, enough), absent: true})
	}
	return all, nil
}

// named returns a server name that a TLS fault is about: the host's own, or else another one.
func (t *town) named(f *scenarios.TLSFault, own string) string {
	if f.Selects(own) {
		return own
	}
	for i := range t.world.Hosts {
		if name := t.world.Hosts[i].Name; f.Selects(name) {
			return name
		}
	}
	return strings.NewReplacer("*", "x", "?", "x").Replace(f.SNI)
}

// corruptCheck looks for a record that is broken in the midst of a transfer.
func (t *town) corruptCheck(f *scenarios.TLSFault, s spot) (check, error) {
	v, err := t.bulkVisit(s, true)
	return check{about: "corrupt-after", probe: s.visiting(v, enough), shows: func(g sighting) bool {
		return strings.Contains(g.Err, "local error: tls: bad record MAC") && g.Received >= int64(f.CorruptAfter)
	}}, err
}

// clientChecks look at the certificate of every host that speaks TLS: how old it is says how far the client's
// clock is off.
func (t *town) clientChecks(f *scenarios.ClientFault) ([]check, error) {
	const before, after, within = 30 * 24 * time.Hour, 60 * 24 * time.Hour, 6 * time.Hour
	off := time.Duration(f.Clock)
	all := scenarios.Target{}
	for i := range t.world.Hosts {
		if h := &t.world.Hosts[i]; h.Secure(h.Ports()[0]) {
			all.Hosts = append(all.Hosts, i)
		}
	}
	return each(t.spots(all, ""), func(s spot) ([]check, error) {
		v, err := t.visit(s, "", "")
		return []check{{about: "clock", probe: s.visiting(v, enough), shows: func(g sighting) bool {
			if (g.TLS.Age - before - off).Abs() > within {
				return false
			}
			if off < -before || off > after {
				return invalid("certificate has expired or is not yet valid")(g)
			}
			return g.well()
		}}}, err
	})
}
