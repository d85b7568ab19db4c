//go:build linux

package harness

import (
	"encoding/json"
	"time"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/harness/lab/clock"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// A spec is all that a lab process must know to run one cell. It crosses the process boundary as JSON.
type spec struct {
	World    *scenarios.World
	Faults   faults
	Config   *scenarios.Config
	Universe *fakeupstream.Universe // the modules that the internet serves, and the one that needs them
	Keys     keys
	Command  []string          // with the absolute path of the program first
	Parallel int               // so many of the command at once; 0 means 1
	Env      []string          // complete
	Warm     string            // folder of this machine with the module cache of Config.Cache; empty: the cache is cold
	Hidden   []string          // folders of this machine that the cell's programs do not see
	Shown    []string          // files and folders in them that they do
	Altered  map[int]string    // repositories that faults want to be served instead, by the number of the fault
	Images   map[string]*Image // that programs of the world run in, by name
	Trees    map[string][]byte // signed trees by the name of the checksum database, and by wrongTree
	Timeout  time.Duration
	Started  time.Time // when the scheduler began to start the lab process
	Seed     uint64    // of the run; startCell adds the number of the repetition
	Limits   Limits
	Virtual  bool          // the clock jumps over the time in which nothing can happen
	Ahead    time.Duration // of the client's clock, which is moved so far; with the real clock, the world's certificates are older instead
	Unkept   string        // why it does not, where that was asked for
	Capture  bool          // the client's packets go to lab.CaptureFile
	Shell    bool          // the command has this process's standard input and output, and no deadline
}

// faults are the faults of a spec, encoded by a method of their own: encoding/json prepares for all fields of a struct,
// even to decode it, but not for what a json.Marshaler hides (newTypeEncoder in encoding/json/encode.go). So only lab
// processes with faults prepare for those.
type faults []scenarios.Fault

func (f faults) MarshalJSON() ([]byte, error) { return json.Marshal([]scenarios.Fault(f)) }

// keys are the secrets of a run's internet: who signs for which host.
type keys struct {
	CA     []byte            // certificate that the client trusts, PEM
	Leaves map[string][]byte // certificate and key by host, PEM
	Flawed map[string][]byte // those that faults show instead, with their keys, by the names of their flaws
	SumDB  map[string]dbKey  // by the host that serves the checksum database

	authorities *authorities
}

// A dbKey is the name of a checksum database and its key pair in the form of golang.org/x/mod/sumdb/note.
// The signer stays with the scheduler: signing costs as much as a TLS handshake, and is the same for all cells.
type dbKey struct {
	Name, Verifier string
	signer         string
}

// A message is what a lab process sends to the scheduler, one JSON value each.
type message struct {
	Doing string       `json:",omitempty"` // answer to the question what the cell waits for
	Hello *clock.Hello `json:",omitempty"` // with the virtual clock, the first message
	Cell  *record.Cell `json:",omitempty"` // the end
}

// A question is what the scheduler sends to a lab process after the spec.
type question struct {
	Doing bool   `json:",omitempty"` // what the cell waits for
	Stop  string `json:",omitempty"` // end all programs of the cell: the limit that they exceed
}
