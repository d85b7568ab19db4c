package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchfmt"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// ranked is a run that a ranking can say something about: two configs in three situations, twice each.
func ranked() (record.Run, []record.Cell) {
	run, _ := small()
	run.Started, run.Host, run.Repeat, run.Cells = "2026-01-02T03:04:05Z", record.Host{OS: "linux", Arch: "amd64", CPUs: 2}, 2, 13
	run.Configs = []record.Config{
		{Name: "cn-comma", Env: map[string]string{"GOPROXY": "https://goproxy.cn,direct"}},
		{Name: "cn-pipe", Env: map[string]string{"GOPROXY": "https://goproxy.cn|direct", "GOSUMDB": "sum.golang.google.cn"}},
	}
	for i := range run.Scenarios {
		run.Scenarios[i].Weight = 1
	}
	run.Scenarios[1].Faults = []string{"goproxy.cn packet loss=100%"}
	run.Scenarios[2].Faults = []string{"goproxy.cn http hang=true"}
	var cells []record.Cell
	for n := range 2 {
		more := []func(*record.Cell){rep(n)}
		bitten := []func(*record.Cell){rep(n), bit(3)}
		cells = append(cells,
			cell("all-well", "cn-comma", record.OK, 0.5+record.Seconds(n)/10, more...),
			cell("all-well", "cn-pipe", record.OK, 0.6, more...),
			cell("dead-proxy", "cn-comma", record.Error, 30, append(bitten, class("tcp-connect-timeout"))...),
			cell("dead-proxy", "cn-pipe", record.OK, 35, bitten...),
			cell("silent-proxy", "cn-comma", record.Error, 10, append(bitten, class("tls-handshake-timeout"))...),
		)
	}
	return run, append(cells,
		cell("silent-proxy", "cn-pipe", record.Error, 3, bit(1), class("http-503")),
		cell("silent-proxy", "cn-pipe", record.Error, 3, bit(1), rep(1), class("http-503")),
	)
}

// A form is one way to write a run.
type form struct {
	name  string
	write func(run record.Run, cells []record.Cell) []byte
}

func forms(t *testing.T) []form {
	t.Helper()
	var list []form
	files := func(run record.Run, cells []record.Cell) []File {
		return Files(&record.Results{Run: run, Cells: cells}, verdict.Rank(&run, cells, verdict.Rules{}), "simrun-out")
	}
	run, _ := small()
	for i, file := range files(run, nil) {
		list = append(list, form{file.Name, func(run record.Run, cells []record.Cell) []byte {
			var b bytes.Buffer
			require.NoError(t, files(run, cells)[i].Write(&b))
			return b.Bytes()
		}})
	}
	return append(list, form{"answer", func(run record.Run, cells []record.Cell) []byte {
		var b bytes.Buffer
		require.NoError(t, TerminalAnswer(&b, &run, verdict.Rank(&run, cells, verdict.Rules{}), TerminalOptions{}))
		return b.Bytes()
	}})
}

func written(t *testing.T, name string, run record.Run, cells []record.Cell) []byte {
	t.Helper()
	for _, f := range forms(t) {
		if f.name == name {
			return f.write(run, cells)
		}
	}
	t.Fatalf("no form is called %s", name)
	return nil
}

func TestForms(t *testing.T) {
	run, cells := small()
	few, fewCells := ranked()
	for _, f := range forms(t) {
		if f.name == "report.html" {
			continue // see TestPageOfARecordedRun
		}
		golden(t, f.name, string(f.write(run, cells)))
		golden(t, "ranked-"+f.name, string(f.write(few, fewCells)))
		golden(t, "nothing-"+f.name, string(f.write(run, nil)))
	}
}

func TestFormsReportWriteErrors(t *testing.T) {
	run, cells := small()
	ranking := verdict.Rank(&run, cells, verdict.Rules{})
	for _, file := range Files(&record.Results{Run: run, Cells: cells}, ranking, "simrun-out") {
		require.ErrorIs(t, file.Write(brokenWriter{}), errBroken, file.Name)
	}
	require.ErrorIs(t, TerminalAnswer(brokenWriter{}, &run, ranking, TerminalOptions{}), errBroken)
}

