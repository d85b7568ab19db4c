package scenarios

import (
	"fmt"
	"maps"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// A StreamFault is a toxic of github.com/Shopify/toxiproxy under its own names.
type StreamFault struct {
	Type       string           // latency, bandwidth, slow_close, timeout, reset_peer, slicer, limit_data
	Stream     string           // upstream or downstream (the default)
	Toxicity   Fraction         // share of the connections that it applies to; 1 unless the file says otherwise
	Attributes map[string]int64 // toxiproxy's own attributes in its own units
}

var streamValue = oneOf("stream", "upstream", "downstream")

func streamField(f *Fault) field {
	return field{
		shape: func() shape { return object(streamFields(new(StreamFault), new(ast.Node))) },
		read: func(d *decoder, n ast.Node) {
			f.Stream = &StreamFault{Stream: "downstream", Toxicity: 1}
			var attributes ast.Node
			if d.mapping(n, d.position(n), "a stream fault", streamFields(f.Stream, &attributes)) {
				d.toxic(f.Stream, attributes, d.position(n))
			}
		},
	}
}

// streamFields leaves the attributes to the caller: their names depend on the type.
func streamFields(f *StreamFault, attributes *ast.Node) fields {
	return fields{
		"type":       set(&f.Type, toxicValue).must(),
		"stream":     set(&f.Stream, streamValue),
		"toxicity":   set(&f.Toxicity, shareValue),
		"attributes": {shape: attributesShape, read: func(_ *decoder, n ast.Node) { *attributes = n }},
	}
}

// An attribute is one setting of a toxic: a whole number of a unit that toxiproxy fixes.
type attribute struct {
	unit        string
	least, most int64
	required    bool
}

const (
	maxMilliseconds = int64(24 * 60 * 60 * 1000)
	maxMicroseconds = maxMilliseconds * 1000
	maxBytes        = int64(maxSize)
)

// toxics are the toxics of toxiproxy v2.12.0 with the names and units of the struct tags in its
// toxics/*.go. toxiproxy itself ignores attributes that it does not know, and takes what would block a
// connection for ever (a bandwidth of 0) or overflow the stack (a slicer of size 0), so they are checked here.
var toxics = map[string]map[string]attribute{
	"latency":    {"latency": {"milliseconds", 0, maxMilliseconds, true}, "jitter": {"milliseconds", 0, maxMilliseconds, false}},
	"bandwidth":  {"rate": {"KB/s", 1, maxBytes / 1000, true}},
	"slow_close": {"delay": {"milliseconds", 0, maxMilliseconds, true}},
	"timeout":    {"timeout": {"milliseconds", 0, maxMilliseconds, true}},
	"reset_peer": {"timeout": {"milliseconds", 0, maxMilliseconds, false}},
	"limit_data": {"bytes": {"bytes", 0, maxBytes, true}},
	"slicer": {
		"average_size":   {"bytes", 1, maxBytes, true},
		"size_variation": {"bytes", 0, maxBytes, false},
		"delay":          {"microseconds", 0, maxMicroseconds, false},
	},
}

// toxicFields is the table of the attributes that the toxic of f has.
func toxicFields(f *StreamFault) fields {
	f.Attributes = map[string]int64{}
	table := fields{}
	for name, a := range toxics[f.Type] {
		number := whole(a.unit, a.least, a.most)
		table[name] = field{
			required: a.required,
			shape:    func() shape { return number.shape },
			read: func(d *decoder, n ast.Node) {
				var v int64
				if read(d, n, &v, number) {
					f.Attributes[name] = v
				}
			},
		}
	}
	return table
}

// toxic reads the attributes of a toxic, once its type says what they are.
func (d *decoder) toxic(f *StreamFault, attributes ast.Node, pos Position) {
	table := toxicFields(f)
	if attributes != nil {
		d.mapping(attributes, d.position(attributes), "the toxic "+f.Type, table)
	} else if required := requiredOf(table); len(required) > 0 {
		d.failf(pos, "the toxic %s needs `attributes: {%s: ...}`", f.Type, required[0])
	}
	average, known := f.Attributes["average_size"]
	if variation := f.Attributes["size_variation"]; known && variation >= average {
		d.failf(pos, "slicer would never end: size_variation %d is not less than average_size %d", variation, average)
	}
}

// attributeNames returns the names that any toxic gives its attributes, sorted.
func attributeNames() []string {
	all := map[string]bool{}
	for _, known := range toxics {
		for name := range known {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

var toxicValue = scalar[string]{
	shape: shape{"enum": slices.Sorted(maps.Keys(toxics))},
	parse: func(s string) (string, error) {
		if _, ok := toxics[s]; !ok {
			return "", fmt.Errorf("unknown toxic %s%s", quote(s), suggest(s, slices.Sorted(maps.Keys(toxics))))
		}
		return s, nil
	},
}

func attributesShape() shape {
	properties := shape{}
	for _, name := range attributeNames() {
		properties[name] = shape{"type": "integer", "minimum": 0}
	}
	return shape{"type": "object", "properties": properties, "additionalProperties": false}
}

func (s *StreamFault) describe(w *words) {
	w.add("type", s.Type)
	w.add("stream", s.Stream)
	if s.Toxicity != 1 {
		w.add("toxicity", s.Toxicity)
	}
	var names []string
	for name := range s.Attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w.set(name, s.Attributes[name])
	}
}
