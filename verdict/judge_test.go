package verdict

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/record"
)

func TestIntegrity(t *testing.T) {
	good := record.Module{Path: "m", Sum: "h1:a=", Good: true}
	checked, pinned, bad, private := good, good, good, good
	checked.Checked = true
	pinned.Pinned = true
	bad.Good = false
	planted := bad
	planted.Before = true
	private.Path = "git.corp.example/a"
	project := record.Project{Private: []string{"git.corp.example/a"}}
	for _, tc := range []struct {
		name    string
		class   string
		modules []record.Module
		want    record.Integrity
	}{
		{"tampered before and rejected", "sumdb-checksum-mismatch", []record.Module{planted}, record.TamperedRejected},
		{"tampered before and not used", "http-500", []record.Module{checked, planted}, record.Unverified},
		{"nothing", "", nil, ""},
		{"checked", "", []record.Module{checked, checked}, record.Verified},
		{"pinned", "", []record.Module{checked, pinned}, record.Verified},
		{"one unchecked", "", []record.Module{checked, good}, record.Unverified},
		{"private beside checked", "", []record.Module{checked, private}, record.Verified},
		{"private only", "", []record.Module{private}, record.Unverified},
		{"only a go.mod file", "", []record.Module{{Path: "m", Checked: true}}, record.Verified},
		{"tampered", "", []record.Module{checked, bad}, record.TamperedAccepted},
		{"a changed go.mod file", "", []record.Module{{Path: "m", BadMod: true}}, record.TamperedAccepted},
		{"tampered and rejected elsewhere", "sumdb-checksum-mismatch", []record.Module{bad}, record.TamperedAccepted},
		{"rejected by the database", "sumdb-checksum-mismatch", []record.Module{checked}, record.TamperedRejected},
		{"rejected by go.sum", "gosum-checksum-mismatch", nil, record.TamperedRejected},
		{"other failure", "http-500", nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cell := &record.Cell{Class: tc.class, Modules: tc.modules}
			assert.Equal(t, tc.want, Integrity(cell, project))
		})
	}
}

func TestIntegrityOfTheDatabase(t *testing.T) {
	for stderr, want := range map[string]record.Integrity{
		"m@v1.0.0: verifying module: m@v1.0.0: cannot authenticate record data in server response":             record.TamperedRejected,
		"go.sum database server misbehavior detected!":                                                         record.TamperedRejected,
		"m@v1.0.0: verifying module: m@v1.0.0: reading tree note: invalid signature for key sum.test+640e65a8": record.TamperedRejected,
		"m@v1.0.0: verifying module: initializing sumdb.Client: checking tree#6: downloaded inconsistent tile": record.TamperedRejected,
		"m@v1.0.0: verifying module: m@v1.0.0: malformed record data":                                          "",
	} {
		cell := &record.Cell{Class: "sumdb-bad-response", Stderr: stderr}
		assert.Equal(t, want, Integrity(cell, record.Project{}), stderr)
	}
}

func judgedRun() *record.Run {
	return &record.Run{
		Projects: []record.Project{{Name: "p", Private: []string{"git.corp.example/a"}}},
		Private:  []string{"git.corp.example"},
	}
}

func TestJudge(t *testing.T) {
	cell := &record.Cell{
		Key:      record.Key{Project: "p"},
		Outcome:  record.Error,
		Stderr:   "go: git.corp.example/a@v1.0.0: reading https://proxy.example/git.corp.example/a/@v/v1.0.0.info: 404 Not Found\n",
		Seconds:  3,
		Requests: []record.Request{{Start: 1, First: 2, End: 2, Host: "proxy.example", Method: "GET", Path: "/git.corp.example/a/@v/v1.0.0.info"}},
		Modules:  []record.Module{{Path: "m", Sum: "h1:a=", Good: true}},
	}
	Judge(judgedRun(), cell)
	first := *cell
	assert.Equal(t, "http-404", cell.Class)
	assert.Equal(t, record.Attribution{Wait: 1, Local: 2}, cell.Attribution)
	assert.Equal(t, record.Unverified, cell.Integrity)
	assert.Equal(t, []record.Leak{{Module: "git.corp.example/a", Host: "proxy.example", How: "GET /git.corp.example/a/@v/v1.0.0.info"}}, cell.Leaks)

	Judge(judgedRun(), cell)
	assert.Equal(t, first, *cell, "judging again changes nothing")
}

