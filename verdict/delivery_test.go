package verdict

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/record"
)

func TestDeliveries(t *testing.T) {
	run := &record.Run{
		Scenarios: []record.Scenario{{Name: "healthy", World: "w"}, {Name: "sick", World: "w", Faults: []string{"something"}}},
		RTTs:      []record.RTT{{World: "w", Host: "far.test", RTT: 0.2}, {World: "w", Host: "near.test", RTT: 0.01}, {World: "other", Host: "far.test", RTT: 0.3}},
	}
	to := func(host string, took record.Seconds) record.Conn {
		return record.Conn{Host: host, SYNs: 1, Start: 1, Established: 1 + took}
	}
	repeated, proxied, never := to("far.test", 1.2), to("far.test", 0.001), to("far.test", 0)
	repeated.SYNs, proxied.From, never.Established = 2, "web.test", 0
	cells := []record.Cell{
		{Key: record.Key{Scenario: "healthy"}, Conns: []record.Conn{to("far.test", 0.203), to("far.test", 0.201), to("far.test", 0.25), repeated, proxied, never}},
		{Key: record.Key{Scenario: "sick"}, Conns: []record.Conn{to("far.test", 3), to("near.test", 3)}},
	}

	all := Deliveries(run, cells)

	if assert.Len(t, all, 1, "only far.test was reached where nothing is wrong") {
		assert.Equal(t, run.RTTs[0], all[0].RTT)
		assert.Equal(t, 3, all[0].Handshakes)
		assert.InDelta(t, 0.203, float64(all[0].Median), 1e-9)
		assert.InDelta(t, 0.003, float64(all[0].Excess()), 1e-9)
	}
	assert.Empty(t, Deliveries(run, nil))
}
