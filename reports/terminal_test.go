package reports

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o666))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run go test -update if this is meant")
}

func render(t *testing.T, run record.Run, cells []record.Cell, opts TerminalOptions) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, Terminal(&b, Summarize(run, cells), opts))
	return b.String()
}

// small is a run of three scenarios and three configs in which every outcome occurs.
func small() (record.Run, []record.Cell) {
	run := record.Run{
		Version: record.Version, Simrun: "v0.1.0", Seed: 7, Clock: "virtual", Timeout: 60, Repeat: 1, Cells: 9,
		Scenarios: []record.Scenario{
			{Name: "all-well", World: "office-cn"},
			{Name: "dead-proxy", World: "office-cn", Expect: []record.Expectation{
				{Configs: "*-pipe", Outcome: record.OK, Where: "packet/dead-proxy.yaml:9:5"},
			}},
			{Name: "silent-proxy", World: "office-cn"},
		},
		Configs:  []record.Config{{Name: "cn-comma"}, {Name: "cn-pipe"}, {Name: "direct-only"}},
		Projects: []record.Project{{Name: "tiny"}},
	}
	return run, []record.Cell{
		cell("all-well", "cn-comma", record.OK, 0.214),
		cell("all-well", "cn-pipe", record.OK, 0.208),
		cell("all-well", "direct-only", record.Skipped, 0, note("git is not installed")),
		cell("dead-proxy", "cn-comma", record.Error, 30.04),
		cell("dead-proxy", "cn-pipe", record.Error, 31, class("tcp-connect-timeout")),
		cell("dead-proxy", "direct-only", record.OK, 9.996, bit(0)),
		cell("silent-proxy", "cn-comma", record.Hang, 60, bit(3)),
		cell("silent-proxy", "cn-pipe", record.HarnessError, 0, note("open /dev/net/tun:\n\tno such device")),
		cell("silent-proxy", "direct-only", record.OK, 181.2, bit(0)),
	}
}

func cell(scenario, config string, o record.Outcome, s record.Seconds, more ...func(*record.Cell)) record.Cell {
	c := record.Cell{Outcome: o, Seconds: s}
	c.Key = record.Key{Scenario: scenario, Config: config, Project: "tiny", Go: "go1.26.8"}
	for _, f := range more {
		f(&c)
	}
	return c
}

func note(s string) func(*record.Cell)  { return func(c *record.Cell) { c.Note = s } }
func class(s string) func(*record.Cell) { return func(c *record.Cell) { c.Class = s } }
func rep(n int) func(*record.Cell)      { return func(c *record.Cell) { c.Rep = n } }
func bit(n int64) func(*record.Cell) {
	return func(c *record.Cell) { c.Faults = []record.FaultCount{{Fault: "goproxy.cn packet loss", Bit: n}} }
}

// large is a run of so many scenarios and configs, with names of uneven length.
func large(scenarios, configs int) (record.Run, []record.Cell) {
	run := record.Run{Simrun: "v0.1.0", Clock: "virtual", Timeout: 60, Repeat: 1, Cells: scenarios * configs}
	for i := range scenarios {
		name := fmt.Sprintf("%s-%03d", []string{"dead-proxy", "slow", "checksum-database-answers-with-errors-after"}[i%3], i)
		run.Scenarios = append(run.Scenarios, record.Scenario{Name: name})
	}
	for i := range configs {
		name := fmt.Sprintf("%s-%02d", []string{"cn-comma", "direct", "goproxy-cn-then-default-then-direct-with-pipes"}[i%3], i)
		run.Configs = append(run.Configs, record.Config{Name: name})
	}
	outcomes := []record.Outcome{record.OK, record.OK, record.Error, record.Hang}
	var cells []record.Cell
	for s, scenario := range run.Scenarios {
		for c, config := range run.Configs {
			cells = append(cells, cell(scenario.Name, config.Name, outcomes[(s+c)%4], record.Seconds(s+c)))
		}
	}
	return run, cells
}

