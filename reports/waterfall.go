package reports

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// A Waterfall is what one cell did on the network, and when: a bar for each DNS query, connection and
// request, over one time axis. Times are seconds since the start of the go command.
type Waterfall struct {
	End    record.Seconds // of the go command and of the axis, which begins at 0
	Faults []FaultBar     // in the order of the scenario
	Bars   []Bar          // in the order in which they began
}

// A FaultBar is the time line of a declared fault.
type FaultBar struct {
	Fault string     // as one line of text
	Bit   int64      // packets, connections, queries or requests that it changed, by layer
	Spans []Interval // in which it was in force during the cell, in order
	Often bool       // it came and went more often than Spans could tell: Spans has the whole of it
}

// An Interval is a stretch of time.
type Interval struct{ From, To record.Seconds }

// A BarKind is what a [Bar] is about.
type BarKind string

// The kinds of bars.
const (
	QueryBar   BarKind = "query"
	ConnBar    BarKind = "connection"
	RequestBar BarKind = "request"
)

// A Bar is one DNS query, connection or request. Its texts come from the record as they are: escape them.
type Bar struct {
	Kind   BarKind
	Index  int            // in Cell.Queries, Cell.Conns or Cell.Requests, by Kind
	Conn   int            // the connection that a request went over, -1 if unknown; Index for a connection
	Host   string         // that was asked or connected to
	What   string         // the question, the address, or the method and path
	Result string         // how it ended, in a word or two
	Failed bool           // Result is none of those that a healthy network gives
	Start  record.Seconds // when it began
	End    record.Seconds // when it ended; the end of the cell if it was under way until then
	Open   bool           // it was under way at the end of the cell
	Spans  []verdict.Span // its phases, one after the other, within Start and End
}

// NewWaterfall returns the waterfall of a cell. What began after the go command had ended is left out.
func NewWaterfall(run *record.Run, cell *record.Cell) *Waterfall {
	w := &Waterfall{End: cell.Seconds, Faults: faultBars(run, cell)}
	spans := verdict.SpansOf(cell)
	for i := range cell.Queries {
		w.add(queryBar(cell, i), spans.Queries[i])
	}
	for i := range cell.Conns {
		w.add(connBar(cell, i), spans.Conns[i])
	}
	for i := range cell.Requests {
		w.add(requestBar(cell, i), spans.Requests[i])
	}
	slices.SortStableFunc(w.Bars, func(a, b Bar) int { return cmp.Compare(a.Start, b.Start) })
	return w
}

// add adds a bar, cut to the time of the cell. An End of 0 means that it did not end by itself: then it
// ends with its last phase.
func (w *Waterfall) add(b Bar, spans []verdict.Span) {
	if b.Start > w.End {
		return
	}
	if b.End == 0 {
		b.End = b.Start
		if len(spans) > 0 {
			b.End = spans[len(spans)-1].To
		}
	}
	b.Open = b.Open || b.End >= w.End
	b.End = min(b.End, w.End)
	for _, s := range spans {
		if s.To = min(s.To, w.End); s.From < s.To {
			b.Spans = append(b.Spans, s)
		}
	}
	w.Bars = append(w.Bars, b)
}

func queryBar(cell *record.Cell, i int) Bar {
	q := &cell.Queries[i]
	b := Bar{Kind: QueryBar, Index: i, Conn: -1, Host: q.Server, What: q.Name + " " + q.Type, Start: q.Start, End: q.End, Result: q.Answer}
	switch q.Answer {
	case "none":
		b.Result, b.Failed = "no answer", true
	case "noerror", "nodata", "truncated": // truncated: the client asks again over TCP
	default:
		b.Failed = true
	}
	return b
}

func connBar(cell *record.Cell, i int) Bar {
	c := &cell.Conns[i]
	b := Bar{Kind: ConnBar, Index: i, Conn: i, Host: c.Host, What: c.Addr, Start: c.Start, End: c.End}
	over := c.End > 0 && c.End < cell.Seconds
	if !over {
		b.End, b.Open = cell.Seconds, true
	}
	switch {
	case c.Established == 0 && over && c.Reset:
		b.Result, b.Failed = "refused", true
	case c.Established == 0:
		b.Result, b.Failed = "no answer", true
	case c.TLS && c.Secured == 0:
		b.Result, b.Failed = "no TLS", true
	case over && c.Reset:
		b.Result, b.Failed = "reset", true
	case over:
		b.Result = "closed"
	default:
		b.Result = "open"
	}
	return b
}

func requestBar(cell *record.Cell, i int) Bar {
	r := &cell.Requests[i]
	b := Bar{Kind: RequestBar, Index: i, Conn: r.Conn, Host: r.Host, What: r.Method + " " + r.Path, Start: r.Start, End: r.End,
		Result: strconv.Itoa(r.Status), Failed: failedStatus(r.Status)}
	tunnel := r.Method == "CONNECT"
	if tunnel {
		b.End = r.First // what goes through it has bars of its own
	}
	switch {
	case r.Status == 0:
		b.Result = "no answer"
	case r.Error != "" || r.End == 0 && !tunnel:
		b.Result, b.Failed = b.Result+" cut", true
	}
	return b
}

// failedStatus reports whether an HTTP status is one that a healthy network does not give. 404 and 410 are
// how proxies say that they do not have a module: the go command expects them.
func failedStatus(status int) bool {
	return status == 0 || status >= 400 && status != 404 && status != 410
}

// faultBars returns the time lines of the scenario's faults.
func faultBars(run *record.Run, cell *record.Cell) []FaultBar {
	var bars []FaultBar
	windows := windowsOf(run, cell.Scenario)
	for i, f := range cell.Faults {
		b := FaultBar{Fault: f.Fault, Bit: f.Bit}
		var w record.Window
		if i < len(windows) {
			w = windows[i]
		}
		b.Spans, b.Often = inForce(w, cell.Seconds)
		bars = append(bars, b)
	}
	return bars
}

func windowsOf(run *record.Run, scenario string) []record.Window {
	for i := range run.Scenarios {
		if run.Scenarios[i].Name == scenario {
			return run.Scenarios[i].Windows
		}
	}
	return nil
}

// mostSpans is how many stretches of a fault that comes and goes are told apart. No report can show more.
const mostSpans = 200

// inForce returns when a fault is in force before end, and whether that is told as a whole because it is
// too often.
func inForce(w record.Window, end record.Seconds) (list []Interval, often bool) {
	if w.Until > 0 {
		end = min(end, w.Until)
	}
	switch {
	case w.From >= end:
		return nil, false
	case w.Every <= 0:
		return []Interval{{w.From, end}}, false
	case (end-w.From)/w.Every > mostSpans:
		return []Interval{{w.From, end}}, true
	}
	for n := 0; ; n++ {
		from := w.From + record.Seconds(n)*w.Every
		if from >= end {
			return list, false
		}
		list = append(list, Interval{from, min(from+w.For, end)})
	}
}

// CellName returns the name by which "simrun explain" knows a cell of a run: scenario/config, and then
// what tells it from other cells of the run: /project, /release of Go, and /number of the repetition, from 1.
func CellName(run *record.Run, k record.Key) string {
	parts := []string{k.Scenario, k.Config}
	if len(run.Projects) > 1 {
		parts = append(parts, k.Project)
	}
	if len(run.Releases) > 1 {
		parts = append(parts, k.Go)
	}
	if run.Repeat > 1 {
		parts = append(parts, strconv.Itoa(k.Rep+1))
	}
	return strings.Join(parts, "/")
}
