package fakeupstream_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// serveFaulty serves known over TLS with faults, and returns its address.
func serveFaulty(t *testing.T, ca *fakeupstream.CA, faults ...fakeupstream.TLSFault) string {
	leaf, err := ca.Leaf("a.example", "b.example")
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(known)
	server.Config.ErrorLog = log.New(t.Output(), "", 0)
	config := &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{"h2", "http/1.1"}}
	server.Listener = fakeupstream.NewTLSListener(server.Listener, config, faults...)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// wrong is one declared fault of a host that the authority signs for.
func wrong(t *testing.T, ca *fakeupstream.CA, f scenarios.TLSFault) fakeupstream.TLSFault {
	var cert tls.Certificate
	if f.Certificate != "" {
		var err error
		cert, err = ca.Flawed(f.Certificate, "a.example")
		require.NoError(t, err)
	}
	return fakeupstream.WrongTLS(f, cert)
}

// ask makes a request of a.example at an address, by a client that trusts the authority.
func ask(t *testing.T, addr string, config *tls.Config) (*http.Response, error) {
	config.ServerName = "a.example"
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := (&http.Client{Transport: transport}).Get("https://" + addr)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

// TestCertificatesAreFlawed shows each certificate to Go's own verifier.
func TestCertificatesAreFlawed(t *testing.T) {
	ca := newCA(t)
	for flaw, complaint := range map[scenarios.Certificate]string{
		scenarios.CertificateExpired:             "certificate has expired or is not yet valid: current time",
		scenarios.CertificateNotYetValid:         "certificate has expired or is not yet valid: current time",
		scenarios.CertificateWrongHost:           "certificate is valid for elsewhere.example, not a.example",
		scenarios.CertificateSelfSigned:          "certificate signed by unknown authority",
		scenarios.CertificateUnknownRoot:         "certificate signed by unknown authority",
		scenarios.CertificateMissingIntermediate: "certificate signed by unknown authority",
		scenarios.CertificateNoSAN:               "certificate relies on legacy Common Name field, use SANs instead",
		scenarios.CertificateNoName:              "certificate is not valid for any names, but wanted to match a.example",
		scenarios.CertificateSHA1:                "insecure algorithm ECDSA-SHA1",
		scenarios.CertificateNameConstrained:     `DNS name "a.example" is not permitted by any constraint`,
		scenarios.CertificateNegativeSerial:      "failed to parse certificate from server: x509: negative serial number",
		scenarios.CertificateRevoked:             "", // Go does not ask
		scenarios.CertificateWeakKey:             "", // 1024 bits are just enough
		scenarios.CertificateHuge:                "",
	} {
		t.Run(string(flaw), func(t *testing.T) {
			addr := serveFaulty(t, ca, wrong(t, ca, scenarios.TLSFault{Certificate: flaw}))
			_, err := ask(t, addr, &tls.Config{RootCAs: pool(t, ca)})
			if complaint == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, complaint)
		})
	}
	_, err := ca.Flawed("rusty", "a.example")
	assert.ErrorContains(t, err, `is called "rusty"`)
}

// What no verifier complains of is there all the same.
func TestCertificatesAreFlawedUnseen(t *testing.T) {
	ca := newCA(t)
	shown := func(flaw scenarios.Certificate) tls.ConnectionState {
		addr := serveFaulty(t, ca, wrong(t, ca, scenarios.TLSFault{Certificate: flaw}))
		resp, err := ask(t, addr, &tls.Config{RootCAs: pool(t, ca)})
		require.NoError(t, err)
		return *resp.TLS
	}
	weak := shown(scenarios.CertificateWeakKey).PeerCertificates
	assert.Equal(t, x509.RSA, weak[0].PublicKeyAlgorithm)
	assert.Less(t, len(weak[0].Raw), 700)
	huge := shown(scenarios.CertificateHuge).PeerCertificates
	assert.Len(t, huge, 6)
	assert.Len(t, huge[0].DNSNames, 101)
	assert.NotEmpty(t, shown(scenarios.CertificateRevoked).OCSPResponse)
}

