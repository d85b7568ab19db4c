package verdict

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/simrun/simrun/record"
)

// Leaks returns which of the project's private module paths were told to hosts for which outside returns
// true, one Leak per path and host, in the order in which it happened. It looks at requests for modules
// (also where a proxy has them below a path of its own), at lookups in a checksum database, at ?go-get=1
// pages and at git's requests. A request for a package tells the path of its module.
//
// A prefix of a private path, as the go command asks for when it looks for the module that a package is
// in, is told as such if the first element of the path is itself a host inside, and the host that saw it
// saw no whole path below it.
func Leaks(cell *record.Cell, project record.Project, outside func(host string) bool) []record.Leak {
	known := newPrivatePaths(project.Private, outside)
	if len(known.whole) == 0 {
		return nil
	}
	var leaks []record.Leak
	seen := make(map[[2]string]bool)
	for i := range cell.Requests {
		r := &cell.Requests[i]
		host := seer(r)
		if !outside(host) {
			continue
		}
		told := known.find(r)
		if told == "" || seen[[2]string{told, host}] {
			continue
		}
		seen[[2]string{told, host}] = true
		leaks = append(leaks, record.Leak{Module: told, Host: host, How: r.Method + " " + r.Path})
	}
	return slices.DeleteFunc(leaks, func(l record.Leak) bool { return toldWhole(leaks, l, known) })
}

// seer returns the host that read a request: the server that answered it, where that is known.
func seer(r *record.Request) string {
	if r.Server != "" {
		return bareHost(r.Server)
	}
	return bareHost(r.Host)
}

// toldWhole reports whether l is a prefix of a path that the same host saw whole.
func toldWhole(leaks []record.Leak, l record.Leak, known privatePaths) bool {
	if !known.prefix[l.Module] {
		return false
	}
	return slices.ContainsFunc(leaks, func(other record.Leak) bool {
		return other.Host == l.Host && strings.HasPrefix(other.Module, l.Module+"/")
	})
}

// privatePaths are the paths to look for.
type privatePaths struct {
	whole  map[string]bool // the private modules
	prefix map[string]bool // what is above them, down from a host inside, unless it is a module itself
}

func newPrivatePaths(modules []string, outside func(string) bool) privatePaths {
	p := privatePaths{whole: make(map[string]bool), prefix: make(map[string]bool)}
	for _, m := range modules {
		p.whole[m] = true
	}
	for _, m := range modules {
		if host, _, _ := strings.Cut(m, "/"); outside(host) {
			continue
		}
		for above := path.Dir(m); above != "."; above = path.Dir(above) {
			if !p.whole[above] {
				p.prefix[above] = true
			}
		}
	}
	return p
}

// find returns the private path that a request tells, or "".
func (p privatePaths) find(r *record.Request) string {
	host, urlPath, query := target(r)
	if modulePath, ok := protocolPath(urlPath); ok {
		return p.findBelow(modulePath)
	}
	if query == "go-get=1" || isGit(urlPath) {
		return p.match(host + repository(urlPath))
	}
	return ""
}

// findBelow returns the private path that begins at any element of the escaped path escaped: a module
// proxy may have modules below a path of its own.
func (p privatePaths) findBelow(escaped string) string {
	for rest, more := escaped, true; more; _, rest, more = strings.Cut(rest, "/") {
		if unescaped, err := module.UnescapePath(rest); err == nil {
			if told := p.match(unescaped); told != "" {
				return told
			}
		}
	}
	return ""
}

// match returns the private module that is seen, or that seen is below of, or seen itself if it is a
// prefix to look for, or "".
func (p privatePaths) match(seen string) string {
	for at := seen; at != "." && at != "/"; at = path.Dir(at) {
		if p.whole[at] {
			return at
		}
	}
	if p.prefix[seen] {
		return seen
	}
	return ""
}

// target returns the host, path and query that a request is about. A forward proxy is asked for whole URLs.
func target(r *record.Request) (host, urlPath, query string) {
	u, err := url.ParseRequestURI(r.Path)
	if err != nil {
		return bareHost(r.Host), r.Path, ""
	}
	host = r.Host
	if u.Host != "" {
		host = u.Host
	}
	return bareHost(host), u.Path, u.RawQuery
}

// protocolPath returns the escaped module path in the path of a request to a module proxy
// (https://go.dev/ref/mod#goproxy-protocol) or to a checksum database (https://go.dev/design/25530-sumdb).
// The paths of a proxy or database that does not stand at the root come with what it stands below.
func protocolPath(urlPath string) (string, bool) {
	trimmed := strings.Trim(urlPath, "/")
	if _, asked, ok := strings.Cut("/"+trimmed, "/lookup/"); ok {
		modulePath, _, found := strings.Cut(asked, "@")
		return modulePath, found
	}
	if before, _, ok := strings.Cut(trimmed, "/@v/"); ok {
		return before, true
	}
	return strings.CutSuffix(trimmed, "/@latest")
}

// gitServices are what the smart HTTP protocol of git appends to the URL of a repository
// (https://git-scm.com/docs/http-protocol).
var gitServices = []string{"/info/refs", "/git-upload-pack"}

func isGit(urlPath string) bool {
	return slices.ContainsFunc(gitServices, func(s string) bool { return strings.HasSuffix(urlPath, s) })
}

// repository returns the path of a repository as it would stand in a module path.
func repository(urlPath string) string {
	for _, s := range gitServices {
		urlPath = strings.TrimSuffix(urlPath, s)
	}
	return strings.TrimSuffix(strings.TrimSuffix(urlPath, "/"), ".git")
}

// bareHost returns host in lower case and without a port.
func bareHost(host string) string {
	return strings.ToLower((&url.URL{Host: host}).Hostname())
}
