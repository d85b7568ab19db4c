package verdict

import (
	"cmp"
	"math"
	"slices"

	"github.com/simrun/simrun/record"
)

// microseconds is the unit that times are attributed in, so that the parts add up.
type microseconds int64

func micros(s record.Seconds) microseconds { return microseconds(math.Round(float64(s) * 1e6)) }

func (m microseconds) seconds() record.Seconds { return record.Seconds(float64(m) / 1e6) }

// Attribute says where the time of a cell went; see [record.Attribution] for the rule. The parts add up to
// the cell's time to the microsecond. Connections that a forward proxy opened do not count: the client
// lives them as waiting for the proxy.
func Attribute(cell *record.Cell) record.Attribution {
	t := timeline{end: micros(cell.Seconds)}
	spans := SpansOf(cell)
	t.add(spans.Queries)
	t.add(spans.Requests)
	for i, c := range cell.Conns {
		if c.From == "" {
			t.add(spans.Conns[i : i+1])
		}
	}
	spent := t.sweep()
	return record.Attribution{
		DNS:      spent[DNS].seconds(),
		Connect:  spent[Connect].seconds(),
		TLS:      spent[TLS].seconds(),
		Wait:     spent[Wait].seconds(),
		Transfer: spent[Transfer].seconds(),
		Local:    spent[Local].seconds(),
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
	phase Phase
	by    int
}

// add adds phases, cut to the timeline.
func (t *timeline) add(lists [][]Span) {
	for _, spans := range lists {
		for _, s := range spans {
			begin, end := max(micros(s.From), 0), min(micros(s.To), t.end)
			if begin < end {
				t.edges = append(t.edges, edge{begin, s.Phase, 1}, edge{end, s.Phase, -1})
			}
		}
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
	spent[Local] += t.end - at
	return spent
}

func furthest(active [phases]int) Phase {
	for p := Transfer; p > Local; p-- {
		if active[p] > 0 {
			return p
		}
	}
	return Local
}
