//go:build linux

package harness

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// TestProxySettings runs the go command with settings for a forward proxy, right and wrong ones, where nothing is
// wrong with the network.
func TestProxySettings(t *testing.T) {
	t.Parallel()
	requireLab(t)
	login := map[string]any{"host": "fwd.test:3128", "forward": map[string]any{"auth": "alice:open:sesame"}}
	socksLogin := map[string]any{"host": "fwd.test:1080", "forward": map[string]any{"auth": "alice:opensesame"}}
	closed := map[string]any{"host": "fwd.test:1080", "forward": map[string]any{"allow": []string{"b.test"}}}
	inspects := map[string]any{"host": "fwd.test:3128", "forward": map[string]any{"intercept": "trusted"}}
	cases := []struct {
		id, proxy string
		faults    []map[string]any
		class     string // empty: it works
		words     string
	}{
		{"http", "http://fwd.test:3128", nil, "", ""},
		{"https", "https://fwd.test:443", nil, "", ""},
		{"socks", "socks5://fwd.test:1080", nil, "", ""},
		{"http-login", "http://alice:open%3Asesame@fwd.test:3128", []map[string]any{login}, "", ""},
		{"http-wrong-login", "http://alice:guess@fwd.test:3128", []map[string]any{login}, "fwdproxy-auth-required", "Proxy Authentication Required"},
		{"socks-login", "socks5://alice:opensesame@fwd.test:1080", []map[string]any{socksLogin}, "", ""},
		{"socks-wrong-login", "socks5://alice:guess@fwd.test:1080", []map[string]any{socksLogin}, "fwdproxy-auth-required", "username/password authentication failed"},
		{"socks-no-login", "socks5://fwd.test:1080", []map[string]any{socksLogin}, "fwdproxy-auth-required", "no acceptable authentication methods"},
		{"socks-not-allowed", "socks5://fwd.test:1080", []map[string]any{closed}, "fwdproxy-denied", "connection not allowed by ruleset"},
		{"inspected", "http://fwd.test:3128", []map[string]any{inspects}, "", ""},
		{"socks-port-as-http", "http://fwd.test:1080", nil, "fwdproxy-connection-lost", "unexpected EOF"},
		{"http-port-as-https", "https://fwd.test:3128", nil, "fwdproxy-wrong-scheme", "first record does not look like a TLS handshake"},
		{"https-port-as-http", "http://fwd.test:443", nil, "fwdproxy-connection-lost", "unexpected EOF"},
		{"http-port-as-socks", "socks5://fwd.test:3128", nil, "hang-no-output", ""}, // each waits for the other to say more
	}
	var settings []Setting
	for _, c := range cases {
		settings = append(settings, Setting{ID: c.id, Project: "R", Faults: c.faults, Deadline: shortDeadline.String(),
			Env: map[string]string{"GOPROXY": "https://a.test", "GOSUMDB": "off", "HTTPS_PROXY": c.proxy}})
	}
	cells := runSettings(t, settings)
	for _, c := range cases {
		t.Run(c.id, func(t *testing.T) {
			cell := cells[c.id]
			require.NotNil(t, cell, "the run has left it out")
			for _, f := range cell.Faults {
				assert.Positive(t, f.Bit, "the counter of %s", f.Fault)
			}
			if c.class == "" {
				require.Equal(t, record.OK, cell.Outcome, cell.Stderr)
				assert.Equal(t, []string{"fwd.test", "a.test"}, withoutNameservers(cell.Hosts))
				if c.id != "https" { // what is said inside TLS cannot be seen on the wire
					assert.Positive(t, cell.Conns[0].Tunnel, "%+v", cell.Conns[0])
				}
				assert.True(t, cell.Conns[0].TLS)
				return
			}
			require.NotEqual(t, record.OK, cell.Outcome)
			assert.Equal(t, c.class, cell.Class, cell.Stderr)
			assert.Contains(t, cell.Stderr, c.words)
			assert.Equal(t, []string{"fwd.test"}, withoutNameservers(cell.Hosts))
		})
	}
}
