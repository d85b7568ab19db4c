package verdict

import (
	"slices"
	"strings"
)

// Error texts reach a reader through other programs: docker build and CI put times before each line, loggers quote
// lines, terminals wrap and color them, and people paste them with or without what was at their left.

var (
	colors  = lazy(`\x1b\[[0-9;?]*[A-Za-z]`)
	escaped = lazy(`\\"|"\w+":\s*"|\bmsg="|\\n(?:\\t|\s|"|$|[a-z]+: |go )`) // a text that some program quoted, and no path of Windows
	leading = lazy(`^(?:` + strings.Join([]string{
		`\[?(?:\d{4}[-/]\d\d[-/]\d\d[T ])?\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?:?[ \t]`, // 2026-11-21T08:40:27.735Z
		`[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?[ \t]`,                                        // Jan  5 08:40:27
		`[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [\w.]+:\d+\] `,                                         // klog
		`(?:=> )+(?:# )?|#\d+ (?:\d+\.\d+ )?`,                                                        // docker build
		`\d+\.\d+ `,                                                                                  // docker build
		`\[[\w ./:-]+\]:?[ \t]`,                                                                      // [stderr], [   34s], [2/4]
		`[\w.-]+ +\| `,                                                                               // docker compose
		`[>|]+ ?|[ \t]*│ ?|` + "`+",                                                                  // quoted, or drawn around
		`(?i:std(?:err|out)): `,                                                                      // bazel
		`(?:err: )?exit status \d+: (?:stderr: )?`,                                                   // gopls
		`\d\d[OE][ +]`,                                                                               // GitLab
		`[{\s]*"\w+":\s*"`,                                                                           // JSON
		`(?:ERROR|Error|ERR|FATAL): ?|ERR[ \t]`,                                                      // lower case is git's
		`(?:ERRO|FATA|WARN|INFO)\[\d+\] `,                                                            // logrus
		`(?:time=\S+ )?level=\w+ msg="?`,
	}, "|") + `)`)
	chatter = lazy(`^go: (?:(?:downloading|finding|extracting) |.*; switching to go1)`)
)

// unwrap returns what the go command and git said, of text: without what other programs put before its lines,
// and without the lines that tell of no error.
func unwrap(text string) string {
	text = strings.ReplaceAll(colors().ReplaceAllString(text, ""), "\r\n", "\n")
	if escaped().MatchString(text) {
		text = unescape.Replace(text)
	}
	var kept []string
	for line := range strings.Lines(dedent(slices.Collect(strings.Lines(text)))) {
		if line = bare(line); !chatter().MatchString(strings.TrimLeft(line, " \t")) {
			kept = append(kept, line)
		}
	}
	return dedent(kept)
}

var unescape = strings.NewReplacer(`\\\"`, `"`, `\\"`, `"`, `\"`, `"`, `\\n`, "\n", `\\t`, "\t", `\n`, "\n", `\t`, "\t")

// bare takes off what is before a line, which may be several things. A line of the -x trace begins with a "#", too.
func bare(line string) string {
	for !traceLine().MatchString(line) {
		at := leading().FindStringIndex(line)
		if at == nil {
			break
		}
		line = line[at[1]:]
	}
	return line
}

// dedent joins lines, without the indentation that all have.
func dedent(lines []string) string {
	indent := ""
	for i, line := range lines {
		if own := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; i == 0 {
			indent = own
		} else if strings.TrimSpace(line) != "" {
			indent = sharedStart(indent, own)
		}
	}
	var all strings.Builder
	for _, line := range lines {
		all.WriteString(strings.TrimPrefix(line, indent))
	}
	return all.String()
}

// sharedStart returns the beginning that a and b share.
func sharedStart(a, b string) string {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return a[:i]
		}
	}
	return a[:n]
}
