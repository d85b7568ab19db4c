//go:build linux

package harness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

func TestKeptTime(t *testing.T) {
	for _, test := range []struct {
		seconds        record.Seconds
		jumped, passed time.Duration
		kept           bool
	}{
		{0.03, 0, 40 * time.Millisecond, true},
		{30.03, 30 * time.Second, 40 * time.Millisecond, true},
		{29.9, 30 * time.Second, 40 * time.Millisecond, false},
		{0.03, 30 * time.Second, 40 * time.Millisecond, false}, // the lab's clock has not jumped
		{30.1, 30 * time.Second, 40 * time.Millisecond, false},
	} {
		err := keptTime(&record.Cell{Seconds: test.seconds}, test.jumped, test.passed)
		if test.kept {
			require.NoError(t, err)
			continue
		}
		assert.ErrorContains(t, err, "the cell's clock counted")
	}
}
