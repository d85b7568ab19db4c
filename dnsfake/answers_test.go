package dnsfake_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/dnsfake"
	"github.com/simrun/simrun/scenarios"
)

// datagrams sends a query over UDP and returns what comes back, as far as so many datagrams.
func datagrams(t *testing.T, srv *dnsfake.Server, q *dns.Msg, most int) (all [][]byte) {
	t.Helper()
	conn, err := net.Dial("udp", srv.Addr())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(packed(t, q))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	for range most {
		b := make([]byte, dns.MaxMsgSize)
		n, err := conn.Read(b)
		require.NoError(t, err)
		all = append(all, b[:n])
	}
	return all
}

func TestTruncatedAnswersSendClientsToTCP(t *testing.T) {
	srv := serve(t, dnsfake.Answer(scenarios.AnswerTruncated)(honest()))
	m := exchange(t, srv, "udp", query("a.example.", dns.TypeA))
	assert.True(t, m.Truncated)
	assert.Empty(t, m.Answer)
	assert.Len(t, exchange(t, srv, "tcp", query("a.example.", dns.TypeA)).Answer, 2)
	addrs, err := resolver(srv).LookupNetIP(t.Context(), "ip", "a.example.")
	require.NoError(t, err)
	assert.Len(t, addrs, 3, "Go's resolver comes back over TCP")
}

func TestOversizedAnswersDoNotFit(t *testing.T) {
	srv := serve(t, dnsfake.Answer(scenarios.AnswerOversized)(honest()))
	for _, size := range []uint16{0, 1232, 4000} { // bytes that the client takes by EDNS0; 0: it does not say
		q := query("a.example.", dns.TypeA)
		if size > 0 {
			q.SetEdns0(size, false)
		}
		b := datagrams(t, srv, q, 1)[0]
		assert.Greater(t, len(b), max(int(size), 512))
		var m dns.Msg
		require.NoError(t, m.Unpack(b))
		assert.False(t, m.Truncated)
		assert.Len(t, addresses(&m), 2, "whoever takes all of it finds the truth")
	}
	assert.Len(t, exchange(t, srv, "tcp", query("a.example.", dns.TypeA)).Answer, 2, "over TCP there is no such size")
}

func TestMalformedAnswers(t *testing.T) {
	q := query("a.example.", dns.TypeA)
	for _, tc := range []struct {
		answer scenarios.DNSAnswer
		shows  func(t *testing.T, b []byte)
	}{
		{scenarios.AnswerWrongID, func(t *testing.T, b []byte) {
			m := unpacked(t, b)
			assert.NotEqual(t, q.Id, m.Id)
			assert.Len(t, m.Answer, 2)
		}},
		{scenarios.AnswerWrongQuestion, func(t *testing.T, b []byte) {
			m := unpacked(t, b)
			assert.Equal(t, q.Id, m.Id)
			assert.NotEqual(t, q.Question, m.Question)
			assert.Len(t, m.Answer, 2)
		}},
		{scenarios.AnswerCut, func(t *testing.T, b []byte) {
			assert.Equal(t, packed(t, q)[12:], b[12:len(packed(t, q))], "the question is whole")
			assert.ErrorContains(t, new(dns.Msg).Unpack(b), "too small")
		}},
		{scenarios.AnswerPointerLoop, func(t *testing.T, b []byte) {
			assert.Equal(t, packed(t, q)[12:], b[12:len(packed(t, q))], "the question is whole")
			assert.ErrorContains(t, new(dns.Msg).Unpack(b), "pointer")
		}},
		{scenarios.AnswerGarbage, func(t *testing.T, b []byte) {
			m := new(dns.Msg)
			_ = m.Unpack(b) // it is wrong in more ways than one
			assert.NotEqual(t, q.Id, m.Id)
			assert.False(t, m.Response)
		}},
	} {
		t.Run(string(tc.answer), func(t *testing.T) {
			srv := serve(t, dnsfake.Answer(tc.answer)(honest()))
			tc.shows(t, datagrams(t, srv, q, 1)[0])
			r := resolver(srv)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // it waits in vain for better ones
			defer cancel()
			_, err := r.LookupHost(ctx, "a.example.")
			assert.Error(t, err, "Go's resolver makes nothing of it")
		})
	}
}

