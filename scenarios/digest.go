package scenarios

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"slices"
)

// Digest returns a short hash of what a scenario does: its world and its faults, with all that they say.
// What it is called, where it stands, what it weighs and what is expected of it do not count, and neither
// do keys of the language that it does not use. So the results of two runs can be compared where the
// digests are the same, even if one of the runs is of an older simrun.
func (s *Scenario) Digest() string {
	data, err := json.Marshal(struct {
		World  *World
		Faults []Fault
	}{s.World, s.Faults})
	if err != nil {
		return "" // plain data has a JSON form, or it could not reach a lab process
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return ""
	}
	bare, err := json.Marshal(meaning(tree))
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(bare)
	return hex.EncodeToString(sum[:8])
}

// remarks are the fields of declarations that have no effect. Variables have theirs where they are used.
var remarks = []string{"Pos", "About", "Vars"}

// meaning returns a JSON value without what has no effect: positions, remarks, and the zero values of keys
// that a file does not have. It returns nil if nothing is left.
func meaning(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = meaning(value)
			if v[key] == nil || slices.Contains(remarks, key) {
				delete(v, key)
			}
		}
		if len(v) == 0 {
			return nil
		}
		return v
	case []any:
		for i := range v {
			v[i] = meaning(v[i]) // a list keeps its length: the places of hosts count
		}
		if len(v) == 0 {
			return nil
		}
		return v
	}
	if v == nil || reflect.ValueOf(v).IsZero() {
		return nil
	}
	return v
}
