package reports

import (
	"fmt"
	"io"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// Summary writes what a run comes to in the size of a comment: the recommended config and why, what is not as
// expected, how the configs did, and the matrix. The only errors are those of w, and an unknown form.
func Summary(w io.Writer, form Form, t *Table, r *verdict.Ranking) error {
	a := NewAnswer(&t.Run, r)
	d := &document{Title: "simrun: no recommendation", Lead: a.Why, Code: a.Settings}
	if a.Config != "" {
		d.Title = "simrun: take " + a.Config
		d.Lead = append(d.Lead, notSurvived(a.Fails))
	}
	d.Lead = append(d.Lead, basis(t))
	d.addFindings(t, "Expectations broken", "What", t.Broken)
	d.addFindings(t, "Failures of simrun itself", "Why", t.Failures)
	d.addDivergences(t)
	d.addStandings(r)
	d.addUnranked(r)
	d.addMatrix(t)
	return d.write(w, form)
}

// mostFails is how many situations an answer names that its config did not survive.
const mostFails = 8

// notSurvived says what a config did not survive.
func notSurvived(fails []record.Key) string {
	if len(fails) == 0 {
		return "It survived all that it was tried in."
	}
	var names []string
	for _, k := range fails {
		names = append(names, k.Scenario)
	}
	return "It does not survive " + someOf(names, mostFails) + "."
}

// basis says what a summary rests on.
func basis(t *Table) string {
	text := fmt.Sprintf("%s with %s: %s.", count(len(t.Rows), "situation"), count(len(t.Configs), "config"), t.countText())
	if missing := t.Run.Cells - t.Cells; missing > 0 {
		text += fmt.Sprintf(" The run was interrupted: %s missing.", areNot(missing))
	}
	return text
}

func areNot(cells int) string {
	if cells == 1 {
		return "1 cell is"
	}
	return count(cells, "cell") + " are"
}

func (d *document) addFindings(t *Table, title, what string, list []Finding) {
	s := section{Title: title, Head: []string{"Cell", what}}
	for _, f := range list {
		k := f.Cells[0]
		name := t.rowName(k.Scenario, k.Project, k.Go) + " × " + k.Config
		if more := len(f.Cells) - 1; more > 0 {
			name += fmt.Sprintf(", and %d more", more)
		}
		s.Rows = append(s.Rows, []string{name, f.Text})
	}
	d.add(s)
}

// addDivergences shows what Go releases do differently.
func (d *document) addDivergences(t *Table) {
	s := section{Title: "Where Go releases differ", Head: []string{"Cell", "What"}}
	for _, f := range t.Diverge {
		s.Rows = append(s.Rows, []string{t.divergenceName(f), f.Text})
	}
	d.add(s)
}

// divergenceName names what Go releases do differently.
func (t *Table) divergenceName(f Finding) string {
	k := f.Cells[0]
	return t.rowName(k.Scenario, k.Project, "") + " × " + k.Config
}

// addStandings shows how the configs did, best first.
func (d *document) addStandings(r *verdict.Ranking) {
	s := section{
		Title: "Configs, best first",
		Intro: "Survival is the share of the weight of all situations in which every repetition worked. Added is what faults cost on average. A config that is dominated by another is worse in something and better in nothing.",
		Head:  []string{"Config", "Survival", "Added", "Hangs", "Leaks", "Tampered", "Unverified", "Dominated by"},
	}
	for i := range r.Standings {
		st := &r.Standings[i]
		by := ""
		if len(st.DominatedBy) > 0 {
			by = st.DominatedBy[0].By
		}
		number := func(c verdict.Criterion) string { return fmt.Sprint(st.Value(c)) }
		s.Rows = append(s.Rows, []string{
			st.Config, percent(st.Survival), secondsText(max(st.Added, 0)), number(verdict.Hanging),
			number(verdict.Leaking), number(verdict.Tampering), number(verdict.Unchecked), by,
		})
	}
	d.add(s)
}

func (d *document) addUnranked(r *verdict.Ranking) {
	s := section{Title: "Configs that are not ranked", Head: []string{"Config", "Why"}}
	for _, u := range r.Unranked {
		s.Rows = append(s.Rows, []string{u.Config, u.Why})
	}
	d.add(s)
}

// addMatrix shows every entry, but for the scenarios and configs where nothing happened.
func (d *document) addMatrix(t *Table) {
	shown, untouched := t.exercised()
	rows := shown.rowsExercised(0, len(shown.Configs))
	s := section{Title: "Every cell", Intro: marksText(t), Head: append([]string{"Scenario"}, shown.Configs...)}
	if folded := len(t.Rows) - len(rows); folded > 0 {
		s.Intro += fmt.Sprintf(" Not shown: %s in which no config met a fault.", count(folded, "scenario"))
	}
	if len(untouched) > 0 {
		s.Intro += fmt.Sprintf(" Not shown: %s, which met no fault in any scenario.", strings.Join(untouched, ", "))
	}
	for _, row := range rows {
		values := []string{t.rowName(row.Scenario, row.Project, row.Go)}
		for _, e := range row.Entries {
			values = append(values, e.text())
		}
		s.Rows = append(s.Rows, values)
	}
	d.add(s)
}

// marksText explains the marks behind the entries.
func marksText(t *Table) string {
	text := "Seconds are medians."
	if t.Unexercised > 0 {
		text += " " + unexercisedMark + ": not exercised, no declared fault bit."
	}
	if t.anyDoubtful() {
		text += " " + contendedMark + ": " + contendedText + "."
	}
	if len(t.Broken) > 0 {
		text += " " + brokenMark + ": not as the scenario expects."
	}
	return text
}
