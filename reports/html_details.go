package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// The bounds of the page. What goes beyond is counted, with the command that shows it.
const (
	mostDetails = 400     // cells with details
	mostRows    = 4000    // rows of all waterfalls together, which make most of the page
	mostBars    = 40      // rows of a waterfall
	mostText    = 4 << 10 // bytes of the output of a cell
	mostLines   = 20      // hosts, leaks and the like of a cell
)

// details chooses the cells about which the page tells all, and knows where on the page each cell is.
type details struct {
	run       *record.Run
	scenarios map[string]record.Scenario
	rows      map[string]int                // scenario: number of its row
	entries   map[record.Key][]*record.Cell // all repetitions, under the key of the entry
	healthy   map[record.Key]*record.Cell   // healthy cells by world in place of the scenario
	chosen    map[record.Key]int            // entry: number of its details
	list      []*record.Cell
	bars      int // rows of the waterfalls of list
	left      int
}

// entryOf is the key that all repetitions of a cell share.
func entryOf(k record.Key) record.Key {
	k.Rep = 0
	return k
}

func newDetails(run *record.Run, cells []record.Cell) *details {
	d := &details{
		run: run, scenarios: map[string]record.Scenario{}, rows: map[string]int{},
		entries: map[record.Key][]*record.Cell{}, healthy: map[record.Key]*record.Cell{}, chosen: map[record.Key]int{},
	}
	for i, s := range run.Scenarios {
		d.scenarios[s.Name], d.rows[s.Name] = s, i
	}
	for i := range cells {
		c := &cells[i]
		d.entries[entryOf(c.Key)] = append(d.entries[entryOf(c.Key)], c)
		if s, ok := d.scenarios[c.Scenario]; ok && len(s.Faults) == 0 && ran(c) {
			d.healthy[d.inWorld(c.Key)] = c
		}
	}
	for _, reps := range d.entries {
		slices.SortFunc(reps, func(a, b *record.Cell) int { return cmp.Compare(a.Rep, b.Rep) })
	}
	return d
}

// inWorld replaces the scenario of a key by its world.
func (d *details) inWorld(k record.Key) record.Key {
	k.Scenario, k.Rep = d.scenarios[k.Scenario].World, 0
	return k
}

// mostTelling returns the repetition that says most: the first that did not work, or the first.
func mostTelling(cells []*record.Cell) *record.Cell {
	if i := slices.IndexFunc(cells, func(c *record.Cell) bool { return c.Outcome != record.OK }); i >= 0 {
		return cells[i]
	}
	return cells[0]
}

// choose picks the cells with details: first those that the texts point to, then what did not work, then what
// else the recommended config did, then the rest, as far as there is room.
func (d *details) choose(a Answer, r *verdict.Ranking, findings []verdict.Finding, t *Table) {
	d.add(a.Fails...)
	for _, f := range t.Broken {
		d.add(f.Cells...)
	}
	for _, f := range t.Diverge {
		d.add(f.Cells...)
	}
	for _, s := range r.Standings {
		for _, by := range s.DominatedBy[:min(len(s.DominatedBy), 1)] {
			d.add(by.Proof[:min(len(by.Proof), mostProofs)]...)
		}
	}
	for _, f := range findings {
		for _, s := range f.Statements {
			d.add(s.Cells...)
		}
	}
	d.addWhere(t, func(c *record.Cell) bool { return c.Outcome != record.OK || len(c.Leaks) > 0 })
	d.addWhere(t, func(c *record.Cell) bool { return c.Config == a.Config })
	d.addWhere(t, (*record.Cell).Exercised)
	d.addWhere(t, func(*record.Cell) bool { return true })
	d.sort()
}

// sort puts the chosen cells into the order of the matrix.
func (d *details) sort() {
	was := slices.Clone(d.list)
	order := newOrder(*d.run)
	slices.SortFunc(d.list, func(a, b *record.Cell) int { return order.compare(a.Key, b.Key) })
	number := make(map[*record.Cell]int)
	for i, c := range d.list {
		number[c] = i + 1
	}
	for key, n := range d.chosen {
		if n > 0 {
			d.chosen[key] = number[was[n-1]]
		}
	}
}

