package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/reports"
)

// explainOptions is the flags of simrun explain.
type explainOptions struct {
	har, pcap string // files to write
	all       bool
	color     string
}

func (a *app) explainCommand() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain RUN CELL",
		Short: "Show what happened in one cell, and when",
		Long: `Show what happened in one cell: why it ended as it did and what helps, what the
faults did, a waterfall of its DNS queries, connections and requests, what
leaked, and the command that repeats it.

RUN is a folder that simrun wrote with --out, or the results.jsonl in it. CELL
is SCENARIO/CONFIG as in the matrix, with /PROJECT and /REPETITION, counted from
1, where there are several.

--har and --pcap write files for other tools instead. A HAR file opens in the
network panel of a browser; it has times and sizes, but neither headers nor
bodies, which are not recorded. A packet capture opens in Wireshark, decrypted;
there is one if the run was made with --capture.`,
		Example: `  simrun explain simrun-out dead-proxy/cn-comma
  simrun explain simrun-out dead-proxy/cn-comma/3 --pcap cell.pcapng`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return &statusError{
				status: statusInput,
				err:    fmt.Errorf("explain takes a run and a cell, and got %q", args),
				hint:   "for example: simrun explain simrun-out dead-proxy/cn-comma",
			}
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.explain(&o, args[0], args[1]) },
	}
	f := cmd.Flags()
	f.StringVar(&o.har, "har", "", "write the cell's requests into `FILE`, an HTTP archive, instead")
	f.StringVar(&o.pcap, "pcap", "", "write the cell's packets into `FILE`, a pcapng capture, instead")
	f.BoolVar(&o.all, "all", false, "leave nothing out of long lists")
	bindColor(cmd, &o.color)
	a.completeExplain(cmd)
	return cmd
}

func (a *app) explain(o *explainOptions, path, name string) error {
	if err := checkColor(o.color); err != nil {
		return err
	}
	run, err := a.readRun(path)
	if err != nil {
		return err
	}
	cell, others, err := findCell(run, name)
	if err != nil {
		return err
	}
	if others > 0 {
		fmt.Fprintf(a.err, "simrun: %s is one of %d repetitions; /2 and so on name the others\n", cellName(&run.Run, cell.Key), others+1)
	}
	if o.har != "" || o.pcap != "" {
		return a.export(o, path, &run.Run, cell)
	}
	options := reports.ExplainOptions{
		TerminalOptions: reports.TerminalOptions{Width: a.widthOf(a.out), Color: a.colored(o.color)},
		All:             o.all,
	}
	if err := reports.Explain(a.out, &run.Run, cell, options); err != nil {
		return fmt.Errorf("print the cell: %w", err)
	}
	return nil
}

// export writes the files that were asked for.
func (a *app) export(o *explainOptions, path string, run *record.Run, c *record.Cell) error {
	if o.pcap != "" {
		if err := copyCapture(path, c, o.pcap); err != nil {
			return err
		}
		fmt.Fprintf(a.out, "%s: the packets of %s, with the keys of its TLS connections, and so with the credentials that were sent\n", o.pcap, cellName(run, c.Key))
	}
	if o.har != "" {
		if err := writeFile(o.har, func(w io.Writer) error { return reports.HAR(w, run, c) }); err != nil {
			return err
		}
		fmt.Fprintf(a.out, "%s: %s of %s, without headers and bodies, which are not recorded\n",
			o.har, count(len(c.Requests), "request"), cellName(run, c.Key))
	}
	return nil
}

// copyCapture copies the capture of a cell of the run at path.
func copyCapture(path string, c *record.Cell, to string) error {
	if c.Capture == "" {
		return &statusError{
			status: statusInput,
			err:    errors.New("the packets of this cell were not kept"),
			hint:   "make the run once more with --capture, and with --scenario and --config for this cell alone",
		}
	}
	if !filepath.IsLocal(filepath.FromSlash(c.Capture)) {
		return wrongInput("the capture %q is not below the folder of the results, where simrun writes it", c.Capture)
	}
	dir := path
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		dir = filepath.Dir(path)
	}
	from, err := os.OpenInRoot(dir, c.Capture) // nor does a link lead out of it
	if err != nil {
		return &statusError{status: statusInput, err: err, hint: "keep the folder captures beside results.jsonl"}
	}
	defer func() { _ = from.Close() }()
	return writeFile(to, func(w io.Writer) error {
		_, err := io.Copy(w, from)
		return err
	})
}

