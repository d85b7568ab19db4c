package fakeupstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb"

	"github.com/simrun/simrun/scenarios"
)

// WrongSums returns the modules as a lying database has them in its log. [NewChecksumDB] over them makes and
// signs the lying tree. For answers that lie about an honest tree, these are the true modules.
func WrongSums(f scenarios.SumDBFault, modules []Module) []Module {
	switch f.Answer {
	case scenarios.SumDBWrongHash:
		return withWrongHashes(f, modules)
	case scenarios.SumDBForked:
		// The log is in the order of paths, so that this record comes first and moves all others.
		elsewhere := Module{Path: "0.example/elsewhere", Version: "v1.0.0"}
		elsewhere.Sum, elsewhere.GoModSum = wrongHash(elsewhere, ""), wrongHash(elsewhere, "/go.mod")
		return append([]Module{elsewhere}, modules...)
	case scenarios.SumDBStale:
		return withoutNew(f, modules)
	}
	return modules
}

func withWrongHashes(f scenarios.SumDBFault, modules []Module) []Module {
	modules = slices.Clone(modules)
	for i := range modules {
		m := &modules[i]
		if !f.Selects(m.Path, m.Version) {
			continue
		}
		if m.Sum != "" {
			m.Sum = wrongHash(*m, "")
		}
		if m.GoModSum != "" {
			m.GoModSum = wrongHash(*m, "/go.mod")
		}
	}
	return modules
}

// wrongHash returns a hash in the form of go.sum that no module has.
func wrongHash(m Module, suffix string) string {
	sum := sha256.Sum256([]byte("wrong " + m.Path + "@" + m.Version + suffix))
	return "h1:" + base64.StdEncoding.EncodeToString(sum[:])
}

// withoutNew leaves out the modules that a stale log does not have: those that the fault selects, and only
// the newest version of each if it does not name versions.
func withoutNew(f scenarios.SumDBFault, modules []Module) []Module {
	newest := map[string]string{}
	for _, m := range modules {
		if newest[m.Path] == "" || semver.Compare(newest[m.Path], m.Version) < 0 {
			newest[m.Path] = m.Version
		}
	}
	return slices.DeleteFunc(slices.Clone(modules), func(m Module) bool {
		return f.Selects(m.Path, m.Version) && (f.Version != "" || newest[m.Path] == m.Version)
	})
}

// OpenWrongChecksumDB returns a database that lies as the fault says. The tree is what
// [ChecksumDB.SignedTree] returned for the database over [WrongSums] of the same modules.
func OpenWrongChecksumDB(f scenarios.SumDBFault, name string, tree []byte, modules []Module) (*ChecksumDB, error) {
	db, err := OpenChecksumDB(name, tree, WrongSums(f, modules))
	if err != nil {
		return nil, err
	}
	switch f.Answer {
	case scenarios.SumDBBadSignature:
		db.server = sumdb.NewServer(badSignature{db.log})
	case scenarios.SumDBAlteredRecord:
		db.server = sumdb.NewServer(newAlteredRecords(f, db.log, modules))
	}
	return db, nil
}

// A badSignature is a log whose tree is signed by somebody else, under the name of the key.
type badSignature struct{ *transparencyLog }

// Signed returns the tree with one bit of its signature changed.
func (l badSignature) Signed(ctx context.Context) ([]byte, error) {
	signed, err := l.transparencyLog.Signed(ctx)
	if err != nil {
		return nil, err
	}
	// A line of a signature is "— NAME BASE64": golang.org/x/mod/sumdb/note.
	at := bytes.LastIndexByte(signed, ' ') + 1
	signature, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(signed[at:])))
	if err != nil {
		return nil, err
	}
	signature[len(signature)-1] ^= 1
	return slices.Concat(signed[:at], []byte(base64.StdEncoding.EncodeToString(signature)+"\n")), nil
}

// alteredRecords is a log whose records are not those of its tree.
type alteredRecords struct {
	*transparencyLog
	records [][]byte
}

func newAlteredRecords(f scenarios.SumDBFault, log *transparencyLog, modules []Module) alteredRecords {
	altered := alteredRecords{log, slices.Clone(log.records)}
	for _, m := range withWrongHashes(f, modules) {
		if id, ok := log.ids[m.version()]; ok {
			altered.records[id] = goSumLines(m)
		}
	}
	return altered
}

// ReadRecords returns n records from id on.
func (l alteredRecords) ReadRecords(ctx context.Context, id, n int64) ([][]byte, error) {
	if _, err := l.transparencyLog.ReadRecords(ctx, id, n); err != nil {
		return nil, err
	}
	return l.records[id : id+n], nil
}

// MeetsSumDBFault reports whether the answer of a lying database to a request differs from the true one. The
// path of the request's URL may begin with the /sumdb/NAME of a module proxy.
func MeetsSumDBFault(f scenarios.SumDBFault, r *http.Request) bool {
	switch m, isLookup := LookedUp(r.URL.Path); {
	case f.Answer == "":
		return false
	case isLookup:
		return f.Selects(m.Path, m.Version)
	case f.Answer == scenarios.SumDBAlteredRecord:
		return false
	}
	return strings.Contains(r.URL.Path, "/tile/") || strings.HasSuffix(r.URL.Path, "/latest")
}
