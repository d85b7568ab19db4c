package pac

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/dop251/goja"

	"github.com/simrun/simrun/scenarios"
)

// define gives the script the functions that Netscape's definition has
// (https://developer.mozilla.org/docs/Web/HTTP/Guides/Proxy_servers_and_tunneling/Proxy_Auto-Configuration_PAC_file),
// and Microsoft's for IPv6, whose names end in Ex.
func (s *Script) define() error {
	for name, f := range map[string]any{
		"isPlainHostName":     func(host string) bool { return !strings.Contains(host, ".") },
		"dnsDomainIs":         dnsDomainIs,
		"localHostOrDomainIs": localHostOrDomainIs,
		"dnsDomainLevels":     func(host string) int { return strings.Count(host, ".") },
		"shExpMatch":          func(text, pattern string) bool { return scenarios.Glob(pattern, text) },
		"convert_addr":        convertAddr,
		"isResolvable":        func(host string) bool { return len(s.addresses(host, true)) > 0 },
		"isInNet":             s.isInNet,
		"dnsResolve":          s.dnsResolve,
		"myIpAddress":         s.myIPAddress,
		"isResolvableEx":      func(host string) bool { return len(s.addresses(host, false)) > 0 },
		"isInNetEx":           s.isInNetEx,
		"dnsResolveEx":        func(host string) string { return joined(s.addresses(host, false)) },
		"myIpAddressEx":       func() string { return joined(s.host.Addresses()) },
		"sortIpAddressList":   sortIPAddressList,
		"getClientVersion":    func() string { return "1.0" },
		"weekdayRange":        s.inRange(weekdayRange),
		"dateRange":           s.inRange(dateRange),
		"timeRange":           s.inRange(timeRange),
		"alert":               func(text string) { s.host.Alert(text) },
	} {
		if err := s.vm.Set(name, f); err != nil {
			return err
		}
	}
	return nil
}

func dnsDomainIs(host, domain string) bool {
	return strings.HasSuffix(strings.ToLower(host), strings.ToLower(domain))
}

// localHostOrDomainIs is true for the whole name, and for a name without a domain that the whole one begins with.
func localHostOrDomainIs(host, name string) bool {
	host, name = strings.ToLower(host), strings.ToLower(name)
	return host == name || !strings.Contains(host, ".") && strings.HasPrefix(name, host+".")
}

// convertAddr returns an IPv4 address as a number, 0 for what is none.
func convertAddr(text string) uint32 {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// addresses looks a host up. An address is its own.
func (s *Script) addresses(host string, onlyIPv4 bool) []netip.Addr {
	if a, err := netip.ParseAddr(host); err == nil {
		if onlyIPv4 && !a.Is4() {
			return nil
		}
		return []netip.Addr{a}
	}
	all, err := s.host.Lookup(s.ctx, host)
	if err != nil {
		return nil
	}
	for i := range all {
		all[i] = all[i].Unmap()
	}
	return slices.DeleteFunc(all, func(a netip.Addr) bool { return onlyIPv4 && !a.Is4() })
}

// dnsResolve returns the first IPv4 address, or null.
func (s *Script) dnsResolve(host string) goja.Value {
	if all := s.addresses(host, true); len(all) > 0 {
		return s.vm.ToValue(all[0].String())
	}
	return goja.Null()
}

func (s *Script) isInNet(host, pattern, mask string) bool {
	network, errNet := netip.ParseAddr(pattern)
	bits, errMask := netip.ParseAddr(mask)
	all := s.addresses(host, true)
	if len(all) == 0 || errNet != nil || errMask != nil || !network.Is4() || !bits.Is4() {
		return false
	}
	m := convertAddr(mask)
	return convertAddr(all[0].String())&m == convertAddr(pattern)&m
}

func (s *Script) isInNetEx(host, prefix string) bool {
	p, err := netip.ParsePrefix(prefix)
	return err == nil && slices.ContainsFunc(s.addresses(host, false), p.Contains)
}

func (s *Script) myIPAddress() string {
	for _, a := range s.host.Addresses() {
		if a.Is4() {
			return a.String()
		}
	}
	return "127.0.0.1"
}

func joined(all []netip.Addr) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	return strings.Join(texts, ";")
}

// sortIPAddressList puts IPv6 before IPv4 and sorts each. A list with anything else in it gives "".
func sortIPAddressList(list string) string {
	var all []netip.Addr
	for text := range strings.SplitSeq(list, ";") {
		a, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return ""
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b netip.Addr) int {
		if a.Is4() != b.Is4() {
			return cmp.Compare(a.BitLen(), b.BitLen()) * -1
		}
		return a.Compare(b)
	})
	return joined(all)
}
