package reports

import (
	"io"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// A File is one form of the report of a run.
type File struct {
	Name  string // such as junit.xml
	Write func(io.Writer) error
}

// Files returns all forms of the report of a run that are files. The cells must have been judged, and ranked
// as r says; name is what commands in the report call the run.
func Files(results *record.Results, r *verdict.Ranking, name string) []File {
	run, cells := &results.Run, results.Cells
	return []File{
		{"report.html", func(w io.Writer) error { return Page(w, results, r, name) }},
		{"report.md", func(w io.Writer) error { return Summary(w, Markdown, Summarize(*run, cells), r) }},
		{"junit.xml", func(w io.Writer) error { return JUnit(w, run, cells) }},
		{"bench.txt", func(w io.Writer) error { return Bench(w, run, cells) }},
		{"verdicts.json", func(w io.Writer) error { return Verdicts(w, run, cells, r) }},
	}
}
