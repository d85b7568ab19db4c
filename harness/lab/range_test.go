//go:build linux

package lab

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/scenarios"
)

// Ports of the one host of a range.
const (
	connectPort = 80 // over TCP, says nothing
	sinkPort    = 11 // notes when datagrams come
	echoPort    = 7  // sends every datagram back at once
	numberPort  = 19 // keeps datagrams until one comes to syncPort, and then sends them back
	syncPort    = 9  // then sends its own back
	floodPort   = 20 // answers a datagram with as many full-sized ones as its number says
)

// mtu is what a TUN device has unless it is told otherwise. datagramHeader is the length of the headers of
// IPv4 and UDP.
const (
	mtu            = 1500
	datagramHeader = 28
)

func init() {
	inside["rtt"] = onRange(measureRTT)
	inside["rate"] = onRange(measureRate)
	inside["datagrams"] = onRange(sendDatagrams)
	inside["connect"] = onRange(connectBoth)
	inside["upload"] = onRange(upload)
	inside["delays"] = onRange(measureDelays)
}

// A rangeOrder says what range to make, and what to do there.
type rangeOrder struct {
	Link   scenarios.Link
	Family scenarios.Family
	Fault  scenarios.PacketFault // the zero fault changes nothing
	Seed   uint64

	Tries int           // of a measurement of round trips
	For   time.Duration // length of a transfer
	Down  bool          // direction of a transfer whose rate is measured
	Every time.Duration // time between datagrams whose delays are measured
	Count int           // of datagrams
	Size  int           // bytes of a datagram, with its UDP and IP headers
	Burst bool          // send the datagrams without waiting for any
}

// A shootingRange is a running network of one host.
type shootingRange struct {
	rangeOrder
	network *Network
	addrs   []netip.Addr
	fault   *Fault

	mu   sync.Mutex // guards what follows
	sunk []arrival  // of the datagrams that came to sinkPort
	came []uint64   // numbers of the datagrams that came to numberPort, up to the last answer of syncPort

	failed error // of the host's own sockets

	received atomic.Int64 // bytes that came to connectPort
}

// An arrival is when a numbered datagram came.
type arrival struct {
	number uint64
	at     time.Time
}

// onRange makes a function of inside that runs do on a range of its own.
func onRange[T any](do func(*shootingRange) (T, error)) func(json.RawMessage) (any, error) {
	return func(input json.RawMessage) (any, error) {
		r := new(shootingRange)
		if err := json.Unmarshal(input, &r.rangeOrder); err != nil {
			return nil, err
		}
		if err := r.open(); err != nil {
			return nil, err
		}
		defer r.network.Close()
		return do(r)
	}
}

func (r *shootingRange) open() (err error) {
	if err := Mount(Files{ResolvConf: "nameserver 192.0.2.53\n", Hosts: "127.0.0.1 localhost\n"}); err != nil {
		return err
	}
	r.addrs = HostAddrs(0, r.Family, 1)
	host := Host{Name: "a.test", Addrs: r.addrs, TCP: []uint16{connectPort}, UDP: udpPorts, Link: r.Link}
	r.fault = NewFault(&scenarios.Fault{Packet: &r.Fault}, r.Seed)
	at := []Place{{Port: connectPort}, {Port: numberPort}, {Port: sinkPort}}
	r.network, err = NewNetwork(Config{Hosts: []Host{host}, Faults: []PacketFault{{Fault: r.fault, At: at}}, Seed: r.Seed})
	if err != nil {
		return err
	}
	l, err := r.network.Listen(connectPort)
	if err != nil {
		return err
	}
	go r.acceptAll(l)
	for _, a := range r.addrs {
		if err := r.serveUDP(a); err != nil {
			return err
		}
	}
	r.network.Begin()
	return nil
}

var udpPorts = []uint16{echoPort, numberPort, syncPort, sinkPort, floodPort}

func (r *shootingRange) serveUDP(at netip.Addr) error {
	conns := map[uint16]*net.UDPConn{}
	for _, port := range udpPorts {
		c, err := listenUDP(netip.AddrPortFrom(at, port))
		if err != nil {
			return err
		}
		conns[port] = c
	}
	go answer(conns[echoPort], func() {})
	go flood(conns[floodPort])
	go func() {
		_ = arrivals(conns[sinkPort], func(a arrival) {
			r.mu.Lock()
			r.sunk = append(r.sunk, a)
			r.mu.Unlock()
		})
	}()
	go answer(conns[syncPort], func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		came, err := takeAll(conns[numberPort], true)
		r.came, r.failed = append(r.came, came...), errors.Join(r.failed, err)
	})
	return nil
}

