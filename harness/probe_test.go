//go:build linux

package harness

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// probeWord is the first argument by which this test binary knows that it is the independent client.
const probeWord = "probe"

// A probe is what the independent client does on the client host: not by way of the go command, and as far
// as possible by no code that the lab itself is made of.
type probe struct {
	Addr  string        // address:port of a server
	At    time.Duration // since the client's start
	Limit time.Duration // of each try
	Times int           // tries, one after the other unless Flock is set
	Flock bool          `json:",omitempty"` // a few tries at once

	Shell string `json:",omitempty"` // what a shell runs on the client host; nothing is asked of anybody

	Name, Type string `json:",omitempty"` // DNS question; else the probe opens a TCP connection
	Missing    bool   `json:",omitempty"` // the name, or what is visited, does not exist, and it is well if the server says so
	File       string `json:",omitempty"` // glob below the client's GOPATH: the probe reads what is there, and that is all
	Net        string `json:",omitempty"` // by which the question goes: "tcp", or UDP
	Replies    int    `json:",omitempty"` // that are waited for; 0 means one
	Visit      *visit `json:",omitempty"` // what is asked over the connection; nil: nothing
}

// A visit is HTTP/1.1 by hand over one connection: nothing is repeated or hidden, as in net/http.
type visit struct {
	TLS       string // server name in the ClientHello; empty means without TLS
	Certified string // name that the certificate must be for
	Listen    bool   // offer HTTP/2 too, and look only at which protocol the server speaks
	HTTP2     bool   // speak HTTP/2 instead
	Auth      string // header Authorization
	Method    string
	Target    string // of the request line
	Host      string
	Padding   int      // bytes of a header that nobody reads
	Requests  int      // the same request so often, all sent at once; 0 means once
	Classic   bool     // no post-quantum key exchange, whose ClientHello is longer than a packet
	ToEOF     bool     // ask for the end of the connection, and wait for it
	Whole     bool     // keep what came
	Through   *passage `json:",omitempty"` // a forward proxy; nil: none
}

// A sighting is what one try of a probe saw. Times are since the try's start; zero: it did not come to that.
type sighting struct {
	Failed string `json:",omitempty"` // stage at which it failed: connect, tunnel, tls, ask, answer, body, eof
	Err    string `json:",omitempty"` // name of the errno, "timeout", "EOF", or text

	Connected time.Duration `json:",omitempty"`
	Asked     time.Duration `json:",omitempty"` // just before the requests were written: what follows took at least as long as it seems
	First     time.Duration `json:",omitempty"` // an answer's headers were there
	Ended     time.Duration `json:",omitempty"` // the last body was there
	EOF       time.Duration `json:",omitempty"`

	Passage    int    `json:",omitempty"` // status of the answer to CONNECT, or what SOCKS has for it
	Challenge  string `json:",omitempty"` // Proxy-Authenticate header of that answer, or WWW-Authenticate of any other
	Status     int    `json:",omitempty"`
	RetryAfter string `json:",omitempty"`
	Type       string `json:",omitempty"` // of the content
	Location   string `json:",omitempty"`
	Plain      int64  `json:",omitempty"` // bytes of HTTP/1.1 that came
	Last       last   `json:",omitzero"`  // frame of HTTP/2
	Text       string `json:",omitempty"` // beginning of the last body
	Length     int64  `json:",omitempty"` // Content-Length of the last answer
	Body       int64  `json:",omitempty"` // bytes of the last body that came
	Received   int64  `json:",omitempty"` // bytes that came over the connection, TLS included
	Segments   uint32 `json:",omitempty"` // that they came in
	Repeats    uint32 `json:",omitempty"` // segments that the client had to send again until it was connected
	Kernel     kernel // what the client's kernel tells at the end

	Missing bool     `json:",omitempty"` // as the probe's
	Rcode   string   `json:",omitempty"` // of the first reply
	Answers []string `json:",omitempty"` // addresses in it
	Replies []reply  `json:",omitempty"`

	TLS handshake `json:",omitzero"`

	Content *content `json:",omitempty"` // of the last body, if it was to be kept
}

// A kernel is what the client's kernel knows of a connection, see tcp(7), and of all connections of the client
// while it lasted, see the counters of RFC 4022 in proc(5).
type kernel struct {
	Resent     uint32 `json:",omitempty"` // segments
	Doubled    uint32 `json:",omitempty"` // segments that the other side got twice, as it said (RFC 2883)
	Overtaken  uint32 `json:",omitempty"` // times that segments were seen to have overtaken others on their way out
	Disordered uint32 `json:",omitempty"` // segments that came before one that was sent earlier
	BadSums    int    `json:",omitempty"` // segments of any connection that came with a wrong checksum
}

// A reply is a DNS message that came from a name server.
type reply struct {
	Size      int
	Malformed string // how, empty if it is not
	Stray     string // in what it is no reply to the question: "id" or "question"
	Rcode     string
	Truncated bool
	CNAMEs    int
	TTL       uint32 // of the first record
	Answers   []string
}

