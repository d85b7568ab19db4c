package fakeupstream

import (
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A VCS is an http.Handler that serves git repositories as code hosting sites do: cloning and fetching
// over HTTP through git's own http-backend, and a page with a go-import tag
// (https://go.dev/ref/mod#vcs-find) for every path at or below a repository.
//
// One VCS serves any number of hosts: it takes the host from the request. Repository URLs work with and
// without ".git" at their end. Its fields must not be changed once it serves.
type VCS struct {
	// Dir holds the bare repositories, each at HOST/PATH.git as the path of the module is HOST/PATH; see
	// Universe.Git. Empty means that there are none.
	Dir string

	// CodeHosts maps hosts that have pages only to the host that has their repositories, below the paths
	// that they have in Dir: a page at go.example/x/y leads to https://CODEHOST/x/y.git. Nil means that
	// every host has its own.
	CodeHosts map[string]string

	// Stderr gets the complaints of git. Nil means that they are lost.
	Stderr io.Writer
}

// ServeHTTP answers 404 for a path that belongs to no repository.
func (v *VCS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	root, rest, ok := v.find(hostname(r.Host), r.URL.Path)
	switch {
	case !ok || isGitRequest(r, rest) && v.CodeHosts[hostname(r.Host)] != "":
		http.Error(w, "not found: no repository at "+r.Host+r.URL.Path, http.StatusNotFound)
	case isGitRequest(r, rest):
		v.serveGit(w, r, root, rest)
	default:
		writePage(w, goImport(root, "git", v.repositoryURL(r, root)))
	}
}

// find returns the path of the repository that a URL belongs to, that of the module, without ".git",
// and the rest of the path.
func (v *VCS) find(host, urlPath string) (root, rest string, ok bool) {
	if root, rest, ok = v.findBelow(host, urlPath); ok {
		return root, rest, ok
	}
	for _, pages := range slices.Sorted(maps.Keys(v.CodeHosts)) {
		if v.CodeHosts[pages] == host && !ok {
			root, rest, ok = v.findBelow(pages, urlPath)
		}
	}
	return root, rest, ok
}

// findBelow is find for the modules below one host.
func (v *VCS) findBelow(host, urlPath string) (root, rest string, ok bool) {
	name := host + strings.TrimSuffix(urlPath, "/")
	if v.Dir == "" || host == "" || !fs.ValidPath(name) {
		return "", "", false
	}
	for end := range len(name) + 1 {
		if end < len(name) && name[end] != '/' {
			continue
		}
		root := strings.TrimSuffix(name[:end], ".git")
		if isRepository(v.repository(root)) {
			return root, strings.TrimPrefix(name[end:], "/"), true
		}
	}
	return "", "", false
}

func (v *VCS) repository(root string) string {
	return filepath.Join(v.Dir, filepath.FromSlash(root)+".git")
}

func isRepository(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "HEAD"))
	return err == nil && info.Mode().IsRegular()
}

// hostname cuts the port off a Host header.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(host)
}

// isGitRequest tells git's requests from those for packages below a repository's root,
// by gitprotocol-http(5). Those for the files of a repository are what git asks a host for that does not
// know its protocol.
func isGitRequest(r *http.Request, rest string) bool {
	switch {
	case rest == "git-upload-pack" || rest == "git-receive-pack":
		return r.Method == http.MethodPost
	case r.URL.Query().Has("go-get"):
		return false
	}
	return rest == "info/refs" || rest == "HEAD" || strings.HasPrefix(rest, "objects/")
}

// repositoryURL returns what the page of a repository says to clone.
func (v *VCS) repositoryURL(r *http.Request, root string) string {
	// The port of the request stays in the URL, so that a test server on any port can be cloned from.
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if code := v.CodeHosts[hostname(host)]; code != "" {
		host = code
	}
	return scheme + "://" + host + "/" + pathBelowHost(root) + ".git"
}

// pathBelowHost returns a module's path below its host.
func pathBelowHost(root string) string {
	_, path, _ := strings.Cut(root, "/")
	return path
}

// goImport returns the tag by which a page says where the repository of an import path is.
func goImport(prefix, vcs, url string) string {
	return fmt.Sprintf(`<meta name="go-import" content="%s %s %s">`, html.EscapeString(prefix), vcs, html.EscapeString(url))
}

// writePage answers with a page for people and for the go command.
func writePage(w http.ResponseWriter, head string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html><head>%s</head><body>Nothing to see here.</body></html>\n", head)
}

func (v *VCS) serveGit(w http.ResponseWriter, r *http.Request, root, rest string) {
	git, errGit := exec.LookPath("git")
	dir, errDir := filepath.Abs(v.Dir)
	if err := errors.Join(errGit, errDir); err != nil {
		http.Error(w, "cannot serve repositories: "+err.Error(), http.StatusInternalServerError)
		return
	}
	stderr := v.Stderr
	if stderr == nil {
		stderr = io.Discard
	}
	backend := cgi.Handler{
		Path:   git,
		Args:   []string{"http-backend"},
		Dir:    dir,
		Env:    backendEnv(dir, r.Header.Get("Git-Protocol")),
		Logger: log.New(stderr, "", 0),
		Stderr: stderr,
	}
	backend.ServeHTTP(w, withPath(r, "/"+root+".git/"+rest))
}

// backendEnv returns what git-http-backend(1) reads beside the variables of CGI.
func backendEnv(dir, protocol string) []string {
	return append(isolatedGit(),
		"GIT_PROJECT_ROOT="+dir,
		"GIT_HTTP_EXPORT_ALL=1",
		"GIT_PROTOCOL="+protocol,
	)
}

// isolatedGit returns an environment in which git reads no configuration of the machine, and serves
// repositories whoever owns them.
func isolatedGit() []string {
	return []string{
		"HOME=/nonexistent",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=safe.directory",
		"GIT_CONFIG_VALUE_0=*",
	}
}

func withPath(r *http.Request, path string) *http.Request {
	r2 := *r
	url := *r.URL
	url.Path, url.RawPath = path, ""
	r2.URL = &url
	return &r2
}
