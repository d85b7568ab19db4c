package verdict

import (
	"cmp"
	"math"
	"slices"

	"github.com/simrun/simrun/record"
)

// A phase is what a connection, query or request is doing, from the nearest to the furthest.
type phase int

const (
	local phase = iota
	dns
	connect
	tls
	wait
	transfer
	phases int = iota
)

// resolverTimeout is how long Go's resolver waits for an answer unless resolv.conf says otherwise
// (net/dnsconfig_unix.go).
const resolverTimeout record.Seconds = 5

// microseconds is the unit that times are attributed in, so that the parts add up.
type microseconds int64

func micros(s record.Seconds) microseconds { return microseconds(math.Round(float64(s) * 1e6)) }

func (m microseconds) seconds() record.Seconds { return record.Seconds(float64(m) / 1e6) }

// Attribute says where the time of a cell went; see [record.Attribution] for the rule. The parts add up to
// the cell's time to the microsecond. Connections that a forward proxy opened do not count: the client
// lives them as waiting for the proxy.
func Attribute(cell *record.Cell) record.Attribution {
	t := timeline{end: micros(cell.Seconds)}
	t.addQueries(cell.Queries)
	t.addConns(cell)
	t.addRequests(cell)
	spent := t.sweep()
	return record.Attribution{
		DNS:      spent[dns].seconds(),
		Connect:  spent[connect].seconds(),
		TLS:      spent[tls].seconds(),
		Wait:     spent[wait].seconds(),
		Transfer: spent[transfer].seconds(),
		Local:    spent[local].seconds(),
	}
}

// A timeline is the phases that a cell went through, overlapping, between 0 and end.
type timeline struct {
	end   microseconds
	edges []edge
}

// An edge is the begin (by = 1) or end (by = -1) of a phase.
type edge struct {
	at    microseconds
	phase phase
	by    int
}

// add adds a phase, cut to the timeline.
func (t *timeline) add(p phase, from, to record.Seconds) {
	begin, end := max(micros(from), 0), min(micros(to), t.end)
	if begin < end {
		t.edges = append(t.edges, edge{begin, p, 1}, edge{end, p, -1})
	}
}

// sweep returns the time for which each phase was the furthest.
func (t *timeline) sweep() [phases]microseconds {
	slices.SortFunc(t.edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	var spent [phases]microseconds
	var active [phases]int
	at := microseconds(0)
	for _, e := range t.edges {
		spent[furthest(active)] += e.at - at
		active[e.phase] += e.by
		at = e.at
	}
	spent[local] += t.end - at
	return spent
}

func furthest(active [phases]int) phase {
	for p := transfer; p > local; p-- {
		if active[p] > 0 {
			return p
		}
	}
	return local
}

// addQueries adds the DNS queries. An unanswered one ends when it is repeated or the resolver gives up.
func (t *timeline) addQueries(queries []record.Query) {
	for i, q := range queries {
		end := q.End
		if end == 0 {
			end = min(q.Start+resolverTimeout, nextAsked(queries, i))
		}
		t.add(dns, q.Start, end)
	}
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

// addConns adds what the client's connections did before their first request.
func (t *timeline) addConns(cell *record.Cell) {
	asked := make(map[int]bool) // the connections that a request was seen on
	for _, r := range cell.Requests {
		asked[r.Conn] = true
	}
	for i := range cell.Conns {
		c := &cell.Conns[i]
		if c.From != "" {
			continue
		}
		end := orElse(c.End, cell.Seconds)
		ready := max(c.Established, c.Tunnel)
		t.add(connect, c.Start, orElse(ready, end))
		if c.TLS && ready > 0 {
			t.add(tls, ready, orElse(c.Secured, end))
		}
		if c.Secured > 0 && !asked[i] {
			t.add(wait, c.Secured, end) // what it sent did not reach the server, or not whole
		}
	}
}

func (t *timeline) addRequests(cell *record.Cell) {
	for i := range cell.Requests {
		r := &cell.Requests[i]
		end := orElse(r.End, connEnd(cell, r.Conn))
		switch {
		case r.Method == "CONNECT":
			t.add(connect, r.Start, orElse(r.First, end)) // a tunnel is a way to a server, and no answer
		case r.First == 0:
			t.add(wait, r.Start, end)
		default:
			t.add(wait, r.Start, r.First)
			t.add(transfer, r.First, end)
		}
	}
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
