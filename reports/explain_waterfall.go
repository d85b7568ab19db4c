package reports

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// A stroke is how a phase looks in a bar: its letter is what tells it, the colour repeats that.
type stroke struct {
	letter rune
	style  style
	name   string
}

// strokes has the phases in the order of the legend.
var strokes = []struct {
	phase verdict.Phase
	stroke
}{
	{verdict.DNS, stroke{'d', cyan, "DNS"}},
	{verdict.Connect, stroke{'c', yellow, "connect"}},
	{verdict.TLS, stroke{'s', magenta, "TLS handshake"}},
	{verdict.Wait, stroke{'w', blue, "wait for the answer"}},
	{verdict.Transfer, stroke{'t', green, "transfer"}},
}

var (
	idle    = stroke{'─', faint, "open"}
	inFault = stroke{'▒', red, "fault in force"}
	nothing = stroke{' ', plain, ""}
)

func strokeOf(p verdict.Phase) stroke {
	for _, s := range strokes {
		if s.phase == p {
			return s.stroke
		}
	}
	return idle
}

// The columns of a waterfall beside the axis and the label, which share what they leave.
const (
	startColumn  = 7  // when it began
	resultColumn = 10 // how it ended
	leastAxis    = 16
)

// A chart is a waterfall that is being drawn.
type chart struct {
	*explainer
	end         record.Seconds
	label, axis int // columns
}

// waterfall draws the cell's time: a line for each fault, query, connection and request.
func (e *explainer) waterfall(w *Waterfall) {
	if len(w.Bars) == 0 || w.End <= 0 {
		return
	}
	room := e.width - startColumn - resultColumn - 3*len(" ")
	axis := max(room*1/2, leastAxis)
	c := &chart{explainer: e, end: w.End, axis: axis, label: max(room-axis, leastAxis)}
	e.section("Where the time went")
	e.paragraph("  ", plain, attributionText(e.cell.Attribution))
	e.line(e.paint(faint, spaces(c.label)+" "+c.ticks()))
	for _, f := range w.Faults {
		c.fault(f)
	}
	bars, hidden := e.shown(w.Bars)
	for _, b := range bars {
		c.bar(b)
	}
	if hidden > 0 {
		e.line("  " + e.paint(faint, fmt.Sprintf("and %d shorter ones; --all shows them", hidden)))
	}
	c.legend()
}

// shown returns the bars that are drawn: if there are too many, those that took longest.
func (e *explainer) shown(bars []Bar) (some []Bar, hidden int) {
	if e.all || len(bars) <= explainedBars {
		return bars, 0
	}
	longest := slices.Clone(bars)
	slices.SortStableFunc(longest, func(a, b Bar) int { return cmp.Compare(b.End-b.Start, a.End-a.Start) })
	longest = longest[:explainedBars]
	slices.SortStableFunc(longest, func(a, b Bar) int { return cmp.Compare(a.Start, b.Start) })
	return longest, len(bars) - explainedBars
}

// attributionText names the parts of a time, the largest first, and leaves out what is too short to matter.
func attributionText(a record.Attribution) string {
	type part struct {
		name string
		took record.Seconds
	}
	parts := []part{
		{"DNS", a.DNS}, {"connect", a.Connect}, {"TLS", a.TLS}, {"wait", a.Wait}, {"transfer", a.Transfer}, {"local", a.Local},
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.took, a.took) })
	var texts []string
	for _, p := range parts {
		if p.took >= a.Total()/100 && p.took > 0 {
			texts = append(texts, p.name+" "+secondsText(p.took))
		}
	}
	return strings.Join(texts, ", ")
}

// ticks labels the axis: at round times, as many as fit.
func (c *chart) ticks() string {
	const room = 7 // columns for a label
	step := roundStep(c.end / record.Seconds(max(c.axis/room, 1)))
	line := ""
	for at := record.Seconds(0); at < c.end; at += step {
		text := "╵" + tickText(at)
		if column := c.column(at); column+len(text) <= c.axis+startColumn {
			line = pad(line, column) + text
		}
	}
	return line
}

// roundStep returns the least of 1, 2 and 5 times a power of ten that is not below least, which is positive.
func roundStep(least record.Seconds) record.Seconds {
	step := record.Seconds(0.001)
	for {
		for _, factor := range []record.Seconds{1, 2, 5} {
			if step*factor >= least {
				return step * factor
			}
		}
		step *= 10
	}
}

func tickText(s record.Seconds) string {
	return strconv.FormatFloat(float64(s), 'g', 6, 64) + "s"
}

