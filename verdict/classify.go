package verdict

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
)

// The classes that do not come from a line of text.
const (
	Hang           = "hang-no-output"  // the go command waited for ever; it says nothing while it does
	AttemptTimeout = "attempt-timeout" // the timeout of the config's wrapper ended the last attempt
	Unclassified   = "unclassified"    // it failed, and no rule knows how
)

// Classify returns the failure class of a cell: where it failed first, how second, because what helps
// depends on where. A timeout, for example, is tcp-connect-timeout on the way to a module proxy,
// sumdb-unreachable on the way to the checksum database and git-unreachable in git. [Remedy] knows the
// classes. Cells that did not fail, and those that say nothing about the config, have no class.
//
// If the go command printed several errors, the first one that a rule knows decides.
func Classify(cell *record.Cell, run *record.Run) string {
	switch cell.Outcome {
	case record.Hang:
		return Hang
	case record.Error:
		if endedByWrapper(cell) {
			return AttemptTimeout
		}
		class := classifyText(nameHosts(cell.Stderr, run, cell))
		if slices.Contains(notFound, class) && slices.ContainsFunc(cell.Requests, foundSlowly) {
			return slowNotFound
		}
		if slices.Contains(cutOffClasses, class) && proxySaidNothing(run, cell) {
			return "fwdproxy-connection-lost"
		}
		return class
	}
	return ""
}

// endedByWrapper reports whether the attempt that decided how the cell ended was one that a timeout ended: the
// last of the first command that did not end well.
func endedByWrapper(cell *record.Cell) bool {
	last := map[int]record.Outcome{}
	for _, a := range cell.Attempts {
		last[a.Command] = a.Outcome
	}
	for _, command := range slices.Sorted(maps.Keys(last)) {
		if last[command] != record.OK {
			return last[command] == record.Hang
		}
	}
	return false
}

// slowNotFound is the class of cells that failed as something was not found, after a proxy had looked for it for
// long. The go command does not say how long, but in its -x trace.
const slowNotFound = "slow-not-found"

// notFound are the classes of what is not found at once.
var notFound = []string{"http-404", "http-410", "upstream-unknown-revision", "unknown-revision"}

// foundSlowly reports whether the answer to a request is that there is no such thing, and took ten seconds or more.
func foundSlowly(r record.Request) bool {
	const slow = 10
	return (r.Status == 404 || r.Status == 410) && r.First-r.Start >= slow
}

func classifyText(text string) string {
	text = unwrap(text)
	for _, m := range messages(text) {
		if r := decide(m); r != nil {
			return r.class
		}
	}
	return classifyWrapped(text)
}

// classifyWrapped is for a text that was broken into lines where the go command did not: between words, or anywhere.
func classifyWrapped(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if !traceLine().MatchString(line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	for _, between := range []string{" ", ""} {
		for _, m := range messages(strings.Join(lines, between)) {
			if r := decide(m); r != nil {
				return r.class
			}
		}
	}
	return Unclassified
}

// decide returns the first rule that knows m, or nil.
func decide(m message) *rule {
	for _, s := range stages {
		if s.mark != nil && !s.mark().MatchString(m.text) {
			continue
		}
		for i := range s.rules {
			if r := &s.rules[i]; r.pattern().MatchString(r.part(m)) {
				return r
			}
		}
	}
	return nil
}

// A message is one error as the go command prints it: a line and the indented lines below it.
type message struct {
	text     string // what the go command and the programs that it started say
	response string // what a server said, which the go command quotes
	trace    string // a line of the -x trace instead: it tells a request, not an error
}

var (
	quotedResponse = lazy(`(?m)\bserver response:|(?:^\s*|")not found: `)
	traceLine      = lazy(`(?:^|\s|")# get \S+://`)
	ownFiles       = lazy(`missing go\.sum entry|no required module provides package`)
	newError       = lazy(`^(?:go(?: \w+)*: |go get )`)
	continuation   = lazy(`^(?:downloaded|go\.sum|\$go-sumdb|server response|):|^h1:`)
)

// messages cuts text into its messages. Last come what go.mod and go.sum lack, as what was done about that may have
// failed in its turn, and lines of the -x trace: a request that failed there may have been made good by another.
func messages(text string) []message {
	var errors, lacks, traces []message
	for _, block := range blocks(text) {
		if traceLine().MatchString(block) {
			traces = append(traces, message{trace: block})
			continue
		}
		m := message{text: block}
		if at := quotedResponse().FindStringIndex(block); at != nil {
			m.text, m.response = block[:at[0]], block[at[0]:]
		}
		if ownFiles().MatchString(m.text) {
			lacks = append(lacks, m)
			continue
		}
		errors = append(errors, m)
	}
	return slices.Concat(errors, lacks, traces)
}

// blocks returns the lines of text, each together with the lines below it that tell more of the same error.
func blocks(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if len(all) > 0 && continues(all[len(all)-1], line) {
			all[len(all)-1] += line
			continue
		}
		all = append(all, line)
	}
	return all
}

// continues reports whether line goes on with the error of block: it is indented, or was until somebody pasted it
// elsewhere.
func continues(block, line string) bool {
	bare := strings.TrimLeft(line, " \t")
	switch {
	case newError().MatchString(bare), traceLine().MatchString(block), traceLine().MatchString(line):
		return false
	case bare != line:
		return true
	}
	return strings.HasSuffix(strings.TrimRight(block, " \t\n"), ":") || continuation().MatchString(line)
}

// The names that rules know hosts by.
const (
	sumdbName   = "$go-sumdb"
	forwardName = "$forward-proxy"
)

// nameHosts replaces the hosts that have a part to play by the names that rules know them by: which host
// is the checksum database, or a forward proxy, depends on the run and the config.
func nameHosts(text string, run *record.Run, cell *record.Cell) string {
	if run == nil {
		return text
	}
	env := configEnv(run, cell.Config)
	text = nameHost(text, run.Vars["go-sumdb"], sumdbName)
	for key, value := range env {
		if isForwardProxyVariable(key) {
			text = nameHost(text, hostOf(value), forwardName)
		}
	}
	return text
}

// nameHost replaces host by name where it stands for itself and is no part of a longer name.
func nameHost(text, host, name string) string {
	if host == "" {
		return text
	}
	whole := regexp.MustCompile(`(^|[^\w.-])` + regexp.QuoteMeta(host) + `\b`)
	return whole.ReplaceAllString(text, "${1}$"+name) // name begins with a "$", which Expand wants doubled
}

func configEnv(run *record.Run, name string) map[string]string {
	for _, c := range run.Configs {
		if c.Name == name {
			return c.Env
		}
	}
	return nil
}

// isForwardProxyVariable reports whether net/http or libcurl, for git, take a forward proxy from key.
func isForwardProxyVariable(key string) bool {
	switch strings.ToUpper(key) {
	case "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY":
		return true
	}
	return false
}

// hostOf returns the host of a proxy variable, which may lack a scheme
// (golang.org/x/net/http/httpproxy, parseProxy), or "".
func hostOf(proxy string) string {
	if !strings.Contains(proxy, "://") {
		proxy = "http://" + proxy
	}
	u, err := url.Parse(proxy)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
