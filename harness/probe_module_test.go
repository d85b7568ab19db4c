//go:build linux

package harness

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"
)

// A content is what a client makes of a body: a text, a module's zip file, or an answer of a checksum database.
type content struct {
	Text   string `json:",omitempty"` // if it is one
	ZipOf  string `json:",omitempty"` // module@version, if it is a zip file
	ZipSum string `json:",omitempty"` // h1: hash, if it is a zip file
	Tree   string `json:",omitempty"` // text of the tree head at the end of the body
	Signed string `json:",omitempty"` // "good", or what is wrong with the signature of the tree head
}

// treeHead begins the tree head of a checksum database: golang.org/x/mod/sumdb/tlog.
const treeHead = "go.sum database tree\n"

func newContent(body []byte) *content {
	c := new(content)
	if utf8.Valid(body) {
		c.Text = string(body)
	}
	c.unzip(body)
	if at := bytes.Index(body, []byte(treeHead)); at >= 0 {
		c.Tree, _, _ = strings.Cut(string(body[at:]), "\n\n")
		c.Signed = signed(body[at:])
	}
	return c
}

func (c *content) unzip(body []byte) {
	r, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil || len(r.File) == 0 {
		return
	}
	path, version, _ := strings.Cut(r.File[0].Name, "@")
	version, _, _ = strings.Cut(version, "/")
	c.ZipOf = path + "@" + version
	name := filepath.Join(os.TempDir(), fmt.Sprintf("probe-%x.zip", sha256.Sum256(body)))
	if os.WriteFile(name, body, 0o600) != nil {
		return
	}
	c.ZipSum, _ = dirhash.HashZip(name, dirhash.Hash1)
}

// signed checks the signature of a tree head with the key that the go command would use.
func signed(head []byte) string {
	key, _, _ := strings.Cut(os.Getenv("GOSUMDB"), " ")
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return err.Error()
	}
	if _, err := note.Open(head, note.VerifierList(verifier)); err != nil {
		return err.Error()
	}
	return "good"
}

// read reads the probe's file, if it is there.
func (p *probe) read() (s sighting) {
	found, err := filepath.Glob(filepath.Join(os.Getenv("GOPATH"), p.File))
	if err != nil || len(found) == 0 {
		return s
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		s.fail("answer", err)
		return s
	}
	s.Content = newContent(text)
	return s
}
