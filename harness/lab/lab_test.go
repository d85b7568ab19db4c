//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/scenarios"
)

// inside are the functions that tests run in a lab process, by name.
var inside = map[string]func(input json.RawMessage) (any, error){
	"dial": dialInside,
}

func TestMain(m *testing.M) {
	Reexec(func(parent *Control) error {
		var order struct {
			Name  string
			Input json.RawMessage
		}
		if err := parent.Receive(&order); err != nil {
			return err
		}
		result, err := inside[order.Name](order.Input)
		if err != nil {
			return err
		}
		return parent.Send(result)
	})
	os.Exit(m.Run())
}

// runInside runs a function of inside in a lab process of its own.
func runInside(t testing.TB, name string, input, result any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := Start(ctx, map[string]any{"Name": name, "Input": input}, Descriptors{})
	require.NoError(t, err)
	defer p.Close()
	decodeErr := p.Receive(result)
	_, err = p.Wait()
	require.NoError(t, err)
	require.NoError(t, decodeErr)
}

type dialInput struct{ RTT time.Duration }

type dialResult struct {
	Lines    []string
	Took     map[string]time.Duration
	Observed Observed
}

// dialInside makes a network of one host and looks at it from the client.
func dialInside(input json.RawMessage) (any, error) {
	var in dialInput
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := Mount(Files{ResolvConf: "nameserver 192.0.2.53\n", Hosts: "127.0.0.1 localhost\n"}); err != nil {
		return nil, err
	}
	mounted := time.Now()
	host := Host{Name: "a.test", Addrs: HostAddrs(0, scenarios.FamilyDual, 1), TCP: []uint16{80}, Link: scenarios.Link{RTT: in.RTT}}
	n, err := NewNetwork(Config{Hosts: []Host{host}, Seed: 1})
	if err != nil {
		return nil, err
	}
	defer n.Close()
	made := time.Now()
	l, err := n.Listen(80)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "hello from "+c.LocalAddr().String())
			c.Close()
		}
	}()
	n.Begin()
	r := dialResult{Took: map[string]time.Duration{"mount": mounted.Sub(start), "network": made.Sub(mounted)}}
	for _, to := range []string{host.Addrs[0].String(), host.Addrs[1].String(), "203.0.113.7"} {
		for _, port := range []string{"80", "81"} {
			addr := net.JoinHostPort(to, port)
			begin := time.Now()
			conn, err := dialFrom(n, addr)
			r.Took[addr] = time.Since(begin)
			if err != nil {
				r.Lines = append(r.Lines, err.Error())
				continue
			}
			b, err := io.ReadAll(conn)
			r.Lines = append(r.Lines, fmt.Sprintf("%s %v", b, err))
			conn.Close()
		}
	}
	r.Observed = n.Observe(func(netip.Addr) string { return "" })
	return r, nil
}

// dialFrom connects from the client host.
func dialFrom(n *Network, addr string) (net.Conn, error) {
	from := netip.MustParseAddr("192.0.2.2")
	to := netip.MustParseAddrPort(addr)
	if to.Addr().Is6() {
		from = netip.MustParseAddr("2001:db8:2::2")
	}
	return n.DialFrom(context.Background(), "tcp", from, to)
}

func TestNetworkConnectsClientAndHosts(t *testing.T) {
	var r dialResult
	runInside(t, "dial", dialInput{RTT: 20 * time.Millisecond}, &r)
	t.Log(strings.Join(r.Lines, "\n"))
	t.Log(r.Took)
	o, _ := json.MarshalIndent(r.Observed, "", " ")
	t.Log(string(o))
	assert.Len(t, r.Lines, 6)
}
