//go:build linux

package harness

import (
	"cmp"
	"slices"

	"github.com/simrun/simrun/record"
)

// cut leaves a plan the cells of its shard.
func (p *Plan) cut() {
	all := len(p.cells)
	if s := p.options.Shard; s.Of > 0 {
		mine := shardsOf(p.cells, s.Of, p.options.Earlier)
		var cells []planned
		for i, c := range p.cells {
			if mine[i] == s.Number {
				cells = append(cells, c)
			}
		}
		p.cells = cells
		p.header.Shard = &record.Shard{Number: s.Number, Of: s.Of, Cells: all}
	}
	p.header.Cells = len(p.cells)
}

// shardsOf deals cells out to shards, and returns the number of each cell's shard. The longest cell goes
// first, and each to the shard that has least to do (R. L. Graham, "Bounds on multiprocessing timing
// anomalies", 1969). It depends on its arguments alone, so that all simruns of a run agree.
func shardsOf(cells []planned, shards int, earlier []record.Cell) []int {
	took := durations(cells, earlier)
	order := make([]int, len(cells))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(took[b], took[a]) })
	sums, number := make([]record.Seconds, shards), make([]int, len(cells))
	for _, i := range order {
		least := slices.Index(sums, slices.Min(sums))
		sums[least] += took[i]
		number[i] = least + 1
	}
	return number
}

// durations returns how long each cell took before. What is not known is taken for the mean of what is.
func durations(cells []planned, earlier []record.Cell) []record.Seconds {
	known := map[record.Key]record.Seconds{}
	mean := record.Seconds(1)
	if len(earlier) > 0 {
		var sum record.Seconds
		for i := range earlier {
			known[earlier[i].Key] = earlier[i].RealSeconds
			sum += earlier[i].RealSeconds
		}
		mean = sum / record.Seconds(len(earlier))
	}
	took := make([]record.Seconds, len(cells))
	for i, c := range cells {
		var ok bool
		if took[i], ok = known[c.key]; !ok {
			took[i] = mean
		}
	}
	return took
}

// Skip takes cells out of a plan that are there already, but for those that were contended and are to be run
// again. They must be some of the plan's.
func (p *Plan) Skip(done []record.Cell) error {
	there := map[record.Key]*record.Cell{}
	for i := range done {
		there[done[i].Key] = &done[i]
	}
	var left []planned
	for _, c := range p.cells {
		if facts := there[c.key]; facts == nil {
			left = append(left, c)
		} else if p.again(facts) {
			p.retries = append(p.retries, c.after(facts))
		}
	}
	if len(left)+len(there) != len(p.cells) {
		return wrongInput("the cells that are there are not those of this run")
	}
	p.cells = left
	return nil
}
