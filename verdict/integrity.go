package verdict

import (
	"slices"

	"github.com/simrun/simrun/record"
)

// Integrity says whether what a cell downloaded was checked, and what came of it. It needs the cell's class.
//
// A module that is not the true one and stayed in the module cache was accepted, whatever else happened; one that
// had been there before was so only if the command ended well.
// Of the modules that are not private, each must have been asked of a checksum database or have stood in
// go.sum beforehand to be verified; private modules count only if there are no others, because no public
// database can know them.
func Integrity(cell *record.Cell, project record.Project) record.Integrity {
	tampered := func(m record.Module) bool { return m.Sum != "" && !m.Good && (!m.Before || cell.Outcome == record.OK) }
	switch {
	case slices.ContainsFunc(cell.Modules, tampered):
		return record.TamperedAccepted
	case cell.Class == "sumdb-checksum-mismatch" || cell.Class == "gosum-checksum-mismatch":
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
