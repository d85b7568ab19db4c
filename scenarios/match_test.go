package scenarios

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "a/b.c", true},
		{"**", "a", true},
		{"?", "", false},
		{"?", "é", true},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*.example", "git.corp.example", true},
		{"*.example", "example", false},
		{"*.example", "git.example.org", false},
		{"goproxy.*", "goproxy.cn", true},
		{"goproxy.cn", "goproxyxcn", false},
		{"*a*b", "aab", true},
		{"*a*b", "ba", false},
		{"*.zip", "/m/@v/v1.0.0.zip", true},
		{"/sumdb/*", "/sumdb/sum.example/supported", true},
		{"[a]", "a", false},
		{"[a]", "[a]", true},
		{"A", "a", false},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, Glob(tt.pattern, tt.name), "Glob(%q, %q)", tt.pattern, tt.name)
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("*a?", "bac")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if Glob(pattern, name) {
			assert.True(t, Glob("*"+pattern, "x"+name))
			assert.True(t, Glob(pattern+"*", name+"x"))
		}
	})
}

func ExampleGlob() {
	fmt.Println(Glob("*.zip", "/rsc.io/quote/@v/v1.5.2.zip"))
	fmt.Println(Glob("cn-*", "two-comma"))
	// Output:
	// true
	// false
}