func unpacked(t *testing.T, b []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	require.NoError(t, m.Unpack(b))
	return m
}

func TestCNAMEsPrecedeTheAddresses(t *testing.T) {
	srv := serve(t, dnsfake.CNAMEs(3)(honest()))
	m := exchange(t, srv, "udp", query("a.example.", dns.TypeA))
	require.Len(t, m.Answer, 5)
	name := "a.example."
	for _, rr := range m.Answer[:3] {
		assert.Equal(t, name, rr.Header().Name)
		name = rr.(*dns.CNAME).Target
	}
	assert.Equal(t, name, m.Answer[3].Header().Name, "the chain ends at the addresses")
	addrs, err := resolver(srv).LookupHost(t.Context(), "a.example.")
	require.NoError(t, err)
	assert.Len(t, addrs, 3)

	assert.Equal(t, dns.RcodeNameError, exchange(t, srv, "udp", query("missing.example.", dns.TypeA)).Rcode)
	assert.Empty(t, exchange(t, srv, "udp", query("missing.example.", dns.TypeA)).Answer)
}

func TestLongChainsComeOverTCP(t *testing.T) {
	srv := serve(t, dnsfake.CNAMEs(100)(honest()))
	assert.True(t, exchange(t, srv, "udp", query("a.example.", dns.TypeA)).Truncated)
	assert.Len(t, exchange(t, srv, "tcp", query("a.example.", dns.TypeA)).Answer, 102)
}

func TestCNAMELoopLeadsNowhere(t *testing.T) {
	srv := serve(t, dnsfake.Answer(scenarios.AnswerCNAMELoop)(honest()))
	m := exchange(t, srv, "udp", query("a.example.", dns.TypeA))
	require.Len(t, m.Answer, 2)
	assert.Equal(t, m.Answer[0].Header().Name, m.Answer[1].(*dns.CNAME).Target)
	assert.Equal(t, m.Answer[1].Header().Name, m.Answer[0].(*dns.CNAME).Target)
	_, err := resolver(srv).LookupHost(t.Context(), "a.example.")
	var dnsErr *net.DNSError
	require.ErrorAs(t, err, &dnsErr)
	assert.True(t, dnsErr.IsNotFound)
}

func TestTTLOfEveryRecord(t *testing.T) {
	h := dnsfake.TTL(0)(honest())
	assert.EqualValues(t, 0, ask(h, query("a.example.", dns.TypeA)).Answer[1].Header().Ttl)
	assert.EqualValues(t, 0, ask(h, query("missing.example.", dns.TypeA)).Ns[0].Header().Ttl)
	q := query("a.example.", dns.TypeA).SetEdns0(1232, true)
	assert.True(t, ask(h, q).IsEdns0().Do(), "the OPT record keeps its flags, which stand where others have a TTL")
}

func TestRotateGivesEachAddressItsTurn(t *testing.T) {
	h := dnsfake.Rotate()(honest())
	var firsts []string
	for range 4 {
		ask(h, query("A.example.", dns.TypeAAAA)) // counts by itself
		m := ask(h, query("a.example.", dns.TypeA))
		assert.Len(t, addresses(m), 2)
		firsts = append(firsts, addresses(m)[0])
	}
	assert.Equal(t, []string{"192.0.2.2", "192.0.2.1", "192.0.2.2", "192.0.2.1"}, firsts)
}

func TestAddressReplacesTheTruth(t *testing.T) {
	h := dnsfake.Address(netip.MustParseAddr("0.0.0.0"))(honest())
	for _, name := range []string{"a.example.", "missing.example."} {
		assert.Equal(t, []string{"0.0.0.0"}, addresses(ask(h, query(name, dns.TypeA))))
		m := ask(h, query(name, dns.TypeAAAA))
		assert.Equal(t, dns.RcodeSuccess, m.Rcode)
		assert.Empty(t, m.Answer, "a family without a forged address has none")
	}
	assert.Equal(t, dns.RcodeNameError, ask(h, query("missing.example.", dns.TypeMX)).Rcode, "other types are left alone")
}

