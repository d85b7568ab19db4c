package fakeupstream

import (
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

// The parts of an OCSP response that says of one certificate that it was revoked: RFC 6960, section 4.2.1.
type (
	ocspResponse struct {
		Status asn1.Enumerated
		Bytes  ocspBytes `asn1:"explicit,tag:0"`
	}
	ocspBytes struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	}
	ocspBasic struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	ocspData struct {
		Responder asn1.RawValue
		Produced  time.Time `asn1:"generalized"`
		Responses []ocspSingle
	}
	ocspSingle struct {
		ID         ocspID
		Revoked    ocspRevoked `asn1:"tag:1"`
		ThisUpdate time.Time   `asn1:"generalized"`
		NextUpdate time.Time   `asn1:"generalized,explicit,tag:0"`
	}
	ocspID struct {
		Hash           pkix.AlgorithmIdentifier
		Issuer         []byte // hash of its name
		Key            []byte // hash of its public key
		SerialOfTarget *big.Int
	}
	ocspRevoked struct {
		At     time.Time       `asn1:"generalized"`
		Reason asn1.Enumerated `asn1:"explicit,tag:0"`
	}
)

var (
	oidOCSPBasic = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidSHA1      = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
)

// keyCompromise is a reason for a revocation: RFC 5280, section 5.3.1.
const keyCompromise asn1.Enumerated = 1

// revoked makes a good leaf that comes with the authority's word that it was revoked. So no client needs to
// ask anybody.
func revoked(ca *CA, host string) (tls.Certificate, error) {
	cert, err := ca.Leaf(host)
	if err != nil {
		return cert, err
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return cert, fmt.Errorf("read back a certificate: %w", err)
	}
	if cert.OCSPStaple, err = ca.revocation(leaf.SerialNumber); err != nil {
		return cert, fmt.Errorf("make an OCSP response: %w", err)
	}
	return cert, nil
}

// revocation returns an OCSP response that says that a leaf was revoked a week ago.
func (ca *CA) revocation(serial *big.Int) ([]byte, error) {
	id, err := ca.ocspID(serial)
	if err != nil {
		return nil, err
	}
	day := 24 * time.Hour
	data, err := asn1.Marshal(ocspData{
		Responder: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: ca.cert.RawSubject}, // a name
		Produced:  ca.Made().Add(-day).UTC(),
		Responses: []ocspSingle{{
			ID:         id,
			Revoked:    ocspRevoked{At: ca.Made().Add(-7 * day).UTC(), Reason: keyCompromise},
			ThisUpdate: ca.Made().Add(-day).UTC(),
			NextUpdate: ca.Made().Add(7 * day).UTC(),
		}},
	})
	if err != nil {
		return nil, err
	}
	signature, err := ca.signature(data)
	if err != nil {
		return nil, err
	}
	basic, err := asn1.Marshal(ocspBasic{
		Data:      asn1.RawValue{FullBytes: data},
		Algorithm: ecdsaWithSHA256,
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(ocspResponse{Bytes: ocspBytes{Type: oidOCSPBasic, Response: basic}})
}

// ocspID returns the name of a leaf in OCSP. SHA-1 only tells issuers apart here, and is what all clients know.
func (ca *CA) ocspID(serial *big.Int) (ocspID, error) {
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(ca.cert.RawSubjectPublicKeyInfo, &key); err != nil {
		return ocspID{}, err
	}
	name, bits := sha1.Sum(ca.cert.RawSubject), sha1.Sum(key.Bits.RightAlign())
	return ocspID{
		Hash:   pkix.AlgorithmIdentifier{Algorithm: oidSHA1, Parameters: asn1.NullRawValue},
		Issuer: name[:], Key: bits[:], SerialOfTarget: serial,
	}, nil
}
