package verdict

import (
	"cmp"
	"math"
	"slices"

	"github.com/simrun/simrun/record"
)

// Rules say how [Rank] weighs scenarios, and what it demands.
type Rules struct {
	Weights []Weight      // instead of the scenarios' own weights; of several that match, the last holds
	Require []Requirement // a config that lacks one of these is never recommended
}

// A Weight says how much the scenarios count whose names match a glob. 0 leaves them out.
type Weight struct {
	Scenarios string  `json:"scenarios"`
	Weight    float64 `json:"weight"`
}

// A Requirement is something that every cell of a config must fulfil.
type Requirement string

// The requirements.
const (
	NoLeaks       Requirement = "no-leaks" // no host outside saw a private module path
	EveryVerified Requirement = "verified" // all that a cell downloaded and used was checked
)

// Requirements are all that there are.
var Requirements = []Requirement{NoLeaks, EveryVerified}

// A Criterion is one thing that configs are compared by. Less is better in all but Survival.
type Criterion string

// The criteria, in the order in which they decide: the first in which two configs differ puts the better one
// before the other. They are never added up.
const (
	Tampering  Criterion = "accepted tampering"     // situations in which a wrong module stayed
	Leaking    Criterion = "leaks"                  // situations in which a host outside saw a private path
	Sickness   Criterion = "failures without fault" // situations that failed though nothing was wrong
	Unchecked  Criterion = "unverified downloads"   // situations that worked with modules that nobody checked
	Survival   Criterion = "survival"               // share of the weight in which every repetition worked
	Hanging    Criterion = "hangs"                  // situations that reached the deadline
	AddedTime  Criterion = "time added by faults"   // weighted mean, whether or not it worked in the end
	NormalTime Criterion = "time when all is well"  // weighted mean of the healthy situations
)

// Criteria are all that there are, in the order in which they decide.
var Criteria = []Criterion{Tampering, Leaking, Sickness, Unchecked, Survival, Hanging, AddedTime, NormalTime}

// A Ranking says which configs of a run are better than which others, and why. It is a pure function of the
// run's judged cells and the rules.
//
// The unit that counts is a [Situation]. It counts if every ranked config has a verdict there, and if some
// config met its fault; else it is LeftOut. A config survives it if every repetition worked. That it never
// met the fault counts as survived as well, since the build worked, but is shown apart, as Standing.Avoided.
type Ranking struct {
	Rules       Rules
	Situations  []Situation // that count
	LeftOut     []LeftOut
	Standings   []Standing // best first
	Unranked    []Unranked
	Recommended string    // the first of Standings that fulfils Rules.Require; "" if none does
	RunnerUp    string    // the next one that does; "" if none does
	Decided     Criterion // the first criterion in which the runner-up is worse; "" without one
	NoBaseline  []string  // worlds without a healthy cell: their times count whole as added time
}

// A Situation is a scenario, a project and a Go release.
type Situation struct {
	Scenario string  `json:"scenario"`
	Project  string  `json:"project"`
	Go       string  `json:"go"`
	Weight   float64 `json:"weight"`
	Healthy  bool    `json:"healthy"` // the scenario has no fault
}

// A LeftOut is a situation that does not count, and why.
type LeftOut struct {
	Situation
	Why string
}

// An Unranked is a config about which the run says too little, and why.
type Unranked struct {
	Config string
	Why    string
}

// A Standing is how one config did. The lists of keys name one cell per situation, the first repetition that
// shows it. Survival, Avoided, Added and Normal are over the situations that count; the lists but Failed are
// over all in which the config ran, so that no leak is lost.
type Standing struct {
	Config      string
	Survival    float64        // share of the weight, from 0 to 1
	Avoided     float64        // part of Survival in which the config never met the fault
	Added       record.Seconds // what faults cost, beyond the config's own healthy cells
	Normal      record.Seconds // in the healthy situations; 0 if there are none
	Failed      []record.Key   // situations that count and in which not every repetition worked
	Sick        []record.Key   // those of all that failed though nothing was wrong
	Hangs       []record.Key
	Leaks       []record.Key
	Tampered    []record.Key
	Unverified  []record.Key
	Lacks       []Requirement // of Rules.Require
	DominatedBy []Dominance   // best dominator first; empty for an undominated config
}

// Value returns what the standing has for a criterion.
func (s *Standing) Value(c Criterion) float64 {
	switch c {
	case Tampering:
		return float64(len(s.Tampered))
	case Leaking:
		return float64(len(s.Leaks))
	case Sickness:
		return float64(len(s.Sick))
	case Unchecked:
		return float64(len(s.Unverified))
	case Survival:
		return s.Survival
	case Hanging:
		return float64(len(s.Hangs))
	case AddedTime:
		return float64(s.Added)
	case NormalTime:
		return float64(s.Normal)
	}
	return math.NaN()
}