// addWhere adds the entries whose most telling cell fits, in the order of the table.
func (d *details) addWhere(t *Table, fits func(*record.Cell) bool) {
	for _, row := range t.Rows {
		for i := range row.Entries {
			key := record.Key{Scenario: row.Scenario, Config: t.Configs[i], Project: row.Project, Go: row.Go}
			if cells := d.entries[key]; len(cells) > 0 && fits(mostTelling(cells)) {
				d.add(key)
			}
		}
	}
}

// add adds cells, unless they are there, or there is no room, or they are like one that is there.
func (d *details) add(keys ...record.Key) {
	for _, k := range keys {
		key := entryOf(k)
		cells := d.entries[key]
		if _, known := d.chosen[key]; known || len(cells) == 0 {
			continue
		}
		like := d.twin(mostTelling(cells))
		number, known := d.chosen[entryOf(like.Key)]
		switch {
		case known:
		case len(d.list) >= mostDetails || d.bars >= mostRows:
			d.left++
			d.chosen[key] = 0
			continue
		default:
			d.list = append(d.list, like)
			d.bars += min(len(like.Queries)+len(like.Conns)+len(like.Requests), mostBars)
			number = len(d.list)
			d.chosen[entryOf(like.Key)] = number
		}
		d.chosen[key] = number
	}
}

// twin returns the healthy cell that a cell is like: a cell that met no fault is the healthy cell of its world
// once more. Else it returns the cell itself.
func (d *details) twin(c *record.Cell) *record.Cell {
	if c.Exercised() || len(c.Leaks) > 0 {
		return c
	}
	h := d.healthy[d.inWorld(c.Key)]
	if h == nil || h.Outcome != c.Outcome || h.Class != c.Class {
		return c
	}
	return mostTelling(d.entries[entryOf(h.Key)])
}

// rowID is the id of a scenario's first row.
func (d *details) rowID(scenario string) string { return fmt.Sprintf("r%d", d.rows[scenario]) }

// href returns the address of a cell on the page: of its details, or if it has none and orRow is true, of its
// row, else "".
func (d *details) href(k record.Key, orRow bool) string {
	if n := d.chosen[entryOf(k)]; n > 0 {
		return fmt.Sprintf("#c%d", n)
	}
	if orRow {
		return "#" + d.rowID(k.Scenario)
	}
	return ""
}

func (d *details) links(keys []record.Key) []link {
	var list []link
	for _, k := range keys {
		list = append(list, link{CellName(d.run, k), d.href(k, true)})
	}
	return list
}

// A detail is all about one cell.
type detail struct {
	ID        string
	Name      string
	Sign      sign
	Time      string
	Class     string
	Remedy    string
	Note      string
	Broken    []string
	Faults    []string
	Hosts     []string
	Waiting   []string
	Leaks     []string
	Strays    []string
	Attempts  []string
	Sources   []string
	Integrity string
	Shares    []timeShare
	Faulty    []barView // the faults' time lines
	Bars      []barView
	MoreBars  int
	End       string
	Stderr    string
	Cut       int // bytes of the output that are left out
	Shell     string
	Explain   string
	Like      int // cells that are like this one
}

// A timeShare is one part of the time of a cell.
type timeShare struct {
	Phase, Text string
	Percent     float64
}

// A barView is one row of a waterfall. Positions are in percent of the cell's time.
type barView struct {
	Kind, Host, What, Result, Times string
	Failed                          bool
	Spans                           []spanView
}

type spanView struct {
	Phase      string
	Left, Wide float64
}

func (d *details) views(run string) []detail {
	alike := make(map[int]int)
	for _, n := range d.chosen {
		alike[n]++
	}
	var views []detail
	for i, c := range d.list {
		v := d.view(c, run)
		v.ID, v.Like = fmt.Sprintf("c%d", i+1), alike[i+1]-1
		views = append(views, v)
	}
	return views
}

