package reports

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// Compare writes what changed from one run to another. Names are made safe for the form. The only errors are
// those of w, and an unknown form.
func Compare(w io.Writer, form Form, old, new *record.Run, c *verdict.Comparison) error {
	d := &document{
		Title: fmt.Sprintf("simrun: from the run of %s to that of %s", minute(old.Started), minute(new.Started)),
		Lead:  comparisonLead(c),
	}
	n := newNamer(c)
	d.addChanges(n, "Regressions", c.Outcomes, verdict.ChangeKind.Regression)
	d.addTimes(n, "Slower", c.Times, func(ratio float64) bool { return ratio > 1 })
	d.addChanges(n, "Other changes", c.Outcomes, func(k verdict.ChangeKind) bool { return !k.Regression() })
	d.addTimes(n, "Faster", c.Times, func(ratio float64) bool { return ratio < 1 })
	d.addFlaky(n, c.Flaky)
	d.addDifferences(c.Differences)
	d.addOmissions(c.Omitted)
	return d.write(w, form)
}

// comparisonLead says what the comparison comes to, and what it rests on.
func comparisonLead(c *verdict.Comparison) []string {
	answer := "Nothing changed."
	switch n := c.Regressions(); {
	case n > 0:
		answer = count(n, "regression") + "."
	case len(c.Outcomes)+len(c.Times)+len(c.Flaky) > 0:
		answer = "No regression."
	}
	basis := count(c.Compared, "cell") + " compared, all repetitions of a cell as one."
	if len(c.Omitted) > 0 {
		basis += " This is what the runs have in common; what is left out is listed below."
	}
	lead := []string{answer, basis, timeBasis(c)}
	if c.Contended > 0 {
		lead = append(lead, fmt.Sprintf("The times of %s are left out: %s.", count(c.Contended, "cell"), contendedReason))
	}
	if change := c.Overall - 1; c.SameSpeed() && c.Overall > 0 && math.Abs(change) >= c.Rules.Least {
		lead = append(lead, fmt.Sprintf("All configs together: %+.0f %%. What all have in common is the machine or Go rather than their settings.", 100*change))
	}
	return lead
}

// timeBasis says when a change of time is shown, or why none is.
func timeBasis(c *verdict.Comparison) string {
	switch {
	case !c.SameSpeed():
		return fmt.Sprintf("Times are not compared: the machine needed %.2g times as long to set up a cell, so they would tell of the machine. Run both again while nothing else runs.", c.Machine)
	case c.Tests == 0 && c.Untested == 0:
		return "Times are not compared: no cell ended alike in both runs."
	case c.Tests == 0:
		return fmt.Sprintf("Times are not compared: for %s there are too few scenarios or repetitions to tell a difference from chance. More are made with --repeat.", count(c.Untested, "time"))
	}
	text := fmt.Sprintf("A time counts as changed if it did by %.3g %% or more, and by more than chance: of two runs that differ by chance alone, at most %.3g %% show any such change (%s; Holm's method).",
		100*c.Rules.Least, 100*c.Rules.Alpha, count(c.Tests, "rank-sum test"))
	if c.Untested > 0 {
		text += fmt.Sprintf(" %s by themselves too few repetitions for that, and count in their configs only.", have(c.Untested, "cell"))
	}
	return text
}

func have(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " has"
	}
	return count(n, noun) + " have"
}

func (d *document) addChanges(n namer, title string, changes []verdict.Change, in func(verdict.ChangeKind) bool) {
	s := section{Title: title, Head: []string{"Cell", "What", "Before", "Now"}}
	for _, c := range changes {
		if in(c.Kind) {
			s.Rows = append(s.Rows, []string{n.cell(c.Cell), string(c.Kind), c.Old, c.New})
		}
	}
	d.add(s)
}

func (d *document) addFlaky(n namer, changes []verdict.Change) {
	s := section{
		Title: "Flaky",
		Intro: "The repetitions of these cells disagree within a run, so a difference between the runs may be chance. They are no regressions.",
		Head:  []string{"Cell", "Before", "Now"},
	}
	for _, c := range changes {
		s.Rows = append(s.Rows, []string{n.cell(c.Cell), c.Old, c.New})
	}
	d.add(s)
}

func (d *document) addTimes(n namer, title string, changes []verdict.TimeChange, in func(ratio float64) bool) {
	s := section{Title: title, Head: []string{"What", "Before", "Now", "Change", "p"}}
	for _, c := range changes {
		if in(c.Ratio) {
			s.Rows = append(s.Rows, []string{
				n.time(c), secondsText(c.Old), secondsText(c.New),
				fmt.Sprintf("%+.0f %%", 100*(c.Ratio-1)), probability(c.P),
			})
		}
	}
	d.add(s)
}

// time says what a change of time is about.
func (n namer) time(c verdict.TimeChange) string {
	name := n.cell(record.Key{Scenario: c.Scenario, Config: c.Config, Project: c.Project, Go: c.Go})
	if c.Scenario == "" {
		name += fmt.Sprintf(", median of %s", count(c.Cells, "scenario"))
	}
	return name
}

// probability writes a p value. Nobody needs many digits of it.
func probability(p float64) string {
	if p < 1e-4 {
		return "<0.0001"
	}
	return fmt.Sprintf("%.4f", math.Ceil(p*1e4)/1e4)
}

// A namer names cells by what tells them from others.
type namer struct{ project, release bool }

// newNamer looks at whether the cells are of several projects or Go releases.
func newNamer(c *verdict.Comparison) namer {
	var n namer
	var first record.Key
	see := func(project, release string) {
		first.Project, first.Go = cmp.Or(first.Project, project), cmp.Or(first.Go, release)
		n.project, n.release = n.project || project != first.Project, n.release || release != first.Go
	}
	for _, c := range slices.Concat(c.Outcomes, c.Flaky) {
		see(c.Cell.Project, c.Cell.Go)
	}
	for _, c := range c.Times {
		see(c.Project, c.Go)
	}
	return n
}

// cell names all repetitions of a cell. Without a scenario it names those of a config in all of them.
func (n namer) cell(k record.Key) string {
	name := k.Config
	if k.Scenario != "" {
		name = k.Scenario + " × " + k.Config
	}
	if n.project {
		name += " " + k.Project
	}
	if n.release {
		name += " " + k.Go
	}
	return name
}

func (d *document) addDifferences(list []verdict.Difference) {
	s := section{Title: "How the runs themselves differ", Head: []string{"What", "Before", "Now"}}
	for _, l := range list {
		s.Rows = append(s.Rows, []string{l.What, l.Old, l.New})
	}
	d.add(s)
}

// omissionsNamed is how many of the names of an omission are written out.
const omissionsNamed = 20

func (d *document) addOmissions(list []verdict.Omission) {
	s := section{Title: "Not compared", Head: []string{"Why", "Which"}}
	for _, o := range list {
		s.Rows = append(s.Rows, []string{o.Reason, someOf(o.Names, omissionsNamed)})
	}
	d.add(s)
}

// someOf lists names, the first ones by name and the others by number.
func someOf(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
