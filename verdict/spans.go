package verdict

import (
	"math"

	"github.com/simrun/simrun/record"
)

// A Phase is what a query, connection or request is doing, from the nearest to the furthest.
type Phase int

// The phases, in the order of the fields of [record.Attribution] but for Local, which comes first.
const (
	Local Phase = iota // nothing is under way on the network
	DNS
	Connect
	TLS
	Wait
	Transfer
	phases int = iota
)

// String returns the name of the phase as [record.Attribution] has it in JSON, such as "dns".
func (p Phase) String() string {
	return [phases]string{"local", "dns", "connect", "tls", "wait", "transfer"}[p]
}

// A Span is a stretch of time that a query, connection or request spends in a phase.
type Span struct {
	Phase    Phase
	From, To record.Seconds // since the start of the go command; From is less than To
}

// Spans are what the queries, connections and requests of a cell were doing, and when. Each list has one
// entry for each entry of the list of that name in the cell. The spans of one entry come one after the
// other, and may end after the cell.
type Spans struct {
	Queries, Conns, Requests [][]Span
}

// SpansOf returns the spans of a cell. What did not end by itself ends with its connection or the cell.
// A connection has spans until its first request: from then on its time is that of its requests.
func SpansOf(cell *record.Cell) Spans {
	return Spans{Queries: querySpans(cell.Queries), Conns: connSpans(cell), Requests: requestSpans(cell)}
}

// spans makes a list of the spans that are not empty.
func spans(all ...Span) []Span {
	var list []Span
	for _, s := range all {
		if s.From < s.To {
			list = append(list, s)
		}
	}
	return list
}

// resolverTimeout is how long Go's resolver waits for an answer unless resolv.conf says otherwise
// (net/dnsconfig_unix.go).
const resolverTimeout record.Seconds = 5

// querySpans returns the spans of DNS queries. An unanswered one ends when it is repeated or the resolver
// gives up.
func querySpans(queries []record.Query) [][]Span {
	all := make([][]Span, len(queries))
	for i, q := range queries {
		end := q.End
		if end == 0 {
			end = min(q.Start+resolverTimeout, nextAsked(queries, i))
		}
		all[i] = spans(Span{DNS, q.Start, end})
	}
	return all
}

// nextAsked returns when the question of query i was asked next after it.
func nextAsked(queries []record.Query, i int) record.Seconds {
	next := record.Seconds(math.Inf(1))
	for _, q := range queries {
		if q.Name == queries[i].Name && q.Type == queries[i].Type && q.Start > queries[i].Start {
			next = min(next, q.Start)
		}
	}
	return next
}

// connSpans returns what connections did before their first request.
func connSpans(cell *record.Cell) [][]Span {
	asked := make(map[int]bool) // the connections that a request was seen on
	for _, r := range cell.Requests {
		asked[r.Conn] = true
	}
	all := make([][]Span, len(cell.Conns))
	for i, c := range cell.Conns {
		end := orElse(c.End, cell.Seconds)
		ready := max(c.Established, c.Tunnel)
		var handshake, wait Span
		if c.TLS && ready > 0 {
			handshake = Span{TLS, ready, orElse(c.Secured, end)}
		}
		if c.Secured > 0 && !asked[i] {
			wait = Span{Wait, c.Secured, end} // what it sent did not reach the server, or not whole
		}
		all[i] = spans(Span{Connect, c.Start, orElse(ready, end)}, handshake, wait)
	}
	return all
}

func requestSpans(cell *record.Cell) [][]Span {
	all := make([][]Span, len(cell.Requests))
	for i := range cell.Requests {
		r := &cell.Requests[i]
		end := orElse(r.End, connEnd(cell, r.Conn))
		switch {
		case r.Method == "CONNECT":
			all[i] = spans(Span{Connect, r.Start, orElse(r.First, end)}) // a tunnel is a way to a server, and no answer
		case r.First == 0:
			all[i] = spans(Span{Wait, r.Start, end})
		default:
			all[i] = spans(Span{Wait, r.Start, r.First}, Span{Transfer, r.First, end})
		}
	}
	return all
}

// connEnd returns when connection i ended: at the latest with the cell.
func connEnd(cell *record.Cell, i int) record.Seconds {
	if i < 0 || i >= len(cell.Conns) {
		return cell.Seconds
	}
	return orElse(cell.Conns[i].End, cell.Seconds)
}

// orElse returns t, or other if t is 0, which stands for never.
func orElse(t, other record.Seconds) record.Seconds {
	if t == 0 {
		return other
	}
	return t
}