// evilRun has a hostile text wherever a text comes from outside.
func evilRun() (record.Run, []record.Cell) {
	const evil = "</script><img src=x onerror=alert(1)>]]>&\x1b[2J\x00\n\n# `x` |\u202e\xff"
	run, cells := small()
	for i := range run.Configs {
		run.Configs[i].Name += evil
		run.Configs[i].Env = map[string]string{"GOPROXY": evil}
	}
	for i := range cells {
		c := &cells[i]
		c.Config, c.Note, c.Class, c.Stderr = c.Config+evil, evil, evil, evil
		c.Leaks = []record.Leak{{Module: evil, Host: evil}}
	}
	return run, cells
}

func TestFormsAreSafeFromWhatTheyHold(t *testing.T) {
	run, cells := evilRun()
	for _, f := range forms(t) {
		text := string(f.write(run, cells))
		assert.NotContains(t, text, "\x1b", f.name)
		assert.NotContains(t, text, "\x00", f.name)
		if f.name == "report.md" {
			assert.NotContains(t, strings.ReplaceAll(text, `    go env`, ""), "\n# ", f.name)
		}
	}
}

func TestAnswerStaysWithinWidthButForCommands(t *testing.T) {
	run, cells := ranked()
	var b strings.Builder
	require.NoError(t, TerminalAnswer(&b, &run, verdict.Rank(&run, cells, verdict.Rules{}), TerminalOptions{Width: 50, Color: true}))
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "    go env -w ") {
			assert.LessOrEqual(t, ansi.StringWidth(strings.TrimSuffix(line, "\n")), 50, "%q", line)
		}
	}
	assert.Contains(t, b.String(), "\n    go env -w GOPROXY='https", "a command is in one piece")
}

