package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A decoder turns the syntax tree of one document into declared values. It goes on after a problem, so
// that a user sees all of them at once.
type decoder struct {
	src   *source
	vars  map[string]string
	found *problems
}

// A field is one key of a mapping: how its value is read, and how the JSON Schema describes it.
// The tables of fields in language.go are the language.
type field struct {
	read     func(d *decoder, n ast.Node)
	shape    func() shape
	required bool
}

type fields map[string]field

func (f field) must() field {
	f.required = true
	return f
}

func (d *decoder) failf(pos Position, format string, args ...any) {
	d.found.add(d.src, pos, fmt.Sprintf(format, args...))
}

func (d *decoder) position(n ast.Node) Position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return d.position(m.Values[0].Key) // a block mapping's own token is its first colon
	}
	return d.src.position(n.GetToken())
}

// mapping reads a mapping that has the given fields and no others. The caller says what is being read,
// with its article, and where it begins. It reports whether all was well, so that the caller can leave
// out checks which would only find consequences.
func (d *decoder) mapping(n ast.Node, pos Position, what string, known fields) bool {
	before := len(d.found.list)
	words := slices.Sorted(maps.Keys(known))
	seen := map[string]bool{}
	isMapping := d.entries(n, what, func(key string, at Position, value ast.Node) {
		seen[key] = true
		if f, ok := known[key]; ok {
			f.read(d, value)
			return
		}
		d.failf(at, "unknown key %s in %s%s", quote(key), what, suggest(key, words))
		if meant, ok := Nearest(key, words); ok {
			seen[meant] = true // it is misspelt, not missing
		}
	})
	for _, key := range requiredOf(known) {
		if isMapping && !seen[key] {
			d.failf(pos, "%s needs `%s:`", what, key)
		}
	}
	return len(d.found.list) == before
}

// requiredOf returns the keys that a mapping must have, sorted.
func requiredOf(known fields) []string {
	keys := slices.Sorted(maps.Keys(known))
	return slices.DeleteFunc(keys, func(key string) bool { return !known[key].required })
}

// entries calls each for every key of a mapping, in the order of the file, and refuses a key's second
// appearance. It reports whether n is a mapping.
func (d *decoder) entries(n ast.Node, what string, each func(key string, at Position, value ast.Node)) bool {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.failf(d.position(n), "%s is a mapping (`key: value`), not %s", what, describe(n))
		return false
	}
	first := map[string]Position{}
	for _, v := range m.Values {
		key, at := v.Key.GetToken().Value, d.position(v.Key)
		if p, ok := first[key]; ok {
			d.failf(at, "duplicate key %s; first on line %d", quote(key), p.Line)
			continue
		}
		first[key] = at
		each(key, at, v.Value)
	}
	return true
}

// items calls each for every item of a list. It reports whether n is a list.
func (d *decoder) items(n ast.Node, what string, each func(n ast.Node)) bool {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.failf(d.position(n), "%s is a list (`[a, b]` or lines that begin with `-`), not %s", what, describe(n))
		return false
	}
	for _, item := range list.Values {
		each(item)
	}
	return true
}

// text returns the text of a scalar as it is written, with variables replaced. That it is the text and
// not YAML's idea of its type makes "off", "1_000" and "08" mean themselves.
func (d *decoder) text(n ast.Node) (string, bool) {
	written, ok := d.written(n)
	if !ok {
		return "", false
	}
	return d.expand(written, d.position(n))
}

// written returns the text of a scalar as it is written.
func (d *decoder) written(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.NullNode:
		d.failf(d.position(n), "value is missing; write \"\" for an empty one")
		return "", false
	case *ast.LiteralNode:
		return n.Value.Value, true
	case ast.ScalarNode:
		return n.GetToken().Value, true
	default:
		d.failf(d.position(n), "this is a single value, not %s", describe(n))
		return "", false
	}
}

func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	default:
		return quote(n.GetToken().Value)
	}
}

// expand replaces $name and ${name} in a text, and $$ with a dollar sign.
func (d *decoder) expand(text string, pos Position) (string, bool) {
	var b strings.Builder
	good := true
	for {
		plain, rest, found := strings.Cut(text, "$")
		b.WriteString(plain)
		if !found {
			return b.String(), good
		}
		name, after := variable(rest)
		value, known := d.vars[name]
		switch {
		case name == "$":
			value = "$"
		case name == "":
			d.failf(pos, "\"$\" begins a variable; write \"$$\" for a dollar sign")
			good = false
		case !known:
			d.unknownVariable(name, pos)
			good = false
		}
		b.WriteString(value)
		text = after
	}
}

func (d *decoder) unknownVariable(name string, pos Position) {
	if near, ok := Nearest(name, slices.Sorted(maps.Keys(d.vars))); ok {
		d.failf(pos, "unknown variable $%s; did you mean `$%s`?", name, near)
		return
	}
	d.failf(pos, "unknown variable $%s; set it with --var %s=VALUE", name, name)
}