// listenUDP listens on one address of the internet. It is local by a route alone, which IPv6 takes for a
// foreign one unless it is told otherwise.
func listenUDP(at netip.AddrPort) (*net.UDPConn, error) {
	freebind := func(_, _ string, c syscall.RawConn) (err error) {
		controlErr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) })
		return errors.Join(controlErr, err)
	}
	c, err := (&net.ListenConfig{Control: freebind}).ListenPacket(context.Background(), "udp", at.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// acceptAll closes connections as the client does, and counts what comes over them.
func (r *shootingRange) acceptAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			b := make([]byte, 4096)
			for n, err := c.Read(b); err == nil; n, err = c.Read(b) {
				r.received.Add(int64(n))
			}
			c.Close()
		}()
	}
}

// arrivals notes when datagrams come, until the socket fails.
func arrivals(c net.Conn, note func(arrival)) error {
	b := make([]byte, mtu)
	for {
		if _, err := c.Read(b); err != nil {
			return err
		}
		note(arrival{binary.BigEndian.Uint64(b), time.Now()})
	}
}

// flood sends many datagrams to whoever asks for them.
func flood(c *net.UDPConn) {
	b := make([]byte, mtu)
	for {
		_, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		for range binary.BigEndian.Uint64(b) {
			_, _ = c.WriteToUDPAddrPort(b[:fullSize(from.Addr().Unmap())], from)
		}
	}
}

// fullSize returns how many bytes a datagram holds that fills a packet.
func fullSize(to netip.Addr) int {
	if to.Is6() {
		return mtu - datagramHeader - 20
	}
	return mtu - datagramHeader
}

// answer sends every datagram back, after it has called before.
func answer(c *net.UDPConn, before func()) {
	b := make([]byte, mtu)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		before()
		_, _ = c.WriteToUDPAddrPort(b[:n], from) // what cannot be sent is lost, as everywhere
	}
}

// takeAll takes what has come to a socket, without waiting for more, sends it back if that is wanted, and
// returns the numbers.
func takeAll(c syscall.Conn, back bool) (numbers []uint64, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := make([]byte, mtu)
	readErr := raw.Read(func(fd uintptr) bool {
		for {
			var n int
			var from unix.Sockaddr
			n, from, err = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
			if errors.Is(err, unix.EAGAIN) {
				err = nil // nothing is left
				return true
			}
			if err == nil && back {
				err = unix.Sendto(int(fd), b[:n], 0, from)
			}
			if err != nil {
				return true
			}
			numbers = append(numbers, binary.BigEndian.Uint64(b))
		}
	})
	return numbers, errors.Join(err, readErr)
}

// Words for the ways of measuring a round trip.
var rttWays = []string{"TCP connect, IPv4", "TCP connect, IPv6", "UDP echo, IPv4", "UDP echo, IPv6"}

// measureRTT measures round trips in all ways, one after the other, with blocking system calls: they tell
// the time without the Go runtime's own delays.
func measureRTT(r *shootingRange) ([][]time.Duration, error) {
	took := make([][]time.Duration, len(rttWays))
	for i := range rttWays {
		once := r.connectTime
		if i >= 2 {
			once = r.echoTime
		}
		for range r.Tries {
			d, err := once(r.addrs[i%2])
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], d)
		}
	}
	return took, nil
}

// socket returns a blocking socket of the client's.
func (r *shootingRange) socket(to netip.Addr, kind int) (fd int, err error) {
	domain := unix.AF_INET
	if to.Is6() {
		domain = unix.AF_INET6
	}
	err = r.network.OnClient(func() error {
		fd, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func sockaddr(to netip.AddrPort) unix.Sockaddr {
	if to.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
}

func (r *shootingRange) connectTime(to netip.Addr) (time.Duration, error) {
	fd, err := r.socket(to, unix.SOCK_STREAM)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	begin := time.Now()
	err = unix.Connect(fd, sockaddr(netip.AddrPortFrom(to, connectPort)))
	return time.Since(begin), err
}

func (r *shootingRange) echoTime(to netip.Addr) (time.Duration, error) {
	fd, err := r.socket(to, unix.SOCK_DGRAM)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(to, echoPort))); err != nil {
		return 0, err
	}
	var b [8]byte
	begin := time.Now()
	if _, err := unix.Write(fd, b[:]); err != nil {
		return 0, err
	}
	_, err = unix.Read(fd, b[:])
	return time.Since(begin), err
}

// measureRate returns how fast the link lets full-sized datagrams through, in bits per second of IP packets:
// as many as take so long are sent at once, and wait in its queue.
func measureRate(r *shootingRange) (float64, error) {
	count := uint64(float64(r.Link.Rate) / 8 / mtu * r.For.Seconds())
	if r.Down {
		return r.rateDown(count)
	}
	conn, err := r.dialUDP(sinkPort)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	b := make([]byte, fullSize(r.addrs[0]))
	for range count {
		if _, err := conn.Write(b); err != nil {
			return 0, err
		}
	}
	if err := r.flush(); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return medianRate(r.sunk)
}

func (r *shootingRange) rateDown(count uint64) (float64, error) {
	conn, err := r.dialUDP(floodPort)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, count)); err != nil {
		return 0, err
	}
	var came []arrival
	err = arrivals(conn, func(a arrival) {
		came = append(came, a)
		_ = conn.SetReadDeadline(time.Now().Add(time.Second)) // no later than that comes the next one
	})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	return medianRate(came)
}

