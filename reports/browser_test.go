package reports

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// A browser shows one page in Chromium, and remembers what it asked for and what it complained about.
type browser struct {
	t        *testing.T
	ctx      context.Context
	url      string
	requests []string
	messages []string // of the console, and exceptions
}

// findChromium returns the path of Chromium. The tests that need it are skipped without, unless
// SIMRUN_REQUIRE_LAB is set, as in continuous integration.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "there is no Chromium: apt-get install chromium"
	if os.Getenv("SIMRUN_REQUIRE_LAB") != "" {
		t.Fatal(missing)
	}
	t.Skip("SKIPPED: " + missing)
	return ""
}

// open shows a run in a new browser.
func open(t *testing.T, results *record.Results) *browser {
	t.Helper()
	path := findChromium(t)
	file := filepath.Join(t.TempDir(), "report.html")
	out, err := os.Create(file)
	require.NoError(t, err)
	require.NoError(t, Page(out, results, verdict.Rank(&results.Run, results.Cells, verdict.Rules{}), "simrun-out"))
	require.NoError(t, out.Close())

	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.WSURLReadTimeout(2*time.Minute)) // a busy machine starts it slowly
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, url: "file://" + file}
	require.NoError(t, chromedp.Listen(ctx, b.listen))
	_, err = chromedp.Call(ctx, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(b.url))
	return b
}

// listen gets each event before the command that causes it returns.
func (b *browser) listen(event any) {
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *runtime.EventConsoleAPICalled:
		b.messages = append(b.messages, string(e.Type))
	case *runtime.EventExceptionThrown:
		b.messages = append(b.messages, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.messages = append(b.messages, e.Entry.Text)
	}
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// evaluate returns the value of a JavaScript expression in the page.
func evaluate[T any](b *browser, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return value
}

// run runs JavaScript for what it does.
func (b *browser) run(script string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](script))
}

// checkQuiet fails if the page asked for anything but itself or complained.
func (b *browser) checkQuiet() {
	b.t.Helper()
	for _, url := range b.requests {
		assert.True(b.t, strings.HasPrefix(url, b.url), "the page asked for %s", url)
	}
	assert.NotEmpty(b.t, b.requests, "not even the page itself was seen")
	assert.Empty(b.t, b.messages)
}

// recorded is the run in testdata.
func recorded(t *testing.T) *record.Results {
	t.Helper()
	results, err := record.ReadFile("testdata/run.jsonl")
	require.NoError(t, err)
	return results
}

const visibleRows = `[...document.querySelectorAll("#cells-by-config tbody tr:not(.layer)")].filter(r => !r.hidden).map(r => r.cells[0].textContent)`

const resetFilter = `document.getElementById("filter").reset(); document.getElementById("filter").dispatchEvent(new Event("input"))`

func TestPageInABrowser(t *testing.T) {
	b := open(t, recorded(t))

	t.Run("shows the answer", func(t *testing.T) {
		assert.Equal(t, "Take corp-pipe-private", evaluate[string](b, `document.querySelector("h1").innerText`))
	})
	t.Run("filters rows by name and by outcome", func(t *testing.T) {
		b.do(chromedp.SendKeys(`input[name=scenario]`, "proxy"))
		assert.ElementsMatch(t, []string{"dead-proxy", "hanging-proxy", "corp-proxy-503"}, evaluate[[]string](b, visibleRows))
		b.do(chromedp.SetValue(`select[name=kind]`, "hang"))
		b.run(`document.querySelector("select[name=kind]").dispatchEvent(new Event("input", {bubbles: true}))`)
		assert.ElementsMatch(t, []string{"dead-proxy", "hanging-proxy"}, evaluate[[]string](b, visibleRows))
		assert.Equal(t, "2 rows, 7 configs", evaluate[string](b, `document.querySelector("output").textContent`))
		b.run(resetFilter)
		assert.Len(t, evaluate[[]string](b, visibleRows), 5)
	})
	t.Run("filters columns by name", func(t *testing.T) {
		b.do(chromedp.SendKeys(`input[name=config]`, "cn-"))
		const shown = `[...document.querySelectorAll("#cells-by-config thead th")].filter(h => !h.hidden).length`
		assert.Equal(t, 4, evaluate[int](b, shown), "three configs and the corner")
		b.run(resetFilter)
	})
	t.Run("sorts a layer by a config, and restores the order", func(t *testing.T) {
		const rows = `[...document.querySelectorAll("#cells-by-config tbody")].map(b => [...b.rows].slice(1).map(r => r.cells[0].textContent).join(" ")).join(" | ")`
		before := evaluate[string](b, rows)
		click := chromedp.Click(`#cells-by-config thead th:first-child button`)
		b.do(click, click)
		after := evaluate[string](b, rows)
		assert.NotEqual(t, before, after)
		assert.Equal(t, "descending", evaluate[string](b, `document.querySelector("#cells-by-config th").getAttribute("aria-sort")`))
		b.do(click)
		assert.Equal(t, before, evaluate[string](b, rows))
	})
	t.Run("shows and says what became of a cell", func(t *testing.T) {
		const sign = `getComputedStyle(document.querySelector("#cells-by-config td.k-hang a"), "::before").content`
		assert.Equal(t, `"∞ " / "reached the deadline "`, evaluate[string](b, sign))
	})
	t.Run("unfolds a cell that is clicked", func(t *testing.T) {
		const opened = `[...document.querySelectorAll("details.cell[open] summary")].map(s => s.innerText).join()`
		require.Empty(t, evaluate[string](b, opened))
		b.do(chromedp.Click(`#cells-by-config td.k-hang a`), chromedp.WaitVisible(`details.cell[open] .waterfall`))
		assert.Contains(t, evaluate[string](b, opened), "hang")
	})
	t.Run("copies or selects the command", func(t *testing.T) {
		b.do(chromedp.Click(`#answer .copy`))
		_, err := chromedp.Run(b.ctx, chromedp.Poll[bool](`document.querySelector("#answer .copy").textContent != "Copy"`))
		require.NoError(t, err)
		said := evaluate[string](b, `document.querySelector("#answer .copy").textContent`)
		assert.Contains(t, []string{"Copied", "Selected"}, said)
	})
	t.Run("is usable on a phone", func(t *testing.T) {
		b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
		assert.LessOrEqual(t, evaluate[int](b, `document.documentElement.scrollWidth`), 390, "the page itself never scrolls sideways")
	})
	t.Run("prints the names of the configs", func(t *testing.T) {
		b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
			return err
		}))
		assert.Positive(t, evaluate[int](b, `document.querySelector(".matrix thead th:nth-child(2) button").offsetHeight`))
		assert.Zero(t, evaluate[int](b, `document.querySelector("nav").offsetHeight`))
	})
	b.checkQuiet()
}

