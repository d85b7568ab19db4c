//go:build linux

package harness

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/module"

	"github.com/simrun/simrun/scenarios"
)

func retryAfter(f *scenarios.HTTPFault) string {
	if f.RetryAfter == 0 {
		return ""
	}
	return strconv.FormatFloat(math.Ceil(f.RetryAfter.Seconds()), 'f', 0, 64)
}

// part returns how many bytes of a body an amount is.
func part(a scenarios.Amount, length int64) int64 {
	if a.Share == 0 {
		return a.Bytes
	}
	return int64(float64(a.Share) * float64(length))
}

// visiting returns the probe that makes a visit.
func (s spot) visiting(v visit, limit time.Duration) probe {
	p := s.dial()
	p.Visit, p.Limit = &v, limit
	return p
}

// visit returns a request that the host answers well where nothing is wrong, with a path that matches a
// glob. An empty method or glob means any.
func (t *town) visit(s spot, method, glob string) (visit, error) {
	for _, target := range t.targets(s.host) {
		u, err := url.Parse(target)
		if err != nil {
			return visit{}, err
		}
		if glob != "" && !scenarios.Glob(glob, u.Path) {
			continue
		}
		v := visit{Method: "GET", Target: target, Host: s.name}
		if method != "" {
			v.Method = method
		}
		if u.Host != "" {
			v.Host = u.Host
		}
		if method == http.MethodConnect {
			v.Target = u.Host + ":443"
			v.Host = v.Target
		}
		if s.host.Secure(s.addr.Port()) {
			v.TLS, v.Certified = s.name, s.name
		}
		if s.host.Role == scenarios.RoleSOCKSProxy {
			v = t.socksVisit(s, v)
		}
		return v, nil
	}
	return visit{}, fmt.Errorf("a %s has nothing that matches %q", s.host.Role, glob)
}

// bulkVisit returns a visit that moves at least bulk bytes up or down.
func (t *town) bulkVisit(s spot, down bool) (v visit, err error) {
	switch {
	case s.host == nil:
		return v, errors.New("nothing is known that sends a name server much")
	case !down:
		v, err = t.visit(s, "", "")
		v.Padding, v.Requests = bulk, 1
		return v, err
	}
	if v, err = t.visit(s, "", "*.zip"); err == nil {
		return v, nil
	}
	const answer = 100 // bytes of the least answer with its headers
	v, err = t.visit(s, "", "")
	v.Requests = bulk / answer
	return v, err
}

// targets returns what there is to ask a host for: targets of request lines.
func (t *town) targets(h *scenarios.Host) []string {
	switch h.Role {
	case scenarios.RoleModuleProxy:
		return t.proxyTargets(h)
	case scenarios.RoleChecksumDB:
		return append([]string{"/latest"}, t.lookups("")...)
	case scenarios.RoleVCS:
		return t.repositories(h, "")
	case scenarios.RoleWeb:
		return slices.Sorted(maps.Keys(h.Files))
	case scenarios.RoleForwardProxy, scenarios.RoleHTTPSProxy, scenarios.RoleSOCKSProxy:
		for _, far := range t.world.Hosts {
			if far.Role == scenarios.RoleVCS {
				return t.repositories(&far, "http://"+far.Name)
			}
		}
	}
	return nil
}

// proxyTargets returns the files of a module, the largest last, and what the proxy has of a checksum database.
func (t *town) proxyTargets(h *scenarios.Host) (all []string) {
	for _, m := range t.modules {
		path, err1 := module.EscapePath(m.Path)
		version, err2 := module.EscapeVersion(m.Version)
		if m.Sum == "" || m.Private && !h.Private || err1 != nil || err2 != nil {
			continue
		}
		all = append(all, "/"+path+"/@v/list")
		for _, kind := range []string{"info", "mod", "zip"} {
			all = append(all, "/"+path+"/@v/"+version+"."+kind)
		}
	}
	for _, db := range h.SumDB {
		all = append(all, "/sumdb/"+db+"/supported", "/sumdb/"+db+"/latest")
		all = append(all, t.lookups("/sumdb/"+db)...)
	}
	return all
}

// lookups returns what there is to ask a checksum database about the modules.
func (t *town) lookups(prefix string) (all []string) {
	for _, m := range t.modules {
		path, err1 := module.EscapePath(m.Path)
		version, err2 := module.EscapeVersion(m.Version)
		if !m.Private && err1 == nil && err2 == nil {
			all = append(all, prefix+"/lookup/"+path+"@"+version)
		}
	}
	return all
}

// repositories returns what there is to ask a VCS host for.
func (t *town) repositories(h *scenarios.Host, prefix string) (all []string) {
	for _, m := range t.modulesAt(h) {
		all = append(all, prefix+m.at+"?go-get=1")
		if h.CodeHost == "" {
			all = append(all, prefix+m.at+"/info/refs?service=git-upload-pack")
		}
	}
	return all
}
