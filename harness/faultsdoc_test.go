//go:build linux

package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

// A saying is what a program says of a fault, in a row of docs/faults.md.
type saying struct {
	setting Setting
	words   string // part of the output in backquotes, "accepted" or "waits"
}

// TestFaultsDocument runs what docs/faults.md says of the go command and of git.
func TestFaultsDocument(t *testing.T) {
	t.Parallel()
	requireLab(t)
	all := readSayings(t, gitHasGnuTLS())
	var settings []Setting
	for _, s := range all {
		settings = append(settings, s.setting)
	}
	cells := runSettings(t, settings)
	for _, s := range all {
		t.Run(s.setting.About+" in "+s.setting.ID, func(t *testing.T) {
			cell := cells[s.setting.ID]
			require.NotNil(t, cell, "the run has left it out")
			switch s.words {
			case "accepted":
				assert.Equal(t, record.OK, cell.Outcome, "%s", cell.Stderr)
			case "waits":
				assert.Equal(t, record.Hang, cell.Outcome, "%s", cell.Stderr)
			default:
				assert.Equal(t, record.Error, cell.Outcome)
				assert.Contains(t, cell.Stderr, strings.Trim(s.words, "`"))
			}
			for _, f := range cell.Faults {
				assert.Positive(t, f.Bit, "the counter of %s", f.Fault)
			}
		})
	}
}

// readSayings reads the rows whose first cell is a fault. What git says depends on the library that it is
// built with. Of faults of the client's files and of modules, the second column is with a checksum database; of
// those of a database, the first is at its own host, and the second at the module proxy.
func readSayings(t *testing.T, git bool) (all []saying) {
	t.Helper()
	text, err := os.ReadFile("../docs/faults.md")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		fault := strings.Trim(cells[0], "| `")
		if len(cells) != 3 || !strings.Contains(fault, "{") {
			continue
		}
		row := len(all)
		if strings.HasPrefix(fault, "sumdb:") {
			checked := map[string]string{"GOPROXY": "https://a.test", "GOSUMDB": "sum.test"}
			all = append(all, newSaying(t, fmt.Sprintf("sumdb-%d", row), fault, "R", "sum.test", checked, cells[1]))
			passed := newSaying(t, fmt.Sprintf("passed-%d", row), fault, "R", "a.test", checked, cells[2])
			passed.setting.World = "database-at-proxy"
			all = append(all, passed)
			continue
		}
		if strings.HasPrefix(fault, "vcs:") || strings.HasPrefix(fault, "client: {missing:") {
			all = append(all, repositorySayings(t, row, fault, cells[1], cells[2])...)
			continue
		}
		if strings.HasPrefix(fault, "forward:") {
			env := map[string]string{"GOPROXY": "https://a.test", "GOSUMDB": "off", "HTTPS_PROXY": "http://fwd.test:3128"}
			all = append(all, newSaying(t, fmt.Sprintf("go-%d", row), fault, "R", "fwd.test:3128", env, cells[1]))
			if git {
				env = map[string]string{"GOPROXY": "direct", "GOSUMDB": "off", "https_proxy": "http://fwd.test:3128"}
				all = append(all, newSaying(t, fmt.Sprintf("git-%d", row), fault, "github", "fwd.test:3128", env, cells[2]))
			}
			continue
		}
		proxy := map[string]string{"GOPROXY": "https://a.test", "GOSUMDB": "off"}
		all = append(all, newSaying(t, fmt.Sprintf("go-%d", row), fault, "R", "a.test", proxy, cells[1]))
		switch {
		case strings.Contains(fault, "cache:") || strings.Contains(fault, "disk:") || strings.HasPrefix(fault, "module:"):
			checked := map[string]string{"GOPROXY": "https://a.test", "GOSUMDB": "sum.test"}
			all = append(all, newSaying(t, fmt.Sprintf("sumdb-%d", row), fault, "R", "a.test", checked, cells[2]))
		case git:
			direct := map[string]string{"GOPROXY": "direct", "GOSUMDB": "off"}
			all = append(all, newSaying(t, fmt.Sprintf("git-%d", row), fault, "github", "github.com", direct, cells[2]))
		}
	}
	require.NotEmpty(t, all)
	return all
}

// repositorySayings returns those of a fault of repositories, without a checksum database and with one. A fault of
// pages is at a host that the go command asks for them.
func repositorySayings(t *testing.T, row int, fault, without, with string) (all []saying) {
	t.Helper()
	project, host := "github", "github.com"
	if strings.Contains(fault, "meta:") || strings.Contains(fault, "repositories:") {
		project, host = "R", "pub.test"
	}
	for db, words := range map[string]string{"off": without, "sum.test": with} {
		env := map[string]string{"GOPROXY": "direct", "GOSUMDB": db}
		all = append(all, newSaying(t, scenarioName(fmt.Sprintf("vcs-%d-%s", row, db)), fault, project, host, env, words))
	}
	return all
}

func newSaying(t *testing.T, id, fault, project, host string, env map[string]string, words string) saying {
	t.Helper()
	var declared map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(fault), &declared), fault)
	if _, ok := declared["client"]; !ok {
		declared["host"] = host
	}
	// A distance, as in life: where there is none, it is chance whether a TLS 1.3 server's alert comes before
	// the client has sent its request, and clients have other words for that.
	distance := map[string]any{"host": host, "packet": map[string]any{"delay": "20ms"}}
	s := Setting{ID: id, About: fault, Project: project, Env: env, Faults: []map[string]any{declared, distance}}
	if strings.Contains(fault, "disk:") || strings.HasPrefix(fault, "client: {missing:") || strings.Contains(fault, "cache:") || strings.HasPrefix(fault, "sumdb:") {
		s.Faults = s.Faults[:1] // a command that fails at once meets no distance
	}
	words = strings.TrimSuffix(strings.TrimSpace(words), " |")
	if words == "waits" {
		s.Deadline = shortDeadline.String()
	}
	return saying{s, words}
}

// gitHasGnuTLS reports whether git is built with GnuTLS.
func gitHasGnuTLS() bool {
	dir, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return false
	}
	libraries, _ := exec.Command("ldd", filepath.Join(strings.TrimSpace(string(dir)), "git-remote-https")).Output()
	return strings.Contains(string(libraries), "gnutls")
}
