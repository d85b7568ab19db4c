package pac

import (
	"slices"
	"strings"
	"time"

	"github.com/dop251/goja"
)

// inRange makes a function of a script of one that looks at the time. A last argument "GMT" means that time, else
// it is the machine's own.
func (s *Script) inRange(f func(now time.Time, args []goja.Value) bool) func(goja.FunctionCall) goja.Value {
	return func(call goja.FunctionCall) goja.Value {
		now, args := s.host.Now(), call.Arguments
		if n := len(args); n > 0 && text(args[n-1]) == "GMT" {
			now, args = now.UTC(), args[:n-1]
		}
		return s.vm.ToValue(len(args) > 0 && f(now, args))
	}
}

// text returns a text, and "" for any other value.
func text(v goja.Value) string {
	s, _ := v.Export().(string)
	return strings.ToUpper(s)
}

// number returns a whole number, and -1 for any other value.
func number(v goja.Value) int {
	switch n := v.Export().(type) {
	case int64:
		return int(min(n, 1<<30))
	case float64:
		if n == float64(int32(n)) {
			return int(n)
		}
	}
	return -1
}

var (
	weekdays = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
	months   = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
)

// between reports whether a value is in a range that may go over the end, as from Friday to Monday.
func between(low, v, high int) bool {
	if low <= high {
		return low <= v && v <= high
	}
	return v >= low || v <= high
}

func weekdayRange(now time.Time, args []goja.Value) bool {
	first := slices.Index(weekdays, text(args[0]))
	last := first
	if len(args) > 1 {
		last = slices.Index(weekdays, text(args[1]))
	}
	return first >= 0 && last >= 0 && between(first, int(now.Weekday()), last)
}

// timeRange takes hours; hours and minutes; or hours, minutes and seconds: once, or twice for a range. The end of
// a range of hours is not in it; that of the others is.
func timeRange(now time.Time, args []goja.Value) bool {
	var n []int
	for _, a := range args {
		n = append(n, number(a))
	}
	if slices.Min(n) < 0 {
		return false
	}
	second := now.Hour()*3600 + now.Minute()*60 + now.Second()
	switch len(n) {
	case 1:
		return now.Hour() == n[0]
	case 2:
		return between(n[0]*3600, second, (n[1]*3600+86399)%86400)
	case 4:
		return between(n[0]*3600+n[1]*60, second, n[2]*3600+n[3]*60+59)
	case 6:
		return between(n[0]*3600+n[1]*60+n[2], second, n[3]*3600+n[4]*60+n[5])
	}
	return false
}

// dateRange takes days, months and years, each of them or some of them: once, or twice for a range.
func dateRange(now time.Time, args []goja.Value) bool {
	if len(args) == 1 {
		from, ok := dateOf(args)
		return ok && from.matches(now)
	}
	half := len(args) / 2
	from, ok1 := dateOf(args[:half])
	to, ok2 := dateOf(args[half:])
	if len(args)%2 == 1 || !ok1 || !ok2 || from.kinds() != to.kinds() {
		return false
	}
	today := date{year: from.pick(from.year, now.Year()), month: from.pick(from.month, int(now.Month())), day: from.pick(from.day, now.Day())}
	if from.year < 0 {
		return between(from.ordinal(), today.ordinal(), to.ordinal())
	}
	return from.ordinal() <= today.ordinal() && today.ordinal() <= to.ordinal()
}

// A date is a part of one; what is -1 is not said.
type date struct{ year, month, day int }

// dateOf reads a date of the parts that are there, in the order day, month, year.
func dateOf(args []goja.Value) (d date, ok bool) {
	d = date{-1, -1, -1}
	for _, a := range args {
		n, month := number(a), slices.Index(months, text(a))
		switch {
		case month >= 0 && d.month < 0:
			d.month = month + 1
		case n > 31 && d.year < 0:
			d.year = n
		case n >= 1 && n <= 31 && d.day < 0:
			d.day = n
		default:
			return d, false
		}
	}
	return d, true
}

func (d date) matches(now time.Time) bool {
	return (d.year < 0 || d.year == now.Year()) && (d.month < 0 || d.month == int(now.Month())) && (d.day < 0 || d.day == now.Day())
}

// kinds says which parts there are.
func (d date) kinds() [3]bool { return [3]bool{d.year >= 0, d.month >= 0, d.day >= 0} }

// pick returns now if the part is said, and else leaves it out of comparisons.
func (d date) pick(said, now int) int {
	if said < 0 {
		return -1
	}
	return now
}

// ordinal is a number that later dates have a higher one of.
func (d date) ordinal() int { return (max(d.year, 0)*13+max(d.month, 0))*32 + max(d.day, 0) }
