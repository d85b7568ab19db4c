//go:build linux

package lab

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Guest is a machine on the client's side of the packet link, in a network namespace of its own. Programs
// that run there reach the internet as the client does, from addresses of their own.
type Guest struct {
	work chan func() // runs on a thread in the guest's network namespace
	ns   *os.File
}

// AddGuest makes a machine that has the addresses of Egress number i, which must not be used twice. It lives
// as long as the lab process.
func (n *Network) AddGuest(i int) (*Guest, error) {
	g := &Guest{work: make(chan func())}
	made := make(chan error)
	var tun *os.File
	go g.serve(made, i, &tun)
	if err := <-made; err != nil {
		return nil, fmt.Errorf("make machine number %d beside the client: %w", i, err)
	}
	n.link.addGuest(tun, Egress(i, false), Egress(i, true))
	return g, nil
}

// serve makes the machine on a thread of its own and then runs what is sent to it there.
func (g *Guest) serve(made chan<- error, i int, tun **os.File) {
	runtime.LockOSThread() // never unlocked: the thread belongs to the guest and ends with it
	made <- func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make its network namespace: %w", err)
		}
		if g.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		c, err := newConfigurator()
		if err != nil {
			return err
		}
		defer c.Close()
		v4 := netip.PrefixFrom(Egress(i, false), client4.Bits())
		v6 := netip.PrefixFrom(Egress(i, true), client6.Bits())
		*tun, _, err = c.outside(v4, v6)
		return err
	}()
	for f := range g.work {
		f()
	}
}

// Start starts a command on the machine, without rights in the cell, as the user with an id. All files belong to that
// user, and there is no other.
func (g *Guest) Start(cmd *exec.Cmd, user int) error {
	cmd.SysProcAttr = cmp.Or(cmd.SysProcAttr, &syscall.SysProcAttr{})
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: user, HostID: 0, Size: 1}}
	return g.Do(func() error { return launch(cmd, true) })
}

// Dial connects to a port of the machine's loopback interface, from the machine itself.
func (g *Guest) Dial(ctx context.Context, port int) (net.Conn, error) {
	return dialIn(ctx, g.ns, net.Dialer{}, "tcp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)))
}

// dialIn connects from another network namespace.
func dialIn(ctx context.Context, ns *os.File, d net.Dialer, network string, to netip.AddrPort) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread has moved to another namespace, and ends
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, fmt.Errorf("enter another network namespace: %w", err)}
			return
		}
		conn, err := d.DialContext(ctx, network, to.String()) // a literal address: the socket is made on this thread
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}
