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

// contentionTexts says for how long a cell had to wait for the machine, if it was too long, and how it ended before it
// was run again because of that.
func contentionTexts(c *record.Cell) (texts []string) {
	for _, t := range c.Tries {
		texts = append(texts, fmt.Sprintf("set aside: %s, %s", resultText(t.Outcome, t.Seconds), pressureText(t.Pressure)))
	}
	if c.Contended {
		texts = append(texts, "its seconds are not to be trusted: "+pressureText(c.Pressure))
	}
	return texts
}

func pressureText(p record.Pressure) string {
	return fmt.Sprintf("it waited %s for a CPU, and the machine %s for memory", millis(p.CPU), millis(p.Memory))
}
