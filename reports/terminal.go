package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/simrun/simrun/record"
)

// TerminalOptions says what the terminal is like.
type TerminalOptions struct {
	Width int  // columns; 0 means 80. Below 40 lines may come out longer
	Color bool // use ANSI colours. They repeat what the text says, and are never the only sign
}

const (
	defaultWidth = 80
	gap          = "  " // between two columns
	nameLines    = 3    // lines that a name may take in the matrix before it is shortened
	headerEvery  = 30   // rows after which the header is shown again
)

// Terminal writes a table as text: the matrix, then what needs attention.
//
// When the configs do not fit side by side the matrix is cut into blocks, each with all scenarios. Long
// names are broken over lines; those that are longer still are numbered and listed below the matrix.
// All names and messages are made safe with [Clean]. The only errors are those of w.
func Terminal(w io.Writer, t *Table, opts TerminalOptions) error {
	p := &printer{textPage: newTextPage(opts), table: t}
	p.title()
	var untouched []string
	p.table, untouched = t.exercised()
	p.matrix()
	p.legend()
	p.folded(untouched)
	p.table = t
	p.counts()
	p.divergences()
	p.broken()
	p.reasons("harness errors", alarm, t.Failures)
	p.reasons("skipped", faint, t.Skips)
	_, err := io.WriteString(w, p.out.String())
	return err
}

// A printer builds the text of one table.
type printer struct {
	textPage
	table *Table
	long  []string // names that were too long for the matrix; they are known by number from 1
}

// outcomeStyle is how an outcome looks, beside its name.
func outcomeStyle(o record.Outcome) style {
	switch o {
	case record.OK:
		return green
	case record.Error:
		return red
	case record.Hang:
		return magenta
	case Mixed:
		return yellow
	case record.HarnessError:
		return alarm
	}
	return faint
}

// title says what all cells have in common.
func (p *printer) title() {
	run := &p.table.Run
	parts := []string{"simrun " + run.Simrun}
	if len(p.table.Rows) > 0 && !p.table.severalProjects {
		parts = append(parts, p.table.Rows[0].Project)
	}
	if len(p.table.Rows) > 0 && !p.table.severalReleases {
		parts = append(parts, p.table.Rows[0].Go)
	}
	parts = append(parts,
		run.Clock+" clock",
		"deadline "+deadlineText(run.Timeout),
		fmt.Sprintf("seed %d", run.Seed))
	p.paragraph("", bold, Clean(strings.Join(parts, ", ")))
}

// A column is one part of the matrix from top to bottom.
type column struct {
	head  []string // lines of its header
	width int
}

// matrix prints as many blocks of columns as it takes.
func (p *printer) matrix() {
	if len(p.table.Rows) == 0 {
		return
	}
	nameWidth := p.nameWidth()
	columns := p.columns()
	for from := 0; from < len(columns); {
		to := fit(columns, from, p.width-nameWidth)
		p.out.WriteByte('\n')
		if to-from < len(columns) {
			p.line(p.paint(faint, blockTitle(from, to, len(columns))))
		}
		p.block(nameWidth, columns, from, to)
		from = to
	}
}

func blockTitle(from, to, all int) string {
	if to-from == 1 {
		return fmt.Sprintf("config %d of %d", to, all)
	}
	return fmt.Sprintf("configs %d to %d of %d", from+1, to, all)
}

// fit returns where the block ends that begins with a column: at least one column goes into it.
func fit(columns []column, from, room int) int {
	to := from
	for to < len(columns) {
		room -= len(gap) + columns[to].width
		if room < 0 && to > from {
			break
		}
		to++
	}
	return to
}

// rowName returns the lines of the name of a row.
func (p *printer) rowName(r *Row) []string {
	return p.name(p.table.rowName(r.Scenario, r.Project, r.Go), max(16, p.width*2/5))
}

// nameWidth returns the width of the widest name of a row.
func (p *printer) nameWidth() int {
	width := 0
	for i := range p.table.Rows {
		width = max(width, widest(p.rowName(&p.table.Rows[i])))
	}
	return width
}

// columns measures the columns. A header is broken rather than making its column wider than its entries.
func (p *printer) columns() []column {
	list := make([]column, len(p.table.Configs))
	for i, config := range p.table.Configs {
		width := 0
		for _, r := range p.table.Rows {
			width = max(width, ansi.StringWidth(r.Entries[i].text()))
		}
		head := p.name(config, max(width, 12))
		list[i] = column{head: head, width: max(width, widest(head))}
	}
	return list
}

// block prints the columns from..to-1 of the rows in which any of them met a fault.
func (p *printer) block(nameWidth int, columns []column, from, to int) {
	rows := p.table.rowsExercised(from, to)
	for r := range rows {
		row := &rows[r]
		if r%headerEvery == 0 {
			if r > 0 {
				p.out.WriteByte('\n')
			}
			p.header(nameWidth, columns[from:to])
		}
		for i, part := range p.rowName(row) {
			text := pad(part, nameWidth)
			for c := from; c < to && i == 0; c++ {
				e := row.Entries[c]
				cell := e.text()
				text += gap + p.paint(outcomeStyle(e.Outcome), cell) + spaces(columns[c].width-ansi.StringWidth(cell))
			}
			p.line(text)
		}
	}
	if folded := len(p.table.Rows) - len(rows); folded > 0 {
		p.paragraph("", faint, fmt.Sprintf("and %d more in which none of these met a fault", folded))
	}
}

