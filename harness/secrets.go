//go:build linux

package harness

import (
	"cmp"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// leastSecret is how long, in bytes, a credential must be to be looked for in all texts. A shorter one may be an
// ordinary word; it is taken out of URLs and headers, where its place tells what it is.
const leastSecret = 8

// A redactor takes the credentials of a run out of what is recorded. A nil one knows none, and takes out only
// what looks like one.
type redactor struct{ known *regexp.Regexp }

// newRedactor returns the redactor for the credentials in all that the options declare.
func newRedactor(o *Options) *redactor {
	var secrets []string
	for _, c := range o.Configs {
		secrets = append(secrets, c.Credentials()...)
	}
	for _, s := range o.Scenarios {
		secrets = append(secrets, s.Credentials()...)
	}
	for name, value := range o.Input.Vars {
		secrets = append(secrets, scenarios.Credentials(name+"="+value)...)
	}
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return len(s) < leastSecret })
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // the longest match first
	if len(secrets) == 0 {
		return nil
	}
	var patterns []string
	for _, s := range slices.Compact(secrets) {
		patterns = append(patterns, wholeWord(s))
	}
	return &redactor{regexp.MustCompile(strings.Join(patterns, "|"))}
}

// wholeWord is the pattern of a text that is not part of a longer word.
func wholeWord(s string) string {
	edge := func(c byte) string {
		if regexp.MustCompile(`\w`).Match([]byte{c}) {
			return `\b`
		}
		return ""
	}
	return edge(s[0]) + regexp.QuoteMeta(s) + edge(s[len(s)-1])
}

// text returns a text without credentials.
func (r *redactor) text(s string) string {
	if r != nil {
		s = r.known.ReplaceAllLiteralString(s, scenarios.Redacted)
	}
	return scenarios.Redact(s)
}

// run returns the description of a run without credentials. It shares nothing with its argument that was changed.
func (r *redactor) run(run record.Run) record.Run {
	return r.value(reflect.ValueOf(run)).Interface().(record.Run)
}

// cell takes the credentials out of the facts of a cell.
func (r *redactor) cell(c *record.Cell) { *c = r.value(reflect.ValueOf(*c)).Interface().(record.Cell) }

// names are the fields by which parts of a record refer to each other. They are names of the language, and no
// place for credentials.
var names = []string{"Key", "Name"}

// value returns a copy of a value in which all texts are without credentials.
func (r *redactor) value(v reflect.Value) reflect.Value {
	made := reflect.New(v.Type()).Elem()
	made.Set(v)
	switch v.Kind() {
	case reflect.String:
		made.SetString(r.text(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			if !slices.Contains(names, v.Type().Field(i).Name) {
				made.Field(i).Set(r.value(v.Field(i)))
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			break
		}
		made.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			made.Index(i).Set(r.value(v.Index(i)))
		}
	case reflect.Map:
		if v.IsNil() {
			break
		}
		made.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for key, value := range v.Seq2() {
			made.SetMapIndex(key, r.value(value))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			made.Set(reflect.New(v.Type().Elem()))
			made.Elem().Set(r.value(v.Elem()))
		}
	}
	return made
}
