package fakeupstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
)

// A SOCKSProxy is a forward proxy of SOCKS version 5 (RFC 1928) with the command CONNECT. It takes whoever asks
// to wherever they ask, by name, IPv4 or IPv6 address. Its fields must not be changed once it serves.
type SOCKSProxy struct {
	// Dial opens the connection to the host that a client asks for. Nil means a net.Dialer. The client is told
	// that the rules forbid it if the error is a Refusal, and else as much as the error says.
	Dial Dial

	// Login returns the USER:PASSWORD (RFC 1929) that the client of a new connection must have, or "" if there
	// is no need. Nil means that there never is.
	Login func() string

	// Log gets each request as if it were a CONNECT of the protocol SOCKS5. Nil means nobody does.
	Log *Log
}

// The bytes of RFC 1928 and RFC 1929.
const (
	socksVersion  = 5
	socksNoLogin  = 0
	socksLogin    = 2
	socksNone     = 0xff // of the methods is acceptable
	socksConnect  = 1
	socksIPv4     = 1
	socksName     = 3
	socksIPv6     = 4
	loginVersion  = 1
	loginAccepted = 0
	loginRefused  = 1
)

// The replies of RFC 1928, section 6.
const (
	replySucceeded          = 0
	replyFailure            = 1
	replyNotAllowed         = 2
	replyNetworkUnreachable = 3
	replyHostUnreachable    = 4
	replyRefused            = 5
	replyExpired            = 6
	replyCommand            = 7
	replyAddress            = 8
)

// Serve accepts connections until the listener fails, and returns why it did.
func (p *SOCKSProxy) Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go p.serveConn(conn)
	}
}

func (p *SOCKSProxy) serveConn(client net.Conn) {
	defer client.Close()
	if p.greet(client) != nil {
		return
	}
	addr, reply, err := readSOCKSRequest(client)
	if err != nil {
		return
	}
	entry := p.begin(client, addr)
	defer entry.end()
	if reply != replySucceeded {
		writeSOCKSReply(client, reply)
		return
	}
	p.connect(client, addr, entry)
}

func (p *SOCKSProxy) connect(client net.Conn, addr string, entry *socksEntry) {
	dial := p.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	upstream, err := dial(ctx, "tcp", addr)
	if err != nil {
		entry.answered(err)
		writeSOCKSReply(client, replyFor(err))
		return
	}
	defer upstream.Close()
	entry.answered(nil)
	if writeSOCKSReply(client, replySucceeded) == nil {
		tunnel(ctx, client, client, upstream)
	}
}

// greet agrees on a method and checks the client's login. An error ends the connection.
func (p *SOCKSProxy) greet(client net.Conn) error {
	var head [2]byte
	if _, err := io.ReadFull(client, head[:]); err != nil {
		return err
	}
	if head[0] != socksVersion {
		return errors.New("not SOCKS version 5")
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(client, methods); err != nil {
		return err
	}
	login, method := "", byte(socksNoLogin)
	if p.Login != nil {
		login = p.Login()
	}
	if login != "" {
		method = socksLogin
	}
	for _, offered := range methods {
		if offered != method {
			continue
		}
		if _, err := client.Write([]byte{socksVersion, method}); err != nil || login == "" {
			return err
		}
		return checkSOCKSLogin(client, login)
	}
	client.Write([]byte{socksVersion, socksNone})
	return errors.New("no acceptable method")
}

// checkSOCKSLogin does the subnegotiation of RFC 1929.
func checkSOCKSLogin(client net.Conn, login string) error {
	var version [1]byte
	if _, err := io.ReadFull(client, version[:]); err != nil {
		return err
	}
	user, err := readShort(client)
	if err != nil {
		return err
	}
	password, err := readShort(client)
	if err != nil {
		return err
	}
	if user+":"+password != login || version[0] != loginVersion {
		client.Write([]byte{loginVersion, loginRefused})
		return errors.New("wrong login")
	}
	_, err = client.Write([]byte{loginVersion, loginAccepted})
	return err
}

// readShort reads a text that its length stands before, in one byte.
func readShort(r io.Reader) (string, error) {
	var size [1]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return "", err
	}
	text := make([]byte, size[0])
	_, err := io.ReadFull(r, text)
	return string(text), err
}

// readSOCKSRequest returns host:port, and the reply to a request that is not understood.
func readSOCKSRequest(r io.Reader) (addr string, reply byte, err error) {
	var head [4]byte // version, command, reserved, kind of address
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", 0, err
	}
	var host string
	switch head[3] {
	case socksIPv4:
		host, err = readIP(r, net.IPv4len)
	case socksIPv6:
		host, err = readIP(r, net.IPv6len)
	case socksName:
		host, err = readShort(r)
	default:
		return "", replyAddress, nil
	}
	var port [2]byte
	if err == nil {
		_, err = io.ReadFull(r, port[:])
	}
	if head[1] != socksConnect {
		reply = replyCommand
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port[0])<<8|int(port[1]))), reply, err
}

func readIP(r io.Reader, size int) (string, error) {
	raw := make([]byte, size)
	_, err := io.ReadFull(r, raw)
	ip, _ := netip.AddrFromSlice(raw)
	return ip.String(), err
}

// writeSOCKSReply writes a reply. The address that the proxy connects from is nobody's business.
func writeSOCKSReply(w io.Writer, reply byte) error {
	_, err := w.Write([]byte{socksVersion, reply, 0, socksIPv4, 0, 0, 0, 0, 0, 0})
	return err
}

// replyFor says as much of an error as the protocol can.
func replyFor(err error) byte {
	var refusal *Refusal
	var unknown *net.DNSError
	switch {
	case errors.As(err, &refusal):
		return replyNotAllowed
	case errors.Is(err, syscall.ECONNREFUSED):
		return replyRefused
	case errors.Is(err, syscall.ENETUNREACH):
		return replyNetworkUnreachable
	case errors.Is(err, syscall.EHOSTUNREACH), errors.As(err, &unknown):
		return replyHostUnreachable
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return replyExpired
	}
	return replyFailure
}

// A socksEntry is a request of SOCKS in a Log; nil if there is none.
type socksEntry struct {
	log     *Log
	request *Request
}

func (p *SOCKSProxy) begin(client net.Conn, addr string) *socksEntry {
	if p.Log == nil {
		return nil
	}
	entry := &Request{Host: addr, Proto: "SOCKS5", Method: "CONNECT", Path: addr,
		Remote: addrPort(client.RemoteAddr()), Local: addrPort(client.LocalAddr())}
	p.Log.add(entry)
	return &socksEntry{p.Log, entry}
}

// answered notes the answer. Its status is that of an HTTP proxy in the same place.
func (e *socksEntry) answered(err error) {
	if e == nil {
		return
	}
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	e.request.First, e.request.Status = e.log.now(), 200
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		e.request.Status, e.request.Err = refusal.Status, err.Error()
	case err != nil:
		e.request.Status, e.request.Err = 502, err.Error()
	}
}

func (e *socksEntry) end() {
	if e == nil {
		return
	}
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	e.request.End = e.log.now()
}
