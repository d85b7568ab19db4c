package scenarios

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Problem is one thing that is wrong with a declared file.
type Problem struct {
	Pos     Position
	Message string
	Excerpt string // the line at Pos, made printable; empty if there is none, or if it seems to have a password in it
}

// A LoadError is everything that Load found wrong, sorted by place.
type LoadError struct{ Problems []Problem }

// A screen of 24 lines holds this many problems of three lines each, and the line that counts the rest.
const maxShown = 7

// Error returns what a user is shown: for each problem its place, the message, and the line with a caret.
// It shows no more than fits on a screen, and says how many it left out.
func (e *LoadError) Error() string {
	var b strings.Builder
	for _, p := range e.Problems[:min(len(e.Problems), maxShown)] {
		b.WriteString(p.String() + "\n")
	}
	if more := len(e.Problems) - maxShown; more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// String returns "file:line:column: message", and below it the line with a caret under the place.
func (p Problem) String() string {
	head := fmt.Sprintf("%s: %s", printable(p.Pos.String()), p.Message)
	if p.Excerpt == "" {
		return head
	}
	number := strconv.Itoa(p.Pos.Line)
	line, column := window(p.Excerpt, p.Pos.Column)
	margin := strings.Repeat(" ", len(number))
	return fmt.Sprintf("%s\n  %s | %s\n  %s | %s^", head, number, line, margin, strings.Repeat(" ", column-1))
}

// window cuts a long line down to what surrounds a column, and returns the column in what is left.
func window(line string, column int) (string, int) {
	const before, width = 60, 100
	runes := []rune(line)
	column = max(1, min(column, len(runes)+1))
	if column > before {
		cut := column - before
		runes = append([]rune("…"), runes[cut:]...)
		column -= cut - 1
	}
	if len(runes) > width {
		runes = append(runes[:width:width], '…')
	}
	return string(runes), column
}

// printable keeps what a file contains from steering the terminal. Columns stay as they are.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, line)
}

// quote returns s in quotes, and not too much of it.
func quote(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}

// problems collects what is wrong. The zero value is ready.
type problems struct{ list []Problem }

func (p *problems) add(src *source, pos Position, message string) {
	line := src.line(pos.Line)
	if hasCredential(line) {
		line = "" // errors end up in logs
	}
	p.list = append(p.list, Problem{pos, Redact(message), printable(line)})
}

// err returns nil, or a *LoadError with all problems sorted by place, each once.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		return cmp.Or(
			strings.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	return &LoadError{slices.Compact(p.list)}
}

// suggest returns the end of a message about a word that is not one of those known:
// the nearest of them, or all if none is near and they are few, or nothing.
func suggest(word string, known []string) string {
	const few = 12
	if near, ok := Nearest(word, known); ok {
		return fmt.Sprintf("; did you mean `%s`?", near)
	}
	if len(known) == 0 || len(known) > few {
		return ""
	}
	return "; known: " + strings.Join(known, ", ")
}

// Nearest returns the known word that word is most likely a slip of, if there is one: that which needs the
// fewest edits, or contains word, or is part of it. Case and the kind of hyphen make no difference.
func Nearest(word string, known []string) (string, bool) {
	best, distance := "", 1+max(1, len(word)/3)
	for _, k := range known {
		if d := editDistance(word, k); d < distance {
			best, distance = k, d
		}
	}
	if best == "" && len(word) >= 3 {
		i := slices.IndexFunc(known, func(k string) bool { return strings.Contains(k, word) || k != "" && strings.Contains(word, k) })
		if i >= 0 {
			best = known[i]
		}
	}
	return best, best != ""
}

// editDistance counts the letters to insert, delete, replace or swap with their neighbour to get from
// a to b (optimal string alignment). Case and the kind of hyphen cost nothing, as they are slips.
func editDistance(a, b string) int {
	const longest = 100 // bounds the work on words from hostile files
	if len(a) > longest || len(b) > longest {
		return math.MaxInt
	}
	a, b = fold(a), fold(b)
	var before []int // the row before last
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+differ(a[i], b[j]))
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

func differ(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}
