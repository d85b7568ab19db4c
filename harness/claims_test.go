//go:build linux

package harness

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// A claim is advice that people follow, and the cells that put it to the test.
type claim struct {
	ID       string
	Claim    string
	If       *effect     // what cells show if the claim is true; a cell's own comes before it
	Cells    []claimCell // the cases in which it is tried
	Verdict  ruling      // that the cells are known to lead to
	Slow     bool        // its cells wait for half a minute and more, so that only make claims runs them
	Untested string      // why there are no cells, or which part of the claim they leave out
}

// A claimCell is one case of a claim: a cell, and what it shows if the claim is true.
type claimCell struct {
	Case     string // the case in words that go on after "when"
	Scenario string
	Config   string
	Project  string // empty means small
	If       *effect
	Refutes  bool // it is known not to show that
	Contrast bool // it shows what the claim is to be compared with, and has no say in the verdict
	Unmet    bool // the faults lie where the command does not go
	Timing   bool // it compares lengths of time; only make claims runs it, as it wants a quiet machine
}

// A ruling is what the cells of a claim lead to.
type ruling string

const (
	held     ruling = "held"
	refuted  ruling = "refuted"
	onlyWhen ruling = "only when"
	untested ruling = "not tested"
)

func (c *claimCell) project() string {
	if c.Project == "" {
		return "small"
	}
	return c.Project
}

// key is the cell's name in a run, and in a time ratio that refers to it.
func (c *claimCell) key() string { return c.Scenario + " " + c.Config + " " + c.project() }

// condition returns what a cell of the claim shows if the claim is true.
func (c *claim) condition(cell *claimCell) *effect {
	if cell.If != nil {
		return cell.If
	}
	return c.If
}

// A tried claim has the cells that were run for it.
type triedClaim struct {
	*claim
	cells map[string]*record.Cell // by claimCell.key
}

// fits reports whether a case of the claim is as the claim says, or what is different.
func (c *triedClaim) fits(one *claimCell) (why []string) {
	return c.condition(one).missing(c.cells[one.key()], c.cells)
}

// rule returns the verdict to which the cells lead.
func (c *triedClaim) rule() ruling {
	fit, all := 0, 0
	for i := range c.Cells {
		one := &c.Cells[i]
		if one.Contrast {
			continue
		}
		all++
		if len(c.fits(one)) == 0 {
			fit++
		}
	}
	switch fit {
	case 0:
		if all == 0 {
			return untested
		}
		return refuted
	case all:
		return held
	}
	return onlyWhen
}

// TestClaims puts advice that people follow to the test: each case must still show what it is known to show.
// Claims that take long, and cases that compare lengths of time, are left to make claims.
func TestClaims(t *testing.T) {
	t.Parallel()
	requireLab(t)
	g := testGo(t)
	all := readClaims(t, g.Vars())
	if !*writeClaims {
		all = slices.DeleteFunc(all, func(c claim) bool { return c.Slow })
	}
	keep := func(c claimCell) bool { return *writeClaims || !c.Timing }
	cells := runClaims(t, g, all, keep)
	for i := range all {
		c := &triedClaim{&all[i], cells}
		t.Run(c.ID, func(t *testing.T) { c.check(t, keep) })
	}
	if *writeClaims && !t.Failed() {
		writeClaimsPage(t, g, all, cells)
	}
}

func (c *triedClaim) check(t *testing.T, keep func(claimCell) bool) {
	t.Helper()
	for i := range c.Cells {
		one := &c.Cells[i]
		if !keep(*one) {
			continue
		}
		cell := c.cells[one.key()]
		require.NotNil(t, cell, "the run has left out %s", one.key())
		require.NotContains(t, []record.Outcome{record.HarnessError, record.Skipped}, cell.Outcome, "%s: %s", one.key(), cell.Note)
		assert.Equal(t, one.Unmet, !cell.Exercised(), "%s: whether a fault bit", one.key())
		why := c.fits(one)
		assert.Equal(t, one.Refutes, len(why) > 0, "%s, when %s: %q\n%s\nhosts: %v", one.key(), one.Case, why, cell.Stderr, cell.Hosts)
	}
	if !slices.ContainsFunc(c.Cells, func(one claimCell) bool { return !keep(one) }) {
		assert.Equal(t, c.Verdict, c.rule())
	}
}

