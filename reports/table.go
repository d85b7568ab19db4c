// Package reports turns the records of a run into something to read. Everything in it is pure: the same
// run and cells always give the same bytes, whatever the machine, the clock, the terminal or the order
// in which the cells came. It reads no files, and changes none of its arguments.
package reports

import (
	"cmp"
	"go/version"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// Mixed is the outcome of an [Entry] whose repetitions did not all end alike. No single cell has it.
const Mixed record.Outcome = "mixed"

// A Table is a run folded for reading: scenarios down, configs across, repetitions as one entry.
// All renderings are made from it.
type Table struct {
	Run     record.Run
	Configs []string // the columns: those of the run, in its order, then any others that cells name
	Rows    []Row    // one per scenario, project and Go release that has a cell; in the order of the run

	Cells       int                    // cells that there are; Run.Cells were planned
	Outcomes    map[record.Outcome]int // how many cells ended in which way
	Unexercised int                    // cells that ran and in which no declared fault bit
	Contended   int                    // cells that ran while they had to wait for the machine
	Retried     int                    // times that a cell was run again because of that

	Broken   []Finding // what cells did that was not expected: one per entry, with the text of its first
	Failures []Finding // why simrun failed in cells, the most frequent reason first
	Diverge  []Finding // what Go releases do differently; the cells are of all releases
	Skips    []Finding // why cells were skipped, the most frequent reason first

	severalProjects, severalReleases bool // among the rows
}

// A Row is one scenario with one project and one Go release.
type Row struct {
	Scenario string
	Project  string
	Go       string
	Entries  []Entry // one per column of the table
}

// An Entry is all repetitions of one cell. Its zero value means that no repetition was recorded.
type Entry struct {
	Outcome     record.Outcome // that the repetitions share, or [Mixed]; HarnessError if any has it
	Reps        int            // repetitions that ran and are counted below
	OK          int            // repetitions that ended with OK
	Unexercised int            // repetitions in which no declared fault bit
	Broken      int            // repetitions that broke an expectation
	Contended   int            // repetitions that ran while they had to wait for the machine
	Median      record.Seconds // of the repetitions that ran: of those that were not contended, if there is one
	Min, Max    record.Seconds
}

// Spread returns the largest distance of a repetition from the median, as a share of the median.
// It is 0 for a single repetition.
func (e Entry) Spread() float64 {
	if e.Median <= 0 {
		return 0
	}
	return float64(max(e.Max-e.Median, e.Median-e.Min) / e.Median)
}

// A Finding is one text and the cells that it is about.
type Finding struct {
	Text  string
	Cells []record.Key // in the order of the table; never empty
}

// Summarize folds a run into a table. The cells may come in any order and need not be complete.
// Every cell counts as it was judged: Cell.Outcome is taken from the record.
func Summarize(run record.Run, cells []record.Cell) *Table {
	t := &Table{Run: run, Cells: len(cells), Outcomes: map[record.Outcome]int{}}
	cells = sorted(&run, cells)
	t.Configs = columns(newOrder(run), cells)
	for group := range chunkBy(cells, sameRow) {
		t.Rows = append(t.Rows, t.foldRow(group))
	}
	for _, r := range t.Rows {
		t.severalProjects = t.severalProjects || r.Project != t.Rows[0].Project
		t.severalReleases = t.severalReleases || r.Go != t.Rows[0].Go
	}
	for group := range chunkBy(cells, sameEntry) {
		t.Broken = append(t.Broken, broken(run, group)...)
	}
	for _, d := range verdict.Divergences(cells) {
		f := Finding{Text: d.String()}
		for _, r := range d.Ends {
			f.Cells = append(f.Cells, r.Cells...)
		}
		t.Diverge = append(t.Diverge, f)
	}
	t.Failures = reasons(cells, record.HarnessError)
	t.Skips = reasons(cells, record.Skipped)
	for i := range cells {
		t.Outcomes[cells[i].Outcome]++
		if ran(&cells[i]) && !cells[i].Exercised() {
			t.Unexercised++
		}
		if cells[i].Contended {
			t.Contended++
		}
		t.Retried += len(cells[i].Tries)
	}
	return t
}

// Sort puts the cells of a run into the order that reports have: by row, column and repetition. Nothing
// needs it, but of many cells that are not in order each report makes a copy.
func Sort(results *record.Results) {
	slices.SortStableFunc(results.Cells, newOrder(results.Run).compareCells)
}

// sorted returns the cells of a run by row, column and repetition. It leaves its argument as it is.
func sorted(run *record.Run, cells []record.Cell) []record.Cell {
	order := newOrder(*run)
	if slices.IsSortedFunc(cells, order.compareCells) {
		return cells
	}
	cells = slices.Clone(cells)
	slices.SortStableFunc(cells, order.compareCells)
	return cells
}

// foldRow makes one row of the cells that belong to it, which are sorted by config.
func (t *Table) foldRow(cells []record.Cell) Row {
	k := cells[0].Key
	row := Row{Scenario: k.Scenario, Project: k.Project, Go: k.Go, Entries: make([]Entry, len(t.Configs))}
	for group := range chunkBy(cells, sameEntry) {
		i := slices.Index(t.Configs, group[0].Config)
		row.Entries[i] = fold(t.Run, group)
	}
	return row
}

// rowName names a row by what tells it from the others.
func (t *Table) rowName(scenario, project, release string) string {
	name := scenario
	if t.severalProjects {
		name += " " + project
	}
	if t.severalReleases && release != "" {
		name += " " + release
	}
	return name
}

// wholeRows is how many rows a table has that is shown whole: there is nothing to gain in a small one.
const wholeRows = 12

// exercised returns a table without the configs that met no fault in any row, and names those. A small table
// is returned as it is.
func (t *Table) exercised() (shown *Table, untouched []string) {
	if len(t.Rows) <= wholeRows {
		return t, nil
	}
	few := *t
	few.Configs, few.Rows = nil, slices.Clone(t.Rows)
	for r := range few.Rows {
		few.Rows[r].Entries = nil
	}
	for i, config := range t.Configs {
		if t.untouched(i) {
			untouched = append(untouched, config)
			continue
		}
		few.Configs = append(few.Configs, config)
		for r := range few.Rows {
			few.Rows[r].Entries = append(few.Rows[r].Entries, t.Rows[r].Entries[i])
		}
	}
	return &few, untouched
}

// untouched reports whether a config met no fault in any row.
func (t *Table) untouched(config int) bool {
	some := false
	for _, r := range t.Rows {
		e := r.Entries[config]
		some = some || e.untouched()
		if !e.untouched() && e.Outcome != "" && !t.healthy(r.Scenario) {
			return false
		}
	}
	return some
}

// rowsExercised returns the rows in which one of the configs from..to-1 met the fault. What is broken, or
// went wrong otherwise, stays. Of a small table all rows are returned.
func (t *Table) rowsExercised(from, to int) []Row {
	if len(t.Rows) <= wholeRows {
		return t.Rows
	}
	return slices.DeleteFunc(slices.Clone(t.Rows), func(r Row) bool {
		touched := func(e Entry) bool { return !e.untouched() && e.Outcome != "" }
		return !slices.ContainsFunc(r.Entries[from:to], touched)
	})
}

// healthy reports whether a scenario has no fault.
func (t *Table) healthy(scenario string) bool {
	i := slices.IndexFunc(t.Run.Scenarios, func(s record.Scenario) bool { return s.Name == scenario })
	return i >= 0 && len(t.Run.Scenarios[i].Faults) == 0
}

// untouched reports whether no repetition met the fault, and nothing else is to be said of them.
func (e Entry) untouched() bool {
	return (e.Outcome == record.OK || e.Outcome == record.Error) && e.Unexercised == e.Reps && e.Broken == 0
}

// fold makes one entry of the repetitions of a cell.
func fold(run record.Run, cells []record.Cell) Entry {
	var e Entry
	var seconds, doubtful []record.Seconds
	for i := range cells {
		c := &cells[i]
		e.Outcome = foldOutcome(e.Outcome, c.Outcome)
		if len(verdict.Broken(&run, c)) > 0 {
			e.Broken++
		}
		if !ran(c) {
			continue
		}
		if c.Contended {
			doubtful = append(doubtful, c.Seconds)
		} else {
			seconds = append(seconds, c.Seconds)
		}
		if c.Outcome == record.OK {
			e.OK++
		}
		if !c.Exercised() {
			e.Unexercised++
		}
	}
	e.Reps, e.Contended = len(seconds)+len(doubtful), len(doubtful)
	if len(seconds) == 0 {
		seconds = doubtful
	}
	if len(seconds) == 0 {
		return e
	}
	slices.Sort(seconds)
	e.Min, e.Max, e.Median = seconds[0], seconds[len(seconds)-1], median(seconds)
	return e
}

// foldOutcome adds one repetition to what an entry is so far.
// A failure of simrun hides all else, because nothing can be said of such an entry;
// a repetition that was skipped takes nothing from those that ran.
func foldOutcome(sofar, o record.Outcome) record.Outcome {
	switch {
	case sofar == "" || sofar == o:
		return o
	case sofar == record.HarnessError || o == record.HarnessError:
		return record.HarnessError
	case sofar == record.Skipped:
		return o
	case o == record.Skipped:
		return sofar
	}
	return Mixed
}

// ran reports whether the go command ran in a cell, so that its seconds mean something.
func ran(c *record.Cell) bool {
	return c.Outcome != record.Skipped && c.Outcome != record.HarnessError
}

// median returns the middle of a sorted list that is not empty.
func median(sorted []record.Seconds) record.Seconds {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// An order sorts keys as the run lists their parts. What the run does not list comes last, by name.
type order struct{ scenarios, configs, projects map[string]int }

func newOrder(run record.Run) order {
	o := order{map[string]int{}, map[string]int{}, map[string]int{}}
	for i, s := range run.Scenarios {
		o.scenarios[s.Name] = i
	}
	for i, c := range run.Configs {
		o.configs[c.Name] = i
	}
	for i, p := range run.Projects {
		o.projects[p.Name] = i
	}
	return o
}

// compare sorts by row, then by column, then by repetition.
func (o order) compare(a, b record.Key) int {
	return cmp.Or(
		byPlace(o.scenarios, a.Scenario, b.Scenario),
		byPlace(o.projects, a.Project, b.Project),
		version.Compare(a.Go, b.Go),
		strings.Compare(a.Go, b.Go),
		byPlace(o.configs, a.Config, b.Config),
		cmp.Compare(a.Rep, b.Rep),
	)
}

func (o order) compareCells(a, b record.Cell) int { return o.compare(a.Key, b.Key) }

func byPlace(places map[string]int, a, b string) int {
	place := func(name string) int {
		if i, ok := places[name]; ok {
			return i
		}
		return math.MaxInt
	}
	return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a, b))
}

