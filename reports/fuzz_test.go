package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// FuzzReports renders all that can be read: a results file may be a stranger's.
func FuzzReports(f *testing.F) {
	golden, err := os.ReadFile("../record/testdata/results.jsonl")
	require.NoError(f, err)
	f.Add(string(golden))
	for _, text := range hostileRuns(string(golden)) {
		_, err := record.Read(strings.NewReader(text), "seed")
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		run, err := record.Read(strings.NewReader(text), "fuzz")
		if err != nil || len(run.Cells) > 100 {
			return
		}
		renderAll(t, run)
	})
}

// hostileRuns returns results files with numbers that no run has.
func hostileRuns(golden string) (texts []string) {
	head, _, _ := strings.Cut(golden, "\n")
	run := `{"run":{"version":1,"cells":-5,"timeout":1e308,"repeat":-1,"scenarios":[{"name":"s","world":"w","weight":-1e308,"layer":"x",` +
		`"faults":["f","g","h"],"windows":[{"from":-1e9,"until":1e300,"every":1e-6,"for":1e-7},{"every":1e-300,"for":1e300}],` +
		`"expect":[{"configs":"*","min_seconds":1e308,"max_seconds":-1e308,"where":"x"}]}],"configs":[{"name":"c","env":null},{"name":"c","env":{}}],` +
		`"projects":[{"name":"p","run":null}],"rtts":[{"world":"w","host":"h","rtt":-1}],"shard":{"number":-1,"of":0,"cells":-7}}}`
	cells := []string{
		`{"cell":{"scenario":"s","config":"c","project":"p","go":"go1.26","rep":9223372036854775807,"outcome":"ok","seconds":1e308,"attribution":{"dns":1e308,"wait":-1e308}}}`,
		`{"cell":{"scenario":"s","config":"c","project":"p","go":"x","rep":-9223372036854775808,"outcome":"hang","seconds":-1,"exit":-1,` +
			`"requests":[{"start":-1e9,"first":1e300,"end":5,"conn":99},{"start":1e300,"first":-1,"end":-7,"conn":-9},{"start":1e9,"first":1e8,"end":1e7,"conn":0,"status":-3,"bytes":-9}],` +
			`"conns":[{"start":1e300,"established":-1e300,"end":1e-300,"tls":true,"secured":1e9,"tunnel":-4,"syns":-1,"bytes_up":-1,"bytes_down":-9223372036854775808}],` +
			`"queries":[{"start":5,"end":-5},{"start":1e300,"end":1e301}],"faults":[{"fault":"f","bit":-1},{"fault":"nobody","bit":9223372036854775807}],` +
			`"routes":[{"start":1e300,"end":-1}],"attempts":[{"command":-1,"start":-1e300,"seconds":1e300},{"command":999999999,"start":1,"seconds":-2}],` +
			`"modules":[{"path":"","version":""},{"path":"../..","version":"/"}],"programs":[{"host":"","exec":null,"ended":-1,"died":"x"}],"lost":{"":-1},"max_rss_bytes":-1}}`,
		`{"cell":{"outcome":""}}`,
		`{"cell":{"scenario":"other","config":"other","project":"other","go":"go1.99999999999999999999","rep":3,"outcome":"mixed","started":"9999-99-99"}}`,
		`{"cell":{"scenario":"s","config":"c","project":"p","go":"go1.26","outcome":"error","started":"0001-01-01T00:00:00Z","seconds":1e-300}}`,
	}
	return []string{
		run + "\n" + strings.Join(cells, "\n") + "\n",
		head + "\n" + strings.Join(cells, "\n") + "\n",
		`{"run":{"version":1}}` + "\n" + strings.Join(cells, "\n") + "\n",
	}
}

// renderAll makes every kind of report of a run, and checks that each is what it says it is.
func renderAll(t *testing.T, run *record.Results) {
	t.Helper()
	for i := range run.Cells {
		verdict.Judge(&run.Run, &run.Cells[i])
	}
	ranking := verdict.Rank(&run.Run, run.Cells, verdict.Rules{})
	table := Summarize(run.Run, run.Cells)
	var text bytes.Buffer
	require.NoError(t, Terminal(&text, table, TerminalOptions{}))
	require.NoError(t, TerminalAnswer(&text, &run.Run, ranking, TerminalOptions{}))
	for i := range run.Cells {
		require.NoError(t, Explain(&text, &run.Run, &run.Cells[i], ExplainOptions{All: true}))
		_ = HAR(io.Discard, &run.Run, &run.Cells[i]) // there are times that it cannot have
	}
	assert.NotContains(t, text.String(), "\x1b")
	for _, f := range Files(run, ranking, "simrun-out") {
		var file bytes.Buffer
		if err := f.Write(&file); err != nil {
			var no *json.UnsupportedValueError // of a number that is none
			require.True(t, errors.As(err, &no), "%s: %v", f.Name, err)
			continue
		}
		assert.NotContains(t, file.String(), "\x1b", f.Name)
		switch f.Name {
		case "junit.xml":
			require.NoError(t, xml.Unmarshal(file.Bytes(), new(junitFile)), f.Name)
		case "verdicts.json":
			assert.True(t, json.Valid(file.Bytes()), f.Name)
		}
	}
}
