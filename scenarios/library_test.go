package scenarios

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheLibraryUsesEveryKindOfFault wants each key that a fault can have, and each word that can be its value, in
// a scenario of the built-in library. What the reference has as the default of a key need not be written.
func TestTheLibraryUsesEveryKindOfFault(t *testing.T) {
	offered := kinds{}
	offered.offer("", faultSchema(t), readReference(t))
	require.Contains(t, offered, "packet.reject=rst")
	require.NotContains(t, offered, "packet.direction=both")
	used := kinds{}
	for _, f := range libraryFaults(t) {
		used.use("", f)
	}
	for kind := range used {
		delete(offered, kind)
	}
	assert.Empty(t, slices.Sorted(maps.Keys(offered)), "no scenario of the library uses them")
}

// kinds are paths of keys such as "packet.loss", and with their values such as "packet.reject=rst".
type kinds map[string]bool

// A keySchema is the part of the schema that says which keys and words there are.
type keySchema struct {
	Type       any
	Enum       []string
	Properties map[string]keySchema
}

func faultSchema(t *testing.T) keySchema {
	t.Helper()
	text, err := json.Marshal(object(faultFields(new(Fault))))
	require.NoError(t, err)
	var s keySchema
	require.NoError(t, json.Unmarshal(text, &s))
	return s
}

// offer adds what a schema allows below a path, without the defaults that the reference names.
func (k kinds) offer(path string, s keySchema, reference string) {
	for key, value := range s.Properties {
		at := strings.TrimPrefix(path+"."+key, ".")
		k[at] = true
		for _, word := range s.Properties[key].Enum {
			k[at+"="+word] = tableOf(reference, headingOf(path), "key")[key].fallback != " `"+word+"`"
		}
		if value.Type == "boolean" {
			k[at+"=true"] = true
		}
		k.offer(at, value, reference)
	}
	maps.DeleteFunc(k, func(_ string, wanted bool) bool { return !wanted })
}

// headingOf returns the heading below which the reference has the keys at a path.
func headingOf(path string) string {
	last := path[strings.LastIndex(path, ".")+1:]
	for heading := range sections {
		if strings.EqualFold(heading, last) {
			return heading
		}
	}
	return "Fault"
}

// use adds what a value of a file has below a path.
func (k kinds) use(path string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			at := strings.TrimPrefix(path+"."+key, ".")
			k[at] = true
			k.use(at, v)
		}
	case []any:
		for _, v := range value {
			k.use(path, v)
		}
	default:
		k[fmt.Sprintf("%s=%v", path, value)] = true
	}
}

// libraryFaults returns all faults of the built-in library, as its files have them.
func libraryFaults(t *testing.T) (all []map[string]any) {
	t.Helper()
	files, err := fs.Glob(builtin, "*/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		text, err := fs.ReadFile(builtin, file)
		require.NoError(t, err)
		for _, document := range strings.Split(string(text), "\n---\n") {
			var scenario struct{ Faults []map[string]any }
			require.NoError(t, yaml.Unmarshal([]byte(document), &scenario), file)
			all = append(all, scenario.Faults...)
		}
	}
	require.NotEmpty(t, all)
	return all
}
