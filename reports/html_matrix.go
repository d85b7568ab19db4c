package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/simrun/simrun/record"
)

// A columnHead is a config above the matrix.
type columnHead struct {
	Config, About string
	Best          bool // it is the recommended one
}

// A layer is the scenarios of one layer.
type layer struct {
	Name string
	Rows []matrixRow
}

// A matrixRow is one row of the matrix.
type matrixRow struct {
	ID       string // of the row on the page
	Scenario string
	About    string
	Where    string // project and release, if there are several
	Faults   []string
	Cells    []matrixCell
}

// A matrixCell is one entry of the matrix.
type matrixCell struct {
	Kind   string  // class of its look, which has the sign too: see signStyle
	Text   string  // seconds and the like
	Marks  string  // letters: see legend
	Sort   float64 // seconds; what did not work comes behind what did
	Href   string  // of its details; "" if there are none
	Unmet  bool
	Reason string // class, or why there is nothing
}

// A sign is one line of the legend.
type sign struct{ Sign, Kind, Meaning string }

// signs are the looks of outcomes.
var signs = map[record.Outcome]sign{
	record.OK:           {"✓", "ok", "worked"},
	record.Error:        {"✗", "error", "failed"},
	record.Hang:         {"∞", "hang", "reached the deadline"},
	Mixed:               {"≈", "mixed", "repetitions differ"},
	record.Skipped:      {"–", "skipped", "not run"},
	record.HarnessError: {"‼", "harness", "simrun failed"},
	"":                  {"·", "none", "no cell"},
}

// unmetSign replaces that of what worked without having met its fault.
var unmetSign = sign{"○", "unmet", "worked, but never met the fault"}

// unknownSign is for outcomes that this version of simrun does not know.
var unknownSign = sign{"?", "unknown", "unknown outcome"}

// signOf returns the look of an outcome.
func signOf(o record.Outcome) sign {
	if s, ok := signs[o]; ok {
		return s
	}
	return unknownSign
}

// signStyle is the style that puts the sign before each entry of the matrix, with its meaning for screen
// readers (https://www.w3.org/TR/css-content-3/#alt). As elements, signs and meanings of ten thousand entries
// would cost the browser a third of a second.
func signStyle() string {
	all := append(slices.Collect(maps.Values(signs)), unmetSign, unknownSign)
	slices.SortFunc(all, func(a, b sign) int { return cmp.Compare(a.Kind, b.Kind) })
	style := ""
	for _, s := range all {
		style += fmt.Sprintf(".matrix .k-%s a::before { content: \"%s \"; content: \"%[2]s \" / \"%s \"; }\n", s.Kind, s.Sign, s.Meaning)
	}
	return style
}

// The marks behind a cell.
const (
	leakMark   = "L"
	tamperMark = "T"
	doubtMark  = "U"
)

var legend = []sign{
	signs[record.OK], unmetSign, signs[record.Error], signs[record.Hang], signs[Mixed], signs[record.Skipped], signs[record.HarnessError],
	{brokenMark, "mark", "not as the scenario expects"},
	{leakMark, "mark", "a private path leaked"},
	{tamperMark, "mark", "a tampered module was accepted"},
	{doubtMark, "mark", "something was used unverified"},
}

// fillMatrix fills in the columns and rows.
func (p *page) fillMatrix(t *Table, d *details) {
	for _, name := range t.Configs {
		head := columnHead{Config: name, Best: name == p.Answer.Config}
		for _, c := range p.Run.Configs {
			if c.Name == name {
				head.About = c.About
			}
		}
		p.Columns = append(p.Columns, head)
	}
	where := placeNames(t)
	for i, r := range t.Rows {
		s := d.scenarios[r.Scenario]
		row := matrixRow{ID: d.rowID(r.Scenario), Scenario: r.Scenario, About: s.About, Faults: s.Faults, Where: where[i]}
		for j, e := range r.Entries {
			key := record.Key{Scenario: r.Scenario, Config: t.Configs[j], Project: r.Project, Go: r.Go}
			row.Cells = append(row.Cells, d.matrixCell(e, key))
		}
		if met(r) || len(s.Faults) == 0 {
			p.addRow(cmp.Or(s.Layer, "nothing wrong"), row)
			continue
		}
		p.Unmet = append(p.Unmet, row)
	}
	slices.SortStableFunc(p.Layers, func(a, b layer) int { return cmp.Compare(layerPlace(a.Name), layerPlace(b.Name)) })
}

