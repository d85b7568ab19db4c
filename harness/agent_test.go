//go:build linux

package harness

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// An agentCase is a cell whose config has a PAC.
type agentCase struct {
	setting Setting
	outcome record.Outcome
	class   string
	check   func(t *testing.T, c *record.Cell)
}

func agentSetting(id string, pac any, faults ...map[string]any) Setting {
	return Setting{ID: id, Project: "R", PAC: pac, Faults: faults, Deadline: "60s",
		Env: map[string]string{"GOPROXY": "https://a.test", "GOSUMDB": "off"}}
}

func script(body string) map[string]any {
	return map[string]any{"script": "function FindProxyForURL(url, host) { " + body + " }"}
}

// took checks the way that the first connection took, and what had been tried before it.
func took(way, failed string) func(*testing.T, *record.Cell) {
	return func(t *testing.T, c *record.Cell) {
		r := c.Routes[0]
		assert.Equal(t, way, r.Way, "%+v", r)
		if failed == "" {
			assert.Empty(t, r.Failed)
			return
		}
		require.NotEmpty(t, r.Failed)
		assert.Contains(t, r.Failed[0], failed)
	}
}

// direct checks that the first connection was direct because of what the script did.
func direct(words string) func(*testing.T, *record.Cell) {
	return func(t *testing.T, c *record.Cell) {
		took("DIRECT", "")(t, c)
		assert.Contains(t, c.Routes[0].Error, words)
		assert.Equal(t, []string{"a.test"}, withoutNameservers(c.Hosts))
	}
}

func agentCases() []agentCase {
	const dead = "nowhere.test:3128"
	refused := map[string]any{"host": "fwd.test:3128", "packet": map[string]any{"reject": "rst"}}
	dropped := map[string]any{"host": "fwd.test:3128", "packet": map[string]any{"loss": "100%"}}
	return []agentCase{
		{agentSetting("pac-of-the-world", map[string]any{"url": "http://pac.test/proxy.pac"}), record.OK, "", func(t *testing.T, c *record.Cell) {
			took("PROXY fwd.test:3128", "")(t, c)
			assert.Equal(t, []string{"pac.test", "fwd.test", "a.test"}, withoutNameservers(c.Hosts))
			assert.Equal(t, "PROXY fwd.test:3128; DIRECT", c.Routes[0].Result)
		}},
		{agentSetting("over-tls", "HTTPS fwd.test"), record.OK, "", took("HTTPS fwd.test:443", "")},
		{agentSetting("over-socks", "SOCKS5 fwd.test"), record.OK, "", took("SOCKS5 fwd.test:1080", "")},
		{agentSetting("next-after-refusal", "PROXY fwd.test:3128; SOCKS fwd.test", refused), record.OK, "", took("SOCKS5 fwd.test:1080", "connection refused")},
		{agentSetting("next-after-silence", map[string]any{"result": "PROXY fwd.test:3128; DIRECT", "timeout": "2s"}, dropped), record.OK, "",
			func(t *testing.T, c *record.Cell) {
				took("DIRECT", "PROXY fwd.test:3128: ")(t, c)
				assert.GreaterOrEqual(t, float64(c.Seconds), 2.0)
			}},
		{agentSetting("all-dead", "PROXY fwd.test:3128; PROXY "+dead, refused), record.Error, "fwdproxy-denied", func(t *testing.T, c *record.Cell) {
			took("", "connection refused")(t, c)
			assert.Len(t, c.Routes[0].Failed, 2)
			assert.Contains(t, c.Stderr, "Bad Gateway")
		}},
		{agentSetting("refused-by-the-proxy", "PROXY fwd.test:3128; DIRECT", map[string]any{"host": "fwd.test:3128", "forward": map[string]any{"auth": "a:b"}}),
			record.Error, "fwdproxy-auth-required", took("PROXY fwd.test:3128", "")},
		{agentSetting("no-script", map[string]any{"url": "http://pac.test/other.pac"}), record.OK, "", func(t *testing.T, c *record.Cell) {
			took("DIRECT", "")(t, c)
			assert.Contains(t, c.Routes[0].Error, "404 Not Found")
		}},
		{agentSetting("throws", script("return nowhere.x")), record.OK, "", direct("nowhere is not defined")},
		{agentSetting("endless", script("for (;;);")), record.OK, "", direct("takes longer than 5s")},
		{agentSetting("recursion", script("return FindProxyForURL(url, host)")), record.OK, "", direct("calls open at once")},
		{agentSetting("returns-nonsense", script("return 'GOTO 10'")), record.OK, "", took("DIRECT", "")},
		{agentSetting("slow-names", script("dnsResolve('slow.example'); return 'DIRECT'"),
			map[string]any{"host": "ns:ns1", "dns": map[string]any{"name": "slow.example", "delay": "3s"}}), record.OK, "",
			func(t *testing.T, c *record.Cell) {
				took("DIRECT", "")(t, c)
				assert.GreaterOrEqual(t, float64(c.Routes[0].End-c.Routes[0].Start), 3.0)
			}},
		{agentSetting("too-much-at-once", script("return 'x'.repeat(1 << 30)")), record.Error, "", func(t *testing.T, c *record.Cell) {
			assert.Empty(t, c.Routes)
			assert.Contains(t, c.AgentEnd, "exit status", "the kernel gives it no memory")
		}},
		{Setting{ID: "plain-requests", Project: "R", PAC: "PROXY fwd.test:3128", Env: map[string]string{"GOPROXY": "http://a.test", "GOSUMDB": "off"}},
			record.OK, "", func(t *testing.T, c *record.Cell) {
				took("PROXY fwd.test:3128", "")(t, c)
				assert.Equal(t, "a.test:80", c.Routes[0].Target)
				assert.Equal(t, []string{"fwd.test", "a.test"}, withoutNameservers(c.Hosts))
			}},
	}
}

// TestAgents runs the go command with an agent for a PAC, good and bad ones.
func TestAgents(t *testing.T) {
	t.Parallel()
	requireLab(t)
	cases := agentCases()
	var settings []Setting
	for _, c := range cases {
		settings = append(settings, c.setting)
	}
	cells := runSettings(t, settings)
	for _, c := range cases {
		t.Run(c.setting.ID, func(t *testing.T) {
			cell := cells[c.setting.ID]
			require.NotNil(t, cell, "the run has left it out")
			require.Equal(t, c.outcome, cell.Outcome, "%s%s", cell.Note, cell.Stderr)
			if c.class != "" {
				assert.Equal(t, c.class, cell.Class, "%s", cell.Stderr)
			}
			if cell.AgentEnd == "" {
				require.NotEmpty(t, cell.Routes)
			}
			c.check(t, cell)
			for _, f := range cell.Faults {
				assert.Positive(t, f.Bit, "the counter of %s", f.Fault)
			}
		})
	}
}
