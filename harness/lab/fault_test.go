//go:build linux

package lab

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/scenarios"
)

// picked returns which of the first things that a fault meets of a subject it picks, from 1 on.
func picked(f *Fault, subject string, n int) (which []int) {
	for i := range n {
		if f.Picks(subject) {
			which = append(which, i+1)
		}
	}
	return which
}

func TestPicks(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault scenarios.Fault
		want  []int
	}{
		{"all", scenarios.Fault{}, []int{1, 2, 3, 4, 5, 6, 7, 8}},
		{"the first two", scenarios.Fault{First: 2}, []int{1, 2}},
		{"each third", scenarios.Fault{Nth: 3}, []int{3, 6}},
		{"each third of the first five", scenarios.Fault{First: 5, Nth: 3}, []int{3}},
		{"a share of all", scenarios.Fault{Share: 1, Nth: 4}, []int{4, 8}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := NewFault(&test.fault, 1)
			assert.Equal(t, test.want, picked(f, "a.test", 8))
			assert.Equal(t, test.want, picked(f, "b.test", 8), "another host counts for itself")
		})
	}
}

// TestShareIsDrawnFromTheSeed checks how many are picked within five standard deviations, and that they are
// the same ones in each run, whatever else is met meanwhile.
func TestShareIsDrawnFromTheSeed(t *testing.T) {
	const n, deviations = 10000, 5 * 46 // sqrt(n * 0.3 * 0.7) = 46
	declared := &scenarios.Fault{Share: 0.3}
	one := picked(NewFault(declared, 1), "a.test", n)
	assert.InDelta(t, 3000, len(one), deviations)
	again := NewFault(declared, 1)
	picked(again, "b.test", 17)
	assert.Equal(t, one, picked(again, "a.test", n))
	assert.NotEqual(t, one, picked(NewFault(declared, 2), "a.test", n), "another seed")
	assert.NotEqual(t, one, picked(NewFault(declared, 1), "b.test", n), "another host")
}
