package scenarios

import (
	"cmp"
	"maps"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// A StreamFault is a toxic of github.com/Shopify/toxiproxy under its own names, or one of StreamDown and
// StreamClose, which leave no stream for a toxic and have a Type only.
type StreamFault struct {
	Type       string           // latency, bandwidth, slow_close, timeout, reset_peer, slicer, limit_data, down, close
	Stream     string           // upstream or downstream (the default)
	Toxicity   Fraction         // share of the connections that it applies to; 1 unless the file says otherwise
	Attributes map[string]int64 // toxiproxy's own attributes in its own units
}

// The types of stream faults that are not toxics.
const (
	StreamDown  = "down"  // the host's port refuses connections, as that of a toxiproxy proxy which is not enabled
	StreamClose = "close" // connections are accepted and ended at once
)

// whole reports whether the fault is about connections as a whole, and not about what they carry.
func (s *StreamFault) whole() bool { return s.Type == StreamDown || s.Type == StreamClose }

// Unseeded reports whether the fault draws numbers that no seed repeats. toxiproxy v2.12.0 takes the jitter of
// latency and the variation of slicer from math/rand's global functions.
func (s *StreamFault) Unseeded() bool {
	return s.Attributes["jitter"] > 0 || s.Attributes["size_variation"] > 0
}

var streamValue = oneOf("stream", "upstream", "downstream")

func streamField(f *Fault) field {
	return field{
		shape: func() shape { return object(streamFields(new(StreamFault), new(ast.Node))) },
		read: func(d *decoder, n ast.Node) {
			f.Stream = &StreamFault{}
			var attributes ast.Node
			if !d.mapping(n, d.position(n), "a stream fault", streamFields(f.Stream, &attributes)) {
				return
			}
			if f.Stream.whole() {
				d.wholeConnections(n.(*ast.MappingNode), f.Stream.Type)
			} else {
				f.Stream.Stream = cmp.Or(f.Stream.Stream, "downstream")
				d.toxic(f.Stream, attributes, d.position(n))
			}
			f.Stream.Toxicity = cmp.Or(f.Stream.Toxicity, 1)
		},
	}
}

// wholeConnections refuses what a fault that leaves no stream has no use for.
func (d *decoder) wholeConnections(n *ast.MappingNode, kind string) {
	for _, key := range []string{"stream", "toxicity", "attributes"} {
		if v := keyNode(n, key); v != nil {
			d.failf(d.position(v), "`type: %s` is about whole connections and has no `%s:`; a fault's `share:` picks some of them", kind, key)
		}
	}
}

// streamFields leaves the attributes to the caller: their names depend on the type.
func streamFields(f *StreamFault, attributes *ast.Node) fields {
	return fields{
		"type":       set(&f.Type, streamTypeValue).must(),
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

var streamTypeValue = oneOf("stream fault", append(slices.Sorted(maps.Keys(toxics)), StreamClose, StreamDown)...)

// streamContradiction says what two stream faults at one place both want to decide, or returns "".
func streamContradiction(a, b *StreamFault) string {
	apart := a.Stream != b.Stream && !a.whole() && !b.whole()
	if a.ends() && b.ends() && !apart {
		return "say how connections end"
	}
	return ""
}

// ends reports whether the fault lets nothing through on any connection.
func (s *StreamFault) ends() bool {
	return s.whole() || (s.Type == "timeout" || s.Type == "reset_peer") && s.Toxicity == 1
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
	if s.Unseeded() {
		*w = append(*w, "unseeded")
	}
}
