//go:build linux

package harness

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// A passage is the way of the independent client through a forward proxy, before its visit begins.
type passage struct {
	SOCKS  bool   // version 5, by hand; else CONNECT
	TLS    string // name of a proxy that is spoken to over TLS
	Target string // host:port
	Login  string // USER:PASSWORD; empty: none
}

var errRefused = errors.New("the proxy refuses")

// open asks the proxy at the other end of a connection for the way on, and returns what leads there.
func (p *passage) open(conn net.Conn, s *sighting) (net.Conn, error) {
	if p.TLS != "" {
		proxy := visit{TLS: p.TLS, Certified: p.TLS}
		secure, err := proxy.secure(conn, s)
		if err != nil {
			return nil, err
		}
		s.TLS = handshake{} // the visit has one of its own
		conn = secure
	}
	if p.SOCKS {
		return conn, p.socks(conn, s)
	}
	login := ""
	if p.Login != "" {
		login = "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.Login)) + "\r\n"
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n%s\r\n", p.Target, login); err != nil {
		return nil, err
	}
	a, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), &http.Request{Method: http.MethodConnect}) // nothing follows before the client has spoken
	if err != nil {
		return nil, err
	}
	s.Passage, s.Challenge = a.StatusCode, a.Header.Get("Proxy-Authenticate")
	if a.StatusCode != http.StatusOK {
		return nil, errRefused
	}
	return conn, nil
}

// socks does the negotiation of RFC 1928 and RFC 1929. What it notes as the status is the last byte that says how
// a step has gone: the reply, 255 for no acceptable method, or 1 for a wrong login.
func (p *passage) socks(conn net.Conn, s *sighting) error {
	methods, login := "\x00", ""
	if user, password, ok := strings.Cut(p.Login, ":"); ok {
		methods += "\x02"
		login = "\x01" + string(rune(len(user))) + user + string(rune(len(password))) + password
	}
	chosen, err := exchange(conn, "\x05"+string(rune(len(methods)))+methods, 2)
	if err != nil {
		return err
	}
	s.Passage = int(chosen[1])
	if !strings.Contains(methods, string(chosen[1:])) {
		return errRefused
	}
	if chosen[1] != 0 {
		answer, err := exchange(conn, login, 2)
		if err != nil {
			return err
		}
		if s.Passage = int(answer[1]); s.Passage != 0 {
			return errRefused
		}
	}
	host, service, _ := net.SplitHostPort(p.Target)
	port, _ := strconv.Atoi(service)
	reply, err := exchange(conn, "\x05\x01\x00\x03"+string(rune(len(host)))+host+string([]byte{byte(port >> 8), byte(port)}), 10)
	if err != nil {
		return err
	}
	if s.Passage = int(reply[1]); s.Passage != 0 {
		return errRefused
	}
	return nil
}

func exchange(conn net.Conn, words string, size int) ([]byte, error) {
	if _, err := io.WriteString(conn, words); err != nil {
		return nil, err
	}
	answer := make([]byte, size)
	_, err := io.ReadFull(conn, answer)
	return answer, err
}
