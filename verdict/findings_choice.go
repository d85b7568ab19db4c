package verdict

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
)

// whichProxy ranks the configs once more for each world by itself.
func (q *inquiry) whichProxy() {
	scenarios := make(map[string][]string)
	var worlds []string
	for _, s := range q.run.Scenarios {
		if len(scenarios[s.World]) == 0 {
			worlds = append(worlds, s.World)
		}
		scenarios[s.World] = append(scenarios[s.World], s.Name)
	}
	for _, world := range worlds {
		q.whichProxyIn(world, scenarios[world])
	}
	if len(q.finding.Statements) == 0 {
		q.lacks("a world in which some config works")
	}
}

func (q *inquiry) whichProxyIn(world string, scenarios []string) {
	in := q.where(func(c *record.Cell) bool { return slices.Contains(scenarios, c.Scenario) })
	cells := make([]record.Cell, len(in))
	for i, c := range in {
		cells[i] = *c
	}
	r := Rank(q.run, cells, q.ranking.Rules)
	best := q.bestIn(r)
	if best == nil {
		return
	}
	proxy := q.env(best.Config, "GOPROXY")
	if proxy == "" {
		proxy = "unset"
	}
	ran := of(q.cells, best.Config)
	failures := only(ran, func(c *record.Cell) bool { return slices.Contains(best.Failed, c.Key) })
	time := fmt.Sprintf("a run takes it %.1f s when all is well, and faults add %.1f s", float64(best.Normal), max(float64(best.Added), 0))
	if slices.Contains(r.NoBaseline, world) {
		time = fmt.Sprintf("a run takes it %.1f s", float64(best.Added))
	}
	q.say(failures, "In %s: %s (GOPROXY %s). It worked in %d of %s; %s.",
		world, best.Config, proxy, len(r.Situations)-len(best.Failed), plural(len(r.Situations), "situation"), time)
}

// bestIn returns the best standing of the ranking of one world, or nil. What a config leaks or accepts in
// another world tells against it in all, and then it dominates nobody.
func (q *inquiry) bestIn(world *Ranking) *Standing {
	safe := func(config string) bool {
		s := q.ranking.Standing(config)
		return s != nil && len(s.Leaks)+len(s.Tampered)+len(s.Lacks) == 0
	}
	for i := range world.Standings {
		s := &world.Standings[i]
		dominated := slices.ContainsFunc(s.DominatedBy, func(d Dominance) bool { return safe(d.By) })
		if safe(s.Config) && !dominated && s.Survival > 0 {
			return s
		}
	}
	return world.Standing(world.Recommended)
}

// commaOrPipe compares the configs that differ in nothing but the separators of GOPROXY.
func (q *inquiry) commaOrPipe() {
	for _, comma := range q.run.Configs {
		for _, pipe := range q.run.Configs {
			if len(q.finding.Statements) >= mostStatements {
				return
			}
			if strings.Contains(comma.Env["GOPROXY"], ",") && strings.Contains(pipe.Env["GOPROXY"], "|") && sameButSeparators(comma, pipe) {
				q.compareSeparators(comma.Name, pipe.Name)
			}
		}
	}
	if len(q.finding.Statements) == 0 {
		q.lacks("two configs that differ in nothing but , and | in GOPROXY")
	}
}

// sameButSeparators reports whether two configs are the same when each | in GOPROXY is read as a comma.
func sameButSeparators(a, b record.Config) bool {
	if len(a.Env) != len(b.Env) || a.Cache != b.Cache || a.Retry != b.Retry {
		return false
	}
	for name, value := range a.Env {
		other, ok := b.Env[name]
		if name == "GOPROXY" {
			value, other = strings.ReplaceAll(value, "|", ","), strings.ReplaceAll(other, "|", ",")
		}
		if !ok || value != other {
			return false
		}
	}
	return true
}

func (q *inquiry) compareSeparators(comma, pipe string) {
	saved := q.onlyWorked(pipe, comma)
	lost := q.onlyWorked(comma, pipe)
	faced := len(of(q.where(met), comma))
	if len(saved) == 0 {
		q.say(nil, "The pipe of %s saved none of the %s in which %s met a fault.", pipe, plural(faced, "cell"), comma)
	} else {
		q.say(saved, "The pipe kept %s working where %s failed: %d of the %s in which a fault was met, in %.1f s on average.",
			pipe, comma, len(saved), plural(faced, "cell"), meanSeconds(saved))
	}
	if len(lost) > 0 {
		q.say(lost, "The comma was better in %s: %s.", plural(len(lost), "cell"), list(namesOf(lost, scenarioOf)))
	}
	hangs := only(of(q.cells, pipe), atDeadline)
	if len(hangs) > 0 {
		q.say(hangs, "With the pipe %s ended at the deadline: %s.", plural(len(hangs), "cell"), list(namesOf(hangs, scenarioOf)))
	}
	leaks := only(of(q.cells, pipe), leaked)
	if len(leaks) > 0 {
		q.say(leaks, "The pipe of %s showed private paths outside in %s.", pipe, plural(len(leaks), "cell"))
	}
}

// onlyWorked returns the cells of one config that worked where those of another did not.
func (q *inquiry) onlyWorked(config, other string) []*record.Cell {
	lost := make(map[record.Key]bool)
	for _, c := range only(of(q.cells, other), didFail) {
		key := c.Key
		key.Config = config
		lost[key] = true
	}
	return only(of(q.cells, config), func(c *record.Cell) bool { return didWork(c) && lost[c.Key] })
}

