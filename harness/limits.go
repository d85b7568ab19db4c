package harness

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/simrun/simrun/scenarios"
)

// Limits are what the programs of one cell may take from this machine, all together. 0 means the default.
type Limits struct {
	Memory    int64 // bytes: of data of each process, and resident of all together; by default 4 GiB, or half of what is available if that is less
	Disk      int64 // bytes of files, which are in memory, too; by default 2 GiB, or half of what is available if that is less
	Processes int   // and threads; by default 4096
	Files     int   // that one process has open; by default 8192
}

// The default limits. The largest project of the library takes a tenth of each.
const (
	mostCellMemory = 4 << 30
	mostCellDisk   = 2 << 30
	mostProcesses  = 4096
	mostFiles      = 8192
)

// LimitNames are the limits that ParseLimit knows.
var LimitNames = []string{"memory", "disk", "processes", "files"}

// The least that limits can be: less than that, and simrun's own servers do not run.
const (
	leastMemory    = 256 << 20
	leastDisk      = 16 << 20
	leastProcesses = 301 // what Linux has for a pid namespace
	leastFiles     = 256
)

// ParseLimit adds one limit of the form WHAT=VALUE, such as memory=1GiB or processes=500.
func (l *Limits) ParseLimit(text string) error {
	what, _, _ := strings.Cut(text, "=")
	switch what {
	case "memory":
		return setLimit(&l.Memory, text, parseBytes, leastMemory)
	case "disk":
		return setLimit(&l.Disk, text, parseBytes, leastDisk)
	case "processes":
		return setLimit(&l.Processes, text, parseCount, leastProcesses)
	case "files":
		return setLimit(&l.Files, text, parseCount, leastFiles)
	}
	return fmt.Errorf("%q is no limit: there are %s", what, strings.Join(LimitNames, ", "))
}

// setLimit sets the limit that a text of the form WHAT=VALUE is about.
func setLimit[N int | int64](limit *N, text string, parse func(string) (N, error), least N) error {
	what, value, _ := strings.Cut(text, "=")
	n, err := parse(value)
	switch {
	case err != nil:
		return fmt.Errorf("%s=%s: %w", what, value, err)
	case n < least:
		return fmt.Errorf("%s=%s is less than a cell needs: the least is %d", what, value, least)
	}
	*limit = n
	return nil
}

func parseBytes(text string) (int64, error) {
	size, err := scenarios.ParseSize(text)
	return int64(size), err
}

func parseCount(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	return int(n), err
}
