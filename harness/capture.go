//go:build linux

package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/simrun/simrun/record"
)

// A captureFile is the file that a cell's packets go to. Until the cell has ended well its name says that
// it is partial, and no record refers to it: whatever ends simrun leaves no name of a file behind that is
// not there, or not whole.
type captureFile struct {
	dir, name string
	file      *os.File // closed by startCell
}

// partial is the end of the name of a capture file that is being written.
const partial = ".partial"

// newCapture makes the file for a cell's packets in a folder. Without a folder there is none: nil.
func newCapture(dir string, k record.Key) (*captureFile, error) {
	if dir == "" {
		return nil, nil
	}
	name := captureName(k)
	at := filepath.Join(dir, name+partial)
	_ = os.Remove(at) // what an interrupted run left, or a link that somebody has laid
	file, err := os.OpenFile(at, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, fmt.Errorf("keep the client's packets: %w", err)
	}
	return &captureFile{dir, name, file}, nil
}

// captureName returns the name of the file with a cell's packets. No two keys share one.
func captureName(k record.Key) string {
	parts := []string{k.Scenario, k.Config, k.Project, k.Go, strconv.Itoa(k.Rep + 1)}
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(p), "+", "%2B")
	}
	name := strings.Join(parts, "+")
	if len(name) > longestName {
		sum := sha256.Sum256([]byte(name))
		name = name[:longestName-2*len(sum)-1] + "+" + hex.EncodeToString(sum[:])
	}
	return name + ".pcapng"
}

// longestName is how long the name of a capture may be, in bytes, that file systems take with the ends that it gets.
const longestName = 230

// descriptor returns what the lab process gets. A nil f has none.
func (f *captureFile) descriptor() *os.File {
	if f == nil {
		return nil
	}
	return f.file
}

// closeOurs closes this process's descriptor: the lab process has its own.
func (f *captureFile) closeOurs() {
	if f != nil {
		f.file.Close()
	}
}

// settle gives the file its name and the record a reference to it, or removes the file if the cell tells
// nothing. A nil f does nothing.
func (f *captureFile) settle(c *record.Cell) error {
	if f == nil {
		return nil
	}
	whole := filepath.Join(f.dir, f.name)
	if c.Outcome == record.HarnessError {
		return os.Remove(whole + partial)
	}
	if err := os.Rename(whole+partial, whole); err != nil {
		return fmt.Errorf("keep the client's packets: %w", err)
	}
	c.Capture = path.Join(filepath.Base(f.dir), f.name)
	return nil
}
