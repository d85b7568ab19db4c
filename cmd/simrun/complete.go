package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/reports"
	"github.com/simrun/simrun/scenarios"
)

// A completer returns the words that may stand where the user pressed the tab key.
type completer = cobra.CompletionFunc

// completeRun completes the names that the flags of simrun run take, from the files that are on the
// line already.
func (a *app) completeRun(cmd *cobra.Command, o *runOptions) {
	library := func(ctx context.Context, paths []string) (*scenarios.Library, error) {
		return o.load(paths, o.completionOptions(ctx))
	}
	register(cmd, "scenario", completeNames(library, scenarioChoices))
	register(cmd, "config", completeNames(library, configChoices))
	register(cmd, "color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
}

// completeShell completes what simrun shell takes.
func (a *app) completeShell(cmd *cobra.Command, o *shellOptions) {
	library := func(ctx context.Context, _ []string) (*scenarios.Library, error) {
		return o.load(o.from, o.completionOptions(ctx))
	}
	cmd.ValidArgsFunction = completeNames(library, scenarioChoices)
	register(cmd, "config", completeNames(library, configChoices))
}

// completeExplain completes folders for the run, and then the names of its cells.
func (a *app) completeExplain(cmd *cobra.Command) {
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			return nil, cobra.ShellCompDirectiveDefault
		case 1:
			return a.cellChoices(args[0])
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	register(cmd, "color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
}

func (a *app) cellChoices(path string) ([]cobra.Completion, cobra.ShellCompDirective) {
	run, err := a.readRun(path)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var list []cobra.Completion
	for i := range run.Cells {
		c := &run.Cells[i]
		list = append(list, cobra.CompletionWithDesc(cellName(&run.Run, c.Key), reports.Clean(string(c.Outcome)+" "+c.Class)))
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

// completionOptions is loadOptions for somebody who waits at a prompt, and wants no errors there.
func (in *input) completionOptions(ctx context.Context) scenarios.Options {
	g, err := in.findGo(ctx)
	if err != nil {
		g = nil
	}
	return in.loadOptions(g)
}

func completeNames(
	library func(context.Context, []string) (*scenarios.Library, error),
	choices func(*scenarios.Library) []cobra.Completion,
) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		lib, err := library(cmd.Context(), args)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return choices(lib), cobra.ShellCompDirectiveNoFileComp
	}
}

func scenarioChoices(lib *scenarios.Library) []cobra.Completion {
	var list []cobra.Completion
	for _, s := range lib.Scenarios {
		list = append(list, cobra.CompletionWithDesc(s.Name, s.About))
	}
	return list
}

func configChoices(lib *scenarios.Library) []cobra.Completion {
	var list []cobra.Completion
	for _, c := range lib.Configs {
		list = append(list, cobra.CompletionWithDesc(c.Name, c.About))
	}
	return list
}

// register panics if the command has no such flag: a mistake in this package.
func register(cmd *cobra.Command, flag string, complete completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err)
	}
}
