package verdict

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// run is the run that the lines of testdata/lines.tsv come from.
var run = &record.Run{
	Vars: map[string]string{"go-proxy": "proxy.example", "go-sumdb": "sum.example"},
	Configs: []record.Config{
		{Name: "forward", Env: map[string]string{"HTTPS_PROXY": "http://user:pw@fwd.test:3128", "GOPROXY": "https://a.test"}},
	},
}

func failed(stderr string) *record.Cell {
	return &record.Cell{Key: record.Key{Config: "forward"}, Outcome: record.Error, Exit: 1, Stderr: stderr}
}

type classified struct{ class, line string }

func lines(t testing.TB) []classified { return linesOf(t, "testdata/lines.tsv") }

func linesOf(t testing.TB, file string) []classified {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	unescape := strings.NewReplacer(`\n`, "\n", `\t`, "\t")
	var all []classified
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "# ") {
			continue
		}
		class, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		require.True(t, ok, "line without a tab: %q", line)
		all = append(all, classified{class, unescape.Replace(text)})
	}
	return all
}

func TestClassifyLines(t *testing.T) {
	for _, l := range append(lines(t), linesOf(t, "testdata/issues.tsv")...) {
		assert.Equal(t, l.class, Classify(failed(l.line), run), l.line)
	}
}

// A rule that decides no line is dead, or hidden by an earlier one.
func TestEveryRuleDecidesALine(t *testing.T) {
	used := make(map[*rule]bool)
	for _, l := range lines(t) {
		for _, m := range messages(nameHosts(l.line, run, failed(""))) {
			if r := decide(m); r != nil {
				used[r] = true
			}
		}
	}
	for _, s := range stages {
		for i := range s.rules {
			assert.True(t, used[&s.rules[i]], "%s: %s %s", s.about, s.rules[i].class, s.rules[i].pattern())
		}
	}
}

func TestClassifyByOutcome(t *testing.T) {
	const line = "go: m@v1.0.0: reading https://a.test/m/@v/v1.0.0.zip: 500 Internal Server Error"
	for outcome, want := range map[record.Outcome]string{
		record.OK:           "",
		record.Error:        "http-500",
		record.Hang:         Hang,
		record.Skipped:      "",
		record.HarnessError: "",
	} {
		assert.Equal(t, want, Classify(&record.Cell{Outcome: outcome, Stderr: line}, run), outcome)
	}
}

func TestClassOfAWrappersTimeoutIsThatOfTheAttemptThatDecides(t *testing.T) {
	const line = "go: m@v1.0.0: reading https://a.test/m/@v/v1.0.0.zip: 500 Internal Server Error"
	end := func(attempts ...record.Attempt) *record.Cell {
		return &record.Cell{Outcome: record.Error, Stderr: line, Attempts: attempts}
	}
	timedOut, failed, well := record.Attempt{Outcome: record.Hang}, record.Attempt{Outcome: record.Error}, record.Attempt{Outcome: record.OK}
	assert.Equal(t, AttemptTimeout, Classify(end(failed, timedOut), run))
	assert.Equal(t, "http-500", Classify(end(timedOut, failed), run))
	other := timedOut
	other.Command = 1
	assert.Equal(t, AttemptTimeout, Classify(end(well, other), run), "the first command ended well")
	assert.Equal(t, "http-500", Classify(end(failed, other), run), "the first command decides")
}

func TestClassifyWithoutHelpOfTheRun(t *testing.T) {
	cell := failed("dial tcp: lookup sum.example on 192.0.2.53:53: no such host")
	assert.Equal(t, "sumdb-unreachable", Classify(cell, run))
	assert.Equal(t, "dns-no-such-host", Classify(cell, &record.Run{}))
	assert.Equal(t, "dns-no-such-host", Classify(cell, nil))
}

func TestFirstErrorDecides(t *testing.T) {
	const reset, status = "go: a@v1.0.0: read: connection reset by peer\n", "go: b@v1.0.0: reading https://a.test/b/@v/list: 403 Forbidden\n"
	assert.Equal(t, "tcp-connection-reset", Classify(failed(reset+status), run))
	assert.Equal(t, "http-403", Classify(failed(status+reset), run))
	assert.Equal(t, "http-403", Classify(failed("go: downloading b v1.0.0\n"+status), run))
}

func TestNameHost(t *testing.T) {
	for in, want := range map[string]string{
		"https://sum.example/lookup":        "https://$go-sumdb/lookup",
		"sum.example:443 and sum.example":   "$go-sumdb:443 and $go-sumdb",
		"https://checksum.example/lookup":   "https://checksum.example/lookup",
		"https://my-sum.example/lookup":     "https://my-sum.example/lookup",
		"https://my.sum.example/lookup":     "https://my.sum.example/lookup",
		"https://sum.examples.test/lookup":  "https://sum.examples.test/lookup",
		"/sumdb/sum.example/supported: 403": "/sumdb/$go-sumdb/supported: 403",
	} {
		assert.Equal(t, want, nameHost(in, "sum.example", sumdbName))
	}
}

func TestHostOf(t *testing.T) {
	for in, want := range map[string]string{
		"http://fwd.test:3128":       "fwd.test",
		"http://u:p%40@fwd.test/":    "fwd.test",
		"fwd.test:3128":              "fwd.test",
		"fwd.test":                   "fwd.test",
		"socks5://[2001:db8::1]:108": "2001:db8::1",
		"":                           "",
		"http://[":                   "",
	} {
		assert.Equal(t, want, hostOf(in), in)
	}
}

// FuzzClassify checks that any text has exactly one class, that it is one that Remedy knows, and that the
// chatter of a successful download around it does not change it.
func FuzzClassify(f *testing.F) {
	for _, l := range lines(f) {
		f.Add(l.line)
	}
	f.Fuzz(func(t *testing.T, stderr string) {
		class := Classify(failed(stderr), run)
		assert.NotEmpty(t, class)
		assert.NotEmpty(t, Remedy(class), class)
		assert.Equal(t, class, Classify(failed("go: downloading m.example/lib v1.0.0\n"+stderr), run))
	})
}

func TestSlowNotFound(t *testing.T) {
	missing := func(seconds record.Seconds, status int) *record.Cell {
		return &record.Cell{Outcome: record.Error, Stderr: "go: m@v1.0.0: reading https://a.test/m/@v/v1.0.0.zip: 404 Not Found\n",
			Requests: []record.Request{{Start: 1, First: 1 + seconds, Status: status}}}
	}
	assert.Equal(t, "slow-not-found", Classify(missing(10, 404), nil))
	assert.Equal(t, "slow-not-found", Classify(missing(60, 410), nil))
	assert.Equal(t, "http-404", Classify(missing(9, 404), nil))
	assert.Equal(t, "http-404", Classify(missing(60, 200), nil))
}

// heldOutBar is the share of held-out lines that must get the class that a person gave them; docs/measurements.md
// says what there is.
const heldOutBar = 0.95

// TestClassifyHeldOutLines measures the rules on lines that they were not written from.
func TestClassifyHeldOutLines(t *testing.T) {
	all := linesOf(t, "testdata/heldout.tsv")
	right := 0
	for _, l := range all {
		got := Classify(failed(l.line), run)
		if got == l.class {
			right++
			continue
		}
		t.Logf("%s instead of %s: %s", got, l.class, l.line)
	}
	t.Logf("%d of %d held-out lines are right", right, len(all))
	assert.GreaterOrEqual(t, float64(right)/float64(len(all)), heldOutBar)
}
