//go:build linux

package harness

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

func TestParseShard(t *testing.T) {
	s, err := ParseShard("2/5")
	require.NoError(t, err)
	assert.Equal(t, Shard{2, 5}, s)
	for text, want := range map[string]string{
		"":                       `"" is not NUMBER/OF`,
		"2":                      `"2" is not NUMBER/OF`,
		"2/":                     `"2/" is not NUMBER/OF`,
		"2/5x":                   `"2/5x" is not NUMBER/OF`,
		"0/5":                    `shard "0/5" is out of range: there are 1/5 to 5/5`,
		"6/5":                    "out of range",
		"-1/5":                   "out of range",
		"1/0":                    "out of range",
		"99999999999999999999/1": "is not NUMBER/OF",
	} {
		_, err := ParseShard(text)
		assert.ErrorContains(t, err, want, text)
	}
}

func somePlanned(n int) []planned {
	var cells []planned
	for i := range n {
		cells = append(cells, planned{key: record.Key{Scenario: fmt.Sprint("s", i)}})
	}
	return cells
}

func TestShardsAreEvenWhereNothingIsKnown(t *testing.T) {
	numbers := shardsOf(somePlanned(11), 4, nil)
	assert.Equal(t, []int{1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3}, numbers)
}

func TestShardsAreBalancedByEarlierDurations(t *testing.T) {
	cells := somePlanned(7)
	earlier := []record.Cell{
		{Key: cells[3].key, RealSeconds: 30}, {Key: cells[5].key, RealSeconds: 10}, {Key: cells[0].key, RealSeconds: 10},
		{Key: cells[1].key, RealSeconds: 10}, {Key: cells[2].key, RealSeconds: 1}, {Key: cells[4].key, RealSeconds: 1},
		{Key: record.Key{Scenario: "gone"}, RealSeconds: 8},
	} // the mean, which s6 is taken to last, is 10
	numbers := shardsOf(cells, 2, earlier)
	assert.Equal(t, numbers, shardsOf(cells, 2, earlier))
	var sums [3]int
	for i, seconds := range []int{10, 10, 1, 30, 1, 10, 10} {
		sums[numbers[i]] += seconds
	}
	slices.Sort(sums[:])
	assert.Equal(t, [3]int{0, 32, 40}, sums)
}

func TestShardsMakeUpTheRun(t *testing.T) {
	whole := somePlanned(20)
	var together []planned
	for n := range 3 {
		p := &Plan{cells: slices.Clone(whole), options: Options{Shard: Shard{n + 1, 3}}}
		p.cut()
		assert.Equal(t, len(p.cells), p.header.Cells)
		assert.Equal(t, &record.Shard{Number: n + 1, Of: 3, Cells: 20}, p.header.Shard)
		together = append(together, p.cells...)
	}
	assert.ElementsMatch(t, whole, together)
}

func TestSkip(t *testing.T) {
	p := &Plan{cells: somePlanned(4)}
	cellOf := func(i int) record.Cell { return record.Cell{Key: somePlanned(4)[i].key} }
	require.NoError(t, p.Skip([]record.Cell{cellOf(2), cellOf(0), cellOf(2)}))
	assert.Equal(t, []planned{somePlanned(4)[1], somePlanned(4)[3]}, p.cells)
	assert.ErrorContains(t, p.Skip([]record.Cell{{Key: record.Key{Scenario: "stranger"}}}), "not those of this run")
}
