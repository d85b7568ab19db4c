package dnsfake_test

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/dnsfake"
	"github.com/simrun/simrun/scenarios"
)

func rng() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// ask calls h as a server would, and returns its answer, or nil if it gives none.
func ask(h dns.Handler, q *dns.Msg) *dns.Msg {
	var w memoryWriter
	h.ServeDNS(&w, q)
	return w.answer
}

type memoryWriter struct {
	dns.ResponseWriter
	answer *dns.Msg
}

func (*memoryWriter) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53} }
func (*memoryWriter) RemoteAddr() net.Addr {
	return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 4000}
}
func (w *memoryWriter) WriteMsg(m *dns.Msg) (_ error) { w.answer = m; return }

func TestAnswersWithoutRecords(t *testing.T) {
	for answer, want := range map[scenarios.DNSAnswer]int{
		scenarios.AnswerNXDomain: dns.RcodeNameError,
		scenarios.AnswerServFail: dns.RcodeServerFailure,
		scenarios.AnswerRefused:  dns.RcodeRefused,
		scenarios.AnswerNoData:   dns.RcodeSuccess,
	} {
		t.Run(string(answer), func(t *testing.T) {
			srv := serve(t, dnsfake.Answer(answer)(honest()))
			m := exchange(t, srv, "udp", query("a.example.", dns.TypeA))
			assert.Equal(t, want, m.Rcode)
			assert.Empty(t, m.Answer)

			_, err := resolver(srv).LookupHost(t.Context(), "a.example.")
			var dnsErr *net.DNSError
			require.ErrorAs(t, err, &dnsErr)
			negative := answer == scenarios.AnswerNXDomain || answer == scenarios.AnswerNoData
			assert.Equal(t, negative, dnsErr.IsNotFound, dnsErr.Error())
		})
	}
	assert.PanicsWithValue(t, `dnsfake: unknown answer "gone"`, func() { dnsfake.Answer("gone") })
}

func TestDropShare(t *testing.T) {
	for _, tc := range []struct {
		share    scenarios.Fraction
		min, max int // answers out of 1000
	}{
		{0, 1000, 1000}, {0.25, 700, 800}, {1, 0, 0},
	} {
		h := dnsfake.Drop(tc.share, rng())(honest())
		answers := 0
		for range 1000 {
			if ask(h, query("a.example.", dns.TypeA)) != nil {
				answers++
			}
		}
		assert.GreaterOrEqual(t, answers, tc.min, "share %v", tc.share)
		assert.LessOrEqual(t, answers, tc.max, "share %v", tc.share)
	}
}

func TestDropOnTheWire(t *testing.T) {
	seen := make(chan dnsfake.Query, 1)
	srv := serve(t, dnsfake.Observe(func(q dnsfake.Query) { seen <- q })(dnsfake.Drop(1, rng())(honest())))
	conn, err := dns.Dial("udp", srv.Addr())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.WriteMsg(query("a.example.", dns.TypeA)))
	assert.Equal(t, dnsfake.NoAnswer, (<-seen).Rcode)
}

// The fate of the queries for a name and type must not depend on what else is asked meanwhile.
func TestDropIsRepeatablePerQuestion(t *testing.T) {
	fates := func(also bool) []bool {
		h := dnsfake.Drop(0.5, rng())(honest())
		var all []bool
		for range 64 {
			if also {
				ask(h, query("a.example.", dns.TypeAAAA))
			}
			all = append(all, ask(h, query("a.example.", dns.TypeA)) != nil)
		}
		return all
	}
	assert.Equal(t, fates(false), fates(true))
}

func TestDelayHoldsUpNoOtherQuery(t *testing.T) {
	slow := func(_ dns.ResponseWriter, m *dns.Msg) bool { return m.Question[0].Name == "four.example." }
	srv := serve(t, dnsfake.When(slow, dnsfake.Delay(time.Hour, 0, rng()))(honest()))
	for _, network := range []string{"udp", "tcp"} {
		conn, err := dns.Dial(network, srv.Addr())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.WriteMsg(query("four.example.", dns.TypeA)))
		require.NoError(t, conn.WriteMsg(query("a.example.", dns.TypeA)))
		m, err := conn.ReadMsg()
		require.NoError(t, err)
		assert.Equal(t, "a.example.", m.Question[0].Name)
	}
}

func TestDelay(t *testing.T) {
	for _, tc := range []struct{ delay, jitter, min, max time.Duration }{
		{0, 0, 0, 0},
		{time.Second, 0, time.Second, time.Second},
		{time.Hour, time.Minute, 59 * time.Minute, 61 * time.Minute},
		{time.Second, time.Hour, 0, time.Hour + time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := dnsfake.Delay(tc.delay, tc.jitter, rng())(honest())
			took := make(map[time.Duration]bool)
			for range 20 {
				start := time.Now()
				require.NotNil(t, ask(h, query("a.example.", dns.TypeA)))
				d := time.Since(start)
				assert.GreaterOrEqual(t, d, tc.min)
				assert.LessOrEqual(t, d, tc.max)
				took[d] = true
			}
			assert.Equal(t, tc.jitter > 0, len(took) > 1, "delays vary if, and only if, there is jitter")
		})
	}
}