// findCell returns the cell of a run that a user's word names. Of several repetitions it is the first;
// others says how many more there are.
func findCell(run *record.Results, word string) (c *record.Cell, others int, err error) {
	parts := cellParts(word)
	if len(parts) < 2 {
		return nil, 0, &statusError{
			status: statusInput,
			err:    fmt.Errorf("%q names no cell: a cell is SCENARIO/CONFIG", word),
			hint:   "for example " + exampleCell(run),
		}
	}
	var found []*record.Cell
	for i := range run.Cells {
		if named(run.Cells[i].Key, parts) {
			found = append(found, &run.Cells[i])
		}
	}
	if len(found) == 0 {
		return nil, 0, noCell(run, word, parts)
	}
	slices.SortStableFunc(found, func(a, b *record.Cell) int { return a.Rep - b.Rep })
	first := found[0].Key
	for _, f := range found {
		if f.Project != first.Project || f.Go != first.Go {
			return nil, 0, wrongInput("%q names several cells, such as %s and %s: say which project and Go release",
				word, fullName(first), fullName(f.Key))
		}
	}
	return found[0], len(found) - 1, nil
}

// cellParts cuts the name of a cell, also as progress and the matrix write it: "scenario × config #2".
func cellParts(word string) []string {
	word = strings.NewReplacer(" × ", "/", " #", "/").Replace(word)
	return strings.Split(strings.Trim(word, "/"), "/")
}

// named reports whether a key has the parts of a name: scenario, config, and any of project, Go release and
// repetition in any order.
func named(k record.Key, parts []string) bool {
	if k.Scenario != parts[0] || k.Config != parts[1] {
		return false
	}
	for _, p := range parts[2:] {
		if p != k.Project && p != k.Go && p != strconv.Itoa(k.Rep+1) {
			return false
		}
	}
	return true
}

// fullName names a cell by all that can tell it from others.
func fullName(k record.Key) string {
	return reports.Clean(strings.Join([]string{k.Scenario, k.Config, k.Project, k.Go, strconv.Itoa(k.Rep + 1)}, "/"))
}

func exampleCell(run *record.Results) string {
	if len(run.Cells) == 0 {
		return "dead-proxy/cn-comma"
	}
	return cellName(&run.Run, run.Cells[0].Key)
}

// cellName names a cell as users type it.
func cellName(run *record.Run, k record.Key) string { return reports.Clean(reports.CellName(run, k)) }

// noCell says which part of a name the run does not know, and the nearest that it does.
func noCell(run *record.Results, word string, parts []string) error {
	var known, configs, rest []string
	for _, s := range run.Run.Scenarios {
		known = append(known, s.Name)
	}
	for _, c := range run.Run.Configs {
		configs = append(configs, c.Name)
	}
	for i := range run.Cells {
		if k := run.Cells[i].Key; named(k, parts[:2]) {
			rest = append(rest, k.Project, k.Go, strconv.Itoa(k.Rep+1))
		}
	}
	switch {
	case !slices.Contains(known, parts[0]):
		return wrongInput("the run has no cell %q: no scenario is called %q%s", word, parts[0], suggest(parts[0], known))
	case !slices.Contains(configs, parts[1]):
		return wrongInput("the run has no cell %q: no config is called %q%s", word, parts[1], suggest(parts[1], configs))
	case len(rest) == 0:
		return wrongInput("the run has no cell %q: it was interrupted before that one ended", word)
	}
	for _, p := range parts[2:] {
		if !slices.Contains(rest, p) {
			return wrongInput("the run has no cell %q: %q is no project, Go release or repetition of it%s", word, p, suggest(p, rest))
		}
	}
	return wrongInput("the run has no cell %q: no one has all of these parts", word)
}
