//go:build linux

package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/simrun/simrun/dnsfake"
	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/scenarios"
)

// An internet is the running hosts of one cell's world: name servers, and whatever listens at each host.
type internet struct {
	world        *scenarios.World
	keys         keys
	trees        map[string][]byte
	universe     *fakeupstream.Universe
	altered      map[int]string // repositories by the number of the fault that wants them
	seed         uint64
	network      *lab.Network
	hosts        []lab.Host     // name servers first, then the world's hosts, one of each name
	index        map[string]int // of a host's name in hosts
	declared     []scenarios.Fault
	faults       []*lab.Fault     // in the order of declared
	cachedBefore []module.Version // that the client's module cache had at the start
	log          fakeupstream.Log // of all requests
	issuers      issuerLog        // of certificates that faults have shown
	tcpDNS       queryLog         // queries over TCP, which the packet link does not follow
	byAddr       map[netip.AddrPort]*service
	egresses     []string // names of the hosts that connect to others, in the order of their addresses
	images       map[string]*Image
	programs     []*program
	limit        atomic.Pointer[string] // that the programs of the cell exceeded

	mu      sync.Mutex // guards what follows
	dbs     map[string]*fakeupstream.ChecksumDB
	failure error // the first thing that went wrong on our own side
}

// fail notes that the internet is not what it was declared to be. The cell becomes a harness error: it
// must not look as if a config had failed.
func (in *internet) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.failure == nil {
		in.failure = err
	}
}

// failed returns what was noted by fail.
func (in *internet) failed() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.failure
}

// A service is what listens on one port of one host. Its server starts with the first connection.
type service struct {
	host   *scenarios.Host
	addr   string // name:port
	secure bool
	stream *lab.StreamLink
	start  func() *connQueue
}

// mostRequests bounds what a cell records of a command that asks for the same thing for ever: net/http repeats
// some requests without a pause. As JSON, they are half of the longest line that a results file may have.
const mostRequests = 40_000

// newInternet makes the hosts of a spec and their network. It must be called by a lab process.
func newInternet(s *spec) (*internet, error) {
	in := &internet{world: s.World, keys: s.Keys, trees: s.Trees, universe: s.Universe, altered: s.Altered, images: s.Images, seed: s.Seed, declared: s.Faults,
		index: map[string]int{}, byAddr: map[netip.AddrPort]*service{}, dbs: map[string]*fakeupstream.ChecksumDB{},
		log: fakeupstream.Log{Most: mostRequests}}
	for i := range s.Faults {
		in.faults = append(in.faults, lab.NewFault(atItsPlace(&s.Faults[i]), s.Seed))
	}
	in.placeHosts()
	c := lab.Config{Hosts: in.hosts, Faults: in.packetFaults(), Seed: s.Seed}
	if s.Capture {
		c.Capture = lab.CaptureFile()
	}
	network, err := lab.NewNetwork(c)
	if err != nil {
		return nil, err
	}
	in.network = network
	if err := in.serveNames(); err != nil {
		return nil, err
	}
	if err := in.serveHosts(); err != nil {
		return nil, err
	}
	return in, in.startPrograms()
}

// placeHosts gives every name an address. Hosts of the world that differ only by port share one.
func (in *internet) placeHosts() {
	for _, ns := range in.world.Nameservers {
		in.place(lab.Host{Name: "ns:" + ns.Name, TCP: []uint16{53}, UDP: []uint16{53}, Link: ns.Link}, scenarios.FamilyIPv4, 1)
	}
	for i := range in.world.Hosts {
		h := &in.world.Hosts[i]
		at, known := in.index[h.Name]
		if !known {
			at = in.place(lab.Host{Name: h.Name, Link: h.Link}, h.Family, max(h.Addresses, 1))
		}
		in.hosts[at].TCP = append(in.hosts[at].TCP, h.Ports()...)
	}
}

func (in *internet) place(h lab.Host, family scenarios.Family, addresses int) int {
	n := len(in.hosts)
	h.Addrs = lab.HostAddrs(n, family, addresses)
	in.hosts = append(in.hosts, h)
	in.index[h.Name] = n
	return n
}

// packetFaults returns the packet faults with the places that they are about.
func (in *internet) packetFaults() []lab.PacketFault {
	var all []lab.PacketFault
	for _, f := range in.faults {
		if f.Packet == nil {
			continue
		}
		p := lab.PacketFault{Fault: f}
		for _, i := range f.Target.Nameserver {
			p.At = append(p.At, lab.Place{Host: in.index["ns:"+in.world.Nameservers[i].Name]})
		}
		for _, i := range f.Target.Hosts {
			h := &in.world.Hosts[i]
			p.At = append(p.At, lab.Place{Host: in.index[h.Name], Port: uint16(h.Port)})
		}
		all = append(all, p)
	}
	return all
}

