package reports

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// An Answer is what a ranking comes to, in words: which config to take, and why. The texts hold names from
// the run as they are: [Clean] or escape them.
type Answer struct {
	Config   string       // the recommended one; "" if there is none
	About    string       // what its author says of it
	Settings []string     // shell commands that put it into force; none if it sets nothing
	Why      []string     // two sentences, or three if Settings are not all; if nothing is recommended, one that says why
	Fails    []record.Key // cells that it did not survive, one per situation
}

// NewAnswer puts a ranking into words.
func NewAnswer(run *record.Run, r *verdict.Ranking) Answer {
	best := r.Standing(r.Recommended)
	if best == nil {
		return Answer{Why: []string{noAnswer(r)}}
	}
	a := Answer{Config: best.Config, Fails: best.Failed, Why: []string{howItDid(r, best), whyNotTheNext(r, best)}}
	for _, c := range run.Configs {
		if c.Name == best.Config {
			a.About, a.Settings = c.About, Settings(c)
			a.Why = append(a.Why, alsoTakes(c)...)
		}
	}
	return a
}

// noAnswer says why there is no recommendation.
func noAnswer(r *verdict.Ranking) string {
	switch {
	case len(r.Standings) == 0:
		return "Nothing is recommended: no config has a verdict in at least half of the situations."
	case len(r.Rules.Require) > 0:
		var names []string
		for _, q := range r.Rules.Require {
			names = append(names, string(q))
		}
		return "Nothing is recommended: no config fulfils " + strings.Join(names, " and ") + "."
	}
	return "Nothing is recommended: no config worked in any situation."
}

func howItDid(r *verdict.Ranking, s *verdict.Standing) string {
	n := len(r.Situations)
	text := fmt.Sprintf("It worked in %d of %s, %s by weight", n-len(s.Failed), count(n, "situation"), percent(s.Survival))
	if s.Avoided > 0 {
		text += fmt.Sprintf(" (in %s it never met the fault)", percent(s.Avoided))
	}
	return text + fmt.Sprintf("; faults cost it %s on average, %s.", addedText(s.Added), safety(s))
}

// safety says in a few words what harm a config did.
func safety(s *verdict.Standing) string {
	var harm []string
	add := func(keys []record.Key, what string) {
		if len(keys) > 0 {
			harm = append(harm, fmt.Sprintf("%s in %s", what, count(len(keys), "situation")))
		}
	}
	add(s.Tampered, "a tampered module was accepted")
	add(s.Leaks, "a private path leaked")
	add(s.Unverified, "downloads were not verified")
	if len(harm) == 0 {
		return "no private path leaked, and all that was used was verified"
	}
	return strings.Join(harm, ", ")
}

func whyNotTheNext(r *verdict.Ranking, best *verdict.Standing) string {
	next := r.Standing(r.RunnerUp)
	if next == nil {
		return "No other config that can be recommended is as good by every criterion."
	}
	return fmt.Sprintf("The next one, %s, is worse by %s: %s against %s.",
		next.Config, r.Decided, criterionText(r.Decided, next), criterionText(r.Decided, best))
}

// addedText writes what faults cost. A config that a fault makes fail at once takes less than when all is
// well, which is not worth a negative number.
func addedText(s record.Seconds) string { return secondsText(max(s, 0)) }

// criterionText writes the value that a standing has for a criterion.
func criterionText(c verdict.Criterion, s *verdict.Standing) string {
	switch c {
	case verdict.Survival:
		return percent(s.Survival)
	case verdict.AddedTime, verdict.NormalTime:
		return secondsText(record.Seconds(s.Value(c)))
	}
	return fmt.Sprint(s.Value(c))
}

// percent writes a share. What is not all is never rounded to all, nor something to nothing.
func percent(share float64) string {
	whole := int(100*share + 0.5)
	switch {
	case whole == 100 && share < 1:
		whole = 99
	case whole == 0 && share > 0:
		whole = 1
	}
	return fmt.Sprintf("%d %%", whole)
}

// Settings returns the shell commands that put a config into force: go env -w for what it can keep, and
// exports for the rest.
func Settings(c record.Config) []string {
	var kept, exported []string
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		assignment := name + "=" + shellQuote(c.Env[name])
		if strings.HasPrefix(name, "GO") {
			kept = append(kept, assignment)
		} else {
			exported = append(exported, assignment)
		}
	}
	var lines []string
	if len(kept) > 0 {
		lines = append(lines, "go env -w "+strings.Join(kept, " "))
	}
	if len(exported) > 0 {
		lines = append(lines, "export "+strings.Join(exported, " "))
	}
	return lines
}

// alsoTakes says in a sentence, or none, what a config needs beside its Settings.
func alsoTakes(c record.Config) []string {
	if len(c.Also) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("It also takes %s: see %s.", strings.Join(c.Also, " and "), c.Where)}
}

// shellSafe are the characters, beside letters and digits, that no POSIX shell gives a meaning inside a word.
const shellSafe = "-_./:,@%+="

// shellQuote writes a word so that a POSIX shell reads it as it is.
func shellQuote(word string) string {
	special := func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune(shellSafe, r)
	}
	if word != "" && strings.IndexFunc(word, special) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
