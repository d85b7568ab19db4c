//go:build linux

package harness

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/simrun/simrun/scenarios"
)

// forwardChecks go through the proxy to hosts behind it, each time to one that the fault is about, and if it is not
// about all, to another.
func (t *town) forwardChecks(f *scenarios.ForwardFault, s spot) (all []check, err error) {
	add := func(about string, to func(host string) bool, login string, shows func(sighting) bool) error {
		v, err := t.through(s, to, login)
		all = append(all, check{about: about, probe: s.visiting(v, enough), shows: shows, absent: shows == nil})
		return err
	}
	meant := f.Selects
	switch {
	case f.Connect != 0:
		err = add("connect", meant, "", func(g sighting) bool {
			return refused(f.Connect)(g) && (g.Challenge != "") == (f.Connect == http.StatusProxyAuthRequired)
		})
	case f.Tunnel == scenarios.TunnelStall:
		err = add("stall", meant, "", func(g sighting) bool { return opened(g, s) && broken("timeout")(g) })
		all[0].probe.Limit = silence
	case f.Tunnel == scenarios.TunnelClose:
		err = add("close", meant, "", func(g sighting) bool { return opened(g, s) && broken("EOF")(g) })
	case f.Intercept != "":
		shows := showsCertificate[interceptors[f.Intercept]]
		err = add("intercept", meant, "", shows)
	case f.Auth != "":
		return all, errorsOf(
			add("without login", meant, "", denied(s, http.StatusProxyAuthRequired, noMethod)),
			add("wrong login", meant, f.Auth+"!", denied(s, http.StatusProxyAuthRequired, 1)))
	case len(f.Allow) > 0:
		const notAllowed = 2
		return all, errorsOf(
			add("not allowed", func(host string) bool { return meant(host) && !f.Allows(host) }, "", denied(s, http.StatusForbidden, notAllowed)),
			add("allowed", func(host string) bool { return meant(host) && f.Allows(host) }, "", nil))
	}
	if err == nil && f.Target != "" {
		err = add("another host", func(host string) bool { return !f.Selects(host) }, "", nil)
	}
	return all, err
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// noMethod is what a SOCKS proxy chooses that accepts no method of its client: RFC 1928, section 3.
const noMethod = 0xff

// opened reports whether the proxy has said that the way is open.
func opened(g sighting, s spot) bool {
	if s.host.Role == scenarios.RoleSOCKSProxy {
		return g.Failed != "tunnel" && g.Passage == 0
	}
	return g.Passage == http.StatusOK
}

func refused(status int) func(sighting) bool {
	return func(g sighting) bool {
		return g.Failed == "tunnel" && g.Err == errRefused.Error() && g.Passage == status
	}
}

// denied is refused with the word for it that the proxy's protocol has.
func denied(s spot, status, socks int) func(sighting) bool {
	if s.host.Role == scenarios.RoleSOCKSProxy {
		return refused(socks)
	}
	return refused(status)
}

// through returns a visit over TLS, by way of a proxy, of the first host of the world that is meant.
func (t *town) through(s spot, meant func(host string) bool, login string) (v visit, err error) {
	for i := range t.world.Hosts {
		h := &t.world.Hosts[i]
		if h.IsForwardProxy() || !h.Secure(h.Ports()[0]) || !meant(h.Name) {
			continue
		}
		if v, err = t.visit(t.host(i)[0], "", ""); err != nil {
			continue // it has nothing to ask for
		}
		v.Through = s.passage(fmt.Sprintf("%s:%d", h.Name, h.Ports()[0]))
		v.Through.Login = login
		return v, nil
	}
	return v, fmt.Errorf("no host of the world is behind %s and about it", s.name)
}

// passage returns the way to a host:port through the proxy at a spot.
func (s spot) passage(target string) *passage {
	p := &passage{SOCKS: s.host.Role == scenarios.RoleSOCKSProxy, Target: target}
	if s.host.Secure(s.addr.Port()) {
		p.TLS = s.name
	}
	return p
}

// socksVisit returns a request of a VCS host over plain HTTP, by way of a SOCKS proxy.
func (t *town) socksVisit(s spot, v visit) visit {
	host, path, _ := strings.Cut(strings.TrimPrefix(v.Target, "http://"), "/")
	v.Target, v.Host = "/"+path, host
	v.Through = s.passage(host + ":80")
	return v
}