// header prints the names of columns, standing on the line that closes it.
func (p *printer) header(nameWidth int, columns []column) {
	height := 0
	for _, c := range columns {
		height = max(height, len(c.head))
	}
	for i := range height {
		text := spaces(nameWidth)
		for _, c := range columns {
			part := ""
			if at := i - (height - len(c.head)); at >= 0 {
				part = c.head[at]
			}
			text += gap + p.paint(bold, part) + spaces(c.width-ansi.StringWidth(part))
		}
		p.line(text)
	}
	rule := strings.Repeat("─", nameWidth)
	for _, c := range columns {
		rule += gap + strings.Repeat("─", c.width)
	}
	p.line(p.paint(faint, rule))
}

// name breaks a name into lines that fit into a width. A name that takes too many is cut and gets a
// number, under which the legend has it in full.
func (p *printer) name(name string, width int) []string {
	name = Clean(name)
	lines := strings.Split(ansi.Wrap(name, width, "-_/ "), "\n")
	if len(lines) <= nameLines {
		return lines
	}
	number := slices.Index(p.long, name) + 1
	if number == 0 {
		p.long = append(p.long, name)
		number = len(p.long)
	}
	tail := fmt.Sprintf("…[%d]", number)
	lines = lines[:nameLines]
	lines[nameLines-1] = ansi.Truncate(lines[nameLines-1], width-ansi.StringWidth(tail), "") + tail
	return lines
}

// legend explains the signs that the matrix uses, and no others.
func (p *printer) legend() {
	var broken, unexercised, doubtful, repeated bool
	for _, r := range p.table.Rows {
		for _, e := range r.Entries {
			broken = broken || e.Broken > 0
			unexercised = unexercised || e.Unexercised > 0
			doubtful = doubtful || e.doubtful()
			repeated = repeated || e.Reps > 1
		}
	}
	if repeated || unexercised || doubtful || broken || len(p.long) > 0 {
		p.out.WriteByte('\n')
	}
	if repeated {
		p.paragraph("", plain, "seconds are medians; ± is the repetition farthest from the median")
	}
	if unexercised {
		p.paragraph("", plain, unexercisedMark+" not exercised: no declared fault bit, so nothing was survived")
	}
	if doubtful {
		p.paragraph("", plain, contendedMark+" "+contendedText)
	}
	if broken {
		p.paragraph("", plain, brokenMark+" breaks an expectation of the scenario")
	}
	for i, name := range p.long {
		p.paragraph("", plain, fmt.Sprintf("[%d] %s", i+1, name))
	}
}

// folded names the configs that the matrix leaves out because they met no fault.
func (p *printer) folded(configs []string) {
	if len(configs) > 0 {
		p.paragraph("", plain, Clean("not shown: "+someOf(configs, mostNamed)+", which met no fault in any scenario"))
	}
}

// counts prints how many cells there are and how they ended.
func (p *printer) counts() {
	p.out.WriteByte('\n')
	p.paragraph("", plain, p.table.countText())
}

// divergences prints what Go releases do differently.
func (p *printer) divergences() {
	list := p.table.Diverge
	if len(list) == 0 {
		return
	}
	p.heading("where Go releases differ", bold, list)
	for _, f := range list[:min(len(list), mostNamed)] {
		p.paragraph("  ", plain, Clean(p.table.divergenceName(f))+": "+oneLine(f.Text))
	}
	if more := len(list) - mostNamed; more > 0 {
		p.paragraph("  ", faint, fmt.Sprintf("and %d more: see the report", more))
	}
}

// broken prints what was not as expected, entry by entry.
func (p *printer) broken() {
	if len(p.table.Broken) == 0 {
		return
	}
	p.heading("expectations broken", red, p.table.Broken)
	for _, f := range p.table.Broken {
		k := f.Cells[0]
		name := p.table.rowName(k.Scenario, k.Project, k.Go) + " × " + k.Config
		if p.table.Run.Repeat > 1 {
			name += fmt.Sprintf(" (%d of %d repetitions, the first shown)", len(f.Cells), p.table.Run.Repeat)
		}
		p.paragraph("  ", plain, Clean(name)+": "+oneLine(f.Text))
	}
}

// reasons prints each text once, and below it the cells that it is about.
func (p *printer) reasons(title string, s style, list []Finding) {
	if len(list) == 0 {
		return
	}
	p.heading(title, s, list)
	for _, f := range list {
		p.paragraph("  ", plain, oneLine(f.Text))
		p.paragraph("      ", faint, p.cellList(f.Cells))
	}
}

// heading begins a section, and says how many cells it is about.
func (p *printer) heading(title string, s style, list []Finding) {
	cells := 0
	for _, f := range list {
		cells += len(f.Cells)
	}
	p.out.WriteByte('\n')
	p.line(p.paint(s, fmt.Sprintf("%s: %s", title, count(cells, "cell"))))
}

// mostNamed is how many cells of a finding are named. The rest is counted: results.jsonl has them all.
const mostNamed = 10

// cellList names cells, repetitions of one together.
func (p *printer) cellList(keys []record.Key) string {
	var names []string
	for len(keys) > 0 {
		n := 1
		for n < len(keys) && sameEntry(keys[0], keys[n]) {
			n++
		}
		name := p.table.rowName(keys[0].Scenario, keys[0].Project, keys[0].Go) + " × " + keys[0].Config
		if n > 1 {
			name += fmt.Sprintf(" (%d repetitions)", n)
		}
		names = append(names, Clean(name))
		keys = keys[n:]
	}
	if len(names) > mostNamed {
		names = append(names[:mostNamed], fmt.Sprintf("and %d more", len(names)-mostNamed))
	}
	return strings.Join(names, ", ")
}

func widest(lines []string) int {
	width := 0
	for _, l := range lines {
		width = max(width, ansi.StringWidth(l))
	}
	return width
}

func pad(s string, width int) string { return s + spaces(width-ansi.StringWidth(s)) }

func spaces(n int) string { return strings.Repeat(" ", max(n, 0)) }
