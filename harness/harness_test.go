package harness

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

func TestMain(m *testing.M) {
	Reexec()
	beProbe()
	os.Exit(m.Run())
}

func TestOneHealthyCell(t *testing.T) {
	ctx := context.Background()
	g, err := FindGo(ctx, "")
	require.NoError(t, err)
	vars := g.Vars()
	lib, err := scenarios.Builtin(scenarios.Options{Vars: vars})
	require.NoError(t, err)
	o := Options{Go: g, Vars: vars, CacheDir: t.TempDir(), Seed: 1, Timeout: 20 * time.Second}
	for _, s := range lib.Scenarios {
		if s.Name == "healthy-international" {
			o.Scenarios = append(o.Scenarios, s)
		}
	}
	o.Configs = lib.Configs
	for _, p := range lib.Projects {
		if p.Name == "small" {
			o.Projects = append(o.Projects, p)
		}
	}
	p, err := NewPlan(ctx, o)
	require.NoError(t, err)
	require.NoError(t, p.Run(ctx, func(c *record.Cell) error {
		t.Logf("%-20s %-7s %.3f s client %.1f ms all %.1f ms setup %.1f ms rss %d", c.Config, c.Outcome, c.Seconds, c.ClientCPU*1e3, c.CPUSeconds*1e3, c.SetupTime*1e3, c.MaxRSS>>20)
		if c.Outcome == record.OK {
			return nil
		}
		c.Requests, c.Queries, c.Conns = nil, nil, nil
		b, _ := json.Marshal(c)
		t.Logf("%s", b)
		return nil
	}, nil))
}