func TestTerminal(t *testing.T) {
	run, cells := small()
	golden(t, "small", render(t, run, cells, TerminalOptions{}))
	golden(t, "colour", render(t, run, cells, TerminalOptions{Color: true}))
	golden(t, "narrow", render(t, run, cells, TerminalOptions{Width: 44}))
}

func TestTerminalRepetitions(t *testing.T) {
	run, _ := small()
	run.Repeat, run.Cells = 3, 12
	cells := []record.Cell{
		cell("all-well", "cn-comma", record.OK, 0.20),
		cell("all-well", "cn-comma", record.OK, 0.25, rep(1)),
		cell("all-well", "cn-comma", record.OK, 0.21, rep(2)),
		cell("all-well", "cn-pipe", record.OK, 0.20),
		cell("all-well", "cn-pipe", record.Error, 3, rep(1)),
		cell("all-well", "cn-pipe", record.OK, 0.21, rep(2)),
		cell("dead-proxy", "cn-pipe", record.Error, 30),
		cell("dead-proxy", "cn-pipe", record.Error, 30, rep(1)),
		cell("dead-proxy", "cn-comma", record.OK, 1),
		cell("dead-proxy", "cn-comma", record.HarnessError, 0, rep(1), note("lab: out of memory")),
	}
	golden(t, "repetitions", render(t, run, cells, TerminalOptions{Width: 100}))
}

func TestTerminalSeveralProjectsAndReleases(t *testing.T) {
	run, cells := small()
	for _, c := range cells[:3] {
		c.Project = "large"
		cells = append(cells, c)
		c.Go = "go1.9"
		cells = append(cells, c)
	}
	golden(t, "projects", render(t, run, cells, TerminalOptions{}))
}

func TestTerminalHostileNames(t *testing.T) {
	const evil = "\x1b[2J\x1b]0;owned\x07all\u202eok\r\n\x9bcell\xff"
	run := record.Run{
		Simrun: evil, Clock: evil, Cells: 2,
		Scenarios: []record.Scenario{{Name: evil, Expect: []record.Expectation{{Configs: "*", Outcome: "ok", Where: evil}}}},
		Configs:   []record.Config{{Name: evil}, {Name: strings.Repeat("very-long-", 30) + evil}},
	}
	cells := []record.Cell{
		cell(evil, evil, record.Outcome(evil), 1),
		cell(evil, run.Configs[1].Name, record.HarnessError, 1, note(evil)),
	}
	got := render(t, run, cells, TerminalOptions{})
	golden(t, "hostile", got)
	for _, r := range got {
		require.False(t, r != '\n' && unprintable(r), "%q reached the terminal", r)
	}
	for i := range cells {
		assert.NotContains(t, Line(&cells[i]), "\x1b")
		assert.NotContains(t, Line(&cells[i]), "\n")
	}
}

func TestTerminalEmpty(t *testing.T) {
	golden(t, "empty", render(t, record.Run{Simrun: "v0.1.0", Clock: "real", Cells: 400}, nil, TerminalOptions{}))
}

func TestTerminalStaysWithinWidth(t *testing.T) {
	run, cells := large(100, 20)
	for _, width := range []int{40, 80, 120, 200, 1000} {
		for line := range strings.Lines(render(t, run, cells, TerminalOptions{Width: width, Color: true})) {
			require.LessOrEqual(t, ansi.StringWidth(strings.TrimSuffix(line, "\n")), width, "%q", line)
		}
	}
}

