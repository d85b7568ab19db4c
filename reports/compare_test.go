package reports

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// rulesOfTests are the defaults.
var rulesOfTests = verdict.CompareRules{Alpha: 0.05, Least: 0.25}

// changed is a comparison in which everything occurs.
func changed() *verdict.Comparison {
	key := func(scenario, config string) record.Key {
		return record.Key{Scenario: scenario, Config: config, Project: "small", Go: "go1.26.8"}
	}
	return &verdict.Comparison{
		Rules: rulesOfTests, Compared: 42, Tests: 7, Untested: 35, Machine: 1.1,
		Differences: []verdict.Difference{{What: "seed", Old: "1", New: "2"}},
		Omitted: []verdict.Omission{
			{Reason: "scenarios: they are in the new run only", Names: []string{"new-one", "new-two"}},
			{Reason: "cells: they ran in the old run only", Names: strings.Fields(strings.Repeat("a × b ", 10))},
		},
		Outcomes: []verdict.Change{
			{Kind: verdict.NewFailure, Cell: key("dead-proxy", "cn-pipe"), Old: "ok", New: "error tcp-connect-timeout"},
			{Kind: verdict.NewLeak, Cell: key("healthy-office-cn", "cn-pipe"), Old: "no leak", New: "leaks to goproxy.cn"},
			{Kind: verdict.Mended, Cell: key("slow-proxy", "cn-comma"), Old: "hang-no-output", New: "ok"},
		},
		Flaky: []verdict.Change{{Kind: verdict.Flaky, Cell: key("lossy-uplink", "direct"), Old: "5/5 ok", New: "3/5 ok"}},
		Times: []verdict.TimeChange{
			{Config: "direct", Project: "small", Go: "go1.26.8", Cells: 12, Ratio: 1.5, Old: 4, New: 6.2, P: 0.00049},
			{Scenario: "slow-proxy", Config: "cn-pipe", Project: "small", Go: "go1.26.8", Cells: 1, Ratio: 0.4, Old: 10, New: 4, P: 1e-9},
		},
	}
}

func compared(t *testing.T, form Form, c *verdict.Comparison) string {
	t.Helper()
	old, recent := &record.Run{Started: "2026-01-01T03:00:00Z"}, &record.Run{Started: "2026-01-02T03:00:00Z"}
	var b strings.Builder
	require.NoError(t, Compare(&b, form, old, recent, c))
	return b.String()
}

func TestCompareForms(t *testing.T) {
	for _, form := range []Form{Text, Markdown, HTML} {
		golden(t, "compare-"+string(form), compared(t, form, changed()))
	}
}

func TestCompareSaysWhyTimesAreNotCompared(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*verdict.Comparison)
		want   string
	}{
		"another machine":     {func(c *verdict.Comparison) { c.Machine = 3 }, "the machine needed 3 times as long to set up a cell"},
		"too few repetitions": {func(c *verdict.Comparison) { c.Tests = 0 }, "for 35 times there are too few"},
		"nothing to compare":  {func(c *verdict.Comparison) { c.Tests, c.Untested = 0, 0 }, "no cell ended alike in both runs"},
	} {
		t.Run(name, func(t *testing.T) {
			c := changed()
			tc.change(c)
			got := strings.Join(strings.Fields(compared(t, Text, c)), " ")
			assert.Contains(t, got, "Times are not compared: ")
			assert.Contains(t, got, tc.want)
		})
	}
}

func TestCompareTellsWhatAllConfigsHaveInCommon(t *testing.T) {
	c := changed()
	c.Overall = 1.1
	assert.NotContains(t, compared(t, Text, c), "All configs together")
	c.Overall = 1.6
	assert.Contains(t, compared(t, Text, c), "All configs together: +60 %.")
}

func TestCompareOfWhatIsAlikeSaysSoInOneSentence(t *testing.T) {
	got := compared(t, Text, &verdict.Comparison{Rules: rulesOfTests, Compared: 1, Tests: 1})
	assert.Contains(t, got, "\n\nNothing changed.\n\n1 cell compared")
	got = compared(t, Text, &verdict.Comparison{Rules: rulesOfTests, Compared: 1, Flaky: changed().Flaky})
	assert.Contains(t, got, "\n\nNo regression.\n\n")
}

func TestCompareNamesTheProjectWhereThereAreSeveral(t *testing.T) {
	c := changed()
	assert.NotContains(t, compared(t, Text, c), "small")
	c.Outcomes[0].Cell.Project = "large"
	got := compared(t, Text, c)
	assert.Contains(t, got, "dead-proxy × cn-pipe large")
	assert.Contains(t, got, "healthy-office-cn × cn-pipe small")
}

func TestMarkdownStaysBelowItsLimitAndSaysWhatIsLeftOut(t *testing.T) {
	c := changed()
	for i := range 5000 {
		change := c.Outcomes[i%3]
		change.Cell.Scenario = fmt.Sprintf("scenario-%d", i)
		c.Outcomes = append(c.Outcomes, change)
	}
	got := compared(t, Markdown, c)
	assert.LessOrEqual(t, len(got), MarkdownLimit)
	assert.Greater(t, len(got), MarkdownLimit/2)
	assert.Regexp(t, `\n\d+ more rows left out: `, got)
	assert.Contains(t, got, "### Not compared", "what comes last has its place, too")
}

func TestDocumentsAreSafeFromNames(t *testing.T) {
	const evil = "</script><img src=x onerror=alert(1)> `code` *bold* | [a](http://evil.example) @somebody \x1b[2J\n# title"
	c := changed()
	c.Outcomes[0].Cell.Config, c.Outcomes[0].New = evil, evil
	c.Omitted[0].Names = []string{evil}
	html, markdown, text := compared(t, HTML, c), compared(t, Markdown, c), compared(t, Text, c)
	assert.NotContains(t, html, "<img")
	assert.NotContains(t, markdown, "<img")
	assert.NotContains(t, markdown, "@somebody")
	assert.NotContains(t, markdown, "http://")
	assert.NotContains(t, markdown, "\n# title")
	assert.NotRegexp(t, "[^\\\\][`*\\[]", strings.ReplaceAll(markdown, `\x1b\[2J`, ""))
	assert.NotContains(t, text, "\x1b")
}
