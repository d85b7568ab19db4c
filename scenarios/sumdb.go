package scenarios

// A SumDBFault is something that is wrong with a checksum database, or with what the client has on its disk
// of one. It is at the database's own host, or at a module proxy that answers for it.
type SumDBFault struct {
	Module    string // glob over module paths; empty means all
	Version   string // glob over versions; empty means all
	Answer    SumDBAnswer
	KnownTree KnownTree
}

// A SumDBAnswer is how a checksum database lies.
type SumDBAnswer string

// The answers of the language. Only who has the signer key can give the first three.
const (
	SumDBWrongHash     SumDBAnswer = "wrong-hash"     // the log has other hashes for the modules
	SumDBForked        SumDBAnswer = "forked"         // the log has another history than the one that others see
	SumDBStale         SumDBAnswer = "stale"          // the log is from before it had the modules
	SumDBBadSignature  SumDBAnswer = "bad-signature"  // the signature of the tree is not that of the key
	SumDBAlteredRecord SumDBAnswer = "altered-record" // the hashes of the modules are not those that the tree proves
)

// SumDBAnswers returns all answers of the language.
func SumDBAnswers() []SumDBAnswer {
	return []SumDBAnswer{SumDBWrongHash, SumDBForked, SumDBStale, SumDBBadSignature, SumDBAlteredRecord}
}

// A KnownTree is what the client's disk has of a database's tree, in GOPATH/pkg/sumdb, when the go command
// starts. Empty means nothing.
type KnownTree string

// The known trees of the language.
const (
	KnownTreeCurrent KnownTree = "current" // the tree that an honest database has
	KnownTreeCorrupt KnownTree = "corrupt" // a file that is no signed tree
)

var (
	sumdbAnswerValue = oneOf("answer", SumDBAnswers()...)
	knownTreeValue   = oneOf("known tree", KnownTreeCurrent, KnownTreeCorrupt)
)

func sumdbFields(f *SumDBFault) fields {
	return fields{
		"module":     set(&f.Module, textValue),
		"version":    set(&f.Version, textValue),
		"answer":     set(&f.Answer, sumdbAnswerValue),
		"known-tree": set(&f.KnownTree, knownTreeValue),
	}
}

func checkSumDB(d *decoder, f *SumDBFault, pos Position) {
	aboutAll := f.Answer == "" || f.Answer == SumDBForked || f.Answer == SumDBBadSignature
	switch {
	case f.Answer == "" && f.KnownTree != KnownTreeCorrupt:
		d.failf(pos, "sumdb fault changes nothing")
	case aboutAll && (f.Module != "" || f.Version != ""):
		d.failf(pos, "`module:` and `version:` go with `answer:` %s, %s and %s only", SumDBWrongHash, SumDBStale, SumDBAlteredRecord)
	case f.Answer != "" && f.KnownTree == KnownTreeCorrupt:
		d.failf(pos, "with `known-tree: corrupt` the go command asks nothing, and gets no `answer:`")
	}
}

// checkSumDBTimeline refuses times for what is on the client's disk.
func (d *decoder) checkSumDBTimeline(f *Fault) {
	timed := f.From > 0 || f.Until > 0 || f.Every > 0 || f.For > 0 || f.Selective()
	if f.SumDB != nil && f.SumDB.KnownTree == KnownTreeCorrupt && timed {
		d.failf(f.Pos, "`known-tree: corrupt` holds from the beginning; leave out times, `first:`, `nth:` and `share:`")
	}
}

// keepDatabases leaves those hosts of a sumdb fault that answer for a checksum database.
func (d *decoder) keepDatabases(f *Fault, w *World, at Position) {
	if f.SumDB != nil {
		d.keepHosts(f, w, at, "checksum-db, or a module-proxy with `sumdb:`", func(h *Host) bool { return len(h.Databases()) > 0 && h.Server == nil })
	}
}

// Databases returns the hosts of the checksum databases that a host answers for: itself, or others.
func (h *Host) Databases() []string {
	if h.Role == RoleChecksumDB {
		return []string{h.Name}
	}
	return h.SumDB
}

// Selects reports whether the fault is about a version of a module, both unescaped.
func (f *SumDBFault) Selects(path, version string) bool {
	return (f.Module == "" || Glob(f.Module, path)) && (f.Version == "" || Glob(f.Version, version))
}

func sumdbContradiction(a, b *SumDBFault) string {
	switch {
	case a.KnownTree != "" && b.KnownTree != "" && a.KnownTree != b.KnownTree:
		return "set `known-tree`"
	case a.Answer != "" && b.Answer != "":
		return "set `answer`"
	}
	return ""
}

func (f *SumDBFault) describe(w *words) {
	w.add("module", f.Module)
	w.add("version", f.Version)
	w.add("answer", f.Answer)
	w.add("known-tree", f.KnownTree)
}
