package verdict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// Judge fills in what follows from the facts of a cell: its Class, Attribution, Leaks and Integrity,
// and whether it was Contended.
// It replaces what is there. A host counts as outside unless run.Private names it.
func Judge(run *record.Run, cell *record.Cell) {
	project := projectOf(run, cell.Project)
	outside := func(host string) bool { return !slices.Contains(run.Private, host) }
	cell.Class = Classify(cell, run)
	cell.Attribution = Attribute(cell)
	cell.Leaks = Leaks(cell, project, outside)
	cell.Integrity = Integrity(cell, project)
	cell.Contended = Contended(cell)
}

// Broken returns the expectations of its scenario that a judged cell breaks, one line each: what was
// expected, what happened, and where the expectation stands. A cell that was skipped, or that simrun itself
// failed in, breaks none. One that is not exercised can: what was expected did not happen.
func Broken(run *record.Run, cell *record.Cell) []string {
	if cell.Outcome == record.Skipped || cell.Outcome == record.HarnessError {
		return nil
	}
	var broken []string
	for _, e := range Expectations(run, cell) {
		if !meets(cell, e) {
			broken = append(broken, fmt.Sprintf("expected %s, got %s (%s)", expected(e), got(cell), e.Where))
		}
	}
	return broken
}

// meets reports whether a cell is as expected.
func meets(cell *record.Cell, e record.Expectation) bool {
	return (e.Outcome == "" || cell.Outcome == e.Outcome) &&
		(e.Class == "" || cell.Class == e.Class) &&
		(e.Min == nil || cell.Seconds >= *e.Min) &&
		(e.Max == nil || cell.Seconds <= *e.Max)
}

// expected tells an expectation as people say it, such as "error tcp-connect-timeout in 29 to 32 s".
func expected(e record.Expectation) string {
	words := []string{}
	if e.Outcome != "" {
		words = append(words, string(e.Outcome))
	}
	if e.Class != "" {
		words = append(words, e.Class)
	}
	switch {
	case e.Min != nil && e.Max != nil:
		words = append(words, fmt.Sprintf("in %v to %v s", float64(*e.Min), float64(*e.Max)))
	case e.Min != nil:
		words = append(words, fmt.Sprintf("in at least %v s", float64(*e.Min)))
	case e.Max != nil:
		words = append(words, fmt.Sprintf("in at most %v s", float64(*e.Max)))
	}
	return strings.Join(words, " ")
}

// got tells what happened in the same way.
func got(cell *record.Cell) string {
	words := []string{string(cell.Outcome)}
	if cell.Class != "" {
		words = append(words, cell.Class)
	}
	return fmt.Sprintf("%s in %.3f s", strings.Join(words, " "), float64(cell.Seconds))
}

// Expectations returns what its scenario expects of a cell, in the order of the scenario's file.
func Expectations(run *record.Run, cell *record.Cell) []record.Expectation {
	var list []record.Expectation
	for _, s := range run.Scenarios {
		if s.Name != cell.Scenario {
			continue
		}
		for _, e := range s.Expect {
			if scenarios.Glob(e.Configs, cell.Config) {
				list = append(list, e)
			}
		}
	}
	return list
}

// projectOf returns the project called name, or an empty one.
func projectOf(run *record.Run, name string) record.Project {
	for _, p := range run.Projects {
		if p.Name == name {
			return p
		}
	}
	return record.Project{}
}
