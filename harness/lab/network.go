//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/harness/lab/clock"
	"github.com/simrun/simrun/scenarios"
)

// Addresses of a lab. Hosts of the internet have theirs from the prefixes for benchmarks and
// documentation (RFC 2544, RFC 3849), so that no packet could be meant for anybody.
var (
	internet4 = netip.MustParsePrefix("198.18.0.0/16")
	internet6 = netip.MustParsePrefix("2001:db8:1::/64")
	client4   = netip.MustParsePrefix("192.0.2.2/24")
	client6   = netip.MustParsePrefix("2001:db8:2::2/64")
	gateway4  = netip.MustParseAddr("192.0.2.1")
	gateway6  = netip.MustParseAddr("2001:db8:2::1")
)

// A Host is one host of the internet: what it is called, where it is, what it listens on.
type Host struct {
	Name  string
	Addrs []netip.Addr // of the kinds that HostAddrs gives
	TCP   []uint16
	UDP   []uint16
	Link  scenarios.Link
}

// ClientAddrs returns the addresses of the client host.
func ClientAddrs() []netip.Addr { return []netip.Addr{client4.Addr(), client6.Addr()} }

// HostAddrs returns the addresses of the host with a number, from 0 to 7900, in a family: first those of IPv4,
// then those of IPv6, as many of each as count says, which is at most scenarios.MaxAddresses.
func HostAddrs(number int, family scenarios.Family, count int) []netip.Addr {
	const most = 1 << 13 // hosts, with what is left out before the first
	a4, a6 := internet4.Addr().As4(), internet6.Addr().As16()
	var v4, v6 []netip.Addr
	for i := range count {
		n := number + 1<<8 + i*most // 198.18.1.0 and on, 198.18.33.0 and on ...
		a4[2], a4[3] = byte(n>>8), byte(n)
		a6[14], a6[15] = byte(n>>8), byte(n)
		v4, v6 = append(v4, netip.AddrFrom4(a4)), append(v6, netip.AddrFrom16(a6))
	}
	switch family {
	case scenarios.FamilyIPv4:
		return v4
	case scenarios.FamilyIPv6:
		return v6
	}
	return append(v4, v6...)
}

