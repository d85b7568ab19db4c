package dnsfake

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// What a [Query] has as its Rcode beside the names of RFC 1035 in lower case.
const (
	NoData   = "nodata" // NOERROR without records
	NoAnswer = "none"   // nothing was sent

	Malformed = "malformed" // what was sent is no DNS message
)

// A Query is what [Observe] tells of one query.
type Query struct {
	Time   time.Time      // when the handler got it
	Net    string         // "udp" or "tcp"
	Name   string         // lower case, without the final dot
	Type   string         // such as "A"
	Rcode  string         // of the first answer, such as "nxdomain", [NoData] or [NoAnswer]
	Client netip.AddrPort // the zero value if the client's address is not an IP address and port
}

// Observe calls see for each query after it was answered or given up. see may be called concurrently.
// An Observe around a fault sees what the client sees; one inside a fault sees what is left of the queries.
func Observe(see func(Query)) Middleware {
	return func(next dns.Handler) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
			q := newQuery(w, m)
			rec := &recorder{wrapper: wrapper{w}, rcode: NoAnswer}
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

// A wrapper is a response writer around another one. It passes on what the writers of this package can do
// beside writing.
type wrapper struct{ dns.ResponseWriter }

func (w wrapper) closing() <-chan struct{} { return closing(w.ResponseWriter) }
func (w wrapper) bite()                    { bite(w.ResponseWriter) }

// closing returns a channel that is closed when the server behind w closes. It is nil, so never closed,
// for the writer of another server.
func closing(w dns.ResponseWriter) <-chan struct{} {
	if c, ok := w.(interface{ closing() <-chan struct{} }); ok {
		return c.closing()
	}
	return nil
}

// bite notes that a fault changes what becomes of the query that w is for.
func bite(w dns.ResponseWriter) {
	if b, ok := w.(interface{ bite() }); ok {
		b.bite()
	}
}

// count calls bit, unless it is nil, for each query that a fault has changed something for.
func count(next dns.Handler, bit func()) dns.Handler {
	if bit == nil {
		return next
	}
	return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		next.ServeDNS(&counter{wrapper: wrapper{w}, bit: sync.OnceFunc(bit)}, q)
	})
}

type counter struct {
	wrapper
	bit func()
}

func (c *counter) bite() { c.bit() }

// recorder is a response writer that remembers how the first answer went.
type recorder struct {
	wrapper
	rcode string
}

// WriteMsg implements [dns.ResponseWriter].
func (r *recorder) WriteMsg(m *dns.Msg) error {
	r.note(rcodeName(m))
	return r.ResponseWriter.WriteMsg(m)
}

// Write implements [dns.ResponseWriter].
func (r *recorder) Write(b []byte) (int, error) {
	m := new(dns.Msg)
	if m.Unpack(b) != nil {
		r.note(Malformed)
	} else {
		r.note(rcodeName(m))
	}
	return r.ResponseWriter.Write(b)
}

func (r *recorder) note(rcode string) {
	if r.rcode == NoAnswer {
		r.rcode = rcode
	}
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
