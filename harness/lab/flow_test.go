//go:build linux

package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A tap keeps what is written to a connection.
type tap struct {
	net.Conn
	written []byte
}

func (c *tap) Write(b []byte) (int, error) {
	c.written = append(c.written, b...)
	return c.Conn.Write(b)
}

// tlsBytes returns what a client of crypto/tls sends for a handshake and a request.
func tlsBytes(t testing.TB, version uint16) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() {
		server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
		_, _ = io.Copy(io.Discard, server) // what fails shows at the client
	}()
	seen := &tap{Conn: near}
	client := tls.Client(seen, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
	require.NoError(t, client.Handshake())
	_, err = client.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	require.NoError(t, err)
	return seen.written
}

// endOfHeader returns where the header of the first record of application data ends (RFC 8446 section 5.1).
func endOfHeader(t testing.TB, stream []byte) int {
	t.Helper()
	const header, applicationData = 5, 23
	for at := 0; at < len(stream); at += header + int(binary.BigEndian.Uint16(stream[at+3:])) {
		if stream[at] == applicationData {
			return at + header
		}
	}
	require.Fail(t, "no application data")
	return 0
}

// feedAll feeds segments in order, and returns after how many bytes the handshake had ended, or -1.
func feedAll(s *clientStream, tunnelled bool, segments ...[]byte) int {
	fed := 0
	for _, b := range segments {
		fed += len(b)
		if s.feed(packet{seq: s.next, payload: b}, tunnelled) {
			return fed
		}
	}
	return -1
}

func TestClientStreamFindsTheEndOfTheHandshake(t *testing.T) {
	for version, name := range map[uint16]string{tls.VersionTLS12: "TLS 1.2", tls.VersionTLS13: "TLS 1.3"} {
		t.Run(name, func(t *testing.T) {
			stream := tlsBytes(t, version)
			end := endOfHeader(t, stream)
			for i := 1; i < len(stream); i++ {
				s := clientStream{next: 1000}
				want := len(stream)
				if i >= end {
					want = i
				}
				require.Equal(t, want, feedAll(&s, false, stream[:i], stream[i:]), "split at %d", i)
				require.True(t, s.tls)
			}
			var s clientStream
			assert.Equal(t, end, feedAll(&s, false, bytewise(stream)...), "byte by byte")
			assert.Equal(t, -1, feedAll(&s, false, stream), "it ends once")

			connect := clientStream{}
			head := []byte("CONNECT a.test:443 HTTP/1.1\r\n\r\n")
			require.Equal(t, -1, feedAll(&connect, false, head[:10], head[10:]))
			assert.True(t, connect.connect)
			assert.False(t, connect.tls)
			assert.Equal(t, end, feedAll(&connect, true, bytewise(stream)...), "in a tunnel")
		})
	}
}

func TestClientStreamFindsTLSBehindSOCKS(t *testing.T) {
	stream := tlsBytes(t, tls.VersionTLS13)
	direct := clientStream{}
	end := feedAll(&direct, false, bytewise(stream)...)
	var s clientStream
	words := [][]byte{[]byte("\x05\x02\x00\x02"), []byte("\x01\x05alice\x01x"), []byte("\x05\x01\x00\x03\x06a.test\x01\xbb")}
	require.Equal(t, -1, feedAll(&s, false, words[0]))
	require.Equal(t, -1, feedAll(&s, true, words[1:]...))
	assert.Equal(t, []bool{true, true, false}, []bool{s.connect, s.socks, s.tls})
	assert.Equal(t, end, feedAll(&s, true, bytewise(stream)...))
	assert.False(t, s.socks, "what follows is the tunnel")
}

func bytewise(b []byte) (segments [][]byte) {
	for i := range b {
		segments = append(segments, b[i:i+1])
	}
	return segments
}

func TestClientStreamTakesRepetitionsAndGapsForNothing(t *testing.T) {
	stream := tlsBytes(t, tls.VersionTLS13)
	half := len(stream) / 4
	s := clientStream{next: 1<<32 - 10} // the sequence number wraps
	first := packet{seq: s.next, payload: stream[:half]}
	rest := packet{seq: s.next + uint32(half), payload: stream[half:]}
	assert.False(t, s.feed(rest, false), "a gap")
	assert.False(t, s.started)
	assert.False(t, s.feed(first, false))
	assert.False(t, s.feed(first, false), "again")
	assert.False(t, s.feed(packet{seq: rest.seq}, false), "no data")
	assert.True(t, s.feed(rest, false))
	assert.False(t, s.feed(rest, false), "again")
}

