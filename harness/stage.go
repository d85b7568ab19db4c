//go:build linux

package harness

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// A stage is what the cells of one project in one world share: who signs for the hosts, the modules that
// are served, and the one that needs them.
type stage struct {
	keys     keys
	trees    map[string][]byte // signed trees by the name of the checksum database
	universe *fakeupstream.Universe
	altered  map[int]string // repositories that faults want instead
	warm     string         // folder with a warm module cache; empty if no config wants one
}

// stages makes stages, and no part of them twice.
type stages struct {
	options   *Options
	keys      map[era]keys
	universes map[source]*fakeupstream.Universe
}

func newStages(o *Options) *stages {
	return &stages{options: o, keys: map[era]keys{}, universes: map[source]*fakeupstream.Universe{}}
}

// An era is a world at a time: as far behind the client's clock as the offset says.
type era struct {
	world  *scenarios.World
	offset time.Duration
}

// of returns the stage of a project in a scenario, whose world is so far behind the client's clock.
func (s *stages) of(ctx context.Context, scenario *scenarios.Scenario, project *scenarios.Project, behind time.Duration) (*stage, error) {
	k, err := s.keysOf(scenario, behind)
	if err != nil {
		return nil, fmt.Errorf("make the keys of scenario %s: %w", scenario.Name, err)
	}
	u, err := s.universe(ctx, scenario.World, project)
	if err != nil {
		return nil, fmt.Errorf("project %s: %w", project.Name, err)
	}
	trees, err := signedTrees(k, u, scenario)
	if err != nil {
		return nil, err
	}
	warm, err := s.warmCache(ctx, project, u)
	if err != nil {
		return nil, fmt.Errorf("make a warm module cache for project %s: %w", project.Name, err)
	}
	altered, err := alteredGit(ctx, u, scenario.Faults)
	if err != nil {
		return nil, err
	}
	return &stage{k, trees, u, altered, warm}, nil
}

func (s *stages) keysOf(scenario *scenarios.Scenario, behind time.Duration) (k keys, err error) {
	at := era{scenario.World, behind}
	k, ok := s.keys[at]
	if !ok {
		if k, err = newKeys(at, s.options.Vars["go-sumdb"]); err != nil {
			return k, err
		}
		s.keys[at] = k
	}
	return k.withFlaws(scenario)
}

func (s *stages) universe(ctx context.Context, w *scenarios.World, project *scenarios.Project) (u *fakeupstream.Universe, err error) {
	from := sourceOf(w, project)
	if u, ok := s.universes[from]; ok {
		return u, nil
	}
	if u, err = s.newUniverse(ctx, w, project); err == nil {
		s.universes[from] = u
	}
	return u, err
}

// signedTrees signs the checksum databases of a scenario's world over the modules of a universe, those that lie
// too.
func signedTrees(k keys, u *fakeupstream.Universe, s *scenarios.Scenario) (map[string][]byte, error) {
	trees := map[string][]byte{}
	for _, key := range k.SumDB {
		if trees[key.Name] != nil {
			continue
		}
		db, err := fakeupstream.NewChecksumDB(key.Name, key.signer, u.Modules)
		if err != nil {
			return nil, err
		}
		trees[key.Name] = db.SignedTree()
	}
	return trees, signWrongTrees(trees, k, u, s)
}

// newKeys makes the certificates and database keys of a world's hosts.
func newKeys(at era, goSumDB string) (keys, error) {
	k := keys{Leaves: map[string][]byte{}, SumDB: map[string]dbKey{}}
	ca, err := fakeupstream.NewCA(time.Now().Add(-at.offset))
	if err != nil {
		return k, err
	}
	k.CA, k.authorities = ca.PEM(), &authorities{root: ca, flawed: map[flaw][]byte{}}
	byName := map[string]dbKey{}
	for _, h := range at.world.Hosts {
		leaf, err := ca.Leaf(h.Name)
		if err != nil {
			return k, err
		}
		if k.Leaves[h.Name], err = fakeupstream.MarshalCertificate(leaf); err != nil {
			return k, err
		}
		databases := slices.Clone(h.SumDB) // a proxy may serve one whose own host does not exist
		if h.Role == scenarios.RoleChecksumDB {
			databases = append(databases, h.Name)
		}
		for _, host := range databases {
			name := databaseName(host, goSumDB)
			if _, ok := byName[name]; !ok {
				if byName[name], err = newDBKey(name); err != nil {
					return k, err
				}
			}
			k.SumDB[host] = byName[name]
		}
	}
	return k, nil
}

func newDBKey(name string) (dbKey, error) {
	signer, verifier, err := note.GenerateKey(nil, name)
	return dbKey{Name: name, Verifier: verifier, signer: signer}, err
}

// databaseName returns the name of the database that a host serves. The go command knows one database
// under two hosts: dbDial in cmd/go/internal/modfetch/sumdb.go.
func databaseName(host, goSumDB string) string {
	if host == "sum.golang.google.cn" && goSumDB != "" {
		return goSumDB
	}
	return host
}

// A source is what a universe of modules is made from.
type source struct {
	project         *scenarios.Project
	public, private string // VCS hosts, joined
}

func sourceOf(w *scenarios.World, p *scenarios.Project) source {
	hosts := vcsHosts(w)
	return source{p, strings.Join(hosts.Public, " "), strings.Join(hosts.Private, " ")}
}

// vcsHosts returns the hosts below which the modules of a world have their paths.
func vcsHosts(w *scenarios.World) (hosts fakeupstream.Hosts) {
	for _, h := range w.Hosts {
		switch {
		case h.Role != scenarios.RoleVCS:
		case h.Private:
			hosts.Private = append(hosts.Private, h.Name)
		default:
			hosts.Public = append(hosts.Public, h.Name)
		}
	}
	return hosts
}

// newUniverse returns the modules of a project: generated ones, or those of the user's module cache.
func (s *stages) newUniverse(ctx context.Context, w *scenarios.World, project *scenarios.Project) (*fakeupstream.Universe, error) {
	if project.Modules == nil {
		return OwnModules(ctx, s.options.Go[0], project)
	}
	m, hosts := *project.Modules, vcsHosts(w)
	if err := fits(m, hosts); err != nil {
		return nil, wrongInput("it does not fit world %s: %w", w.Name, err)
	}
	name := fmt.Sprintf("modules-v%d-%d-%d-%d-%d-%d-%d-%s%s%s", fakeupstream.GeneratorVersion, m.Seed, m.Public, m.Private, m.Versions, m.Depth, m.ZipSize,
		m.State, m.Toolchain, strings.Join(append(slices.Clone(hosts.Public), hosts.Private...), "+"))
	return fakeupstream.Generate(ctx, filepath.Join(s.options.CacheDir, name), m, hosts)
}

// fits reports what a world lacks for generated modules to have their paths below its hosts.
func fits(m scenarios.Modules, hosts fakeupstream.Hosts) error {
	switch {
	case m.Public > 0 && len(hosts.Public) == 0:
		return errors.New("the project has public modules, and the world no host with the role vcs")
	case m.Private > 0 && len(hosts.Private) == 0:
		return errors.New("the project has private modules, and the world no private host with the role vcs")
	}
	return nil
}
