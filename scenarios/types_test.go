package scenarios

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestActive(t *testing.T) {
	const s = time.Second
	for _, test := range []struct {
		name     string
		fault    Fault
		in, idle []time.Duration
	}{
		{"always", Fault{}, []time.Duration{0, time.Hour}, nil},
		{"from", Fault{From: 2 * s}, []time.Duration{2 * s, time.Hour}, []time.Duration{0, 2*s - 1}},
		{"until", Fault{Until: 2 * s}, []time.Duration{0, 2*s - 1}, []time.Duration{2 * s}},
		{"every", Fault{Every: 10 * s, For: 3 * s},
			[]time.Duration{0, 3*s - 1, 10 * s, 12 * s, 20 * s}, []time.Duration{3 * s, 10*s - 1, 13 * s}},
		{"every, from and until", Fault{From: 5 * s, Until: 17 * s, Every: 10 * s, For: 3 * s},
			[]time.Duration{5 * s, 8*s - 1, 15 * s, 17*s - 1}, []time.Duration{0, 8 * s, 15*s - 1, 17 * s, 25 * s}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, at := range test.in {
				assert.True(t, test.fault.Active(at), "at %v", at)
			}
			for _, at := range test.idle {
				assert.False(t, test.fault.Active(at), "at %v", at)
			}
		})
	}
}
