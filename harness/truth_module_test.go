//go:build linux

package harness

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// A sample is a version of a module that a fault is about, and its true files.
type sample struct {
	fakeupstream.Module
	path string // of its URLs, without ".info", ".mod" and ".zip"
	mod  string
	zip  []byte
}

// sample returns the newest version of a module that a host has and a fault selects.
func (t *town) sample(h *scenarios.Host, selects func(path, version string) bool) (s sample, err error) {
	for _, m := range slices.Backward(t.modules) {
		path, err1 := module.EscapePath(m.Path)
		version, err2 := module.EscapeVersion(m.Version)
		if m.Sum == "" || m.Private && !h.Private || err1 != nil || err2 != nil || !selects(m.Path, m.Version) {
			continue
		}
		s = sample{Module: m, path: "/" + path + "/@v/" + version}
		mod, err1 := os.ReadFile(filepath.Join(t.tree, s.path+".mod"))
		zip, err2 := os.ReadFile(filepath.Join(t.tree, s.path+".zip"))
		if err1 != nil || err2 != nil {
			return s, fmt.Errorf("the true files of %s: %v, %v", m.Path, err1, err2)
		}
		s.mod, s.zip = string(mod), zip
		return s, nil
	}
	return s, fmt.Errorf("it is about no module of the probes")
}

// asking returns the check that asks a host for something with the path.
func (t *town) asking(s spot, path string, shows func(sighting) bool) check {
	v := visit{Method: "GET", Target: path, Host: s.name, Whole: true}
	if s.host.Secure(s.addr.Port()) {
		v.TLS, v.Certified = s.name, s.name
	}
	return check{about: "GET " + path, probe: s.visiting(v, enough), shows: shows}
}

func (t *town) moduleChecks(f *scenarios.ModuleFault, s spot) ([]check, error) {
	selects := f.Selects
	if f.NoEscapes {
		selects = func(path, version string) bool { return strings.ToLower(path) != path && f.Selects(path, version) }
	}
	m, err := t.sample(s.host, selects)
	if err != nil {
		return nil, err
	}
	list := strings.TrimSuffix(m.path, m.Version) + "list"
	one := func(path string, shows func(sighting) bool) ([]check, error) {
		return []check{t.asking(s, path, shows)}, nil
	}
	switch {
	case f.Stale:
		return one(list, func(g sighting) bool {
			return g.Status == 200 && g.Content.Text != "" && !strings.Contains(g.Content.Text, m.Version)
		})
	case f.Missing != 0:
		refused := func(g sighting) bool { return g.Status == f.Missing && g.First-g.Asked >= f.After }
		unlisted := func(g sighting) bool { return g.Status == f.Missing || !strings.Contains(g.Content.Text, m.Version) }
		return []check{t.asking(s, m.path+".mod", refused), t.asking(s, list, unlisted)}, nil
	case f.Unknown != 0:
		c := t.asking(s, "/nobody.example/nothing/@v/list", func(g sighting) bool { return g.Status == f.Unknown })
		c.probe.Missing = true
		return []check{c}, nil
	case f.Uncached:
		c := t.asking(s, m.path+".zip", t.fetched(s.host))
		c.probe.Times = 1 // then it is in the cache
		return []check{c}, nil
	case f.NoEscapes:
		return one(m.path+".mod", func(g sighting) bool { return g.Status == 404 })
	case f.Zip != "":
		return one(m.path+".zip", func(g sighting) bool { return g.Status == 200 && m.showsZip(f.Zip, g) })
	case f.Mod != "":
		return one(m.path+".mod", func(g sighting) bool { return g.Status == 200 && m.showsMod(f.Mod, g.Content.Text) })
	}
	return nil, nil
}

// fetched reports whether a proxy had to go to its upstream: it takes as long, or does not get there.
func (t *town) fetched(h *scenarios.Host) func(sighting) bool {
	up := slices.IndexFunc(t.world.Hosts, func(up scenarios.Host) bool { return up.Name == h.Upstream })
	link := t.world.Hosts[up].Link
	const handshakes = 3 // round trips of TCP, TLS and the request
	least := h.Link.RTT + handshakes*(link.RTT-2*link.Jitter) - time.Millisecond
	return func(g sighting) bool { return g.Status == 502 || g.First-g.Asked >= least }
}

