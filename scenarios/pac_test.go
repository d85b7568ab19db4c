package scenarios

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParsePACResult(t *testing.T) {
	for result, want := range map[string]struct{ ways, unknown string }{
		"DIRECT":                                 {"DIRECT", ""},
		"PROXY a.example:8080":                   {"PROXY a.example:8080", ""},
		"PROXY a:1; PROXY b:2;":                  {"PROXY a:1|PROXY b:2", ""},
		" proxy A.example ;direct ":              {"PROXY a.example:80|DIRECT", ""},
		"HTTP a; HTTPS a; SOCKS a; SOCKS5 a":     {"PROXY a:80|HTTPS a:443|SOCKS5 a:1080|SOCKS5 a:1080", ""},
		"PROXY [2001:db8::1]:8080; PROXY [::1]":  {"PROXY [2001:db8::1]:8080|PROXY [::1]:80", ""},
		"SOCKS4 a:1080; QUIC b:443; DIRECT":      {"DIRECT", "SOCKS4 a:1080|QUIC b:443"},
		"PROXY; PROXY a:0; PROXY a:x; PROXY a b": {"", "PROXY|PROXY a:0|PROXY a:x|PROXY a b"},
		"DIRECT a; PROXY a/b:80":                 {"", "DIRECT a|PROXY a/b:80"},
		"":                                       {"", ""},
		" ; ;":                                   {"", ""},
		"PROXY\ta.example:80":                    {"PROXY a.example:80", ""},
	} {
		ways, unknown := ParsePACResult(result)
		var texts []string
		for _, w := range ways {
			texts = append(texts, w.String())
		}
		assert.Equal(t, want.ways, strings.Join(texts, "|"), "%q", result)
		assert.Equal(t, want.unknown, strings.Join(unknown, "|"), "%q", result)
	}
	ways, unknown := ParsePACResult(strings.Repeat("DIRECT;", 1000))
	assert.Len(t, ways, maxWays)
	assert.Len(t, unknown, 1000-maxWays)
}

// FuzzParsePACResult checks that what is understood is understood again as the same.
func FuzzParsePACResult(f *testing.F) {
	for _, seed := range []string{"PROXY a.example:8080; DIRECT", "SOCKS [::1]; HTTPS b", "PROXY :80", ";;;", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, result string) {
		ways, _ := ParsePACResult(result)
		for _, w := range ways {
			again, unknown := ParsePACResult(w.String())
			require.Empty(t, unknown, "%q", w)
			require.Equal(t, []Way{w}, again)
		}
	})
}

// TestPACFile checks that a script is read from beside the file that names it, and is left as it is.
func TestPACFile(t *testing.T) {
	const script = "function FindProxyForURL(url, $host) { return 'DIRECT' }\n"
	lib, err := load(t, map[string]string{
		"a.yaml":          "configs:\n  - {name: a, pac: {file: scripts/own.pac}}\n",
		"scripts/own.pac": script,
	})
	require.NoError(t, err)
	assert.Equal(t, &PAC{Script: script, Policy: PACChromium, Timeout: DefaultPACTimeout}, lib.Configs[0].PAC)
}