// medianRate returns the median of the rates of equal parts of a flow of full-sized datagrams: where a busy
// machine stops the flow for a while, it hurts one part.
func medianRate(came []arrival) (float64, error) {
	const parts = 16
	size := (len(came) - 1) / parts
	if size < 1 {
		return 0, fmt.Errorf("only %d datagrams came", len(came))
	}
	var rates []float64
	for i := range parts {
		took := came[(i+1)*size].at.Sub(came[i*size].at)
		rates = append(rates, float64(size)*mtu*8/took.Seconds())
	}
	slices.Sort(rates)
	return rates[parts/2], nil
}

// A delayed is how long a datagram took.
type delayed struct {
	Took time.Duration
	Calm bool // no bare timer woke late when it was sent or when it was due
}

// measureDelays sends datagrams to the host one after the other and returns how long each took, in order of
// their numbers. That includes both kernels, and the host's goroutine that waits for them.
func measureDelays(r *shootingRange) ([]delayed, error) {
	conn, err := r.dialUDP(sinkPort)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop, stalled := make(chan struct{}), make(chan []stall)
	go watch(stop, stalled)
	sent := make([]time.Time, r.Count)
	b := make([]byte, 8)
	for i := range sent {
		binary.BigEndian.PutUint64(b, uint64(i))
		sent[i] = time.Now()
		if _, err := conn.Write(b); err != nil {
			return nil, err
		}
		time.Sleep(r.Every)
	}
	err = r.flush()
	close(stop)
	stalls := <-stalled
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]delayed, len(r.sunk))
	slices.SortFunc(r.sunk, func(a, b arrival) int { return cmp.Compare(a.number, b.number) })
	for i, a := range r.sunk {
		begin := sent[a.number]
		due := begin.Add(r.Fault.Delay)
		calm := !slices.ContainsFunc(stalls, func(s stall) bool { return s.meets(begin, begin) || s.meets(due, a.at) })
		all[i] = delayed{a.at.Sub(begin), calm}
	}
	return all, nil
}

// A stall is a time in which a bare timer woke late: the machine, not simrun, kept it from running.
type stall struct{ from, to time.Time }

// meets reports whether the stall has a moment in common with a span of time.
func (s stall) meets(from, to time.Time) bool { return !s.to.Before(from) && !s.from.After(to) }

// watch sleeps for a millisecond over and over, by the system call itself, and sends the stalls that it saw
// when stop is closed.
func watch(stop <-chan struct{}, stalled chan<- []stall) {
	const nap, late = time.Millisecond, 300 * time.Microsecond
	runtime.LockOSThread() // the thread ends with the goroutine
	var all []stall
	for {
		select {
		case <-stop:
			stalled <- all
			return
		default:
		}
		begin, span := time.Now(), unix.NsecToTimespec(int64(nap))
		_ = unix.Nanosleep(&span, nil) // a signal that ends it early does no harm
		if now := time.Now(); now.Sub(begin) > nap+late {
			all = append(all, stall{begin.Add(nap), now})
		}
	}
}

// flush waits until all that was sent before has come, or is lost.
func (r *shootingRange) flush() error {
	conn, err := r.dialUDP(syncPort)
	if err != nil {
		return err
	}
	defer conn.Close()
	return r.await(conn, 0)
}

// Datagrams are what became of numbered datagrams.
type datagrams struct {
	Came   []uint64      // to the host, in this order
	Back   []uint64      // came back to the client, in this order
	SentIn time.Duration // all of them
	Bit    int64         // of the fault

	BadSums [2]int // datagrams whose checksum was wrong, by the host's kernel and the client's
}

