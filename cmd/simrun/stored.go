package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// readRun reads a stored run: path is its results file, or the folder that holds it. Its cells are judged
// anew, so that runs of several versions of simrun mean the same by the same words. What is wrong with the
// file, but does not keep it from being read, is said on standard error.
func (a *app) readRun(path string) (*record.Results, error) {
	file := path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		file = filepath.Join(path, resultsName)
	}
	run, err := record.ReadFile(file)
	if err != nil {
		e := &statusError{status: statusInput, err: err}
		if errors.Is(err, fs.ErrNotExist) {
			e.hint = "name a folder that simrun wrote with --out, or the " + resultsName + " in it"
		}
		return nil, e
	}
	for i := range run.Cells {
		verdict.Judge(&run.Run, &run.Cells[i])
	}
	if missing := run.Run.Cells - len(run.Cells); missing > 0 {
		fmt.Fprintf(a.err, "simrun: %s lacks %d of its %d cells: the run was interrupted\n", file, missing, run.Run.Cells)
	}
	return run, nil
}

// readRuns reads several stored runs.
func (a *app) readRuns(paths []string) ([]*record.Results, error) {
	var runs []*record.Results
	for _, path := range paths {
		run, err := a.readRun(path)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return runs, nil
}
