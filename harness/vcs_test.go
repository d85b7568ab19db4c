//go:build linux

package harness

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// TestRepositorySettings runs what users set about repositories, where it helps and where it does not.
func TestRepositorySettings(t *testing.T) {
	t.Parallel()
	requireLab(t)
	fault := func(host, layer string, what map[string]any) []map[string]any {
		return []map[string]any{{"host": host, layer: what}}
	}
	refused := map[string]any{"reject": "rst"}
	unauthorized := fault("corp.test", "vcs", map[string]any{"repository": "unauthorized"})
	outsideOnly := fault("fwd.test:3128", "forward", map[string]any{"allow": []string{"pub.test", "code.test", "a.test"}})
	direct := func(more ...string) map[string]string {
		env := map[string]string{"GOPROXY": "direct", "GOSUMDB": "off"}
		for i := 0; i < len(more); i += 2 {
			env[more[i]] = more[i+1]
		}
		return env
	}
	rows := []struct {
		Setting
		class string // empty: it goes well
		words string
		hosts []string // in the order of first contact; nil means not checked
		unmet bool     // the command does not meet the fault
	}{
		{Setting: Setting{ID: "vanity-healthy", Project: "R", Env: direct()}, hosts: []string{"pub.test", "code.test"}},
		{Setting: Setting{ID: "vanity-dead", Project: "R", Env: direct(), Faults: fault("pub.test", "packet", refused)},
			class: "vanity-unreachable", hosts: []string{"pub.test"}},
		{Setting: Setting{ID: "vanity-alive-code-dead", Project: "R", Env: direct(), Faults: fault("code.test", "packet", refused)},
			class: "git-unreachable", hosts: []string{"pub.test", "code.test"}},
		{Setting: Setting{ID: "vanity-dead-proxy", Project: "R", Env: direct("GOPROXY", "https://a.test,direct"), Faults: fault("pub.test", "packet", refused)},
			hosts: []string{"a.test"}, unmet: true},

		{Setting: Setting{ID: "wrong-netrc", Project: "PR", Env: direct(), Netrc: "machine corp.test login alice password wrong\n", Faults: unauthorized},
			class: "git-auth-required", words: "terminal prompts disabled"}, // git does not know that curl had a password
		{Setting: Setting{ID: "wrong-url", Project: "PR", Env: direct(), GitConfig: "[url \"https://alice:wrong@corp.test/\"]\n\tinsteadOf = https://corp.test/\n", Faults: unauthorized},
			class: "git-auth-required", words: "Authentication failed for 'https://corp.test/team/secret001.git/'"},
		{Setting: Setting{ID: "no-netrc", Project: "PR", Env: direct(), Faults: unauthorized},
			class: "git-auth-required", words: "terminal prompts disabled"},
		{Setting: Setting{ID: "prompting", Project: "PR", Env: direct("GIT_TERMINAL_PROMPT", "1"), Faults: unauthorized},
			class: "git-auth-required", words: "could not read Username for 'https://corp.test': No such device or address"},

		{Setting: Setting{ID: "govcs-off", Project: "R", Env: direct("GOVCS", "*:off")},
			class: "govcs-forbidden", words: "GOVCS disallows using git for public pub.test/acme/lib001"},
		{Setting: Setting{ID: "govcs-private", Project: "PR", Env: direct("GOVCS", "public:off,private:git", "GOPRIVATE", "corp.test")}},
		{Setting: Setting{ID: "govcs-proxy", Project: "R", Env: direct("GOVCS", "*:off", "GOPROXY", "https://a.test,direct")}},

		{Setting: Setting{ID: "private-by-proxy", Project: "PR", Env: direct("HTTPS_PROXY", "http://fwd.test:3128"), Faults: outsideOnly},
			class: "fwdproxy-denied"},
		{Setting: Setting{ID: "private-past-proxy", Project: "PR", Env: direct("HTTPS_PROXY", "http://fwd.test:3128", "NO_PROXY", "corp.test"), Faults: outsideOnly},
			hosts: []string{"corp.test"}, unmet: true},
		{Setting: Setting{ID: "public-by-proxy", Project: "R", Env: direct("HTTPS_PROXY", "http://fwd.test:3128"), Faults: outsideOnly}, unmet: true},

		{Setting: Setting{ID: "low-speed", Project: "R", Env: direct("GIT_HTTP_LOW_SPEED_LIMIT", "1", "GIT_HTTP_LOW_SPEED_TIME", "2"),
			Faults: fault("code.test", "vcs", map[string]any{"pack": "stalled"})},
			class: "git-transfer-interrupted", words: "Operation too slow"},
	}
	var settings []Setting
	for i := range rows {
		rows[i].World = "vanity"
		settings = append(settings, rows[i].Setting)
	}
	cells := runSettings(t, settings)
	for _, row := range rows {
		t.Run(row.ID, func(t *testing.T) {
			cell := cells[row.ID]
			require.NotNil(t, cell, "the run has left it out")
			want := record.OK
			if row.class != "" {
				want = record.Error
			}
			require.Equal(t, want, cell.Outcome, "%s%s", cell.Note, cell.Stderr)
			assert.Equal(t, row.class, cell.Class, "class of %s", cell.Stderr)
			assert.Contains(t, cell.Stderr, row.words)
			if row.hosts != nil {
				assert.Equal(t, row.hosts, withoutNameservers(cell.Hosts))
			}
			for _, f := range cell.Faults {
				assert.Equal(t, row.unmet, f.Bit == 0, "%s bit %d times", f.Fault, f.Bit)
			}
			if row.ID == "low-speed" {
				assert.GreaterOrEqual(t, float64(cell.Seconds), 4.0, "it is tried twice")
			}
		})
	}
}
