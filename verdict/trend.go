package verdict

import (
	"cmp"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
)

// A Trend is how configs did over many runs, such as those of many nights. Only what all runs have is looked
// at: scenarios whose worlds and faults are the same in all, and so on, as [Compare] has it.
type Trend struct {
	Runs    []record.Run  // by the time at which they were started
	Configs []ConfigTrend // as the last run lists them
	Turns   []Turn        // cells that began to fail or to work; the newest first, of one run the failures first
	Omitted []Omission    // what some run lacks, or has otherwise than the last one
	Cells   int           // cells that were looked at in the last run, all repetitions of a cell as one
}

// A ConfigTrend is how one config did in each of the runs. Where a run says too little of it, Ranked is false.
type ConfigTrend struct {
	Config string
	Nights []Night // one for each of Trend.Runs
}

// A Night is how a config did in one run.
type Night struct {
	Ranked   bool
	Survival float64        // as Standing.Survival
	Added    record.Seconds // as Standing.Added
}

// A Turn is the last change of a cell from working to failing, or back.
type Turn struct {
	Cell     record.Key // Rep is 0, and Go empty
	Since    int        // index into Trend.Runs of the first run in which it is as it is now
	Fails    bool       // in some repetition of that run or in all
	Old, New string     // how it ended in the last run before that had it, and in that run
	Turns    int        // how often it turned in all
}

// NewTrend looks at runs, of which there must be one. All cells must have been judged.
func NewTrend(runs []*record.Results) *Trend {
	runs = slices.Clone(runs)
	slices.SortStableFunc(runs, func(a, b *record.Results) int { return strings.Compare(a.Run.Started, b.Run.Started) })
	t := &Trend{}
	runs = t.inAll(runs)
	last := &runs[len(runs)-1].Run
	for _, c := range last.Configs {
		t.Configs = append(t.Configs, ConfigTrend{Config: c.Name})
	}
	var nights []map[record.Key][]*record.Cell
	for _, r := range runs {
		t.Runs = append(t.Runs, r.Run)
		t.addNight(r)
		nights = append(nights, byCell(r))
	}
	now := nights[len(nights)-1]
	t.Cells = len(now)
	for _, key := range sortedKeys(last, now) {
		if turn, ok := lastTurn(key, nights); ok {
			t.Turns = append(t.Turns, turn)
		}
	}
	slices.SortStableFunc(t.Turns, func(a, b Turn) int {
		return cmp.Or(cmp.Compare(b.Since, a.Since), compareBool(b.Fails, a.Fails))
	})
	return t
}

func compareBool(a, b bool) int {
	number := map[bool]int{true: 1}
	return cmp.Compare(number[a], number[b])
}

// inAll returns the runs with only those cells that are the same in all, and notes what is left out.
func (t *Trend) inAll(runs []*record.Results) []*record.Results {
	last := &runs[len(runs)-1].Run
	var same []func(record.Key) bool
	for _, r := range runs[:len(runs)-1] {
		var c Comparison
		same = append(same, c.sameInBoth(&r.Run, last))
		for _, o := range c.Omitted {
			t.omit(o)
		}
	}
	var few []*record.Results
	for _, r := range runs {
		r := &record.Results{Run: r.Run, Cells: slices.DeleteFunc(slices.Clone(r.Cells), func(c record.Cell) bool {
			return slices.ContainsFunc(same, func(same func(record.Key) bool) bool { return !same(c.Key) })
		})}
		few = append(few, r)
	}
	return few
}

// omit adds what one of the runs makes to leave out, once. Of two runs one is older than the other: of many,
// each that lacks something is just one of them.
func (t *Trend) omit(o Omission) {
	what, _, _ := strings.Cut(o.Reason, ":")
	reason := what + ": they are not in all runs, or not the same"
	at := slices.IndexFunc(t.Omitted, func(o Omission) bool { return o.Reason == reason })
	if at < 0 {
		at = len(t.Omitted)
		t.Omitted = append(t.Omitted, Omission{Reason: reason})
	}
	names := &t.Omitted[at].Names
	*names = append(*names, o.Names...)
	slices.Sort(*names)
	*names = slices.Compact(*names)
}

// addNight ranks the configs of a run.
func (t *Trend) addNight(r *record.Results) {
	ranking := Rank(&r.Run, r.Cells, Rules{})
	for i := range t.Configs {
		c := &t.Configs[i]
		var night Night
		if s := ranking.Standing(c.Config); s != nil {
			night = Night{Ranked: true, Survival: s.Survival, Added: s.Added}
		}
		c.Nights = append(c.Nights, night)
	}
}

// byCell returns the cells of a run that ran, by what they share with their repetitions and with the cells
// of other Go releases.
func byCell(r *record.Results) map[record.Key][]*record.Cell {
	return byKey(r, func(record.Key) bool { return true }, true)
}

// lastTurn finds when a cell began to be as it is in the last run.
func lastTurn(key record.Key, nights []map[record.Key][]*record.Cell) (Turn, bool) {
	turn := Turn{Cell: key}
	var before []*record.Cell
	for i, night := range nights {
		cells := night[key]
		if len(cells) == 0 {
			continue
		}
		if before != nil && fails(before) != fails(cells) {
			turn.Turns++
			turn.Since, turn.Fails = i, fails(cells)
			turn.Old, turn.New = strings.Join(endings(before), ", "), strings.Join(endings(cells), ", ")
		}
		before = cells
	}
	return turn, turn.Turns > 0
}

// fails reports whether any repetition of a cell failed.
func fails(cells []*record.Cell) bool { return succeeded(cells) < len(cells) }
