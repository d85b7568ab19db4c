package verdict

import (
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
)

// Integrity says whether what a cell downloaded was checked, and what came of it. It needs the cell's class.
//
// A module, or a go.mod file, that is not the true one and stayed in the module cache was accepted, whatever
// else happened; one that had been there before was so only if the command ended well. What the go command refused
// because a hash, a proof or a signature did not hold was rejected, be it a module or what a checksum database
// says.
// Of the modules that are not private, each must have been asked of a checksum database or have stood in
// go.sum beforehand to be verified; private modules count only if there are no others, because no public
// database can know them.
func Integrity(cell *record.Cell, project record.Project) record.Integrity {
	tampered := func(m record.Module) bool {
		wrong := m.Sum != "" && !m.Good || m.BadMod
		return wrong && (!m.Before || cell.Outcome == record.OK)
	}
	switch {
	case slices.ContainsFunc(cell.Modules, tampered):
		return record.TamperedAccepted
	case rejected(cell):
		return record.TamperedRejected
	}
	modules := publicOrAll(cell.Modules, project.Private)
	if len(modules) == 0 {
		return ""
	}
	if slices.ContainsFunc(modules, func(m record.Module) bool { return !m.Checked && !m.Pinned }) {
		return record.Unverified
	}
	return record.Verified
}

// disproofs are the words in which the go command says that what a checksum database tells it is not so:
// golang.org/x/mod/sumdb and its note and tlog.
var disproofs = []string{"cannot authenticate record data", "inconsistent tile", "misbehavior detected",
	"invalid signature for key", "no verifiable signatures"}

// rejected reports whether the go command refused something that somebody had changed.
func rejected(cell *record.Cell) bool {
	switch cell.Class {
	case "sumdb-checksum-mismatch", "gosum-checksum-mismatch":
		return true
	case "sumdb-bad-response":
		return slices.ContainsFunc(disproofs, func(words string) bool { return strings.Contains(cell.Stderr, words) })
	}
	return false
}

// publicOrAll returns the modules that are not private, or all if all are.
func publicOrAll(modules []record.Module, private []string) []record.Module {
	var public []record.Module
	for _, m := range modules {
		if !slices.Contains(private, m.Path) {
			public = append(public, m)
		}
	}
	if len(public) == 0 {
		return modules
	}
	return public
}
