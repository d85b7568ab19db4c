package reports

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// A page is what the template shows, in its order. Everything in it is counted, sorted and cut already.
type page struct {
	Policy    string
	Style     template.CSS
	Script    template.JS
	Run       *record.Run
	RunName   string // as commands call the run
	Missing   []string
	Answer    Answer
	Fails     []link
	Rules     []string
	Standings []standingRow
	Unranked  []verdict.Unranked
	LeftOut   []verdict.LeftOut
	Plot      plot
	Columns   []columnHead
	Layers    []layer
	Unmet     []matrixRow // whose fault no config met
	Diverge   []divergenceView
	Legend    []sign
	Findings  []findingView
	Details   []detail
	Undetail  int // cells about which the page has no details
	Truth     []fact
}

// A link leads to a cell: to its details, or to its row if the page has none.
type link struct{ Text, Href string }

// A standingRow is one config in the table of all.
type standingRow struct {
	*verdict.Standing
	Rank      int
	Verdict   string // recommended, undominated, dominated or disqualified
	Mark      string // the same as one character
	About     string
	Settings  []string
	Also      []string // what it takes beside them
	Harm      []string // why it is disqualified
	Dominance []dominanceView
	Others    []string // further configs that dominate it
}

// A dominanceView is a dominance with its proof.
type dominanceView struct {
	By             string
	Better         []string
	Proof, Against []link
	More           int // proofs beyond those
}

// A findingView is a finding with links.
type findingView struct {
	Question   string
	Statements []statementView
	Lacks      []string
}

type statementView struct {
	Text  string
	Cells []link
	More  int
}

// A fact is one line about how the run was made.
type fact struct{ Name, Value string }

func newPage(results *record.Results, r *verdict.Ranking, name string) *page {
	run := &results.Run
	table := Summarize(*run, results.Cells)
	findings := verdict.Findings(run, results.Cells, r)
	answer := NewAnswer(run, r)
	script := asset("report.js")

	d := newDetails(run, results.Cells)
	d.choose(answer, r, findings, table)
	p := &page{
		Policy: policy(script), Style: template.CSS(asset("report.css") + signStyle()), Script: template.JS(script),
		Run: run, RunName: name, Missing: missing(results),
		Answer: answer, Fails: d.links(answer.Fails), Rules: ruleTexts(r),
		Unranked: r.Unranked, LeftOut: r.LeftOut,
		Legend: legend, Details: d.views(name), Undetail: d.left, Truth: truth(results, table),
	}
	p.Standings = standingRows(run, r, d)
	p.Plot = newPlot(p.Standings)
	p.fillMatrix(table, d)
	p.Diverge = divergenceViews(table, d)
	for _, f := range findings {
		p.Findings = append(p.Findings, d.findingView(f))
	}
	return p
}

// A divergenceView is what Go releases do differently in one place, with a cell of each.
type divergenceView struct {
	Name, Text string
	Cells      []link
}

func divergenceViews(t *Table, d *details) []divergenceView {
	var views []divergenceView
	for _, f := range t.Diverge {
		v := divergenceView{Name: t.divergenceName(f), Text: f.Text}
		for i, k := range f.Cells {
			if i == 0 || k.Go != f.Cells[i-1].Go {
				v.Cells = append(v.Cells, link{k.Go, d.href(k, true)})
			}
		}
		views = append(views, v)
	}
	return views
}

// missing says what a run lacks that was meant to be there.
func missing(results *record.Results) []string {
	var list []string
	if n := results.Run.Cells; len(results.Cells) < n {
		list = append(list, fmt.Sprintf("The run is not whole: it has %d of %s.", len(results.Cells), count(n, "planned cell")))
	}
	if results.Torn > 0 {
		list = append(list, fmt.Sprintf("Line %d of the results file is torn, and was left out.", results.Torn))
	}
	if len(results.Cells) == 0 {
		list = append(list, "The run has no cells, so there is nothing to compare.")
	}
	return list
}

// ruleTexts explain the ranking.
func ruleTexts(r *verdict.Ranking) []string {
	var criteria []string
	for _, c := range verdict.Criteria {
		criteria = append(criteria, string(c))
	}
	texts := []string{
		"A situation is a scenario with a project and a Go release. A config survives it if every repetition worked; " +
			"survival is the share of the situations' weights.",
		"A config that never met a situation's fault survives if it worked; that share is shown apart. " +
			"A situation whose fault no config met does not count.",
		"Configs are compared by " + strings.Join(criteria, ", then ") + ". Nothing is added up into a score.",
		"A config is dominated if another is at least as good by each criterion and better by some; " +
			"times count as equal within 10 % or half a second. The best undominated one is recommended.",
		"Added time is beyond the same config's healthy cell in the same world, whether or not it worked in the end.",
	}
	for _, w := range r.Rules.Weights {
		texts = append(texts, fmt.Sprintf("Scenarios that match %s have the weight %g.", w.Scenarios, w.Weight))
	}
	for _, q := range r.Rules.Require {
		texts = append(texts, fmt.Sprintf("Only a config that is %s is recommended.", q))
	}
	if len(r.NoBaseline) > 0 {
		texts = append(texts, "Without a healthy cell in "+strings.Join(r.NoBaseline, ", ")+", times there count whole as added time.")
	}
	return texts
}

