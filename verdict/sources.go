package verdict

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/simrun/simrun/record"
)

// A Source says where modules of a cell came from, and which sources did not have them before.
type Source struct {
	Host    string    // that sent the zip files, or has the repositories; "" if it was the client's own disk, or nobody
	Missing bool      // nobody did: the modules are not in the module cache at the end
	After   []Refusal // in the order in which the go command tried them
	Modules []string  // path@version
}

// A Refusal is a source that did not give a module, and so let the go command try the next one, or end.
type Refusal struct {
	Host string
	Why  string // the status of its answer, or what there was instead
}

// Sources returns the sources of the modules that a cell has, or wanted to have, in the order in which they were
// first asked for. Modules with the same sources are put together. It looks at zip files, which go after the
// go.mod files, and at git; what the client has in its cache by then, it does not ask anybody for.
func Sources(run *record.Run, cell *record.Cell) (all []Source) {
	s := newSourcing(run, cell)
	for _, m := range s.wanted {
		one := s.source(m)
		same := func(other Source) bool {
			return other.Host == one.Host && other.Missing == one.Missing && slices.Equal(other.After, one.After)
		}
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i].Modules = append(all[i].Modules, one.Modules...)
			continue
		}
		all = append(all, one)
	}
	return all
}

// String returns the source as a line of text, such as "goproxy.io: 3 modules, after goproxy.cn (404 Not Found)".
func (s *Source) String() string {
	host := s.Host
	switch {
	case s.Missing:
		host = "nobody"
	case host == "":
		host = "the client's own disk"
	}
	modules := fmt.Sprintf("%d modules", len(s.Modules))
	if len(s.Modules) == 1 {
		modules = s.Modules[0]
	}
	var after []string
	for _, r := range s.After {
		after = append(after, fmt.Sprintf("%s (%s)", r.Host, r.Why))
	}
	if len(after) == 0 {
		return host + ": " + modules
	}
	return host + ": " + modules + ", after " + strings.Join(after, ", ")
}

// A sourcing looks for the sources of one cell's modules.
type sourcing struct {
	cell    *record.Cell
	proxies []string // hosts of the config's GOPROXY, in its order
	wanted  []module.Version
	zips    map[module.Version][]*record.Request
	git     map[string]string // path of a module: host that sent objects of its repository
}

func newSourcing(run *record.Run, cell *record.Cell) *sourcing {
	s := &sourcing{cell: cell, proxies: proxyHosts(run, cell.Config), zips: map[module.Version][]*record.Request{}, git: map[string]string{}}
	for i := range cell.Requests {
		r := &cell.Requests[i]
		host, urlPath, _ := target(r)
		switch m, isZip := zipOf(urlPath); {
		case s.forwarded(r):
		case isZip:
			s.want(m)
			s.zips[m] = append(s.zips[m], r)
		case r.Method == "POST" && isGit(urlPath) && r.Status == 200:
			s.git[host+repository(urlPath)] = seer(r)
		}
	}
	for _, m := range cell.Modules {
		if m.Sum != "" {
			s.want(module.Version{Path: m.Path, Version: m.Version})
		}
	}
	return s
}

func (s *sourcing) want(m module.Version) {
	if !slices.Contains(s.wanted, m) {
		s.wanted = append(s.wanted, m)
	}
}

// forwarded reports whether it was a module proxy that made a request, to its upstream.
func (s *sourcing) forwarded(r *record.Request) bool {
	if r.Conn < 0 || r.Conn >= len(s.cell.Conns) {
		return false
	}
	from := s.cell.Conns[r.Conn].From
	return from != "" && slices.ContainsFunc(s.cell.Requests, func(other record.Request) bool {
		return other.Server == from && other.Path == r.Path
	})
}

// zipOf returns the module whose zip file the path of a request to a module proxy is.
func zipOf(urlPath string) (m module.Version, ok bool) {
	escaped, file, ok1 := strings.Cut(strings.TrimPrefix(urlPath, "/"), "/@v/")
	version, ok2 := strings.CutSuffix(file, ".zip")
	var err1, err2 error
	m.Path, err1 = module.UnescapePath(escaped)
	m.Version, err2 = module.UnescapeVersion(version)
	return m, ok1 && ok2 && err1 == nil && err2 == nil
}

// proxyHosts returns the hosts of a config's GOPROXY. One that does not set it has that of the release.
func proxyHosts(run *record.Run, config string) (hosts []string) {
	list, set := configEnv(run, config)["GOPROXY"]
	if !set || list == "" {
		return []string{run.Vars["go-proxy"]}
	}
	for _, entry := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '|' }) {
		if host := hostOf(entry); strings.Contains(entry, "://") && host != "" {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// source returns the source of one module.
func (s *sourcing) source(m module.Version) Source {
	one := Source{Modules: []string{m.String()}, Missing: !slices.ContainsFunc(s.cell.Modules, func(r record.Module) bool {
		return r.Path == m.Path && r.Version == m.Version && r.Sum != ""
	})}
	tried := map[string]string{}
	for _, r := range s.zips[m] {
		host := seer(r)
		if isWhole(r) && !one.Missing {
			one.Host = host
			break
		}
		tried[host] = refusal(r)
	}
	if len(s.zips[m]) > 0 {
		one.After = s.refusals(one.Host, tried)
	}
	if one.Host == "" && !one.Missing {
		one.Host = s.git[m.Path]
	}
	return one
}

// refusals puts what was tried before a host into the order of GOPROXY, with the proxies that no request
// reached.
func (s *sourcing) refusals(host string, tried map[string]string) (all []Refusal) {
	for _, proxy := range s.proxies {
		if proxy == host {
			break
		}
		why, asked := tried[proxy]
		if !asked && s.unreached(proxy) {
			why = "no connection"
		}
		if why != "" {
			all = append(all, Refusal{proxy, why})
		}
	}
	return all
}

// unreached reports whether the client has tried to connect to a host and never could.
func (s *sourcing) unreached(host string) bool {
	asked := func(q record.Query) bool { return bareHost(q.Name) == host }
	reached := func(r record.Request) bool { return bareHost(r.Host) == host }
	tried := func(c record.Conn) bool { return c.Host == host }
	return !slices.ContainsFunc(s.cell.Requests, reached) &&
		(slices.ContainsFunc(s.cell.Queries, asked) || slices.ContainsFunc(s.cell.Conns, tried))
}

// isWhole reports whether the answer to a request was what had been asked for, and came to its end.
func isWhole(r *record.Request) bool {
	return r.Status == 200 && r.End != 0 && r.Error == ""
}

// statusTexts are the words that go with the statuses of servers that refuse something. net/http has all of them, and
// a network that a verdict must not have.
var statusTexts = map[int]string{
	400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 410: "Gone",
	429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}

// refusal says how the answer to a request did not give what was asked for.
func refusal(r *record.Request) string {
	switch {
	case r.Status == 0:
		return "no answer"
	case isWhole(r):
		return "sent, and not accepted"
	case r.Status == 200:
		return "broke off"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", r.Status, statusTexts[r.Status]))
}