func TestInjectedAnswersComeFirst(t *testing.T) {
	forge := dnsfake.Address(netip.MustParseAddr("203.0.113.7"))
	srv := serve(t, dnsfake.Inject(forge, dnsfake.Delay(20*time.Millisecond, 0, rng()))(honest()))
	both := datagrams(t, srv, query("a.example.", dns.TypeA), 2)
	assert.Equal(t, []string{"203.0.113.7"}, addresses(unpacked(t, both[0])))
	assert.Equal(t, []string{"192.0.2.1", "192.0.2.2"}, addresses(unpacked(t, both[1])))
	assert.Len(t, exchange(t, srv, "tcp", query("a.example.", dns.TypeA)).Answer, 2, "nothing is injected into TCP")
	addrs, err := resolver(srv).LookupHost(t.Context(), "a.example.")
	require.NoError(t, err)
	assert.Contains(t, addrs, "203.0.113.7", "Go's resolver takes what comes first")
}

// TestFaultBitesWhatItChanges counts the queries, among a fixed handful, that a fault has changed.
func TestFaultBitesWhatItChanges(t *testing.T) {
	queries := []*dns.Msg{
		query("a.example.", dns.TypeA), query("a.example.", dns.TypeA), query("a.example.", dns.TypeAAAA),
		query("missing.example.", dns.TypeA), query("empty.example.", dns.TypeA),
	}
	minute := time.Minute
	for _, tc := range []struct {
		fault scenarios.DNSFault
		want  int
	}{
		{scenarios.DNSFault{Rotate: true}, 1},
		{scenarios.DNSFault{CNAMEs: 2}, 4},
		{scenarios.DNSFault{TTL: &minute}, 5},
		{scenarios.DNSFault{TTL: &minute, CNAMEs: 1, Delay: 1}, 5},
		{scenarios.DNSFault{Address: "four.example"}, 5},
		{scenarios.DNSFault{Answer: scenarios.AnswerGarbage}, 5},
		{scenarios.DNSFault{Answer: scenarios.AnswerServFail, Injected: true}, 5},
	} {
		bites := 0
		h := dnsfake.Fault(tc.fault, zone, rng(), func() { bites++ })(honest())
		for _, q := range queries {
			h.ServeDNS(&discard{}, q)
		}
		assert.Equal(t, tc.want, bites, "%+v", tc.fault)
	}
}

// discard is a writer that takes everything.
type discard struct{ memoryWriter }

func (*discard) Write(b []byte) (int, error) { return len(b), nil }

func TestFaultTakesAddressesFromTheZone(t *testing.T) {
	h := dnsfake.Fault(scenarios.DNSFault{Name: "a.*", Address: "Four.example"}, zone, rng(), nil)(honest())
	assert.Equal(t, []string{"192.0.2.4"}, addresses(ask(h, query("a.example.", dns.TypeA))))
	h = dnsfake.Fault(scenarios.DNSFault{Address: "::1"}, zone, rng(), nil)(honest())
	assert.Equal(t, []string{"::1"}, addresses(ask(h, query("a.example.", dns.TypeAAAA))))
}

func TestObserveTellsMalformedFromWellFormed(t *testing.T) {
	for answer, want := range map[scenarios.DNSAnswer]string{
		scenarios.AnswerCut: dnsfake.Malformed, scenarios.AnswerWrongID: "noerror", scenarios.AnswerNoData: dnsfake.NoData,
	} {
		var seen []string
		h := dnsfake.Observe(func(q dnsfake.Query) { seen = append(seen, q.Rcode) })(dnsfake.Answer(answer)(honest()))
		h.ServeDNS(&discard{}, query("a.example.", dns.TypeA))
		assert.Equal(t, []string{want}, seen, answer)
	}
}
