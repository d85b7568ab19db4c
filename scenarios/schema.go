package scenarios

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// A shape is a part of a JSON Schema.
type shape map[string]any

// Schema returns the JSON Schema (draft 2020-12) of the language's files, for editors to complete and
// check while typing. It is made from the tables that Load reads by, and knows less than Load: whether a
// value fits its key, but not whether it fits the rest.
func Schema() []byte {
	schema := shape{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "simrun: worlds, scenarios, configs and projects",
		"anyOf": []shape{
			object(worldFields(new(World))),
			object(scenarioFields(new(Scenario))),
			object(fields{"configs": {shape: func() shape { return listOf(object(configFields(new(Config)))) }, required: true}}),
			object(fields{"projects": {shape: func() shape { return listOf(object(projectFields(new(Project)))) }, required: true}}),
		},
	}
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("scenarios: schema is not JSON: %v", err)) // it is made of constants only
	}
	return append(text, '\n')
}

func object(known fields) shape {
	properties := shape{}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		properties[key] = known[key].shape()
	}
	s := shape{"type": "object", "properties": properties, "additionalProperties": false}
	if required := requiredOf(known); len(required) > 0 {
		s["required"] = required
	}
	return s
}

func mapOf(value shape) shape {
	return shape{"type": "object", "additionalProperties": value}
}

func listOf(item shape) shape {
	return shape{"type": "array", "items": item}
}
