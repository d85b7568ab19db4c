package lab

import (
	"math"
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
