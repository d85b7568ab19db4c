package reports

import (
	"cmp"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// A textPage is text for a terminal, line by line.
type textPage struct {
	width int // columns
	color bool
	out   strings.Builder
}

func newTextPage(opts TerminalOptions) textPage {
	return textPage{width: cmp.Or(opts.Width, defaultWidth), color: opts.Color}
}

// A style is a set of SGR parameters, see ECMA-48, 8.3.117.
type style string

const (
	plain   style = ""
	bold    style = "1"
	faint   style = "2"
	red     style = "31"
	green   style = "32"
	yellow  style = "33"
	blue    style = "34"
	cyan    style = "36"
	magenta style = "35"
	alarm   style = "1;7;31" // bold, inverse, red
)

func (p *textPage) paint(s style, text string) string {
	if !p.color || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[m"
}

func (p *textPage) line(text string) { p.out.WriteString(strings.TrimRight(text, " ") + "\n") }

// paragraph prints clean text, broken between words, every line with an indentation, all but the first
// with a little more.
func (p *textPage) paragraph(indent string, s style, text string) {
	const more = "  "
	room := max(p.width-len(indent)-len(more), 20)
	for i, part := range strings.Split(ansi.Wrap(text, room, ""), "\n") {
		if i == 1 {
			indent += more
		}
		p.line(indent + p.paint(s, strings.TrimRight(part, " ")))
	}
}
