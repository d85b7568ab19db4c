package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const resultsName = "results.jsonl"

// resultsFile makes sure that a folder can take a run, and returns the path of its results file, which
// does not exist yet. The folder is made if need be. What is in it stays as it is.
func resultsFile(dir string) (string, error) {
	if dir == "" {
		return "", wrongInput("--out is empty, and should be a folder")
	}
	file := filepath.Join(dir, resultsName)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", unusable(dir, err)
	}
	switch _, err := os.Lstat(file); {
	case err == nil:
		return "", &statusError{
			status: statusInput,
			err:    fmt.Errorf("%s holds a run already (%s)", dir, resultsName),
			hint:   "name another folder with --out, or move this one away",
		}
	case !errors.Is(err, fs.ErrNotExist):
		return "", unusable(dir, err)
	}
	return file, tryWriting(dir)
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

func unusable(dir string, err error) error {
	return &statusError{
		status: statusInput,
		err:    fmt.Errorf("cannot write results into %s: %w", dir, err),
		hint:   "name another folder with --out",
	}
}
