package verdict

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/simrun/simrun/record"
)

// parties say by the beginning of a class who has to act. The first that fits holds.
var parties = []struct{ party, classes string }{
	{"your settings", "toolchain- go-variable- file-proxy- network-disabled govcs- goproxy- creds- disabled- env- sumdb-config vcs-tool git-too-old redirect-insecure module-files"},
	{"your machine", "cache-"},
	{"your forward proxy", "fwdproxy-"},
	{"your name server", "dns-"},
	{"the checksum database, or the way to it", "sumdb- gosum-"},
	{"the module's origin, or the way to it", "vanity- git- ssh- unknown-revision invalid-pseudo go-mod module- version-query"},
	{"the module proxy", "http- h2- tls- proxy- zip- upstream- storage- policy- redirect- connection-closed download- slow-"},
	{"the way to the module proxy", "tcp-"},
	{"nobody that the go command names: it waited", "hang attempt-"},
}

// party returns who has to act on a class.
func party(class string) string {
	for _, p := range parties {
		for prefix := range strings.FieldsSeq(p.classes) {
			if strings.HasPrefix(class, prefix) {
				return p.party
			}
		}
	}
	return "not known"
}

func (q *inquiry) whoseFault() {
	failures := q.where(didFail)
	names, groups := tally(failures, func(c *record.Cell) string { return party(c.Class) })
	for _, name := range names {
		classes, byClass := tally(groups[name], func(c *record.Cell) string { return c.Class })
		for i, class := range classes {
			classes[i] = fmt.Sprintf("%s (%d)", class, len(byClass[class]))
		}
		q.say(groups[name], "%s: %s. %s.", capital(name), plural(len(groups[name]), "cell"), list(classes))
	}
	if len(failures) == 0 {
		q.lacks("a cell that failed")
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// proxyAnswers lists the statuses of healthy cells: whether "not found" is one that leads on, and whether the
// checksum database can be had there.
func (q *inquiry) proxyAnswers() {
	answers := make(map[string]map[string]bool) // by host, then "kind status"
	for _, c := range q.where(healthy) {
		for _, r := range c.Requests {
			if kind := answerKind(&r); kind != "" && r.Status > 0 {
				if answers[r.Server] == nil {
					answers[r.Server] = make(map[string]bool)
				}
				answers[r.Server][kind+" with "+strconv.Itoa(r.Status)] = true
			}
		}
	}
	for _, host := range slices.Sorted(maps.Keys(answers)) {
		q.say(nil, "%s answers %s.", host, list(slices.Sorted(maps.Keys(answers[host]))))
	}
	if len(answers) == 0 {
		q.lacks("healthy cells in which a module proxy is asked")
		return
	}
	q.lacks("products: all hosts here are simrun's own servers, which follow the protocol")
}

// answerKind says in which respect the answer to a request matters; "" if in none.
func answerKind(r *record.Request) string {
	switch {
	case strings.Contains(r.Path, "/sumdb/") && strings.HasSuffix(r.Path, "/supported"):
		return "/supported"
	case (strings.Contains(r.Path, "/@v/") || strings.HasSuffix(r.Path, "/@latest")) && r.Status >= 400:
		return "what it does not have"
	}
	return ""
}

func (q *inquiry) firewall() {
	groups := make(map[string][]string) // configs by the hosts that they reach
	for _, c := range q.run.Configs {
		key := strings.Join(reached(of(q.cells, c.Name)), ", ")
		groups[key] = append(groups[key], c.Name)
	}
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, ","), strings.Count(b, ",")), strings.Compare(a, b))
	})
	for _, key := range keys {
		q.say(nil, "%s: %s.", list(groups[key]), cmp.Or(key, "no host at all"))
	}
	if len(q.where(redirected)) == 0 {
		q.lacks("a proxy that redirects to a storage host, as public ones do for big zip files: allow that host, too")
	}
	strays := q.where(func(c *record.Cell) bool { return len(c.Strays) > 0 })
	if len(strays) > 0 {
		q.say(strays, "Addresses outside the world were tried in %s.", plural(len(strays), "cell"))
	}
}

// reached returns the hosts that cells contacted, name servers aside, by name.
func reached(cells []*record.Cell) []string {
	hosts := make(map[string]bool)
	for _, c := range cells {
		for _, h := range c.Hosts {
			hosts[h] = hosts[h] || !strings.HasPrefix(h, "ns:")
		}
	}
	maps.DeleteFunc(hosts, func(_ string, counts bool) bool { return !counts })
	return slices.Sorted(maps.Keys(hosts))
}

// redirected reports whether a server sent the go command elsewhere.
func redirected(c *record.Cell) bool {
	return slices.ContainsFunc(c.Requests, func(r record.Request) bool { return r.Status > 300 && r.Status < 309 && r.Status != 304 })
}

func (q *inquiry) hanging() {
	hangs := q.where(atDeadline)
	names, groups := tally(hangs, scenarioOf)
	for i, name := range names {
		if i == mostStatements {
			break
		}
		first := groups[name][0]
		text := ""
		if len(first.Waiting) > 0 {
			text = ": waiting for " + first.Waiting[0]
		}
		q.say(groups[name], "%s had not ended after %.0f s in %s%s.", name, float64(first.Seconds), plural(len(groups[name]), "cell"), text)
	}
	q.longestSilences()
	if len(hangs) == 0 {
		q.lacks("a cell that reached the deadline")
	}
}

// longestSilences says how long the go command bore silence in the cells that ended by themselves.
func (q *inquiry) longestSilences() {
	type silent struct {
		cell *record.Cell
		gap  record.Seconds
	}
	longest := make(map[string]silent) // by scenario
	for _, c := range q.where(func(c *record.Cell) bool { return !atDeadline(c) && met(c) }) {
		if gap := silence(c); gap > longest[c.Scenario].gap {
			longest[c.Scenario] = silent{c, gap}
		}
	}
	names := slices.SortedFunc(maps.Keys(longest), func(a, b string) int {
		return cmp.Or(cmp.Compare(longest[b].gap, longest[a].gap), strings.Compare(a, b))
	})
	for _, name := range names[:min(len(names), mostStatements)] {
		s := longest[name]
		if s.gap >= 1 {
			q.say([]*record.Cell{s.cell}, "%s: silence of %.1f s at most, then %s after %.1f s.", name, float64(s.gap), s.cell.Outcome, float64(s.cell.Seconds))
		}
	}
}

// silence returns the longest time in which a cell saw nothing from the network.
func silence(c *record.Cell) record.Seconds {
	heard := []record.Seconds{0, c.Seconds}
	for _, r := range c.Requests {
		heard = append(heard, r.First, r.End)
	}
	for _, n := range c.Conns {
		heard = append(heard, n.Established, n.Tunnel, n.Secured)
	}
	for _, d := range c.Queries {
		heard = append(heard, d.End)
	}
	slices.Sort(heard)
	var longest record.Seconds
	for i := 1; i < len(heard); i++ {
		if heard[i] <= c.Seconds {
			longest = max(longest, heard[i]-heard[i-1])
		}
	}
	return longest
}
