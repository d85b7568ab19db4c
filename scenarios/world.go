package scenarios

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// world reads a World. The variables that it defines hold for all of it, wherever they stand.
func (d *decoder) world(root ast.Node) *World {
	w := &World{Pos: d.position(root), Vars: map[string]string{}}
	if vars := keyNode(root.(*ast.MappingNode), "vars"); vars != nil {
		setMap(&w.Vars, "the world's variables", varNameValue, textValue).read(d, vars)
	}
	d.vars = withDefaults(d.vars, w.Vars)
	d.mapping(root, w.Pos, "a world", worldFields(w))
	if len(w.Nameservers) == 0 {
		w.Nameservers = []Nameserver{{Name: "ns1", Pos: w.Pos}}
	}
	d.checkRepositories(w)
	d.checkUpstreams(w)
	d.checkNumbers(w)
	for _, name := range w.Resolver.Hosts {
		if known := w.hostNames(); !slices.Contains(known, name) {
			at := d.position(keyNode(keyNode(root.(*ast.MappingNode), "resolver").(*ast.MappingNode), "hosts"))
			d.failf(at, "world has no host %s to put into /etc/hosts%s", quote(name), suggest(name, known))
		}
	}
	return w
}

// What a world has at most.
const (
	MaxHosts   = 5000 // hosts
	MaxDialers = 100  // hosts that connect to others, each from an address of its own
)

// checkNumbers refuses more hosts than there are addresses for.
func (d *decoder) checkNumbers(w *World) {
	if len(w.Hosts) > MaxHosts {
		d.failf(w.Hosts[MaxHosts].Pos, "a world has %d hosts at most", MaxHosts)
	}
	dialers := 0
	for i := range w.Hosts {
		if !w.Hosts[i].Dials() {
			continue
		}
		if dialers++; dialers > MaxDialers {
			d.failf(w.Hosts[i].Pos, "a world has %d hosts at most that connect to others: forward proxies, programs, and proxies with an `upstream:`", MaxDialers)
			return
		}
	}
}

// hostNames returns the names of the hosts.
func (w *World) hostNames() (names []string) {
	for i := range w.Hosts {
		names = append(names, w.Hosts[i].Name)
	}
	return names
}

// withDefaults returns the variables of the caller and those of a world that the caller does not set.
func withDefaults(vars, defaults map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, defaults)
	maps.Copy(all, vars)
	return all
}

func hostsField(w *World) field {
	return field{
		shape: func() shape { return mapOf(object(hostFields(new(Host)))) },
		read: func(d *decoder, n ast.Node) {
			written := map[string]string{} // the key that each host was declared by
			keys := 0
			isMapping := d.entries(n, "hosts", func(key string, at Position, n ast.Node) {
				keys++
				if h, ok := d.host(key, at, n); ok {
					d.addHost(w, h, key, written)
				}
			})
			if isMapping && keys == 0 {
				d.failf(d.position(n), "a world needs a host")
			}
		},
	}
}

// host reads one Host, declared by a key that is "name" or "name:port".
func (d *decoder) host(key string, at Position, n ast.Node) (Host, bool) {
	h := Host{Pos: at}
	d.mapping(n, at, "a host", hostFields(&h))
	d.checkLink(h.Link, at)
	d.checkServed(&h, at)
	if len(h.SumDB) > 0 && h.Role != RoleModuleProxy && h.Role != "" {
		d.failf(at, "`sumdb:` is for a %s, not for a %s", RoleModuleProxy, h.Role)
	}
	if h.CodeHost != "" && h.Role != RoleVCS && h.Role != "" {
		d.failf(at, "`repositories:` is for a %s, not for a %s", RoleVCS, h.Role)
	}
	switch {
	case len(h.Files) > 0 && h.Role != RoleWeb && h.Role != "":
		d.failf(at, "`files:` is for a %s host, not for a %s", RoleWeb, h.Role)
	case len(h.Files) == 0 && h.Role == RoleWeb:
		d.failf(at, "a %s host needs `files:`", RoleWeb)
	}
	address, ok := d.expand(key, at)
	if !ok {
		return h, false
	}
	name, port, hasPort := strings.Cut(address, ":")
	name, err := parseHostName(name)
	if err != nil {
		d.failf(at, "%v", err)
		return h, false
	}
	h.Name = name
	if hasPort {
		h.Port, err = strconv.Atoi(port)
		if err != nil || h.Port < 1 || h.Port > 65535 {
			d.failf(at, "port %s is out of range: 1 to 65535", quote(port))
			return h, false
		}
	}
	h.SumDB = unique(h.SumDB)
	return h, true
}

// addHost adds a host to a world. Two keys may name the same host only if one does so by a variable:
// a Go distribution may have for its default a proxy that the world has under its own name. The key
// without a variable then counts.
func (d *decoder) addHost(w *World, h Host, key string, written map[string]string) {
	for i := range w.Hosts {
		other := &w.Hosts[i]
		if other.Name != h.Name || other.Port != h.Port {
			continue
		}
		isVar, otherIsVar := strings.Contains(key, "$"), strings.Contains(written[other.address()], "$")
		switch {
		case isVar == otherIsVar:
			d.failf(h.Pos, "duplicate host %s; first on line %d", quote(h.address()), other.Pos.Line)
		case otherIsVar:
			*other = h
			written[h.address()] = key
		}
		return
	}
	w.Hosts = append(w.Hosts, h)
	written[h.address()] = key
}

// address returns the host as a key of a world names it.
func (h *Host) address() string {
	if h.Port == 0 {
		return h.Name
	}
	return h.Name + ":" + strconv.Itoa(h.Port)
}

func nameserversField(w *World) field {
	return field{
		shape: func() shape { return mapOf(object(linkFields(new(Link)))) },
		read: func(d *decoder, n ast.Node) {
			d.entries(n, "nameservers", func(key string, at Position, n ast.Node) {
				ns := Nameserver{Name: key, Pos: at}
				if _, err := parseName(key); err != nil {
					d.failf(at, "%v", err)
				}
				d.mapping(n, at, "a name server", linkFields(&ns.Link))
				d.checkLink(ns.Link, at)
				w.Nameservers = append(w.Nameservers, ns)
			})
			const most = 8 // the resolver passes over all but the first three, see MAXNS in resolv.conf(5)
			if len(w.Nameservers) > most {
				d.failf(w.Nameservers[most].Pos, "a world has %d name servers at most, and a resolver uses three of them", most)
			}
		},
	}
}

func (d *decoder) checkLink(l Link, at Position) {
	if l.Jitter > l.RTT/2 {
		d.failf(at, "jitter %v is more than half of the rtt %v: a packet would arrive before it is sent", l.Jitter, l.RTT)
	}
	if l.Queue > 0 && l.Rate == 0 {
		d.failf(at, "`queue:` needs `rate:`; without one nothing waits")
	}
}

func unique(words []string) []string {
	var kept []string
	seen := map[string]bool{}
	for _, w := range words {
		if !seen[w] {
			kept = append(kept, w)
		}
		seen[w] = true
	}
	return kept
}
