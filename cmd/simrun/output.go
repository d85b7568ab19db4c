package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/simrun/simrun/reports"
)

const resultsName = "results.jsonl"

// resultsFile returns the path of the results file of a folder that can take a run, or has one that may be
// resumed, as far as can be told without changing anything.
func resultsFile(dir string, resume bool) (string, error) {
	if dir == "" {
		return "", wrongInput("--out is empty, and should be a folder")
	}
	file := filepath.Join(dir, resultsName)
	switch _, err := os.Lstat(file); {
	case err == nil && !resume:
		return "", &statusError{
			status: statusInput,
			err:    fmt.Errorf("%s holds a run already (%s)", dir, resultsName),
			hint:   "go on with it with --resume, or name another folder with --out",
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", unusable(dir, err)
	}
	return file, nil
}

// makeFolder makes a folder for results if need be, and makes sure that files can be made in it. What is
// in it stays as it is.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return unusable(dir, err)
	}
	return tryWriting(dir)
}

// tryWriting finds out before the run what would fail after it began.
func tryWriting(dir string) error {
	probe, err := os.CreateTemp(dir, ".simrun-*")
	if err != nil {
		return unusable(dir, err)
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return unusable(dir, err)
	}
	return nil
}

// writeReports writes files into a folder, in place of those of the same names.
func writeReports(dir string, files []reports.File) error {
	for _, f := range files {
		name := filepath.Join(dir, f.Name)
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may be a link to somewhere else
			return fmt.Errorf("write a report: %w", err)
		}
		if err := writeTo(name, os.O_EXCL, f.Write); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a file that the user has named. What is there is replaced.
func writeFile(name string, write func(io.Writer) error) error {
	return writeTo(name, os.O_TRUNC, write)
}

func writeTo(name string, flag int, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|flag, 0o666)
	if err != nil {
		return fmt.Errorf("write a report: %w", err)
	}
	w := bufio.NewWriter(f)
	if err := errors.Join(write(w), w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("write a report: %w", err)
	}
	return nil
}

func unusable(dir string, err error) error {
	return &statusError{
		status: statusInput,
		err:    fmt.Errorf("cannot write results into %s: %w", dir, err),
		hint:   "name another folder with --out",
	}
}
