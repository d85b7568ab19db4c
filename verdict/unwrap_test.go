package verdict

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// wrappers are what other programs, terminals and people make of what the go command printed.
var wrappers = map[string]func(string) string{
	"docker build":     before("#12 3.456 "),
	"docker build, v2": before("0.433 "),
	"docker compose":   before("api-1  | "),
	"GitHub Actions":   before("2026-11-21T08:40:27.7351234Z "),
	"Jenkins":          before("[2026-11-21T08:40:27.735Z] "),
	"GitLab":           before("2026-11-21T08:40:27.735Z 01O "),
	"a log":            before("2026/11/21 08:40:27 "),
	"syslog":           before("Jan  5 08:40:27 "),
	"stderr":           before("[stderr] "),
	"bazel":            before("stderr: "),
	"logrus":           before("ERRO[0033] "),
	"a quotation":      before("> "),
	"a box":            before("│ "),
	"code":             before("    "),
	"gopls":            func(s string) string { return "err: exit status 1: stderr: " + s },
	"Dependabot":       func(s string) string { return "Dependabot::DependencyFileNotResolvable\n" + s },
	"renovate":         func(s string) string { return "Command failed: go mod tidy\n" + s },
	"a tool":           func(s string) string { return "ERROR: " + s },
	"CRLF":             func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
	"colors":           func(s string) string { return "\x1b[31;1m" + strings.ReplaceAll(s, ": ", ":\x1b[0m ") + "\x1b[0m" },
	"JSON":             func(s string) string { return `{"error": ` + quoted(s) + "}" },
	"a log of a log":   func(s string) string { return "level=error msg=" + quoted(`{"error": `+quoted(s)+"}") },
	"no indentation":   func(s string) string { return regexp.MustCompile(`(?m)^[ \t]+`).ReplaceAllLiteralString(s, "") },
	"make": func(s string) string {
		return "go mod download\n" + s + "\nmake: *** [Makefile:44: tidy] Error 1\nError: Process completed with exit code 1.\n"
	},
	"docker": func(s string) string {
		return "Step 5/9 : RUN go mod download\n ---> Running in 25f0067cd096\ngo: downloading m.example/lib v1.0.0\n" + s +
			"\nThe command '/bin/sh -c go mod download' returned a non-zero code: 1\n"
	},
}

// before is a wrapper that puts the same before each line.
func before(what string) func(string) string {
	return func(s string) string { return what + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n"+what) }
}

// quoted is s as a JSON string.
func quoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // never for a string
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Each line goes through some of the wrappers, and each wrapper gets some of every file: all would take long.
func TestClassifyWhatOtherProgramsPassOn(t *testing.T) {
	t.Parallel()
	all := append(lines(t), linesOf(t, "testdata/issues.tsv")...)
	for w, name := range slices.Sorted(maps.Keys(wrappers)) {
		t.Run(name, func(t *testing.T) {
			const every = 24 // as there are that many wrappers
			for i := w % every; i < len(all); i += every {
				text := wrappers[name](all[i].line)
				assert.Equal(t, all[i].class, Classify(failed(text), run), text)
			}
		})
	}
}

// Terminals break lines at their width, in the middle of words. What is left of a line may look like another error, so
// that not every line can be told.
func TestClassifyLinesThatATerminalBroke(t *testing.T) {
	t.Parallel()
	right, all := 0, 0
	for i, l := range linesOf(t, "testdata/issues.tsv") {
		rest := 3 + i%10
		text := l.line[:len(l.line)-rest] + "\n" + l.line[len(l.line)-rest:]
		all++
		if Classify(failed(text), run) == l.class {
			right++
		}
	}
	assert.GreaterOrEqual(t, float64(right)/float64(all), 0.9)
}

// TestClassifyByStage puts what goes wrong on the way to a host into what the go command prints around it, which
// changed with its releases.
func TestClassifyByStage(t *testing.T) {
	t.Parallel()
	for _, l := range linesOf(t, "testdata/network.tsv") {
		columns := strings.SplitN(l.line, "\t", 3)
		vanity, sumdb, text := columns[0], columns[1], columns[2]
		for _, tc := range []struct{ class, before, after string }{
			{l.class, `go: m.test/lib@v1.0.0: Get "https://a.test/m.test/lib/@v/v1.0.0.mod": `, ""},
			{l.class, `go get m.test/lib: module m.test/lib: Get https://a.test/m.test/lib/@v/list: `, ""},
			{l.class, "go: app.test/app imports\n\tm.test/lib tested by\n\tm.test/lib.test imports\n\tm.test/other: " +
				`m.test/other@v1.0.0: Get "https://a.test/m.test/other/@v/v1.0.0.zip": `, ""},
			{l.class, `main.go:4:2: m.test/lib@v1.0.0: Get "https://a.test/m.test/lib/@v/v1.0.0.zip": `, "\nmain.go:5:2: too"},
			{vanity, `package m.test/lib: unrecognized import path "m.test/lib" (https fetch: Get https://m.test/lib?go-get=1: `, ")"},
			{vanity, `go: m.test/lib@v1.0.0: unrecognized import path "m.test/lib": https fetch: Get "https://m.test/lib?go-get=1": `, ""},
			{vanity, "Fetching https://m.test/lib?go-get=1\nhttps fetch failed: Get https://m.test/lib?go-get=1: ", ""},
			{sumdb, `go: m.test/lib@v1.0.0: verifying module: m.test/lib@v1.0.0: Get "https://sum.example/lookup/m.test/lib@v1.0.0": `, ""},
			{sumdb, `go: m.test/lib@v1.0.0: verifying go.mod: m.test/lib@v1.0.0/go.mod: Get "https://a.test/sumdb/sum.example/tile/8/0/x040/747": `, ""},
		} {
			if tc.class == "same" {
				tc.class = l.class
			}
			assert.Equal(t, tc.class, Classify(failed(tc.before+text+tc.after), run), tc.before+text)
		}
	}
}

// TestClassifyWhatGitSays puts what git says into what the go command prints around it.
func TestClassifyWhatGitSays(t *testing.T) {
	t.Parallel()
	const command = "git fetch -f origin refs/heads/*:refs/heads/* refs/tags/*:refs/tags/* in /go/pkg/mod/cache/vcs/0123: exit status 128:\n"
	for _, l := range linesOf(t, "testdata/git.tsv") {
		indented := "\t" + strings.ReplaceAll(l.line, "\n", "\n\t")
		for _, text := range []string{
			l.line,
			"go: m.test/lib@v1.0.0: invalid version: " + command + indented,
			"go: app.test/app imports\n\tm.test/lib: reading m.test/lib/go.mod at revision v1.0.0: " + command + indented,
			"go get m.test/lib: module m.test/lib: " + command + l.line,
			"# cd .; git clone https://git.test/lib /go/src/m.test/lib\nCloning into '/go/src/m.test/lib'...\n" + l.line +
				"\npackage m.test/lib: exit status 128",
		} {
			assert.Equal(t, l.class, Classify(failed(text), run), text)
		}
	}
}
