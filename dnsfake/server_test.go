package dnsfake_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/dnsfake"
)

var zone = dnsfake.Zone{
	"a.example":       {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")},
	"four.example":    {netip.MustParseAddr("192.0.2.4")},
	"mapped.example":  {netip.MustParseAddr("::ffff:192.0.2.5")},
	"empty.example":   {},
	"x.deep.example":  {netip.MustParseAddr("192.0.2.6")},
	"crowded.example": crowd(100),
}

// crowd returns n addresses: more than fit into a datagram of 512 bytes if n is large.
func crowd(n int) []netip.Addr {
	addrs := make([]netip.Addr, n)
	addr := netip.MustParseAddr("198.51.100.0")
	for i := range addrs {
		addrs[i] = addr
		addr = addr.Next()
	}
	return addrs
}

func serve(t *testing.T, h dns.Handler) *dnsfake.Server {
	t.Helper()
	srv, err := dnsfake.Listen("127.0.0.1:0", h)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, srv.Close()) })
	return srv
}

func honest() dns.Handler { return dnsfake.Handler(zone, time.Minute) }

func query(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, qtype)
}

// exchange fails the test if there is no answer within a time that is long for loopback.
func exchange(t *testing.T, srv *dnsfake.Server, network string, q *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 20 * time.Second}
	m, _, err := c.Exchange(q, srv.Addr())
	require.NoError(t, err)
	return m
}

func TestZoneAnswers(t *testing.T) {
	srv := serve(t, honest())
	for _, tc := range []struct {
		name  string
		qtype uint16
		rcode int
		want  []string
	}{
		{"a.example.", dns.TypeA, dns.RcodeSuccess, []string{"192.0.2.1", "192.0.2.2"}},
		{"a.example.", dns.TypeAAAA, dns.RcodeSuccess, []string{"2001:db8::1"}},
		{"A.eXample.", dns.TypeA, dns.RcodeSuccess, []string{"192.0.2.1", "192.0.2.2"}},
		{"mapped.example.", dns.TypeA, dns.RcodeSuccess, []string{"192.0.2.5"}},
		{"four.example.", dns.TypeAAAA, dns.RcodeSuccess, nil},
		{"empty.example.", dns.TypeA, dns.RcodeSuccess, nil},
		{"deep.example.", dns.TypeA, dns.RcodeSuccess, nil},
		{".", dns.TypeNS, dns.RcodeSuccess, nil},
		{"a.example.", dns.TypeMX, dns.RcodeSuccess, nil},
		{"missing.example.", dns.TypeA, dns.RcodeNameError, nil},
		{"b.a.example.", dns.TypeA, dns.RcodeNameError, nil},
	} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(network+" "+tc.name+dns.Type(tc.qtype).String(), func(t *testing.T) {
				m := exchange(t, srv, network, query(tc.name, tc.qtype))
				assert.Equal(t, dns.RcodeToString[tc.rcode], dns.RcodeToString[m.Rcode])
				assert.Equal(t, tc.want, addresses(m))
				assert.True(t, m.Authoritative)
				if tc.want == nil {
					require.Len(t, m.Ns, 1)
					assert.IsType(t, &dns.SOA{}, m.Ns[0], "RFC 2308 needs an SOA record")
				}
			})
		}
	}
}

func addresses(m *dns.Msg) []string {
	var all []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			all = append(all, rr.A.String())
		case *dns.AAAA:
			all = append(all, rr.AAAA.String())
		}
	}
	return all
}

func TestTTL(t *testing.T) {
	m := exchange(t, serve(t, dnsfake.Handler(zone, 90*time.Second)), "udp", query("a.example.", dns.TypeA))
	assert.EqualValues(t, 90, m.Answer[0].Header().Ttl)
}

func TestZoneIsCopied(t *testing.T) {
	z := dnsfake.Zone{"a.example": zone["a.example"]}
	srv := serve(t, dnsfake.Handler(z, time.Minute))
	delete(z, "a.example")
	assert.NotEmpty(t, exchange(t, srv, "udp", query("a.example.", dns.TypeA)).Answer)
}

func TestTruncation(t *testing.T) {
	srv := serve(t, honest())
	for _, tc := range []struct {
		name      string
		network   string
		size      uint16 // of the client's EDNS0 option; 0: none
		truncated bool
	}{
		{"UDP without EDNS0", "udp", 0, true},
		{"UDP with a small buffer", "udp", 600, true},
		{"UDP with a buffer below the minimum", "udp", 100, true},
		{"UDP with a large buffer", "udp", 4096, false},
		{"TCP", "tcp", 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := query("crowded.example.", dns.TypeA)
			if tc.size > 0 {
				q.SetEdns0(tc.size, false)
			}
			m := exchange(t, srv, tc.network, q)
			assert.Equal(t, tc.truncated, m.Truncated)
			assert.Equal(t, tc.truncated, len(m.Answer) < 100)
			assert.Equal(t, tc.size > 0, m.IsEdns0() != nil, "RFC 6891 section 6.1.1: OPT answers OPT, and nothing else")
			if tc.truncated {
				m.Compress = true // as it was sent
				assert.LessOrEqual(t, m.Len(), max(dns.MinMsgSize, int(tc.size)))
			}
		})
	}
}