// OpenSSL reads the word of the authority that a certificate was revoked.
func TestRevocationIsUnderstoodByOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	ca := newCA(t)
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(caFile, ca.PEM(), 0o600))
	addr := serveFaulty(t, ca, wrong(t, ca, scenarios.TLSFault{Certificate: scenarios.CertificateRevoked}))
	cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", addr, "-servername", "a.example", "-status", "-CAfile", caFile)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "OCSP Response Status: successful")
	assert.Contains(t, string(out), "Cert Status: revoked")
	assert.Contains(t, string(out), "Revocation Reason: keyCompromise")
	assert.Contains(t, string(out), "Verify return code: 0 (ok)", "without a look at the response all is well")
}

// TestTLSFaults shows each fault of the protocol to Go's own client.
func TestTLSFaults(t *testing.T) {
	ca := newCA(t)
	for name, test := range map[string]struct {
		fault     scenarios.TLSFault
		complaint string
	}{
		"only TLS 1.0":                      {scenarios.TLSFault{MaxVersion: scenarios.TLS10}, "tls: protocol version not supported"},
		"only TLS 1.1":                      {scenarios.TLSFault{MaxVersion: scenarios.TLS11}, "tls: protocol version not supported"},
		"no cipher in common":               {scenarios.TLSFault{Handshake: scenarios.HandshakeNoSharedCipher}, "remote error: tls: handshake failure"},
		"closes":                            {scenarios.TLSFault{Handshake: scenarios.HandshakeClose}, "EOF"},
		"resets":                            {scenarios.TLSFault{Handshake: scenarios.HandshakeReset}, "connection reset by peer"},
		"speaks plain HTTP":                 {scenarios.TLSFault{Handshake: scenarios.HandshakeHTTP}, "server gave HTTP response to HTTPS client"},
		"speaks gibberish":                  {scenarios.TLSFault{Handshake: scenarios.HandshakeGarbage}, "first record does not look like a TLS handshake"},
		"announces HTTP/2, speaks HTTP/1.1": {scenarios.TLSFault{ALPN: scenarios.ALPNH2Announced}, "http2: "},
		"announces HTTP/1.1, speaks HTTP/2": {scenarios.TLSFault{ALPN: scenarios.ALPNH2Spoken}, "malformed HTTP response"},
		"breaks the first record":           {scenarios.TLSFault{CorruptAfter: 1}, "local error: tls: bad record MAC"},
		"breaks a later record":             {scenarios.TLSFault{CorruptAfter: 2000}, "local error: tls: bad record MAC"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ask(t, serveFaulty(t, ca, wrong(t, ca, test.fault)), &tls.Config{RootCAs: pool(t, ca)})
			require.ErrorContains(t, err, test.complaint)
		})
	}
}

// With TLS 1.3 a client without a certificate learns that one is wanted after its handshake, with older ones
// during it. It does not send anything here, as that would race with the server's end of the connection.
func TestTLSClientCertificateIsDemanded(t *testing.T) {
	ca := newCA(t)
	config := &tls.Config{RootCAs: pool(t, ca), ServerName: "a.example"}
	conn, err := tls.Dial("tcp", serveFaulty(t, ca, wrong(t, ca, scenarios.TLSFault{ClientCertificate: true})), config)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	require.ErrorContains(t, err, "remote error: tls: certificate required")

	fault := scenarios.TLSFault{ClientCertificate: true, MaxVersion: scenarios.TLS12}
	_, err = tls.Dial("tcp", serveFaulty(t, ca, wrong(t, ca, fault)), config)
	require.ErrorContains(t, err, "remote error: tls: handshake failure")
}

