// Package verdict says what the facts of a run mean: the class of a failure, where the time went, which
// private module paths strangers saw, whether what was downloaded was checked, and which expectations of a
// scenario a cell breaks; and of runs as wholes, what changed from one to the next.
//
// Everything here is a pure function of records, so a run can be judged again years later, on any machine.
// All functions may be called concurrently; [Judge] writes to the cell that it is given.
package verdict
