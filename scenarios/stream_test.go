package scenarios

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestToxicsAreThoseOfToxiproxy compares the table with the struct tags of the library itself.
func TestToxicsAreThoseOfToxiproxy(t *testing.T) {
	for name, attributes := range toxics {
		toxic := toxiproxy.New(&toxiproxy.ToxicWrapper{Type: name})
		require.NotNil(t, toxic, name)
		var tags []string
		for _, field := range reflect.VisibleFields(reflect.TypeOf(toxic).Elem()) {
			tags = append(tags, field.Tag.Get("json"))
		}
		assert.ElementsMatch(t, tags, slices.Collect(maps.Keys(attributes)), name)
	}
}

func TestFaultsThatNoSeedRepeatsSaySo(t *testing.T) {
	for want, f := range map[string]*StreamFault{
		"a.example stream type=latency stream=downstream jitter=5 latency=9 unseeded": {
			Type: "latency", Stream: "downstream", Toxicity: 1, Attributes: map[string]int64{"latency": 9, "jitter": 5}},
		"a.example stream type=latency stream=downstream jitter=0 latency=9": {
			Type: "latency", Stream: "downstream", Toxicity: 1, Attributes: map[string]int64{"latency": 9, "jitter": 0}},
		"a.example stream type=slicer stream=upstream toxicity=50% average_size=9 size_variation=5 unseeded": {
			Type: "slicer", Stream: "upstream", Toxicity: 0.5, Attributes: map[string]int64{"average_size": 9, "size_variation": 5}},
		"a.example stream type=down": {Type: StreamDown, Toxicity: 1},
	} {
		assert.Equal(t, want, (&Fault{Target: Target{Pattern: "a.example"}, Stream: f}).String())
	}
}

func TestStreamFaultsThatGoTogether(t *testing.T) {
	const files = `world: tiny
hosts: {a.example: {role: module-proxy}}
---
name: pair
world: tiny
faults:
`
	for _, pair := range []string{
		"stream: {type: down}, until: 5s\nstream: {type: close}, from: 5s",
		"stream: {type: down}, until: 5s\nstream: {type: latency, attributes: {latency: 9}}",
		"stream: {type: close}, nth: 2\nstream: {type: reset_peer}",
		"stream: {type: timeout, attributes: {timeout: 0}}\nstream: {type: timeout, stream: upstream, attributes: {timeout: 0}}",
		"stream: {type: timeout, toxicity: 50%, attributes: {timeout: 0}}\nstream: {type: reset_peer}",
		"stream: {type: limit_data, attributes: {bytes: 9}}\nstream: {type: slow_close, attributes: {delay: 9}}",
	} {
		text := files
		for fault := range strings.SplitSeq(pair, "\n") {
			text += "  - {host: a.example, " + fault + "}\n"
		}
		file := filepath.Join(t.TempDir(), "pair.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		_, err := Load([]string{file}, Options{Vars: testVars})
		assert.NoError(t, err, pair)
	}
}
