package reports

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// ExplainOptions says how much [Explain] writes, and what for.
type ExplainOptions struct {
	TerminalOptions
	All bool // leave nothing out of long lists
}

// What Explain shows of long lists unless it shows all.
const (
	explainedBars  = 60
	explainedLines = 20 // of the go command's output, and of lists
)

// defaultSeed is the seed that simrun shell takes by itself.
const defaultSeed = 1

// Explain writes all that is known of one cell as text: how it ended and what helps, what the faults did,
// its waterfall, what leaked, what the go command said, and the command that repeats it. Attribution, class
// and leaks are taken from the record as they are. Names and messages are made safe with [Clean]. The only
// errors are those of w.
func Explain(w io.Writer, run *record.Run, c *record.Cell, opts ExplainOptions) error {
	e := &explainer{textPage: newTextPage(opts.TerminalOptions), run: run, cell: c, all: opts.All}
	e.title()
	e.cause()
	e.subject()
	e.waterfall(NewWaterfall(run, c))
	e.faults()
	e.routes()
	e.contacts()
	e.sources()
	e.harm()
	e.attempts()
	e.contention()
	e.output()
	e.programs()
	e.evidence()
	_, err := io.WriteString(w, e.out.String())
	return err
}

// An explainer builds the text about one cell.
type explainer struct {
	textPage
	run  *record.Run
	cell *record.Cell
	all  bool
}

// section begins a part of the text.
func (e *explainer) section(title string) {
	e.out.WriteByte('\n')
	e.line(e.paint(bold, title))
}

// list prints texts, one paragraph each, as many as may be shown.
func (e *explainer) list(texts []string) {
	for i, text := range texts {
		if i == explainedLines && !e.all {
			e.more(len(texts) - i)
			return
		}
		e.paragraph("  ", plain, oneLine(text))
	}
}

// more says how much was left out of a list.
func (e *explainer) more(n int) {
	e.line("  " + e.paint(faint, fmt.Sprintf("and %d more; --all shows them", n)))
}

// title names the cell and says how it ended.
func (e *explainer) title() {
	c := e.cell
	result := resultText(c.Outcome, c.Seconds)
	if c.Class != "" {
		result += " " + Clean(c.Class)
	}
	e.line(e.paint(bold, Clean(CellName(e.run, c.Key))) + "  " + e.paint(outcomeStyle(c.Outcome), result))
}

// cause says why the cell ended as it did, as far as is known, and what to do about it.
func (e *explainer) cause() {
	c := e.cell
	if c.Note != "" {
		e.paragraph("  ", plain, oneLine(c.Note))
	}
	if remedy := verdict.Remedy(c.Class); remedy != "" {
		e.paragraph("  ", plain, "What helps: "+remedy)
	}
	for _, b := range verdict.Broken(e.run, c) {
		e.paragraph("  ", red, "Not as the scenario says: "+oneLine(b))
	}
	if ran(c) && !c.Exercised() {
		e.paragraph("  ", plain, "Not exercised: no declared fault bit, so nothing was survived.")
	}
	if len(c.Waiting) > 0 {
		e.section("When it was ended it waited for")
		e.list(c.Waiting)
	}
}

// subject says what was run where with which settings.
func (e *explainer) subject() {
	k := e.cell.Key
	e.section("What was run")
	for _, s := range e.run.Scenarios {
		if s.Name == k.Scenario {
			e.paragraph("  ", plain, oneLine(fmt.Sprintf("scenario %s in world %s: %s", s.Name, s.World, s.About)))
		}
	}
	for _, c := range e.run.Configs {
		if c.Name == k.Config {
			e.config(c)
		}
	}
	e.paragraph("  ", plain, oneLine(fmt.Sprintf("project %s with %s, repetition %d, seed %d",
		k.Project, k.Go, k.Rep+1, e.run.Seed+uint64(k.Rep))))
}

func (e *explainer) config(c record.Config) {
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		settings = append(settings, name+"="+shellQuote(c.Env[name]))
	}
	text := "config " + c.Name + ": " + strings.Join(settings, " ")
	if len(settings) == 0 {
		text += "sets nothing"
	}
	if c.Cache != "" {
		text += "; module cache " + c.Cache
	}
	if c.Retry != "" {
		text += "; retry " + c.Retry
	}
	e.paragraph("  ", plain, oneLine(text))
}

// faults says of each declared fault how often it bit.
func (e *explainer) faults() {
	if len(e.cell.Faults) == 0 {
		return
	}
	e.section("Faults")
	var texts []string
	for _, f := range e.cell.Faults {
		texts = append(texts, f.Fault+": "+bitText(f.Bit))
	}
	e.list(texts)
}

func bitText(n int64) string {
	if n == 0 {
		return "did not bite"
	}
	return "bit " + count(int(n), "time")
}

// contacts names whom the client talked to.
func (e *explainer) contacts() {
	c := e.cell
	if len(c.Hosts) > 0 {
		e.section("Hosts, in the order of first contact")
		e.paragraph("  ", plain, e.joined(c.Hosts))
	}
	if len(c.Strays) > 0 {
		e.section("Addresses outside the world that something tried to reach")
		e.paragraph("  ", plain, e.joined(c.Strays))
	}
}

// sources says where the modules came from, and who did not have them before.
func (e *explainer) sources() {
	texts := sourceTexts(e.run, e.cell)
	if len(texts) > 0 {
		e.section("Where modules came from")
		e.list(texts)
	}
}

func sourceTexts(run *record.Run, c *record.Cell) (texts []string) {
	for _, s := range verdict.Sources(run, c) {
		texts = append(texts, s.String())
	}
	return texts
}

