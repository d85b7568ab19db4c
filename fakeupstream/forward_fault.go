package fakeupstream

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
)

// A Dial opens a connection as [net.Dialer.DialContext] does. It may be called by many goroutines at once.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// A DialFault puts a fault around the Dial of a forward proxy of any protocol: what is wrong with the
// connection to the far host is what the proxy's client sees.
type DialFault func(Dial) Dial

// A Refusal is an error of the Dial of a forward proxy that is of the proxy's own making: it could, and does not
// want to.
type Refusal struct {
	Status int    // of HTTP, 400 to 599
	Reason string // one line for the user
}

// Error returns the reason.
func (r *Refusal) Error() string { return r.Reason }

// WhenDial applies f to the far hosts that match and leaves the others alone. It calls match once per
// connection, with host:port.
func WhenDial(match func(addr string) bool, f DialFault) DialFault {
	return func(next Dial) Dial {
		faulty := f(next)
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			if match(addr) {
				return faulty(ctx, network, addr)
			}
			return next(ctx, network, addr)
		}
	}
}

// RefuseHosts does not let the client reach the far host. An HTTP proxy answers 403, one of SOCKS "connection not
// allowed by ruleset".
func RefuseHosts() DialFault {
	return func(Dial) Dial {
		return func(_ context.Context, _, addr string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(addr)
			return nil, &Refusal{http.StatusForbidden, fmt.Sprintf("the proxy does not allow the way to %s", host)}
		}
	}
}

// StallTunnels says that the tunnel is open, and lets nothing through it: it takes what the client sends, and
// answers nothing until the client ends the connection.
func StallTunnels() DialFault {
	return farHost(awaitEnd)
}

// CloseTunnels says that the tunnel is open, and ends the connection.
func CloseTunnels() DialFault {
	return farHost(func(net.Conn) {})
}

// farHost dials nobody: do is the far host, and the connection ends when it returns.
func farHost(do func(net.Conn)) DialFault {
	return func(Dial) Dial {
		return func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				do(far)
			}()
			return near, nil
		}
	}
}

// RefuseConnect answers CONNECT with a status, 400 to 599, and lets other requests pass. With 407 goes the
// Proxy-Authenticate header that RFC 9110, section 15.5.8, wants.
func RefuseConnect(status int) Middleware {
	return When(isConnect, func(next http.Handler) http.Handler {
		if status == http.StatusProxyAuthRequired {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { demandLogin(w) })
		}
		return Status(status, "", 0)(next)
	})
}

func isConnect(r *http.Request) bool { return r.Method == http.MethodConnect }

// DemandLogin answers 407 unless a request comes with a user's name and password in the Basic scheme (RFC 7617),
// written USER:PASSWORD. It takes the credentials away from what it lets pass.
func DemandLogin(login string) Middleware {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(login))
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got := r.Header.Get("Proxy-Authorization")
			if subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 0 {
				demandLogin(w)
				return
			}
			r.Header.Del("Proxy-Authorization")
			next.ServeHTTP(w, r)
		})
	}
}

func demandLogin(w http.ResponseWriter) {
	w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
	http.Error(w, "the proxy wants a user's name and password", http.StatusProxyAuthRequired)
}
