// Command simrun finds out which proxy settings keep "go mod tidy" working, safe and fast when the
// network misbehaves. It runs the real go command inside a small simulated internet that fails in
// declared ways, once for every scenario and config, and reports what each config did.
//
//	simrun scenarios/                     every scenario x every config -> simrun-out/results.jsonl
//	simrun validate my-scenarios/         read and check files, run nothing
//	simrun doctor                         can this machine run labs, and if not, what mends it
//	simrun compare OLD NEW                what changed between two runs
//	simrun trend RUN...                   how configs did over many
//	simrun shell dead-proxy               a shell on the client host of one scenario
//
// Exit status: 0 all is as the scenarios expect, 1 it is not, or a comparison shows a regression, 2 the input is wrong,
// 3 simrun itself failed, 130 it was interrupted.
package main

import (
	"context"
	"os"

	"github.com/simrun/simrun/harness"
)

func main() {
	harness.Reexec()
	reap()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	os.Exit(a.main(context.Background(), os.Args[1:]))
}
