package scenarios

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Retry is a wrapper around the command of a cell that runs it again when it has failed, as scripts of CI
// systems do.
type Retry struct {
	Attempts int           // at most so many runs of the command
	Backoff  time.Duration // between the end of the first run and the next; 0 means none
	Factor   float64       // each further wait is so many times as long as the one before
	Jitter   Fraction      // each wait is shorter or longer by up to this share, drawn from the seed
	Timeout  time.Duration // ends a run that takes longer, as timeout(1) does; 0 means none
}

var factorValue = scalar[float64]{parse: parseFactor, shape: shape{"type": "number", "minimum": 1, "maximum": 100}}

func parseFactor(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is not a number", quote(s))
	case !(f >= 1 && f <= 100): // the negation also catches NaN
		return 0, fmt.Errorf("%s is out of range: 1 to 100", quote(s))
	}
	return f, nil
}

func retryFields(r *Retry) fields {
	*r = Retry{Factor: 2}
	return fields{
		"attempts": set(&r.Attempts, whole("attempts", 1, 100)).must(),
		"backoff":  set(&r.Backoff, durationValue),
		"factor":   set(&r.Factor, factorValue),
		"jitter":   set(&r.Jitter, fractionValue),
		"timeout":  set(&r.Timeout, durationValue),
	}
}

func checkRetry(d *decoder, r *Retry, pos Position) {
	switch {
	case r.Attempts == 1 && r.Timeout == 0:
		d.failf(pos, "`attempts: 1` without `timeout:` changes nothing")
	case r.Attempts == 1 && r.Backoff > 0:
		d.failf(pos, "`backoff:` is between attempts, and there is one only")
	case r.Backoff == 0 && (r.Jitter > 0 || r.Factor != 2):
		d.failf(pos, "`jitter:` and `factor:` are about `backoff:`, which is missing")
	}
}

// Wait returns how long to wait after attempt number n, from 1 on. The draw, from 0 to 1, decides the jitter.
func (r *Retry) Wait(n int, draw float64) time.Duration {
	const most = 24 * time.Hour
	wait := float64(r.Backoff)
	for i := 1; i < n && wait < float64(most); i++ {
		wait *= r.Factor
	}
	return min(time.Duration(wait*(1+float64(r.Jitter)*(2*draw-1))), most)
}

// String returns the wrapper in the words of the language, such as "attempts=3 backoff=1s factor=2".
func (r *Retry) String() string {
	var w words
	w.set("attempts", r.Attempts)
	w.add("backoff", r.Backoff)
	if r.Backoff > 0 {
		w.set("factor", r.Factor)
	}
	w.add("jitter", r.Jitter)
	w.add("timeout", r.Timeout)
	return strings.Join(w, " ")
}
