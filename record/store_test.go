package record_test

import (
	"bytes"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

func sampleRun() record.Run {
	lo, hi := record.Seconds(29), record.Seconds(32)
	return record.Run{
		Version:   record.Version,
		Simrun:    "v1.0.0",
		Started:   "2026-01-02T03:04:05Z",
		Host:      record.Host{OS: "linux", Arch: "amd64", Kernel: "6.18.0", CPUs: 2},
		Seed:      7,
		Vars:      map[string]string{"go-proxy": "proxy.example", "go-sumdb": "sum.example"},
		Clock:     "virtual",
		Isolation: "namespace",
		Timeout:   60,
		Repeat:    1,
		Jobs:      2,
		Cells:     1,
		Scenarios: []record.Scenario{{
			Name: "dead-proxy", World: "office", Weight: 3, Layer: "packet",
			Faults: []string{"mirror.example packet loss=100%"},
			Expect: []record.Expectation{{Configs: "*-comma", Outcome: record.Error, Min: &lo, Max: &hi, Where: "dead-proxy.yaml:9:5"}},
		}},
		Configs:  []record.Config{{Name: "mirror-comma", Env: map[string]string{"GOPROXY": "https://mirror.example,direct"}}},
		Projects: []record.Project{{Name: "small", Run: []string{"go", "mod", "tidy"}, Private: []string{"git.corp.example/a"}}},
		Private:  []string{"git.corp.example"},
	}
}

func sampleCell() record.Cell {
	return record.Cell{
		Key:         record.Key{Scenario: "dead-proxy", Config: "mirror-comma", Project: "small", Go: "go1.26.8"},
		Outcome:     record.Error,
		Class:       "tcp-connect-timeout",
		Seconds:     30.125,
		RealSeconds: 0.25,
		Clock:       "virtual",
		Exit:        1,
		Stderr:      "go: m@v1.0.0: Get \"https://mirror.example/m/@v/v1.0.0.zip\": dial tcp <IP>:443: i/o timeout\n",
		Attribution: record.Attribution{DNS: 0.0625, Connect: 30, Local: 0.0625},
		Queries:     []record.Query{{Start: 0.0625, End: 0.125, Server: "ns1", Net: "udp", Name: "mirror.example", Type: "A", Answer: "noerror"}},
		Conns:       []record.Conn{{Host: "mirror.example", Addr: "192.0.2.1:443", Start: 0.125, SYNs: 6}},
		Requests:    []record.Request{{Start: 1, Host: "mirror.example", Server: "mirror.example", Proto: "HTTP/2.0", Method: "GET", Path: "/m/@v/list", Conn: -1}},
		Hosts:       []string{"mirror.example"},
		Leaks:       []record.Leak{{Module: "git.corp.example/a", Host: "mirror.example", How: "GET /git.corp.example/a/@v/list"}},
		Modules:     []record.Module{{Path: "m", Version: "v1.0.0", Sum: "h1:x=", Good: true, Pinned: true}},
		Faults:      []record.FaultCount{{Fault: "mirror.example packet loss=100%", Bit: 6}},
		Lost:        map[string]int64{"packets": 1},
		MaxRSS:      1 << 20,
	}
}

// write returns the path of a file with sampleRun and cells.
func write(t *testing.T, cells ...record.Cell) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "results.jsonl")
	w, err := record.Create(path, sampleRun())
	require.NoError(t, err)
	for i := range cells {
		require.NoError(t, w.Append(&cells[i]))
	}
	require.NoError(t, w.Close())
	return path
}

func TestRoundTrip(t *testing.T) {
	got, err := record.ReadFile(write(t, sampleCell(), sampleCell()))
	require.NoError(t, err)
	assert.Equal(t, &record.Results{Run: sampleRun(), Cells: []record.Cell{sampleCell(), sampleCell()}}, got)
}

func TestGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/results.jsonl")
	require.NoError(t, err)
	got, err := os.ReadFile(write(t, sampleCell()))
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got), "the format changed: does Version have to?")
}

func TestCreateSetsVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	w, err := record.Create(path, record.Run{})
	require.NoError(t, err)
	require.NoError(t, w.Close())
	got, err := record.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, record.Version, got.Run.Version)
}

func TestCreateRefusesExistingFile(t *testing.T) {
	path := write(t)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = record.Create(path, sampleRun())
	require.ErrorIs(t, err, os.ErrExist)
	assert.ErrorContains(t, err, path)
	assert.ErrorContains(t, err, "--out")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

func TestAppendConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	w, err := record.Create(path, sampleRun())
	require.NoError(t, err)
	var wg sync.WaitGroup
	for rep := range 50 {
		wg.Go(func() {
			c := sampleCell()
			c.Rep = rep
			c.Stderr = strings.Repeat("x", 10_000)
			assert.NoError(t, w.Append(&c))
		})
	}
	wg.Wait()
	require.NoError(t, w.Close())
	got, err := record.ReadFile(path)
	require.NoError(t, err)
	reps := make(map[int]bool)
	for _, c := range got.Cells {
		reps[c.Rep] = true
	}
	assert.Len(t, reps, 50)
}

func TestAppendIsInTheFileAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	w, err := record.Create(path, sampleRun())
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	c := sampleCell()
	require.NoError(t, w.Append(&c))
	got, err := record.ReadFile(path)
	require.NoError(t, err)
	assert.Len(t, got.Cells, 1)
}

func TestAppendRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	w, err := record.Create(path, sampleRun())
	require.NoError(t, err)

	c := sampleCell()
	c.Seconds = record.Seconds(math.NaN())
	require.ErrorContains(t, w.Append(&c), "record cell dead-proxy/mirror-comma/small/go1.26.8/0: encode")

	c = sampleCell()
	c.Stderr = strings.Repeat("x", record.MaxLine)
	require.ErrorContains(t, w.Append(&c), "more than the 16777216 that a line may have")

	c = sampleCell()
	require.NoError(t, w.Append(&c), "what was refused leaves no trace")
	require.NoError(t, w.Close())
	require.NoError(t, w.Close(), "closing twice is fine")
	require.ErrorIs(t, w.Append(&c), os.ErrClosed)

	got, err := record.ReadFile(path)
	require.NoError(t, err)
	assert.Len(t, got.Cells, 1)
}

func TestSecondsAreRounded(t *testing.T) {
	for in, want := range map[record.Seconds]string{
		0:               "0",
		0.1 + 0.2:       "0.3",
		1.23456749:      "1.234567",
		1.2345678:       "1.234568",
		-0.0000005001:   "-0.000001",
		math.MaxFloat64: "1.7976931348623157e+308",
	} {
		b, err := in.MarshalJSON()
		require.NoError(t, err)
		assert.JSONEq(t, want, string(b))
	}
	_, err := record.Seconds(math.Inf(1)).MarshalJSON()
	require.Error(t, err)
}

const (
	runLine  = `{"run":{"version":1}}` + "\n"
	cellLine = `{"cell":{"scenario":"s","outcome":"ok"}}` + "\n"
)

func TestReadTornLastLine(t *testing.T) {
	for _, tc := range []struct {
		name, text  string
		cells, torn int
	}{
		{"half a line", runLine + cellLine + cellLine[:20], 1, 3},
		{"half of the first cell", runLine + cellLine[:1], 0, 2},
		{"only the newline is missing", runLine + strings.TrimSpace(cellLine), 1, 0},
		{"no cells", runLine, 0, 0},
		{"no cells and no newline", strings.TrimSpace(runLine), 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := record.Read(strings.NewReader(tc.text), "x.jsonl")
			require.NoError(t, err)
			assert.Len(t, got.Cells, tc.cells)
			assert.Equal(t, tc.torn, got.Torn)
		})
	}
}

func TestReadErrors(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "x.jsonl:1: no run line: the file is empty"},
		{"torn run line", runLine[:10], "x.jsonl:1: decode run line: unexpected end of JSON input"},
		{"other file", "{}\n", `x.jsonl:1: not a results file: the first line has no "run" with a "version"`},
		{"cell first", cellLine, `x.jsonl:1: not a results file: the first line has no "run" with a "version"`},
		{"newer", `{"run":{"version":99,"colour":"red"}}` + "\n", "x.jsonl:1: results have version 99: this simrun reads version 1 only"},
		{"unknown key", runLine + `{"cell":{"colour":"red"}}` + "\n", `x.jsonl:2: decode line: json: unknown field "colour"`},
		{"two runs", runLine + runLine, `x.jsonl:2: the first line, and no other, must be {"run": ...}`},
		{"both", runLine + `{"run":{},"cell":{}}` + "\n", `x.jsonl:2: line has not exactly one of the keys "run" and "cell"`},
		{"neither", runLine + "{}\n", `x.jsonl:2: line has not exactly one of the keys "run" and "cell"`},
		{"blank line", runLine + "\n" + cellLine, "x.jsonl:2: line is empty"},
		{"two on a line", runLine + strings.TrimSpace(cellLine) + cellLine, "x.jsonl:2: decode line: text after the object"},
		{"torn in the middle", runLine + cellLine[:20] + "\n" + cellLine, "x.jsonl:2: decode line: unexpected EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := record.Read(strings.NewReader(tc.text), "x.jsonl")
			require.EqualError(t, err, tc.want)
		})
	}
}

