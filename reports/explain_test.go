package reports

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

func explained(t *testing.T, run *record.Run, c *record.Cell, opts ExplainOptions) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, Explain(&b, run, c, opts))
	return b.String()
}

// stored returns the run of testdata/explain.jsonl and one of its cells.
func stored(t *testing.T, config string) (*record.Run, *record.Cell) {
	t.Helper()
	r, err := record.ReadFile("testdata/explain.jsonl")
	require.NoError(t, err)
	for i := range r.Cells {
		if r.Cells[i].Config == config {
			return &r.Run, &r.Cells[i]
		}
	}
	t.Fatalf("no cell of config %s", config)
	return nil, nil
}

func TestExplainStoredCells(t *testing.T) {
	for _, config := range []string{"comma", "pipe", "alone"} {
		run, c := stored(t, config)
		golden(t, "explain-"+config, explained(t, run, c, ExplainOptions{}))
	}
	run, c := stored(t, "pipe")
	golden(t, "explain-wide", explained(t, run, c, ExplainOptions{TerminalOptions: TerminalOptions{Width: 132, Color: true}}))
}

func TestExplainFitsTheTerminal(t *testing.T) {
	run, c := story()
	c.Stderr += strings.Repeat("a word and ", 30)
	for _, width := range []int{60, 80, 100, 200} {
		for line := range strings.Lines(explained(t, run, c, ExplainOptions{TerminalOptions: TerminalOptions{Width: width}})) {
			assert.LessOrEqual(t, ansi.StringWidth(strings.TrimRight(line, "\n")), width, line)
		}
	}
}

// Colours only repeat what the text says.
func TestExplainSaysTheSameWithoutColour(t *testing.T) {
	run, c := story()
	colour := explained(t, run, c, ExplainOptions{TerminalOptions: TerminalOptions{Color: true}})
	assert.NotEqual(t, colour, ansi.Strip(colour))
	assert.Equal(t, explained(t, run, c, ExplainOptions{}), ansi.Strip(colour))
}

func TestExplainShowsEveryPhaseInTheBar(t *testing.T) {
	run, _ := story()
	c := &record.Cell{Seconds: 10,
		Queries:  []record.Query{{Start: 0, End: 2, Name: "a.test", Type: "A", Server: "ns:ns1", Answer: "noerror"}},
		Conns:    []record.Conn{{Host: "a.test", Addr: "[2001:db8::1]:443", Start: 2, Established: 4, TLS: true, Secured: 6}},
		Requests: []record.Request{{Start: 6, First: 8, End: 10, Method: "GET", Path: "/x", Status: 200}},
	}
	text := explained(t, run, c, ExplainOptions{})
	for _, line := range []string{
		`(?m)^ns1: a.test A +d{5,} +0.00s noerror$`,
		`(?m)^#1 a.test:443 \(IPv6\) +c{5,}s{5,}─{5,} +2.00s open$`,
		`(?m)^#1 GET /x +w{5,}t{5,} +6.00s 200$`,
	} {
		assert.Regexp(t, line, text)
	}
}

func TestExplainBoundsLongLists(t *testing.T) {
	run, c := story()
	for i := range 500 {
		at := record.Seconds(i) / 100
		c.Queries = append(c.Queries, record.Query{Start: at, End: at + 0.001, Name: fmt.Sprintf("n%d.test", i), Type: "A", Answer: "noerror"})
		c.Hosts = append(c.Hosts, fmt.Sprintf("h%d.test", i))
		c.Leaks = append(c.Leaks, record.Leak{Module: fmt.Sprintf("git.corp.example/m%d", i), Host: "x.test", How: "GET /"})
		c.Stderr += fmt.Sprintf("go: line %d\n", i)
	}
	short, all := explained(t, run, c, ExplainOptions{}), explained(t, run, c, ExplainOptions{All: true})
	assert.Less(t, strings.Count(short, "\n"), 180)
	assert.Contains(t, short, "and 448 shorter ones; --all shows them")
	assert.Contains(t, short, "and 481 more; --all shows them", "leaks and lines")
	assert.Contains(t, short, "go: line 499", "the end of the output is shown")
	assert.Contains(t, short, "dead-proxy/cn-pipe  error 32.0s http-503")
	assert.NotContains(t, all, "--all")
	for i := range 500 {
		assert.Contains(t, all, fmt.Sprintf("n%d.test", i))
		assert.Contains(t, all, fmt.Sprintf("go: line %d\n", i))
	}
}

func TestExplainMakesHostileTextsSafe(t *testing.T) {
	run, c := story()
	const evil = "\x1b[2Jevil\u202e\r"
	c.Stderr, c.Note, c.Class, c.Capture = evil, evil, evil, evil
	c.Hosts, c.Waiting, c.Strays = []string{evil}, []string{evil}, []string{evil}
	c.Queries[0].Name, c.Conns[0].Host, c.Requests[0].Path, c.Requests[0].Method = evil, evil, evil, evil
	c.Leaks[0].Module, c.Faults[0].Fault = evil, evil
	run.Scenarios[0].About, run.Configs[0].Env["X"], run.Input.Paths = evil, evil, []string{evil}
	text := explained(t, run, c, ExplainOptions{})
	assert.NotContains(t, text, "\x1b")
	assert.NotContains(t, text, "\u202e")
	assert.NotContains(t, text, "\r")
}

