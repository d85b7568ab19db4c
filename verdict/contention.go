package verdict

import "github.com/simrun/simrun/record"

// A cell's seconds are not to be trusted if it had to wait for the machine for longer than the greater of these. By the
// share, rankings take times for the same, too. The threads of a cell that works wait for each other's CPU: with two
// CPUs, half of the cells that take less than a second have at least 50 ms of that when simrun is all that runs.
const (
	mostPressure record.Seconds = 0.05
	pressedShare record.Seconds = 0.10 // of the seconds of the cell
)

// Contended reports whether a cell had to wait so long for a CPU or for memory that its seconds are not to be
// trusted. Part of the waiting may have taken the cell no time, so it errs on the safe side.
func Contended(c *record.Cell) bool {
	return max(c.Pressure.CPU, c.Pressure.Memory) > max(mostPressure, pressedShare*c.Seconds)
}

// calm returns those of some cells that were not contended, or all of them if none is calm: a time of which one
// must doubt is more than none.
func calm(cells []*record.Cell) []*record.Cell {
	if list := only(cells, func(c *record.Cell) bool { return !c.Contended }); len(list) > 0 {
		return list
	}
	return cells
}
