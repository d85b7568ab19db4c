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
