package scenarios

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

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

// String returns "file:line:column", or less where less is known.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// A unit is a suffix and the number that it multiplies by.
type unit struct {
	suffix string
	factor int64
}

// Both tables are sorted for String, which takes the first unit that leaves no remainder.
var (
	rateUnits = []unit{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}
	sizeUnits = []unit{
		{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
	}
)

// The largest values of the language: far more than any network has, and far from overflow.
const (
	maxRate     Rate = 1e12
	maxSize     Size = 1 << 40
	maxDuration      = 24 * time.Hour
)

// ParseRate reads a Rate such as "5mbit". It refuses 0 and more than 1000gbit.
func ParseRate(s string) (Rate, error) {
	n, err := parseUnits(s, rateUnits, "mbit")
	switch {
	case err != nil:
		return 0, err
	case n < 1:
		return 0, fmt.Errorf("%s lets nothing through: a rate is at least 1bit; `packet: {loss: 100%%}` swallows all", quote(s))
	case n > float64(maxRate):
		return 0, fmt.Errorf("%s is out of range: at most %v", quote(s), maxRate)
	}
	return Rate(n), nil
}

// ParseSize reads a Size such as "64KiB". It refuses more than 1024GiB.
func ParseSize(s string) (Size, error) {
	n, err := parseUnits(s, sizeUnits, "KiB")
	switch {
	case err != nil:
		return 0, err
	case n > float64(maxSize):
		return 0, fmt.Errorf("%s is out of range: at most %v", quote(s), maxSize)
	}
	return Size(n), nil
}

// ParseFraction reads a Fraction such as "5%", from 0% to 100%.
func ParseFraction(s string) (Fraction, error) {
	number, unit, err := splitQuantity(s)
	if err != nil {
		return 0, err
	}
	if unit != "%" {
		return 0, fmt.Errorf("%s needs a percent sign; did you mean `%s%%`?", quote(s), asPercent(number, unit))
	}
	// Moving the point within the text instead of dividing keeps "7%" exactly 0.07.
	f, err := strconv.ParseFloat(number+"e-2", 64)
	if err != nil || f > 1 {
		return 0, fmt.Errorf("%s is out of range: 0%% to 100%%", quote(s))
	}
	return Fraction(f), nil
}

// asPercent guesses what a number without a percent sign was meant to be: 0.05 is 5%, 5 is 5%.
func asPercent(number, unit string) string {
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f > 1 || unit != "" || !strings.Contains(number, ".") {
		return number
	}
	return strings.TrimSuffix(Fraction(f).String(), "%")
}

// ParseDuration reads a duration as time.ParseDuration does, with a unit even on 0.
// It refuses what is negative or above 24h.
func ParseDuration(s string) (time.Duration, error) {
	number, unit, err := splitQuantity(s)
	switch {
	case err != nil:
		return 0, err
	case unit == "":
		return 0, fmt.Errorf("%s needs a unit; did you mean `%sms`?", quote(s), number)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%s is not a duration such as `250ms` or `1m30s`", quote(s))
	}
	if d > maxDuration {
		return 0, fmt.Errorf("%s is out of range: at most 24h", quote(s))
	}
	return d, nil
}

// parseUnits reads a number with one of the units; it rounds to a whole number.
func parseUnits(s string, units []unit, usual string) (float64, error) {
	number, suffix, err := splitQuantity(s)
	if err != nil {
		return 0, err
	}
	if suffix == "" {
		return 0, fmt.Errorf("%s needs a unit; did you mean `%s%s`?", quote(s), number, usual)
	}
	i := slices.IndexFunc(units, func(u unit) bool { return u.suffix == suffix })
	if i < 0 {
		return 0, fmt.Errorf("unknown unit %s%s", quote(suffix), suggest(suffix, suffixes(units)))
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number with a unit such as `5%s`", quote(s), usual)
	}
	return math.Round(n * float64(units[i].factor)), nil
}

// splitQuantity splits "250ms" into its number and its unit.
func splitQuantity(s string) (number, unit string, err error) {
	if strings.HasPrefix(s, "-") {
		return "", "", fmt.Errorf("%s is negative", quote(s))
	}
	unit = strings.TrimLeft(s, "0123456789.")
	number = s[:len(s)-len(unit)]
	if strings.Trim(number, ".") == "" {
		return "", "", fmt.Errorf("%s does not begin with a number", quote(s))
	}
	return number, unit, nil
}

func suffixes(units []unit) []string {
	var all []string
	for _, u := range units {
		all = append(all, u.suffix)
	}
	return all
}

// String returns r with the largest unit that needs no fraction, such as "1500kbit".
func (r Rate) String() string { return format(int64(r), rateUnits) }

// String returns s with the largest unit that needs no fraction, such as "64KiB".
func (s Size) String() string { return format(int64(s), sizeUnits) }

func format(n int64, units []unit) string {
	last := units[len(units)-1]
	for _, u := range units {
		if n != 0 && n%u.factor == 0 {
			return strconv.FormatInt(n/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10) + last.suffix
}

// String returns f as a percentage, such as "0.05%". ParseFraction gives the same Fraction back.
func (f Fraction) String() string {
	whole, decimals, _ := strings.Cut(strconv.FormatFloat(float64(f), 'f', -1, 64), ".")
	decimals += strings.Repeat("0", max(0, 2-len(decimals)))
	whole = strings.TrimLeft(whole+decimals[:2], "0")
	if whole == "" {
		whole = "0"
	}
	if decimals = decimals[2:]; decimals != "" {
		return whole + "." + decimals + "%"
	}
	return whole + "%"
}