// active reports whether a fault is in force now.
func (in *internet) active(f *lab.Fault) bool { return f.Active(in.network.Since()) }

// serveNames starts the name servers.
func (in *internet) serveNames() error {
	zone := dnsfake.Zone{}
	for _, h := range in.hosts[len(in.world.Nameservers):] {
		zone[h.Name] = h.Addrs
	}
	honest := dnsfake.Handler(zone, time.Minute)
	for i, ns := range in.world.Nameservers {
		h := in.dnsFaults(honest, zone, i)
		h = dnsfake.Observe(in.tcpDNS.add("ns:" + ns.Name))(h)
		_, err := dnsfake.Listen(netip.AddrPortFrom(in.hosts[i].Addrs[0], 53).String(), h)
		if err != nil {
			return fmt.Errorf("start name server %s: %w", ns.Name, err)
		}
	}
	return nil
}

// serveHosts listens on every port of the world and hands the connections to the hosts.
func (in *internet) serveHosts() error {
	open := map[uint16]bool{}
	for i := range in.world.Hosts {
		h := &in.world.Hosts[i]
		server, err := in.server(i)
		if err != nil {
			return err
		}
		for _, port := range h.Ports() {
			open[port] = true
			in.addService(h, i, port, server)
		}
	}
	for port := range open {
		l, err := in.network.Listen(port)
		if err != nil {
			return fmt.Errorf("listen on port %d of the internet: %w", port, err)
		}
		go in.accept(l)
	}
	return nil
}

func (in *internet) addService(h *scenarios.Host, i int, port uint16, server acceptor) {
	addr := fmt.Sprintf("%s:%d", h.Name, port)
	s := &service{host: h, addr: addr, secure: h.Secure(port), stream: in.network.NewStreamLink(addr, in.seed, in.streamFaults(i))}
	s.start = sync.OnceValue(func() *connQueue { return in.serve(s, server, i) })
	for _, a := range in.hosts[in.index[h.Name]].Addrs {
		in.byAddr[netip.AddrPortFrom(a, port)] = s
	}
}

// accept hands each connection to the host that it was made to, through the host's stream link.
func (in *internet) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s := in.byAddr[unmapped(conn.LocalAddr())]
		if s == nil { // the link lets nothing else through
			conn.Close()
			continue
		}
		end, err := s.stream.Connect(conn)
		if err != nil {
			in.fail(fmt.Errorf("stream link of %s: %w", s.addr, err))
			conn.Close()
			continue
		}
		if end != nil {
			s.start().push(end)
		}
	}
}

// unmapped returns a TCP address without the IPv6 form of IPv4 that a dual-stack listener shows.
func unmapped(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// files returns the web server of files by their paths.
func files(byPath map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, ok := byPath[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if strings.HasSuffix(r.URL.Path, ".pac") {
			w.Header().Set("Content-Type", "application/x-ns-proxy-autoconfig")
		}
		http.ServeContent(w, r, r.URL.Path, time.Time{}, strings.NewReader(content))
	})
}

// An acceptor serves the connections that a listener accepts.
type acceptor interface{ Serve(net.Listener) error }

// server returns what answers at host number i of the world.
func (in *internet) server(i int) (acceptor, error) {
	if in.world.Hosts[i].Role == scenarios.RoleSOCKSProxy {
		return in.socksProxy(i)
	}
	handler, err := in.handler(i)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: in.log.Observe(in.httpFaults(in.sumdbFaults(handler, i), i)),
		ErrorLog: log.New(serverLog{in}, "", 0), ConnContext: rememberConn}
	if in.hasHTTP(i, fakeupstream.NeedsWire) {
		return fakeupstream.NewWireServer(server), nil
	}
	return server, nil
}

// serve starts the server of a service of host number i of the world.
func (in *internet) serve(s *service, server acceptor, i int) *connQueue {
	q := &connQueue{conns: make(chan net.Conn, 64), addr: s.addr}
	if !s.secure {
		go server.Serve(q)
		return q
	}
	leaf := in.keys.Leaves[s.host.Name]
	cert, err := tls.X509KeyPair(leaf, leaf)
	if err != nil {
		in.fail(fmt.Errorf("certificate of %s: %w", s.addr, err))
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: in.protocols(i),
		KeyLogWriter: in.network.KeyLog()}
	if faults := in.tlsFaults(i); len(faults) > 0 {
		go server.Serve(fakeupstream.NewTLSListener(q, config, faults...))
		return q
	}
	go server.Serve(tls.NewListener(q, config))
	return q
}

