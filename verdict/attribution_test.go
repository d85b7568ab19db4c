package verdict

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

func TestAttribute(t *testing.T) {
	for _, tc := range []struct {
		name string
		cell record.Cell
		want record.Attribution
	}{
		{"nothing", record.Cell{}, record.Attribution{}},
		{"no network", record.Cell{Seconds: 2}, record.Attribution{Local: 2}},
		{
			"one request, phase by phase",
			record.Cell{
				Seconds:  10,
				Queries:  []record.Query{{Start: 1, End: 2, Name: "a", Type: "A"}},
				Conns:    []record.Conn{{Start: 2, Established: 3, TLS: true, Secured: 5, End: 10}},
				Requests: []record.Request{{Start: 5, First: 7, End: 9}},
			},
			record.Attribution{DNS: 1, Connect: 1, TLS: 2, Wait: 2, Transfer: 2, Local: 2},
		},
		{
			"the furthest of parallel phases counts",
			record.Cell{
				Seconds:  8,
				Queries:  []record.Query{{Start: 0, End: 8, Name: "a", Type: "A"}},
				Conns:    []record.Conn{{Start: 1, Established: 7}},
				Requests: []record.Request{{Start: 2, First: 6, End: 6, Conn: -1}, {Start: 3, First: 4, End: 5, Conn: -1}},
			},
			record.Attribution{DNS: 2, Connect: 2, Wait: 3, Transfer: 1},
		},
		{
			"a query without an answer: until it is repeated, then until the resolver gives up",
			record.Cell{Seconds: 20, Queries: []record.Query{
				{Start: 0, Name: "a", Type: "A"}, {Start: 1, Name: "a", Type: "AAAA", End: 1}, {Start: 3, Name: "a", Type: "A"},
			}},
			record.Attribution{DNS: 8, Local: 12},
		},
		{
			"a query without an answer: until the end",
			record.Cell{Seconds: 4, Queries: []record.Query{{Start: 1, Name: "a", Type: "A"}}},
			record.Attribution{DNS: 3, Local: 1},
		},
		{
			"a connection that is never established",
			record.Cell{Seconds: 40, Conns: []record.Conn{{Start: 1, End: 31}, {Start: 35}}},
			record.Attribution{Connect: 35, Local: 5},
		},
		{
			"a TLS handshake that never ends, and one that the peer ends",
			record.Cell{Seconds: 40, Conns: []record.Conn{
				{Start: 1, Established: 2, TLS: true, End: 12}, {Start: 20, Established: 21, TLS: true},
			}},
			record.Attribution{Connect: 2, TLS: 29, Local: 9},
		},
		{
			"a tunnel is being connected until the proxy says so",
			record.Cell{
				Seconds:  10,
				Conns:    []record.Conn{{Start: 1, Established: 2, Tunnel: 4, TLS: true, Secured: 5}, {From: "fwd", Start: 2, Established: 3, TLS: true}},
				Requests: []record.Request{{Method: "CONNECT", Start: 2, First: 4}, {Start: 5, First: 6, End: 7}},
			},
			record.Attribution{Connect: 3, TLS: 1, Wait: 1, Transfer: 1, Local: 4},
		},
		{
			"a CONNECT that is never answered",
			record.Cell{
				Seconds:  10,
				Conns:    []record.Conn{{Start: 1, Established: 2, End: 9}},
				Requests: []record.Request{{Method: "CONNECT", Start: 2}},
			},
			record.Attribution{Connect: 8, Local: 2},
		},
		{
			"a request that did not reach the server",
			record.Cell{Seconds: 10, Conns: []record.Conn{{Start: 1, Established: 2, TLS: true, Secured: 3}}},
			record.Attribution{Connect: 1, TLS: 1, Wait: 7, Local: 1},
		},
		{
			"an answer that never begins, and one that never ends",
			record.Cell{
				Seconds:  20,
				Conns:    []record.Conn{{Start: 0, Established: 0, End: 5}, {Start: 5, Established: 6, End: 18}},
				Requests: []record.Request{{Start: 1, Conn: 0}, {Start: 6, First: 8, Conn: 1}, {Start: 19, Conn: 99}},
			},
			record.Attribution{Connect: 2, Wait: 7, Transfer: 10, Local: 1},
		},
		{
			"what lies outside the cell's time is cut off",
			record.Cell{Seconds: 2, Requests: []record.Request{{Start: -1, First: 1, End: 5, Conn: -1}}},
			record.Attribution{Wait: 1, Transfer: 1},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.Equal(t, tc.want, Attribute(&tc.cell))
		})
	}
}

// Whatever is in a cell, no part is negative and the parts add up to its time.
func TestAttributionAddsUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		cell := randomCell(rng)
		a := Attribute(cell)
		var sum microseconds
		for _, part := range []record.Seconds{a.DNS, a.Connect, a.TLS, a.Wait, a.Transfer, a.Local} {
			require.GreaterOrEqual(t, part, record.Seconds(0))
			sum += micros(part)
		}
		require.Equal(t, micros(cell.Seconds), sum, "%+v", cell)
		require.InDelta(t, float64(cell.Seconds), float64(a.Total()), 1e-6)
	}
}

func randomCell(rng *rand.Rand) *record.Cell {
	at := func() record.Seconds {
		if rng.IntN(4) == 0 {
			return 0
		}
		return record.Seconds(rng.Float64() * 70)
	}
	cell := &record.Cell{Seconds: record.Seconds(rng.Float64() * 60)}
	for range rng.IntN(6) {
		cell.Queries = append(cell.Queries, record.Query{Start: at(), End: at(), Name: "a", Type: "A"})
		cell.Conns = append(cell.Conns, record.Conn{
			Start: at(), Established: at(), Tunnel: at(), TLS: rng.IntN(2) == 0, Secured: at(), End: at(),
		})
		cell.Requests = append(cell.Requests, record.Request{Start: at(), First: at(), End: at(), Conn: rng.IntN(8) - 1})
	}
	return cell
}
