package scenarios

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const digestFile = `world: here
about: One host.
hosts: {proxy.example: {role: module-proxy, rtt: 10ms}, code.example: {role: vcs}}
---
name: slow
about: The proxy is slow.
world: here
weight: 2
faults: [{host: proxy.example, http: {delay: 1s}}]
expect: [{configs: "*", outcome: ok}]
---
configs: [{name: any, env: {GOPROXY: "https://proxy.example"}}]
`

func TestDigest(t *testing.T) {
	digest := func(old, new string) string {
		require.Contains(t, digestFile, old)
		lib := loadText(t, strings.Replace(digestFile, old, new, 1))
		require.Len(t, lib.Scenarios, 1)
		return lib.Scenarios[0].Digest()
	}
	want := digest("", "")
	require.Len(t, want, 16)

	for name, change := range map[string][2]string{
		"its name":                     {"name: slow", "name: slower"},
		"what is said about it":        {"The proxy is slow.", "The proxy waits."},
		"its weight":                   {"weight: 2", "weight: 3"},
		"what is expected of it":       {"outcome: ok", "outcome: error"},
		"its place in the file":        {"world: here\n", "\n\nworld: here\n"},
		"another way to write a value": {"delay: 1s", "delay: 1000ms"},
	} {
		assert.Equal(t, want, digest(change[0], change[1]), "must not count: %s", name)
	}
	for name, change := range map[string][2]string{
		"a delay":                 {"delay: 1s", "delay: 2s"},
		"what the fault is at":    {"host: proxy.example", "host: code.example"},
		"when it begins":          {"http: {delay: 1s}", "from: 1s, http: {delay: 1s}"},
		"a host of the world":     {"code.example", "git.example"},
		"a link of the world":     {"rtt: 10ms", "rtt: 11ms"},
		"a second fault":          {"delay: 1s}}", "delay: 1s}}, {host: code.example, packet: {loss: 1%}}"},
		"which requests it meets": {"http: {delay: 1s}", "first: 1, http: {delay: 1s}"},
	} {
		assert.NotEqual(t, want, digest(change[0], change[1]), "must count: %s", name)
	}
}
