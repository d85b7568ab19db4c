package fakeupstream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A ChecksumDB is an http.Handler that serves a checksum database (https://go.dev/design/25530-sumdb)
// at the root of its host: /latest, /lookup/ and /tile/.
// A database over wrong sums is a lying database; the protocol stays right.
type ChecksumDB struct {
	name   string
	log    *transparencyLog
	server *sumdb.Server
}

// NewChecksumDB returns a database of the public ones of modules. Private modules are left out,
// because the owner of a public database has never seen them, and so are modules without sums.
//
// The name must be the one that skey, a signer key as made by [note.GenerateKey], was made for. Clients
// trust the database if GOSUMDB is the verifier key that belongs to skey; the name may be that of Go's
// own database. The log holds the modules in the order of their paths and versions, so that the same
// modules always make the same signed tree.
func NewChecksumDB(name, skey string, modules []Module) (*ChecksumDB, error) {
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, fmt.Errorf("read the signer key of checksum database %q: %w", name, err)
	}
	if signer.Name() != name {
		return nil, fmt.Errorf("signer key of checksum database %q is for %q", name, signer.Name())
	}
	log, err := newTransparencyLog(modules)
	if err == nil {
		err = log.sign(signer)
	}
	if err != nil {
		return nil, fmt.Errorf("build checksum database %q: %w", name, err)
	}
	return newChecksumDB(name, log), nil
}

// OpenChecksumDB returns the database that [NewChecksumDB] made of the same modules, without the key: tree
// is what [ChecksumDB.SignedTree] returned. Another process can serve the database so, and need not sign.
func OpenChecksumDB(name string, tree []byte, modules []Module) (*ChecksumDB, error) {
	log, err := newTransparencyLog(modules)
	if err == nil {
		err = log.adopt(tree)
	}
	if err != nil {
		return nil, fmt.Errorf("open checksum database %q: %w", name, err)
	}
	return newChecksumDB(name, log), nil
}

func newChecksumDB(name string, log *transparencyLog) *ChecksumDB {
	return &ChecksumDB{name: name, log: log, server: sumdb.NewServer(log)}
}

// SignedTree returns the signed tree head, as /latest serves it.
func (db *ChecksumDB) SignedTree() []byte { return slices.Clone(db.log.signed) }

// Name returns the name of the database, such as "sum.golang.google.cn".
func (db *ChecksumDB) Name() string { return db.name }

// ServeHTTP answers 404 with the reason as text for a module that the database does not have.
func (db *ChecksumDB) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	db.server.ServeHTTP(w, r)
}

// transparencyLog is a log that never grows. It implements sumdb.ServerOps.
type transparencyLog struct {
	ids     map[module.Version]int64
	records [][]byte
	hashes  storedHashes
	signed  []byte
}

func newTransparencyLog(modules []Module) (*transparencyLog, error) {
	modules = slices.DeleteFunc(slices.Clone(modules), func(m Module) bool {
		return m.Private || m.Sum == "" && m.GoModSum == ""
	})
	sortModules(modules)
	log := &transparencyLog{ids: make(map[module.Version]int64, len(modules))}
	for _, m := range modules {
		if err := log.append(m); err != nil {
			return nil, err
		}
	}
	return log, nil
}

func (l *transparencyLog) append(m Module) error {
	id := int64(len(l.records))
	key := m.version()
	if _, ok := l.ids[key]; ok {
		return fmt.Errorf("module %v is there twice", key)
	}
	record := goSumLines(m)
	hashes, err := tlog.StoredHashes(id, record, l.hashes)
	if err != nil {
		return fmt.Errorf("add %v: %w", key, err)
	}
	l.ids[key] = id
	l.records = append(l.records, record)
	l.hashes = append(l.hashes, hashes...)
	return nil
}

func (l *transparencyLog) sign(signer note.Signer) error {
	text, err := l.tree()
	if err != nil {
		return err
	}
	if l.signed, err = note.Sign(&note.Note{Text: text}, signer); err != nil {
		return fmt.Errorf("sign the tree: %w", err)
	}
	return nil
}

// adopt takes a signed tree head that was made of the same records.
func (l *transparencyLog) adopt(signed []byte) error {
	text, err := l.tree()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(signed), text+"\n") {
		return errors.New("the signed tree is of other modules")
	}
	l.signed = slices.Clone(signed)
	return nil
}

// tree returns the text of the tree head.
func (l *transparencyLog) tree() (string, error) {
	size := int64(len(l.records))
	root, err := tlog.TreeHash(size, l.hashes)
	if err != nil {
		return "", fmt.Errorf("hash the tree: %w", err)
	}
	return string(tlog.FormatTree(tlog.Tree{N: size, Hash: root})), nil
}

// goSumLines returns the lines of go.sum for m. A sum that is not known has no line.
func goSumLines(m Module) []byte {
	var lines strings.Builder
	if m.Sum != "" {
		fmt.Fprintf(&lines, "%s %s %s\n", m.Path, m.Version, m.Sum)
	}
	if m.GoModSum != "" {
		fmt.Fprintf(&lines, "%s %s/go.mod %s\n", m.Path, m.Version, m.GoModSum)
	}
	return []byte(lines.String())
}

// Signed returns the signed tree head.
func (l *transparencyLog) Signed(context.Context) ([]byte, error) { return l.signed, nil }

// ReadRecords returns n records from id on.
func (l *transparencyLog) ReadRecords(_ context.Context, id, n int64) ([][]byte, error) {
	size := int64(len(l.records))
	if id < 0 || n < 0 || id > size || n > size-id {
		return nil, notFound(fmt.Sprintf("records %d to %d", id, id+n))
	}
	return l.records[id : id+n], nil
}

// Lookup returns the number of the record of m.
func (l *transparencyLog) Lookup(_ context.Context, m module.Version) (int64, error) {
	id, ok := l.ids[m]
	if !ok {
		return 0, notFound(m.String())
	}
	return id, nil
}

// tileHeight is the only height of tiles that the go command asks for.
const tileHeight = 8

// ReadTileData returns the hashes of a tile.
func (l *transparencyLog) ReadTileData(_ context.Context, t tlog.Tile) ([]byte, error) {
	// The bounds keep the arithmetic of tlog from overflowing; storedHashes knows what is in the tree.
	if t.H != tileHeight || t.L*t.H > 62 || t.N > int64(len(l.records)) {
		return nil, notFound(t.Path())
	}
	return tlog.ReadTileData(t, l.hashes)
}

// notFound returns an error for which sumdb.Server answers 404. It has to be of this type, because
// sumdb.Server asks os.IsNotExist, which does not unwrap other errors.
func notFound(what string) error {
	return &fs.PathError{Op: "not found:", Path: what, Err: fs.ErrNotExist}
}

// storedHashes is the hashes of a log in the order of tlog.StoredHashIndex. It implements tlog.HashReader.
type storedHashes []tlog.Hash

// ReadHashes returns the hashes at the indexes.
func (h storedHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, 0, len(indexes))
	for _, i := range indexes {
		if i < 0 || i >= int64(len(h)) {
			return nil, notFound(fmt.Sprintf("hash %d", i))
		}
		hashes = append(hashes, h[i])
	}
	return hashes, nil
}
