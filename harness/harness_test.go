//go:build linux

package harness

import (
	"errors"
	"flag"
	"log"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

func TestMain(m *testing.M) {
	Reexec()
	beProbe()
	flag.Parse()
	if err := waitSideBySide(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// waitSideBySide lets more tests run at the same time than there are CPUs, unless the command line says how many:
// most of them wait most of the time.
func waitSideBySide() error {
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if asked {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)))
}

// TestHealthyCells runs every config of the library where nothing is wrong, and holds each cell's facts
// against each other.
func TestHealthyCells(t *testing.T) {
	t.Parallel()
	requireLab(t)
	o := libraryOptions(t)
	o.Scenarios = slices.DeleteFunc(o.Scenarios, func(s *scenarios.Scenario) bool { return s.Name != "healthy-international" })
	o.Projects = slices.DeleteFunc(o.Projects, func(p *scenarios.Project) bool { return p.Name != "small" })
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	cells := 0
	require.NoError(t, p.Run(t.Context(), func(c *record.Cell) error {
		cells++
		assert.Contains(t, []record.Outcome{record.OK, record.Error}, c.Outcome, "%s: %s", c.Config, c.Note)
		assert.InDelta(t, float64(c.Seconds), float64(c.Attribution.Total()), 1e-5, c.Config)
		assert.Empty(t, c.Strays, c.Config)
		assert.Empty(t, c.Lost, c.Config)
		assert.Greater(t, c.CPUSeconds, c.ClientCPU, c.Config)
		if c.Outcome == record.OK {
			assertDownloads(t, c)
		}
		return nil
	}, nil))
	assert.Equal(t, p.Header().Cells, cells)
}

// assertDownloads checks that an ok cell has the true modules, and that the requests which brought them
// went over connections that were seen on the wire.
func assertDownloads(t *testing.T, c *record.Cell) {
	t.Helper()
	assert.Len(t, c.Modules, 4, "%s: three public modules and a private one", c.Config)
	for _, m := range c.Modules {
		assert.True(t, m.Good, "%s: %s@%s", c.Config, m.Path, m.Version)
	}
	for _, r := range c.Requests {
		require.GreaterOrEqual(t, r.Conn, 0, "%s: %s", c.Config, r.Path)
		assert.Less(t, r.Conn, len(c.Conns), "%s: %s", c.Config, r.Path)
		assert.LessOrEqual(t, r.Start, r.First, "%s: %s", c.Config, r.Path)
	}
}

func TestAServersPanicIsOurs(t *testing.T) {
	t.Parallel()
	in := &internet{}
	complain := log.New(serverLog{in}, "", 0)
	complain.Print("http: TLS handshake error from 192.0.2.2:40000: EOF")
	require.NoError(t, in.failed())
	complain.Print("http: panic serving 192.0.2.2:40000: index out of range")
	require.ErrorContains(t, in.failed(), "index out of range")
	in.fail(errors.New("another one"))
	assert.ErrorContains(t, in.failed(), "index out of range", "the first counts")
}