// beProbe turns this process into the independent client if it was started as one, and does not return then.
// It reads its probes from the second argument and prints the sightings of each, as JSON.
func beProbe() {
	if len(os.Args) != 3 || os.Args[1] != probeWord {
		return
	}
	var probes []probe
	if err := json.Unmarshal([]byte(os.Args[2]), &probes); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := json.NewEncoder(os.Stdout).Encode(runProbes(probes)); err != nil {
		os.Exit(2)
	}
	os.Exit(0)
}

func runProbes(probes []probe) [][]sighting {
	all := make([][]sighting, len(probes))
	var running sync.WaitGroup
	for i, p := range probes {
		running.Go(func() {
			time.Sleep(p.At)
			all[i] = p.run()
		})
	}
	running.Wait()
	return all
}

// flock is how many tries of a probe run at once if it says so.
const flock = 8

// rounds returns how many tries of a probe are made one after the other.
func (p *probe) rounds() int {
	if p.Flock {
		return (p.Times + flock - 1) / flock
	}
	return p.Times
}

func (p *probe) run() []sighting {
	tries := make([]sighting, p.Times)
	slots := make(chan struct{}, (p.Times+p.rounds()-1)/p.rounds())
	var running sync.WaitGroup
	for i := range tries {
		slots <- struct{}{}
		running.Go(func() {
			tries[i] = p.once()
			<-slots
		})
	}
	running.Wait()
	return tries
}

func (p *probe) once() sighting {
	switch {
	case p.Shell != "":
		return p.sh()
	case p.Name != "":
		return p.resolve()
	case p.File != "":
		return p.read()
	}
	return p.connect()
}

// sh runs the probe's shell command, which nobody answers if it asks. What it says is its text, and its error
// unless it ends well.
func (p *probe) sh() (s sighting) {
	ctx, cancel := context.WithTimeout(context.Background(), p.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", p.Shell)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	output, err := cmd.CombinedOutput()
	s.Text = strings.TrimSpace(string(output))
	switch {
	case ctx.Err() != nil:
		s.Failed, s.Err = "shell", "timeout"
	case err != nil:
		s.Failed, s.Err = "shell", s.Text+" "+err.Error()
	}
	return s
}

// resolve asks one name server once. Where it waits for several replies, only the first has to come.
func (p *probe) resolve() (s sighting) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(p.Name), dns.StringToType[p.Type])
	s.Missing = p.Missing
	begin := time.Now()
	conn, err := dns.DialTimeout(cmp.Or(p.Net, "udp"), p.Addr, p.Limit)
	if err != nil {
		s.fail("connect", err)
		return s
	}
	defer conn.Close()
	conn.UDPSize = dns.MaxMsgSize
	conn.SetDeadline(begin.Add(p.Limit))
	if err := conn.WriteMsg(q); err != nil {
		s.fail("ask", err)
		return s
	}
	for len(s.Replies) < max(p.Replies, 1) {
		b, err := conn.ReadMsgHeader(nil)
		if err != nil && len(s.Replies) == 0 {
			s.fail("answer", err)
		}
		if err != nil {
			return s
		}
		if len(s.Replies) == 0 {
			s.First = time.Since(begin)
		}
		s.hear(newReply(q, b))
	}
	return s
}

// hear notes a reply.
func (s *sighting) hear(r reply) {
	s.Replies = append(s.Replies, r)
	if len(s.Replies) > 1 {
		return
	}
	s.Rcode, s.Answers = r.Rcode, r.Answers
	if r.Malformed != "" || r.Stray != "" {
		s.fail("answer", errors.New(cmp.Or(r.Malformed, "another "+r.Stray)))
	}
}

func newReply(q *dns.Msg, b []byte) reply {
	r := reply{Size: len(b)}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		r.Malformed = err.Error()
	}
	switch {
	case m.Id != q.Id || !m.Response:
		r.Stray = "id"
	case !slices.Equal(m.Question, q.Question):
		r.Stray = "question"
	}
	r.Rcode, r.Truncated = strings.ToLower(dns.RcodeToString[m.Rcode]), m.Truncated
	for _, rr := range m.Answer {
		switch rr.(type) {
		case *dns.CNAME:
			r.CNAMEs++
		case *dns.A, *dns.AAAA:
			r.Answers = append(r.Answers, dns.Field(rr, 1))
		}
	}
	if len(m.Answer) > 0 {
		r.TTL = m.Answer[0].Header().Ttl
	}
	return r
}

// connect opens one connection and makes the visit over it.
func (p *probe) connect() (s sighting) {
	begin, badSums := time.Now(), tcpBadSums()
	s.Missing = p.Missing
	ctx, cancel := context.WithDeadline(context.Background(), begin.Add(p.Limit))
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Addr)
	if err != nil {
		s.fail("connect", err)
		return s
	}
	defer conn.Close()
	s.Connected = time.Since(begin)
	tcp := conn.(*net.TCPConn)
	s.Repeats = tcpInfo(tcp).Total_retrans
	if p.Visit == nil {
		return s
	}
	conn.SetDeadline(begin.Add(p.Limit))
	wire := &countingConn{Conn: conn}
	p.Visit.make(wire, begin, &s)
	info := tcpInfo(tcp)
	s.Received, s.Segments = wire.received, info.Data_segs_in
	s.Kernel = kernel{info.Total_retrans, info.Dsack_dups, info.Reord_seen, info.Rcv_ooopack, tcpBadSums() - badSums}
	return s
}