// numbered returns the addresses of the host that have a number in their family, counted from 1; 0 returns none.
func (h *Host) numbered(number int) (addrs []netip.Addr) {
	before := map[bool]int{} // by whether they are of IPv4
	for _, a := range h.Addrs {
		if before[a.Is4()]++; before[a.Is4()] == number {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// A PacketFault is a packet fault in the places that it is about.
type PacketFault struct {
	Fault *Fault
	At    []Place
}

// A Place is a host, by index, and a port of it; 0 means all ports.
type Place struct {
	Host int
	Port uint16
}

// Config is what a Network is made of.
type Config struct {
	Hosts   []Host
	Faults  []PacketFault
	Seed    uint64
	Capture io.Writer // gets the client's packets as a pcapng file, up to MaxCapture bytes of them; nil: nobody
}

// A Network is the running network of one cell: the internet, in whose network namespace this process
// is, the client host in another one, and the packet link between the two.
type Network struct {
	hosts   []Host
	link    *link
	client  chan func()  // runs on a thread in the client's network namespace
	ns      *os.File     // of the client
	eth     int          // index of the client's interface
	netlink configurator // of the client
}

// NewNetwork makes the network. It must be called by a lab process, once.
func NewNetwork(c Config) (n *Network, err error) {
	n = &Network{hosts: c.Hosts, client: make(chan func())}
	l := &link{epoch: time.Now(), track: newTracker(c.Seed), gateway4: gateway4, gateway6: gateway6}
	l.sites = sites(c)
	if c.Capture != nil {
		l.capture = newCapture(c.Capture, c.Hosts, l.epoch, MaxCapture)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("make the cell's network: %w", err)
		}
	}()
	runtime.SetDefaultGOMAXPROCS() // so far one CPU was enough; packets would be late with it
	made := make(chan error, 1)
	go n.serveClient(made, &l.client) // the kernel makes both sides at the same time
	l.wan, err = internetSide()
	if err = errors.Join(err, <-made); err != nil {
		return nil, err
	}
	n.link = l
	if err := n.tellClock(); err != nil {
		return nil, err
	}
	return n, l.start()
}

// Begin starts the time line: from now on the faults are what they are declared to be.
func (n *Network) Begin() { n.link.begun.Store(int64(n.link.now())) }

// Begun returns the wall-clock time of Begin, by the clock that all times of the network are counted from.
func (n *Network) Begun() time.Time { return n.link.epoch.Add(time.Duration(n.link.begun.Load())) }

// Since returns the time since Begin, 0 before it.
func (n *Network) Since() time.Duration {
	since, begun := n.link.at(n.link.now())
	if !begun {
		return 0
	}
	return since
}

// Close stops the packet link. The namespaces go with the process.
func (n *Network) Close() error {
	n.link.stop()
	close(n.client)
	n.netlink.Close()
	return n.ns.Close()
}

// sites makes the running state of the hosts and distributes the faults over them.
func sites(c Config) map[netip.Addr]*site {
	all := make([]*site, len(c.Hosts))
	byAddr := map[netip.Addr]*site{}
	for i, h := range c.Hosts {
		s := &site{name: h.Name, tcp: portSet(h.TCP), udp: portSet(h.UDP)}
		s.up.up, s.up.seed, s.up.link = true, hash(c.Seed, h.Name, "up"), h.Link
		s.down.seed, s.down.link = hash(c.Seed, h.Name, "down"), h.Link
		all[i] = s
		for _, a := range h.Addrs {
			byAddr[a] = s
		}
	}
	for _, f := range c.Faults {
		for host, ports := range portsByHost(f.At) {
			all[host].add(&packetFault{Fault: f.Fault, ports: ports, addrs: c.Hosts[host].numbered(f.Fault.Packet.Address), met: map[*flow]*encounter{}})
		}
	}
	return byAddr
}

// portsByHost groups places by host. A place that means all ports makes the list empty.
func portsByHost(places []Place) map[int][]uint16 {
	ports := map[int][]uint16{}
	all := map[int]bool{}
	for _, p := range places {
		all[p.Host] = all[p.Host] || p.Port == 0
		ports[p.Host] = append(ports[p.Host], p.Port)
	}
	for host := range all {
		if all[host] {
			ports[host] = nil
		}
	}
	return ports
}

// add puts a fault on the lanes that it is about.
func (s *site) add(f *packetFault) {
	if f.Packet.Direction != scenarios.DirectionDown {
		s.up.faults = append(s.up.faults, f)
	}
	if f.Packet.Direction != scenarios.DirectionUp {
		s.down.faults = append(s.down.faults, f)
	}
}

func portSet(ports []uint16) map[uint16]bool {
	set := make(map[uint16]bool, len(ports))
	for _, p := range ports {
		set[p] = true
	}
	return set
}

// internetSide turns this process's network namespace into the internet. All addresses of the prefixes
// are local to it, so that a server listens once per port, whatever the number of hosts.
func internetSide() (*os.File, error) {
	c, err := newConfigurator()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	tun, wan, err := openTUN("wan0")
	if err != nil {
		return nil, err
	}
	return tun, errors.Join(
		c.bringUp(loopback), c.bringUp(wan),
		c.routeLocal(loopback, internet4), c.routeLocal(loopback, internet6),
		c.route(wan, client4.Masked(), netip.Addr{}), c.route(wan, client6.Masked(), netip.Addr{}),
		pinKernel())
}

// clientSide turns the network namespace of the calling thread into the client host's.
func (n *Network) clientSide() (*os.File, error) {
	c, err := newConfigurator()
	if err != nil {
		return nil, err
	}
	n.netlink = c
	tun, eth, err := c.outside(client4, client6)
	n.eth = eth
	return tun, err
}

// outside makes the interface by which a machine on the client's side of the link reaches the internet, from
// the given addresses.
func (c configurator) outside(v4, v6 netip.Prefix) (tun *os.File, index int, err error) {
	tun, index, err = openTUN("eth0")
	if err != nil {
		return nil, 0, err
	}
	return tun, index, errors.Join(
		c.bringUp(loopback), c.bringUp(index, v4, v6),
		c.route(index, netip.MustParsePrefix("0.0.0.0/0"), v4.Addr()),
		c.route(index, netip.MustParsePrefix("::/0"), v6.Addr()),
		pinKernel(), freePorts())
}

// serveClient makes the client host on a thread of its own and then runs what is sent to it there.
func (n *Network) serveClient(made chan<- error, tun **os.File) {
	runtime.LockOSThread() // never unlocked: the thread belongs to the client host and ends with it
	made <- func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make the client's network namespace: %w", err)
		}
		if n.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		*tun, err = n.clientSide()
		return err
	}()
	for f := range n.client {
		f()
	}
}

// tellClock says who is on the client host: programs there may have another time of day.
func (n *Network) tellClock() error {
	var ns unix.Stat_t
	if err := unix.Fstat(int(n.ns.Fd()), &ns); err != nil {
		return fmt.Errorf("identify the client's network namespace: %w", err)
	}
	clock.TheBoard().SetClient(ns.Ino)
	return nil
}

// OnClient runs f on a thread in the client's network namespace: processes that it starts and sockets
// that it makes are the client's. f must not block for long: others wait for the thread.
func (n *Network) OnClient(f func() error) error {
	done := make(chan error)
	n.client <- func() { done <- f() }
	return <-done
}

