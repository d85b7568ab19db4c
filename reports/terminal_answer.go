package reports

import (
	"io"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// TerminalAnswer writes which config to take and why, the commands that put it into force, and what it does
// not survive. The commands are never broken over lines, so that they can be copied. The only errors are
// those of w.
func TerminalAnswer(w io.Writer, run *record.Run, r *verdict.Ranking, opts TerminalOptions) error {
	p := newTextPage(opts)
	a := NewAnswer(run, r)
	p.out.WriteByte('\n')
	if a.Config != "" {
		p.paragraph("", bold, Clean("recommended: "+a.Config))
	}
	for _, text := range a.Why {
		p.paragraph("  ", plain, oneLine(text))
	}
	if a.Config != "" {
		p.paragraph("  ", plain, oneLine(notSurvived(a.Fails)))
	}
	if len(a.Settings) > 0 {
		p.out.WriteByte('\n')
	}
	for _, command := range a.Settings {
		p.line("    " + Clean(command))
	}
	_, err := io.WriteString(w, p.out.String())
	return err
}