func (m sample) showsZip(flaw scenarios.ZipFlaw, g sighting) bool {
	switch c := g.Content; flaw {
	case scenarios.ZipChanged:
		return c.ZipOf == m.Path+"@"+m.Version && c.ZipSum != "" && c.ZipSum != m.Sum
	case scenarios.ZipTruncated:
		return g.Body == int64(len(m.zip)/2) && g.Length == g.Body && c.ZipSum == ""
	case scenarios.ZipNotAZip:
		return strings.HasPrefix(c.Text, "<!DOCTYPE html>")
	case scenarios.ZipOtherModule:
		return c.ZipSum != "" && c.ZipOf != m.Path+"@"+m.Version
	}
	return false
}

func (m sample) showsMod(flaw scenarios.ModFlaw, text string) bool {
	switch flaw {
	case scenarios.ModChanged:
		return strings.HasPrefix(text, m.mod) && len(text) > len(m.mod)
	case scenarios.ModNotAMod:
		return strings.HasPrefix(text, "<!DOCTYPE html>")
	case scenarios.ModOtherModule:
		return strings.HasPrefix(text, "module ") && !strings.HasPrefix(text, "module "+m.Path+"\n")
	}
	return false
}

func (t *town) sumdbChecks(f *scenarios.SumDBFault, s spot) (all []check, err error) {
	for _, db := range s.host.Databases() {
		prefix := ""
		if s.host.Role != scenarios.RoleChecksumDB {
			prefix = "/sumdb/" + db
		}
		if f.Answer != "" {
			own, err := t.answerChecks(f, s, prefix)
			if err != nil {
				return nil, err
			}
			all = append(all, own...)
		}
	}
	if f.KnownTree != "" {
		all = append(all, check{
			about: "the tree that the client knows",
			probe: probe{File: "pkg/sumdb/*/latest", Limit: enough, Times: 1},
			shows: func(g sighting) bool {
				return g.Content != nil && (f.KnownTree == scenarios.KnownTreeCurrent) == (g.Content.Signed == "good")
			},
		})
	}
	return all, nil
}

func (t *town) answerChecks(f *scenarios.SumDBFault, s spot, prefix string) ([]check, error) {
	public := *s.host
	public.Private = false // no database knows the private modules
	m, err := t.sample(&public, f.Selects)
	if err != nil {
		return nil, err
	}
	lookup := prefix + "/lookup" + strings.Replace(m.path, "/@v/", "@", 1)
	true_, honest := t.honestTree()
	size := func(tree string) (n int) {
		fmt.Sscanf(tree, treeHead+"%d", &n)
		return n
	}
	ask := func(path string, shows func(c *content) bool) check {
		return t.asking(s, path, func(g sighting) bool { return g.Status == 200 && shows(g.Content) })
	}
	altered := func(c *content) bool { return !strings.Contains(c.Text, m.Sum) && c.Signed == "good" }
	switch f.Answer {
	case scenarios.SumDBWrongHash:
		return []check{ask(lookup, func(c *content) bool { return altered(c) && c.Tree != honest && size(c.Tree) == true_ })}, nil
	case scenarios.SumDBAlteredRecord:
		return []check{ask(lookup, func(c *content) bool { return altered(c) && c.Tree == honest })}, nil
	case scenarios.SumDBForked:
		return []check{ask(lookup, func(c *content) bool {
			return strings.Contains(c.Text, m.Sum) && c.Signed == "good" && size(c.Tree) == true_+1
		})}, nil
	case scenarios.SumDBBadSignature:
		return []check{ask(prefix+"/latest", func(c *content) bool {
			return c.Tree == honest && strings.Contains(c.Signed, "invalid signature")
		})}, nil
	case scenarios.SumDBStale:
		gone := t.asking(s, lookup, func(g sighting) bool { return g.Status == 404 })
		return []check{gone, ask(prefix+"/latest", func(c *content) bool { return c.Signed == "good" && size(c.Tree) < true_ })}, nil
	}
	return nil, nil
}

// honestTree returns the size and the text of the tree head over the true public modules: the Merkle tree hash
// of RFC 6962 section 2.1.
func (t *town) honestTree() (size int, head string) {
	var leaves [][]byte
	for _, m := range t.modules { // in the order of paths and versions
		if !m.Private {
			record := fmt.Sprintf("%s %s %s\n%[1]s %[2]s/go.mod %[4]s\n", m.Path, m.Version, m.Sum, m.GoModSum)
			leaf := sha256.Sum256(append([]byte{0}, record...))
			leaves = append(leaves, leaf[:])
		}
	}
	hash := base64.StdEncoding.EncodeToString(merkle(leaves))
	return len(leaves), fmt.Sprintf("%s%d\n%s", treeHead, len(leaves), hash)
}

func merkle(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	sum := sha256.Sum256(slices.Concat([]byte{1}, merkle(leaves[:k]), merkle(leaves[k:])))
	return sum[:]
}
