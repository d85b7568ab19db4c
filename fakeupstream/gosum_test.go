package fakeupstream

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseGoSum(t *testing.T) {
	modules, err := parseGoSum([]byte(`example.test/b v1.10.0/go.mod h1:b10mod=
example.test/b v1.9.0 h1:b9=
example.test/b v1.9.0/go.mod h1:b9mod=

example.test/a v1.0.0/go.mod h1:amod=
`))
	require.NoError(t, err)
	assert.Equal(t, []Module{
		{Path: "example.test/a", Version: "v1.0.0", GoModSum: "h1:amod="},
		{Path: "example.test/b", Version: "v1.9.0", Sum: "h1:b9=", GoModSum: "h1:b9mod="},
		{Path: "example.test/b", Version: "v1.10.0", GoModSum: "h1:b10mod="},
	}, modules)

	for text, want := range map[string]string{
		"\nexample.test/a v1.0.0\n":      "go.sum:2: want a module",
		"example.test/a v1.0.0 h2:x":     "go.sum:1: want a module",
		"example.test/../a v1.0.0 h1:x=": "go.sum:1: malformed module path",
		"example.test/a master h1:x=":    "go.sum:1:",
	} {
		_, err := parseGoSum([]byte(text))
		assert.ErrorContains(t, err, want, "%q", text)
	}
}

func FuzzParseGoSum(f *testing.F) {
	f.Add([]byte("example.test/a v1.0.0 h1:a=\nexample.test/a v1.0.0/go.mod h1:b=\n"))
	f.Add([]byte("example.test/a v1.0.0/go.mod/go.mod h1:b="))
	f.Add([]byte("\x00 \n\n h1:"))
	f.Fuzz(func(t *testing.T, data []byte) {
		modules, err := parseGoSum(data)
		if err != nil {
			return
		}
		// What was read, written again, reads the same.
		var lines bytes.Buffer
		for _, m := range modules {
			lines.Write(goSumLines(m))
		}
		again, err := parseGoSum(lines.Bytes())
		require.NoError(t, err)
		require.Equal(t, modules, again)
	})
}
