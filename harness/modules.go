//go:build linux

package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/scenarios"
)

// moduleFaults puts the module faults of host number i of the world before its handler. Cache is what the host
// asks its upstream with; nil if it has none.
func (in *internet) moduleFaults(h http.Handler, p *fakeupstream.ModuleProxy, cache http.Handler, i int) http.Handler {
	for _, f := range in.faults {
		if f.Module == nil || !slices.Contains(f.Target.Hosts, i) {
			continue
		}
		lie := fakeupstream.WrongModules(*f.Module, p)
		if f.Module.Uncached {
			lie = func(http.Handler) http.Handler { return cache }
		}
		meets := func(r *http.Request) bool { return p.Meets(*f.Module, r) }
		h = fakeupstream.When(in.bites(f, i, meets), lie)(h)
	}
	return h
}

// bites returns what decides whether a request meets a fault of host number i, and counts those that do.
func (in *internet) bites(f *lab.Fault, i int, meets func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool {
		if !in.active(f) || !meets(r) || !f.Picks(in.world.Hosts[i].Name) {
			return false
		}
		f.Bit.Add(1)
		return true
	}
}

// cachingProxy returns the part of the module proxy that is host number i of the world which asks its upstream, over the packet link and from an
// address of its own; nil if it has none.
func (in *internet) cachingProxy(i int) (http.Handler, error) {
	h := &in.world.Hosts[i]
	if h.Upstream == "" {
		return nil, nil
	}
	dial, err := in.egress(i)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(in.keys.CA)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, upstreamTimeout)
			defer cancel()
			return dial(ctx, network, addr)
		},
		TLSClientConfig:     &tls.Config{RootCAs: roots},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
	}
	return &fakeupstream.CachingProxy{Upstream: "https://" + h.Upstream, Client: &http.Client{Transport: transport}}, nil
}

// upstreamTimeout is how long a module proxy waits for a connection to its upstream, as http.DefaultTransport does.
const upstreamTimeout = 30 * time.Second

// sumdbFaults puts the checksum database faults of host number i of the world before its handler.
func (in *internet) sumdbFaults(h http.Handler, i int) http.Handler {
	for n, f := range in.faults {
		if f.SumDB == nil || f.SumDB.Answer == "" || !slices.Contains(f.Target.Hosts, i) {
			continue
		}
		liar := in.lazily(func() (http.Handler, error) { return in.lyingDatabases(n, &in.world.Hosts[i]) })
		lies := func(r *http.Request) bool {
			if !in.active(f) || !asksDatabase(r.URL.Path) || !f.Picks(in.world.Hosts[i].Name) {
				return false
			}
			// The rest of a lying log is told with the same signed tree, and is as it should be.
			if fakeupstream.MeetsSumDBFault(*f.SumDB, r) {
				f.Bit.Add(1)
			}
			return true
		}
		h = fakeupstream.When(lies, func(http.Handler) http.Handler { return liar })(h)
	}
	return h
}

// asksDatabase reports whether the path of a URL is one of a checksum database's protocol. That a module
// proxy says that it answers for one is not.
func asksDatabase(path string) bool {
	if rest, ok := strings.CutPrefix(path, "/sumdb/"); ok {
		_, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	return path == "/latest" || strings.HasPrefix(path, "/lookup/") || strings.HasPrefix(path, "/tile/")
}

// lyingDatabases returns the checksum databases of a host with fault number n.
func (in *internet) lyingDatabases(n int, h *scenarios.Host) (http.Handler, error) {
	f := in.declared[n].SumDB
	p := &fakeupstream.ModuleProxy{}
	for _, host := range h.Databases() {
		name := in.keys.SumDB[host].Name
		db, err := fakeupstream.OpenWrongChecksumDB(*f, name, in.trees[wrongTree(name, n)], in.universe.Modules)
		if err != nil {
			return nil, err
		}
		if h.Role == scenarios.RoleChecksumDB {
			return db, nil
		}
		p.ChecksumDBs = append(p.ChecksumDBs, db)
	}
	return p, nil
}

// wrongTree is the key, in the trees of a stage, of the tree that a checksum database has with fault number n.
func wrongTree(name string, n int) string { return fmt.Sprintf("%s %d", name, n) }

// signWrongTrees signs the trees of the checksum databases that lie in a scenario.
func signWrongTrees(trees map[string][]byte, k keys, u *fakeupstream.Universe, s *scenarios.Scenario) error {
	for n := range s.Faults {
		f := s.Faults[n].SumDB
		if f == nil || f.Answer == "" {
			continue
		}
		for _, host := range databasesOf(&s.Faults[n], s.World) {
			key := k.SumDB[host]
			db, err := fakeupstream.NewChecksumDB(key.Name, key.signer, fakeupstream.WrongSums(*f, u.Modules))
			if err != nil {
				return err
			}
			trees[wrongTree(key.Name, n)] = db.SignedTree()
		}
	}
	return nil
}

// databasesOf returns the hosts of the checksum databases that a fault is about.
func databasesOf(f *scenarios.Fault, w *scenarios.World) (hosts []string) {
	for _, i := range f.Target.Hosts {
		hosts = append(hosts, w.Hosts[i].Databases()...)
	}
	return hosts
}

// A knownTree is a file of the client's with a checksum database's tree, from before the command starts.
type knownTree struct {
	fault   int
	path    string
	content []byte
}

// knownTrees returns what the faults of a cell want the client to know of checksum databases:
// GOPATH/pkg/sumdb/NAME/latest (ReadConfig in cmd/go/internal/modfetch/sumdb.go).
func knownTrees(s *spec) (all []knownTree) {
	for n := range s.Faults {
		f := &s.Faults[n]
		if f.SumDB == nil || f.SumDB.KnownTree == "" {
			continue
		}
		for _, host := range databasesOf(f, s.World) {
			name := s.Keys.SumDB[host].Name
			content := s.Trees[name]
			if f.SumDB.KnownTree == scenarios.KnownTreeCorrupt {
				content = []byte("go.sum database tree\n\x00\x00\x00\x00")
			}
			all = append(all, knownTree{n, filepath.Join(clientGoPath(s.Env), "pkg", "sumdb", name, "latest"), content})
		}
	}
	return all
}

// clientGoPath returns the first folder of GOPATH in an environment.
func clientGoPath(env []string) string {
	for _, variable := range env {
		if list, ok := strings.CutPrefix(variable, "GOPATH="); ok && list != "" {
			return filepath.SplitList(list)[0]
		}
	}
	return goPath
}

// unread is the time of the last access of a file that nobody has read.
var unread = time.Unix(1, 0)

// teachTrees writes the trees that the client knows. The kernel notes the first time that they are read: the
// cell's file system is tmpfs, mounted with relatime (mount(8)).
func teachTrees(s *spec) error {
	for _, t := range knownTrees(s) {
		if err := os.MkdirAll(filepath.Dir(t.path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(t.path, t.content, 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(t.path, unread, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// countCorruptTrees counts how many corrupt trees the client has read.
func (in *internet) countCorruptTrees(s *spec) error {
	for _, t := range knownTrees(s) {
		if s.Faults[t.fault].SumDB.KnownTree != scenarios.KnownTreeCorrupt {
			continue
		}
		info, err := os.Stat(t.path)
		if err != nil {
			return err
		}
		if at := info.Sys().(*syscall.Stat_t).Atim; at.Sec != unread.Unix() {
			in.faults[t.fault].Bit.Add(1)
		}
	}
	return nil
}