// Disqualifiers returns the criteria for which a config should not be used while there is one that is clean:
// those that come before Unchecked.
func (s *Standing) Disqualifiers() []Criterion {
	var list []Criterion
	for _, c := range []Criterion{Tampering, Leaking, Sickness} {
		if s.Value(c) > 0 {
			list = append(list, c)
		}
	}
	return list
}

// A Dominance says that another config is at least as good by every criterion, and better by some. The keys
// are cells of the dominated config; the cells beside them, of the config By, prove it.
type Dominance struct {
	By      string
	Better  []Criterion  // those by which By is better
	Proof   []record.Key // the situations in which By worked and this one did not, or leaked and the like
	Against []record.Key // the situations in which this one worked and By did not
}

// Rank compares the configs of a run. The cells must have been judged; they may come in any order, and need
// not be complete.
func Rank(run *record.Run, cells []record.Cell, rules Rules) *Ranking {
	g := newGrid(run, cells, rules)
	r := &Ranking{Rules: rules, Situations: g.counted, LeftOut: g.leftOut, Unranked: g.unranked, NoBaseline: g.noBaseline}
	for _, config := range g.configs {
		r.Standings = append(r.Standings, g.standing(config))
	}
	slices.SortStableFunc(r.Standings, func(a, b Standing) int { return compareStandings(&a, &b) })
	for i := range r.Standings {
		r.Standings[i].DominatedBy = g.dominators(&r.Standings[i], r.Standings)
	}
	r.recommend()
	return r
}

// recommend picks the best undominated standing that lacks nothing.
func (r *Ranking) recommend() {
	var fit []*Standing
	for i := range r.Standings {
		if s := &r.Standings[i]; len(s.Lacks)+len(s.DominatedBy) == 0 && s.Survival > 0 {
			fit = append(fit, s)
		}
	}
	if len(fit) > 0 {
		r.Recommended = fit[0].Config
	}
	if len(fit) > 1 {
		r.RunnerUp = fit[1].Config
		r.Decided = decides(fit[0], fit[1])
	}
}

// Standing returns that of a config, or nil.
func (r *Ranking) Standing(config string) *Standing {
	i := slices.IndexFunc(r.Standings, func(s Standing) bool { return s.Config == config })
	if i < 0 {
		return nil
	}
	return &r.Standings[i]
}

// compareStandings puts the better one first.
func compareStandings(a, b *Standing) int {
	for _, c := range Criteria {
		if by := compareBy(c, a, b); by != 0 {
			return by
		}
	}
	return cmp.Compare(a.Config, b.Config)
}

// compareBy returns a negative number if a is better than b by one criterion.
func compareBy(c Criterion, a, b *Standing) int {
	if c == Survival {
		a, b = b, a
	}
	return cmp.Compare(a.Value(c), b.Value(c))
}

// decides returns the first criterion in which two standings differ, or "".
func decides(a, b *Standing) Criterion {
	for _, c := range Criteria {
		if compareBy(c, a, b) != 0 {
			return c
		}
	}
	return ""
}

// Two times that are less apart than the greater of these count as equal when dominance is claimed: what is
// less than half a second on a machine that runs many cells at once is noise.
const (
	noticeable record.Seconds = 0.5
	share      record.Seconds = 0.1 // of the shorter time, as a factor
)

// beats reports whether a is better than b by a criterion, beyond what is noise.
func beats(c Criterion, a, b *Standing) bool {
	if c == AddedTime || c == NormalTime {
		shorter, longer := record.Seconds(a.Value(c)), record.Seconds(b.Value(c))
		return longer > shorter+max(noticeable, share*shorter)
	}
	return compareBy(c, a, b) < 0
}

// dominators returns those that dominate s. That never goes round in a circle: by the countable criteria
// nobody on it could be better than another, and each step would shorten one time by more than noise, while
// the other may grow by noise only. Because of the noise a dominator's dominator need not be one of s.
func (g *grid) dominators(s *Standing, all []Standing) []Dominance {
	var list []Dominance
	for i := range all {
		by := &all[i]
		better := betterBy(by, s)
		if len(better) > 0 && len(betterBy(s, by)) == 0 {
			list = append(list, g.dominance(s, by, better))
		}
	}
	return list
}

// betterBy returns the criteria by which a beats b.
func betterBy(a, b *Standing) []Criterion {
	var list []Criterion
	for _, c := range Criteria {
		if beats(c, a, b) {
			list = append(list, c)
		}
	}
	return list
}
