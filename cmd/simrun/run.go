package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/reports"
	"github.com/simrun/simrun/verdict"
)

// runOptions is the flags of simrun run.
type runOptions struct {
	input
	isolationOptions
	rank          rankOptions
	scenarioGlobs []string
	configGlobs   []string
	repeat        int
	jobs          int
	timeout       time.Duration
	seed          uint64
	out           string
	shard         string
	balance       string
	resume        bool
	clock         string
	retries       int
	limits        []string
	capture       bool
	color         string
	quiet         bool
}

func (o *runOptions) bind(cmd *cobra.Command) {
	o.input.bind(cmd)
	o.isolationOptions.bind(cmd)
	o.rank.bind(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&o.scenarioGlobs, "scenario", nil, "run only scenarios whose names match `GLOB` (repeatable)")
	f.StringSliceVar(&o.configGlobs, "config", nil, "run only configs whose names match `GLOB` (repeatable)")
	f.IntVar(&o.repeat, "repeat", 1, "run each cell `N` times")
	f.IntVar(&o.jobs, "jobs", 0, "let `N` cells work at once (0: one per CPU)")
	f.DurationVar(&o.timeout, "timeout", harness.DefaultTimeout, "end a cell after `DURATION`, as the go command lives it, and call it a hang")
	f.Uint64Var(&o.seed, "seed", 1, "`NUMBER` from which all chance in the network is drawn")
	f.StringVarP(&o.out, "out", "o", "simrun-out", "put results into folder `DIR`, which must not hold a run yet")
	f.StringVar(&o.shard, "shard", "", "run only part `I/N` of the cells, such as 2/5; simrun merge puts the parts together")
	f.StringVar(&o.balance, "balance", "", "with --shard, balance the parts by how long the cells of an earlier run took, in `DIR`; the same for all parts")
	f.BoolVar(&o.resume, "resume", false, "go on with the run in the folder --out, if there is one: only what is missing is run")
	f.StringVar(&o.clock, "clock", "virtual", "live by `CLOCK`: virtual, which jumps over the time in which nothing can happen, or real; what cannot have the virtual one lives by the real one, and the record says why")
	f.StringSliceVar(&o.limits, "limit", nil, "let the programs of a cell take no more than `WHAT=VALUE` (repeatable): memory (default 4GiB), disk (2GiB; both at most half of what is free), processes (4096), files (8192 open)")
	f.IntVar(&o.retries, "retry-contended", 0, "run cells again that had to wait for a CPU or for memory, when all others have been run, each up to `N` times")
	f.BoolVar(&o.capture, "capture", false, "keep the packets of each cell, for simrun explain --pcap (costs time and disk)")
	bindColor(cmd, &o.color)
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
}

// check finds what is wrong with the values of flags.
func (o *runOptions) check() error {
	switch {
	case o.repeat < 1:
		return wrongInput("--repeat is %d, and should be 1 or more", o.repeat)
	case o.jobs < 0:
		return wrongInput("--jobs is %d, and should be 0 or more", o.jobs)
	case o.retries < 0:
		return wrongInput("--retry-contended is %d, and should be 0 or more", o.retries)
	case o.timeout <= 0:
		return wrongInput("--timeout is %v, and should be more than 0s", o.timeout)
	case o.balance != "" && o.shard == "":
		return wrongInput("--balance goes with --shard")
	}
	if o.clock != "real" && o.clock != "virtual" {
		return wrongInput("--clock is %q, and should be real or virtual", o.clock)
	}
	return errors.Join(checkColor(o.color), o.isolationOptions.check())
}

// bindColor adds the flag that says when text is coloured.
func bindColor(cmd *cobra.Command, color *string) {
	cmd.Flags().StringVar(color, "color", "auto", "use colours `WHEN`: auto, always or never; auto honours NO_COLOR")
}

func checkColor(color string) error {
	if color != "auto" && color != "always" && color != "never" {
		return wrongInput("--color is %q, and should be auto, always or never", color)
	}
	return nil
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [PATH]...",
		Short: "Run every scenario with every config, and report what each did",
		Long: `Run every scenario of the files and folders with every config, and report what
each did.

If the files declare no scenarios, those that are built in are run; the same
holds for configs and projects. So "simrun run" runs all that is built in, and
"simrun run --configs mine.yaml" judges your configs by all built-in scenarios.

The facts of each cell are written to results.jsonl in the folder --out as the
cell ends. Whatever becomes of simrun, --resume goes on with what is missing. In
the end comes the report in several forms: report.html, report.md for a comment,
junit.xml, bench.txt for benchstat, and verdicts.json. The first Ctrl-C ends the
cells that are running and reports those that are complete; the second one ends
simrun at once.`,
		Example: `  simrun scenarios/
  simrun scenarios/packet --configs mine.yaml --config 'cn-*' --repeat 5
  simrun scenarios/ --scenario dead-proxy --project ~/src/myservice --out try1
  simrun scenarios/ --go 1.24.11,1.25.5 --var go-proxy=goproxy.cn`,
		RunE: func(cmd *cobra.Command, paths []string) error { return a.run(cmd.Context(), &o, paths) },
	}
	o.bind(cmd)
	a.completeRun(cmd, &o)
	return cmd
}

// run does what simrun is for.
func (a *app) run(ctx context.Context, o *runOptions, paths []string) error {
	if err := o.check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // so that the second signal does what it does by default
	at, err := a.site(ctx, o)
	if err != nil {
		return interruptedOr(ctx, err)
	}
	return errors.Join(a.runAt(ctx, at, o, paths), at.Close())
}

// runAt makes a run where labs are made.
func (a *app) runAt(ctx context.Context, at site, o *runOptions, paths []string) error {
	options, err := o.harnessOptions(ctx, at, paths)
	if err != nil {
		return interruptedOr(ctx, err)
	}
	if options.Shard, options.Earlier, err = a.shard(o); err != nil {
		return err
	}
	file, err := resultsFile(o.out, o.resume)
	if err != nil {
		return err
	}
	plan, err := at.plan(ctx, options)
	if err != nil {
		return interruptedOr(ctx, err)
	}
	if err := makeFolder(o.out); err != nil {
		return err
	}
	if o.capture {
		if err := makeFolder(options.Captures); err != nil {
			return err
		}
	}
	return a.carryOut(ctx, o, plan, file)
}

// harnessOptions reads the input and picks from it what is to be run.
func (o *runOptions) harnessOptions(ctx context.Context, at site, paths []string) (harness.Options, error) {
	options, lib, err := o.input.harnessOptions(ctx, at, paths)
	if err != nil {
		return options, err
	}
	if options.Scenarios, err = lib.ScenariosNamed(o.scenarioGlobs...); err != nil {
		return options, wrongInput("%w", err)
	}
	if options.Configs, err = lib.ConfigsNamed(o.configGlobs...); err != nil {
		return options, wrongInput("%w", err)
	}
	options.Repeat, options.Jobs, options.Timeout, options.Seed = o.repeat, o.jobs, o.timeout, o.seed
	options.Retries = o.retries
	for _, text := range o.limits {
		if err := options.Limits.ParseLimit(text); err != nil {
			return options, wrongInput("--limit: %w", err)
		}
	}
	options.Virtual = o.clock == "virtual"
	if o.capture {
		options.Captures = filepath.Join(o.out, "captures")
	}
	return options, nil
}

// shard reads the flags about the part of a run that is to be made.
func (a *app) shard(o *runOptions) (s harness.Shard, earlier []record.Cell, err error) {
	if o.shard == "" {
		return s, nil, nil
	}
	if s, err = harness.ParseShard(o.shard); err != nil {
		return s, nil, wrongInput("--shard: %w", err)
	}
	if o.balance == "" {
		return s, nil, nil
	}
	run, err := a.readRun(o.balance)
	if err != nil {
		return s, nil, err
	}
	return s, run.Cells, nil
}

// A runner is a *harness.Plan.
type runner interface {
	Header() record.Run
	Skip(done []record.Cell) error
	Run(ctx context.Context, emit func(*record.Cell) error, progress func(harness.Status)) error
}

// carryOut runs a plan, writes its results to a file and reports them, also when the run fails halfway.
func (a *app) carryOut(ctx context.Context, o *runOptions, plan runner, file string) error {
	header := plan.Header()
	rules, err := o.rank.rules(header.Scenarios)
	if err != nil {
		return err
	}
	results, there, err := o.begin(plan, file)
	if err != nil {
		return err
	}
	runErr := a.execute(ctx, o.quiet, plan, results, there)
	runErr = cmp.Or(runErr, results.Close())
	stored, err := record.ReadFile(file) // not kept in memory meanwhile: a run may have many cells
	if err != nil {
		return cmp.Or(runErr, err)
	}
	table, err := a.present(stored, rules, o.color, file)
	switch {
	case runErr != nil:
		e := blame(interruptedOr(ctx, errors.Join(fmt.Errorf("run: %w", runErr), err)))
		e.hint = "the same command with --resume goes on with what is missing"
		return e
	case err != nil:
		return err
	}
	return statusOf(table)
}

// present prints the matrix and the answer of a run, and writes its report beside its results file.
func (a *app) present(run *record.Results, rules verdict.Rules, color, file string) (*reports.Table, error) {
	reports.Sort(run)
	table := reports.Summarize(run.Run, run.Cells)
	if err := reports.Terminal(a.out, table, a.terminal(color)); err != nil {
		return nil, fmt.Errorf("print the matrix: %w", err)
	}
	if err := a.answer(run, rules, color, filepath.Dir(file)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(a.out, "results: %s\n%s%s%s", file, contended(table), onRealClock(run.Cells), explainHint(table, file)); err != nil {
		return nil, fmt.Errorf("print the answer: %w", err)
	}
	return table, nil
}

// begin opens the results file. If it is there and the run is to be resumed, it takes out of the plan what
// the file has, and says how many cells that are.
func (o *runOptions) begin(plan runner, file string) (results *record.Writer, there int, err error) {
	if _, err := os.Lstat(file); !o.resume || errors.Is(err, fs.ErrNotExist) {
		results, err := record.Create(file, plan.Header())
		return results, 0, err
	}
	results, stored, err := record.Resume(file, plan.Header())
	switch {
	case errors.Is(err, record.ErrBusy):
		return nil, 0, &statusError{status: statusInput, err: fmt.Errorf("%s: %w", file, err), hint: "name another folder with --out"}
	case err != nil:
		return nil, 0, &statusError{status: statusInput, err: err,
			hint: "--resume takes the same files and flags as the run that was interrupted; name another folder with --out for a new run"}
	}
	if err := plan.Skip(stored.Cells); err != nil {
		return nil, 0, errors.Join(err, results.Close())
	}
	return results, len(stored.Cells), nil
}

// execute runs a plan, and writes each cell down as it ends, after those that are there already.
func (a *app) execute(ctx context.Context, quiet bool, plan runner, results *record.Writer, there int) error {
	m := a.meter(quiet, plan.Header().Cells)
	m.before = there
	defer m.finish()
	return plan.Run(ctx, func(c *record.Cell) error {
		if err := results.Append(c); err != nil {
			return err
		}
		if len(c.Tries) == 0 { // else it has been counted
			m.cell(c)
		}
		return nil
	}, m.status)
}

// contended says how many cells had to wait for the machine; "" if none had to.
func contended(t *reports.Table) string {
	if t.Contended+t.Retried == 0 {
		return ""
	}
	text := fmt.Sprintf("contended: %d of %s had to wait for a CPU or for memory", t.Contended, count(t.Cells, "cell"))
	if t.Retried > 0 {
		text += fmt.Sprintf(", after cells had been run again %s", count(t.Retried, "time"))
	}
	if t.Contended > 0 {
		text += "; where there are others, their seconds do not count"
	}
	return text + "\n"
}

// onRealClock says how many cells could not have the virtual clock that was asked for, and why the first could
// not; "" if all had what they should.
func onRealClock(cells []record.Cell) string {
	count, why := 0, ""
	for i := range cells {
		if note := cells[i].ClockNote; note != "" {
			count, why = count+1, cmp.Or(why, note)
		}
	}
	if count == 0 {
		return ""
	}
	return fmt.Sprintf("on the real clock: %d of %d cells, the first because: %s\n", count, len(cells), reports.Clean(why))
}

// explainHint returns how to look at one cell that did not end well, "" if all did.
func explainHint(t *reports.Table, file string) string {
	k, ok := worthALook(t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("one cell in full: simrun explain %s %s\n", filepath.Dir(file), cellName(&t.Run, k))
}

// worthALook returns a cell that breaks an expectation, or else one that failed.
func worthALook(t *reports.Table) (record.Key, bool) {
	if len(t.Broken) > 0 {
		return t.Broken[0].Cells[0], true
	}
	for _, r := range t.Rows {
		for i, e := range r.Entries {
			if e.Outcome == record.Error || e.Outcome == record.Hang {
				return record.Key{Scenario: r.Scenario, Config: t.Configs[i], Project: r.Project, Go: r.Go}, true
			}
		}
	}
	return record.Key{}, false
}

// statusOf turns a complete run into the exit status.
func statusOf(t *reports.Table) error {
	switch {
	case t.Outcomes[record.HarnessError] > 0:
		return &statusError{status: statusHarness}
	case len(t.Broken) > 0:
		return &statusError{status: statusBroken}
	}
	return nil
}

// interruptedOr returns err, or if the user ended the run, an error that says so.
func interruptedOr(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return &statusError{status: statusInterrupted, err: errors.New("interrupted; what is reported is not the whole run")}
}

// meter shows progress on standard error: in place on a terminal, line by line elsewhere.
func (a *app) meter(quiet bool, total int) *meter {
	m := &meter{w: a.err, total: total}
	if quiet {
		m.w = io.Discard
	}
	if !quiet && isTerminal(a.err) && a.getenv("TERM") != "dumb" {
		m.width = func() int { return cmp.Or(a.widthOf(a.err), 80) }
	}
	return m
}

// colored decides whether the report is coloured.
func (a *app) colored(flag string) bool {
	if flag == "auto" { // https://no-color.org
		return isTerminal(a.out) && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
	}
	return flag == "always"
}

// widthOf returns the columns of a terminal, and 0 for anything else.
func (a *app) widthOf(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
