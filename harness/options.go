// Package harness plans, runs and records the cells of a run: each is one real go command inside a
// network of its own (package lab) of which package fakeupstream and package dnsfake are the servers.
package harness

import (
	"fmt"
	"time"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// Options say what a run consists of.
type Options struct {
	Scenarios []*scenarios.Scenario
	Configs   []*scenarios.Config
	Projects  []*scenarios.Project
	Go        []*Go             // under test, one or more, with the same defaults; the first makes what cells share
	Vars      map[string]string // that the files were loaded with
	Repeat    int               // repetitions of each cell; 0 means 1
	Jobs      int               // cells that may work at once; 0 means one per CPU
	Timeout   time.Duration     // deadline of each cell; 0 means DefaultTimeout
	Seed      uint64            // of all that is drawn at random
	Virtual   bool              // the clock of a cell jumps over the time in which nothing can happen
	Limits    Limits            // of each cell
	Retries   int               // of each cell that was contended, when all others have been run
	Captures  string            // folder beside results.jsonl for each cell's packets; empty: they are not kept
	CacheDir  string            // where generated modules are kept between runs
	Version   string            // of simrun
	Input     record.Input      // where all this comes from, for the record
	Shard     Shard             // the part of the run that is this one's
	Images    map[string]*Image // those of ImagesOf the scenarios
	Earlier   []record.Cell     // of a run like this one: how long they took balances the shards; may be empty
}

// An InputError says that what the Options ask for cannot be run, such as a project whose modules are not
// in the module cache. All other errors are the harness's own or the machine's.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns e.Err.
func (e *InputError) Unwrap() error { return e.Err }

func wrongInput(format string, args ...any) error { return &InputError{fmt.Errorf(format, args...)} }

// DefaultTimeout is the deadline of a cell. A command that meets a black hole twice in a row waits for 30 s
// twice and then fails by itself; a deadline of 60 s would call that a hang.
const DefaultTimeout = 70 * time.Second

// A Shard is the part of a run that one of several simruns makes. The zero Shard is the whole run.
type Shard struct{ Number, Of int } // 1/5 is the first of five

// ParseShard reads NUMBER/OF, such as 2/5.
func ParseShard(text string) (Shard, error) {
	var s Shard
	var rest string
	if n, _ := fmt.Sscanf(text, "%d/%d%s", &s.Number, &s.Of, &rest); n != 2 {
		return Shard{}, fmt.Errorf("%q is not NUMBER/OF, such as 2/5", text)
	}
	if s.Of < 1 || s.Number < 1 || s.Number > s.Of {
		return Shard{}, fmt.Errorf("shard %q is out of range: there are 1/%d to %[2]d/%[2]d", text, max(s.Of, 1))
	}
	return s, nil
}

// A Status is how far a run is.
type Status struct {
	Done, Total   int
	Running       []Running     // the longest-running first
	Elapsed, Left time.Duration // Left is an estimate; negative means unknown
}

// Running is one cell that is under way.
type Running struct {
	record.Key
	For   time.Duration
	Doing string // what it waits for; empty: it works, or nothing is known yet
}
