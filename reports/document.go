package reports

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"

	"github.com/charmbracelet/x/ansi"
)

// A Form is what a document is written as.
type Form string

// The forms.
const (
	Text     Form = "text"     // for a terminal, 80 columns or a little more
	Markdown Form = "markdown" // GitHub's, at most MarkdownLimit bytes
	HTML     Form = "html"     // one page that needs no network and no script
)

// MarkdownLimit is the size in bytes that no Markdown of ours exceeds. GitHub takes 65,536 characters for a
// comment, and 1 MiB for a job summary; the rest is left to whoever adds a line of their own.
const MarkdownLimit = 60_000

// A document is a short report that has the same content in all forms.
type document struct {
	Title    string
	Lead     []string // paragraphs; the first is the answer
	Code     []string // commands to copy, below the first paragraph
	Sections []section
}

// A section is a table, or just its intro.
type section struct {
	Title string
	Intro string
	Head  []string
	Rows  [][]string // as wide as Head
}

// add appends a section, unless it would be empty.
func (d *document) add(s section) {
	if len(s.Rows) > 0 {
		d.Sections = append(d.Sections, s)
	}
}

func (d *document) write(w io.Writer, f Form) error {
	switch f {
	case Text:
		_, err := io.WriteString(w, d.text())
		return err
	case Markdown:
		_, err := io.WriteString(w, d.markdown(MarkdownLimit))
		return err
	case HTML:
		return documentPage().Execute(w, d)
	}
	return fmt.Errorf("no form is called %q", f)
}

//go:embed templates/document.html
var documentSource string

// documentPage is parsed at its first use: each lab process would spend the time, and has no use for it.
var documentPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("document").Parse(documentSource))
})

// text writes the document for a terminal.
func (d *document) text() string {
	var b strings.Builder
	paragraph := func(indent, text string) {
		for _, line := range strings.Split(ansi.Wrap(oneLine(text), defaultWidth-len(indent), ""), "\n") {
			b.WriteString(indent + strings.TrimRight(line, " ") + "\n")
		}
	}
	paragraph("", d.Title)
	for i, text := range d.Lead {
		b.WriteByte('\n')
		paragraph("", text)
		if i == 0 && len(d.Code) > 0 {
			b.WriteString("\n    " + strings.Join(cleanAll(d.Code), "\n    ") + "\n")
		}
	}
	for _, s := range d.Sections {
		b.WriteByte('\n')
		paragraph("", s.Title)
		if s.Intro != "" {
			paragraph("  ", s.Intro)
		}
		s.columns(&b)
	}
	return b.String()
}

// cleanAll makes each command one line. An indented block needs no other escapes, in Markdown either.
func cleanAll(lines []string) []string {
	var clean []string
	for _, l := range lines {
		clean = append(clean, Clean(l))
	}
	return clean
}

// columns writes the table of a section in columns. One that is too wide for a line gets a line for each of
// its values.
func (s *section) columns(b *strings.Builder) {
	widths := make([]int, len(s.Head))
	for _, row := range append([][]string{s.Head}, s.Rows...) {
		for i, value := range row {
			widths[i] = max(widths[i], ansi.StringWidth(oneLine(value)))
		}
	}
	total := 0
	for _, w := range widths {
		total += len(gap) + w
	}
	if total > defaultWidth {
		s.list(b)
		return
	}
	for _, row := range append([][]string{s.Head}, s.Rows...) {
		line := ""
		for i, value := range row {
			line += gap + pad(oneLine(value), widths[i])
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// list writes the table of a section row by row: the first value, and below it the others with their heads.
func (s *section) list(b *strings.Builder) {
	for _, row := range s.Rows {
		for i, value := range row {
			text, indent := oneLine(value), gap
			if i > 0 {
				text, indent = s.Head[i]+": "+text, gap+gap+gap
			}
			lines := strings.Split(ansi.Wrap(text, defaultWidth-len(indent)-len(gap), "-/"), "\n")
			b.WriteString(indent + strings.Join(lines, "\n"+indent+gap) + "\n")
		}
	}
}

// markdown writes the document in at most limit bytes. Each table gives up rows that find no room.
func (d *document) markdown(limit int) string {
	var b strings.Builder
	b.WriteString("## " + markdownText(d.Title) + "\n")
	for i, text := range d.Lead {
		b.WriteString("\n" + markdownText(text) + "\n")
		if i == 0 && len(d.Code) > 0 {
			b.WriteString("\n    " + strings.Join(cleanAll(d.Code), "\n    ") + "\n")
		}
	}
	for i := range d.Sections {
		room := limit - b.Len() - reserve*(len(d.Sections)-i)
		d.Sections[i].markdown(&b, room)
	}
	return b.String()
}

// reserve is the room in bytes that each section needs for its title and for saying how much is left out.
const reserve = 1000

// markdown writes a section whose rows take at most room bytes.
func (s *section) markdown(b *strings.Builder, room int) {
	b.WriteString("\n### " + markdownText(s.Title) + "\n\n")
	if s.Intro != "" {
		b.WriteString(markdownText(s.Intro) + "\n\n")
	}
	b.WriteString(markdownRow(s.Head) + "|" + strings.Repeat(" --- |", len(s.Head)) + "\n")
	for i, row := range s.Rows {
		line := markdownRow(row)
		if room -= len(line); room < 0 {
			fmt.Fprintf(b, "\n%s left out: the text may not be longer.\n", count(len(s.Rows)-i, "more row"))
			return
		}
		b.WriteString(line)
	}
}

func markdownRow(values []string) string {
	line := "|"
	for _, v := range values {
		line += " " + markdownText(v) + " |"
	}
	return line + "\n"
}

// markdownText makes text stand for itself in Markdown: no emphasis, no link, no HTML, no mention of a user.
func markdownText(s string) string { return markdownEscapes.Replace(oneLine(s)) }

var markdownEscapes = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"#", `\#`, "|", `\|`, "~", `\~`, "$", `\$`, "!", `\!`, "://", ":<!-- -->//", "@", "@<!-- -->",
)
