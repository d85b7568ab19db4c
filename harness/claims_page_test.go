//go:build linux

package harness

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

var writeClaims = flag.Bool("claims", false, "run the cells of all claims, those that compare times too, and write docs/claims.md")

const claimsPage = "../docs/claims.md"

const claimsHead = `# Advice, put to the test

What is said about module proxies, in our words, and what the real go command did in cells that put it to the test.
` + "`make claims`" + ` runs the cells and writes this page. A claim is *held* if each of its cases shows what it says, *refuted* if
none does, else it holds *only when*. Cases in italics are comparisons and have no say in that.

To see a cell by yourself: ` + "`simrun run claims scenarios --scenario NAME --config NAME --project NAME`" + `. The cells were run
with %s.

| claims | %d |
| --- | ---: |
| held | %d |
| only when | %d |
| refuted | %d |
| not tested | %d |
`

// writeClaimsPage writes docs/claims.md.
func writeClaimsPage(t *testing.T, g *Go, all []claim, cells map[string]*record.Cell) {
	t.Helper()
	var page strings.Builder
	counts := map[ruling]int{}
	for i := range all {
		c := &triedClaim{&all[i], cells}
		counts[c.rule()]++
		c.write(&page)
	}
	head := fmt.Sprintf(claimsHead, g.Version, len(all), counts[held], counts[onlyWhen], counts[refuted], counts[untested])
	text := head + page.String()
	for _, name := range []string{"go-proxy", "go-sumdb"} {
		text = strings.ReplaceAll(text, g.Vars()[name], "$"+name)
	}
	require.NoError(t, os.WriteFile(claimsPage, []byte(text), 0o644))
}

// write appends the claim's section of the page.
func (c *triedClaim) write(page *strings.Builder) {
	fmt.Fprintf(page, "\n## %s. %s\n\n", c.ID, c.Claim)
	if c.Untested != "" {
		fmt.Fprintf(page, "**Not tested.** %s\n", c.Untested)
	}
	if len(c.Cells) == 0 {
		return
	}
	fmt.Fprintf(page, "%s\n\n", c.sentence())
	page.WriteString("| when | holds | scenario | config | project | what it did | private paths seen by |\n")
	page.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	for i := range c.Cells {
		one := &c.Cells[i]
		cell := c.cells[one.key()]
		when, holds := one.Case, "yes"
		if len(c.fits(one)) > 0 {
			holds = "no"
		}
		if one.Contrast {
			when, holds = "*"+when+"*", ""
		}
		fmt.Fprintf(page, "| %s | %s | %s | %s | %s | %s | %s |\n", when, holds, one.Scenario, one.Config, one.project(),
			did(cell), strings.Join(leaked(cell), ", "))
	}
}

// sentence says the verdict in words.
func (c *triedClaim) sentence() string {
	verdict := c.rule()
	if verdict != onlyWhen {
		return "**" + strings.ToUpper(string(verdict[:1])) + string(verdict[1:]) + ".**"
	}
	var fit []string
	for i := range c.Cells {
		if one := &c.Cells[i]; !one.Contrast && len(c.fits(one)) == 0 {
			fit = append(fit, one.Case)
		}
	}
	return "**Only when** " + strings.Join(fit, "; ") + "."
}

// did says how a cell ended, what it checked and how long it took.
func did(c *record.Cell) string {
	text := fmt.Sprintf("%s, %.1f s", cmp.Or(c.Class, string(c.Outcome)), c.Seconds)
	if c.Integrity != "" {
		text += ", " + string(c.Integrity)
	}
	return text
}
