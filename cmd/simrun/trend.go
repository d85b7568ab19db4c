package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/reports"
	"github.com/simrun/simrun/verdict"
)

func (a *app) trendCommand() *cobra.Command {
	var o formOptions
	cmd := &cobra.Command{
		Use:   "trend RUN...",
		Short: "Say how configs did over many stored runs, and what broke when",
		Long: `Say how configs did over many stored runs, such as those of many nights: a line
per config, and the run since which each cell fails, or works again. RUN is a
folder that simrun wrote with --out, or the results.jsonl in it. The runs are
put into the order in which they were started.`,
		Example: `  simrun trend nights/*
  simrun trend --html trend.html nights/2026-01-*`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return nil
			}
			return &statusError{
				status: statusInput,
				err:    errors.New("no runs given"),
				hint:   "name folders that simrun wrote with --out, as in: " + cmd.CommandPath() + " nights/*",
			}
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.trend(&o, args) },
	}
	o.bind(cmd)
	return cmd
}

func (a *app) trend(o *formOptions, paths []string) error {
	runs, err := a.readRuns(paths)
	if err != nil {
		return err
	}
	t := verdict.NewTrend(runs)
	if t.Cells == 0 {
		return nothingInCommon(t.Omitted)
	}
	return a.writeForms(o, func(w io.Writer, form reports.Form) error { return reports.Trend(w, form, t) })
}

// formOptions is the flags of commands whose result can be written in several forms.
type formOptions struct{ markdown, html string }

func (o *formOptions) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.markdown, "markdown", "", "write the same as Markdown into `FILE`, too")
	f.StringVar(&o.html, "html", "", "write the same as an HTML page into `FILE`, too")
}

// writeForms prints a result as text, and writes it into the files that were asked for.
func (a *app) writeForms(o *formOptions, write func(io.Writer, reports.Form) error) error {
	if err := write(a.out, reports.Text); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	for form, file := range map[reports.Form]string{reports.Markdown: o.markdown, reports.HTML: o.html} {
		if file == "" {
			continue
		}
		if err := writeFile(file, func(w io.Writer) error { return write(w, form) }); err != nil {
			return wrongInput("%w", err) // the user named the file
		}
	}
	return nil
}