// mostlyIdle is a run whose faults are met by few configs: the first one meets those of every third
// scenario, the last one none at all.
func mostlyIdle() (record.Run, []record.Cell) {
	run := record.Run{
		Simrun: "v0.1.0", Clock: "real", Timeout: 70, Repeat: 1, Cells: 54,
		Configs: []record.Config{{Name: "mirror"}, {Name: "direct"}, {Name: "file"}},
	}
	var cells []record.Cell
	for i := range 18 {
		s := record.Scenario{Name: fmt.Sprintf("fault-%d", i), Faults: []string{"x"}}
		first, second := record.Error, record.OK
		bits := []int64{int64(1 - min(i%3, 1)), 0, 0}
		switch i {
		case 0:
			s.Name, s.Faults = "healthy", nil
			first, bits = record.OK, []int64{1, 1, 1}
		case 4:
			second = record.Hang // not by the fault, but worth to be seen
		case 7:
			s.Expect = []record.Expectation{{Configs: "direct", Outcome: record.Error, Where: "a.yaml:1:1"}}
		}
		run.Scenarios = append(run.Scenarios, s)
		for c, outcome := range []record.Outcome{first, second, record.OK} {
			cells = append(cells, cell(s.Name, run.Configs[c].Name, outcome, 1, bit(bits[c])))
		}
	}
	return run, cells
}

func TestTerminalFoldsWhereNoFaultWasMet(t *testing.T) {
	run, cells := mostlyIdle()
	got := render(t, run, cells, TerminalOptions{})
	golden(t, "idle", got)
	for scenario, shown := range map[string]bool{
		"healthy": true, "fault-3 ": true, "fault-1 ": false,
		"fault-4 ": true, // a hang
		"fault-7 ": true, // not as expected
	} {
		assert.Equal(t, shown, strings.Contains(got, "\n"+scenario), scenario)
	}
	assert.Contains(t, got, "\nand 10 more in which none of these met a fault\n")
	assert.Contains(t, got, "\nnot shown: file, which met no fault in any scenario\n")
	assert.Contains(t, got, "54 cells: ", "the counts are those of all")
}

func TestTerminalFoldsEachBlockByItself(t *testing.T) {
	run, cells := mostlyIdle()
	got := render(t, run, cells, TerminalOptions{Width: 30})
	blocks := strings.SplitN(got, "config 2 of 2", 2)
	require.Len(t, blocks, 2)
	assert.Contains(t, blocks[0], "\nfault-3 ")
	assert.NotContains(t, blocks[1], "\nfault-3 ")
}

func TestTerminalShowsASmallTableWhole(t *testing.T) {
	run, cells := mostlyIdle()
	got := render(t, run, cells[:3*wholeRows], TerminalOptions{})
	assert.Contains(t, got, "file")
	assert.Contains(t, got, "\nfault-1 ")
	assert.NotContains(t, got, "none of these")
}

// Every entry must be found in the text whatever the width, so that no block or row is lost.
func TestTerminalShowsEveryEntry(t *testing.T) {
	run, cells := large(9, 20)
	for i := range cells {
		cells[i].Outcome, cells[i].Seconds = record.OK, record.Seconds(1000+i)
	}
	for _, width := range []int{40, 80, 1000} {
		got := render(t, run, cells, TerminalOptions{Width: width})
		for i := range cells {
			require.Equal(t, 1, strings.Count(got, fmt.Sprintf(" %ds", 1000+i)), "cell %d at width %d", i, width)
		}
	}
}

func TestTerminalLarge(t *testing.T) {
	run, cells := large(34, 8)
	golden(t, "large", render(t, run, cells, TerminalOptions{}))
}

// Colours must only be added: without them the text is the same.
func TestTerminalColourIsNeverTheOnlySign(t *testing.T) {
	run, cells := small()
	coloured := render(t, run, cells, TerminalOptions{Color: true})
	require.NotEqual(t, coloured, ansi.Strip(coloured))
	require.Equal(t, render(t, run, cells, TerminalOptions{}), ansi.Strip(coloured))
}

func TestTerminalReportsWriteErrors(t *testing.T) {
	run, cells := small()
	require.ErrorIs(t, Terminal(brokenWriter{}, Summarize(run, cells), TerminalOptions{}), errBroken)
}

var errBroken = errors.New("broken pipe")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestOrderOfCellsDoesNotMatter(t *testing.T) {
	run, cells := small()
	want := render(t, run, cells, TerminalOptions{})
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
		require.Equal(t, want, render(t, run, cells, TerminalOptions{}))
	}
}