func TestReadBoundsLines(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(runLine+`{"cell":"`), forever{})
	_, err := record.Read(endless, "x.jsonl")
	require.EqualError(t, err, "x.jsonl:2: line is longer than 16777216 bytes")
}

// forever is a reader that never ends.
type forever struct{}

func (forever) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("x"), len(p))), nil }

func TestReadReportsReadErrors(t *testing.T) {
	r := io.MultiReader(strings.NewReader(runLine), failing{})
	_, err := record.Read(r, "x.jsonl")
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.ErrorContains(t, err, "x.jsonl:2: ")
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestReadFileMissing(t *testing.T) {
	_, err := record.ReadFile(filepath.Join(t.TempDir(), "missing.jsonl"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestExercised(t *testing.T) {
	for _, tc := range []struct {
		name   string
		faults []record.FaultCount
		want   bool
	}{
		{"none declared", nil, true},
		{"none bit", []record.FaultCount{{Fault: "a"}, {Fault: "b"}}, false},
		{"one bit", []record.FaultCount{{Fault: "a"}, {Fault: "b", Bit: 1}}, true},
	} {
		cell := record.Cell{Faults: tc.faults}
		assert.Equal(t, tc.want, cell.Exercised(), tc.name)
	}
}

func TestAttributionTotal(t *testing.T) {
	a := record.Attribution{DNS: 1, Connect: 2, TLS: 4, Wait: 8, Transfer: 16, Local: 32}
	assert.EqualValues(t, 63, a.Total())
}

func TestCellAtIsOnTheWallClock(t *testing.T) {
	c := record.Cell{Started: "2026-01-02T03:04:05.25Z"}
	assert.Equal(t, "2026-01-02T03:04:06.500001Z", c.At(1.250001).Format(time.RFC3339Nano))
	assert.True(t, (&record.Cell{}).At(1).IsZero(), "a cell that did not start")
}

func TestResume(t *testing.T) {
	path := write(t, sampleCell())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, torn := range map[string]string{
		"whole":                 string(whole),
		"torn":                  string(whole) + `{"cell":{"scenario":"de`,
		"only the newline lost": strings.TrimSuffix(string(whole), "\n"),
	} {
		t.Run(name, func(t *testing.T) { resumes(t, torn) })
	}
}

func resumes(t *testing.T, content string) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
	w, there, err := record.Resume(path, sampleRun())
	require.NoError(t, err)
	assert.Equal(t, []record.Cell{sampleCell()}, there.Cells)
	second := sampleCell()
	second.Rep = 1
	require.NoError(t, w.Append(&second))
	require.NoError(t, w.Close())

	results, err := record.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, []record.Cell{sampleCell(), second}, results.Cells)
	assert.Zero(t, results.Torn)
}

func TestResumeRefusesAnotherRun(t *testing.T) {
	path := write(t, sampleCell())
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	run := sampleRun()
	run.Seed++
	_, _, err = record.Resume(path, run)
	assert.ErrorContains(t, err, "is of another run: they differ by seed: 7 and 8")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after)

	_, _, err = record.Resume(filepath.Join(t.TempDir(), "none.jsonl"), run)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestOneWriterAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	first, err := record.Create(path, sampleRun())
	require.NoError(t, err)
	_, _, err = record.Resume(path, sampleRun())
	assert.ErrorIs(t, err, record.ErrBusy)
	require.NoError(t, first.Close())
	second, _, err := record.Resume(path, sampleRun())
	require.NoError(t, err)
	require.NoError(t, second.Close())
}

func TestAppendNoticesThatTheFileIsGone(t *testing.T) {
	for name, take := range map[string]func(string) error{
		"removed":  os.Remove,
		"moved":    func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error { return os.Rename(replacement(t), path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "results.jsonl")
			w, err := record.Create(path, sampleRun())
			require.NoError(t, err)
			cell := sampleCell()
			require.NoError(t, w.Append(&cell))
			require.NoError(t, take(path))
			assert.ErrorContains(t, w.Append(&cell), "was moved, removed or replaced")
			assert.Error(t, w.Close())
		})
	}
}

// replacement returns the path of another file.
func replacement(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.WriteFile(path, nil, 0o666))
	return path
}

func TestReadKeepsTheLastTryOfACell(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	w, err := record.Create(path, sampleRun())
	require.NoError(t, err)
	first, other := sampleCell(), sampleCell()
	other.Rep = 1
	again := first
	again.Tries = []record.Try{{Outcome: first.Outcome, Class: first.Class, Seconds: first.Seconds, Pressure: record.Pressure{CPU: 2}}}
	twice := other
	twice.Tries = again.Tries
	for _, c := range []record.Cell{first, other, again, twice} {
		require.NoError(t, w.Append(&c))
	}
	require.NoError(t, w.Close())
	results, err := record.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, []record.Cell{again, twice}, results.Cells)
}
