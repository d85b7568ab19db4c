//go:build linux

package harness

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/harness/lab/clock"
	"github.com/simrun/simrun/harness/pac"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// Reexec turns this process into a lab process, or into a cell's agent for a PAC, if simrun started it as one, and
// does not return then.
// It must be called first in main, and first in TestMain of tests that run cells.
func Reexec() {
	pac.Reexec()
	lab.Reexec(runInside)
}

// Check finds out whether cells can be run on this machine, by making a lab. The error says what is missing.
func Check(ctx context.Context) error { return lab.Check(ctx) }

// CheckClock finds out whether the clock of a cell can jump on this machine, by letting one sleep. The error says
// what is in the way.
func CheckClock(ctx context.Context) error { return lab.CheckClock(ctx) }

// CheckPressure finds out whether cells can tell that they had to wait for the machine. The error says what is
// missing.
func CheckPressure() error { return lab.CheckPressure() }

// CheckLimits finds out which limits of a cell the kernel does not keep by itself. The error says what is done then.
func CheckLimits() error { return lab.CheckLimits() }

// runInside is the life of a lab process: it makes one cell's internet and client host, runs the cell's
// command there, and sends what was seen to its parent.
func runInside(parent *lab.Control) error {
	var s spec
	if err := parent.Receive(&s); err != nil {
		return fmt.Errorf("read the cell: %w", err)
	}
	if s.Virtual {
		if err := greet(parent); err != nil {
			return err
		}
	}
	files := lab.Files{ResolvConf: resolvConf(&s), Hosts: hostsFile(s.World), Hidden: s.Hidden, Shown: s.Shown}
	if err := lab.Mount(files); err != nil {
		return err
	}
	if err := lab.Limit(s.Limits.ofLab()); err != nil {
		return err
	}
	if err := furnish(&s); err != nil {
		return fmt.Errorf("furnish the client host: %w", err)
	}
	in, err := newInternet(&s)
	if err != nil {
		return err
	}
	if err := in.applyClientFaults(s.Env); err != nil {
		return fmt.Errorf("apply the faults of the client host: %w", err)
	}
	agent, err := startAgent(in.network, &s)
	if err != nil {
		return err
	}
	setup := time.Since(s.Started)
	if s.Shell {
		return shellInside(in, &s)
	}
	go answer(parent, in)
	end, err := runCommands(in.network, &s, agent == nil && len(in.programs) == 0)
	if err = errors.Join(err, in.network.EndCapture()); err != nil {
		return err
	}
	if err := in.countCorruptTrees(&s); err != nil {
		return err
	}
	cell := in.facts(end)
	cell.Routes, cell.AgentEnd = agent.stop()
	if err := in.failed(); err != nil {
		return err
	}
	cell.SetupTime = record.Seconds(setup.Seconds())
	return parent.Send(message{Cell: cell})
}

// greet makes this process one whose clock is kept by its parent.
func greet(parent *lab.Control) error {
	hello, err := clock.NewHello()
	if err != nil {
		return err
	}
	return parent.Send(message{Hello: &hello})
}

func shellInside(in *internet, s *spec) error {
	exit, err := runShell(in.network, s)
	if err != nil {
		return err
	}
	os.Exit(exit)
	return nil
}

// answer tells the scheduler what the cell waits for, whenever it asks.
func answer(parent *lab.Control, in *internet) {
	for {
		var q question
		if parent.Receive(&q) != nil {
			os.Exit(1) // the scheduler is gone
		}
		if q.Stop != "" {
			in.stop(q.Stop)
			continue
		}
		doing := ""
		if w := in.waiting(in.observe()); len(w) > 0 {
			doing = w[0]
		}
		_ = parent.Send(message{Doing: doing})
	}
}

// resolvConf returns the client's resolv.conf: the world's name servers, which have the first addresses.
func resolvConf(s *spec) string {
	var servers []netip.Addr
	for i := range s.World.Nameservers {
		servers = append(servers, lab.HostAddrs(i, "ipv4", 1)...)
	}
	return lab.ResolvConf(servers, s.World.Resolver)
}

// hostsFile returns the client's /etc/hosts.
func hostsFile(w *scenarios.World) string {
	text := "127.0.0.1 localhost\n::1 localhost\n"
	if len(w.Resolver.Hosts) == 0 {
		return text
	}
	in := &internet{world: w, index: map[string]int{}}
	in.placeHosts()
	for _, name := range w.Resolver.Hosts {
		for _, a := range in.hosts[in.index[name]].Addrs {
			text += fmt.Sprintf("%s %s\n", a, name)
		}
	}
	return text
}