// A serverLog gets the complaints of an http.Server. Most are about what clients do, and a client that
// meets a fault does all sorts of things; a panic is ours.
type serverLog struct{ in *internet }

func (l serverLog) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic serving")) {
		l.in.fail(errors.New(string(line)))
	}
	return len(line), nil
}

// A connQueue is a net.Listener of connections that were accepted elsewhere.
type connQueue struct {
	conns chan net.Conn
	addr  string
}

func (q *connQueue) push(c net.Conn)           { q.conns <- c }
func (q *connQueue) Accept() (net.Conn, error) { return <-q.conns, nil }
func (q *connQueue) Close() error              { return nil }
func (q *connQueue) Addr() net.Addr            { return hostAddr(q.addr) }

type hostAddr string

func (hostAddr) Network() string  { return "tcp" }
func (a hostAddr) String() string { return string(a) }

// protocols returns what host number i of the world announces in its TLS handshakes. CONNECT is of HTTP/1.1 here,
// as nearly everywhere.
func (in *internet) protocols(i int) []string {
	if in.world.Hosts[i].Role == scenarios.RoleHTTPSProxy || in.hasHTTP(i, scenarios.HTTPFault.NeedsHTTP1) {
		return []string{"http/1.1"}
	}
	return []string{"h2", "http/1.1"}
}

// handler returns the honest HTTP server of the role of host number i of the world, or what hands requests to its own program.
func (in *internet) handler(i int) (http.Handler, error) {
	h := &in.world.Hosts[i]
	if h.Server != nil {
		return in.addProgram(h)
	}
	switch h.Role {
	case scenarios.RoleModuleProxy:
		return in.moduleProxy(h, i)
	case scenarios.RoleChecksumDB:
		return in.lazily(func() (http.Handler, error) { return in.checksumDB(h.Name) }), nil
	case scenarios.RoleVCS:
		return in.vcs(i), nil
	case scenarios.RoleWeb:
		return files(h.Files), nil
	case scenarios.RoleForwardProxy, scenarios.RoleHTTPSProxy:
		return in.forwardProxy(i)
	}
	return nil, fmt.Errorf("host %s has the role %q, which nothing plays", h.Name, h.Role)
}

func (in *internet) moduleProxy(h *scenarios.Host, i int) (http.Handler, error) {
	p := &fakeupstream.ModuleProxy{Tree: os.DirFS(in.universe.Proxy)}
	if !h.Private {
		p.Knows = func(path string) bool { return !in.universe.IsPrivate(path) }
	}
	cache, err := in.cachingProxy(i)
	if err != nil {
		return nil, err
	}
	honest := in.lazily(func() (http.Handler, error) {
		for _, name := range h.SumDB {
			db, err := in.checksumDB(name)
			if err != nil {
				return nil, err
			}
			p.ChecksumDBs = append(p.ChecksumDBs, db)
		}
		return p, nil
	})
	return in.moduleFaults(honest, p, cache, i), nil
}

// lazily makes a handler when it is first needed: most cells need few of the world's hosts.
func (in *internet) lazily(make func() (http.Handler, error)) http.Handler {
	made := sync.OnceValues(make)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := made()
		if err != nil {
			in.fail(fmt.Errorf("serve %s: %w", r.Host, err))
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, r)
	})
}

// checksumDB returns the checksum database of a name, the same one for all who serve it.
func (in *internet) checksumDB(name string) (*fakeupstream.ChecksumDB, error) {
	key, ok := in.keys.SumDB[name]
	if !ok {
		return nil, fmt.Errorf("checksum database %q has no key", name)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if db := in.dbs[name]; db != nil {
		return db, nil
	}
	db, err := fakeupstream.OpenChecksumDB(key.Name, in.trees[key.Name], in.universe.Modules)
	if err != nil {
		return nil, err
	}
	in.dbs[name] = db
	return db, nil
}

// dialer returns how the host with egress number n reaches the internet: over the packet link, as the client
// does, from an address of its own and by the client's name servers.
func (in *internet) dialer(n int) func(ctx context.Context, network, addr string) (net.Conn, error) {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, err
		}
		return in.network.DialFrom(ctx, network, lab.Egress(n, to.Addr().Is6()), to)
	}
	resolver := &net.Resolver{PreferGo: true, Dial: dial}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		ips, err := resolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
		for _, ip := range ips {
			var conn net.Conn
			if conn, err = dial(ctx, network, net.JoinHostPort(ip.Unmap().String(), port)); err == nil {
				return conn, nil
			}
		}
		return nil, err
	}
}