// The XML schema is that of the Jenkins xUnit plugin in the parts that we use, written from its description.
func TestJUnitIsValid(t *testing.T) {
	xmllint, err := exec.LookPath("xmllint")
	if err != nil {
		if os.Getenv("SIMRUN_REQUIRE_LAB") != "" {
			t.Fatal("xmllint is missing; Debian has it in libxml2-utils")
		}
		t.Skip("xmllint is missing; Debian has it in libxml2-utils")
	}
	for name, make := range map[string]func() (record.Run, []record.Cell){"small": small, "ranked": ranked, "evil": evilRun} {
		run, cells := make()
		file := filepath.Join(t.TempDir(), name+".xml")
		require.NoError(t, os.WriteFile(file, written(t, "junit.xml", run, cells), 0o666))
		out, err := exec.Command(xmllint, "--noout", "--schema", "testdata/junit.xsd", file).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
}

func TestJUnitHasACasePerCellWithAnExpectation(t *testing.T) {
	run, cells := small()
	run.Scenarios[2].Expect = []record.Expectation{{Configs: "*", Outcome: record.Hang}}
	run.Cells++
	var file junitFile
	require.NoError(t, xml.Unmarshal(written(t, "junit.xml", run, cells), &file))
	require.Len(t, file.Suites, 3)
	assert.Equal(t, "dead-proxy", file.Suites[0].Name)
	assert.Len(t, file.Suites[0].Cases, 1, "one config is expected to do something")
	assert.Len(t, file.Suites[1].Cases, 3)
	assert.NotNil(t, file.Suites[1].Cases[1].Error, "a failure of simrun is an error")
	assert.NotNil(t, file.Suites[1].Cases[2].Failure)
	assert.NotNil(t, file.Suites[2].Cases[0].Error, "a missing cell is one, too")
	assert.Equal(t, junitCounts{Tests: 5, Failures: 2, Errors: 2, Time: file.Time}, file.junitCounts)
}

func TestBenchIsReadByTheToolsOfGo(t *testing.T) {
	run, cells := ranked()
	cells = append(cells, cell("all-well", "two words/and-2", record.OK, 1.5))
	reader := benchfmt.NewReader(bytes.NewReader(written(t, "bench.txt", run, cells)), "bench.txt")
	var names []string
	times, survived := 0, 0.0
	for reader.Scan() {
		switch r := reader.Result().(type) {
		case *benchfmt.Result:
			names = append(names, string(r.Name))
			assert.Equal(t, "go1.26.8", r.GetConfig("go"))
			_, hasTime := r.Value("sec/op")
			share, ok := r.Value("survived")
			require.True(t, ok)
			assert.Equal(t, share == 1, hasTime, "only what survived has a time")
			survived += share
			if hasTime {
				times++
			}
			_, parts := r.Name.Parts()
			assert.Equal(t, "-2", string(parts[len(parts)-1]), "the number of CPUs ends each name")
		case *benchfmt.UnitMetadata:
			assert.Equal(t, "survived", r.Unit)
		default:
			t.Errorf("%v", r)
		}
	}
	require.NoError(t, reader.Err())
	assert.Len(t, names, 13)
	assert.Equal(t, 7, times)
	assert.InDelta(t, 7, survived, 1e-9)
	assert.Contains(t, names, "Tidy/scenario=all-well/config=two_words_and-2/project=tiny-2")
}

func TestVerdictsFollowTheirSchema(t *testing.T) {
	var schema map[string]any
	require.NoError(t, json.Unmarshal(VerdictsSchema, &schema))
	for name, make := range map[string]func() (record.Run, []record.Cell){"small": small, "ranked": ranked, "evil": evilRun} {
		run, cells := make()
		var value any
		require.NoError(t, json.Unmarshal(written(t, "verdicts.json", run, cells), &value))
		assert.Empty(t, violations(schema, value, name))
	}
}

func TestViolationsAreFound(t *testing.T) {
	var schema map[string]any
	require.NoError(t, json.Unmarshal(VerdictsSchema, &schema))
	run, cells := ranked()
	for change, to := range map[string]string{
		`"version": 1`:     `"version": 2`,
		`"survival": `:     `"survival": 1`,
		`"unranked": []`:   `"unranked": null`,
		`"outcome": "ok"`:  `"outcome": "fine"`,
		`"recommended": {`: `"recommended": {"more": 1, `,
		`"started": "2026`: `"begun": "2026`,
		`"repetitions": 2`: `"repetitions": 1.5`,
	} {
		text := string(written(t, "verdicts.json", run, cells))
		require.Contains(t, text, change)
		var value any
		require.NoError(t, json.Unmarshal([]byte(strings.Replace(text, change, to, 1)), &value), to)
		assert.NotEmpty(t, violations(schema, value, "verdicts"), to)
	}
}

// violations checks a JSON value against a JSON Schema, in the parts of the standard that ours use.
func violations(schema map[string]any, value any, at string) (list []string) {
	fail := func(format string, args ...any) { list = append(list, at+": "+fmt.Sprintf(format, args...)) }
	if choices, ok := schema["anyOf"].([]any); ok {
		for _, s := range choices {
			if len(violations(s.(map[string]any), value, at)) == 0 {
				return nil
			}
		}
		fail("matches none of %d", len(choices))
	}
	if want, ok := schema["const"]; ok && want != value {
		fail("is %v, want %v", value, want)
	}
	if words, ok := schema["enum"].([]any); ok {
		if !slices.Contains(words, value) {
			fail("is %v, want one of %v", value, words)
		}
	}
	switch schema["type"] {
	case "null":
		if value != nil {
			fail("is not null")
		}
	case "string":
		if _, ok := value.(string); !ok {
			fail("is no string: %v", value)
		}
	case "number", "integer":
		number, ok := value.(float64)
		low, hasLow := schema["minimum"].(float64)
		high, hasHigh := schema["maximum"].(float64)
		if !ok || hasLow && number < low || hasHigh && number > high || schema["type"] == "integer" && number != float64(int64(number)) {
			fail("is not such a number: %v", value)
		}
	case "array":
		items, ok := value.([]any)
		if !ok {
			fail("is no list: %v", value)
		}
		for i, item := range items {
			list = append(list, violations(schema["items"].(map[string]any), item, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case "object":
		list = append(list, objectViolations(schema, value, at)...)
	}
	return list
}

func objectViolations(schema map[string]any, value any, at string) (list []string) {
	object, ok := value.(map[string]any)
	if !ok {
		return []string{at + ": is no object"}
	}
	if required, ok := schema["required"].([]any); ok {
		for _, name := range required {
			if _, ok := object[name.(string)]; !ok {
				list = append(list, fmt.Sprintf("%s: lacks %s", at, name))
			}
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, v := range object {
		if s, ok := properties[name].(map[string]any); ok {
			list = append(list, violations(s, v, at+"."+name)...)
		} else if s, ok := schema["additionalProperties"].(map[string]any); ok {
			list = append(list, violations(s, v, at+"."+name)...)
		} else if schema["additionalProperties"] == false {
			list = append(list, fmt.Sprintf("%s: %s is not allowed", at, name))
		}
	}
	return list
}