// layerOrder is the order of the layers from the wire up.
var layerOrder = []string{"nothing wrong", "packet", "stream", "dns", "tls", "http", "module", "sumdb", "vcs", "forward", "client"}

// layerPlace returns the place of a layer; what is not known comes last.
func layerPlace(name string) int {
	if i := slices.Index(layerOrder, name); i >= 0 {
		return i
	}
	return len(layerOrder)
}

// placeNames says for each row which project and release it is about, if there are several.
func placeNames(t *Table) []string {
	several := slices.ContainsFunc(t.Rows, func(r Row) bool { return r.Project != t.Rows[0].Project || r.Go != t.Rows[0].Go })
	names := make([]string, len(t.Rows))
	for i, r := range t.Rows {
		if several {
			names[i] = r.Project + ", " + r.Go
		}
	}
	return names
}

// met reports whether some config met the fault of a row.
func met(r Row) bool {
	return slices.ContainsFunc(r.Entries, func(e Entry) bool { return e.Unexercised < e.Reps })
}

func (p *page) addRow(name string, row matrixRow) {
	i := slices.IndexFunc(p.Layers, func(l layer) bool { return l.Name == name })
	if i < 0 {
		i = len(p.Layers)
		p.Layers = append(p.Layers, layer{Name: name})
	}
	p.Layers[i].Rows = append(p.Layers[i].Rows, row)
}

// matrixCell says how an entry looks.
func (d *details) matrixCell(e Entry, key record.Key) matrixCell {
	s := signOf(e.Outcome)
	c := matrixCell{Unmet: e.Reps > 0 && e.Unexercised == e.Reps, Sort: float64(e.Median)}
	if c.Unmet && e.Outcome == record.OK {
		s = unmetSign
	}
	c.Kind, c.Text = s.Kind, entryText(e)
	if e.Broken > 0 {
		c.Marks = brokenMark
	}
	if e.doubtful() {
		c.Marks += contendedMark
	}
	if e.Outcome != record.OK {
		c.Sort += unsorted
	}
	if cells := d.entries[entryOf(key)]; len(cells) > 0 {
		c.Marks += harmMarks(cells)
		shown := mostTelling(cells)
		c.Href, c.Reason = d.href(shown.Key, false), cmp.Or(shown.Class, oneLine(shown.Note))
	}
	return c
}

// unsorted puts what did not work behind everything that did.
const unsorted = 1e6

// entryText is seconds, spread and share of an entry.
func entryText(e Entry) string {
	switch {
	case e.Reps == 0:
		return ""
	case e.Outcome == Mixed:
		return fmt.Sprintf("%d/%d", e.OK, e.Reps)
	case e.Outcome == record.Hang:
		return ">" + deadlineText(e.Median)
	case e.Reps > 1:
		return fmt.Sprintf("%s ±%.0f%%", secondsText(e.Median), 100*e.Spread())
	}
	return secondsText(e.Median)
}

// harmMarks are the letters for what cells did wrong.
func harmMarks(cells []*record.Cell) string {
	marks := ""
	for _, h := range []struct {
		mark string
		is   func(*record.Cell) bool
	}{
		{leakMark, func(c *record.Cell) bool { return len(c.Leaks) > 0 }},
		{tamperMark, func(c *record.Cell) bool { return c.Integrity == record.TamperedAccepted }},
		{doubtMark, func(c *record.Cell) bool { return c.Outcome == record.OK && c.Integrity == record.Unverified }},
	} {
		if slices.ContainsFunc(cells, h.is) {
			marks += h.mark
		}
	}
	return marks
}
