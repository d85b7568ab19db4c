package record

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Difference names the first thing by which two runs are not parts of the same one: a scenario, a config,
// the seed, the version of simrun and so on, as their JSON has it. Times, machines, files and what was typed
// may differ, and which shard it is. It returns "" if there is none.
func (r *Run) Difference(other *Run) string {
	a, b := reflect.ValueOf(r.essence()), reflect.ValueOf(other.essence())
	for i := range a.NumField() {
		x, y := a.Field(i).Interface(), b.Field(i).Interface()
		if reflect.DeepEqual(x, y) {
			continue
		}
		key, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		return fmt.Sprintf("they differ by %s: %s", key, differing(a.Field(i), b.Field(i)))
	}
	return ""
}

// differing shows two values, or of two lists the first elements that differ.
func differing(a, b reflect.Value) string {
	if a.Kind() != reflect.Slice {
		return both(a.Interface(), b.Interface())
	}
	for i := range min(a.Len(), b.Len()) {
		if x, y := a.Index(i).Interface(), b.Index(i).Interface(); !reflect.DeepEqual(x, y) {
			return both(x, y)
		}
	}
	return fmt.Sprintf("there are %d and %d", a.Len(), b.Len())
}

func both(x, y any) string {
	a, b := short(x), short(y)
	if a == b {
		return a + " is not the same"
	}
	return a + " and " + b
}

// short is the name of something that has one, or else the beginning of its JSON.
func short(v any) string {
	if named := reflect.ValueOf(v); named.Kind() == reflect.Struct {
		if name := named.FieldByName("Name"); name.IsValid() {
			return fmt.Sprint(name)
		}
	}
	const most = 60
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(text) > most {
		return strings.ToValidUTF8(string(text[:most]), "") + "..."
	}
	return string(text)
}

// essence returns a copy of a run with nothing in it that parts of one run need not share.
func (r *Run) essence() Run {
	e := *r
	e.Version, e.Started, e.Host, e.Hosts, e.Input, e.Jobs, e.Cells, e.Shard = 0, "", Host{}, nil, Input{}, 0, 0, nil
	e.Scenarios, e.Configs = slices.Clone(r.Scenarios), slices.Clone(r.Configs)
	for i := range e.Scenarios {
		s := &e.Scenarios[i]
		s.File, s.Expect = "", slices.Clone(s.Expect)
		for j := range s.Expect {
			s.Expect[j].Where = ""
		}
	}
	for i := range e.Configs {
		e.Configs[i].Where = ""
	}
	return e
}

// Merge puts the shards of a run together. All of them must be there, once, and be of the same run. A
// shard that was interrupted is an error, too, unless partial is true; then whole shards may be missing as well.
// Cells keep the order of the shards.
func Merge(shards []*Results, partial bool) (*Results, error) {
	parts := slices.Clone(shards)
	if err := checkShards(parts, partial); err != nil {
		return nil, err
	}
	slices.SortFunc(parts, func(a, b *Results) int { return a.Run.Shard.Number - b.Run.Shard.Number })
	whole := &Results{Run: parts[0].Run}
	whole.Run.Cells, whole.Run.Shard = parts[0].Run.Shard.Cells, nil
	seen := map[Key]bool{}
	for _, p := range parts {
		whole.Run.Started = min(whole.Run.Started, p.Run.Started)
		if !slices.Contains(whole.Run.Hosts, p.Run.Host) {
			whole.Run.Hosts = append(whole.Run.Hosts, p.Run.Host)
		}
		for _, c := range p.Cells {
			if seen[c.Key] {
				return nil, fmt.Errorf("cell %s/%s/%s/%s/%d is in two shards", c.Scenario, c.Config, c.Project, c.Go, c.Rep)
			}
			seen[c.Key] = true
		}
		whole.Cells = append(whole.Cells, p.Cells...)
	}
	return whole, nil
}

// checkShards finds strangers, doubles and gaps.
func checkShards(parts []*Results, partial bool) error {
	if len(parts) == 0 {
		return fmt.Errorf("there is nothing to merge")
	}
	numbers := map[int]bool{}
	for _, p := range parts {
		if err := checkShard(parts[0], p, partial); err != nil {
			return err
		}
		n := p.Run.Shard.Number
		if numbers[n] {
			return fmt.Errorf("shard %s is there twice", p.Run.Shard)
		}
		numbers[n] = true
	}
	for n := range parts[0].Run.Shard.Of {
		if !numbers[n+1] && !partial {
			return fmt.Errorf("shard %d/%d is missing", n+1, parts[0].Run.Shard.Of)
		}
	}
	return nil
}

// checkShard finds out whether a shard is whole, and of the same run as the first one.
func checkShard(first, p *Results, partial bool) error {
	s, of := p.Run.Shard, first.Run.Shard
	switch {
	case s == nil || of == nil:
		return fmt.Errorf("the run of %q is not a shard: it was made without --shard", p.Run.Started)
	case s.Of != of.Of || s.Cells != of.Cells:
		return fmt.Errorf("shards %s of %d cells and %s of %d cells are of different runs", of, of.Cells, s, s.Cells)
	case len(p.Cells) < p.Run.Cells && !partial:
		return fmt.Errorf("shard %s has %d of its %d cells: it was interrupted", s, len(p.Cells), p.Run.Cells)
	}
	if d := first.Run.Difference(&p.Run); d != "" {
		return fmt.Errorf("shards %s and %s are of different runs: %s", of, s, d)
	}
	return nil
}
