package fakeupstream_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

func trusting(t *testing.T, ca *fakeupstream.CA, serverName string) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool(t, ca), ServerName: serverName}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestCA(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	server := serveTLS(t, ca, known, "a.example", "*.b.example")
	for _, name := range []string{"", "a.example", "x.b.example"} { // "" is the address in the URL
		_, body, err := get(t, trusting(t, ca, name), server.URL)
		require.NoError(t, err)
		assert.True(t, text == body)
	}
	_, err := trusting(t, ca, "c.example").Get(server.URL)
	assert.ErrorAs(t, err, new(x509.HostnameError))
	_, err = trusting(t, other, "a.example").Get(server.URL)
	assert.ErrorAs(t, err, new(x509.UnknownAuthorityError))
}

// What is stapled to a certificate, and what no parser takes, comes through.
func TestFlawedCertificatesMarshal(t *testing.T) {
	ca := newCA(t)
	for _, flaw := range []scenarios.Certificate{scenarios.CertificateRevoked, scenarios.CertificateNegativeSerial, scenarios.CertificateHuge} {
		cert, err := ca.Flawed(flaw, "a.example")
		require.NoError(t, err)
		data, err := fakeupstream.MarshalCertificate(cert)
		require.NoError(t, err)
		again, err := fakeupstream.ParseCertificate(data)
		require.NoError(t, err)
		assert.Equal(t, cert, again)
	}
}

// An authority of another time makes certificates that are expired or not valid yet.
func TestCAOfAnotherTime(t *testing.T) {
	for _, years := range []int{-20, 20} {
		ca, err := fakeupstream.NewCA(time.Now().AddDate(years, 0, 0))
		require.NoError(t, err)
		server := serveTLS(t, ca, known)
		_, err = trusting(t, ca, "").Get(server.URL)
		var invalid x509.CertificateInvalidError
		require.ErrorAs(t, err, &invalid)
		assert.Equal(t, x509.Expired, invalid.Reason)
	}
}

// Another process can go on with an authority and with a leaf.
func TestCertificatesMarshal(t *testing.T) {
	ca := newCA(t)
	data, err := ca.Marshal()
	require.NoError(t, err)
	again, err := fakeupstream.ParseCA(data)
	require.NoError(t, err)
	assert.Equal(t, ca.PEM(), again.PEM())

	leaf, err := again.Leaf("a.example")
	require.NoError(t, err)
	data, err = fakeupstream.MarshalCertificate(leaf)
	require.NoError(t, err)
	pair, err := fakeupstream.ParseCertificate(data)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(pair.Certificate[0])
	require.NoError(t, err)
	_, err = parsed.Verify(x509.VerifyOptions{Roots: pool(t, ca), DNSName: "a.example"})
	require.NoError(t, err)

	_, err = fakeupstream.ParseCA(data)
	assert.ErrorContains(t, err, "is none", "it is a leaf")
	_, err = fakeupstream.ParseCertificate(ca.PEM())
	assert.ErrorContains(t, err, "lacks", "it has no key")
	_, err = fakeupstream.ParseCA([]byte("nonsense"))
	assert.ErrorContains(t, err, "read a certificate authority")
}

func FuzzParseCA(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		ca, err := fakeupstream.ParseCA(data)
		if err == nil {
			_, err = ca.Leaf("a.example")
			require.NoError(t, err)
		}
	})
}
