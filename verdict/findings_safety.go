package verdict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
)

func (q *inquiry) whatLeaks() {
	if !slices.ContainsFunc(q.run.Projects, func(p record.Project) bool { return len(p.Private) > 0 }) {
		q.lacks("a project with private modules")
		return
	}
	leaky := q.where(leaked)
	names, groups := tally(leaky, configOf)
	for i, name := range names {
		if i == mostStatements {
			q.say(nil, "So did %s.", list(names[i:]))
			break
		}
		q.say(groups[name], "%s showed private paths to %s, in %s.", name, list(leakHosts(groups[name])), plural(len(groups[name]), "cell"))
	}
	clean := slices.DeleteFunc(namesOf(q.cells, configOf), func(name string) bool { return len(groups[name]) > 0 })
	if len(clean) > 0 {
		q.say(nil, "No host outside saw a private path with %s.", list(clean))
	}
}

// leakHosts returns the hosts that saw a private path, in order.
func leakHosts(cells []*record.Cell) []string {
	var hosts []string
	for _, c := range cells {
		for _, l := range c.Leaks {
			if !slices.Contains(hosts, l.Host) {
				hosts = append(hosts, l.Host)
			}
		}
	}
	return hosts
}

func (q *inquiry) sumdbOff() {
	off := q.configsWith(func(c record.Config) bool { return c.Env["GOSUMDB"] == "off" })
	q.isOffNeeded(off)
	if len(off) == 0 {
		q.lacks("a config with GOSUMDB=off")
	}
	unchecked := only(of(q.cells, off...), func(c *record.Cell) bool { return c.Integrity == record.Unverified })
	if len(unchecked) > 0 {
		q.say(unchecked, "With GOSUMDB=off (%s) modules that nobody had checked were used in %s.", list(off), plural(len(unchecked), "cell"))
	}
	accepted := q.where(func(c *record.Cell) bool { return c.Integrity == record.TamperedAccepted })
	rejected := q.where(func(c *record.Cell) bool { return c.Integrity == record.TamperedRejected })
	if len(accepted) > 0 {
		q.say(accepted, "A wrong module was accepted in %s, with %s.", plural(len(accepted), "cell"), list(namesOf(accepted, configOf)))
	}
	if len(rejected) > 0 {
		q.say(rejected, "A wrong module was found out and refused in %s, with %s.", plural(len(rejected), "cell"), list(namesOf(rejected, configOf)))
	}
	if len(accepted)+len(rejected) == 0 {
		q.lacks("a scenario in which a mirror sends a wrong module")
	}
}

// isOffNeeded looks for configs that do without.
func (q *inquiry) isOffNeeded(off []string) {
	var without []string
	for _, s := range q.ranking.Standings {
		if !slices.Contains(off, s.Config) && len(s.Sick)+len(s.Leaks)+len(s.Unverified) == 0 && s.Normal > 0 {
			without = append(without, s.Config)
		}
	}
	if len(without) > 0 {
		q.say(nil, "It is not needed: with the checksum database on, %s worked whenever nothing was wrong, private modules too, and all that they used was verified.",
			list(without))
	}
}

func (q *inquiry) authentication() {
	asked := q.where(func(c *record.Cell) bool {
		return slices.ContainsFunc(c.Requests, func(r record.Request) bool { return r.Status == 401 || r.Status == 407 })
	})
	if len(asked) == 0 {
		q.lacks("a scenario in which a proxy or repository asks for credentials (401 or 407)")
		return
	}
	names, groups := tally(asked, func(c *record.Cell) string {
		if c.Outcome == record.OK {
			return "worked"
		}
		return "failed with " + c.Class
	})
	for _, name := range names {
		q.say(groups[name], "Asked for credentials, %s %s: %s.", plural(len(groups[name]), "cell"), name, list(namesOf(groups[name], configOf)))
	}
}

func (q *inquiry) inspection() {
	broken := q.where(func(c *record.Cell) bool {
		return strings.HasPrefix(c.Class, "tls-") || strings.HasPrefix(c.Class, "git-tls-")
	})
	names, groups := tally(broken, func(c *record.Cell) string { return c.Class })
	for _, class := range names {
		q.say(groups[class], "%s: %s, with %s. %s", class, plural(len(groups[class]), "cell"), list(namesOf(groups[class], configOf)), Remedy(class))
	}
	insecure := q.configsWith(func(c record.Config) bool { return c.Env["GOINSECURE"] != "" })
	if len(insecure) == 0 {
		q.lacks("a config with GOINSECURE")
	} else {
		ok := only(of(q.where(met), insecure...), didWork)
		q.say(ok, "With GOINSECURE (%s) %s worked in which a fault was met.", list(insecure), plural(len(ok), "cell"))
	}
	untrusted := []string{"tls-unknown-authority", "git-tls-untrusted"}
	if !slices.ContainsFunc(names, func(class string) bool { return slices.Contains(untrusted, class) }) {
		q.lacks("a scenario in which a box on the way signs certificates itself, and the client does not know it")
	}
}

func (q *inquiry) toolchain() {
	set := q.configsWith(func(c record.Config) bool { return c.Env["GOTOOLCHAIN"] != "" })
	failed := q.where(func(c *record.Cell) bool { return strings.HasPrefix(c.Class, "toolchain-") })
	for _, config := range set {
		cells := of(q.cells, config)
		q.say(of(failed, config), "%s (GOTOOLCHAIN %s) worked in %d of %s; in %d the toolchain was what failed.",
			config, q.env(config, "GOTOOLCHAIN"), len(only(cells, didWork)), plural(len(cells), "cell"), len(of(failed, config)))
	}
	if len(set) == 0 {
		q.lacks("configs that set GOTOOLCHAIN")
	}
	if len(failed) == 0 {
		q.lacks("a project whose go.mod asks for a newer toolchain than the one that runs")
	}
}

func (q *inquiry) newVersion() {
	late := []string{"unknown-revision", "upstream-unknown-revision", "version-query-no-match"}
	cells := q.where(func(c *record.Cell) bool { return slices.Contains(late, c.Class) })
	if len(cells) == 0 {
		q.lacks("a scenario in which a version is not there at first, and a proxy remembers that")
		return
	}
	names, groups := tally(cells, func(c *record.Cell) string { return fmt.Sprintf("%s (%s)", c.Scenario, c.Class) })
	for _, name := range names {
		q.say(groups[name], "%s: not visible to %s.", name, list(namesOf(groups[name], configOf)))
	}
}
