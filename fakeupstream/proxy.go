package fakeupstream

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// A ModuleProxy is an http.Handler that speaks the GOPROXY protocol
// (https://go.dev/ref/mod#goproxy-protocol) at the root of its host.
// Its fields must not be changed once it serves.
type ModuleProxy struct {
	// Tree holds the modules, laid out as below GOMODCACHE/cache/download. Files are opened as they are
	// asked for. The versions of a module are those that have an .info file; "list" files are not read,
	// because the go command's own cache lists versions there of which it has no more than the go.mod.
	Tree fs.FS

	// Knows reports whether the proxy has the module with this path. It is what keeps private modules
	// from a public proxy. Nil means that it has whatever is in Tree.
	Knows func(path string) bool

	// ChecksumDBs are served below /sumdb/NAME/, as https://go.dev/design/25530-sumdb#proxying-a-checksum-database
	// has it. A go command goes to any other database by itself.
	ChecksumDBs []*ChecksumDB
}

// ServeHTTP answers 404 for what the proxy does not have and 400 for a path that is not properly escaped,
// both with the reason as text, which the go command shows to its user.
func (p *ModuleProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/sumdb/") {
		p.serveChecksumDB(w, r)
		return
	}
	q, err := parseQuery(r.URL.Path)
	if err != nil {
		http.Error(w, "bad request: "+err.Error(), http.StatusBadRequest)
		return
	}
	if err := p.answer(w, r, q); err != nil {
		reportMissing(w, q, err)
	}
}

func (p *ModuleProxy) serveChecksumDB(w http.ResponseWriter, r *http.Request) {
	for _, db := range p.ChecksumDBs {
		prefix := "/sumdb/" + db.Name()
		if r.URL.Path == prefix+"/supported" {
			w.WriteHeader(http.StatusOK)
			return
		}
		if strings.HasPrefix(r.URL.Path, prefix+"/") {
			http.StripPrefix(prefix, db).ServeHTTP(w, r)
			return
		}
	}
	http.Error(w, "not found: checksum database is not proxied here", http.StatusNotFound)
}

// A query is what a request to a module proxy asks for.
type query struct {
	module   string // path, not escaped
	version  string // not escaped; empty for endpointList and endpointLatest
	endpoint endpoint
}

// An endpoint is a kind of file that a module proxy has.
type endpoint string

const (
	endpointList   endpoint = "list"
	endpointLatest endpoint = "@latest"
	endpointInfo   endpoint = ".info"
	endpointMod    endpoint = ".mod"
	endpointZip    endpoint = ".zip"
)

func (e endpoint) contentType() string {
	switch e {
	case endpointInfo, endpointLatest:
		return "application/json"
	case endpointZip:
		return "application/zip"
	}
	return "text/plain; charset=UTF-8"
}

// parseQuery reads the path of a URL. Whatever it returns without an error is safe to use as a file name.
func parseQuery(urlPath string) (query, error) {
	escaped, file, err := cutEndpoint(strings.TrimPrefix(urlPath, "/"))
	if err != nil {
		return query{}, err
	}
	name, err := module.UnescapePath(escaped)
	if err != nil {
		return query{}, err
	}
	if file == string(endpointList) || file == string(endpointLatest) {
		return query{module: name, endpoint: endpoint(file)}, nil
	}
	ext := endpoint(path.Ext(file))
	if ext != endpointInfo && ext != endpointMod && ext != endpointZip {
		return query{}, fmt.Errorf("unknown endpoint %q", file)
	}
	version, err := module.UnescapeVersion(strings.TrimSuffix(file, string(ext)))
	if err != nil {
		return query{}, err
	}
	return query{module: name, version: version, endpoint: ext}, nil
}

// cutEndpoint splits "PATH/@latest" and "PATH/@v/FILE".
func cutEndpoint(urlPath string) (escaped, file string, err error) {
	if escaped, ok := strings.CutSuffix(urlPath, "/@latest"); ok {
		return escaped, string(endpointLatest), nil
	}
	escaped, file, ok := strings.Cut(urlPath, "/@v/")
	if !ok {
		return "", "", fmt.Errorf("no module query in %q", urlPath)
	}
	return escaped, file, nil
}