// columns returns the configs of the run and those that only cells name.
func columns(o order, cells []record.Cell) []string {
	names := make(map[string]bool)
	for name := range o.configs {
		names[name] = true
	}
	for i := range cells {
		names[cells[i].Config] = true
	}
	var list []string
	for name := range names {
		list = append(list, name)
	}
	slices.SortFunc(list, func(a, b string) int { return byPlace(o.configs, a, b) })
	return list
}

func sameRow(a, b record.Key) bool {
	a.Config, a.Rep, b.Config, b.Rep = "", 0, "", 0
	return a == b
}

func sameEntry(a, b record.Key) bool {
	a.Rep, b.Rep = 0, 0
	return a == b
}

// chunkBy yields the longest runs of neighbours that belong together.
func chunkBy(cells []record.Cell, same func(a, b record.Key) bool) iter.Seq[[]record.Cell] {
	return func(yield func([]record.Cell) bool) {
		for len(cells) > 0 {
			n := 1
			for n < len(cells) && same(cells[0].Key, cells[n].Key) {
				n++
			}
			if !yield(cells[:n]) {
				return
			}
			cells = cells[n:]
		}
	}
}

// broken returns what is to be said of the repetitions of a cell that break expectations, if any do.
func broken(run record.Run, cells []record.Cell) []Finding {
	var f Finding
	for i := range cells {
		texts := verdict.Broken(&run, &cells[i])
		if len(texts) == 0 {
			continue
		}
		f.Text = cmp.Or(f.Text, strings.Join(texts, "; "))
		f.Cells = append(f.Cells, cells[i].Key)
	}
	if len(f.Cells) == 0 {
		return nil
	}
	return []Finding{f}
}

// reasons collects the notes of the cells that ended with an outcome, the most frequent first.
func reasons(cells []record.Cell, o record.Outcome) []Finding {
	var list []Finding
	for i := range cells {
		c := &cells[i]
		if c.Outcome != o {
			continue
		}
		text := cmp.Or(c.Note, "no reason recorded")
		at := slices.IndexFunc(list, func(f Finding) bool { return f.Text == text })
		if at < 0 {
			at = len(list)
			list = append(list, Finding{Text: text})
		}
		list[at].Cells = append(list[at].Cells, c.Key)
	}
	slices.SortStableFunc(list, func(a, b Finding) int { return cmp.Compare(len(b.Cells), len(a.Cells)) })
	return list
}
