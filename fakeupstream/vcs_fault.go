package fakeupstream

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/simrun/simrun/scenarios"
)

// Fault returns what puts a fault before v. It asks bites about each request that the fault is about, from
// many goroutines at once, and leaves those alone for which bites says no. If the fault is about what is in
// the repositories, altered holds those to be served instead: see [Universe.AlteredGit].
//
// A request is about the page of a module if its query has go-get, and else about its repository.
func (v *VCS) Fault(f scenarios.VCSFault, altered string, bites func() bool) Middleware {
	return func(next http.Handler) http.Handler {
		answer := v.answer(f, altered, next)
		fetch := answer
		if pack := packs[f.Pack]; pack != nil {
			fetch = pack(answer)
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			root, rest, ok := v.find(hostname(r.Host), r.URL.Path)
			fetches := false
			if rest == "git-upload-pack" {
				fetches, r = isFetch(r)
			}
			switch {
			case !ok || !f.Concerns(root) || !changes(f, r, rest, fetches) || !bites():
				next.ServeHTTP(w, r)
			case r.URL.Query().Has("go-get"):
				writePage(w, v.wrongTag(f, r, root))
			case fetches:
				fetch.ServeHTTP(w, r)
			default:
				answer.ServeHTTP(w, r)
			}
		})
	}
}

// changes reports whether a fault changes the answer to a request.
func changes(f scenarios.VCSFault, r *http.Request, rest string, fetches bool) bool {
	switch {
	case r.URL.Query().Has("go-get"):
		return f.Meta != "" || f.Repositories != ""
	case isGitRequest(r, rest):
		return f.Repository != "" || f.Altered() || f.Pack != "" && fetches
	}
	// The go command looks at the page for people when git has failed: loadRefs in
	// cmd/go/internal/modfetch/codehost/git.go.
	return f.Repository == scenarios.RepositoryNotFound
}

// wrongTag returns the tag of a page that is wrong, or none.
func (v *VCS) wrongTag(f scenarios.VCSFault, r *http.Request, root string) string {
	url := v.repositoryURL(r, root)
	switch f.Meta {
	case scenarios.MetaMissing:
		return "<title>Sign in</title>"
	case scenarios.MetaMalformed:
		return strings.TrimSuffix(goImport(root, "git", url), `">`)
	case scenarios.MetaWrongPrefix:
		return goImport("elsewhere.example/"+pathBelowHost(root), "git", url)
	case scenarios.MetaUnknownVCS:
		return goImport(root, "cvs", url)
	case scenarios.MetaPlainHTTP:
		return goImport(root, "git", strings.Replace(url, "https://", "http://", 1))
	}
	return goImport(root, "git", "https://"+f.Repositories+"/"+pathBelowHost(root)+".git")
}

// answer returns what answers git while a fault is in force, packfiles apart.
func (v *VCS) answer(f scenarios.VCSFault, altered string, next http.Handler) http.Handler {
	if f.Altered() {
		other := *v
		other.Dir = altered
		next = &other
	}
	if wrong := answers[f.Repository]; wrong != nil {
		next = wrong(next)
	}
	return next
}

// answers are how hosts answer git. The texts are those of well-known hosting sites; git shows plain text to
// its user, in lines that begin with "remote:".
var answers = map[scenarios.Repository]Middleware{
	scenarios.RepositoryNotFound: Status(http.StatusNotFound, "Repository not found.\n", 0),
	scenarios.RepositoryForbidden: Status(http.StatusForbidden, "The 'acme' organization has enabled or enforced SAML SSO.\n"+
		"To access this repository, you must use the HTTPS remote with a personal access token\n"+
		"or SSH with an SSH key and passphrase\nthat has been authorized for this organization.\n", 0),
	scenarios.RepositoryUnauthorized: unauthorized,
	scenarios.RepositoryRateLimited: Status(http.StatusTooManyRequests,
		"Short term bandwidth rate limit exceeded for your address. Please wait, and try again.\n", 0),
	scenarios.RepositoryRemoteError: remoteError,
	scenarios.RepositorySignInPage: Status(http.StatusOK,
		"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in to go on.</body></html>\n", 0),
	scenarios.RepositoryDumb: dumb,
}