func TestClientStreamOfPlainHTTP(t *testing.T) {
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "CONNECTION", "C", "CONNECT a.test:443 HTTP/1.1\r\n\r\n"} {
		var s clientStream
		assert.Equal(t, -1, feedAll(&s, false, []byte(text), []byte{23, 3, 3, 0xff, 0xff}), "%q", text)
		assert.False(t, s.tls)
		assert.Equal(t, text[:min(8, len(text))] == "CONNECT ", s.connect, "%q", text)
	}
}

func TestAlertIsNoApplicationData(t *testing.T) {
	hello := []byte{22, 3, 1, 0, 1, 0}
	var s clientStream
	alert := append([]byte{23, 3, 3, 0, 19}, make([]byte, 19)...) // RFC 8446: 2 bytes, the type, and 16 of a tag
	assert.Equal(t, -1, feedAll(&s, false, hello, alert))
	assert.True(t, s.tls)
}

// FuzzClientStream checks that it does not matter how a stream is cut into segments.
func FuzzClientStream(f *testing.F) {
	f.Add(tlsBytes(f, tls.VersionTLS12), 7)
	f.Add(tlsBytes(f, tls.VersionTLS13), 300)
	f.Add([]byte("CONNECT a.test:443 HTTP/1.1\r\n\r\n"), 9)
	f.Fuzz(func(t *testing.T, stream []byte, split int) {
		if split < 8 || split >= len(stream) { // CONNECT is known by 8 bytes, which a kernel sends at once
			return
		}
		var whole, halves clientStream
		assert.Equal(t, feedAll(&whole, false, stream) > 0, feedAll(&halves, false, stream[:split], stream[split:]) > 0)
		assert.Equal(t, []bool{whole.tls, whole.connect, whole.secured}, []bool{halves.tls, halves.connect, halves.secured})
	})
}

func testTracker() (*tracker, *site) { return newTracker(1), &site{name: "a.test"} }

// TestFlow follows one connection from SYN to FIN.
func TestFlow(t *testing.T) {
	tr, s := testTracker()
	at := time.Duration(0)
	up := func(flags byte, seq uint32, payload string) *flow {
		at += ms
		p := parsed(t, segment(clientPort4, hostPort4, flags, seq, 0, payload))
		f := tr.sent(s, p, at)
		tr.reached(f, p, at, at+ms/2)
		return f
	}
	down := func(flags byte, payload string) {
		at += ms
		p := parsed(t, segment(hostPort4, clientPort4, flags, 0, 0, payload))
		tr.delivered(s, tr.find(p.dst, p.src, p.proto), p, at-ms/2, at)
	}
	f := up(flagSYN, 99, "")
	up(flagSYN, 99, "")
	down(flagSYN|flagACK, "")
	up(flagACK, 100, "CONNECT b.test:443 HTTP/1.1\r\n\r\n")
	down(flagACK, "HTTP/1.1 200 OK\r\n\r\n")
	down(flagACK, "more")
	up(flagFIN|flagACK, 131, "")
	down(flagRST, "")
	assert.Equal(t, 2, f.syns)
	assert.Equal(t, []time.Duration{1 * ms, 3 * ms, 5 * ms, 7 * ms}, []time.Duration{f.start, f.established, f.tunnel, f.end})
	assert.False(t, f.reset, "closed before the reset")
	assert.Equal(t, []int64{31, 23}, []int64{f.bytesUp, f.bytesDown})
	assert.Equal(t, []hop{{4 * ms, 4*ms + ms/2}}, f.up)
	assert.Equal(t, []hop{{4*ms + ms/2, 5 * ms}, {5*ms + ms/2, 6 * ms}}, f.down)

	assert.Same(t, f, up(flagACK, 132, ""), "the end of a connection belongs to it")
	again := up(flagSYN, 5, "")
	assert.NotSame(t, f, again, "the port is used again")
	down(flagRST|flagACK, "")
	assert.True(t, again.reset)
	assert.Equal(t, []*flow{f, again}, tr.flows)
	assert.NotEqual(t, f.id, again.id)
}

// TestFlowsAreNamedWithoutTheirPorts checks that chance does not depend on the ports that a kernel picks.
func TestFlowsAreNamedWithoutTheirPorts(t *testing.T) {
	ids := func(ports ...uint16) (ids []uint64) {
		tr, s := testTracker()
		for _, port := range ports {
			p := parsed(t, segment(netip.AddrPortFrom(clientPort4.Addr(), port), hostPort4, flagSYN, 1, 0, ""))
			f := tr.sent(s, p, ms)
			ids = append(ids, f.id, tr.next(f, true), tr.next(f, true), tr.next(f, false))
		}
		return ids
	}
	assert.Equal(t, ids(40000, 40001), ids(50001, 50000))
	assert.Len(t, unique(ids(1, 2, 3)), 3*3, "flow and packet; both directions count from 1")
}

