package harness

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// TestSearchDomainsMultiplyQueries runs the same config at a build machine and in a pod, whose resolver
// tries three search domains before it asks for the name itself.
func TestSearchDomainsMultiplyQueries(t *testing.T) {
	t.Parallel()
	requireLab(t)
	o := libraryOptions(t)
	o.Scenarios = slices.DeleteFunc(o.Scenarios, func(s *scenarios.Scenario) bool {
		return s.Name != "healthy-ci-cloud" && s.Name != "healthy-kubernetes-pod"
	})
	o.Configs = slices.DeleteFunc(o.Configs, func(c *scenarios.Config) bool { return c.Name != "corp-only" })
	o.Projects = o.Projects[:1]
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	cells := runAll(t, p)
	machine, pod := questions(cells["healthy-ci-cloud"]), questions(cells["healthy-kubernetes-pod"])
	assert.Len(t, machine, 2, "A and AAAA")
	assert.Len(t, pod, 4*len(machine))
	assert.Equal(t, "nxdomain", pod["goproxy.corp.example.ci.svc.cluster.local A"])
	assert.Equal(t, "noerror", pod["goproxy.corp.example A"])
}

// questions returns what a cell asked its name servers, and what they answered. How often it asked depends
// on how many connections race each other.
func questions(c *record.Cell) map[string]string {
	all := map[string]string{}
	for _, q := range c.Queries {
		all[q.Name+" "+q.Type] = q.Answer
	}
	return all
}