func seconds(s record.Seconds) *record.Seconds { return &s }

func TestBroken(t *testing.T) {
	key := record.Key{Scenario: "s", Config: "mirror-comma"}
	failed := record.Cell{Key: key, Outcome: record.Error, Class: "http-500", Seconds: 1.5}
	for _, tc := range []struct {
		name   string
		expect record.Expectation
		want   string
	}{
		{"as expected", record.Expectation{Configs: "*-comma", Outcome: record.Error, Class: "http-500", Min: seconds(1.5), Max: seconds(1.5)}, ""},
		{"any outcome", record.Expectation{Configs: "*"}, ""},
		{"another config", record.Expectation{Configs: "*-pipe", Outcome: record.OK}, ""},
		{"outcome", record.Expectation{Configs: "*", Outcome: record.OK}, "expected ok, got error http-500 in 1.500 s (s.yaml:9:3)"},
		{"class", record.Expectation{Configs: "*", Class: "http-503"}, "expected http-503, got error http-500 in 1.500 s (s.yaml:9:3)"},
		{"too late", record.Expectation{Configs: "*", Outcome: record.Error, Min: seconds(0), Max: seconds(1)}, "expected error in 0 to 1 s, got error http-500 in 1.500 s (s.yaml:9:3)"},
		{"too early", record.Expectation{Configs: "*", Min: seconds(2)}, "expected in at least 2 s, got error http-500 in 1.500 s (s.yaml:9:3)"},
		{"too late without a least", record.Expectation{Configs: "*", Max: seconds(1.25)}, "expected in at most 1.25 s, got error http-500 in 1.500 s (s.yaml:9:3)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.expect.Where = "s.yaml:9:3"
			run := &record.Run{Scenarios: []record.Scenario{{Name: "other"}, {Name: "s", Expect: []record.Expectation{tc.expect}}}}
			var want []string
			if tc.want != "" {
				want = []string{tc.want}
			}
			assert.Equal(t, want, Broken(run, &failed))
		})
	}
}

func TestBrokenByOutcome(t *testing.T) {
	run := &record.Run{Scenarios: []record.Scenario{{Name: "s", Expect: []record.Expectation{
		{Configs: "*", Outcome: record.OK, Where: "a"}, {Configs: "c", Outcome: record.OK, Where: "b"},
	}}}}
	for outcome, want := range map[record.Outcome]int{
		record.OK: 0, record.Error: 2, record.Hang: 2, record.Skipped: 0, record.HarnessError: 0,
	} {
		cell := &record.Cell{Key: record.Key{Scenario: "s", Config: "c"}, Outcome: outcome}
		assert.Len(t, Broken(run, cell), want, outcome)
	}
	unexercised := &record.Cell{
		Key: record.Key{Scenario: "s", Config: "c"}, Outcome: record.Error,
		Faults: []record.FaultCount{{Fault: "f", Bit: 0}},
	}
	assert.Len(t, Broken(run, unexercised), 2, "what was expected did not happen, exercised or not")
	assert.Empty(t, Broken(run, &record.Cell{Key: record.Key{Scenario: "unknown"}, Outcome: record.Error}))
}

func TestEveryClassHasARemedyAndNothingElseDoes(t *testing.T) {
	classes := map[string]bool{Hang: true, AttemptTimeout: true, Unclassified: true}
	for _, s := range stages {
		for _, r := range s.rules {
			classes[r.class] = true
		}
	}
	assert.Equal(t, slices.Sorted(maps.Keys(classes)), slices.Sorted(maps.Keys(remedies)))
	for class, remedy := range remedies {
		assert.True(t, strings.HasSuffix(remedy, "."), "%s: %q is no sentence", class, remedy)
	}
	assert.Empty(t, Remedy(""))
}
