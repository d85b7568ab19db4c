package main

import (
	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/record"
)

// What simrun and the one that it runs in a container say to each other: JSON values. The first value says
// which go commands are wanted, and is answered with a hello; the second what is to be run, with a header;
// the third which cells are there already, with all that comes of the others, and done at last. Instead of
// any of these, the answer may be a failure, which is the last.

// An order is what the one outside sends.
type order struct {
	Gos  []string         // first: as --go names them
	Plan *harness.Options // second
	Skip []record.Key     // third
}

// An answer has one field.
type answer struct {
	Hello  *hello          `json:",omitempty"`
	Header *record.Run     `json:",omitempty"`
	Cell   *record.Cell    `json:",omitempty"`
	Packet *chunk          `json:",omitempty"`
	Status *harness.Status `json:",omitempty"`
	Failed *failure        `json:",omitempty"`
	Done   bool            `json:",omitempty"`
}

// A hello is what the one outside must know before it reads files.
type hello struct {
	Simrun string        // its version
	Go     []*harness.Go // as they are in the container
	Addrs  []string      // of the container's network interfaces
}

// A chunk is a part of a file with the packets of a cell, which comes before the cell.
type chunk struct {
	Name string // below the folder of the results
	Data []byte
}

// A failure is what ended the one in the container.
type failure struct {
	Status int // the exit status that says whose it is
	Text   string
	Hint   string
}
