//go:build linux

package lab

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestChance(t *testing.T) {
	const draws = 100_000
	var sum float64
	var tenths [10]int
	for i := range uint64(draws) {
		c := chance(1, i, 2)
		require.True(t, c >= 0 && c < 1)
		sum += c
		tenths[int(c*10)]++
	}
	assert.InDelta(t, 0.5, sum/draws, 0.005)
	for i, n := range tenths {
		assert.InDelta(t, draws/10, n, 500, "tenth %d; 5 standard deviations", i)
	}
	assert.Equal(t, chance(1, 2, 3), chance(1, 2, 3))
	assert.NotEqual(t, chance(1, 2, 3), chance(2, 2, 3))
	assert.NotEqual(t, chance(1, 2, 3), chance(1, 3, 3))
	assert.NotEqual(t, chance(1, 2, 3), chance(1, 2, 4))
}

func TestHashTellsPartsApart(t *testing.T) {
	seen := map[uint64][]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}, {"b", "a"},
		{"12345678"}, {"1234567", "8"}, {"123456789"}, {"12345678", "9"}, {"a\x00"}} {
		h := hash(1, parts...)
		assert.Nil(t, seen[h], "%q and %q", parts, seen[h])
		seen[h] = parts
	}
}