// tcpBadSums returns how many TCP segments with a wrong checksum came to the client.
func tcpBadSums() int {
	text, err := os.ReadFile("/proc/self/net/snmp")
	if err != nil {
		return 0
	}
	_, tcp, _ := strings.Cut(string(text), "\nTcp: ")
	names, values, _ := strings.Cut(tcp, "\nTcp: ")
	i := slices.Index(strings.Fields(names), "InCsumErrors")
	if i < 0 {
		return 0
	}
	n, _ := strconv.Atoi(strings.Fields(values)[i])
	return n
}

// make makes the visit over a connection.
func (v *visit) make(wire *countingConn, begin time.Time, s *sighting) {
	var conn net.Conn = wire
	if v.Through != nil {
		far, err := v.Through.open(wire, s)
		if err != nil {
			s.fail("tunnel", err)
			return
		}
		conn = far
	}
	if v.TLS != "" {
		secure, err := v.secure(conn, s)
		if err != nil {
			s.fail("tls", err)
			return
		}
		if v.Listen {
			v.listen(secure, s)
			return
		}
		if v.HTTP2 {
			v.http2(secure, begin, s)
			return
		}
		conn = secure
	}
	requests := v.requests()
	s.Asked = time.Since(begin)
	if _, err := io.WriteString(conn, requests); err != nil {
		s.fail("ask", err)
		return
	}
	plain := &countingConn{Conn: conn}
	defer func() { s.Plain = plain.received }()
	answers := bufio.NewReader(plain)
	for range max(v.Requests, 1) {
		if !v.read(answers, begin, s) {
			return
		}
	}
	if !v.ToEOF {
		return
	}
	if _, err := io.Copy(io.Discard, wire.Conn); err != nil {
		s.fail("eof", err)
		return
	}
	s.EOF = time.Since(begin)
}

// requests returns the text of the requests. The padding is random, so that nothing on its way shortens it.
func (v *visit) requests() string {
	headers := "Host: " + v.Host + "\r\n"
	if v.ToEOF {
		headers += "Connection: close\r\n"
	}
	if v.Auth != "" {
		headers += "Authorization: " + v.Auth + "\r\n"
	}
	if v.Padding > 0 {
		padding := make([]byte, v.Padding)
		for i := range padding {
			padding[i] = byte('a' + rand.IntN(26))
		}
		headers += "X-Padding: " + string(padding) + "\r\n"
	}
	one := fmt.Sprintf("%s %s HTTP/1.1\r\n%s\r\n", v.Method, v.Target, headers)
	return strings.Repeat(one, max(v.Requests, 1))
}

// read reads one answer and reports whether it was whole.
func (v *visit) read(answers *bufio.Reader, begin time.Time, s *sighting) bool {
	a, err := http.ReadResponse(answers, &http.Request{Method: v.Method})
	if err != nil {
		s.fail("answer", err)
		return false
	}
	s.First = time.Since(begin)
	s.Status, s.RetryAfter, s.Length = a.StatusCode, a.Header.Get("Retry-After"), a.ContentLength
	s.Type, s.Location, s.Challenge = a.Header.Get("Content-Type"), a.Header.Get("Location"), a.Header.Get("WWW-Authenticate")
	if v.Method == http.MethodConnect && a.StatusCode == http.StatusOK {
		s.Ended = s.First // what follows is the tunnel
		return true
	}
	head, err := io.ReadAll(io.LimitReader(a.Body, 256))
	s.Text, s.Body = strings.ToValidUTF8(string(head), "?"), int64(len(head))
	if err == nil {
		var rest []byte
		rest, err = io.ReadAll(a.Body)
		s.Body += int64(len(rest))
		if v.Whole {
			s.Content = newContent(append(head, rest...))
		}
	}
	if err != nil {
		s.fail("body", err)
		return false
	}
	s.Ended = time.Since(begin)
	return true
}

// fail notes how a try ended early.
func (s *sighting) fail(stage string, err error) {
	s.Failed, s.Err = stage, err.Error()
	var errno syscall.Errno
	var late net.Error
	switch {
	case errors.As(err, &errno):
		s.Err = unix.ErrnoName(errno)
	case errors.As(err, &late) && late.Timeout():
		s.Err = "timeout"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		s.Err = "EOF"
	}
}

// A countingConn counts what comes over a connection.
type countingConn struct {
	net.Conn
	received int64
}

func (c *countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received += int64(n)
	return n, err
}

// tcpInfo returns what the client's kernel knows of a connection, see tcp(7).
func tcpInfo(c *net.TCPConn) unix.TCPInfo {
	raw, err := c.SyscallConn()
	if err != nil {
		return unix.TCPInfo{}
	}
	var info *unix.TCPInfo
	_ = raw.Control(func(fd uintptr) { info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if info == nil {
		return unix.TCPInfo{}
	}
	return *info
}
