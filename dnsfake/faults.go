package dnsfake

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/simrun/simrun/scenarios"
)

// A Middleware makes a handler out of another one. The handlers that this package's middlewares make may be
// called concurrently. A middleware that takes a random generator draws from it only while it is made, so
// several may be made from the same generator; a seed then fixes what happens to the first, second and so
// on query for each name and type, however queries for different names race each other.
type Middleware func(dns.Handler) dns.Handler

// Delay answers each query after d, give or take a uniformly distributed share of jitter. Negative sums
// count as zero. Queries do not wait for each other. A query that is being delayed when its [Server]
// closes gets no answer.
func Delay(d, jitter time.Duration, rng *rand.Rand) Middleware {
	dice := newDice(rng)
	return func(next dns.Handler) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			wait := d + time.Duration((2*dice.roll(q)-1)*float64(jitter))
			if pause(w, wait) {
				next.ServeDNS(w, q)
			}
		})
	}
}

// pause waits, and reports false if the server closed meanwhile.
func pause(w dns.ResponseWriter, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-closing(w):
		return false
	}
}

// Drop leaves a share of the queries, from 0 to 1, without an answer.
func Drop(share scenarios.Fraction, rng *rand.Rand) Middleware {
	dice := newDice(rng)
	return func(next dns.Handler) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			if dice.roll(q) >= float64(share) {
				next.ServeDNS(w, q)
			}
		})
	}
}

var rcodes = map[scenarios.Rcode]int{
	scenarios.RcodeNXDomain: dns.RcodeNameError,
	scenarios.RcodeNoData:   dns.RcodeSuccess,
	scenarios.RcodeServFail: dns.RcodeServerFailure,
	scenarios.RcodeRefused:  dns.RcodeRefused,
}

// Rcode answers every query with answer and no records. It panics if answer is none of the constants of
// package scenarios.
func Rcode(answer scenarios.Rcode) Middleware {
	rcode, ok := rcodes[answer]
	if !ok {
		panic(fmt.Sprintf("dnsfake: unknown rcode %q", answer))
	}
	reply := newReply
	if rcode == dns.RcodeNameError || rcode == dns.RcodeSuccess {
		reply = newNegative
	}
	return func(dns.Handler) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			send(w, q, reply(q, rcode))
		})
	}
}

// When applies m to the queries for which match returns true; the others pass it by. match may be called
// concurrently, and must not change the message, which has exactly one question if a [Server] got it.
func When(match func(*dns.Msg) bool, m Middleware) Middleware {
	return func(next dns.Handler) dns.Handler {
		matched := m(next)
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			if match(q) {
				matched.ServeDNS(w, q)
				return
			}
			next.ServeDNS(w, q)
		})
	}
}

// Fault does what f declares: the queries that f.Name and f.Type select are dropped, delayed and answered
// as it says, in this order. It calls bit, which may be nil, for each query that went another way than it
// would have gone without the fault; bit may be called concurrently.
func Fault(f scenarios.DNSFault, rng *rand.Rand, bit func()) Middleware {
	var layers []Middleware // from the inside out
	if f.Answer != "" {
		layers = append(layers, Rcode(f.Answer))
	}
	if f.Delay > 0 || f.Jitter > 0 {
		layers = append(layers, Delay(f.Delay, f.Jitter, rng))
	}
	always := len(layers) > 0
	if f.Drop > 0 {
		layers = append(layers, Drop(f.Drop, rng))
	}
	if bit != nil {
		layers = append(layers, Observe(func(q Query) {
			if always || q.Rcode == NoAnswer {
				bit()
			}
		}))
	}
	return When(func(q *dns.Msg) bool { return Selects(&f, q) }, func(h dns.Handler) dns.Handler {
		for _, layer := range layers {
			h = layer(h)
		}
		return h
	})
}

