package verdict

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
)

// A Finding is the answer that a run has to one of the questions that people ask before they choose proxy
// settings. Its texts hold names from the run as they are.
type Finding struct {
	Question   string      `json:"question"`
	Statements []Statement `json:"statements,omitempty"`
	Lacks      []string    `json:"lacks,omitempty"` // what the run would need to answer it, or to answer more of it
}

// A Statement is one sentence of an answer, with cells that bear it out.
type Statement struct {
	Text  string       `json:"text"`
	Cells []record.Key `json:"cells,omitempty"` // the first few: see mostCells
	More  int          `json:"more,omitempty"`  // cells beyond those
}

// mostCells is how many cells a statement names.
const mostCells = 5

// mostStatements is how many statements about configs or scenarios an answer has, the strongest first.
const mostStatements = 8

// Findings answers the questions, the most frequent first, from the judged cells of a run. The ranking must
// be of the same cells. A question that the run says nothing about has no statements, and Lacks says why.
func Findings(run *record.Run, cells []record.Cell, ranking *Ranking) []Finding {
	q := &inquiry{run: run, cells: sorted(run, cells), ranking: ranking}
	var findings []Finding
	for _, question := range questions {
		q.finding = Finding{Question: question.ask}
		question.answer(q)
		findings = append(findings, q.finding)
	}
	return findings
}

// questions are those of users, in the order in which they are asked most.
var questions = []struct {
	ask    string
	answer func(*inquiry)
}{
	{"Which GOPROXY should we set here?", (*inquiry).whichProxy},
	{"Comma or pipe: when does the next entry get its turn?", (*inquiry).commaOrPipe},
	{"How do we survive an outage of a proxy?", (*inquiry).survivingOutage},
	{"Which settings show our private module paths to whom?", (*inquiry).whatLeaks},
	{"Is GOSUMDB=off needed, and is it safe?", (*inquiry).sumdbOff},
	{"Whose fault is a failure?", (*inquiry).whoseFault},
	{"Proxy or direct?", (*inquiry).proxyOrDirect},
	{"How do we authenticate to a private proxy or repository?", (*inquiry).authentication},
	{"What do the proxies answer that matters to the go command?", (*inquiry).proxyAnswers},
	{"What must the firewall allow?", (*inquiry).firewall},
	{"Behind TLS inspection: trust its authority, or GOINSECURE?", (*inquiry).inspection},
	{"Without access: GOTOOLCHAIN auto or local?", (*inquiry).toolchain},
	{"When does a new version become visible?", (*inquiry).newVersion},
	{"It hangs: is there a timeout?", (*inquiry).hanging},
}

// An inquiry is the finding that is being made, and what it is made from.
type inquiry struct {
	run     *record.Run
	cells   []*record.Cell // that ran, by scenario, then by config, in the order of the run
	ranking *Ranking
	finding Finding
}

// sorted returns the cells that ran.
func sorted(run *record.Run, cells []record.Cell) []*record.Cell {
	place := make(map[string]int)
	for i, s := range run.Scenarios {
		place["s "+s.Name] = i
	}
	for i, c := range run.Configs {
		place["c "+c.Name] = i
	}
	var list []*record.Cell
	for i := range cells {
		if c := &cells[i]; c.Outcome != record.Skipped && c.Outcome != record.HarnessError {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b *record.Cell) int {
		return cmp.Or(
			cmp.Compare(place["s "+a.Scenario], place["s "+b.Scenario]),
			cmp.Compare(place["c "+a.Config], place["c "+b.Config]),
			strings.Compare(a.Project, b.Project), strings.Compare(a.Go, b.Go), cmp.Compare(a.Rep, b.Rep))
	})
	return list
}

// say adds a statement.
func (q *inquiry) say(cells []*record.Cell, format string, args ...any) {
	s := Statement{Text: fmt.Sprintf(format, args...)}
	for _, c := range cells {
		if len(s.Cells) == mostCells {
			s.More++
			continue
		}
		s.Cells = append(s.Cells, c.Key)
	}
	q.finding.Statements = append(q.finding.Statements, s)
}

// lacks says what the run would have to hold.
func (q *inquiry) lacks(what string) { q.finding.Lacks = append(q.finding.Lacks, what) }

// where returns the cells for which is holds.
func (q *inquiry) where(is func(*record.Cell) bool) []*record.Cell { return only(q.cells, is) }

// only returns those of some cells for which is holds.
func only(cells []*record.Cell, is func(*record.Cell) bool) []*record.Cell {
	var list []*record.Cell
	for _, c := range cells {
		if is(c) {
			list = append(list, c)
		}
	}
	return list
}

func didWork(c *record.Cell) bool    { return c.Outcome == record.OK }
func didFail(c *record.Cell) bool    { return c.Outcome != record.OK }
func atDeadline(c *record.Cell) bool { return c.Outcome == record.Hang }
func leaked(c *record.Cell) bool     { return len(c.Leaks) > 0 }
func healthy(c *record.Cell) bool    { return len(c.Faults) == 0 }

// met reports whether a cell's scenario declares a fault, and the cell met it.
func met(c *record.Cell) bool { return !healthy(c) && c.Exercised() }

// env returns a variable of a config; "" if it does not set it.
func (q *inquiry) env(config, name string) string {
	for _, c := range q.run.Configs {
		if c.Name == config {
			return c.Env[name]
		}
	}
	return ""
}

// configsWith returns the configs for which is holds.
func (q *inquiry) configsWith(is func(record.Config) bool) []string {
	var names []string
	for _, c := range q.run.Configs {
		if is(c) {
			names = append(names, c.Name)
		}
	}
	return names
}

// of returns the cells of some configs.
func of(cells []*record.Cell, configs ...string) []*record.Cell {
	return only(cells, func(c *record.Cell) bool { return slices.Contains(configs, c.Config) })
}

// tally counts cells by a name, and gives the names with most cells first.
func tally(cells []*record.Cell, name func(*record.Cell) string) (names []string, groups map[string][]*record.Cell) {
	groups = make(map[string][]*record.Cell)
	for _, c := range cells {
		groups[name(c)] = append(groups[name(c)], c)
	}
	names = slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(groups[b]), len(groups[a])), strings.Compare(a, b))
	})
	return names, groups
}

// namesOf returns the different names that cells have, in their order.
func namesOf(cells []*record.Cell, name func(*record.Cell) string) []string {
	var names []string
	for _, c := range cells {
		if n := name(c); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

func configOf(c *record.Cell) string   { return c.Config }
func scenarioOf(c *record.Cell) string { return c.Scenario }

// list writes names as a sentence has them, a long list cut short.
func list(names []string) string {
	const most = 6
	if len(names) == 0 {
		return "none"
	}
	if len(names) > most {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("%d more", len(names)-most))
	}
	if len(names) == 1 {
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// plural writes a number with its noun in the right form.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// meanSeconds returns the mean time of cells; 0 without any.
func meanSeconds(cells []*record.Cell) float64 {
	var m mean
	for _, c := range cells {
		m.add(1, float64(c.Seconds))
	}
	return m.value()
}
