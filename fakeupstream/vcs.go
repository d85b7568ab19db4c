package fakeupstream

import (
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A VCS is an http.Handler that serves git repositories as code hosting sites do: cloning and fetching
// over HTTP through git's own http-backend, and a page with a go-import tag
// (https://go.dev/ref/mod#vcs-find) for every path at or below a repository.
//
// One VCS serves any number of hosts: it takes the host from the request. Repository URLs work with and
// without ".git" at their end. Its fields must not be changed once it serves.
type VCS struct {
	// Dir holds the bare repositories, each at HOST/PATH.git; see Universe.Git. Empty means that there
	// are none.
	Dir string

	// Stderr gets the complaints of git. Nil means that they are lost.
	Stderr io.Writer
}

// ServeHTTP answers 404 for a path that belongs to no repository.
func (v *VCS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	root, rest, ok := v.find(hostname(r.Host), r.URL.Path)
	if !ok {
		http.Error(w, "not found: no repository at "+r.Host+r.URL.Path, http.StatusNotFound)
		return
	}
	if isGitRequest(r, rest) {
		v.serveGit(w, r, root, rest)
		return
	}
	serveGoImport(w, r, root)
}

// find returns the path of the repository that a URL belongs to, host included and without ".git",
// and the rest of the path.
func (v *VCS) find(host, urlPath string) (root, rest string, ok bool) {
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
// by gitprotocol-http(5).
func isGitRequest(r *http.Request, rest string) bool {
	switch rest {
	case "info/refs":
		return r.URL.Query().Has("service")
	case "git-upload-pack", "git-receive-pack":
		return r.Method == http.MethodPost
	}
	return false
}

// serveGoImport answers with the page for people and for the go command.
func serveGoImport(w http.ResponseWriter, r *http.Request, root string) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	_, repository, _ := strings.Cut(root, "/")
	// The port of the request stays in the URL, so that a test server on any port can be cloned from.
	url := fmt.Sprintf("%s://%s/%s.git", scheme, r.Host, repository)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html><head><meta name=\"go-import\" content=\"%s git %s\"></head><body>%[1]s</body></html>\n",
		html.EscapeString(root), html.EscapeString(url))
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
