package scenarios

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSuggest(t *testing.T) {
	tests := []struct {
		word  string
		known []string
		want  string
	}{
		{"packt", []string{"packet", "stream"}, "; did you mean `packet`?"},
		{"pakcet", []string{"packet", "stream"}, "; did you mean `packet`?"},
		{"Retry_After", []string{"retry-after"}, "; did you mean `retry-after`?"},
		{"proxy", []string{"module-proxy", "vcs"}, "; did you mean `module-proxy`?"},
		{"zebra", []string{"packet", "stream"}, "; known: packet, stream"},
		{"zebra", nil, ""},
		{strings.Repeat(":", 1000), []string{"packet"}, "; known: packet"},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, suggest(tt.word, tt.known), tt.word)
	}
}

func TestWindow(t *testing.T) {
	line := strings.Repeat("a", 200) + "X" + strings.Repeat("b", 200)
	shown, column := window(line, 201)
	assert.Equal(t, 'X', []rune(shown)[column-1])
	assert.LessOrEqual(t, len([]rune(shown)), 101)
	shown, column = window("short", 3)
	assert.Equal(t, "short", shown)
	assert.Equal(t, 3, column)
	_, column = window("short", 99)
	assert.Equal(t, 6, column, "the end of the line at the most")
}

func FuzzExpand(f *testing.F) {
	for _, text := range []string{"$go-proxy,direct", "${go-proxy}x", "$$", "$", "${", "${}", "a$$b$go-sumdb-", "$go-proxy:443"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var found problems
		d := &decoder{src: &source{name: "x"}, vars: testVars, found: &found}
		got, ok := d.expand(text, Position{})
		assert.Equal(t, ok, len(found.list) == 0)
		if !strings.Contains(text, "$") {
			assert.Equal(t, text, got)
		}
		escaped, ok := d.expand(strings.ReplaceAll(text, "$", "$$"), Position{})
		assert.True(t, ok)
		assert.Equal(t, text, escaped)
	})
}

func TestExpand(t *testing.T) {
	for text, want := range map[string]string{
		"https://$go-proxy,direct":  "https://proxy.example,direct",
		"${go-proxy}-x":             "proxy.example-x",
		"$go-proxy:443|$go-sumdb":   "proxy.example:443|sum.example",
		"$go-proxy-":                "proxy.example-",
		"100$$":                     "100$",
		"$$go-proxy":                "$go-proxy",
		"$go-proxy$go-sumdb":        "proxy.examplesum.example",
		"no variable in { this } %": "no variable in { this } %",
	} {
		d := &decoder{src: &source{name: "x"}, vars: testVars, found: new(problems)}
		got, ok := d.expand(text, Position{})
		assert.True(t, ok, text)
		assert.Equal(t, want, got)
	}
}