func TestExplainShowsTheRoutesOfAnAgent(t *testing.T) {
	run, c := story()
	assert.NotContains(t, explained(t, run, c, ExplainOptions{}), "agent")
	c.AgentEnd = "exit status 2\x1b"
	c.Routes = []record.Route{
		{Start: 1, End: 31, Target: "a.test:443", Failed: []string{"PROXY p.test:8080: timeout\x1b"}, Way: "DIRECT"},
		{Start: 40, End: 41, Target: "b.test:443", Failed: []string{"PROXY q.test:8080: refused"}, Error: "refused"},
		{Start: 50, End: 50, Target: "c.test:443", Way: "DIRECT", Error: "the script threw"},
	}
	text := explained(t, run, c, ExplainOptions{TerminalOptions: TerminalOptions{Width: 200}})
	for _, line := range []string{
		`(?m)^  at 1.00s to a.test:443: PROXY p.test:8080: timeout\S*; DIRECT after 30.0s$`,
		`(?m)^  at 40.0s to b.test:443: PROXY q.test:8080: refused; no way was left after 1.00s$`,
		`(?m)^  at 50.0s to c.test:443: DIRECT after 0.00s \(the script threw\)$`,
		`(?m)^  it ended before the command did: exit status 2`,
	} {
		assert.Regexp(t, line, text)
	}
	assert.NotContains(t, text, "\x1b")
}

func TestExplainCellsThatDidNotRun(t *testing.T) {
	run, _ := story()
	c := cell("dead-proxy", "cn-pipe", record.HarnessError, 0, note("open /dev/net/tun: no such device"))
	text := explained(t, run, &c, ExplainOptions{})
	assert.Contains(t, text, "HARNESS-ERROR\n  open /dev/net/tun: no such device\n")
	assert.NotContains(t, text, "Where the time went")
}

func TestExplainTellsTheWritersErrors(t *testing.T) {
	run, c := story()
	full := errors.New("no space left")
	assert.ErrorIs(t, Explain(failingWriter{full}, run, c, ExplainOptions{}), full)
}

func TestReproduceSaysAllThatTheRunWasMadeOf(t *testing.T) {
	run, c := story()
	assert.Equal(t, "simrun shell dead-proxy --config cn-pipe --seed 7 -- go mod tidy", strings.Join(Reproduce(run, c.Key), " "))
	run.Seed, c.Rep = 1, 2
	run.Input = record.Input{Paths: []string{"mine/"}, Configs: []string{"c.yaml"}, Project: "./my service", Go: "/go/bin/go",
		Vars: map[string]string{"go-proxy": "proxy.test"}}
	words := Reproduce(run, c.Key)
	assert.Equal(t, []string{"simrun", "shell", "dead-proxy", "--config", "cn-pipe", "--from", "mine/", "--configs", "c.yaml",
		"--project", "./my service", "--go", "/go/bin/go", "--var", "go-proxy=proxy.test", "--seed", "3", "--", "go", "mod", "tidy"}, words)
	assert.Equal(t, []string{
		`simrun shell dead-proxy --config \`, `cn-pipe --from mine/ --configs \`, `c.yaml --project './my service' \`,
		`--go /go/bin/go --var \`, `go-proxy=proxy.test --seed 3 -- go \`, `mod tidy`,
	}, commandLines(words, 37))
}

func TestRoundStepIsRound(t *testing.T) {
	for least, want := range map[record.Seconds]record.Seconds{0.0004: 0.001, 0.0011: 0.002, 0.3: 0.5, 1: 1, 4.2: 5, 51: 100} {
		assert.InDelta(t, float64(want), float64(roundStep(least)), 1e-9)
	}
}

func TestShortenKeepsBothEnds(t *testing.T) {
	assert.Equal(t, "short", shorten("short", 5))
	assert.Equal(t, "GE…/v1.zip", shorten("GET /a/very/long/path/v1.zip", 10))
	for width := 4; width < 40; width++ {
		assert.LessOrEqual(t, ansi.StringWidth(shorten("中国 é GET /a/very/long/path/v1.zip", width)), width)
	}
}

func TestStrokesCoverEveryPhase(t *testing.T) {
	letters := map[rune]bool{}
	for p := verdict.DNS; p <= verdict.Transfer; p++ {
		s := strokeOf(p)
		assert.False(t, letters[s.letter], "letter %c tells two phases", s.letter)
		letters[s.letter] = true
		assert.NotEqual(t, idle, s, p.String())
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestExplainSaysThatACellHadToWait(t *testing.T) {
	run, c := story()
	c.Pressure, c.Contended = record.Pressure{CPU: 0.2, Memory: 0.01}, true
	c.Tries = []record.Try{{Outcome: record.Error, Seconds: 2, Pressure: record.Pressure{CPU: 0.5}}}
	text := explained(t, run, c, ExplainOptions{TerminalOptions: TerminalOptions{Width: 200}})
	assert.Contains(t, text, "set aside: error 2.00s, it waited 500.0 ms for a CPU, and the machine 0.0 ms for memory")
	assert.Contains(t, text, "its seconds are not to be trusted: it waited 200.0 ms for a CPU, and the machine 10.0 ms for memory")
	c.Contended, c.Tries = false, nil
	assert.NotContains(t, explained(t, run, c, ExplainOptions{TerminalOptions: TerminalOptions{Width: 200}}), "Contended")
}