// Selects reports whether a query is one that f is about, by its name and type.
func Selects(f *scenarios.DNSFault, m *dns.Msg) bool {
	if len(m.Question) == 0 {
		return false
	}
	q := m.Question[0]
	if f.Type != "" && !strings.EqualFold(f.Type, typeName(q.Qtype)) {
		return false
	}
	return f.Name == "" || scenarios.Glob(strings.ToLower(f.Name), canonical(q.Name))
}

// What a [Query] has as its Rcode beside the names of RFC 1035 in lower case.
const (
	NoData   = "nodata" // NOERROR without records
	NoAnswer = "none"   // nothing was sent
)

// A Query is what [Observe] tells of one query.
type Query struct {
	Time   time.Time      // when the handler got it
	Net    string         // "udp" or "tcp"
	Name   string         // lower case, without the final dot
	Type   string         // such as "A"
	Rcode  string         // such as "nxdomain", [NoData] or [NoAnswer]
	Client netip.AddrPort // the zero value if the client's address is not an IP address and port
}

// Observe calls see for each query after it was answered or given up. see may be called concurrently.
// An Observe around a fault sees what the client sees; one inside a fault sees what is left of the queries.
func Observe(see func(Query)) Middleware {
	return func(next dns.Handler) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
			q := newQuery(w, m)
			rec := &recorder{ResponseWriter: w, rcode: NoAnswer}
			next.ServeDNS(rec, m)
			q.Rcode = rec.rcode
			see(q)
		})
	}
}

func newQuery(w dns.ResponseWriter, m *dns.Msg) Query {
	q := Query{Time: time.Now(), Net: network(w)}
	q.Client, _ = netip.ParseAddrPort(w.RemoteAddr().String())
	if len(m.Question) > 0 {
		q.Name = canonical(m.Question[0].Name)
		q.Type = typeName(m.Question[0].Qtype)
	}
	return q
}

// recorder is a response writer that remembers how the answer went.
type recorder struct {
	dns.ResponseWriter
	rcode string
}

// WriteMsg implements [dns.ResponseWriter].
func (r *recorder) WriteMsg(m *dns.Msg) error {
	r.rcode = rcodeName(m)
	return r.ResponseWriter.WriteMsg(m)
}

func (r *recorder) closing() <-chan struct{} { return closing(r.ResponseWriter) }

// closing returns a channel that is closed when the server behind w closes. It is nil, so never closed,
// for the writer of another server.
func closing(w dns.ResponseWriter) <-chan struct{} {
	if c, ok := w.(interface{ closing() <-chan struct{} }); ok {
		return c.closing()
	}
	return nil
}

func rcodeName(m *dns.Msg) string {
	if m.Rcode == dns.RcodeSuccess && len(m.Answer) == 0 && !m.Truncated {
		return NoData
	}
	if name, ok := dns.RcodeToString[m.Rcode]; ok {
		return strings.ToLower(name)
	}
	return fmt.Sprintf("rcode%d", m.Rcode) // RFC 3597 has this form for types; rcodes have none
}

func typeName(t uint16) string { return dns.Type(t).String() }

// dice draws random numbers with a stream of its own for each name and type. One stream for all would make
// a run depend on whether the A or the AAAA query of a lookup came first.
type dice struct {
	seed1, seed2 uint64

	mu      sync.Mutex
	streams map[dns.Question]*rand.Rand
}

func newDice(rng *rand.Rand) *dice {
	return &dice{seed1: rng.Uint64(), seed2: rng.Uint64(), streams: make(map[dns.Question]*rand.Rand)}
}

// roll returns the next number in [0, 1) for the question of m.
func (d *dice) roll(m *dns.Msg) float64 {
	var q dns.Question
	if len(m.Question) > 0 {
		q = m.Question[0]
		q.Name = canonical(q.Name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	stream, ok := d.streams[q]
	if !ok {
		stream = rand.New(rand.NewPCG(d.seed1^hash(q.Name), d.seed2^uint64(q.Qtype)))
		d.streams[q] = stream
	}
	return stream.Float64()
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails, says package hash
	return h.Sum64()
}
