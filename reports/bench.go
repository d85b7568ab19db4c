package reports

import (
	"fmt"
	"io"
	"strings"

	"github.com/simrun/simrun/record"
)

// Bench writes the cells of a run in the Go benchmark format, so that benchstat can compare runs:
// https://go.dev/design/14313-benchmark-format. Each repetition is a line.
//
// Of every cell that ran there is whether it survived, 1 or 0. Only of those that did there are times: the
// seconds until a failure are no measure of the work. Every name ends in the number of CPUs, as the format
// has it; without that, the end of a config's name such as "two-2" would be taken for it.
func Bench(w io.Writer, run *record.Run, cells []record.Cell) error {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\n", benchWord(run.Host.OS), benchWord(run.Host.Arch))
	fmt.Fprintf(&b, "simrun: %s\nseed: %d\n", benchWord(run.Simrun), run.Seed)
	b.WriteString("Unit survived better=higher assume=nothing\n")
	release := ""
	for _, c := range sorted(run, cells) {
		if !ran(&c) {
			continue
		}
		if c.Go != release {
			release = c.Go
			fmt.Fprintf(&b, "go: %s\n", benchWord(release))
		}
		b.WriteString(benchLine(&c, run.Host.CPUs))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func benchLine(c *record.Cell, cpus int) string {
	line := fmt.Sprintf("BenchmarkTidy/scenario=%s/config=%s/project=%s-%d\t1",
		benchWord(c.Scenario), benchWord(c.Config), benchWord(c.Project), max(cpus, 1))
	if c.Outcome != record.OK {
		return line + "\t0 survived\n"
	}
	return line + fmt.Sprintf("\t%.0f ns/op\t%.0f cpu-ns/op\t1 survived\n",
		1e9*float64(c.Seconds), 1e9*float64(c.ClientCPU))
}

// benchWord makes a name one word of the format: what would end it, or begin another part, becomes "_".
func benchWord(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r <= ' ' || unprintable(r) {
			return '_'
		}
		return r
	}, name)
}
