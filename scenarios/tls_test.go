package scenarios

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBuiltinHasEveryTLSFault finds each key, and each word for its value, in a scenario of the library.
func TestBuiltinHasEveryTLSFault(t *testing.T) {
	lib, err := Builtin(Options{Vars: testVars})
	require.NoError(t, err)
	var used strings.Builder
	for _, s := range lib.Scenarios {
		for i := range s.Faults {
			if s.Faults[i].TLS != nil {
				used.WriteString(s.Faults[i].String() + " ")
			}
		}
	}
	for key, p := range parsedShape(t, object(tlsFields(new(TLSFault)))).Properties {
		assert.Contains(t, used.String(), " "+key+"=")
		for _, word := range p.Enum {
			assert.Contains(t, used.String(), " "+key+"="+word+" ")
		}
	}
}

// TestFaultsDocumentIsComplete finds a row for each key, and each word for its value, in docs/faults.md.
func TestFaultsDocumentIsComplete(t *testing.T) {
	text := readDoc(t, "docs/faults.md")
	for key, p := range parsedShape(t, object(tlsFields(new(TLSFault)))).Properties {
		for _, word := range p.Enum {
			assert.Regexp(t, "(?m)^\\| `tls: {"+key+": \"?"+regexp.QuoteMeta(word)+"\"?}` \\|", text)
		}
		if key != "sni" { // it says which connections, not what becomes of them
			assert.Contains(t, text, "| `tls: {"+key+": ")
		}
	}
}

func TestTLSFaultSelects(t *testing.T) {
	f := TLSFault{SNI: "*.Forbidden.example"}
	assert.True(t, f.Selects("www.forbidden.EXAMPLE"))
	assert.False(t, f.Selects("forbidden.example"))
	assert.False(t, f.Selects(""), "a client that names no server")
	assert.True(t, (&TLSFault{}).Selects(""))
}

// A glob may well mean hosts that do not speak TLS: they are left out.
func TestTLSFaultsKeepToSecurePorts(t *testing.T) {
	lib, err := Builtin(Options{Vars: testVars})
	require.NoError(t, err)
	for _, s := range lib.Scenarios {
		for _, f := range s.Faults {
			for _, i := range f.Target.Hosts {
				h := &s.World.Hosts[i]
				assert.True(t, f.TLS == nil || h.Secure(h.Ports()[0]), "%s: %s", s.Name, h.Name)
			}
		}
	}
}

func TestParseOffset(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"+36h":  36 * time.Hour,
		"-400d": -400 * 24 * time.Hour,
		"+2y":   2 * 365 * 24 * time.Hour,
		"-50y":  -50 * 365 * 24 * time.Hour,
	} {
		o, err := ParseOffset(text)
		require.NoError(t, err)
		assert.Equal(t, Offset(want), o)
		assert.Equal(t, text, o.String())
	}
}

func FuzzParseOffset(f *testing.F) {
	for _, s := range []string{"+400d", "-1y", "+0d", "d", "+9999999y", "-1h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := ParseOffset(s)
		if err != nil {
			return
		}
		require.NotZero(t, o)
		require.LessOrEqual(t, time.Duration(o).Abs(), time.Duration(maxOffset))
		again, err := ParseOffset(o.String())
		require.NoError(t, err)
		require.Equal(t, o, again)
	})
}
