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
	"errors"
	"fmt"
	"net"
	"time"
)

// How long certificates are valid, from the time that their authority was made for: leaves as those of the
// authorities that issue them by robot, authorities as those that browsers trust.
const (
	leafBefore = 30 * 24 * time.Hour
	leafAfter  = 60 * 24 * time.Hour
	rootBefore = 5 * 365 * 24 * time.Hour
	rootAfter  = 15 * 365 * 24 * time.Hour
)

// A CA is a certificate authority whose certificate a client is told to trust, for example through
// SSL_CERT_FILE. Its methods may be called concurrently.
//
// [CA.Leaf] makes good certificates and [CA.Flawed] bad ones. A CA that was made for another time shows what
// a client sees whose clock is off.
type CA struct {
	cert  *x509.Certificate
	key   crypto.Signer
	chain [][]byte // what a server shows with its leaf: nothing of a root, else the authority and those above it
}

// NewCA makes a certificate authority with a new ECDSA P-256 key for a time. It is valid from five years
// before to fifteen years after it, and its leaves from 30 days before to 60 days after.
func NewCA(now time.Time) (*CA, error) { return newRoot("fakeupstream CA", now) }

// NewInterceptor is [NewCA] for a box that inspects TLS: it signs for any host in the host's place, with a
// name that says so. Whether a client minds depends on whether it was told to trust the box.
func NewInterceptor(now time.Time) (*CA, error) { return newRoot("TLS inspection box", now) }

func newRoot(name string, now time.Time) (*CA, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	self := CA{cert: authority(name, now), key: key}
	return self.sub(self.cert, key, nil)
}

// authority is the template of a certificate authority.
func authority(name string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-rootBefore),
		NotAfter:              now.Add(rootAfter),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
}

// sub makes an authority that ca has signed. Its leaves are shown with the chain.
func (ca *CA) sub(template *x509.Certificate, key crypto.Signer, chain [][]byte) (*CA, error) {
	signed, err := ca.sign(template, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(signed.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("read back the certificate of %q: %w", template.Subject.CommonName, err)
	}
	return &CA{cert: cert, key: key, chain: chain}, nil
}

// sign makes a certificate for a key.
func (ca *CA) sign(template *x509.Certificate, key crypto.Signer) (tls.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate for %q: %w", append(template.DNSNames, template.Subject.CommonName), err)
	}
	return tls.Certificate{Certificate: append([][]byte{der}, ca.chain...), PrivateKey: key}, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make an ECDSA key: %w", err)
	}
	return key, nil
}

// Made returns the time that the CA was made for, to the second.
func (ca *CA) Made() time.Time { return ca.cert.NotBefore.Add(rootBefore) }

// PEM returns the certificate of the CA, as SSL_CERT_FILE and git's http.sslCAInfo want it.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: ca.cert.Raw})
}

// Name returns the common name of the CA, which its leaves have as the name of their issuer.
func (ca *CA) Name() string { return ca.cert.Subject.CommonName }

// Leaf makes a server certificate with a new key for the names, each a host name, a wildcard such as
// "*.example", or an IP address.
func (ca *CA) Leaf(names ...string) (tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	return ca.sign(ca.leaf(names...), key)
}

// leaf is the template of a server certificate.
func (ca *CA) leaf(names ...string) *x509.Certificate {
	template := &x509.Certificate{
		NotBefore:   ca.Made().Add(-leafBefore),
		NotAfter:    ca.Made().Add(leafAfter),
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
	return template
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

// The types of the PEM blocks of a certificate.
const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
	stapleBlock      = "OCSP RESPONSE"
)

// MarshalCertificate returns a certificate with its chain, private key and stapled OCSP response as one PEM
// text, for [ParseCertificate] in another process.
func MarshalCertificate(cert tls.Certificate) ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("marshal a private key: %w", err)
	}
	var text bytes.Buffer
	for _, der := range cert.Certificate {
		pem.Encode(&text, &pem.Block{Type: certificateBlock, Bytes: der})
	}
	pem.Encode(&text, &pem.Block{Type: keyBlock, Bytes: key})
	if cert.OCSPStaple != nil {
		pem.Encode(&text, &pem.Block{Type: stapleBlock, Bytes: cert.OCSPStaple})
	}
	return text.Bytes(), nil
}

// ParseCertificate is the reverse of [MarshalCertificate]. Other than [tls.X509KeyPair] it does not look into
// the certificate, which may be one that no parser takes.
func ParseCertificate(text []byte) (cert tls.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case certificateBlock:
			cert.Certificate = append(cert.Certificate, block.Bytes)
		case stapleBlock:
			cert.OCSPStaple = block.Bytes
		case keyBlock:
			if cert.PrivateKey, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
				return cert, fmt.Errorf("read a private key: %w", err)
			}
		}
	}
	if cert.Certificate == nil || cert.PrivateKey == nil {
		return cert, errors.New("read a certificate: the text lacks it, or its private key")
	}
	return cert, nil
}
