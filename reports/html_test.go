package reports

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

func renderPage(t *testing.T, results *record.Results, rules verdict.Rules) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, Page(&b, results, verdict.Rank(&results.Run, results.Cells, rules), "simrun-out"))
	return b.String()
}

func TestPageOfARecordedRun(t *testing.T) {
	page := renderPage(t, recorded(t), verdict.Rules{})
	body := page[strings.Index(page, "<body>"):strings.Index(page, "<script>")]
	golden(t, "page", body) // without style and script
}

func TestPageLoadsNothing(t *testing.T) {
	page := renderPage(t, recorded(t), verdict.Rules{})
	assert.Contains(t, page, "default-src &#39;none&#39;")
	assert.NotRegexp(t, regexp.MustCompile(`(?i)<(link|img|iframe|object|embed|base)\b|\bsrc=|url\(|@import`), page)
}

func TestLinksOfThePageLeadSomewhere(t *testing.T) {
	page := renderPage(t, recorded(t), verdict.Rules{})
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		ids[m[1]]++
		assert.Equal(t, 1, ids[m[1]], "id %s stands twice", m[1])
	}
	links := regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page, -1)
	require.Greater(t, len(links), 50)
	for _, m := range links {
		assert.Contains(t, ids, m[1])
	}
}

func TestPageSaysWhatARunLacks(t *testing.T) {
	results := recorded(t)
	results.Cells, results.Torn = results.Cells[:20], 22
	page := renderPage(t, results, verdict.Rules{})
	assert.Contains(t, page, "The run is not whole: it has 20 of 35 planned cells.")
	assert.Contains(t, page, "Line 22 of the results file is torn")
	results.Cells = nil
	page = renderPage(t, results, verdict.Rules{})
	assert.Contains(t, page, "The run has no cells, so there is nothing to compare.")
	assert.Contains(t, page, "No recommendation")
}

func TestPageShowsTheRulesOfTheRanking(t *testing.T) {
	rules := verdict.Rules{Weights: []verdict.Weight{{Scenarios: "dead-*", Weight: 7}}, Require: []verdict.Requirement{verdict.NoLeaks}}
	page := renderPage(t, recorded(t), rules)
	assert.Contains(t, page, "Scenarios that match dead-* have the weight 7.")
	assert.Contains(t, page, "Only a config that is no-leaks is recommended.")
}

func TestPageReportsWriteErrors(t *testing.T) {
	results := recorded(t)
	ranking := verdict.Rank(&results.Run, results.Cells, verdict.Rules{})
	require.ErrorIs(t, Page(brokenWriter{}, results, ranking, "simrun-out"), errBroken)
}

func TestTheOrderOfCellsDoesNotChangeThePage(t *testing.T) {
	results := recorded(t)
	want := renderPage(t, results, verdict.Rules{})
	slices.Reverse(results.Cells)
	assert.Equal(t, want, renderPage(t, results, verdict.Rules{}))
}

// huge is a run of 10,000 cells as a real one has them: those of the recorded run, over and over.
func huge(tb testing.TB) *record.Results {
	tb.Helper()
	base, err := record.ReadFile("testdata/run.jsonl")
	require.NoError(tb, err)
	results := &record.Results{Run: base.Run}
	results.Run.Scenarios, results.Run.Configs, results.Run.Cells = nil, nil, 10_000
	for i := range 100 {
		s := base.Run.Scenarios[i%len(base.Run.Scenarios)]
		s.Name = fmt.Sprintf("%s-%03d", s.Name, i)
		results.Run.Scenarios = append(results.Run.Scenarios, s)
	}
	for i := range 100 {
		c := base.Run.Configs[i%len(base.Run.Configs)]
		c.Name = fmt.Sprintf("%s-%03d", c.Name, i)
		results.Run.Configs = append(results.Run.Configs, c)
	}
	for s := range results.Run.Scenarios {
		for c := range results.Run.Configs {
			cell := base.Cells[(s*7+c)%len(base.Cells)]
			cell.Scenario, cell.Config = results.Run.Scenarios[s].Name, results.Run.Configs[c].Name
			results.Cells = append(results.Cells, cell)
		}
	}
	return results
}

// mostPage is the size in bytes that the page of a run of 10,000 cells must not exceed.
const mostPage = 10 << 20

func TestAPageOfManyCellsIsBounded(t *testing.T) {
	page := renderPage(t, huge(t), verdict.Rules{})
	t.Logf("%d bytes", len(page))
	assert.Less(t, len(page), mostPage)
	assert.Contains(t, page, "would make the page too long")
}

func BenchmarkPage10000Cells(b *testing.B) {
	results := huge(b)
	for b.Loop() {
		require.NoError(b, Page(io.Discard, results, verdict.Rank(&results.Run, results.Cells, verdict.Rules{}), "simrun-out"))
	}
}
