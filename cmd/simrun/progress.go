package main

import (
	"fmt"
	"io"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/reports"
)

const (
	fewCells     = 100             // up to so many cells each gets a line in a log
	summaryEvery = 5 * time.Second // in a log of more cells
	waitersShown = 3               // lines of the live block for what runs longest
)

// A meter shows how a run goes on. It is used from one goroutine at a time.
type meter struct {
	w      io.Writer
	total  int
	before int        // cells that were there when the run was resumed
	width  func() int // of the terminal, which may change; nil: w is no terminal, and gets plain lines

	done    int
	drawn   int           // lines of the live block that are on the terminal
	summary time.Duration // when the next summary is due
}

// cell shows that a cell ended. A failure of simrun is always shown.
func (m *meter) cell(c *record.Cell) {
	m.done++
	quiet := m.width != nil || m.total > fewCells
	if quiet && c.Outcome != record.HarnessError {
		return
	}
	m.erase()
	fmt.Fprintf(m.w, "[%d/%d] %s\n", m.before+m.done, m.total, reports.Line(c))
}

// status shows what goes on now.
func (m *meter) status(s harness.Status) {
	s.Done, s.Total = m.before+s.Done, m.before+s.Total
	switch {
	case m.width != nil:
		m.draw(s)
	case m.total > fewCells && s.Elapsed >= m.summary:
		m.summary = s.Elapsed + summaryEvery
		fmt.Fprintln(m.w, headline(s))
	}
}

// finish takes the live block away. What follows may be written to the terminal.
func (m *meter) finish() {
	m.erase()
}

// draw replaces the live block. No line may be as wide as the terminal: it would wrap, and the block
// would take more lines than are known.
func (m *meter) draw(s harness.Status) {
	lines := append([]string{headline(s)}, waiters(s.Running)...)
	m.erase()
	for _, line := range lines {
		fmt.Fprintln(m.w, ansi.Truncate(line, m.width()-1, "…"))
	}
	m.drawn = len(lines)
}

// erase moves up to the first line of the live block and clears from there: CPL and ED of ECMA-48.
func (m *meter) erase() {
	if m.drawn > 0 {
		fmt.Fprintf(m.w, "\x1b[%dF\x1b[J", m.drawn)
		m.drawn = 0
	}
}

func headline(s harness.Status) string {
	text := fmt.Sprintf("%d/%d cells, %d running, %s", s.Done, s.Total, len(s.Running), clock(s.Elapsed))
	if s.Left >= 0 && s.Done < s.Total {
		text += fmt.Sprintf(", about %s left", clock(s.Left))
	}
	return text
}

// waiters returns a line for each of the first cells, which are those that have run longest.
func waiters(running []harness.Running) []string {
	var lines []string
	for _, r := range running[:min(len(running), waitersShown)] {
		line := fmt.Sprintf("  %6s  %s × %s", clock(r.For), r.Scenario, r.Config)
		if r.Doing != "" {
			line += "  waits for " + r.Doing
		}
		lines = append(lines, reports.Clean(line))
	}
	return lines
}

// clock writes a duration in whole seconds.
func clock(d time.Duration) string { return d.Round(time.Second).String() }
