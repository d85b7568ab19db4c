package reports

import (
	_ "embed"
	"encoding/json"
	"io"
	"slices"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// VerdictsVersion is the version of the format of verdicts.json.
const VerdictsVersion = 1

// VerdictsSchema is the JSON Schema of what [Verdicts] writes.
//
//go:embed verdicts.schema.json
var VerdictsSchema []byte

// The parts of verdicts.json. verdicts.schema.json says what each means.
type (
	verdictsFile struct {
		Version     int              `json:"version"`
		Run         verdictsRun      `json:"run"`
		Recommended *recommendation  `json:"recommended"` // null if nothing is
		Configs     []configVerdict  `json:"configs"`
		Unranked    []unrankedConfig `json:"unranked"`
		Cells       []cellVerdict    `json:"cells"`
	}
	verdictsRun struct {
		Simrun  string         `json:"simrun"`
		Started string         `json:"started"`
		Seed    uint64         `json:"seed"`
		Clock   string         `json:"clock"`
		Timeout record.Seconds `json:"timeout_seconds"`
		Planned int            `json:"planned_cells"`
		Ended   int            `json:"ended_cells"`
	}
	recommendation struct {
		Config   string            `json:"config"`
		Why      []string          `json:"why"`
		Settings []string          `json:"settings"`
		Env      map[string]string `json:"env"`
		Fails    []situationName   `json:"fails"`
	}
	configVerdict struct {
		Config      string         `json:"config"`
		Survival    float64        `json:"survival"`
		Added       record.Seconds `json:"added_seconds"`
		Normal      record.Seconds `json:"normal_seconds"`
		Failed      int            `json:"failed"`
		Hangs       int            `json:"hangs"`
		Leaks       int            `json:"leaks"`
		Tampered    int            `json:"tampered"`
		Unverified  int            `json:"unverified"`
		Sick        int            `json:"sick"`
		DominatedBy []string       `json:"dominated_by"`
	}
	unrankedConfig struct {
		Config string `json:"config"`
		Why    string `json:"why"`
	}
	situationName struct {
		Scenario string `json:"scenario"`
		Project  string `json:"project"`
		Go       string `json:"go"`
	}
	cellVerdict struct {
		situationName
		Config      string             `json:"config"`
		Outcome     record.Outcome     `json:"outcome"`
		Reps        int                `json:"repetitions"`
		OK          int                `json:"ok"`
		Unexercised int                `json:"unexercised"`
		Contended   int                `json:"contended"`
		Median      record.Seconds     `json:"median_seconds"`
		Min         record.Seconds     `json:"min_seconds"`
		Max         record.Seconds     `json:"max_seconds"`
		Classes     []string           `json:"classes"`
		Leaks       []string           `json:"leaks_to"`
		Integrity   []record.Integrity `json:"integrity"`
		Broken      []string           `json:"broken_expectations"`
		Notes       []string           `json:"notes"`
	}
)

// Verdicts writes what a run comes to as JSON, for programs: the recommendation, the configs in the order of
// their ranking, and each cell with its repetitions folded. The cells must have been judged.
func Verdicts(w io.Writer, run *record.Run, cells []record.Cell, r *verdict.Ranking) error {
	file := verdictsFile{
		Version: VerdictsVersion,
		Run: verdictsRun{
			Simrun: run.Simrun, Started: run.Started, Seed: run.Seed, Clock: run.Clock, Timeout: run.Timeout,
			Planned: run.Cells, Ended: len(cells),
		},
		Recommended: recommend(run, r),
		Configs:     []configVerdict{}, Unranked: []unrankedConfig{}, Cells: []cellVerdict{},
	}
	for i := range r.Standings {
		file.Configs = append(file.Configs, newConfigVerdict(&r.Standings[i]))
	}
	for _, u := range r.Unranked {
		file.Unranked = append(file.Unranked, unrankedConfig(u))
	}
	for group := range chunkBy(sorted(run, cells), sameEntry) {
		file.Cells = append(file.Cells, newCellVerdict(run, group))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(file)
}

func recommend(run *record.Run, r *verdict.Ranking) *recommendation {
	a := NewAnswer(run, r)
	if a.Config == "" {
		return nil
	}
	made := &recommendation{Config: a.Config, Why: a.Why, Settings: emptyNotNil(a.Settings), Fails: []situationName{}, Env: map[string]string{}}
	for _, c := range run.Configs {
		if c.Name == a.Config && c.Env != nil {
			made.Env = c.Env
		}
	}
	for _, k := range a.Fails {
		made.Fails = append(made.Fails, situationName{k.Scenario, k.Project, k.Go})
	}
	return made
}

func newConfigVerdict(s *verdict.Standing) configVerdict {
	made := configVerdict{
		Config: s.Config, Survival: s.Survival, Added: s.Added, Normal: s.Normal, Failed: len(s.Failed), Hangs: len(s.Hangs),
		Leaks: len(s.Leaks), Tampered: len(s.Tampered), Unverified: len(s.Unverified), Sick: len(s.Sick), DominatedBy: []string{},
	}
	for _, d := range s.DominatedBy {
		made.DominatedBy = append(made.DominatedBy, d.By)
	}
	return made
}

// newCellVerdict folds the repetitions of a cell. Its lists are sorted, and hold nothing twice.
func newCellVerdict(run *record.Run, cells []record.Cell) cellVerdict {
	e := fold(*run, cells)
	made := cellVerdict{
		situationName: situationName{cells[0].Scenario, cells[0].Project, cells[0].Go},
		Config:        cells[0].Config,
		Outcome:       e.Outcome, Reps: e.Reps, OK: e.OK, Unexercised: e.Unexercised, Contended: e.Contended,
		Median: e.Median, Min: e.Min, Max: e.Max,
	}
	for i := range cells {
		c := &cells[i]
		made.Classes = append(made.Classes, c.Class)
		made.Integrity = append(made.Integrity, c.Integrity)
		made.Broken = append(made.Broken, verdict.Broken(run, c)...)
		made.Notes = append(made.Notes, c.Note)
		for _, l := range c.Leaks {
			made.Leaks = append(made.Leaks, l.Host)
		}
	}
	made.Classes, made.Leaks, made.Broken = distinct(made.Classes), distinct(made.Leaks), distinct(made.Broken)
	made.Integrity, made.Notes = distinct(made.Integrity), distinct(made.Notes)
	return made
}

// distinct sorts a list and removes what is empty or there twice. The result is never nil.
func distinct[S ~string](list []S) []S {
	slices.Sort(list)
	list = slices.Compact(list)
	return emptyNotNil(slices.DeleteFunc(list, func(s S) bool { return s == "" }))
}

// emptyNotNil makes a missing list an empty one: JSON has another word for the one than for the other.
func emptyNotNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