// variable splits what follows a dollar sign into the variable's name and the rest.
// The name is "$" for a second dollar sign, and empty if there is none.
func variable(s string) (name, rest string) {
	if strings.HasPrefix(s, "$") {
		return "$", s[1:]
	}
	if braced, ok := strings.CutPrefix(s, "{"); ok {
		name, rest, ok = strings.Cut(braced, "}")
		if !ok || !isVariable(name) {
			return "", s
		}
		return name, rest
	}
	end := strings.IndexFunc(s, func(r rune) bool { return !isVariableRune(r) })
	if end < 0 {
		end = len(s)
	}
	name = strings.TrimRight(s[:end], "-")
	return name, s[len(name):]
}

func isVariable(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !isVariableRune(r) })
}

func isVariableRune(r rune) bool {
	return r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// A scalar is a way to write a value of type T.
type scalar[T any] struct {
	parse func(string) (T, error)
	shape shape
}

// set is the field whose value goes to dst.
func set[T any](dst *T, s scalar[T]) field {
	return field{
		shape: func() shape { return s.shape },
		read:  func(d *decoder, n ast.Node) { read(d, n, dst, s) },
	}
}

// setNew is set for a pointer that is nil unless the file has the key.
func setNew[T any](dst **T, s scalar[T]) field {
	return field{
		shape: func() shape { return s.shape },
		read: func(d *decoder, n ast.Node) {
			*dst = new(T)
			read(d, n, *dst, s)
		},
	}
}

// read reads one scalar into dst, and reports whether it was good.
func read[T any](d *decoder, n ast.Node, dst *T, s scalar[T]) bool {
	text, ok := d.text(n)
	if !ok {
		return false
	}
	v, err := s.parse(text)
	if err != nil {
		d.failf(d.position(n), "%v", err)
		return false
	}
	*dst = v
	return true
}

// setList is the field whose value is a list of scalars, appended to dst.
func setList[T any](dst *[]T, what string, s scalar[T]) field {
	return field{
		shape: func() shape { return listOf(s.shape) },
		read: func(d *decoder, n ast.Node) {
			d.items(n, what, func(item ast.Node) {
				var v T
				if read(d, item, &v, s) {
					*dst = append(*dst, v)
				}
			})
		},
	}
}

// setMap is the field whose value is a mapping of names of the caller's choice to scalars.
func setMap[T any](dst *map[string]T, what string, key scalar[string], value scalar[T]) field {
	return field{
		shape: func() shape { return mapOf(value.shape) },
		read: func(d *decoder, n ast.Node) {
			*dst = map[string]T{}
			d.entries(n, what, func(name string, at Position, n ast.Node) {
				if _, err := key.parse(name); err != nil {
					d.failf(at, "%v", err)
				}
				var v T
				if read(d, n, &v, value) {
					(*dst)[name] = v
				}
			})
		},
	}
}

// setStruct is the field whose value is a mapping with fields of its own.
func setStruct[T any](dst *T, what string, table func(*T) fields) field {
	return field{
		shape: func() shape { return object(table(new(T))) },
		read: func(d *decoder, n ast.Node) {
			d.mapping(n, d.position(n), what, table(dst))
		},
	}
}

// setMapping is setStruct for a pointer that is nil unless the file has the key.
// The pointer is set even if its content is wrong, so that one problem does not cause another.
func setMapping[T any](dst **T, what string, table func(*T) fields, check func(d *decoder, v *T, pos Position)) field {
	return field{
		shape: func() shape { return object(table(new(T))) },
		read: func(d *decoder, n ast.Node) {
			*dst = new(T)
			if d.mapping(n, d.position(n), what, table(*dst)) && check != nil {
				check(d, *dst, d.position(n))
			}
		},
	}
}

// oneOf is the scalar that is one of a few words.
func oneOf[T ~string](what string, words ...T) scalar[T] {
	known := make([]string, len(words))
	for i, w := range words {
		known[i] = string(w)
	}
	return scalar[T]{
		shape: shape{"enum": known},
		parse: func(s string) (T, error) {
			if !slices.Contains(known, s) {
				return "", fmt.Errorf("unknown %s %s%s", what, quote(s), suggest(s, known))
			}
			return T(s), nil
		},
	}
}

// whole is the scalar that is a whole number within bounds; messages say what it counts.
func whole[T ~int | ~int64 | ~uint64](what string, least, most T) scalar[T] {
	return scalar[T]{
		shape: shape{"type": "integer", "minimum": least, "maximum": most},
		parse: func(s string) (T, error) {
			n, err := strconv.ParseUint(strings.TrimPrefix(s, "-"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s is not a whole number (%s)", quote(s), what)
			}
			if strings.HasPrefix(s, "-") || n < uint64(least) || n > uint64(most) {
				return 0, fmt.Errorf("%s is out of range (%s): %d to %d", quote(s), what, least, most)
			}
			return T(n), nil
		},
	}
}
