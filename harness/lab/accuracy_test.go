package lab

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/scenarios"
)

var accuracy = flag.Bool("accuracy", false, "measure the packet link and print the tables of docs/accuracy.md")

// Ports of the one host of a range.
const (
	connectPort = 80 // over TCP, says nothing
	sinkPort    = 11 // notes when datagrams come
	echoPort    = 7  // sends every datagram back at once
	numberPort  = 19 // keeps datagrams until one comes to syncPort, and then sends them back
	syncPort    = 9  // then sends its own back
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
}

// A rangeOrder says what range to make, and what to do there.
type rangeOrder struct {
	Link   scenarios.Link
	Family scenarios.Family
	Fault  scenarios.PacketFault // the zero fault changes nothing
	Seed   uint64

	Tries int           // of a measurement of round trips
	For   time.Duration // length of a transfer
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

	mu   sync.Mutex  // guards what follows
	sunk []time.Time // of the datagrams that came to sinkPort
	came []uint64    // numbers of the datagrams that came to numberPort, up to the last answer of syncPort
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
	host := Host{Name: "a.test", Addrs: r.addrs, TCP: []uint16{connectPort}, UDP: []uint16{echoPort, numberPort, syncPort, sinkPort}, Link: r.Link}
	r.fault = NewFault(&scenarios.Fault{Packet: &r.Fault}, r.Seed)
	at := []Place{{Host: 0, Port: connectPort}, {Host: 0, Port: numberPort}}
	r.network, err = NewNetwork(Config{Hosts: []Host{host}, Faults: []PacketFault{{Fault: r.fault, At: at}}, Seed: r.Seed})
	if err != nil {
		return err
	}
	l, err := r.network.Listen(connectPort)
	if err != nil {
		return err
	}
	go acceptAll(l)
	for _, a := range r.addrs {
		if err := r.serveUDP(a); err != nil {
			return err
		}
	}
	r.network.Begin()
	return nil
}

func (r *shootingRange) serveUDP(at netip.Addr) error {
	var conns []*net.UDPConn
	for _, port := range []uint16{echoPort, numberPort, syncPort, sinkPort} {
		c, err := listenUDP(netip.AddrPortFrom(at, port))
		if err != nil {
			return err
		}
		conns = append(conns, c)
	}
	go answer(conns[0], func() {})
	go r.sink(conns[3])
	go answer(conns[2], func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.came = append(r.came, takeAll(conns[1], true)...)
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

// acceptAll closes connections as the client does.
func acceptAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}()
	}
}

// sink notes when datagrams come.
func (r *shootingRange) sink(c *net.UDPConn) {
	b := make([]byte, mtu)
	for {
		if _, _, err := c.ReadFromUDPAddrPort(b); err != nil {
			return
		}
		r.mu.Lock()
		r.sunk = append(r.sunk, time.Now())
		r.mu.Unlock()
	}
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
func takeAll(c syscall.Conn, back bool) (numbers []uint64) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	b := make([]byte, mtu)
	_ = raw.Read(func(fd uintptr) bool {
		for {
			n, from, err := unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
			if err != nil {
				return true // nothing is left
			}
			numbers = append(numbers, binary.BigEndian.Uint64(b))
			if back {
				_ = unix.Sendto(int(fd), b[:n], 0, from)
			}
		}
	})
	return numbers
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
	conn, err := r.dialUDP(sinkPort)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	flush, err := r.dialUDP(syncPort)
	if err != nil {
		return 0, err
	}
	defer flush.Close()
	b := make([]byte, mtu-datagramHeader)
	for range int(float64(r.Link.Rate) / 8 / mtu * r.For.Seconds()) {
		if _, err := conn.Write(b); err != nil {
			return 0, err
		}
	}
	if err := r.await(flush, 0); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return medianRate(r.sunk)
}

