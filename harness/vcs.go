//go:build linux

package harness

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// vcs returns the server of host number i of the world, a version control host, with its faults.
func (in *internet) vcs(i int) http.Handler {
	v := &fakeupstream.VCS{Dir: in.universe.Git, CodeHosts: codeHosts(in.world)}
	var handler http.Handler = v
	for n, f := range in.faults {
		if f.VCS == nil || !slices.Contains(f.Target.Hosts, i) {
			continue
		}
		bites := func() bool {
			if !in.active(f) || !f.Picks(in.world.Hosts[i].Name) {
				return false
			}
			f.Bit.Add(1)
			return true
		}
		handler = v.Fault(*f.VCS, in.altered[n], bites)(handler)
	}
	return handler
}

// codeHosts returns where the repositories of those hosts are that have pages only.
func codeHosts(w *scenarios.World) map[string]string {
	all := map[string]string{}
	for _, h := range w.Hosts {
		if h.CodeHost != "" {
			all[h.Name] = h.CodeHost
		}
	}
	return all
}

// alteredGit returns the repositories that faults want to be served instead of a universe's own, by the
// number of the fault.
func alteredGit(ctx context.Context, u *fakeupstream.Universe, faults []scenarios.Fault) (map[int]string, error) {
	all := map[int]string{}
	for i := range faults {
		f := faults[i].VCS
		if f == nil || !f.Altered() {
			continue
		}
		dir, err := u.AlteredGit(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("make the repositories of the fault %q: %w", &faults[i], err)
		}
		all[i] = dir
	}
	return all, nil
}