// dir returns the directory of the module's files in a tree.
func (q query) dir() (string, error) {
	escaped, err := module.EscapePath(q.module)
	if err != nil {
		return "", err
	}
	return escaped + "/@v", nil
}

// answer writes the answer to q, or returns an error and has written nothing.
func (p *ModuleProxy) answer(w http.ResponseWriter, r *http.Request, q query) error {
	if p.Knows != nil && !p.Knows(q.module) {
		return fs.ErrNotExist
	}
	dir, err := q.dir()
	if err != nil {
		return err
	}
	switch q.endpoint {
	case endpointList:
		return p.serveList(w, dir)
	case endpointLatest:
		return p.serveLatest(w, r, dir)
	}
	return p.serveVersion(w, r, dir, q.version, q.endpoint)
}

func (p *ModuleProxy) serveList(w http.ResponseWriter, dir string) error {
	versions, err := p.versions(dir)
	if err != nil {
		return err
	}
	versions = slices.DeleteFunc(versions, module.IsPseudoVersion)
	var list strings.Builder
	for _, v := range versions {
		list.WriteString(v + "\n")
	}
	w.Header().Set("Content-Type", endpointList.contentType())
	w.Header().Set("Content-Length", strconv.Itoa(list.Len()))
	io.WriteString(w, list.String())
	return nil
}

func (p *ModuleProxy) serveLatest(w http.ResponseWriter, r *http.Request, dir string) error {
	versions, err := p.versions(dir)
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return fs.ErrNotExist
	}
	return p.serveVersion(w, r, dir, latest(versions), endpointInfo)
}

// versions returns the versions that have an .info file, in the order of semver.
func (p *ModuleProxy) versions(dir string) ([]string, error) {
	entries, err := fs.ReadDir(p.Tree, dir)
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, e := range entries {
		escaped, ok := strings.CutSuffix(e.Name(), string(endpointInfo))
		if !ok {
			continue
		}
		// A module cache also holds the .info files of branches and commits.
		if v, err := module.UnescapeVersion(escaped); err == nil && module.CanonicalVersion(v) == v {
			versions = append(versions, v)
		}
	}
	semver.Sort(versions)
	return versions, nil
}

// latest returns the newest release of sorted versions; without one the newest pre-release, and without
// one of these the newest pseudo-version. versions must not be empty.
func latest(versions []string) string {
	rank := func(v string) int {
		switch {
		case module.IsPseudoVersion(v):
			return 0
		case semver.Prerelease(v) != "":
			return 1
		}
		return 2
	}
	best := versions[0]
	for _, v := range versions[1:] {
		if rank(v) >= rank(best) {
			best = v
		}
	}
	return best
}

func (p *ModuleProxy) serveVersion(w http.ResponseWriter, r *http.Request, dir, version string, e endpoint) error {
	escaped, err := module.EscapeVersion(version)
	if err != nil {
		return err
	}
	f, err := p.Tree.Open(dir + "/" + escaped + string(e))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fs.ErrNotExist
	}
	// The length is said in advance, so that a client can tell a body that was cut, as with real proxies.
	w.Header().Set("Content-Type", e.contentType())
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	if r.Method == http.MethodGet {
		io.Copy(w, f)
	}
	return nil
}

// reportMissing answers a query that could not be answered, in the words of public proxies.
func reportMissing(w http.ResponseWriter, q query, err error) {
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		http.Error(w, "internal server error: "+err.Error(), http.StatusInternalServerError)
	case q.version == "":
		text := fmt.Sprintf("not found: module %s: no matching versions for query \"latest\"", q.module)
		http.Error(w, text, http.StatusNotFound)
	default:
		text := fmt.Sprintf("not found: %s@%s: invalid version: unknown revision %[2]s", q.module, q.version)
		http.Error(w, text, http.StatusNotFound)
	}
}
