package fakeupstream

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	modzip "golang.org/x/mod/zip"
)

// A CachingProxy is an http.Handler that has nothing of its own: what it is asked for it fetches from another
// module proxy, and keeps what it has got for as long as it lives. Lookups in a checksum database below
// /sumdb/NAME/ are fetched from https://NAME. Its exported fields must not be changed once it serves.
type CachingProxy struct {
	// Upstream is the URL of the other module proxy, without a slash at its end.
	Upstream string

	// Client fetches. Nil means http.DefaultClient.
	Client *http.Client

	mu   sync.Mutex
	kept map[string][]byte // by path
}

// ServeHTTP passes on the upstream's errors as they are, and answers 502 with the reason as text if there is
// no answer, or one of more than MaxZipFile of golang.org/x/mod/zip bytes.
func (p *CachingProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	body, ok := p.cached(r.URL.EscapedPath())
	if !ok {
		status, fetched, err := p.fetch(r)
		if err != nil {
			http.Error(w, fmt.Sprintf("cannot fetch %s: %v", r.URL.Path, err), http.StatusBadGateway)
			return
		}
		if status != http.StatusOK {
			Status(status, string(fetched), 0)(nil).ServeHTTP(w, r)
			return
		}
		p.keep(r.URL.EscapedPath(), fetched)
		body = fetched
	}
	if q, err := parseQuery(r.URL.Path); err == nil {
		w.Header().Set("Content-Type", q.endpoint.contentType())
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	if r.Method == http.MethodGet {
		w.Write(body)
	}
}

func (p *CachingProxy) cached(path string) (body []byte, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, ok = p.kept[path]
	return body, ok
}

func (p *CachingProxy) keep(path string, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept == nil {
		p.kept = map[string][]byte{}
	}
	p.kept[path] = body
}

// fetch asks the upstream. Clients that ask for the same thing at once have it fetched once each.
func (p *CachingProxy) fetch(r *http.Request) (status int, body []byte, err error) {
	url := p.Upstream + r.URL.EscapedPath()
	if inDatabase, ok := strings.CutPrefix(r.URL.EscapedPath(), "/sumdb/"); ok {
		url = "https://" + inDatabase
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	client := p.Client
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	size := response.ContentLength
	if size <= modzip.MaxZipFile {
		body, err = io.ReadAll(io.LimitReader(response.Body, modzip.MaxZipFile+1))
		size = int64(len(body))
	}
	if size > modzip.MaxZipFile {
		return 0, nil, fmt.Errorf("%s answers with more than %d bytes, which no module has", url, int64(modzip.MaxZipFile))
	}
	return response.StatusCode, body, err
}
