//go:build linux

package harness

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// A handshake is what the independent client has learnt of the other end of a TLS connection.
type handshake struct {
	Version  string        `json:",omitempty"` // such as "TLS 1.3"; empty: none was agreed on
	ALPN     string        `json:",omitempty"` // that was agreed on
	Spoken   string        `json:",omitempty"` // "h2" or "http/1.1": the server's first words, if the visit looks at them
	Demanded bool          `json:",omitempty"` // a certificate of the client
	Header   []byte        `json:",omitempty"` // the first bytes, if they are no TLS
	Issuer   string        `json:",omitempty"` // of the server's certificate, and so are the others
	Bits     int           `json:",omitempty"` // of its key
	Chain    int           `json:",omitempty"` // certificates that were shown
	Age      time.Duration `json:",omitempty"` // since it began to be valid
	Stapled  bool          `json:",omitempty"` // an OCSP response came with it
}

// secure makes the handshake of a visit, with versions back to TLS 1.0. Other than crypto/tls by itself, it
// looks at the certificate before it verifies it.
func (v *visit) secure(wire net.Conn, s *sighting) (*tls.Conn, error) {
	facts := &s.TLS
	config := &tls.Config{
		ServerName: v.TLS, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			facts.Demanded = true
			return &tls.Certificate{}, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			facts.look(state)
			return verify(state, v.Certified)
		},
	}
	if v.Listen {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	if v.HTTP2 {
		config.NextProtos = []string{"h2"}
	}
	if v.Classic {
		config.CurvePreferences = []tls.CurveID{tls.X25519}
	}
	conn := tls.Client(wire, config)
	err := conn.Handshake()
	var strange tls.RecordHeaderError
	if errors.As(err, &strange) {
		facts.Header = strange.RecordHeader[:]
	}
	return conn, err
}

// look notes what the server has shown.
func (h *handshake) look(state tls.ConnectionState) {
	leaf := state.PeerCertificates[0]
	h.Version, h.ALPN = tls.VersionName(state.Version), state.NegotiatedProtocol
	h.Issuer, h.Chain = leaf.Issuer.CommonName, len(state.PeerCertificates)
	h.Age, h.Stapled = time.Since(leaf.NotBefore), len(state.OCSPResponse) > 0
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		h.Bits = key.Size() * 8
	case *ecdsa.PublicKey:
		h.Bits = key.Params().BitSize
	}
}

// verify verifies a server's certificate for a name as crypto/tls does.
func verify(state tls.ConnectionState, name string) error {
	options := x509.VerifyOptions{DNSName: name, Intermediates: x509.NewCertPool()}
	for _, cert := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(options)
	return err
}

// listen speaks the protocol that was agreed on, and notes which one the server does.
func (v *visit) listen(conn *tls.Conn, s *sighting) {
	words := v.requests()
	if s.TLS.ALPN == "h2" {
		const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
		words = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings
	}
	if _, err := io.WriteString(conn, words); err != nil {
		s.fail("ask", err)
		return
	}
	first := make([]byte, 9) // the header of a frame of HTTP/2: RFC 9113, section 4.1
	if _, err := io.ReadFull(conn, first); err != nil {
		s.fail("answer", err)
		return
	}
	switch {
	case strings.HasPrefix(string(first), "HTTP/1.1"):
		s.TLS.Spoken = "http/1.1"
	case first[0] == 0 && first[3] == 4: // SETTINGS
		s.TLS.Spoken = "h2"
	}
}