// column returns the column of the axis that a time is in.
func (c *chart) column(at record.Seconds) int {
	return min(max(int(float64(at)/float64(c.end)*float64(c.axis)), 0), c.axis-1)
}

// last returns the last column of what ends at a time, which is not before column first.
func (c *chart) last(first int, end record.Seconds) int {
	return max(first, min(int(math.Ceil(float64(end)/float64(c.end)*float64(c.axis)))-1, c.axis-1))
}

// row prints one line of the chart.
func (c *chart) row(label string, cells []stroke, start, result string, s style) {
	line := pad(shorten(label, c.label), c.label) + " "
	for i := 0; i < len(cells); {
		n := i
		for n < len(cells) && cells[n] == cells[i] {
			n++
		}
		line += c.paint(cells[i].style, strings.Repeat(string(cells[i].letter), n-i))
		i = n
	}
	line += fmt.Sprintf(" %*s ", startColumn, start)
	c.line(line + c.paint(s, ansi.Truncate(result, resultColumn, "…")))
}

// fault draws when a fault was in force.
func (c *chart) fault(f FaultBar) {
	cells := c.blank()
	for _, s := range f.Spans {
		c.fill(cells, s.From, s.To, inFault)
	}
	result := fmt.Sprintf("bit %d", f.Bit)
	if f.Often {
		result += ", flaps"
	}
	start := ""
	if len(f.Spans) > 0 {
		start = secondsText(f.Spans[0].From)
	}
	c.row("! "+Clean(f.Fault), cells, start, result, plain)
}

// bar draws one query, connection or request. A column belongs to the phase that has most of it.
func (c *chart) bar(b Bar) {
	cells := c.blank()
	c.fill(cells, b.Start, b.End, idle)
	best := make([]record.Seconds, len(cells))
	for _, s := range b.Spans {
		first := c.column(s.From)
		for i := first; i <= c.last(first, s.To); i++ {
			if part := c.overlap(i, s); part > best[i] {
				best[i], cells[i] = part, strokeOf(s.Phase)
			}
		}
	}
	look := plain
	if b.Failed {
		look = red
	}
	c.row(barLabel(b), cells, secondsText(b.Start), Clean(b.Result), look)
}

func (c *chart) blank() []stroke { return slices.Repeat([]stroke{nothing}, c.axis) }

// fill draws a stretch of time, in one column at least.
func (c *chart) fill(cells []stroke, from, to record.Seconds, s stroke) {
	first := c.column(from)
	for i := first; i <= c.last(first, to); i++ {
		cells[i] = s
	}
}

// overlap returns how much of a column a span has.
func (c *chart) overlap(column int, s verdict.Span) record.Seconds {
	width := c.end / record.Seconds(c.axis)
	from := record.Seconds(column) * width
	return min(s.To, from+width) - max(s.From, from)
}

// legend says what the letters mean.
func (c *chart) legend() {
	var parts []string
	for _, s := range strokes {
		parts = append(parts, string(s.letter)+" "+s.name)
	}
	for _, s := range []stroke{idle, inFault} {
		parts = append(parts, string(s.letter)+" "+s.name)
	}
	c.paragraph("  ", faint, strings.Join(parts, "  "))
}

// barLabel names what a bar is about: the question and the name server, the connection's number and host,
// or the request after the number of its connection.
func barLabel(b Bar) string {
	switch b.Kind {
	case QueryBar:
		return Clean(strings.TrimPrefix(b.Host, "ns:") + ": " + b.What)
	case ConnBar:
		return Clean(connLabel(b))
	}
	if b.Conn < 0 {
		return Clean(b.Host + ": " + b.What)
	}
	return Clean(fmt.Sprintf("#%d %s", b.Conn+1, b.What))
}

func connLabel(b Bar) string {
	label := fmt.Sprintf("#%d %s", b.Conn+1, b.Host)
	at, err := netip.ParseAddrPort(b.What)
	if err != nil {
		return label
	}
	label += ":" + strconv.Itoa(int(at.Port()))
	if at.Addr().Is6() {
		label += " (IPv6)"
	}
	return label
}

// shorten cuts clean text to a width. What tells names from each other is often at their end, so the
// middle goes.
func shorten(s string, width int) string {
	over := ansi.StringWidth(s) - width
	if over <= 0 {
		return s
	}
	head := width / 4
	return ansi.Truncate(s, head, "") + "…" + ansi.TruncateLeft(s, head+over+1, "")
}
