package pac

import (
	"slices"
	"sync"
	"time"

	"github.com/simrun/simrun/scenarios"
)

// A policy says what becomes of proxies that cannot be reached.
type policy struct {
	bad     time.Duration // for so long; 0: nothing becomes of them
	grows   bool          // by the same, each time that the proxy fails again
	removed bool          // they are left out of lists while there is another way; else they come last
	proven  bool          // only when a later way of the list has worked
}

// policies are those of the language. Chromium: net/proxy_resolution/proxy_list.cc, kDefaultRetryDelay there, and
// ReportSuccess in configured_proxy_resolution_service.cc. Firefox: network.proxy.failover_timeout, and
// DisableProxy and PruneProxyInfo in netwerk/base/nsProtocolProxyService.cpp. WinINET: nothing by Microsoft says
// more than that it comes back to a proxy after 30 minutes.
var policies = map[scenarios.PACPolicy]policy{
	scenarios.PACChromium: {bad: 5 * time.Minute, proven: true},
	scenarios.PACFirefox:  {bad: 30 * time.Minute, grows: true, removed: true},
	scenarios.PACWinINET:  {bad: 30 * time.Minute},
	scenarios.PACStrict:   {},
}

// A memory knows which proxies are bad. It may be used concurrently.
type memory struct {
	policy policy
	now    func() time.Time

	mu  sync.Mutex // guards bad
	bad map[scenarios.Way]badness
}

type badness struct {
	until time.Time
	spell time.Duration // how long it was bad the last time
}

func newMemory(p scenarios.PACPolicy, now func() time.Time) *memory {
	return &memory{policy: policies[p], now: now, bad: map[scenarios.Way]badness{}}
}

// order returns the ways in the order in which they are to be tried.
func (m *memory) order(ways []scenarios.Way) []scenarios.Way {
	m.mu.Lock()
	defer m.mu.Unlock()
	var good, bad []scenarios.Way
	for _, w := range ways {
		if m.now().Before(m.bad[w].until) {
			bad = append(bad, w)
			continue
		}
		good = append(good, w)
	}
	if m.policy.removed && len(good) > 0 {
		return good
	}
	return append(good, bad...)
}

// failed notes that the ways could not be taken, and whether one after them could. DIRECT is never bad.
func (m *memory) failed(ways []scenarios.Way, worked bool) {
	if m.policy.bad == 0 || m.policy.proven && !worked {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range slices.DeleteFunc(slices.Clone(ways), func(w scenarios.Way) bool { return w.Kind == scenarios.WayDirect }) {
		spell := m.policy.bad
		if m.policy.grows {
			spell += m.bad[w].spell
		}
		m.bad[w] = badness{m.now().Add(spell), spell}
	}
}

// worked notes that a way could be taken.
func (m *memory) worked(w scenarios.Way) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.bad, w)
}