func unique(ids []uint64) map[uint64]bool {
	set := map[uint64]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return set
}

func TestBoundedBuffersCountWhatTheyLose(t *testing.T) {
	tr, s := testTracker()
	for i := range maxFlows + 3 {
		client := netip.AddrPortFrom(clientPort4.Addr(), uint16(i))
		tr.sent(s, packet{src: client, dst: hostPort4, proto: protoTCP, flags: flagSYN}, ms)
	}
	for i := range maxStrays + 2 {
		tr.stray(HostAddrs(i, "ipv4", 1)[0])
		tr.stray(HostAddrs(0, "ipv4", 1)[0]) // known
	}
	f := tr.flows[0]
	for i := range maxHops + 1 {
		tr.reached(f, packet{payload: []byte("x")}, time.Duration(i), time.Duration(i)+1)
	}
	query := packet{src: clientPort4, dst: netip.AddrPortFrom(hostPort4.Addr(), 53), proto: protoUDP, payload: queryFor(t, 1, "a.test", dns.TypeA)}
	for range maxQueries + 4 {
		tr.sent(s, query, ms)
	}
	tr.lose("packets")
	want := map[string]int64{"flows": 3 + maxQueries + 4, "strays": 2, "hops": 1, "queries": 4, "packets": 1}
	assert.Equal(t, want, tr.lost)
	assert.Len(t, tr.flows, maxFlows)
	assert.Len(t, f.up, maxHops)
	assert.Equal(t, hop{maxHops, maxHops + 1}, f.up[maxHops-1], "the latest is kept")
}

func queryFor(t *testing.T, id uint16, name string, kind uint16) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	m.Id = id
	b, err := m.Pack()
	require.NoError(t, err)
	return b
}

func TestQueriesAndAnswersMatch(t *testing.T) {
	tr, s := testTracker()
	server := netip.AddrPortFrom(hostPort4.Addr(), 53)
	other := netip.AddrPortFrom(clientPort4.Addr(), 40001)
	ask := func(from netip.AddrPort, id uint16, kind uint16, at time.Duration) {
		tr.sent(s, parsed(t, datagram(from, server, queryFor(t, id, "A.Test", kind))), at)
	}
	answer := func(to netip.AddrPort, id uint16, at time.Duration, change func(*dns.Msg)) {
		m := new(dns.Msg)
		require.NoError(t, m.Unpack(queryFor(t, id, "a.test", dns.TypeA)))
		m.Response = true
		change(m)
		b, err := m.Pack()
		require.NoError(t, err)
		tr.delivered(s, nil, parsed(t, datagram(server, to, b)), at, at)
	}
	record := func(m *dns.Msg) {
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IP{198, 18, 1, 0}}}
	}
	ask(clientPort4, 1, dns.TypeA, 1)
	ask(other, 1, dns.TypeAAAA, 2)
	ask(clientPort4, 2, dns.TypeA, 3)
	ask(clientPort4, 2, dns.TypeA, 4) // again, unanswered so far
	ask(clientPort4, 3, dns.TypeA, 5)
	answer(other, 1, 10, func(*dns.Msg) {}) // to another question
	answer(other, 1, 11, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA })
	answer(clientPort4, 1, 12, record)
	answer(clientPort4, 1, 13, func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }) // a second answer
	answer(clientPort4, 2, 14, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError })
	answer(clientPort4, 3, 15, func(m *dns.Msg) { m.Truncated = true })
	tr.sent(s, parsed(t, datagram(clientPort4, server, []byte("no DNS"))), 6)
	tr.delivered(s, nil, parsed(t, datagram(server, clientPort4, []byte("no DNS"))), 16, 16)
	ask(clientPort4, 4, dns.TypeA, 7)
	broken := queryFor(t, 4, "a.test", dns.TypeA)
	broken[2] |= 0x80                        // QR: it is an answer
	broken[7] = 1                            // ANCOUNT: with a record
	broken = append(broken, 0xc0, 0x0c, 0x0) // of which not even the type is whole
	tr.delivered(s, nil, parsed(t, datagram(server, clientPort4, broken)), 17, 17)
	var got []string
	for _, q := range tr.queries {
		got = append(got, fmt.Sprintf("%s %s %d-%d %s", q.name, q.kind, q.start, q.end, q.answer))
	}
	assert.Equal(t, []string{"a.test A 1-12 noerror", "a.test AAAA 2-11 nodata", "a.test A 3-0 none", "a.test A 4-14 nxdomain", "a.test A 5-15 truncated",
		"a.test A 7-17 malformed"}, got)
}
