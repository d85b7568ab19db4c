package scenarios

import (
	"maps"
	"reflect"
	"slices"
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
