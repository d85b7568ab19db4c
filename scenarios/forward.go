package scenarios

import (
	"fmt"
	"slices"
	"strings"
)

// A ForwardFault changes one thing in what a forward proxy does for its clients. Exactly one of its fields
// but Target is set.
type ForwardFault struct {
	Target    string    // glob over the host that a client wants to reach; empty means all
	Connect   int       // HTTP status, 400 to 599, that answers CONNECT; 0 means the true answer
	Tunnel    Tunnel    // what becomes of a tunnel that was opened
	Allow     []string  // globs over the hosts that the proxy lets its clients reach; nil means all
	Auth      string    // USER:PASSWORD that the proxy demands; empty means none
	Intercept Intercept // the proxy ends the TLS of tunnels itself
}

// A Tunnel is what becomes of the tunnels of a forward proxy that says that they are open.
type Tunnel string

// The tunnels of the language.
const (
	TunnelStall Tunnel = "stall" // nothing ever comes through
	TunnelClose Tunnel = "close" // the connection is closed at once
)

// An Intercept says whose certificates a forward proxy shows in the place of those of the hosts behind it.
type Intercept string

// The interceptions of the language.
const (
	InterceptTrusted   Intercept = "trusted"   // of an authority that the client was told to trust
	InterceptUntrusted Intercept = "untrusted" // of one that it does not know
)

var (
	tunnelValue    = oneOf("tunnel", TunnelStall, TunnelClose)
	interceptValue = oneOf("intercept", InterceptTrusted, InterceptUntrusted)

	loginForm  = newForm(`^[!-9;-~]+:[!-~]+$`) // printable ASCII without spaces; RFC 7617 forbids a colon in the name
	loginValue = scalar[string]{parse: matching(loginForm, "`USER:PASSWORD`"), shape: shape{"type": "string", "pattern": loginForm.pattern}}
)

func forwardFields(f *ForwardFault) fields {
	return fields{
		"target":    set(&f.Target, textValue),
		"connect":   set(&f.Connect, whole("an HTTP status that refuses", 400, 599)),
		"tunnel":    set(&f.Tunnel, tunnelValue),
		"allow":     setList(&f.Allow, "allow", textValue),
		"auth":      set(&f.Auth, loginValue),
		"intercept": set(&f.Intercept, interceptValue),
	}
}

func checkForward(d *decoder, f *ForwardFault, pos Position) {
	var changes []string
	for _, c := range []struct {
		key string
		set bool
	}{
		{"connect", f.Connect != 0}, {"tunnel", f.Tunnel != ""}, {"allow", len(f.Allow) > 0}, {"auth", f.Auth != ""},
		{"intercept", f.Intercept != ""},
	} {
		if c.set {
			changes = append(changes, "`"+c.key+":`")
		}
	}
	switch {
	case len(changes) == 0:
		d.failf(pos, "forward fault changes nothing")
	case len(changes) > 1:
		d.failf(pos, "a forward fault changes one thing, not %s; write one fault for each", strings.Join(changes, " and "))
	}
}

// IsForwardProxy reports whether the host takes its clients to other hosts.
func (h *Host) IsForwardProxy() bool {
	return h.Role == RoleForwardProxy || h.Role == RoleHTTPSProxy || h.Role == RoleSOCKSProxy
}

// keepForward leaves those hosts of a forward fault that can have it.
func (d *decoder) keepForward(f *Fault, w *World, at Position) {
	all := f.Target.Hosts
	if f.Forward == nil || len(all) == 0 {
		return
	}
	f.Target.Hosts = slices.DeleteFunc(slices.Clone(all), func(i int) bool { return !f.Forward.fits(&w.Hosts[i]) })
	if len(f.Target.Hosts) > 0 {
		return
	}
	h := &w.Hosts[all[0]]
	if h.Role == RoleSOCKSProxy {
		d.failf(at, "%s is a %s, which speaks no HTTP: it has no `connect:` and no `intercept:`", quote(f.Target.Pattern), h.Role)
		return
	}
	d.failf(at, "%s is a %s, and a `forward:` fault is at a forward proxy", quote(f.Target.Pattern), h.Role)
}

func (f *ForwardFault) fits(h *Host) bool {
	return h.IsForwardProxy() && (h.Role != RoleSOCKSProxy || f.Connect == 0 && f.Intercept == "")
}

// keepHTTP leaves those hosts of an HTTP fault that speak HTTP.
func (d *decoder) keepHTTP(f *Fault, w *World, at Position) {
	all := f.Target.Hosts
	if f.HTTP == nil || len(all) == 0 {
		return
	}
	f.Target.Hosts = slices.DeleteFunc(slices.Clone(all), func(i int) bool { return w.Hosts[i].Role == RoleSOCKSProxy })
	if len(f.Target.Hosts) == 0 {
		d.failf(at, "%s is a %s, which speaks no HTTP", quote(f.Target.Pattern), w.Hosts[all[0]].Role)
	}
}

// Selects reports whether a forward fault is about the host that a client wants to reach.
func (f *ForwardFault) Selects(host string) bool {
	return f.Target == "" || Glob(strings.ToLower(f.Target), strings.ToLower(host))
}

// Allows reports whether the list of allowed hosts, if there is one, has a host.
func (f *ForwardFault) Allows(host string) bool {
	return len(f.Allow) == 0 || slices.ContainsFunc(f.Allow, func(pattern string) bool {
		return Glob(strings.ToLower(pattern), strings.ToLower(host))
	})
}

func forwardContradiction(a, b *ForwardFault) string {
	switch {
	case a.Target != b.Target:
		return ""
	case a.Connect != 0 && b.Connect != 0:
		return "set `connect`"
	case a.Tunnel != "" && b.Tunnel != "":
		return "set `tunnel`"
	case a.Auth != "" && b.Auth != "":
		return "set `auth`"
	case a.Intercept != "" && b.Intercept != "":
		return "set `intercept`"
	}
	return ""
}

func (f *ForwardFault) describe(w *words) {
	w.add("target", f.Target)
	w.add("connect", f.Connect)
	w.add("tunnel", f.Tunnel)
	if len(f.Allow) > 0 {
		w.set("allow", fmt.Sprintf("[%s]", strings.Join(f.Allow, ", ")))
	}
	w.add("auth", f.Auth)
	w.add("intercept", f.Intercept)
}
