package scenarios

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRetryWaitsLongerEachTime(t *testing.T) {
	r := Retry{Attempts: 4, Backoff: time.Second, Factor: 2}
	for n, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		assert.Equal(t, want, r.Wait(n+1, 0.5), "after attempt %d", n+1)
		assert.Equal(t, want, r.Wait(n+1, 0), "without jitter the draw has no say")
	}
}

func TestJitterGoesToEitherSide(t *testing.T) {
	r := Retry{Attempts: 3, Backoff: 2 * time.Second, Factor: 1, Jitter: 0.5}
	assert.Equal(t, time.Second, r.Wait(2, 0))
	assert.Equal(t, 2*time.Second, r.Wait(2, 0.5))
	assert.Equal(t, 3*time.Second, r.Wait(2, 1))
}

func TestRetryNeverWaitsForMoreThanADay(t *testing.T) {
	r := Retry{Attempts: 100, Backoff: 24 * time.Hour, Factor: 100, Jitter: 1}
	assert.Equal(t, 24*time.Hour, r.Wait(99, 1))
	assert.Equal(t, time.Duration(0), (&Retry{Attempts: 2, Factor: 2}).Wait(1, 1))
}

func TestRetryIsDescribedAsFilesHaveIt(t *testing.T) {
	r := Retry{Attempts: 3, Backoff: time.Second, Factor: 1.5, Jitter: 0.5, Timeout: 20 * time.Second}
	assert.Equal(t, "attempts=3 backoff=1s factor=1.5 jitter=50% timeout=20s", r.String())
	assert.Equal(t, "attempts=2", (&Retry{Attempts: 2, Factor: 2}).String())
}
