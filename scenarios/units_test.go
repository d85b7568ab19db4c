package scenarios

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"1bit": 1, "64kbit": 64_000, "5mbit": 5e6, "1.5mbit": 1.5e6, "1gbit": 1e9, "1000gbit": 1e12,
	} {
		got, err := ParseRate(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "5", "mbit", "5 mbit", "5Mbit", "5mb", "-5mbit", "0mbit", "1001gbit", "1e3kbit", "..bit", "1.2.3kbit", "NaNbit"} {
		_, err := ParseRate(text)
		assert.Error(t, err, text)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0B": 0, "1500B": 1500, "20kB": 20_000, "64KiB": 64 << 10, "1.5MiB": 3 << 19, "2GB": 2e9,
	} {
		got, err := ParseSize(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "64", "64kib", "64KB", "-1B", "1025GiB"} {
		_, err := ParseSize(text)
		assert.Error(t, err, text)
	}
}

func TestParseFraction(t *testing.T) {
	for text, want := range map[string]Fraction{"0%": 0, "5%": 0.05, "7%": 0.07, "0.05%": 0.0005, "99.9%": 0.999, "100%": 1} {
		got, err := ParseFraction(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		assert.Equal(t, text, got.String())
	}
	for text, message := range map[string]string{
		"0.05": "\"0.05\" needs a percent sign; did you mean `5%`?",
		"5":    "\"5\" needs a percent sign; did you mean `5%`?",
		"101%": `"101%" is out of range: 0% to 100%`,
		"-1%":  `"-1%" is negative`,
		"%":    `"%" does not begin with a number`,
	} {
		_, err := ParseFraction(text)
		assert.EqualError(t, err, message)
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "250ms": 250 * time.Millisecond, "1m30s": 90 * time.Second, "24h": 24 * time.Hour,
	} {
		got, err := ParseDuration(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "0", "30", "-3s", "25h", "3 s", "s", "3parsecs"} {
		_, err := ParseDuration(text)
		assert.Error(t, err, text)
	}
}

// FuzzUnits checks that what the units print they read back as the same value.
func FuzzUnits(f *testing.F) {
	for _, text := range []string{"5mbit", "64KiB", "0.05%", "99.999%", "1500B", "7%", "3.000000001%"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := ParseRate(text); err == nil {
			again, err := ParseRate(v.String())
			require.NoError(t, err)
			require.Equal(t, v, again)
		}
		if v, err := ParseSize(text); err == nil {
			again, err := ParseSize(v.String())
			require.NoError(t, err)
			require.Equal(t, v, again)
		}
		if v, err := ParseFraction(text); err == nil {
			again, err := ParseFraction(v.String())
			require.NoError(t, err)
			require.Equal(t, v, again)
		}
	})
}
