// Package quiet keeps testcontainers from looking at all processes of this machine when a program starts that
// has it linked in. It does so in an init function, to name sessions, which are no concern of ours; simrun
// starts once per cell, and on a busy machine that would take longer than all else.
//
// The order in which packages are initialised makes it work: of those whose imports are ready, the first by
// import path comes first (https://go.dev/ref/spec#Package_initialization). This one imports nothing that
// testcontainers does not need as well, and its path sorts before.
package quiet

import "os"

// processes names the folder in which gopsutil, by which testcontainers looks, finds processes.
const processes = "HOST_PROC"

var set = func() bool {
	if _, ok := os.LookupEnv(processes); ok {
		return false
	}
	return os.Setenv(processes, os.DevNull) == nil
}()

// End makes all as it was. The init function of a package that imports testcontainers calls it.
func End() {
	if set {
		_ = os.Unsetenv(processes) // it fails for names that cannot be set either
	}
}
