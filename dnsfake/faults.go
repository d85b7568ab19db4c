package dnsfake

import (
	"hash/fnv"
	"math/rand/v2"
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
			bite(w)
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
			if dice.roll(q) < float64(share) {
				bite(w)
				return
			}
			next.ServeDNS(w, q)
		})
	}
}

// Inject answers each query over UDP with what forge makes of the handler, and then with what truth makes of
// it: so a client sees it if somebody on the way answers faster than its name server. Queries over TCP get
// the truth alone, as nobody can slip an answer into a connection so easily.
func Inject(forge, truth Middleware) Middleware {
	return func(next dns.Handler) dns.Handler {
		forged, honest := forge(next), truth(next)
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			if network(w) == "udp" {
				bite(w)
				forged.ServeDNS(w, q)
			}
			honest.ServeDNS(w, q)
		})
	}
}

// When applies m to the queries for which match returns true; the others pass it by. match may be called
// concurrently, and must not write, nor change the message, which has exactly one question if a [Server]
// got it.
func When(match func(w dns.ResponseWriter, q *dns.Msg) bool, m Middleware) Middleware {
	return func(next dns.Handler) dns.Handler {
		matched := m(next)
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			if match(w, q) {
				matched.ServeDNS(w, q)
				return
			}
			next.ServeDNS(w, q)
		})
	}
}

// Fault does what f declares with the queries that it selects (see [Selects]). Hosts that f.Address names
// have the addresses that z has for them. It calls bit, which may be nil, once for each query that went
// another way than it would have gone without the fault; bit may be called concurrently.
func Fault(f scenarios.DNSFault, z Zone, rng *rand.Rand, bit func()) Middleware {
	layers := layersOf(&f, z, rng)
	return When(func(w dns.ResponseWriter, q *dns.Msg) bool { return Selects(&f, w, q) }, func(h dns.Handler) dns.Handler {
		for _, layer := range layers {
			h = layer(h)
		}
		return count(h, bit)
	})
}

// layersOf returns the middlewares of a fault, from the inside out.
func layersOf(f *scenarios.DNSFault, z Zone, rng *rand.Rand) (layers []Middleware) {
	layers = append(layers, answerOf(f, z, rng))
	if f.Rotate {
		layers = append(layers, Rotate())
	}
	if f.CNAMEs > 0 {
		layers = append(layers, CNAMEs(f.CNAMEs))
	}
	if f.TTL != nil {
		layers = append(layers, TTL(*f.TTL))
	}
	if f.Drop > 0 {
		layers = append(layers, Drop(f.Drop, rng))
	}
	return layers
}

// answerOf returns the middleware that decides what a fault answers, and when.
func answerOf(f *scenarios.DNSFault, z Zone, rng *rand.Rand) Middleware {
	forge, wait := honestly, honestly
	switch {
	case f.Answer != "":
		forge = Answer(f.Answer)
	case f.Address != "":
		forge = Address(z.find(f.Address)...)
	}
	if f.Delay > 0 || f.Jitter > 0 {
		wait = Delay(f.Delay, f.Jitter, rng)
	}
	if f.Injected {
		return Inject(forge, wait)
	}
	return func(next dns.Handler) dns.Handler { return wait(forge(next)) }
}

// honestly is the middleware that changes nothing.
func honestly(h dns.Handler) dns.Handler { return h }

// Selects reports whether a query is one that f is about: by its name and type, and by its way, as some
// faults are about UDP only.
func Selects(f *scenarios.DNSFault, w dns.ResponseWriter, m *dns.Msg) bool {
	if len(m.Question) == 0 {
		return false
	}
	q := m.Question[0]
	switch {
	case f.Type != "" && !strings.EqualFold(f.Type, typeName(q.Qtype)):
		return false
	case f.Name != "" && !scenarios.Glob(strings.ToLower(f.Name), canonical(q.Name)):
		return false
	}
	onlyUDP := f.Injected || f.Answer == scenarios.AnswerTruncated || f.Answer == scenarios.AnswerOversized
	return !onlyUDP || network(w) == "udp"
}

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