// sendDatagrams sends numbered datagrams to the host, which sends them back. It goes on only when those
// before have come or are lost, so that no buffer on the way overflows.
func sendDatagrams(r *shootingRange) (d datagrams, err error) {
	conn, err := r.dialUDP(numberPort)
	if err != nil {
		return d, err
	}
	defer conn.Close()
	flush, err := r.dialUDP(syncPort)
	if err != nil {
		return d, err
	}
	defer flush.Close()
	const batch = 32
	b := make([]byte, max(r.Size-datagramHeader, 8))
	begin := time.Now()
	for i := range r.Count {
		binary.BigEndian.PutUint64(b, uint64(i))
		if _, err := conn.Write(b); err != nil {
			return d, err
		}
		last := i == r.Count-1
		if last {
			d.SentIn = time.Since(begin)
		}
		if !last && (r.Burst || i%batch != batch-1) {
			continue
		}
		if err := r.await(flush, uint64(i)); err != nil {
			return d, err
		}
		back, err := takeAll(conn.(*net.UDPConn), false)
		if err != nil {
			return d, err
		}
		d.Back = append(d.Back, back...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	d.Came, d.Bit = r.came, r.fault.Bit.Load()
	if d.BadSums[0], err = badSums(); err != nil || r.failed != nil {
		return d, errors.Join(err, r.failed)
	}
	err = r.network.OnClient(func() (err error) {
		d.BadSums[1], err = badSums()
		return err
	})
	return d, err
}

// badSums returns how many UDP datagrams with a wrong checksum came to the network namespace of this thread.
func badSums() (n int, err error) {
	for _, c := range []struct{ file, line string }{{"snmp", "Udp: "}, {"snmp6", "Udp6InCsumErrors"}} {
		text, err := os.ReadFile("/proc/thread-self/net/" + c.file)
		if err != nil {
			return 0, err
		}
		var names []string
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			switch {
			case !strings.HasPrefix(line, c.line):
				continue
			case c.file == "snmp6":
				names = []string{"", "InCsumErrors"}
			case names == nil:
				names = words // the first of the two lines has the names
				continue
			}
			more, err := strconv.Atoi(words[slices.Index(names, "InCsumErrors")])
			if err != nil {
				return 0, err
			}
			n += more
		}
	}
	return n, nil
}

func (r *shootingRange) dialUDP(port uint16) (net.Conn, error) {
	return r.network.DialFrom(context.Background(), "udp", r.client(), netip.AddrPortFrom(r.addrs[0], port))
}

// client returns the client's address of the family of the host's first one.
func (r *shootingRange) client() netip.Addr {
	if r.addrs[0].Is6() {
		return client6.Addr()
	}
	return client4.Addr()
}

// upload sends some bytes over a connection, gives them some time, and returns how many came.
func upload(r *shootingRange) (int64, error) {
	conn, err := r.network.DialFrom(context.Background(), "tcp", r.client(), netip.AddrPortFrom(r.addrs[0], connectPort))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	deadline := time.Now().Add(r.For)
	if err := conn.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	_, err = conn.Write(make([]byte, r.Size))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	for r.received.Load() < int64(r.Size) && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	return r.received.Load(), nil
}

// await sends a number beside the datagrams until it comes back: all that was sent before it has come back
// by then, or is lost, as the link keeps the order.
func (r *shootingRange) await(flush net.Conn, number uint64) error {
	b := make([]byte, 8)
	for {
		if _, err := flush.Write(binary.BigEndian.AppendUint64(nil, number)); err != nil {
			return err
		}
		_ = flush.SetReadDeadline(time.Now().Add(200*time.Millisecond + r.Link.RTT))
		for {
			_, err := flush.Read(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil || binary.BigEndian.Uint64(b) == number {
				return err
			}
		}
	}
}

// connectBoth connects to both addresses of the host, whether it has them or not, and returns how each of
// it ended.
func connectBoth(r *shootingRange) (map[string]string, error) {
	ended := map[string]string{}
	for _, to := range HostAddrs(0, scenarios.FamilyDual, 1) {
		family := "ipv4"
		if to.Is6() {
			family = "ipv6"
		}
		_, err := r.connectTime(to)
		var errno unix.Errno
		switch {
		case err == nil:
			ended[family] = "ok"
		case errors.As(err, &errno):
			ended[family] = unix.ErrnoName(errno)
		default:
			return nil, err
		}
	}
	for _, a := range r.network.Observe(func(netip.Addr) string { return "" }).Strays {
		ended["stray"] += a
	}
	return ended, nil
}
