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
	what, value, _ := strings.Cut(text, "=")
	var least int64
	var err error
	var n int64
	switch what {
	case "memory", "disk":
		var size scenarios.Size
		size, err = scenarios.ParseSize(value)
		n = int64(size)
		least = map[string]int64{"memory": leastMemory, "disk": leastDisk}[what]
	case "processes", "files":
		n, err = strconv.ParseInt(value, 10, 32)
		least = map[string]int64{"processes": leastProcesses, "files": leastFiles}[what]
	default:
		return fmt.Errorf("%q is no limit: there are %s", what, strings.Join(LimitNames, ", "))
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s=%s: %w", what, value, err)
	case n < least:
		return fmt.Errorf("%s=%s is less than a cell needs: the least is %d", what, value, least)
	}
	switch what {
	case "memory":
		l.Memory = n
	case "disk":
		l.Disk = n
	case "processes":
		l.Processes = int(n)
	case "files":
		l.Files = int(n)
	}
	return nil
}
