//go:build linux

package lab

import (
	"sync"
	"sync/atomic"

	"github.com/simrun/simrun/scenarios"
)

// A Fault is a declared fault in a running lab. It counts what it meets and what it did. It may be used
// concurrently.
type Fault struct {
	*scenarios.Fault
	Bit atomic.Int64 // packets, connections, queries or requests that it changed

	seed uint64

	mu  sync.Mutex        // guards met
	met map[string]uint64 // connections, queries or requests so far, by what they are about
}

// NewFault returns the running state of a declared fault. The seed decides which of the things that it
// meets are in its share.
func NewFault(f *scenarios.Fault, seed uint64) *Fault {
	return &Fault{Fault: f, seed: hash(seed, f.String()), met: map[string]uint64{}}
}

// Picks notes that the fault meets one more connection, query or request and reports whether it is one of
// those that the fault is about. They are numbered for each subject by itself, such as a host, so that
// what races with each other does not change which of them are picked.
func (f *Fault) Picks(subject string) bool {
	if !f.Selective() {
		return true
	}
	f.mu.Lock()
	f.met[subject]++
	number := f.met[subject]
	f.mu.Unlock()
	if f.First > 0 && number > uint64(f.First) || f.Nth > 0 && number%uint64(f.Nth) != 0 {
		return false
	}
	return f.Share == 0 || chance(hash(f.seed, subject), number, 0) < float64(f.Share)
}
