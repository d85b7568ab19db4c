package fakeupstream

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/simrun/simrun/scenarios"
)

// Flawed makes a server certificate for a host that has one thing wrong with it. A certificate of an
// interceptor is none of them: it is a [CA.Leaf] of [NewInterceptor].
func (ca *CA) Flawed(flaw scenarios.Certificate, host string) (tls.Certificate, error) {
	make, ok := flaws[flaw]
	if !ok {
		return tls.Certificate{}, fmt.Errorf("no certificate of %s is called %q", ca.Name(), flaw)
	}
	return make(ca, host)
}

// A maker makes a flawed certificate for a host, in the name of an authority or not.
type maker func(ca *CA, host string) (tls.Certificate, error)

// flaws are how the certificates of the language are made.
var flaws = map[scenarios.Certificate]maker{
	scenarios.CertificateExpired: changed(func(ca *CA, t *x509.Certificate) {
		t.NotBefore, t.NotAfter = ca.Made().Add(-leafBefore-leafAfter), ca.Made().Add(-24*time.Hour)
	}),
	scenarios.CertificateNotYetValid: changed(func(ca *CA, t *x509.Certificate) {
		t.NotBefore, t.NotAfter = ca.Made().Add(leafBefore), ca.Made().Add(leafBefore+leafAfter)
	}),
	scenarios.CertificateWrongHost: changed(func(_ *CA, t *x509.Certificate) { t.DNSNames = []string{"elsewhere.example"} }),
	scenarios.CertificateNoSAN: changed(func(_ *CA, t *x509.Certificate) {
		t.Subject.CommonName, t.DNSNames = t.DNSNames[0], nil
	}),
	scenarios.CertificateNoName: changed(func(_ *CA, t *x509.Certificate) { t.DNSNames = nil }),
	scenarios.CertificateSHA1:   changed(func(_ *CA, t *x509.Certificate) { t.SignatureAlgorithm = x509.ECDSAWithSHA1 }),

	scenarios.CertificateSelfSigned:          selfSigned,
	scenarios.CertificateUnknownRoot:         ofAnotherRoot,
	scenarios.CertificateMissingIntermediate: withoutIntermediate,
	scenarios.CertificateRevoked:             revoked,
	scenarios.CertificateWeakKey:             weak,
	scenarios.CertificateNameConstrained:     constrained,
	scenarios.CertificateNegativeSerial:      negativeSerial,
	scenarios.CertificateHuge:                huge,
}

// changed makes a leaf that differs in its template only.
func changed(change func(ca *CA, t *x509.Certificate)) maker {
	return func(ca *CA, host string) (tls.Certificate, error) {
		key, err := newKey()
		if err != nil {
			return tls.Certificate{}, err
		}
		template := ca.leaf(host)
		change(ca, template)
		return ca.sign(template, key)
	}
}

func selfSigned(ca *CA, host string) (tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	template := ca.leaf(host)
	template.Subject.CommonName = host // without any name the issuer would be empty
	self := CA{cert: template, key: key}
	return self.sign(template, key)
}

func ofAnotherRoot(ca *CA, host string) (tls.Certificate, error) {
	other, err := newRoot("unknown CA", ca.Made())
	if err != nil {
		return tls.Certificate{}, err
	}
	return other.Leaf(host)
}

// intermediate makes an authority below another, whose leaves are shown with its certificate.
func (ca *CA) intermediate(template *x509.Certificate, key crypto.Signer) (*CA, error) {
	below, err := ca.sub(template, key, nil)
	if err != nil {
		return nil, err
	}
	below.chain = append([][]byte{below.cert.Raw}, ca.chain...)
	return below, nil
}

func withoutIntermediate(ca *CA, host string) (tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	below, err := ca.sub(authority("fakeupstream intermediate", ca.Made()), key, nil)
	if err != nil {
		return tls.Certificate{}, err
	}
	return below.Leaf(host)
}

func constrained(ca *CA, host string) (tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	template := authority("fakeupstream constrained intermediate", ca.Made())
	template.PermittedDNSDomains, template.PermittedDNSDomainsCritical = []string{"elsewhere.example"}, true
	below, err := ca.intermediate(template, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return below.Leaf(host)
}

func weak(ca *CA, host string) (tls.Certificate, error) {
	const least = 1024 // that crypto/rsa lets anybody make or use: checkKeySize in crypto/rsa/rsa.go
	key, err := rsa.GenerateKey(rand.Reader, least)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a weak RSA key: %w", err)
	}
	return ca.sign(ca.leaf(host), key)
}

// hugeKey is the key of all huge certificates of a process: it takes a second to make.
var hugeKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 4096) })

func huge(ca *CA, host string) (tls.Certificate, error) {
	const intermediates, otherNames = 5, 100
	key, err := hugeKey()
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a huge RSA key: %w", err)
	}
	for i := range intermediates {
		template := authority(fmt.Sprintf("fakeupstream intermediate %d", i+1), ca.Made())
		if ca, err = ca.intermediate(template, key); err != nil {
			return tls.Certificate{}, err
		}
	}
	template := ca.leaf(host)
	for i := range otherNames {
		template.DNSNames = append(template.DNSNames, fmt.Sprintf("alternative-%03d.%s", i+1, host))
	}
	return ca.sign(template, key)
}

// negativeSerial makes a leaf as some appliances do, which [x509.CreateCertificate] refuses to: it turns the
// sign of the serial number of a good one, and signs again.
func negativeSerial(ca *CA, host string) (tls.Certificate, error) {
	good := bytes.Repeat([]byte{0x40}, 16)
	cert, err := changed(func(_ *CA, t *x509.Certificate) { t.SerialNumber = new(big.Int).SetBytes(good) })(ca, host)
	if err != nil {
		return cert, err
	}
	var parts struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.Certificate[0], &parts); err != nil {
		return cert, fmt.Errorf("read back a certificate: %w", err)
	}
	at := bytes.Index(parts.TBS.FullBytes, good)
	if at < 0 {
		return cert, errors.New("a certificate lacks its serial number")
	}
	parts.TBS.FullBytes[at] |= 0x80
	if parts.Signature.Bytes, err = ca.signature(parts.TBS.FullBytes); err != nil {
		return cert, err
	}
	parts.Signature.BitLength = 8 * len(parts.Signature.Bytes)
	cert.Certificate[0], err = asn1.Marshal(parts)
	return cert, err
}

// signature signs data with ECDSA over SHA-256.
func (ca *CA) signature(data []byte) ([]byte, error) {
	digest := sha256.Sum256(data)
	return ca.key.Sign(rand.Reader, digest[:], crypto.SHA256)
}

// ecdsaWithSHA256 names what signature does.
var ecdsaWithSHA256 = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}
