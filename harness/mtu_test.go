//go:build linux

package harness

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// TestMTUHolesAndKeyExchanges runs the real go command with and without the post-quantum key exchange, whose
// ClientHello is longer than a packet (crypto/tls since Go 1.24; GODEBUG=tlsmlkem=0 leaves it out). A hole for what
// the client sends kills the long one and nothing else. A hole for what hosts send kills the host's answer to it,
// whose key share is as long; without one, the handshake fits, and the first body that does not is waited for in vain.
func TestMTUHolesAndKeyExchanges(t *testing.T) {
	t.Parallel()
	requireLab(t)
	setting := func(id, key, direction string) Setting {
		return Setting{ID: id, Project: "R", Deadline: "20s",
			Env:    map[string]string{"GOPROXY": "https://a.test", "GOSUMDB": "off", "GODEBUG": key},
			Faults: []map[string]any{{"host": "a.test", "packet": map[string]any{"mtu": "1400B", "direction": direction}}}}
	}
	cells := runSettings(t, []Setting{
		setting("long-up", "tlsmlkem=1", "up"), setting("short-up", "tlsmlkem=0", "up"),
		setting("long-down", "tlsmlkem=1", "down"), setting("short-down", "tlsmlkem=0", "down"),
	})
	for name, class := range map[string]string{
		"long-up": "tls-handshake-timeout", "short-up": "",
		"long-down": "tls-handshake-timeout", "short-down": "hang-no-output",
	} {
		require.NotNil(t, cells[name], "the run has left %s out", name)
		assert.Equal(t, class, cells[name].Class, "%s: %s", name, cells[name].Stderr)
	}
	assert.Equal(t, record.OK, cells["short-up"].Outcome)
	assert.Zero(t, cells["short-up"].Faults[0].Bit, "packets that the hole has swallowed")
	assert.Positive(t, cells["long-up"].Faults[0].Bit)
}
