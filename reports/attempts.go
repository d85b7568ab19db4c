package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
)

// attemptTexts tells each attempt of a cell in one line, with the last words of those that did not end well.
func attemptTexts(c *record.Cell) (texts []string) {
	several := slices.ContainsFunc(c.Attempts, func(a record.Attempt) bool { return a.Command > 0 })
	for _, a := range c.Attempts {
		text := fmt.Sprintf("at %s: %s", secondsText(a.Start), resultText(a.Outcome, a.Seconds))
		if several {
			text = fmt.Sprintf("command %d, %s", a.Command+1, text)
		}
		if said := lastLine(a.Stderr); said != "" && a.Outcome != record.OK {
			text += ": " + said
		}
		texts = append(texts, text)
	}
	return texts
}

// lastLine returns the last line of a text that is not empty, without the white space around it.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}
