package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// What .ci/release sets.
var releaseVersion, releaseCommit string

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of simrun and its commit",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.out, "simrun %s %s %s/%s commit %s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, commit())
			return err
		},
	}
}

// version returns the version of a release, or else what the go command stamped into the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(releaseVersion, "(devel)")
	}
	return cmp.Or(releaseVersion, info.Main.Version, "(devel)")
}

// commit returns the commit that the binary was built from, with "-dirty" behind it if the source had been changed.
func commit() string {
	info, _ := debug.ReadBuildInfo()
	return cmp.Or(releaseCommit, commitIn(info), "unknown")
}

// commitIn returns the commit that the go command stamped into a binary, "" if it did not.
func commitIn(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision := settings["vcs.revision"]
	if revision == "" { // of "go install MODULE@VERSION", the version may name it: v0.0.0-20260102030405-0123456789ab
		parts := strings.Split(info.Main.Version, "-")
		if last := parts[len(parts)-1]; len(parts) > 2 && len(last) == 12 {
			return last
		}
		return ""
	}
	if settings["vcs.modified"] == "true" {
		revision += "-dirty"
	}
	return revision
}