// unauthorized demands credentials and refuses all.
func unauthorized(next http.Handler) http.Handler {
	refusal := Status(http.StatusUnauthorized,
		"Invalid username or token. Password authentication is not supported for Git operations.\n", 0)(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="Git repositories"`)
		refusal.ServeHTTP(w, r)
	})
}

// remoteError says in git's own protocol that the host cannot serve: the line ERR of gitprotocol-pack(5).
func remoteError(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := "application/x-git-upload-pack-result"
		if r.Method == http.MethodGet {
			kind = "application/x-git-upload-pack-advertisement"
		}
		w.Header().Set("Content-Type", kind)
		io.WriteString(w, pktLine("ERR The git server is currently unable to handle this request due to load.\n"))
	})
}

// dumb lets git take a repository for a folder of files: http-backend serves it as one to a client that does
// not ask for a service.
func dumb(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r2 := withPath(r, r.URL.Path)
		r2.URL.RawQuery = ""
		next.ServeHTTP(w, r2)
	})
}

// packs are what becomes of packfiles. The last two hold the whole answer in memory.
var packs = map[scenarios.Pack]Middleware{
	scenarios.PackCut:     CutAfter(scenarios.Amount{Share: 0.5}),
	scenarios.PackStalled: StallAfter(scenarios.Amount{Share: 0.5}),
	scenarios.PackAborted: editPack(abortPack),
	scenarios.PackCorrupt: editPack(corruptPack),
}

// isFetch reports whether a request for git-upload-pack is for a packfile, and returns the request to be
// served: the body has been looked at.
func isFetch(r *http.Request) (bool, *http.Request) {
	// The commands of protocol version 2 are ls-refs and fetch; before it, there is only what begins with a
	// want. Both come first.
	const enough = 4 << 10
	body := bufio.NewReaderSize(r.Body, enough)
	head, _ := body.Peek(enough)
	r2 := *r
	r2.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
	if r.Header.Get("Content-Encoding") == "gzip" {
		head = unzipped(head)
	}
	return bytes.Contains(head, []byte("command=fetch")) || bytes.HasPrefix(head[min(4, len(head)):], []byte("want ")), &r2
}

// unzipped returns the beginning of what has been compressed into data.
func unzipped(data []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	head, _ := io.ReadAll(z) // ends where the data does
	return head
}

// editPack changes an answer when it is whole.
func editPack(edit func([]byte) []byte) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			whole := &heldAnswer{header: http.Header{}, status: http.StatusOK}
			next.ServeHTTP(whole, r)
			maps.Copy(w.Header(), whole.header)
			w.Header().Del("Content-Length")
			w.WriteHeader(whole.status)
			w.Write(edit(whole.body.Bytes()))
		})
	}
}

// A heldAnswer is an answer that is not sent yet.
type heldAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *heldAnswer) Header() http.Header            { return a.header }
func (a *heldAnswer) WriteHeader(status int)         { a.status = status }
func (a *heldAnswer) Write(data []byte) (int, error) { return a.body.Write(data) }

// corruptPack changes the byte in the middle of the packfile. Its end would not do: git keeps the objects that
// come before it, and the go command's second try needs no others.
func corruptPack(answer []byte) []byte {
	left := packSize(answer) / 2
	eachPack(answer, func(start, end int) bool {
		if left < end-start {
			answer[start+left] ^= 0xff
			return false
		}
		left -= end - start
		return true
	})
	return answer
}

// abortPack ends the packfile half way, with the words of upload-pack.c in git's sources.
func abortPack(answer []byte) []byte {
	left := packSize(answer) / 2
	eachPack(answer, func(start, end int) bool {
		if left < end-start {
			half := string(answer[start : start+left])
			answer = append(answer[:start-5:start-5], pktLine("\x01"+half)...) // instead of the line that has more
			return false
		}
		left -= end - start
		return true
	})
	return append(answer, pktLine("\x03aborting due to possible repository corruption on the remote side.")...)
}

// packSize returns how many bytes of a packfile are in an answer.
func packSize(answer []byte) (size int) {
	eachPack(answer, func(start, end int) bool {
		size += end - start
		return true
	})
	return size
}

// eachPack calls each with where the data of a packfile is in an answer to a fetch, in the order of its lines,
// until each returns false. The lines are those of side-band-64k in gitprotocol-pack(5).
func eachPack(answer []byte, each func(start, end int) bool) {
	for at := 0; at+4 <= len(answer); {
		length, err := strconv.ParseUint(string(answer[at:at+4]), 16, 16)
		if err != nil || at+int(length) > len(answer) {
			return
		}
		const band = 4 // where a line says what it is
		if length > band+1 && answer[at+band] == 1 && !each(at+band+1, at+int(length)) {
			return
		}
		at += max(int(length), 4)
	}
}

// pktLine returns a text with its length before it, see gitprotocol-common(5).
func pktLine(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }
