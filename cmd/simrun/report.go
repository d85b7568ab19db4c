package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/reports"
	"github.com/simrun/simrun/scenarios"
	"github.com/simrun/simrun/verdict"
)

// rankOptions is the flags that say how configs are ranked.
type rankOptions struct {
	weights []string
	require []string
}

func (o *rankOptions) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.weights, "weights", nil,
		"for the ranking, let scenarios that match a glob weigh so much: `GLOB=NUMBER` (repeatable; of several that match, the last holds)")
	f.StringSliceVar(&o.require, "require", nil, "recommend only configs with `WHAT`: no-leaks, verified (repeatable)")
	register(cmd, "require", cobra.FixedCompletions(requirementNames(), cobra.ShellCompDirectiveNoFileComp))
}

func requirementNames() []string {
	var names []string
	for _, r := range verdict.Requirements {
		names = append(names, string(r))
	}
	return names
}

// rules reads the flags. A weight must be for some of the scenarios.
func (o *rankOptions) rules(known []record.Scenario) (verdict.Rules, error) {
	var rules verdict.Rules
	for _, text := range o.weights {
		w, err := parseWeight(text)
		if err != nil {
			return rules, err
		}
		if !slices.ContainsFunc(known, func(s record.Scenario) bool { return scenarios.Glob(w.Scenarios, s.Name) }) {
			return rules, wrongInput("--weights %s: no scenario of the run matches %q", text, w.Scenarios)
		}
		rules.Weights = append(rules.Weights, w)
	}
	for _, name := range o.require {
		if !slices.Contains(requirementNames(), name) {
			return rules, wrongInput("--require is %q, and should be one of %s%s",
				name, strings.Join(requirementNames(), ", "), suggest(name, requirementNames()))
		}
		rules.Require = append(rules.Require, verdict.Requirement(name))
	}
	return rules, nil
}

// parseWeight reads GLOB=NUMBER.
func parseWeight(text string) (verdict.Weight, error) {
	glob, number, found := strings.Cut(text, "=")
	weight, err := strconv.ParseFloat(number, 64)
	if !found || glob == "" || err != nil || !(weight >= 0 && weight <= 1e6) {
		return verdict.Weight{}, wrongInput("--weights is %q, and should be a glob over scenarios, = and a number from 0 to 1000000, as in dead-*=3", text)
	}
	return verdict.Weight{Scenarios: glob, Weight: weight}, nil
}

// reportOptions is the flags of simrun report.
type reportOptions struct {
	rank  rankOptions
	out   string
	color string
}

func (a *app) reportCommand() *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report RUN...",
		Short: "Write the report of stored runs anew",
		Long: `Write the report of stored runs anew, as simrun run does in the end: report.html,
report.md, junit.xml, bench.txt and verdicts.json, and the answer on the
terminal. RUN is a folder that simrun wrote with --out, or the results.jsonl in
it. It may come from another machine or system: nothing is run.

Each run gets a report of its own. See simrun compare and simrun trend for what
differs between runs.`,
		Example: `  simrun report simrun-out
  simrun report simrun-out --require no-leaks,verified --weights 'dead-*=5'
  simrun report nightly/results.jsonl --out public`,
		RunE: func(_ *cobra.Command, paths []string) error { return a.report(&o, paths) },
	}
	o.rank.bind(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.out, "out", "o", "", "put the report of one run into folder `DIR` (default: beside its results)")
	bindColor(cmd, &o.color)
	return cmd
}

func (a *app) report(o *reportOptions, paths []string) error {
	if err := checkColor(o.color); err != nil {
		return err
	}
	if len(paths) == 0 {
		return &statusError{
			status: statusInput,
			err:    errors.New("no run given"),
			hint:   "name a folder that simrun wrote with --out, as in: simrun report simrun-out",
		}
	}
	if len(paths) > 1 && o.out != "" {
		return wrongInput("--out is for one run, and %d are given: without it, each gets its report beside its results", len(paths))
	}
	for _, path := range paths {
		if err := a.reportOne(o, path); err != nil {
			return err
		}
	}
	return nil
}

// reportOne writes the report of one stored run.
func (a *app) reportOne(o *reportOptions, path string) error {
	results, err := a.readRun(path)
	if err != nil {
		return err
	}
	if len(results.Cells) == 0 {
		return wrongInput("%s has no cells: there is nothing to report", path)
	}
	rules, err := o.rank.rules(results.Run.Scenarios)
	if err != nil {
		return err
	}
	dir, err := o.folder(path)
	if err != nil {
		return err
	}
	reports.Sort(results)
	return a.answer(results, rules, o.color, dir)
}

// folder returns where the report of the run at path belongs, and makes sure that files can be made there.
func (o *reportOptions) folder(path string) (string, error) {
	if o.out != "" {
		return o.out, makeFolder(o.out)
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		path = filepath.Dir(path)
	}
	return path, tryWriting(path)
}

// answer prints what a run comes to, and writes all forms of its report into a folder.
func (a *app) answer(results *record.Results, rules verdict.Rules, color, dir string) error {
	ranking := verdict.Rank(&results.Run, results.Cells, rules)
	if err := reports.TerminalAnswer(a.out, &results.Run, ranking, a.terminal(color)); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	if err := writeReports(dir, reports.Files(results, ranking, dir)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(a.out, "\nreport: %s\n", filepath.Join(dir, "report.html")); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	return nil
}

// terminal says what standard output is like.
func (a *app) terminal(color string) reports.TerminalOptions {
	return reports.TerminalOptions{Width: a.widthOf(a.out), Color: a.colored(color)}
}