func TestWhen(t *testing.T) {
	isAAAA := func(_ dns.ResponseWriter, m *dns.Msg) bool { return m.Question[0].Qtype == dns.TypeAAAA }
	h := dnsfake.When(isAAAA, dnsfake.Answer(scenarios.AnswerRefused))(honest())
	assert.Equal(t, dns.RcodeRefused, ask(h, query("a.example.", dns.TypeAAAA)).Rcode)
	assert.Equal(t, dns.RcodeSuccess, ask(h, query("a.example.", dns.TypeA)).Rcode)
}

func TestFault(t *testing.T) {
	const asks = 100
	for _, tc := range []struct {
		name     string
		fault    scenarios.DNSFault
		rcode    int
		min, max int64 // bites
	}{
		{"nothing", scenarios.DNSFault{}, dns.RcodeSuccess, 0, 0},
		{"answer", scenarios.DNSFault{Answer: scenarios.AnswerServFail}, dns.RcodeServerFailure, asks, asks},
		{"name", scenarios.DNSFault{Name: "a.*", Answer: scenarios.AnswerServFail}, dns.RcodeServerFailure, asks, asks},
		{"star crosses dots", scenarios.DNSFault{Name: "*example", Answer: scenarios.AnswerRefused}, dns.RcodeRefused, asks, asks},
		{"other name", scenarios.DNSFault{Name: "b.*", Answer: scenarios.AnswerServFail}, dns.RcodeSuccess, 0, 0},
		{"type", scenarios.DNSFault{Type: "a", Answer: scenarios.AnswerServFail}, dns.RcodeServerFailure, asks, asks},
		{"other type", scenarios.DNSFault{Type: "AAAA", Answer: scenarios.AnswerServFail}, dns.RcodeSuccess, 0, 0},
		{"delay", scenarios.DNSFault{Delay: time.Microsecond}, dns.RcodeSuccess, asks, asks},
		{"jitter", scenarios.DNSFault{Jitter: time.Microsecond}, dns.RcodeSuccess, asks, asks},
		{"half dropped", scenarios.DNSFault{Drop: 0.5}, dns.RcodeSuccess, 30, 70},
		{"all dropped", scenarios.DNSFault{Drop: 1}, -1, asks, asks},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var bites atomic.Int64
			h := dnsfake.Fault(tc.fault, nil, rng(), func() { bites.Add(1) })(honest())
			for range asks {
				if m := ask(h, query("A.example.", dns.TypeA)); m != nil {
					assert.Equal(t, tc.rcode, m.Rcode)
				}
			}
			assert.GreaterOrEqual(t, bites.Load(), tc.min)
			assert.LessOrEqual(t, bites.Load(), tc.max)
		})
	}
}

func TestFaultWithoutCounter(t *testing.T) {
	h := dnsfake.Fault(scenarios.DNSFault{Answer: scenarios.AnswerRefused}, nil, rng(), nil)(honest())
	assert.Equal(t, dns.RcodeRefused, ask(h, query("a.example.", dns.TypeA)).Rcode)
}

func TestObserve(t *testing.T) {
	var seen []dnsfake.Query
	h := dnsfake.Observe(func(q dnsfake.Query) { seen = append(seen, q) })(honest())
	ask(h, query("A.example.", dns.TypeA))
	ask(h, query("four.example.", dns.TypeAAAA))
	ask(h, query("missing.example.", dns.TypeA))
	ask(h, new(dns.Msg))
	var got []string
	for _, q := range seen {
		got = append(got, q.Net+" "+q.Client.String()+" "+q.Name+" "+q.Type+" "+q.Rcode)
		assert.False(t, q.Time.IsZero())
	}
	assert.Equal(t, []string{
		"udp 127.0.0.2:4000 a.example A noerror",
		"udp 127.0.0.2:4000 four.example AAAA nodata",
		"udp 127.0.0.2:4000 missing.example A nxdomain",
		"udp 127.0.0.2:4000   formerr",
	}, got)
}

// With the race detector on, this finds state that handlers share without a lock.
func TestManyAtOnce(t *testing.T) {
	var answered atomic.Int64
	count := dnsfake.Observe(func(q dnsfake.Query) {
		if q.Rcode != dnsfake.NoAnswer {
			answered.Add(1)
		}
	})
	fault := dnsfake.Fault(scenarios.DNSFault{Drop: 0.1, Jitter: time.Microsecond}, nil, rng(), func() {})
	h := count(fault(honest()))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				ask(h, query("a.example.", dns.TypeA))
			}
		})
	}
	wg.Wait()
	assert.InDelta(t, 720, answered.Load(), 60)
}