func (d *details) view(c *record.Cell, run string) detail {
	v := detail{
		Name: CellName(d.run, c.Key), Sign: signOf(c.Outcome), Time: resultText(c.Outcome, c.Seconds),
		Class: c.Class, Remedy: verdict.Remedy(c.Class), Note: c.Note, Broken: verdict.Broken(d.run, c),
		Hosts: cutList(c.Hosts), Waiting: cutList(c.Waiting), Strays: cutList(c.Strays), Integrity: string(c.Integrity),
		Shares: shares(c), End: secondsText(c.Seconds),
		Shell:   "simrun shell " + shellQuote(c.Scenario) + " --config " + shellQuote(c.Config),
		Explain: "simrun explain " + shellQuote(run) + " " + shellQuote(CellName(d.run, c.Key)),
	}
	for _, f := range c.Faults {
		v.Faults = append(v.Faults, fmt.Sprintf("%s: bit %s", f.Fault, count(int(f.Bit), "time")))
	}
	for _, l := range c.Leaks {
		v.Leaks = append(v.Leaks, fmt.Sprintf("%s saw %s: %s", l.Host, l.Module, l.How))
	}
	v.Leaks = cutList(v.Leaks)
	v.Attempts = cutList(attemptTexts(c))
	v.Sources = cutList(sourceTexts(d.run, c))
	v.Stderr, v.Cut = lastBytes(c.Stderr, mostText)
	v.fillWaterfall(NewWaterfall(d.run, c))
	return v
}

// cutList keeps the first lines of a list, and counts the others.
func cutList(lines []string) []string {
	if len(lines) <= mostLines {
		return lines
	}
	return append(slices.Clone(lines[:mostLines]), fmt.Sprintf("and %d more", len(lines)-mostLines))
}

// lastBytes returns the end of a text, where errors are, from the start of a line on, and how much it left out.
func lastBytes(text string, most int) (end string, cut int) {
	if len(text) <= most {
		return text, 0
	}
	end = text[len(text)-most:]
	if i := strings.IndexByte(end, '\n'); i >= 0 {
		end = end[i+1:]
	}
	return strings.ToValidUTF8(end, "\uFFFD"), len(text) - len(end)
}

// shares are the parts of the time of a cell that are not nothing.
func shares(c *record.Cell) []timeShare {
	total := c.Attribution.Total()
	if total <= 0 {
		return nil
	}
	var list []timeShare
	a := c.Attribution
	for _, part := range []struct {
		phase   verdict.Phase
		seconds record.Seconds
	}{{verdict.DNS, a.DNS}, {verdict.Connect, a.Connect}, {verdict.TLS, a.TLS}, {verdict.Wait, a.Wait},
		{verdict.Transfer, a.Transfer}, {verdict.Local, a.Local}} {
		if part.seconds > 0 {
			list = append(list, timeShare{part.phase.String(), secondsText(part.seconds), tenth(100 * float64(part.seconds/total))})
		}
	}
	return list
}

// fillWaterfall fills in the bars.
func (v *detail) fillWaterfall(w *Waterfall) {
	for _, f := range w.Faults {
		bar := barView{Kind: "fault", What: f.Fault, Result: fmt.Sprintf("bit %d", f.Bit)}
		for _, s := range f.Spans {
			bar.Spans = append(bar.Spans, w.spanView("fault", s.From, s.To))
		}
		v.Faulty = append(v.Faulty, bar)
	}
	shown := w.Bars[:min(len(w.Bars), mostBars)]
	v.MoreBars = len(w.Bars) - len(shown)
	for _, b := range shown {
		bar := barView{
			Kind: string(b.Kind), Host: b.Host, What: b.What, Result: b.Result, Failed: b.Failed,
			Times: fmt.Sprintf("%s to %s", secondsText(b.Start), secondsText(b.End)),
		}
		for _, s := range b.Spans {
			bar.Spans = append(bar.Spans, w.spanView(s.Phase.String(), s.From, s.To))
		}
		v.Bars = append(v.Bars, bar)
	}
}

// spanView places a stretch of time on the axis. It is never too narrow to be seen.
func (w *Waterfall) spanView(phase string, from, to record.Seconds) spanView {
	const narrowest = 0.3
	if w.End <= 0 {
		return spanView{Phase: phase, Wide: narrowest}
	}
	left := tenth(100 * float64(from/w.End))
	return spanView{phase, min(left, 100-narrowest), max(tenth(100*float64((to-from)/w.End)), narrowest)}
}

// tenth rounds to one digit after the point.
func tenth(f float64) float64 { return float64(int(f*10+0.5)) / 10 }