func TestMalformedQueries(t *testing.T) {
	srv := serve(t, honest())
	for _, tc := range []struct {
		name  string
		edit  func(*dns.Msg)
		rcode int
	}{
		{"no question", func(m *dns.Msg) { m.Question = nil }, dns.RcodeFormatError},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, dns.RcodeFormatError},
		{"update", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		{"chaos class", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		{"EDNS version 1", func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }, dns.RcodeBadVers},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := query("a.example.", dns.TypeA)
			tc.edit(q)
			m := exchange(t, srv, "udp", q)
			assert.Equal(t, tc.rcode, m.Rcode)
			assert.Empty(t, m.Answer)
		})
	}
}

func TestGarbageIsAnsweredWithFormatErrorOrNotAtAll(t *testing.T) {
	srv := serve(t, honest())
	conn, err := net.Dial("udp", srv.Addr())
	require.NoError(t, err)
	defer conn.Close()

	answer := packed(t, query("a.example.", dns.TypeA))
	answer[2] |= 0x80 // QR: it claims to be an answer
	cut := packed(t, query("a.example.", dns.TypeA))
	cut[1]++
	cut = cut[:20]
	for _, msg := range [][]byte{{1, 2, 3}, answer, cut} {
		_, err := conn.Write(msg)
		require.NoError(t, err)
	}

	buf := make([]byte, 512)
	n, err := conn.Read(buf)
	require.NoError(t, err)
	var m dns.Msg
	require.NoError(t, m.Unpack(buf[:n]))
	assert.Equal(t, dns.RcodeFormatError, m.Rcode, "only the message that was cut is answered")
	assert.Equal(t, binary.BigEndian.Uint16(cut), m.Id)
}

func packed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	require.NoError(t, err)
	return b
}

func TestGoResolver(t *testing.T) {
	for _, preferGo := range []bool{true, false} {
		srv := serve(t, honest())
		r := resolver(srv)
		r.PreferGo = preferGo // without cgo, as the go command is built, both are Go's own
		got, err := r.LookupNetIP(t.Context(), "ip", "a.example.")
		require.NoError(t, err)
		assert.Len(t, got, 3)

		got, err = r.LookupNetIP(t.Context(), "ip4", "crowded.example.")
		require.NoError(t, err)
		assert.Len(t, got, 100, "the resolver must have come back over TCP")

		_, err = r.LookupNetIP(t.Context(), "ip", "missing.example.")
		var dnsErr *net.DNSError
		require.ErrorAs(t, err, &dnsErr)
		assert.True(t, dnsErr.IsNotFound)
	}
}

func resolver(srv *dnsfake.Server) *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, srv.Addr())
		},
	}
}

func TestServeWithoutTCP(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := dnsfake.Serve(pc, nil, honest())
	t.Cleanup(func() { assert.NoError(t, srv.Close()) })
	assert.Equal(t, pc.LocalAddr().String(), srv.Addr())
	assert.NotEmpty(t, exchange(t, srv, "udp", query("a.example.", dns.TypeA)).Answer)
}

func TestListenFailure(t *testing.T) {
	srv := serve(t, honest())
	_, err := dnsfake.Listen(srv.Addr(), honest())
	require.ErrorContains(t, err, `listen for DNS on "`+srv.Addr()+`"`)
}

func TestCloseIsIdempotent(t *testing.T) {
	srv, err := dnsfake.Listen("127.0.0.1:0", honest())
	require.NoError(t, err)
	require.NoError(t, srv.Close())
	require.NoError(t, srv.Close())
}

func TestCloseReportsWhatEndedTheServer(t *testing.T) {
	pc := brokenConn{closed: make(chan struct{})}
	srv := dnsfake.Serve(pc, nil, honest())
	<-pc.closed
	assert.ErrorIs(t, srv.Close(), io.ErrUnexpectedEOF)
}

// brokenConn is a packet connection that fails at once.
type brokenConn struct {
	net.PacketConn
	closed chan struct{}
}

func (brokenConn) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, io.ErrUnexpectedEOF }
func (brokenConn) LocalAddr() net.Addr                    { return &net.UDPAddr{} }
func (c brokenConn) Close() error                         { close(c.closed); return nil }

func TestCloseEndsDelays(t *testing.T) {
	arrived := make(chan struct{})
	h := dnsfake.Delay(time.Hour, 0, rng())(honest())
	h = dns.HandlerFunc(signal(arrived, h))
	srv, err := dnsfake.Listen("127.0.0.1:0", h)
	require.NoError(t, err)
	conn, err := dns.Dial("tcp", srv.Addr())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.WriteMsg(query("a.example.", dns.TypeA)))
	<-arrived
	require.NoError(t, srv.Close()) // waits for the handler, so would take an hour
	_, err = conn.ReadMsg()
	require.Error(t, err, "the connection is closed without an answer")
}

// signal returns h with a channel that is closed when the first query arrives.
func signal(arrived chan struct{}, h dns.Handler) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		close(arrived)
		h.ServeDNS(w, q)
	}
}
