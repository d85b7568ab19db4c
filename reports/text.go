package reports

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/simrun/simrun/record"
)

// Clean makes text safe to show on a terminal. What is not printable (terminal escape sequences, line
// ends, characters that turn the direction of text, bytes that are not UTF-8) comes out as a Go escape
// such as \x1b, so that a name or an error from a simulated host can neither move the cursor nor
// pretend to be output of simrun.
func Clean(s string) string { return escape(s, unprintable) }

// CleanLines is [Clean] for text whose line ends and tabs stay what they are.
func CleanLines(s string) string {
	return escape(s, func(r rune) bool { return r != '\n' && r != '\t' && unprintable(r) })
}

// escape writes the runes for which bad is true, and bytes that are not UTF-8, as Go escapes.
func escape(s string, bad func(rune) bool) string {
	if strings.IndexFunc(s, bad) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if bad(r) || r == utf8.RuneError && n == 1 {
			quoted := strconv.QuoteToASCII(s[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// oneLine is Clean for text of several lines: each stretch of white space becomes one space.
func oneLine(s string) string { return Clean(strings.Join(strings.Fields(s), " ")) }

// Line returns a cell as one line of clean text, for logs: what it is, how it ended and why.
func Line(c *record.Cell) string {
	line := Clean(keyText(c.Key)) + "  " + resultText(c.Outcome, c.Seconds)
	if c.Class != "" {
		line += " " + Clean(c.Class)
	}
	if c.Note != "" {
		line += ": " + oneLine(c.Note)
	}
	return line
}

// keyText names a cell among those of one project and Go release.
func keyText(k record.Key) string {
	name := k.Scenario + " × " + k.Config
	if k.Rep > 0 {
		name += " #" + strconv.Itoa(k.Rep+1)
	}
	return name
}

// resultText is an outcome and the seconds that go with it, if any do.
func resultText(o record.Outcome, s record.Seconds) string {
	switch o {
	case record.HarnessError:
		return "HARNESS-ERROR"
	case record.Skipped:
		return "skipped"
	case record.Hang:
		return "hang >" + deadlineText(s)
	}
	return Clean(string(o)) + " " + secondsText(s)
}

// secondsText gives about three digits: 0.21s, 30.0s, 181s.
func secondsText(s record.Seconds) string {
	digits := 2
	switch {
	case s >= 99.95:
		digits = 0
	case s >= 9.995:
		digits = 1
	}
	return strconv.FormatFloat(float64(s), 'f', digits, 64) + "s"
}

// deadlineText is secondsText for times that somebody chose, where more digits would only pretend.
func deadlineText(s record.Seconds) string {
	if s < 9.995 {
		return secondsText(s)
	}
	return strconv.FormatFloat(float64(s), 'f', 0, 64) + "s"
}

// text is what stands in the matrix for an entry: outcome, median seconds, spread, marks.
func (e Entry) text() string {
	switch {
	case e.Outcome == "":
		return "-"
	case e.Outcome == Mixed:
		return fmt.Sprintf("mixed %d/%d ok", e.OK, e.Reps) + e.marks()
	case e.Reps > 1:
		return fmt.Sprintf("%s ±%.0f%%", resultText(e.Outcome, e.Median), 100*e.Spread()) + e.marks()
	}
	return resultText(e.Outcome, e.Median) + e.marks()
}

// The marks behind an entry.
const (
	brokenMark      = "!"
	unexercisedMark = "*"
	contendedMark   = "~"
)

func (e Entry) marks() string {
	marks := ""
	if e.Broken > 0 {
		marks += brokenMark
	}
	if e.Unexercised > 0 {
		marks += unexercisedMark
	}
	if e.doubtful() {
		marks += contendedMark
	}
	return marks
}

// doubtful reports whether the seconds of an entry are all from repetitions that were contended.
func (e Entry) doubtful() bool { return e.Reps > 0 && e.Contended == e.Reps }

func (t *Table) anyDoubtful() bool {
	return slices.ContainsFunc(t.Rows, func(r Row) bool { return slices.ContainsFunc(r.Entries, Entry.doubtful) })
}

// contendedReason is why a time is in doubt.
const contendedReason = "they had to wait for a CPU or for memory"

// contendedText explains the mark of such an entry.
const contendedText = "it had to wait for a CPU or for memory in every repetition: its seconds tell of the machine, too"

// countText says how many cells there are and how they ended.
func (t *Table) countText() string {
	text := count(t.Cells, "cell")
	if t.Cells != t.Run.Cells {
		text = fmt.Sprintf("%d of %s", t.Cells, count(t.Run.Cells, "cell"))
	}
	separator := ": "
	for _, o := range []record.Outcome{record.OK, record.Error, record.Hang, record.Skipped, record.HarnessError} {
		if n := t.Outcomes[o]; n > 0 {
			text += fmt.Sprintf("%s%d %s", separator, n, o)
			separator = ", "
		}
	}
	if t.Unexercised > 0 {
		text += fmt.Sprintf("; %d not exercised", t.Unexercised)
	}
	return text
}

// count writes a number with its noun in the right form.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