const evil = `</script></style><script>window.owned = 1</script><img src=x onerror="window.owned = 1">"'><svg onload="window.owned = 1">{{.}}`

// Every text of a run that some host or file has a say in is hostile here.
func TestHostileTextsDoNotRunInABrowser(t *testing.T) {
	results := recorded(t)
	run := &results.Run
	run.Simrun, run.Started, run.Clock, run.Host.Kernel = evil, evil, evil, evil
	for i := range run.Scenarios {
		run.Scenarios[i].About, run.Scenarios[i].World = evil, evil
	}
	for i := range run.Configs {
		run.Configs[i].About = evil
		run.Configs[i].Env = map[string]string{"GOPROXY": "javascript:window.owned=1//" + evil, evil: evil}
	}
	for i := range results.Cells {
		c := &results.Cells[i]
		c.Stderr, c.Class, c.Note = evil, evil, evil
		c.Hosts, c.Waiting, c.Strays = []string{evil}, []string{evil}, []string{evil}
		c.Leaks = []record.Leak{{Module: evil, Host: evil, How: evil}}
		for j := range c.Requests {
			c.Requests[j].Path, c.Requests[j].Host = evil, evil
		}
		for j := range c.Faults {
			c.Faults[j].Fault = evil
		}
	}
	b := open(t, results)
	b.run(`document.querySelectorAll("details").forEach(d => { d.open = true; })`)
	assert.Contains(t, evaluate[string](b, `document.querySelector("pre").textContent`), "<img src=x onerror=", "the text itself is shown")
	assert.False(t, evaluate[bool](b, `"owned" in window`))
	assert.Equal(t, 1, evaluate[int](b, `document.scripts.length`))
	assert.Zero(t, evaluate[int](b, `document.querySelectorAll("img, svg[onload], a[href^=javascript]").length`))
	b.checkQuiet()
}

func TestALargePageIsUsableInABrowser(t *testing.T) {
	b := open(t, huge(t))
	assert.Len(t, evaluate[[]string](b, visibleRows), 100)
	t.Logf("interactive after %.0f ms", evaluate[float64](b, `performance.timing.domInteractive - performance.timing.navigationStart`))
	t.Logf("complete after %.0f ms", evaluate[float64](b, `performance.timing.domComplete - performance.timing.navigationStart`))
	t.Logf("matrix shown in %.0f ms", evaluate[float64](b,
		`(() => { const t = performance.now(); document.getElementById("matrix").scrollIntoView(); document.querySelector(".matrix td").getBoundingClientRect(); return performance.now() - t; })()`))
	t.Logf("filtered in %.0f ms", evaluate[float64](b,
		`(() => { const t = performance.now(); `+resetFilter+`; document.body.offsetHeight; return performance.now() - t; })()`))
	b.checkQuiet()
}
