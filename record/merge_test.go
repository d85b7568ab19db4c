package record

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shard returns part number of a run of four cells in two shards.
func shard(number int, cells ...string) *Results {
	r := &Results{Run: Run{
		Version: Version, Started: fmt.Sprintf("2026-01-02T03:04:0%dZ", 9-number), Seed: 7, Cells: 2,
		Shard: &Shard{Number: number, Of: 2, Cells: 4}, Host: Host{Kernel: fmt.Sprint("kernel-", number)},
		Scenarios: []Scenario{{Name: "dead-proxy", Digest: "d1", File: fmt.Sprint(number, ".yaml"), Expect: []Expectation{{Configs: "a", Where: fmt.Sprint(number)}}}},
		Configs:   []Config{{Name: "a", Where: fmt.Sprint(number)}},
	}}
	for _, name := range cells {
		r.Cells = append(r.Cells, Cell{Key: Key{Scenario: "dead-proxy", Config: name}})
	}
	return r
}

func TestMerge(t *testing.T) {
	whole, err := Merge([]*Results{shard(2, "c", "d"), shard(1, "a", "b")}, false)
	require.NoError(t, err)
	assert.Nil(t, whole.Run.Shard)
	assert.Equal(t, 4, whole.Run.Cells)
	assert.Equal(t, "2026-01-02T03:04:07Z", whole.Run.Started)
	assert.Equal(t, []Host{{Kernel: "kernel-1"}, {Kernel: "kernel-2"}}, whole.Run.Hosts)
	var order []string
	for _, c := range whole.Cells {
		order = append(order, c.Config)
	}
	assert.Equal(t, []string{"a", "b", "c", "d"}, order)
}

func TestMergeRefuses(t *testing.T) {
	stranger := func(change func(*Run)) *Results {
		s := shard(2, "c", "d")
		change(&s.Run)
		return s
	}
	first := shard(1, "a", "b")
	for name, tc := range map[string]struct {
		second *Results
		want   string
	}{
		"a gap":               {nil, "shard 2/2 is missing"},
		"a double":            {shard(1, "a", "b"), "shard 1/2 is there twice"},
		"an interrupted one":  {shard(2, "c"), "shard 2/2 has 1 of its 2 cells: it was interrupted"},
		"a cell twice":        {shard(2, "b", "d"), "cell dead-proxy/b///0 is in two shards"},
		"a whole run":         {stranger(func(r *Run) { r.Shard = nil }), "is not a shard"},
		"other shards":        {stranger(func(r *Run) { r.Shard.Of = 3 }), "shards 1/2 of 4 cells and 2/3 of 4 cells are of different runs"},
		"another seed":        {stranger(func(r *Run) { r.Seed = 8 }), "shards 1/2 and 2/2 are of different runs: they differ by seed: 7 and 8"},
		"another version":     {stranger(func(r *Run) { r.Simrun = "v2" }), `they differ by simrun: "" and "v2"`},
		"another scenario":    {stranger(func(r *Run) { r.Scenarios[0].Digest = "d2" }), "they differ by scenarios: dead-proxy is not the same"},
		"more scenarios":      {stranger(func(r *Run) { r.Scenarios = append(r.Scenarios, Scenario{}) }), "they differ by scenarios: there are 1 and 2"},
		"another config":      {stranger(func(r *Run) { r.Configs[0].Name = "b" }), "they differ by configs: a and b"},
		"another release":     {stranger(func(r *Run) { r.Releases = []string{"go1.27.0"} }), "they differ by releases: there are 0 and 1"},
		"another expectation": {stranger(func(r *Run) { r.Scenarios[0].Expect[0].Outcome = OK }), "dead-proxy is not the same"},
		"other variables":     {stranger(func(r *Run) { r.Vars = map[string]string{"x": "y"} }), `they differ by vars: null and {"x":"y"}`},
		"something long":      {stranger(func(r *Run) { r.Simrun = fmt.Sprintf("%0100d", 1) }), "..."},
	} {
		t.Run(name, func(t *testing.T) {
			parts := []*Results{first}
			if tc.second != nil {
				parts = append(parts, tc.second)
			}
			_, err := Merge(parts, false)
			assert.ErrorContains(t, err, tc.want)
		})
	}
	_, err := Merge(nil, false)
	assert.ErrorContains(t, err, "nothing to merge")
}

func TestMergeTakesWhatIsThere(t *testing.T) {
	for name, parts := range map[string][]*Results{
		"a gap":              {shard(2, "c", "d")},
		"an interrupted one": {shard(1), shard(2, "c", "d")},
	} {
		t.Run(name, func(t *testing.T) {
			whole, err := Merge(parts, true)
			require.NoError(t, err)
			assert.Len(t, whole.Cells, 2)
			assert.Equal(t, 4, whole.Run.Cells, "so that reports say what is missing")
		})
	}
}