// DialFrom connects from an address on the client's side of the packet link, as a forward proxy does that
// stands in the client's network. The address must have been added by AddEgress.
func (n *Network) DialFrom(ctx context.Context, network string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var local net.Addr = &net.TCPAddr{IP: from.AsSlice()}
	if strings.HasPrefix(network, "udp") {
		local = &net.UDPAddr{IP: from.AsSlice()}
	}
	return dialIn(ctx, n.ns, net.Dialer{LocalAddr: local}, network, to)
}

// Egress returns the address number n that a host of the internet connects from, which is below scenarios.MaxDialers.
func Egress(n int, v6 bool) netip.Addr {
	if v6 {
		a := client6.Addr().As16()
		a[15] = byte(100 + n)
		return netip.AddrFrom16(a)
	}
	a := client4.Addr().As4()
	a[3] = byte(100 + n)
	return netip.AddrFrom4(a)
}

// AddEgress gives the client's side of the link the addresses of forward proxy number i.
func (n *Network) AddEgress(i int) error {
	return n.netlink.bringUp(n.eth, netip.PrefixFrom(Egress(i, false), 32), netip.PrefixFrom(Egress(i, true), 128))
}

// Listen listens on a port of all hosts of the internet.
func (n *Network) Listen(port uint16) (net.Listener, error) {
	return net.Listen("tcp", fmt.Sprintf(":%d", port))
}

// A configurator sets up the interfaces of one network namespace: that of the thread which made it.
type configurator struct{ *netlink.Handle }

func newConfigurator() (configurator, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return configurator{}, fmt.Errorf("open netlink: %w", err)
	}
	return configurator{h}, nil
}

// loopback is lo: the first interface of every network namespace.
const loopback = 1

// openTUN makes a TUN device in the thread's network namespace and returns it with its interface's index.
func openTUN(name string) (tun *os.File, index int, err error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, 0, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, 0, fmt.Errorf("make TUN device %s: %w", name, err)
	}
	if index, err = interfaceIndex(name); err != nil {
		return nil, 0, fmt.Errorf("find interface %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), index, nil
}

// interfaceIndex returns the index of an interface in the thread's network namespace. netlink's LinkByName
// has the kernel tell all that it knows of it, and each cell would pay for that.
func interfaceIndex(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
	return int(req.Uint32()), err
}

// bringUp adds addresses to an interface and switches it on.
func (c configurator) bringUp(index int, addrs ...netip.Prefix) error {
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
	for _, a := range addrs {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD // nobody else can have it; duplicate address detection takes a second
		}
		if err := c.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add %s to interface %d: %w", a, index, err)
		}
	}
	if err := c.LinkSetUp(link); err != nil {
		return fmt.Errorf("switch interface %d on: %w", index, err)
	}
	return c.accept(index, addrs)
}

// accept makes an interface take packets to its IPv6 addresses. The kernel does so, too, but in a work queue:
// on a busy machine after the first packets, which are lost then (addrconf_dad_start in net/ipv6/addrconf.c).
func (c configurator) accept(index int, addrs []netip.Prefix) error {
	for _, a := range addrs {
		if !a.Addr().Is6() {
			continue
		}
		if err := c.routeLocal(index, netip.PrefixFrom(a.Addr(), a.Addr().BitLen())); err != nil {
			return err
		}
	}
	return nil
}

// routeLocal makes all addresses of a prefix this host's own, if they are not.
func (c configurator) routeLocal(index int, p netip.Prefix) error {
	r := &netlink.Route{LinkIndex: index, Dst: ipNet(p), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST}
	if err := c.RouteReplace(r); err != nil {
		return fmt.Errorf("route %s to this host: %w", p, err)
	}
	return nil
}

// route sends a prefix to an interface. Connections that name no address of their own are made from src: of
// several, the kernel would take the newest, which may be a forward proxy's. The zero Addr leaves it to it.
func (c configurator) route(index int, to netip.Prefix, src netip.Addr) error {
	if err := c.RouteAdd(&netlink.Route{LinkIndex: index, Dst: ipNet(to), Src: src.AsSlice()}); err != nil {
		return fmt.Errorf("route %s to interface %d: %w", to, index, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// pinKernel sets what would else differ from machine to machine, or from clock to clock. Reno is always there, and does
// not pace packets on a clock of its own as bbr does. A connection that was idle goes on as fast as it was, as on most
// web servers; by default the kernel would begin anew after a time that it measures by its own clock (RFC 2861).
func pinKernel() error {
	return errors.Join(
		setKernel("net/ipv4/tcp_congestion_control", "reno"),
		setKernel("net/ipv4/tcp_slow_start_after_idle", "0"))
}

// freePorts lets programs without rights in the cell listen on all ports, as they could with them.
func freePorts() error {
	return setKernel("net/ipv4/ip_unprivileged_port_start", "0")
}

// ResolvConf returns the client's resolv.conf for name servers at addresses.
func ResolvConf(servers []netip.Addr, r scenarios.Resolver) string {
	var b strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(r.Search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(r.Search, " "))
	}
	if len(r.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(r.Options, " "))
	}
	return b.String()
}