// TestClaimsAreComplete checks that no claim is dropped silently: each has cells, or says why it has none.
func TestClaimsAreComplete(t *testing.T) {
	all := readClaims(t, nil)
	var have []string
	without := 0
	for _, c := range all {
		have = append(have, c.ID)
		assert.NotEmpty(t, c.Claim, c.ID)
		if len(c.Cells) == 0 {
			without++
			assert.Equal(t, untested, c.Verdict, c.ID)
			assert.NotEmpty(t, c.Untested, c.ID)
		}
		for _, one := range c.Cells {
			assert.NotEmpty(t, one.Case, c.ID)
			assert.NotNil(t, c.condition(&one), "%s: %s", c.ID, one.Case)
		}
	}
	var want []string
	for i := range 35 {
		want = append(want, fmt.Sprint(i+1))
	}
	for i := range 9 {
		want = append(want, fmt.Sprintf("W%d", i+1))
	}
	assert.Equal(t, want, have)
	assert.Equal(t, claimsWithoutCells, without, "claims that nothing tests")
}

// claimsWithoutCells is how many claims are not tested yet.
const claimsWithoutCells = 0

// readClaims reads testdata/claims.yaml, in which $go-proxy and the like stand for values of vars.
func readClaims(t *testing.T, vars map[string]string) []claim {
	t.Helper()
	text, err := os.ReadFile("testdata/claims.yaml")
	require.NoError(t, err)
	expanded := string(text)
	for name, value := range vars {
		expanded = strings.ReplaceAll(expanded, "$"+name, value)
	}
	var all struct{ Claims []claim }
	require.NoError(t, yaml.UnmarshalWithOptions([]byte(expanded), &all, yaml.Strict()))
	return all.Claims
}

func testGo(t *testing.T) *Go {
	t.Helper()
	g, err := FindGo(t.Context(), "")
	require.NoError(t, err)
	return g
}

// runClaims runs the cells of the claims, each once: those that compare times by themselves, after the others.
func runClaims(t *testing.T, g *Go, all []claim, keep func(claimCell) bool) map[string]*record.Cell {
	t.Helper()
	o := libraryOptions(t)
	lib, err := scenarios.Load([]string{"../claims", "../scenarios"}, scenarios.Options{Vars: g.Vars()})
	require.NoError(t, err)
	o.Scenarios, o.Configs, o.Projects = lib.Scenarios, lib.Configs, lib.Projects
	planned := map[string]bool{}
	cells := map[string]*record.Cell{}
	for _, timing := range []bool{false, true} {
		if o.Jobs = runtime.NumCPU(); timing {
			o.Jobs = 1
		}
		p := &Plan{options: o, header: header(o)}
		stages := newStages(&o)
		for _, c := range all {
			for _, one := range c.Cells {
				if one.Timing != timing || !keep(one) || planned[one.key()] {
					continue
				}
				planned[one.key()] = true
				planClaim(t, p, stages, lib, &one)
			}
		}
		p.header.Cells = len(p.cells)
		require.NoError(t, p.Run(t.Context(), func(c *record.Cell) error {
			cells[c.Scenario+" "+c.Config+" "+c.Project] = c
			return nil
		}, nil))
	}
	return cells
}

// planClaim adds the cell of a case to a plan.
func planClaim(t *testing.T, p *Plan, stages *stages, lib *scenarios.Library, one *claimCell) {
	t.Helper()
	s := named(t, lib.Scenarios, one.Scenario, func(s *scenarios.Scenario) string { return s.Name })
	config := named(t, lib.Configs, one.Config, func(c *scenarios.Config) string { return c.Name })
	project := named(t, lib.Projects, one.project(), func(p *scenarios.Project) string { return p.Name })
	stage, err := stages.of(t.Context(), s, project, clientClock(s))
	require.NoError(t, err)
	p.describeProject(project, stage.universe)
	require.NoError(t, p.add(s, project, config, p.options.Go[0], stage, stage))
}

func named[T any](t *testing.T, all []*T, name string, nameOf func(*T) string) *T {
	t.Helper()
	i := slices.IndexFunc(all, func(one *T) bool { return nameOf(one) == name })
	require.GreaterOrEqual(t, i, 0, "nothing is called %s", name)
	return all[i]
}
