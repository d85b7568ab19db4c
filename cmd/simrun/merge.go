package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/record"
)

// mergeOptions is the flags of simrun merge.
type mergeOptions struct {
	rank    rankOptions
	out     string
	partial bool
	color   string
}

func (a *app) mergeCommand() *cobra.Command {
	var o mergeOptions
	cmd := &cobra.Command{
		Use:   "merge SHARD...",
		Short: "Put the parts of a run together",
		Long: `Put together the parts of a run that several simruns have made with --shard, on one
machine or on many, and report it as one run. SHARD is a folder that simrun
wrote with --out, or the results.jsonl in it.

All parts must be there, once, whole, and of the same run: the same scenarios,
configs, project, Go release, seed and version of simrun. The exit status is
that of a run.`,
		Example: `  simrun scenarios/ --shard 1/2 --out part1
  simrun scenarios/ --shard 2/2 --out part2
  simrun merge part1 part2 --out whole`,
		RunE: func(_ *cobra.Command, paths []string) error { return a.merge(&o, paths) },
	}
	o.rank.bind(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.out, "out", "o", "simrun-out", "put the run into folder `DIR`, which must not hold a run yet")
	f.BoolVar(&o.partial, "partial", false, "take what is there, though parts are missing or were interrupted")
	bindColor(cmd, &o.color)
	return cmd
}

func (a *app) merge(o *mergeOptions, paths []string) error {
	if err := checkColor(o.color); err != nil {
		return err
	}
	if len(paths) == 0 {
		return &statusError{
			status: statusInput,
			err:    errors.New("no parts given"),
			hint:   "name the folders that were written with --shard, as in: simrun merge part1 part2",
		}
	}
	shards, err := a.readRuns(paths)
	if err != nil {
		return err
	}
	whole, err := record.Merge(shards, o.partial)
	if err != nil {
		return &statusError{status: statusInput, err: fmt.Errorf("merge: %w", err),
			hint: "name each part once; simrun run --resume completes one that was interrupted, and --partial does without"}
	}
	rules, err := o.rank.rules(whole.Run.Scenarios)
	if err != nil {
		return err
	}
	file, err := resultsFile(o.out, false)
	if err != nil {
		return err
	}
	if err := errors.Join(makeFolder(o.out), store(file, whole), copyCaptures(o.out, paths, shards)); err != nil {
		return err
	}
	table, err := a.present(whole, rules, o.color, file)
	if err != nil {
		return err
	}
	return statusOf(table)
}

// store writes a results file.
func store(file string, results *record.Results) error {
	w, err := record.Create(file, results.Run)
	if err != nil {
		return err
	}
	for i := range results.Cells {
		err = errors.Join(err, w.Append(&results.Cells[i]))
	}
	return errors.Join(err, w.Close())
}

// copyCaptures copies the packets of the cells of runs into a folder, to where their records say.
func copyCaptures(dir string, paths []string, runs []*record.Results) error {
	for i, run := range runs {
		from := paths[i]
		if info, err := os.Stat(from); err == nil && !info.IsDir() {
			from = filepath.Dir(from)
		}
		for _, c := range run.Cells {
			if c.Capture == "" {
				continue
			}
			if err := copyFile(dir, from, c.Capture); err != nil {
				return fmt.Errorf("copy the packets of %s/%s: %w", c.Scenario, c.Config, err)
			}
		}
	}
	return nil
}

// copyFile copies a file below one folder to the same place below another. A record may come from a
// stranger, so neither is left.
func copyFile(to, from, name string) error {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("%q is no place below the folder", name)
	}
	source, err := os.OpenInRoot(from, name)
	if err != nil {
		return err
	}
	defer source.Close()
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	target, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
