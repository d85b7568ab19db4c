//go:build linux

package harness

import (
	"fmt"
	"os"
	"path/filepath"
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

// A fate is what becomes of a lookup: the class of the failure, if any, and what the resolver did.
type fate struct {
	class   string
	servers int  // how many of the two name servers it asked
	tcp     bool // it came back over TCP
	waits   bool // it waited until it had asked each server twice
}

// TestWhatResolversMakeOfAnswers gives each answer of the language to Go's own resolver, by way of the go
// command, and to that of the GNU C library, by way of git.
func TestWhatResolversMakeOfAnswers(t *testing.T) {
	t.Parallel()
	requireLab(t)
	for _, resolver := range []struct {
		name   string
		run    string
		expect map[scenarios.DNSAnswer]fate
	}{
		{"go", "[go, mod, tidy]", map[scenarios.DNSAnswer]fate{
			scenarios.AnswerNXDomain:      {class: "dns-no-such-host", servers: 1},
			scenarios.AnswerNoData:        {class: "dns-no-such-host", servers: 1},
			scenarios.AnswerServFail:      {class: "dns-server-failure", servers: 2},
			scenarios.AnswerRefused:       {class: "dns-server-failure", servers: 2},
			scenarios.AnswerTruncated:     {servers: 1, tcp: true},
			scenarios.AnswerOversized:     {class: "dns-server-failure", servers: 2},
			scenarios.AnswerCNAMELoop:     {class: "dns-no-such-host", servers: 1},
			scenarios.AnswerWrongID:       {class: "dns-timeout", servers: 2, waits: true},
			scenarios.AnswerWrongQuestion: {class: "dns-timeout", servers: 2, waits: true},
			scenarios.AnswerCut:           {class: "dns-server-failure", servers: 2},
			scenarios.AnswerPointerLoop:   {class: "dns-server-failure", servers: 2},
			scenarios.AnswerGarbage:       {class: "dns-timeout", servers: 2, waits: true},
		}},
		{"git", "[git, ls-remote, \"https://git.test/acme/lib001\"]", map[scenarios.DNSAnswer]fate{
			scenarios.AnswerNXDomain:      {class: "git-dns-failure", servers: 1},
			scenarios.AnswerNoData:        {class: "git-dns-failure", servers: 1},
			scenarios.AnswerServFail:      {class: "git-dns-failure", servers: 2},
			scenarios.AnswerRefused:       {class: "git-dns-failure", servers: 2},
			scenarios.AnswerTruncated:     {servers: 1, tcp: true},
			scenarios.AnswerOversized:     {servers: 1},
			scenarios.AnswerCNAMELoop:     {class: "git-dns-failure", servers: 1},
			scenarios.AnswerWrongID:       {class: "git-dns-failure", servers: 2, waits: true},
			scenarios.AnswerWrongQuestion: {class: "git-dns-failure", servers: 2, waits: true},
			scenarios.AnswerCut:           {class: "git-dns-failure", servers: 1},
			scenarios.AnswerPointerLoop:   {class: "git-dns-failure", servers: 1},
			scenarios.AnswerGarbage:       {class: "git-dns-failure", servers: 2, waits: true},
		}},
	} {
		t.Run(resolver.name, func(t *testing.T) {
			t.Parallel()
			cells := runAnswers(t, resolver.run)
			for _, answer := range scenarios.DNSAnswers() {
				assert.Equal(t, resolver.expect[answer], fateOf(cells[string(answer)]), "%s: %s", answer, cells[string(answer)].Stderr)
			}
		})
	}
}

// runAnswers runs a command once for each answer of the language, which both name servers give it, and
// returns the cells by answer.
func runAnswers(t *testing.T, command string) map[string]*record.Cell {
	t.Helper()
	text := "world: two-servers\nhosts:\n  a.test: {role: module-proxy}\n  git.test: {role: vcs}\nnameservers: {ns1: {}, ns2: {}}\n" +
		"---\nconfigs: [{name: plain, env: {GOPROXY: \"https://a.test\", GOSUMDB: \"off\"}}]\n" +
		"---\nprojects: [{name: one, modules: {public: 1}, run: " + command + "}]\n"
	for _, answer := range scenarios.DNSAnswers() {
		text += fmt.Sprintf("---\nname: %s\nworld: two-servers\nfaults: [{host: \"ns:*\", dns: {answer: %[1]s}}]\n", answer)
	}
	file := filepath.Join(t.TempDir(), "answers.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	o := libraryOptions(t)
	lib, err := scenarios.Load([]string{file}, scenarios.Options{Vars: o.Vars})
	require.NoError(t, err)
	o.Scenarios, o.Configs, o.Projects = lib.Scenarios, lib.Configs, lib.Projects
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	return runAll(t, p)
}

func fateOf(c *record.Cell) fate {
	servers := map[string]bool{}
	f := fate{class: c.Class, waits: c.Seconds >= 15} // 5 s for each of four queries
	for _, q := range c.Queries {
		servers[q.Server] = true
		f.tcp = f.tcp || q.Net == "tcp"
	}
	f.servers = len(servers)
	return f
}
