package pac

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/scenarios"
)

var (
	first  = scenarios.Way{Kind: scenarios.WayProxy, Addr: "first.example:8080"}
	second = scenarios.Way{Kind: scenarios.WayProxy, Addr: "second.example:8080"}
	direct = scenarios.Way{Kind: scenarios.WayDirect}
)

// A clock stands still between the steps of a test.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// attempt goes through a list as an agent does, in a network in which the dead ways cannot be taken, and returns
// the ways that it tried.
func attempt(m *memory, ways []scenarios.Way, dead ...scenarios.Way) (tried []scenarios.Way) {
	var failed []scenarios.Way
	for _, w := range m.order(ways) {
		tried = append(tried, w)
		isDead := false
		for _, d := range dead {
			isDead = isDead || d == w
		}
		if !isDead {
			m.failed(failed, true)
			m.worked(w)
			return tried
		}
		failed = append(failed, w)
	}
	m.failed(failed, false)
	return tried
}

// TestRecovery has a proxy that dies and lives again, and wants to know when it is tried first once more.
func TestRecovery(t *testing.T) {
	type ways = []scenarios.Way
	all := ways{first, second, direct}
	for name, c := range map[scenarios.PACPolicy]struct {
		bad     time.Duration
		while   ways // what is tried while the first is known to be bad
		another ways // what is tried then if all others are dead, too
	}{
		scenarios.PACChromium: {5 * time.Minute, ways{second}, ways{second, direct, first}},
		scenarios.PACWinINET:  {30 * time.Minute, ways{second}, ways{second, direct, first}},
		scenarios.PACFirefox:  {30 * time.Minute, ways{second}, ways{second, direct}},
		scenarios.PACStrict:   {0, ways{first}, ways{first}},
	} {
		t.Run(string(name), func(t *testing.T) {
			now := &clock{time.Unix(1e9, 0)}
			m := newMemory(name, now.Now)
			assert.Equal(t, ways{first}, attempt(m, all))
			assert.Equal(t, ways{first, second}, attempt(m, all, first))
			assert.Equal(t, c.while, attempt(m, all), "the first lives again, and nobody knows")
			now.now = now.now.Add(c.bad - time.Second)
			assert.Equal(t, c.while, attempt(m, all))
			assert.Equal(t, c.another, attempt(m, all, second, direct))
			now.now = now.now.Add(31 * time.Minute)
			assert.Equal(t, ways{first}, attempt(m, all))
		})
	}
}

// TestDirectFirst has the list the other way round: nothing is remembered of the direct way, so that it is back at
// once.
func TestDirectFirst(t *testing.T) {
	list := []scenarios.Way{direct, first}
	for policy := range policies {
		m := newMemory(policy, (&clock{time.Unix(1e9, 0)}).Now)
		assert.Equal(t, list, attempt(m, list, direct), policy)
		assert.Equal(t, list[:1], attempt(m, list), policy)
	}
}

// TestAllDead checks that Chromium holds nothing against proxies if nothing else works either.
func TestAllDead(t *testing.T) {
	list := []scenarios.Way{first, second}
	m := newMemory(scenarios.PACChromium, (&clock{time.Unix(1e9, 0)}).Now)
	assert.Equal(t, list, attempt(m, list, first, second))
	assert.Equal(t, list[:1], attempt(m, list))
}

// TestFirefoxGrowsImpatient checks that a proxy that fails again is left out for longer.
func TestFirefoxGrowsImpatient(t *testing.T) {
	list := []scenarios.Way{first, direct}
	now := &clock{time.Unix(1e9, 0)}
	m := newMemory(scenarios.PACFirefox, now.Now)
	for _, spell := range []time.Duration{30 * time.Minute, time.Hour, 90 * time.Minute} {
		assert.Equal(t, list, attempt(m, list, first))
		now.now = now.now.Add(spell - time.Second)
		assert.Equal(t, list[1:], attempt(m, list), "%v", spell)
		now.now = now.now.Add(time.Second)
	}
	assert.Equal(t, list[:1], attempt(m, list), "it works again, and all is forgotten")
	assert.Equal(t, list, attempt(m, list, first))
	now.now = now.now.Add(30 * time.Minute)
	assert.Equal(t, list[:1], attempt(m, list))
}

// TestOneList checks that the memory is of proxies and not of lists.
func TestOneList(t *testing.T) {
	m := newMemory(scenarios.PACChromium, (&clock{time.Unix(1e9, 0)}).Now)
	attempt(m, []scenarios.Way{first, direct}, first)
	assert.Equal(t, []scenarios.Way{second}, attempt(m, []scenarios.Way{first, second}))
	assert.Equal(t, []scenarios.Way{first}, attempt(m, []scenarios.Way{first}), "there is no other")
	assert.Equal(t, []scenarios.Way{first}, attempt(m, []scenarios.Way{first, second}), "it has worked since")
}
