package fakeupstream_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// A liar is an honest database and one that lies about the same modules, both with the same key.
type liar struct {
	vkey          string
	honest, lying *fakeupstream.ChecksumDB
}

func newLiar(t *testing.T, f scenarios.SumDBFault, modules []fakeupstream.Module) liar {
	skey, vkey := keys(t, "sum.test")
	honest, err := fakeupstream.NewChecksumDB("sum.test", skey, modules)
	require.NoError(t, err)
	signed, err := fakeupstream.NewChecksumDB("sum.test", skey, fakeupstream.WrongSums(f, modules))
	require.NoError(t, err)
	lying, err := fakeupstream.OpenWrongChecksumDB(f, "sum.test", signed.SignedTree(), modules)
	require.NoError(t, err)
	return liar{vkey, honest, lying}
}

// TestLyingDatabases has the go command's own library look up what each lie is about.
func TestLyingDatabases(t *testing.T) {
	for _, tc := range []struct {
		fault    scenarios.SumDBFault
		newcomer string // error of a client that has seen nothing before; empty means none
		knowing  string // of one that has seen the honest tree
		wrong    bool   // the newcomer gets a wrong hash
	}{
		{scenarios.SumDBFault{Answer: scenarios.SumDBWrongHash, Module: "*/m7"}, "", "security error", true},
		{scenarios.SumDBFault{Answer: scenarios.SumDBForked}, "", "inconsistent tile", false},
		{scenarios.SumDBFault{Answer: scenarios.SumDBStale, Module: "*/m7"}, "404", "404", false},
		{scenarios.SumDBFault{Answer: scenarios.SumDBBadSignature}, "invalid signature for key", "invalid signature for key", false},
		{scenarios.SumDBFault{Answer: scenarios.SumDBAlteredRecord}, "cannot authenticate record data", "cannot authenticate record data", false},
	} {
		t.Run(string(tc.fault.Answer), func(t *testing.T) {
			l := newLiar(t, tc.fault, manyModules(300))
			ops := &memoryOps{t: t, vkey: l.vkey, handler: l.lying}
			lines, err := sumdb.NewClient(ops).Lookup("example.test/m7", "v1.0.0")
			if tc.newcomer != "" {
				require.ErrorContains(t, err, tc.newcomer)
			} else {
				require.NoError(t, err)
				right := assert.ObjectsAreEqual([]string{"example.test/m7 v1.0.0 h1:zip7="}, lines)
				assert.Equal(t, tc.wrong, !right, "%q", lines)
			}

			knowing := &alarmedOps{memoryOps: memoryOps{t: t, vkey: l.vkey, handler: l.honest}}
			client := sumdb.NewClient(knowing)
			_, err = client.Lookup("example.test/m8", "v1.0.0")
			require.NoError(t, err)
			knowing.handler = l.lying
			_, err = client.Lookup("example.test/m7", "v1.0.0")
			assert.ErrorContains(t, err, tc.knowing)
		})
	}
}

// TestLieAboutSome checks that a lie leaves alone what it is not about.
func TestLieAboutSome(t *testing.T) {
	for _, answer := range []scenarios.SumDBAnswer{scenarios.SumDBWrongHash, scenarios.SumDBStale, scenarios.SumDBAlteredRecord} {
		l := newLiar(t, scenarios.SumDBFault{Answer: answer, Module: "*/m7", Version: "v1.*"}, manyModules(300))
		ops := &memoryOps{t: t, vkey: l.vkey, handler: l.lying}
		lines, err := sumdb.NewClient(ops).Lookup("example.test/m8", "v1.0.0")
		require.NoError(t, err, answer)
		assert.Equal(t, []string{"example.test/m8 v1.0.0 h1:zip8="}, lines, answer)
	}
}

// TestStaleDatabaseLacksTheNewest checks that without a glob only the newest versions are not there yet.
func TestStaleDatabaseLacksTheNewest(t *testing.T) {
	modules := []fakeupstream.Module{
		{Path: "m.test/a", Version: "v1.2.0", Sum: "h1:old="},
		{Path: "m.test/a", Version: "v1.10.0", Sum: "h1:new="},
		{Path: "m.test/b", Version: "v1.0.0", Sum: "h1:b="},
	}
	left := fakeupstream.WrongSums(scenarios.SumDBFault{Answer: scenarios.SumDBStale, Module: "*/a"}, modules)
	assert.Equal(t, []fakeupstream.Module{modules[0], modules[2]}, left)
}

func TestMeetsSumDBFault(t *testing.T) {
	forked := scenarios.SumDBFault{Answer: scenarios.SumDBForked}
	altered := scenarios.SumDBFault{Answer: scenarios.SumDBAlteredRecord, Module: "m.test/*"}
	for path, want := range map[string][2]bool{
		"/lookup/m.test/a@v1.0.0":                {true, true},
		"/sumdb/sum.test/lookup/m.test/a@v1.0.0": {true, true},
		"/lookup/other.test/a@v1.0.0":            {true, false},
		"/tile/8/0/000.p/1":                      {true, false},
		"/latest":                                {true, false},
		"/sumdb/sum.test/supported":              {false, false},
	} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		assert.Equal(t, want, [2]bool{fakeupstream.MeetsSumDBFault(forked, r), fakeupstream.MeetsSumDBFault(altered, r)}, path)
	}
}

// alarmedOps expects a security error.
type alarmedOps struct{ memoryOps }

func (*alarmedOps) SecurityError(string) {}
