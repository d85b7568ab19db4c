package verdict

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/record"
)

func TestDivergences(t *testing.T) {
	cell := func(config, release string, o record.Outcome, class string) record.Cell {
		return record.Cell{Key: record.Key{Scenario: "s", Config: config, Project: "p", Go: release}, Outcome: o, Class: class}
	}
	cells := []record.Cell{
		cell("same", "go1.27.4", record.OK, ""), cell("same", "go1.9.7", record.OK, ""),
		cell("newer works", "go1.27.4", record.OK, ""), cell("newer works", "go1.9.7", record.Error, "http-500"), cell("newer works", "go1.26.8", record.OK, ""),
		cell("other class", "go1.9.7", record.Error, "http-500"), cell("other class", "go1.27.4", record.Error, "http-502"),
		cell("flaky", "go1.9.7", record.OK, ""), cell("flaky", "go1.27.4", record.Hang, ""), cell("flaky", "go1.27.4", record.OK, ""),
		cell("flaky and worse", "go1.9.7", record.OK, ""), cell("flaky and worse", "go1.27.4", record.Hang, "hang"), cell("flaky and worse", "go1.27.4", record.Error, "x"),
		cell("simrun failed", "go1.9.7", record.OK, ""), cell("simrun failed", "go1.27.4", record.HarnessError, ""),
	}
	var got []string
	for _, d := range Divergences(cells) {
		got = append(got, d.Scenario+" × "+d.Config+": "+d.String())
	}
	assert.Equal(t, []string{
		"s × newer works: go1.9.7: error http-500; go1.26.8, go1.27.4: ok",
		"s × other class: go1.9.7: error http-500; go1.27.4: error http-502",
		"s × flaky and worse: go1.9.7: ok; go1.27.4: error x or hang hang",
	}, got)
}
