package record

import "reflect"

// A pool keeps one copy of each string, and of each list no room for more. What a run records is said again
// and again: in most cells the same hosts, paths and sums.
type pool map[string]string

// shrink makes a value share its strings with those that the pool has seen before.
func (p pool) shrink(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); s != "" {
			v.SetString(p.one(s))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			p.shrink(v.Field(i))
		}
	case reflect.Slice:
		if v.Len() < v.Cap() {
			whole := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(whole, v)
			v.Set(whole)
		}
		for i := range v.Len() {
			p.shrink(v.Index(i))
		}
	}
}

// longest is the length in bytes of the longest string that a pool keeps: longer ones, such as what a command
// printed, are each their own.
const longest = 4 << 10

func (p pool) one(s string) string {
	if len(s) > longest {
		return s
	}
	if known, ok := p[s]; ok {
		return known
	}
	p[s] = s
	return s
}