// strategies are the ways to live with an outage, and what the run lacks without them.
var strategies = []struct {
	name string
	is   func(c record.Config) bool
}{
	{"one source and no other", proxies(func(p string) bool { return p != "" && p != "off" && !strings.ContainsAny(p, ",|") })},
	{"a comma list", proxies(func(p string) bool { return remote(p) && strings.Contains(p, ",") && !strings.Contains(p, "|") })},
	{"a pipe to direct", proxies(func(p string) bool { return strings.HasSuffix(p, "|direct") && strings.Count(p, "://") == 1 })},
	{"a second mirror behind a pipe", proxies(func(p string) bool { return strings.Contains(p, "|") && strings.Count(p, "://") > 1 })},
	{"a folder of modules", proxies(func(p string) bool { return strings.HasPrefix(p, "file://") })},
	{"trying again", func(c record.Config) bool { return c.Retry != "" }},
	{"a module cache that is kept", func(c record.Config) bool { return c.Cache != "" }},
}

// proxies is a strategy that shows in GOPROXY, and has nothing else to it.
func proxies(is func(proxy string) bool) func(record.Config) bool {
	return func(c record.Config) bool { return c.Retry == "" && c.Cache == "" && is(c.Env["GOPROXY"]) }
}

func remote(proxy string) bool { return !strings.HasPrefix(proxy, "file://") }

func (q *inquiry) survivingOutage() {
	faced := q.where(met)
	if len(faced) == 0 {
		q.lacks("a scenario whose fault some config meets")
		return
	}
	for _, s := range strategies {
		configs := q.configsWith(s.is)
		cells := of(faced, configs...)
		switch {
		case len(configs) == 0:
			q.lacks("a config whose strategy is " + s.name)
			continue
		case len(cells) == 0:
			q.say(nil, "%s (%s) met no fault: it never asked where one lay.", capital(s.name), list(configs))
			continue
		}
		survived := only(cells, didWork)
		time := ""
		if len(survived) > 0 {
			time = fmt.Sprintf(", in %.1f s on average", meanSeconds(survived))
		}
		q.say(only(cells, didFail), "%s (%s) got through the fault in %d of %s%s.",
			capital(s.name), list(configs), len(survived), plural(len(cells), "cell"), time)
	}
	for _, c := range q.run.Configs {
		if twin := q.plainTwin(c); twin != "" {
			q.compareWithout(c, twin)
		}
	}
}

// plainTwin returns the config that has the same variables as one that tries again or keeps its module cache, and
// does neither; "" if there is none.
func (q *inquiry) plainTwin(c record.Config) string {
	if c.Retry == "" && c.Cache == "" {
		return ""
	}
	twins := q.configsWith(func(t record.Config) bool { return t.Retry == "" && t.Cache == "" && maps.Equal(t.Env, c.Env) })
	if len(twins) == 0 {
		return ""
	}
	return twins[0]
}

// compareWithout says what trying again, or keeping the module cache, changed.
func (q *inquiry) compareWithout(c record.Config, twin string) {
	failed := only(of(q.cells, twin), didFail)
	saved, lost := q.onlyWorked(c.Name, twin), q.onlyWorked(twin, c.Name)
	what := "trying again (" + c.Retry + ")"
	if c.Retry == "" {
		what = "keeping the module cache"
	}
	text := fmt.Sprintf("Of the %s in which %s failed, %s saved %d (%s)", plural(len(failed), "cell"), twin, what, len(saved), c.Name)
	if len(saved) > 0 {
		text += fmt.Sprintf(", in %.1f s on average", meanSeconds(saved))
	}
	if still := only(of(q.cells, c.Name), didFail); len(still) > 0 && c.Retry != "" {
		text += fmt.Sprintf("; where it did not help, the failure came after %.1f s instead of %.1f s", meanSeconds(still), meanSeconds(failed))
	}
	q.say(saved, "%s.", text)
	if len(lost) > 0 {
		q.say(lost, "%s failed in %s in which %s worked.", c.Name, plural(len(lost), "cell"), twin)
	}
}

func (q *inquiry) proxyOrDirect() {
	direct := q.configsWith(func(c record.Config) bool { return c.Env["GOPROXY"] == "direct" })
	if len(direct) == 0 {
		q.lacks("a config with GOPROXY=direct")
		return
	}
	for _, name := range direct {
		if s := q.ranking.Standing(name); s != nil {
			q.say(nil, "%s survived %.0f %% by weight, and takes %.1f s when all is well.", name, 100*s.Survival, float64(s.Normal))
		}
	}
	for _, s := range q.ranking.Standings {
		if q.env(s.Config, "GOPROXY") != "direct" && len(s.Disqualifiers()) == 0 && len(s.Unverified) == 0 {
			q.say(nil, "The best config with a proxy, %s, survived %.0f %%, and takes %.1f s.", s.Config, 100*s.Survival, float64(s.Normal))
			break
		}
	}
	if failures := only(of(q.cells, direct...), didFail); len(failures) > 0 {
		q.say(failures, "Without a proxy these failed: %s.", list(namesOf(failures, scenarioOf)))
	}
	spared := only(of(q.cells, direct...), func(c *record.Cell) bool { return didWork(c) && !c.Exercised() })
	if len(spared) > 0 {
		q.say(spared, "In %s the fault lay where direct never asks.", plural(len(spared), "cell"))
	}
}
