package reports

import (
	"fmt"
	"io"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// Trend writes how configs did over many runs, and which cells began to fail or to work when. The only errors
// are those of w, and an unknown form.
func Trend(w io.Writer, form Form, t *verdict.Trend) error {
	first, last := t.Runs[0], t.Runs[len(t.Runs)-1]
	d := &document{
		Title: fmt.Sprintf("simrun: %s from %s to %s", count(len(t.Runs), "run"), minute(first.Started), minute(last.Started)),
		Lead:  []string{trendLead(t), count(t.Cells, "cell") + " of each run, all repetitions of a cell as one."},
	}
	d.addConfigTrends(t.Configs)
	d.addTurns(t)
	d.addOmissions(t.Omitted)
	return d.write(w, form)
}

// trendLead says what is new in the last run.
func trendLead(t *verdict.Trend) string {
	broke, mended := 0, 0
	for _, turn := range t.Turns {
		switch {
		case turn.Since < len(t.Runs)-1:
		case turn.Fails:
			broke++
		default:
			mended++
		}
	}
	if broke+mended == 0 {
		return "In the last run, each cell works or fails as in the one before."
	}
	return fmt.Sprintf("In the last run, %s began to fail, and %s to work.", count(broke, "cell"), count(mended, "cell"))
}

// addConfigTrends shows a line for each config.
func (d *document) addConfigTrends(configs []verdict.ConfigTrend) {
	s := section{
		Title: "Configs",
		Intro: "Survival is the share of the weight of all situations in which every repetition worked; run by run, a full block is all of it, and a dot is a run that says too little. Added is what faults cost on average.",
		Head:  []string{"Config", "Survival", "Run by run", "Added"},
	}
	for _, c := range configs {
		s.Rows = append(s.Rows, []string{
			c.Config,
			firstToLast(c.Nights, func(n verdict.Night) string { return percent(n.Survival) }),
			sparkline(c.Nights),
			firstToLast(c.Nights, func(n verdict.Night) string { return secondsText(max(n.Added, 0)) }),
		})
	}
	d.add(s)
}

// firstToLast writes the values of the first and of the last night that have one.
func firstToLast(nights []verdict.Night, text func(verdict.Night) string) string {
	var values []string
	for _, n := range nights {
		if n.Ranked {
			values = append(values, text(n))
		}
	}
	switch {
	case len(values) == 0:
		return "-"
	case values[0] == values[len(values)-1]:
		return values[0]
	}
	return values[0] + " → " + values[len(values)-1]
}

// mostNights is how many of the last nights a sparkline shows.
const mostNights = 30

// sparkline draws survival as a block of eight heights for each night.
func sparkline(nights []verdict.Night) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	line := ""
	for _, n := range nights[max(0, len(nights)-mostNights):] {
		if !n.Ranked {
			line += "·"
			continue
		}
		line += string(blocks[min(int(n.Survival*float64(len(blocks))), len(blocks)-1)])
	}
	return line
}

// addTurns shows the cells that turned, the newest first.
func (d *document) addTurns(t *verdict.Trend) {
	s := section{Title: "What turned, and when", Head: []string{"Cell", "Since", "Before", "Since then"}}
	for _, turn := range t.Turns {
		since := minute(t.Runs[turn.Since].Started)
		if turn.Turns > 1 {
			since += fmt.Sprintf(" (turned %d times)", turn.Turns)
		}
		s.Rows = append(s.Rows, []string{turnName(t, turn.Cell), since, turn.Old, turn.New})
	}
	d.add(s)
}

// minute shortens a time of RFC 3339 to its minute. Two runs do not start in the same one.
func minute(rfc3339 string) string {
	const digits = len("2006-01-02T15:04")
	if len(rfc3339) < digits {
		return rfc3339
	}
	return strings.Replace(rfc3339[:digits], "T", " ", 1)
}

// turnName names a cell by what tells it from others.
func turnName(t *verdict.Trend, k record.Key) string {
	n := namer{project: len(t.Runs[len(t.Runs)-1].Projects) > 1}
	return n.cell(k)
}
