package scenarios

import (
	"slices"
	"strings"
)

// A TLSFault changes how a host answers a client that opens a TLS connection. It is decided once for each
// connection, when the ClientHello has come.
type TLSFault struct {
	SNI               string      // glob over the server name that the ClientHello names; empty means all, and none too
	Certificate       Certificate // shown instead of the host's own
	MaxVersion        TLSVersion  // the newest version that the host speaks; it speaks all older ones too
	ALPN              ALPN        // announces one application protocol and speaks another
	ClientCertificate bool        // asks the client for a certificate, and goes on only with one
	CorruptAfter      Size        // the first record that the host sends after so many bytes has a wrong MAC; 0 means none
	Handshake         Handshake   // ends the handshake in some other way than with a connection
}

// A Certificate is what is wrong with the certificate that a host shows. All are issued for the host by the
// authority that the client trusts, with a key of its own, unless their name says otherwise.
type Certificate string

// The certificates of the language.
const (
	CertificateExpired             Certificate = "expired"
	CertificateNotYetValid         Certificate = "not-yet-valid"
	CertificateWrongHost           Certificate = "wrong-host" // for another name
	CertificateSelfSigned          Certificate = "self-signed"
	CertificateUnknownRoot         Certificate = "unknown-root"         // of an authority that the client does not trust
	CertificateMissingIntermediate Certificate = "missing-intermediate" // of an intermediate authority that the host does not show
	CertificateRevoked             Certificate = "revoked"              // so says the OCSP response that comes with it (RFC 6960)
	CertificateNoSAN               Certificate = "no-san"               // the name is the common name of the subject only
	CertificateNoName              Certificate = "no-name"              // without any name
	CertificateWeakKey             Certificate = "weak-key"             // RSA of 1024 bits
	CertificateSHA1                Certificate = "sha1"                 // signed over SHA-1
	CertificateNameConstrained     Certificate = "name-constrained"     // of an intermediate that may only sign for other names
	CertificateNegativeSerial      Certificate = "negative-serial"
	CertificateHuge                Certificate = "huge"                // RSA of 4096 bits, five intermediates, a hundred other names
	CertificateIntercepted         Certificate = "intercepted"         // of an inspecting box that the client does not trust
	CertificateInterceptedTrusted  Certificate = "intercepted-trusted" // of one that the client is told to trust
)

// A TLSVersion is a version of TLS as the language writes it.
type TLSVersion string

// The versions of the language. A host that nothing is wrong with also speaks 1.3.
const (
	TLS10 TLSVersion = "1.0" // RFC 2246
	TLS11 TLSVersion = "1.1" // RFC 4346
	TLS12 TLSVersion = "1.2" // RFC 5246
)

// An ALPN is a disagreement between the protocol that a host announces (RFC 7301) and what it speaks.
type ALPN string

// The disagreements of the language.
const (
	ALPNH2Announced ALPN = "h2-announced" // HTTP/2 is announced and HTTP/1.1 spoken
	ALPNH2Spoken    ALPN = "h2-spoken"    // HTTP/1.1 is announced and HTTP/2 spoken
)

// A Handshake is what a host does with a ClientHello instead of finishing the handshake.
type Handshake string

// The handshakes of the language.
const (
	HandshakeStall            Handshake = "stall"                    // says nothing more
	HandshakeStallServerHello Handshake = "stall-after-server-hello" // says nothing after its ServerHello
	HandshakeClose            Handshake = "close"                    // ends the connection
	HandshakeReset            Handshake = "reset"                    // resets the connection
	HandshakeHTTP             Handshake = "http"                     // answers as a server without TLS does
	HandshakeGarbage          Handshake = "garbage"                  // answers with bytes that mean nothing, and ends the connection
	HandshakeNoSharedCipher   Handshake = "no-shared-cipher"         // knows TLS 1.2 with RC4 only, and says that there is none in common
)

var (
	certificateValue = oneOf("certificate", CertificateExpired, CertificateNotYetValid, CertificateWrongHost,
		CertificateSelfSigned, CertificateUnknownRoot, CertificateMissingIntermediate, CertificateRevoked,
		CertificateNoSAN, CertificateNoName, CertificateWeakKey, CertificateSHA1, CertificateNameConstrained,
		CertificateNegativeSerial, CertificateHuge, CertificateIntercepted, CertificateInterceptedTrusted)
	tlsVersionValue = oneOf("version of TLS", TLS10, TLS11, TLS12)
	alpnValue       = oneOf("alpn", ALPNH2Announced, ALPNH2Spoken)
	handshakeValue  = oneOf("handshake", HandshakeStall, HandshakeStallServerHello, HandshakeClose, HandshakeReset,
		HandshakeHTTP, HandshakeGarbage, HandshakeNoSharedCipher)
)

func tlsFields(f *TLSFault) fields {
	return fields{
		"sni":                set(&f.SNI, textValue),
		"certificate":        set(&f.Certificate, certificateValue),
		"max-version":        set(&f.MaxVersion, tlsVersionValue),
		"alpn":               set(&f.ALPN, alpnValue),
		"client-certificate": set(&f.ClientCertificate, boolValue),
		"corrupt-after":      set(&f.CorruptAfter, sizeValue),
		"handshake":          set(&f.Handshake, handshakeValue),
	}
}

func checkTLS(d *decoder, f *TLSFault, pos Position) {
	bare := *f
	bare.SNI = ""
	switch {
	case bare == TLSFault{}:
		d.failf(pos, "tls fault changes nothing")
	case f.Handshake != "" && bare != TLSFault{Handshake: f.Handshake}:
		d.failf(pos, "`handshake: %s` leaves no connection for the other keys to change", f.Handshake)
	}
}

// keepSecure leaves those hosts of a fault of TLS, or of HTTP/2 over it, of which some port speaks TLS.
func (d *decoder) keepSecure(f *Fault, w *World, at Position) {
	all := f.Target.Hosts
	if f.TLS == nil && (f.HTTP == nil || f.HTTP.HTTP2.Frame == "") || len(all) == 0 {
		return
	}
	f.Target.Hosts = slices.DeleteFunc(slices.Clone(all), func(i int) bool {
		return !slices.ContainsFunc(w.Hosts[i].Ports(), w.Hosts[i].Secure)
	})
	if len(f.Target.Hosts) == 0 {
		h := &w.Hosts[all[0]]
		d.failf(at, "%s is a %s that does not speak TLS on port %d", quote(f.Target.Pattern), h.Role, h.Ports()[0])
	}
}

// Selects reports whether a TLS fault is about a server name, which is empty if the client named none.
func (f *TLSFault) Selects(serverName string) bool {
	return f.SNI == "" || Glob(strings.ToLower(f.SNI), strings.ToLower(serverName))
}

func tlsContradiction(a, b *TLSFault) string {
	switch {
	case a.SNI != b.SNI:
		return ""
	case a.Certificate != "" && b.Certificate != "":
		return "set `certificate`"
	case a.MaxVersion != "" && b.MaxVersion != "":
		return "set `max-version`"
	case a.ALPN != "" && b.ALPN != "":
		return "set `alpn`"
	case a.Handshake != "" && b.Handshake != "":
		return "set `handshake`"
	}
	return ""
}

func (f *TLSFault) describe(w *words) {
	w.add("sni", f.SNI)
	w.add("certificate", f.Certificate)
	w.add("max-version", f.MaxVersion)
	w.add("alpn", f.ALPN)
	w.add("client-certificate", f.ClientCertificate)
	w.add("corrupt-after", f.CorruptAfter)
	w.add("handshake", f.Handshake)
}