// joined writes names in one line, as many as may be shown.
func (e *explainer) joined(names []string) string {
	text := names
	if len(names) > explainedLines && !e.all {
		text = append(slices.Clone(names[:explainedLines]), fmt.Sprintf("and %d more", len(names)-explainedLines))
	}
	return oneLine(strings.Join(text, ", "))
}

// harm says what leaked, and whether what was downloaded was checked.
func (e *explainer) harm() {
	c := e.cell
	if len(c.Leaks) > 0 {
		e.section("Private paths that outside hosts saw")
		var texts []string
		for _, l := range c.Leaks {
			texts = append(texts, fmt.Sprintf("%s: %s, by %s", l.Host, l.Module, l.How))
		}
		e.list(texts)
	}
	if c.Integrity != "" {
		e.section("Integrity")
		e.paragraph("  ", plain, oneLine(fmt.Sprintf("%s, of %s in the module cache", c.Integrity, count(len(c.Modules), "module"))))
	}
}

// output prints what the go command said.
func (e *explainer) output() {
	e.quote("What the go command said"+exitText(e.cell), e.cell.Stderr)
}

// programs shows what became of the real programs that served hosts.
func (e *explainer) programs() {
	for _, p := range e.cell.Programs {
		end := "lived until the end"
		if p.Died != "" {
			end = fmt.Sprintf("ended after %s: %s", secondsText(p.Ended), p.Died)
		}
		e.section("The server of " + oneLine(p.Host))
		e.paragraph("  ", plain, programText(p)+" "+end)
		e.quote("What it said", p.Output)
	}
}

func programText(p record.Program) string {
	text := oneLine(strings.Join(p.Exec, " "))
	if p.Image == "" {
		return text
	}
	return strings.TrimSpace(text + " in image " + oneLine(p.Image))
}

// quote shows what a program said, below a title, if it said anything.
func (e *explainer) quote(title, text string) {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return
	}
	e.section(title)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if hidden := len(lines) - explainedLines; hidden > 0 && !e.all && i >= explainedLines/2 && i < explainedLines/2+hidden {
			if i == explainedLines/2 {
				e.more(hidden)
			}
			continue
		}
		e.paragraph("  ", plain, Clean(strings.ReplaceAll(strings.TrimRight(l, "\r"), "\t", "  ")))
	}
}

func exitText(c *record.Cell) string {
	if c.Outcome == record.Hang {
		return " until it was ended"
	}
	return fmt.Sprintf(" (exit status %d)", c.Exit)
}

// attempts lists the runs of the command, if there may be several.
func (e *explainer) attempts() {
	if len(e.cell.Attempts) > 0 {
		e.section("Attempts")
		e.list(attemptTexts(e.cell))
	}
}

// contention says for how long the cell had to wait for the machine, if that matters, and how it ended before.
func (e *explainer) contention() {
	if texts := contentionTexts(e.cell); len(texts) > 0 {
		e.section("Contended")
		e.list(texts)
	}
}

// evidence says how to see more.
func (e *explainer) evidence() {
	c := e.cell
	for _, buffer := range slices.Sorted(maps.Keys(c.Lost)) {
		e.section("Not recorded")
		e.paragraph("  ", plain, oneLine(fmt.Sprintf("%d %s that did not fit", c.Lost[buffer], buffer)))
	}
	e.section("To repeat it, where the run was made")
	for i, part := range commandLines(Reproduce(e.run, c.Key), e.width-4) {
		e.line(spaces(2+2*min(i, 1)) + part)
	}
	if c.Capture != "" {
		e.section("Its packets")
		e.paragraph("  ", plain, oneLine(c.Capture)+" beside the results, for Wireshark")
	}
}

// Reproduce returns the command that runs a cell once more, as words: those of simrun shell, which has the
// same network and settings. It is right in the folder where the run was made.
func Reproduce(run *record.Run, k record.Key) []string {
	words := []string{"simrun", "shell", k.Scenario, "--config", k.Config}
	option := func(name, value string) {
		if value != "" {
			words = append(words, name, value)
		}
	}
	in := &run.Input
	for _, p := range in.Paths {
		option("--from", p)
	}
	for _, p := range in.Configs {
		option("--configs", p)
	}
	option("--project", in.Project)
	option("--go", goOf(in.Go, k.Go))
	for _, name := range slices.Sorted(maps.Keys(in.Vars)) {
		option("--var", name+"="+in.Vars[name])
	}
	if seed := run.Seed + uint64(k.Rep); seed != defaultSeed {
		option("--seed", strconv.FormatUint(seed, 10))
	}
	for _, p := range run.Projects {
		if p.Name == k.Project && len(p.Run) > 0 {
			words = append(append(words, "--"), p.Run...)
		}
	}
	return words
}

// goOf returns how the go command of a release is chosen from those that a run was made with.
func goOf(chosen, release string) string {
	if strings.Contains(chosen, ",") {
		return release
	}
	return chosen
}

// commandLines writes words so that a shell reads them, with as many on a line as fit into a width. A line
// that goes on ends with a backslash.
func commandLines(words []string, width int) []string {
	lines := []string{""}
	for i, w := range words {
		last := &lines[len(lines)-1]
		w = Clean(shellQuote(w))
		switch {
		case i == 0:
			*last = w
		case ansi.StringWidth(*last)+ansi.StringWidth(w)+len(" ")+len(` \`) > width:
			*last += ` \`
			lines = append(lines, w)
		default:
			*last += " " + w
		}
	}
	return lines
}