// medianRate returns the median of the rates of equal parts of a flow of full-sized datagrams: where a busy
// machine stops the flow for a while, it hurts one part.
func medianRate(came []time.Time) (float64, error) {
	const parts = 16
	size := (len(came) - 1) / parts
	if size < 1 {
		return 0, fmt.Errorf("only %d datagrams came", len(came))
	}
	var rates []float64
	for i := range parts {
		took := came[(i+1)*size].Sub(came[i*size])
		rates = append(rates, float64(size)*mtu*8/took.Seconds())
	}
	slices.Sort(rates)
	return rates[parts/2], nil
}

// Datagrams are what became of numbered datagrams.
type datagrams struct {
	Came   []uint64      // to the host, in this order
	Back   []uint64      // came back to the client, in this order
	SentIn time.Duration // all of them
	Bit    int64         // of the fault
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
		d.Back = append(d.Back, takeAll(conn.(*net.UDPConn), false)...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	d.Came, d.Bit = r.came, r.fault.Bit.Load()
	return d, nil
}

func (r *shootingRange) dialUDP(port uint16) (net.Conn, error) {
	return r.network.DialFrom(context.Background(), "udp", client4.Addr(), netip.AddrPortFrom(r.addrs[0], port))
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

func TestRoundTripsTakeAtLeastTheDeclaredTime(t *testing.T) {
	t.Parallel()
	requireLab(t)
	for _, rtt := range []time.Duration{0, 10 * time.Millisecond, 60 * time.Millisecond} {
		var took [][]time.Duration
		runInside(t, "rtt", rangeOrder{Link: scenarios.Link{RTT: rtt}, Tries: 10}, &took)
		for i, way := range rttWays {
			// The link reckons with the time that waking takes, and may reckon too much, twice on each way.
			assert.GreaterOrEqual(t, slices.Min(took[i]), rtt-4*maxLead, "%s, %v", way, rtt)
		}
	}
}

func TestRateIsAboutTheDeclaredOne(t *testing.T) {
	t.Parallel()
	requireLab(t)
	const rate = 4e6
	var got float64
	runInside(t, "rate", rangeOrder{Link: scenarios.Link{Rate: rate, Queue: 1 << 20}, For: time.Second}, &got)
	assert.InEpsilon(t, rate, got, 0.2, "even where others use the machine")
}

// TestLossIsAsDeclared sends datagrams through a loss in both directions. It is a two-sided exact binomial
// test with alpha 0.001 in each direction; since the draws come from the seed, it always ends the same.
func TestLossIsAsDeclared(t *testing.T) {
	t.Parallel()
	requireLab(t)
	for _, loss := range []scenarios.Fraction{0.01, 0.1, 0.5} {
		t.Run(loss.String(), func(t *testing.T) {
			t.Parallel()
			order := rangeOrder{Fault: scenarios.PacketFault{Loss: loss}, Count: 4000, Seed: 7}
			if loss == 0.01 { // of the link itself, which is slow to test as it concerns the synchronisation, too
				order.Link.Loss, order.Fault.Loss = loss, 0
			}
			var first, second, other datagrams
			runInside(t, "datagrams", order, &first)
			assertBinomial(t, order.Count-len(first.Came), order.Count, loss)
			assertBinomial(t, len(first.Came)-len(first.Back), len(first.Came), loss)
			runInside(t, "datagrams", order, &second)
			assert.True(t, slices.Equal(first.Came, second.Came), "the same seed loses the same datagrams")
			assert.True(t, slices.Equal(first.Back, second.Back), "the same seed loses the same answers")
			order.Seed++
			runInside(t, "datagrams", order, &other)
			assert.False(t, slices.Equal(first.Came, other.Came), "another seed loses others")
		})
	}
}

// assertBinomial rejects that each of n was lost with a probability, if k lost ones are too few or too many.
func assertBinomial(t *testing.T, k, n int, p scenarios.Fraction) {
	t.Helper()
	const alpha = 0.001
	value := binomialTest(k, n, float64(p))
	t.Logf("%d of %d lost, %.2f %% declared, p = %.3f", k, n, float64(p)*100, value)
	assert.Greater(t, value, alpha, "%d of %d lost, where each is with %v", k, n, p)
}

// binomialTest returns twice the probability of the smaller tail that ends at k.
func binomialTest(k, n int, p float64) float64 {
	lower, upper := 0.0, 0.0
	for i := range n + 1 {
		q := math.Exp(logChoose(n, i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
		if i <= k {
			lower += q
		}
		if i >= k {
			upper += q
		}
	}
	return min(1, 2*min(lower, upper))
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

func TestQueueDropsItsTail(t *testing.T) {
	t.Parallel()
	requireLab(t)
	const size, fits = 1000, 20
	link := scenarios.Link{Rate: 64_000, Queue: fits*size + size/2}
	var d datagrams
	runInside(t, "datagrams", rangeOrder{Link: link, Count: 60, Size: size, Burst: true}, &d)
	require.GreaterOrEqual(t, len(d.Came), fits)
	for i := range uint64(fits) {
		assert.Equal(t, i, d.Came[i], "what fits into the queue is delivered, in order")
	}
	drained := d.SentIn.Seconds() * float64(link.Rate) / 8 / size
	assert.LessOrEqual(t, len(d.Came), fits+1+int(math.Ceil(drained)), "what was sent in %v", d.SentIn)
}

func TestBlackHoleInOneDirection(t *testing.T) {
	t.Parallel()
	requireLab(t)
	for _, test := range []struct {
		direction  scenarios.Direction
		came, back int
	}{
		{scenarios.DirectionUp, 0, 0}, {scenarios.DirectionDown, 10, 0}, {scenarios.DirectionBoth, 0, 0},
	} {
		order := rangeOrder{Fault: scenarios.PacketFault{Loss: 1, Direction: test.direction}, Count: 10}
		var d datagrams
		runInside(t, "datagrams", order, &d)
		assert.Len(t, d.Came, test.came, "came, %s", test.direction)
		assert.Len(t, d.Back, test.back, "came back, %s", test.direction)
		assert.EqualValues(t, 10, d.Bit, "bit, %s", test.direction)
	}
}

func TestRejectsHaveTheRightErrno(t *testing.T) {
	t.Parallel()
	requireLab(t)
	for _, test := range []struct {
		reject     scenarios.Reject
		ipv4, ipv6 string
	}{
		{"", "ok", "ok"},
		{scenarios.RejectRST, "ECONNREFUSED", "ECONNREFUSED"},
		{scenarios.RejectPort, "ECONNREFUSED", "ECONNREFUSED"},
		{scenarios.RejectHost, "EHOSTUNREACH", "EHOSTUNREACH"},
		{scenarios.RejectNetwork, "ENETUNREACH", "ENETUNREACH"},
		{scenarios.RejectAdmin, "EHOSTUNREACH", "EACCES"},
	} {
		var ended map[string]string
		runInside(t, "connect", rangeOrder{Fault: scenarios.PacketFault{Reject: test.reject}}, &ended)
		assert.Equal(t, map[string]string{"ipv4": test.ipv4, "ipv6": test.ipv6}, ended, "reject %q", test.reject)
	}
}

func TestHostsOfOneFamily(t *testing.T) {
	t.Parallel()
	requireLab(t)
	var ended map[string]string
	runInside(t, "connect", rangeOrder{Family: scenarios.FamilyIPv6}, &ended)
	assert.Equal(t, map[string]string{"ipv4": "ENETUNREACH", "ipv6": "ok", "stray": "198.18.1.0"}, ended)
	ended = nil
	runInside(t, "connect", rangeOrder{Family: scenarios.FamilyIPv4}, &ended)
	assert.Equal(t, map[string]string{"ipv4": "ok", "ipv6": "ENETUNREACH", "stray": "2001:db8:1::100"}, ended)
}

func TestJitterVariesAndKeepsOrder(t *testing.T) {
	t.Parallel()
	requireLab(t)
	link := scenarios.Link{RTT: 60 * time.Millisecond, Jitter: 20 * time.Millisecond}
	var d datagrams
	runInside(t, "datagrams", rangeOrder{Link: link, Count: 200, Burst: true}, &d)
	assert.Len(t, d.Back, 200)
	assert.True(t, slices.IsSorted(d.Back), "%v", d.Back)

	var took [][]time.Duration
	runInside(t, "rtt", rangeOrder{Link: link, Tries: 20}, &took)
	for i, way := range rttWays {
		assert.GreaterOrEqual(t, slices.Min(took[i]), link.RTT-2*link.Jitter, way)
		assert.Greater(t, slices.Max(took[i]), link.RTT, "the slowest of many, %s", way)
	}
	// A new connection waits behind the last packets of the one before, as order is kept; a lone datagram does not.
	for i, way := range rttWays[2:] {
		assert.Less(t, slices.Min(took[2+i]), link.RTT, "the fastest of many, %s", way)
	}
}

// TestAccuracy measures how far the link is from what is declared, and prints the tables of
// docs/accuracy.md. It takes minutes and wants a quiet machine: make accuracy runs it.
func TestAccuracy(t *testing.T) {
	if !*accuracy {
		t.Skip("measured by make accuracy, on a quiet machine")
	}
	requireLab(t)
	var table strings.Builder
	tableOfRTTs(t, &table)
	tableOfRates(t, &table)
	tableOfLosses(t, &table)
	fmt.Print(table.String())
}

func tableOfRTTs(t *testing.T, w io.Writer) {
	const target = 0.3 // ms, at the median
	fmt.Fprint(w, "\n| round trip | declared | tries | median error | p99 error |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, try := range []struct {
		rtt   time.Duration
		tries int
	}{{time.Millisecond, 2000}, {10 * time.Millisecond, 500}, {50 * time.Millisecond, 200}, {300 * time.Millisecond, 40}} {
		var took [][]time.Duration
		runInside(t, "rtt", rangeOrder{Link: scenarios.Link{RTT: try.rtt}, Tries: try.tries}, &took)
		for i, way := range rttWays {
			slices.Sort(took[i])
			off := func(share float64) float64 {
				return (took[i][int(share*float64(try.tries))] - try.rtt).Seconds() * 1e3
			}
			fmt.Fprintf(w, "| %s | %v | %d | %+.3f ms | %+.3f ms |\n", way, try.rtt, try.tries, off(0.5), off(0.99))
			assert.InDelta(t, 0, off(0.5), target, "%s, %v", way, try.rtt)
		}
	}
}

func tableOfRates(t *testing.T, w io.Writer) {
	const target = 0.03
	fmt.Fprint(w, "\n| rate, UDP | declared | delivered | error |\n| --- | ---: | ---: | ---: |\n")
	for _, mbit := range []scenarios.Rate{1, 5, 50, 100} {
		rate := mbit * 1e6
		var got float64
		runInside(t, "rate", rangeOrder{Link: scenarios.Link{Rate: rate, Queue: 64 << 20}, For: 3 * time.Second}, &got)
		off := got/float64(rate) - 1
		fmt.Fprintf(w, "| IP bytes, up | %v | %.3f mbit | %+.2f %% |\n", rate, got/1e6, off*100)
		assert.InDelta(t, 0, off, target, "%v", rate)
	}
}

func tableOfLosses(t *testing.T, w io.Writer) {
	fmt.Fprint(w, "\n| loss, UDP | declared | lost | of | delivered | p |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for i, loss := range []scenarios.Fraction{0.001, 0.01, 0.03, 0.1, 0.5} {
		order := rangeOrder{Fault: scenarios.PacketFault{Loss: loss}, Count: 20000, Seed: uint64(i)} // else the rows share their draws
		var d datagrams
		runInside(t, "datagrams", order, &d)
		for _, way := range []struct {
			name    string
			lost, n int
		}{{"up", order.Count - len(d.Came), order.Count}, {"down", len(d.Came) - len(d.Back), len(d.Came)}} {
			share := float64(way.lost) / float64(way.n) * 100
			fmt.Fprintf(w, "| %s | %v | %d | %d | %.2f %% | %.2f |\n", way.name, loss, way.lost, way.n, share, binomialTest(way.lost, way.n, float64(loss)))
			assertBinomial(t, way.lost, way.n, loss)
		}
	}
}
