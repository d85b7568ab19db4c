//go:build linux

package harness

import (
	"cmp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// A lie is something that a module proxy or a checksum database says that is not so, and what becomes of a
// client that hears it.
type lie struct {
	fault     map[string]any
	host      string // empty means a.test
	env       map[string]string
	world     string
	project   string // empty means R
	outcome   record.Outcome
	class     string
	integrity record.Integrity
	version   string // of the module in the cache at the end; empty means that there is none
}

// Settings of lies.
var (
	checked   = map[string]string{"GOPROXY": "https://a.test,https://b.test", "GOSUMDB": "sum.test"}
	piped     = map[string]string{"GOPROXY": "https://a.test|https://b.test", "GOSUMDB": "sum.test"}
	unchecked = map[string]string{"GOPROXY": "https://a.test,https://b.test", "GOSUMDB": "off"}
)

func moduleLie(key string, value any) map[string]any {
	return map[string]any{"module": map[string]any{key: value}}
}

func sumdbLie(key string, value any) map[string]any {
	return map[string]any{"sumdb": map[string]any{key: value}}
}

var lies = map[string]lie{
	"changed zip":            {fault: moduleLie("zip", "changed"), env: checked, outcome: record.Error, class: "sumdb-checksum-mismatch", integrity: record.TamperedRejected},
	"changed zip, piped":     {fault: moduleLie("zip", "changed"), env: piped, outcome: record.Error, class: "sumdb-checksum-mismatch", integrity: record.TamperedRejected},
	"changed zip, unchecked": {fault: moduleLie("zip", "changed"), env: unchecked, outcome: record.OK, integrity: record.TamperedAccepted, version: "v1.0.0"},
	"changed zip, in go.sum": {fault: moduleLie("zip", "changed"), env: unchecked, project: "R-gosum", outcome: record.Error, class: "gosum-checksum-mismatch", integrity: record.TamperedRejected},

	"truncated zip":  {fault: moduleLie("zip", "truncated"), env: piped, outcome: record.Error, class: "zip-invalid"},
	"no zip":         {fault: moduleLie("zip", "not-a-zip"), env: piped, outcome: record.Error, class: "zip-invalid"},
	"zip of another": {fault: moduleLie("zip", "other-module"), env: piped, outcome: record.Error, class: "module-path-mismatch"},

	"changed mod":            {fault: moduleLie("mod", "changed"), env: checked, outcome: record.Error, class: "sumdb-checksum-mismatch", integrity: record.TamperedRejected, version: "v1.0.0"},
	"changed mod, unchecked": {fault: moduleLie("mod", "changed"), env: unchecked, outcome: record.OK, integrity: record.TamperedAccepted, version: "v1.0.0"},
	"no mod, unchecked":      {fault: moduleLie("mod", "not-a-mod"), env: unchecked, outcome: record.Error, class: "go-mod-invalid", integrity: record.TamperedAccepted, version: "v1.0.0"},
	"mod of another":         {fault: moduleLie("mod", "other-module"), env: checked, outcome: record.Error, class: "sumdb-checksum-mismatch", integrity: record.TamperedRejected, version: "v1.0.0"},

	"stale list":          {fault: moduleLie("stale", true), env: checked, project: "I-two", outcome: record.OK, integrity: record.Verified, version: "v1.0.0"},
	"stale list, by name": {fault: moduleLie("stale", true), env: checked, project: "R", outcome: record.OK, integrity: record.Verified, version: "v1.0.0"},
	"missing":             {fault: moduleLie("missing", 410), env: checked, outcome: record.OK, integrity: record.Verified, version: "v1.0.0"},
	"missing, with 500":   {fault: moduleLie("missing", 500), env: checked, outcome: record.Error, class: "upstream-unknown-revision"},
	"missing 500, piped":  {fault: moduleLie("missing", 500), env: piped, outcome: record.OK, integrity: record.Verified, version: "v1.0.0"},
	"cold cache":          {fault: moduleLie("uncached", true), host: "cache.test", world: "caching-proxy", env: map[string]string{"GOPROXY": "https://cache.test", "GOSUMDB": "sum.test"}, outcome: record.OK, integrity: record.Verified, version: "v1.0.0"},

	"wrong hash":             {fault: sumdbLie("answer", "wrong-hash"), host: "sum.test", env: checked, outcome: record.Error, class: "sumdb-checksum-mismatch", integrity: record.TamperedRejected},
	"altered record":         {fault: sumdbLie("answer", "altered-record"), host: "sum.test", env: checked, outcome: record.Error, class: "sumdb-bad-response", integrity: record.TamperedRejected},
	"bad signature":          {fault: sumdbLie("answer", "bad-signature"), host: "sum.test", env: checked, outcome: record.Error, class: "sumdb-bad-response", integrity: record.TamperedRejected},
	"stale database":         {fault: sumdbLie("answer", "stale"), host: "sum.test", env: checked, outcome: record.Error, class: "sumdb-not-found"},
	"forked, for a newcomer": {fault: sumdbLie("answer", "forked"), host: "sum.test", env: checked, outcome: record.OK, integrity: record.Verified, version: "v1.0.0"},
	"corrupt on disk":        {fault: sumdbLie("known-tree", "corrupt"), host: "sum.test", env: checked, outcome: record.Error, class: "sumdb-state-corrupt"},
}

// TestLies has the go command hear each lie, and checks what it makes of it, and what the record and the verdict
// say was verified.
func TestLies(t *testing.T) {
	t.Parallel()
	requireLab(t)
	var settings []Setting
	for name, l := range lies {
		l.fault["host"] = cmp.Or(l.host, "a.test")
		settings = append(settings, Setting{ID: lieID(name), World: l.world, Project: cmp.Or(l.project, "R"), Env: l.env,
			Faults: []map[string]any{l.fault}})
	}
	cells := runSettings(t, settings)
	for name, l := range lies {
		t.Run(name, func(t *testing.T) {
			cell := cells[lieID(name)]
			require.NotNil(t, cell, "the run has left it out")
			require.Equal(t, l.outcome, cell.Outcome, cell.Stderr)
			assert.Equal(t, l.class, cell.Class, cell.Stderr)
			assert.Equal(t, l.integrity, cell.Integrity, "%+v", cell.Modules)
			version := ""
			for _, m := range cell.Modules {
				version = m.Version
			}
			assert.Equal(t, l.version, version, "version in the module cache")
			assert.Equal(t, l.project == "R", cell.Faults[0].Bit == 0, "bites of %s", cell.Faults[0].Fault)
		})
	}
}

// lieID is a name in the form of the scenario language.
func lieID(name string) string {
	return strings.NewReplacer(" ", "-", ",", "", ".", "-").Replace(name)
}

// TestColdCachesTellTheirUpstream checks that a private path which a caching proxy passes on counts as told to
// whom it asks, and that the upstream's requests are the proxy's and not the client's.
func TestColdCachesTellTheirUpstream(t *testing.T) {
	t.Parallel()
	requireLab(t)
	cold := moduleLie("uncached", true)
	cold["host"] = "cache.test"
	cell := runSettings(t, []Setting{{ID: "cold", World: "caching-proxy", Project: "PR", Faults: []map[string]any{cold},
		Env: map[string]string{"GOPROXY": "https://cache.test", "GOSUMDB": "off"}}})["cold"]
	require.NotNil(t, cell)
	require.Equal(t, record.Error, cell.Outcome, cell.Stderr)
	assert.Equal(t, []string{"cache.test", "a.test"}, leaked(cell))
	for _, c := range cell.Conns {
		assert.Equal(t, c.Host == "a.test", c.From == "cache.test", "%s is reached from %q", c.Host, c.From)
	}
}
