package fakeupstream

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"time"
)

// validity is the life of a CA and of its leaves. It is long, because the clock of a test may be moved.
const validity = 10 * 365 * 24 * time.Hour

// A CA is a certificate authority whose certificate a client is told to trust, for example through
// SSL_CERT_FILE. Its methods may be called concurrently.
//
// The usual bad certificates need nothing more: a leaf of another CA (unknown authority), a leaf for
// other names (wrong host), a leaf of a CA that was made for another time (expired, or not valid yet).
type CA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewCA makes a certificate authority with a new ECDSA P-256 key.
// It and its leaves are valid from a day before now for ten years.
func NewCA(now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of a certificate authority: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "fakeupstream CA"},
		NotBefore:             now.Add(-24 * time.Hour),
		NotAfter:              now.Add(validity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of a certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back the certificate of a certificate authority: %w", err)
	}
	return &CA{cert: cert, key: key}, nil
}

// PEM returns the certificate of the CA, as SSL_CERT_FILE and git's http.sslCAInfo want it.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

// Leaf makes a server certificate with a new key for the names, each a host name, a wildcard such as
// "*.example", or an IP address.
func (ca *CA) Leaf(names ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make the key for %q: %w", names, err)
	}
	template := &x509.Certificate{
		NotBefore:   ca.cert.NotBefore,
		NotAfter:    ca.cert.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate for %q: %w", names, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Marshal returns the certificate and the private key of the CA for [ParseCA], in PEM.
func (ca *CA) Marshal() ([]byte, error) {
	return MarshalCertificate(tls.Certificate{Certificate: [][]byte{ca.cert.Raw}, PrivateKey: ca.key})
}

// ParseCA is the reverse of [CA.Marshal].
func ParseCA(data []byte) (*CA, error) {
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("read a certificate authority: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("read a certificate authority: %q is none", pair.Leaf.Subject)
	}
	return &CA{cert: pair.Leaf, key: key}, nil
}

// MarshalCertificate returns the chain and the private key of a certificate as one PEM text, with which
// another process calls [tls.X509KeyPair](text, text).
func MarshalCertificate(cert tls.Certificate) ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("marshal a private key: %w", err)
	}
	var text bytes.Buffer
	for _, der := range cert.Certificate {
		pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return text.Bytes(), nil
}