// A fault leaves alone the clients that it is not about.
func TestTLSFaultsSpareOthers(t *testing.T) {
	ca := newCA(t)
	for name, test := range map[string]struct {
		fault  scenarios.TLSFault
		client *tls.Config
	}{
		"old clients of an old server":           {scenarios.TLSFault{MaxVersion: scenarios.TLS10}, &tls.Config{MinVersion: tls.VersionTLS10}},
		"new clients of a server of TLS 1.2":     {scenarios.TLSFault{MaxVersion: scenarios.TLS12}, &tls.Config{}},
		"clients that know RC4":                  {scenarios.TLSFault{Handshake: scenarios.HandshakeNoSharedCipher}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}}},
		"clients that have a certificate":        {scenarios.TLSFault{ClientCertificate: true}, &tls.Config{Certificates: []tls.Certificate{leafOf(t, ca)}}},
		"connections that end before the record": {scenarios.TLSFault{CorruptAfter: 1 << 30}, &tls.Config{}},
	} {
		t.Run(name, func(t *testing.T) {
			test.client.RootCAs = pool(t, ca)
			_, err := ask(t, serveFaulty(t, ca, wrong(t, ca, test.fault)), test.client)
			require.NoError(t, err)
		})
	}
}

func leafOf(t *testing.T, ca *fakeupstream.CA) tls.Certificate {
	leaf, err := ca.Leaf("client.example")
	require.NoError(t, err)
	return leaf
}

// A handshake that stalls holds the connection until the client goes, and what has been said is what was declared.
func TestTLSHandshakeStalls(t *testing.T) {
	ca := newCA(t)
	for name, test := range map[string]struct {
		how   scenarios.Handshake
		first byte // type of the record that comes; 0: nothing
	}{
		"after the ClientHello": {scenarios.HandshakeStall, 0},
		"after the ServerHello": {scenarios.HandshakeStallServerHello, 0x16},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serveFaulty(t, ca, wrong(t, ca, scenarios.TLSFault{Handshake: test.how}))
			conn, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(time.Second)))
			var seen strings.Builder
			err = tls.Client(teeConn{conn, io.TeeReader(conn, &seen)}, &tls.Config{ServerName: "a.example", RootCAs: pool(t, ca)}).Handshake()
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			if test.first == 0 {
				assert.Empty(t, seen.String())
				return
			}
			require.NotEmpty(t, seen.String())
			assert.Equal(t, test.first, seen.String()[0])
			assert.Len(t, seen.String(), 5+int(seen.String()[3])<<8+int(seen.String()[4]), "one record")
		})
	}
}

type teeConn struct {
	net.Conn
	io.Reader
}

func (c teeConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }

// A fault that is chosen by the server name meets it whatever the host's own name is.
func TestWhenTLS(t *testing.T) {
	ca := newCA(t)
	forbidden := func(h *fakeupstream.Hello) bool { return h.ServerName == "b.example" }
	addr := serveFaulty(t, ca, fakeupstream.WhenTLS(forbidden, wrong(t, ca, scenarios.TLSFault{Handshake: scenarios.HandshakeReset})))
	_, err := ask(t, addr, &tls.Config{RootCAs: pool(t, ca)})
	require.NoError(t, err)
	_, err = tls.Dial("tcp", addr, &tls.Config{RootCAs: pool(t, ca), ServerName: "b.example"})
	assert.True(t, errors.Is(err, syscall.ECONNRESET), "%v", err)
}

// A server that speaks plain HTTP on the port of TLS does so to clients who know, too.
func TestPlainHTTPOnTheTLSPort(t *testing.T) {
	ca := newCA(t)
	addr := serveFaulty(t, ca, wrong(t, ca, scenarios.TLSFault{Handshake: scenarios.HandshakeHTTP}))
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, resp.StatusCode)
}

// An honest handshake through the listener gives HTTP/2.
func TestTLSListenerSpeaksHTTP2(t *testing.T) {
	ca := newCA(t)
	resp, err := ask(t, serveFaulty(t, ca), &tls.Config{RootCAs: pool(t, ca)})
	require.NoError(t, err)
	assert.Equal(t, 2, resp.ProtoMajor)
}

func FuzzParseCertificate(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		cert, err := fakeupstream.ParseCertificate(data)
		if err == nil {
			assert.NotEmpty(t, cert.Certificate)
			assert.NotNil(t, cert.PrivateKey)
		}
	})
}
