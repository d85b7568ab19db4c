package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/scenarios"
)

func (a *app) validateCommand() *cobra.Command {
	var in input
	cmd := &cobra.Command{
		Use:   "validate PATH...",
		Short: "Read and check scenario and config files, and run nothing",
		Example: `  simrun validate scenarios/
  simrun validate mine.yaml --var go-proxy=goproxy.cn`,
		Args: somePaths,
		RunE: func(cmd *cobra.Command, paths []string) error { return a.validate(cmd.Context(), &in, paths) },
	}
	f := cmd.Flags()
	f.StringToStringVar(&in.vars, "var", nil, "set a variable of scenario files: `NAME=VALUE` (repeatable)")
	f.Lookup("var").DefValue = "" // pflag would show the empty map as a default
	f.StringSliceVar(&in.gos, "go", nil, "take $go-proxy and $go-sumdb from the go command at `PATH` (default: the one on PATH)")
	return cmd
}

func (a *app) validate(ctx context.Context, in *input, paths []string) error {
	if err := in.oneGo("validate"); err != nil {
		return err
	}
	// Files can be checked where there is no go command: then --var says what it would.
	g, err := in.findGo(ctx)
	if err != nil && len(in.gos) > 0 {
		return err
	}
	lib, err := in.load(paths, in.loadOptions(g))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, inventory(lib))
	return err
}

// inventory counts what the user's own files declare.
func inventory(lib *scenarios.Library) string {
	var worlds, found, configs, projects int
	for _, w := range lib.Worlds {
		worlds += own(w.Pos.File)
	}
	for _, s := range lib.Scenarios {
		found += own(s.Pos.File)
	}
	for _, c := range lib.Configs {
		configs += own(c.Pos.File)
	}
	for _, p := range lib.Projects {
		projects += own(p.Pos.File)
	}
	files := 0
	for _, f := range lib.Files {
		files += own(f)
	}
	return fmt.Sprintf("%s, %s, %s, %s in %s",
		count(found, "scenario"), count(worlds, "world"), count(configs, "config"), count(projects, "project"), count(files, "file"))
}

// own is 1 for a file of the user and 0 for one of the built-in library.
func own(file string) int {
	if strings.HasPrefix(file, "builtin/") {
		return 0
	}
	return 1
}

// count writes a number with its noun in the right form.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
