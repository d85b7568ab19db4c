package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// severalCells is a run of two scenarios, two projects and two repetitions that lacks a cell.
func severalCells() *record.Results {
	r := &record.Results{Run: record.Run{
		Repeat:    2,
		Scenarios: []record.Scenario{{Name: "dead-proxy"}, {Name: "well"}, {Name: "never-run"}},
		Configs:   []record.Config{{Name: "cn-comma"}, {Name: "direct"}},
		Projects:  []record.Project{{Name: "tiny"}, {Name: "large"}},
	}}
	for rep := range 2 {
		for _, k := range []record.Key{
			{Scenario: "dead-proxy", Config: "cn-comma", Project: "tiny"},
			{Scenario: "dead-proxy", Config: "cn-comma", Project: "large"},
			{Scenario: "well", Config: "direct", Project: "tiny"},
		} {
			k.Go, k.Rep = "go1.26.8", 1-rep // cells end in any order
			r.Cells = append(r.Cells, record.Cell{Key: k})
		}
	}
	return r
}

func TestFindCellTakesNamesAsPeopleWriteThem(t *testing.T) {
	tests := []struct {
		word    string
		project string
		rep     int
		others  int
	}{
		{"well/direct", "tiny", 0, 1},
		{"well/direct/2", "tiny", 1, 0},
		{"/well/direct/", "tiny", 0, 1},
		{"well × direct #2", "tiny", 1, 0},
		{"dead-proxy/cn-comma/large", "large", 0, 1},
		{"dead-proxy/cn-comma/large/2", "large", 1, 0},
		{"dead-proxy/cn-comma/2/large/go1.26.8", "large", 1, 0},
	}
	for _, test := range tests {
		t.Run(test.word, func(t *testing.T) {
			c, others, err := findCell(severalCells(), test.word)
			require.NoError(t, err)
			assert.Equal(t, test.project, c.Project)
			assert.Equal(t, test.rep, c.Rep)
			assert.Equal(t, test.others, others)
		})
	}
}

func TestFindCellSaysWhatIsWrongWithAName(t *testing.T) {
	tests := []struct{ word, want string }{
		{"well", `"well" names no cell: a cell is SCENARIO/CONFIG`},
		{"", `"" names no cell`},
		{"wel/direct", `no scenario is called "wel"; did you mean well?`},
		{"well/cn-coma", `no config is called "cn-coma"; did you mean cn-comma?`},
		{"well/direct/tiyn", `"tiyn" is no project, Go release or repetition of it; did you mean tiny?`},
		{"well/direct/0", `"0" is no project, Go release or repetition of it`},
		{"well/direct/1/2", `no one has all of these parts`},
		{"never-run/direct", `it was interrupted before that one ended`},
		{"dead-proxy/cn-comma", `names several cells, such as dead-proxy/cn-comma/tiny/go1.26.8/1 and dead-proxy/cn-comma/large/go1.26.8/1`},
	}
	for _, test := range tests {
		t.Run(test.word, func(t *testing.T) {
			_, _, err := findCell(severalCells(), test.word)
			assert.ErrorContains(t, err, test.want)
			assert.Equal(t, statusInput, statusIn(err))
		})
	}
}
