package scenarios

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSchemaFile keeps schema.json, which editors read, the same as what Schema makes of the tables.
func TestSchemaFile(t *testing.T) {
	golden(t, "schema.json", string(Schema()))
}

func TestSchemaKnowsTheKeys(t *testing.T) {
	var schema struct {
		AnyOf []struct {
			Properties map[string]json.RawMessage
			Required   []string
		}
	}
	require.NoError(t, json.Unmarshal(Schema(), &schema))
	require.Len(t, schema.AnyOf, 4)
	scenario := schema.AnyOf[1]
	assert.Equal(t, []string{"name", "world"}, scenario.Required)
	for key := range scenarioFields(new(Scenario)) {
		assert.Contains(t, scenario.Properties, key)
	}
}
