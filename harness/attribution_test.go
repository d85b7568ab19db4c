//go:build linux

package harness

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// TestTimeGoesWhereItIsDeclaredToGo checks the attribution and the requests of real cells against what their
// scenarios make the go command wait for.
func TestTimeGoesWhereItIsDeclaredToGo(t *testing.T) {
	t.Parallel()
	requireLab(t)
	waits := map[string]func(record.Attribution) record.Seconds{
		"slow-nameserver": func(a record.Attribution) record.Seconds { return a.DNS },
		"dead-proxy":      func(a record.Attribution) record.Seconds { return a.Connect },
		"silent-proxy":    func(a record.Attribution) record.Seconds { return a.TLS },
		"slow-proxy":      func(a record.Attribution) record.Seconds { return a.Wait },
		"hanging-proxy":   func(a record.Attribution) record.Seconds { return a.Wait },
		"stalled-zip":     func(a record.Attribution) record.Seconds { return a.Transfer },
	}
	o := smallOptions(t, "cn-comma")
	o.Timeout = 15 * time.Second // more than half of what each of them waits, if it ends at all
	o.Scenarios = slices.DeleteFunc(o.Scenarios, func(s *scenarios.Scenario) bool { return waits[s.Name] == nil })
	require.Len(t, o.Scenarios, len(waits))
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	for scenario, c := range runAll(t, p) {
		t.Run(scenario, func(t *testing.T) {
			require.NotEqual(t, record.HarnessError, c.Outcome, c.Note)
			a := c.Attribution
			assert.Greater(t, waits[scenario](a), a.Total()/2, "the declared wait, of %+v", a)
			assert.InDelta(t, float64(c.Seconds), float64(a.Total()), 1e-5, "the sum of %+v", a)
			assertRequestsAreSane(t, c)
		})
	}
}

// TestTunnelledConnectionsNameTheirProxy checks who is said to have opened the connections of a healthy cell
// behind a forward proxy.
func TestTunnelledConnectionsNameTheirProxy(t *testing.T) {
	t.Parallel()
	requireLab(t)
	const proxy = "proxy.corp.example"
	o := smallOptions(t, "web-proxy")
	var err error
	o.Scenarios, err = (&scenarios.Library{Scenarios: o.Scenarios}).ScenariosNamed("healthy-corp-intranet")
	require.NoError(t, err)
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	c := runAll(t, p)["healthy-corp-intranet"]
	require.Equal(t, record.OK, c.Outcome, "%s%s", c.Note, c.Stderr)
	assertRequestsAreSane(t, c)

	outside := o.Vars["go-proxy"]
	tunnelled, connects := 0, 0
	for _, r := range c.Requests {
		conn := c.Conns[r.Conn]
		switch {
		case r.Method == "CONNECT":
			connects++
			assert.Equal(t, proxy, conn.Host, "%+v", r)
			assert.Empty(t, conn.From, "%+v", conn)
			assert.Positive(t, conn.Tunnel, "%+v", conn)
		case r.Server == outside:
			tunnelled++
			assert.Equal(t, proxy, conn.From, "the opener of %+v, for %+v", conn, r)
		default:
			assert.Empty(t, conn.From, "%+v goes around the proxy, by NO_PROXY", r)
		}
	}
	assert.Positive(t, connects)
	assert.Positive(t, tunnelled)
	for _, conn := range c.Conns {
		if conn.Host == outside {
			assert.Equal(t, proxy, conn.From, "%+v", conn)
		}
	}
}

// smallOptions are the options of a run of one config of the library with its small project.
func smallOptions(t *testing.T, config string) Options {
	t.Helper()
	o := libraryOptions(t)
	lib := scenarios.Library{Configs: o.Configs, Projects: o.Projects}
	var err error
	o.Configs, err = lib.ConfigsNamed(config)
	require.NoError(t, err)
	o.Projects, err = lib.ProjectsNamed("small")
	require.NoError(t, err)
	return o
}

// assertRequestsAreSane checks that each request of a cell is on a known connection and lives in order,
// after its connection came about.
func assertRequestsAreSane(t *testing.T, c *record.Cell) {
	t.Helper()
	for _, r := range c.Requests {
		if !assert.True(t, r.Conn >= 0 && r.Conn < len(c.Conns), "the connection of %+v", r) {
			continue
		}
		conn := c.Conns[r.Conn]
		assert.Equal(t, r.Server, conn.Host, "%+v on %+v", r, conn)
		assert.GreaterOrEqual(t, r.Start, conn.Established, "%+v on %+v", r, conn)
		assert.LessOrEqual(t, r.Start, c.Seconds, "%+v", r)
		if r.First != 0 {
			assert.LessOrEqual(t, r.Start, r.First, "%+v", r)
		}
		if r.End != 0 {
			assert.Positive(t, r.First, "%+v", r)
			assert.LessOrEqual(t, r.First, r.End, "%+v", r)
		}
	}
}
