package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/reports"
	"github.com/simrun/simrun/verdict"
)

// compareOptions is the flags of simrun compare.
type compareOptions struct {
	formOptions
	rules verdict.CompareRules
}

func (a *app) compareCommand() *cobra.Command {
	var o compareOptions
	cmd := &cobra.Command{
		Use:   "compare OLD NEW",
		Short: "Say what changed between two stored runs",
		Long: `Say what changed from one stored run to another: of another night, another Go
release, or other settings of the configs. OLD and NEW are folders that simrun
wrote with --out, or the results.jsonl in them.

Regressions are what failed newly, what leaks or is verified less, and what got
slower by more than chance. Cells whose repetitions disagree are listed apart.
A cell is compared if both runs have it with the same world, faults and modules.

Exit status: 0 no regression, 1 a regression, 2 the input is wrong.`,
		Example: `  simrun compare last-night tonight
  simrun compare --markdown changes.md --html changes.html last-night tonight`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return &statusError{
					status: statusInput,
					err:    fmt.Errorf("%s takes two runs, and got %d", cmd.CommandPath(), len(args)),
					hint:   "name the older run first, as in: simrun compare last-night tonight",
				}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.compare(&o, args[0], args[1]) },
	}
	o.bind(cmd)
	f := cmd.Flags()
	f.Float64Var(&o.rules.Alpha, "alpha", 0.05, "chance of showing any change of time where there is none: `SHARE` from 0 to 1")
	f.Float64Var(&o.rules.Least, "least", 0.25, "smallest change of time that counts: `SHARE` of the old time")
	return cmd
}

func (a *app) compare(o *compareOptions, oldPath, newPath string) error {
	if o.rules.Alpha <= 0 || o.rules.Alpha >= 1 {
		return wrongInput("--alpha is %v, and should be between 0 and 1", o.rules.Alpha)
	}
	if o.rules.Least <= 0 {
		return wrongInput("--least is %v, and should be more than 0", o.rules.Least)
	}
	runs, err := a.readRuns([]string{oldPath, newPath})
	if err != nil {
		return err
	}
	old, recent := runs[0], runs[1]
	c := verdict.Compare(old, recent, o.rules)
	if c.Compared == 0 {
		return nothingInCommon(c.Omitted)
	}
	write := func(w io.Writer, form reports.Form) error { return reports.Compare(w, form, &old.Run, &recent.Run, c) }
	if err := a.writeForms(&o.formOptions, write); err != nil {
		return err
	}
	if c.Regressions() > 0 {
		return &statusError{status: statusBroken}
	}
	return nil
}

// nothingInCommon says why runs cannot be compared.
func nothingInCommon(omitted []verdict.Omission) error {
	text := "the runs have no cell in common"
	for _, o := range omitted {
		text += fmt.Sprintf("\n  %s: %s", o.Reason, someNames(o.Names))
	}
	return &statusError{status: statusInput, err: errors.New(text), hint: "compare runs of the same scenarios, configs and project"}
}

func someNames(names []string) string {
	const most = 5
	text := ""
	for i, name := range slices.All(names[:min(len(names), most)]) {
		if i > 0 {
			text += ", "
		}
		text += reports.Clean(name)
	}
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}
