package scenarios

// A Fraction is a share between 0 and 1, written "5%" or "0.05%".
type Fraction float64

// A Rate is a number of bits per second, written "5mbit", "64kbit" or "1gbit" (powers of 1000).
type Rate int64

// A Size is a number of bytes, written "64KiB", "1MiB" (powers of 1024), "20kB" (of 1000) or "1500B".
type Size int64

// A Position is a place in a file. Line and Column count from 1; a zero Line means unknown.
type Position struct {
	File   string
	Line   int
	Column int
}