// mostProofs is how many cells a dominance shows.
const mostProofs = 6

func standingRows(run *record.Run, r *verdict.Ranking, d *details) []standingRow {
	configs := make(map[string]record.Config)
	for _, c := range run.Configs {
		configs[c.Name] = c
	}
	var rows []standingRow
	for i := range r.Standings {
		s := &r.Standings[i]
		c := configs[s.Config]
		row := standingRow{Standing: s, Rank: i + 1, About: c.About, Settings: Settings(c), Also: alsoTakes(c)}
		row.Verdict, row.Mark = verdictOf(r, s)
		for _, c := range s.Disqualifiers() {
			row.Harm = append(row.Harm, string(c))
		}
		for j, by := range s.DominatedBy {
			if j == 0 {
				row.Dominance = append(row.Dominance, d.dominanceView(by))
				continue
			}
			row.Others = append(row.Others, by.By)
		}
		rows = append(rows, row)
	}
	return rows
}

func verdictOf(r *verdict.Ranking, s *verdict.Standing) (name, mark string) {
	switch {
	case s.Config == r.Recommended:
		return "recommended", "★"
	case len(s.Disqualifiers()) > 0:
		return "disqualified", "✕"
	case len(s.DominatedBy) > 0:
		return "dominated", "○"
	}
	return "undominated", "●"
}

func (d *details) dominanceView(by verdict.Dominance) dominanceView {
	v := dominanceView{By: by.By}
	for _, c := range by.Better {
		v.Better = append(v.Better, string(c))
	}
	shown := by.Proof[:min(len(by.Proof), mostProofs)]
	v.More = len(by.Proof) - len(shown)
	v.Proof = d.links(shown)
	v.Against = d.links(by.Against[:min(len(by.Against), mostProofs)])
	return v
}

func (d *details) findingView(f verdict.Finding) findingView {
	v := findingView{Question: f.Question, Lacks: f.Lacks}
	for _, s := range f.Statements {
		v.Statements = append(v.Statements, statementView{Text: s.Text, Cells: d.links(s.Cells), More: s.More})
	}
	return v
}

// truth says how the run was made, and how far it can be trusted.
func truth(results *record.Results, t *Table) []fact {
	run := &results.Run
	var releases []string
	var setup []record.Seconds
	for i := range results.Cells {
		c := &results.Cells[i]
		if c.Go != "" && !slices.Contains(releases, c.Go) {
			releases = append(releases, c.Go)
		}
		if ran(c) {
			setup = append(setup, c.SetupTime)
		}
	}
	slices.Sort(setup)
	facts := []fact{
		{"simrun", run.Simrun},
		{"started", run.Started},
		{"machine", fmt.Sprintf("%s/%s, kernel %s, %s", run.Host.OS, run.Host.Arch, run.Host.Kernel, count(run.Host.CPUs, "CPU"))},
		{"Go releases", cmp.Or(strings.Join(releases, ", "), "none")},
		{"clock", run.Clock},
		{"isolation", run.Isolation},
		{"deadline of a cell", deadlineText(run.Timeout)},
		{"seed", fmt.Sprint(run.Seed)},
		{"repetitions", fmt.Sprint(run.Repeat)},
		{"cells", fmt.Sprintf("%d of %d planned", len(results.Cells), run.Cells)},
		{"harness errors", fmt.Sprintf("%d, in which simrun itself failed; they are never ranked", t.Outcomes[record.HarnessError])},
		{"not exercised", fmt.Sprintf("%s met no declared fault", count(t.Unexercised, "cell"))},
		{"contended", fmt.Sprintf("%s had to wait for a CPU or for memory, after cells were run again %s because of that", count(t.Contended, "cell"), count(t.Retried, "time"))},
	}
	if len(setup) > 0 {
		facts = append(facts, fact{"median set-up of a lab", secondsText(median(setup))})
	}
	return append(facts, fact{"round trips, against those requested", deliveryText(verdict.Deliveries(run, results.Cells))})
}

// deliveryText says how far the round trips of a run were from those that its worlds request.
func deliveryText(all []verdict.Delivery) string {
	if len(all) == 0 {
		return "not known: this run has no cell in which nothing was wrong"
	}
	handshakes := 0
	for _, d := range all {
		handshakes += d.Handshakes
	}
	slices.SortFunc(all, func(a, b verdict.Delivery) int { return cmp.Compare(a.Excess(), b.Excess()) })
	middle, worst := &all[len(all)/2], &all[len(all)-1]
	return fmt.Sprintf("%s in cells without faults, to %s: the median of a host was longer by %s, and by %s for the worst, %s in %s (%s requested)",
		count(handshakes, "handshake"), count(len(all), "host"), millis(middle.Excess()), millis(worst.Excess()), worst.Host, worst.World, millis(worst.RTT.RTT))
}

func millis(s record.Seconds) string { return fmt.Sprintf("%.1f ms", 1000*float64(s)) }
