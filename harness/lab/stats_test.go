//go:build linux

package lab

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/scenarios"
)

// assertBinomial rejects that each of n was lost with a probability, if k lost ones are too few or too many.
func assertBinomial(t *testing.T, k, n int, p scenarios.Fraction) {
	t.Helper()
	const alpha = 0.001
	value := binomialTest(k, n, float64(p))
	t.Logf("%d of %d lost, %.2f %% declared, p = %.3f", k, n, float64(p)*100, value)
	assert.Greater(t, value, alpha, "%d of %d lost, where each is with %v", k, n, p)
}

// binomialTest returns twice the probability of the smaller tail that ends at k.
func binomialTest(k, n int, p float64) float64 {
	lower, upper := 0.0, 0.0
	for i := range n + 1 {
		q := math.Exp(logChoose(n, i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
		if i <= k {
			lower += q
		}
		if i >= k {
			upper += q
		}
	}
	return min(1, 2*min(lower, upper))
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// normalTest returns the probability that a standard normal variable is further from 0 than z.
func normalTest(z float64) float64 { return math.Erfc(math.Abs(z) / math.Sqrt2) }

// ksTest returns the largest distance between a distribution function and that of samples, and the probability
// of so large a one or a larger one (Kolmogorov and Smirnov; the approximation is Stephens's of 1970).
func ksTest(samples []float64, cdf func(float64) float64) (distance, p float64) {
	sorted := slices.Sorted(slices.Values(samples))
	n := float64(len(sorted))
	for i, x := range sorted {
		distance = max(distance, cdf(x)-float64(i)/n, float64(i+1)/n-cdf(x))
	}
	lambda := (math.Sqrt(n) + 0.12 + 0.11/math.Sqrt(n)) * distance
	sign := 2.0
	for k := 1.0; k <= 100; k++ {
		p += sign * math.Exp(-2*k*k*lambda*lambda)
		sign = -sign
	}
	return distance, min(max(p, 0), 1)
}

func TestStatistics(t *testing.T) {
	assert.InDelta(t, 0.05, normalTest(1.959964), 1e-6)
	assert.InDelta(t, 0.05, normalTest(-1.959964), 1e-6)
	uniform := func(x float64) float64 { return min(max(x, 0), 1) }
	even := make([]float64, 100)
	for i := range even {
		even[i] = (float64(i) + 0.5) / 100
	}
	d, p := ksTest(even, uniform)
	assert.InDelta(t, 0.005, d, 1e-9)
	assert.InDelta(t, 1, p, 1e-3)
	for i := range even {
		even[i] = math.Pow(even[i], 1.2)
	}
	d, p = ksTest(even, uniform)
	assert.InDelta(t, 0.067+0.005, d, 0.002) // the largest gap of x and x^(1/1.2) is 0.067
	assert.Greater(t, p, 0.5)
	for i := range even {
		even[i] /= 2
	}
	_, p = ksTest(even, uniform)
	assert.Less(t, p, 1e-6)
	assert.InDelta(t, 2*0.0107, binomialTest(1, 10, 0.5), 1e-3)
}