// facts puts together what was seen of the cell.
func (in *internet) facts(e ending) *record.Cell {
	c := in.observe()
	c.Started = in.network.Begun().UTC().Format(time.RFC3339Nano)
	c.Outcome, c.Exit, c.Attempts = e.outcome, e.exit, e.attempts
	c.Limit, c.Stderr = in.withLimit(e.stderr)
	c.Seconds = record.Seconds(e.took.Seconds())
	c.Pressure = e.pressure
	c.ClientCPU, c.MaxRSS = record.Seconds(e.usage.CPU.Seconds()), e.usage.MaxRSS
	read := in.filesRead() // before anybody else reads them
	in.countClientFaults(read, e.said())
	c.Modules = in.downloaded(c.Requests)
	for _, p := range in.programs {
		c.Programs = append(c.Programs, p.record())
	}
	for i, f := range in.faults {
		d := &in.declared[i]
		unseeded := d.Stream != nil && d.Stream.Unseeded()
		c.Faults = append(c.Faults, record.FaultCount{Fault: d.String(), Bit: f.Bit.Load(), Unseeded: unseeded})
	}
	if e.outcome == record.Hang || e.exit == timedOut && len(e.attempts) > 0 {
		c.Waiting, c.Proven = in.waiting(c), e.proven && e.outcome == record.Hang
	}
	return c
}

// observe returns what has been seen so far, at the servers and on the packet link.
func (in *internet) observe() *record.Cell {
	seen := in.network.Observe(in.proxyAt)
	in.issuers.fill(seen.Conns, in.network)
	c := &record.Cell{Conns: seen.Conns, Queries: seen.Queries, Strays: seen.Strays, Lost: seen.Lost}
	begin := time.Now().Add(-in.network.Since())
	c.Queries = append(c.Queries, in.tcpDNS.records(begin)...)
	slices.SortStableFunc(c.Queries, func(a, b record.Query) int { return compare(a.Start, b.Start) })
	if n := in.log.Dropped(); n > 0 {
		c.Lost["requests"] = int64(n)
	}
	for _, r := range in.log.Requests() {
		c.Requests = append(c.Requests, in.request(r))
	}
	slices.SortStableFunc(c.Requests, func(a, b record.Request) int { return compare(a.Start, b.Start) })
	c.Hosts = contacted(c)
	return c
}

func compare(a, b record.Seconds) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// request turns what a server saw of a request into what the client lived of it.
func (in *internet) request(r fakeupstream.Request) record.Request {
	q := record.Request{Host: r.Host, Server: in.hostAt(r.Local), Proto: r.Proto, Method: r.Method, Path: r.Path,
		Status: r.Status, Bytes: r.Bytes, Error: r.Err}
	q.Conn, q.Start, q.First, q.End = in.network.Lived(lab.Exchange{
		Client: r.Remote, Host: r.Local, Start: r.Start, First: r.First, End: r.End})
	return q
}

// proxyAt returns the name of the host that connects to others from an address, "" for the client's own.
func (in *internet) proxyAt(a netip.Addr) string {
	for i, name := range in.egresses {
		if a == lab.Egress(i, a.Is6()) {
			return name
		}
	}
	return ""
}

// hostAt returns the name of the host at an address.
func (in *internet) hostAt(a netip.AddrPort) string {
	if s := in.byAddr[a]; s != nil {
		return s.host.Name
	}
	return a.Addr().String()
}

// contacted returns the hosts in the order of first contact.
func contacted(c *record.Cell) []string {
	type contact struct {
		at   record.Seconds
		host string
	}
	var all []contact
	for _, q := range c.Queries {
		all = append(all, contact{q.Start, q.Server})
	}
	for _, n := range c.Conns {
		all = append(all, contact{n.Start, n.Host})
	}
	slices.SortStableFunc(all, func(a, b contact) int { return compare(a.at, b.at) })
	var hosts []string
	for _, a := range all {
		if !slices.Contains(hosts, a.host) {
			hosts = append(hosts, a.host)
		}
	}
	return hosts
}

// waiting says what was under way, the longest first, one line each.
func (in *internet) waiting(c *record.Cell) []string {
	type wait struct {
		since record.Seconds
		what  string
	}
	now := record.Seconds(in.network.Since().Seconds())
	var all []wait
	for _, q := range c.Queries {
		if q.End == 0 && now-q.Start < 5 { // the resolver gives up after 5 s
			all = append(all, wait{q.Start, fmt.Sprintf("%s to look up %s (%s)", strings.TrimPrefix(q.Server, "ns:"), q.Name, q.Type)})
		}
	}
	for _, n := range c.Conns {
		switch {
		case n.End != 0 || strings.HasPrefix(n.Host, "ns:"):
		case n.Established == 0:
			all = append(all, wait{n.Start, fmt.Sprintf("%s to accept a connection at %s", n.Host, n.Addr)})
		case n.TLS && n.Secured == 0:
			all = append(all, wait{n.Established, fmt.Sprintf("%s to finish the TLS handshake at %s", n.Host, n.Addr)})
		}
	}
	for _, r := range c.Requests {
		if r.End != 0 || r.Method == "CONNECT" && r.First != 0 {
			continue
		}
		part := "answer"
		if r.First != 0 {
			part = "finish the answer to"
		}
		all = append(all, wait{r.Start, fmt.Sprintf("%s to %s %s %s", r.Server, part, r.Method, r.Path)})
	}
	slices.SortStableFunc(all, func(a, b wait) int { return compare(a.since, b.since) })
	lines := make([]string, 0, len(all))
	for _, w := range all {
		lines = append(lines, fmt.Sprintf("%s for %.1f s", w.what, float64(now-w.since)))
	}
	return lines
}
