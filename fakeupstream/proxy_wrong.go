package fakeupstream

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	modzip "golang.org/x/mod/zip"

	"github.com/simrun/simrun/scenarios"
)

// WrongModules answers the requests that [ModuleProxy.Meets] a fault as p does with the fault: the honest
// proxy over another tree, or a refusal. Faults of caches are not among these; see [CachingProxy].
func WrongModules(f scenarios.ModuleFault, p *ModuleProxy) Middleware {
	wrong := *p
	wrong.Tree = wrongTree{p.Tree, f}
	return func(http.Handler) http.Handler {
		switch {
		case f.Missing != 0:
			return refusing(&wrong, f.Missing, f.After)
		case f.Unknown != 0:
			return refusing(p, f.Unknown, 0)
		case f.NoEscapes:
			return Status(http.StatusNotFound, "not found: no such file\n", 0)(nil)
		}
		return &wrong
	}
}

// Meets reports whether the fault shows in what p answers to a request.
func (p *ModuleProxy) Meets(f scenarios.ModuleFault, r *http.Request) bool {
	q, err := parseQuery(r.URL.Path)
	if err != nil {
		m, ok := LookedUp(r.URL.Path)
		return f.Uncached && ok && f.Selects(m.Path, m.Version)
	}
	ofAll := q.endpoint == endpointList || q.endpoint == endpointLatest
	of := f
	if ofAll {
		of.Version = ""
	}
	switch {
	case !of.Selects(q.module, q.version):
		return false
	case f.Stale:
		return ofAll
	case f.Zip != "":
		return q.endpoint == endpointZip
	case f.Mod != "":
		return q.endpoint == endpointMod
	case f.NoEscapes:
		return strings.Contains(r.URL.Path, "!")
	case f.Unknown != 0:
		return lacks(p, r) != ""
	}
	return true
}

// LookedUp returns the module about which the path of a URL asks a checksum database, or a module proxy in its
// place. It reports false for other paths.
func LookedUp(urlPath string) (m module.Version, ok bool) {
	_, what, found := strings.Cut(urlPath, "/lookup/")
	escPath, escVersion, at := strings.Cut(what, "@")
	var err1, err2 error
	m.Path, err1 = module.UnescapePath(escPath)
	m.Version, err2 = module.UnescapeVersion(escVersion)
	return m, found && at && err1 == nil && err2 == nil
}

// refusing says with another status, and after a while, that p does not have something.
func refusing(p *ModuleProxy, status int, after time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := lacks(p, r)
		if text == "" {
			p.ServeHTTP(w, r)
			return
		}
		Delay(after)(Status(status, text, 0)(nil)).ServeHTTP(w, r)
	})
}

// lacks returns the words in which p says that it does not have what is asked for; none if it does.
func lacks(p *ModuleProxy, r *http.Request) string {
	head := r.Clone(r.Context())
	head.Method = http.MethodHead // of what p has, it then sends nothing
	var a answer
	p.ServeHTTP(&a, head)
	if a.status != http.StatusNotFound {
		return ""
	}
	return a.body.String()
}

// An answer is an http.ResponseWriter that keeps what is written. The status is 0 if there was no error.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

func (a *answer) WriteHeader(status int)         { a.status = status }
func (a *answer) Write(data []byte) (int, error) { return a.body.Write(data) }

// A wrongTree is the tree of a module proxy with a fault.
type wrongTree struct {
	fs.FS
	fault scenarios.ModuleFault
}

// Open opens a file as the fault has it.
func (t wrongTree) Open(name string) (fs.File, error) {
	q, err := parseQuery("/" + name)
	if err != nil || !t.fault.Selects(q.module, q.version) {
		return t.FS.Open(name)
	}
	f := &t.fault
	switch {
	case f.Missing != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case f.Zip != "" && q.endpoint == endpointZip:
		return t.changed(name, func(data []byte) ([]byte, error) { return wrongZip(f.Zip, data) })
	case f.Mod != "" && q.endpoint == endpointMod:
		return t.changed(name, func(data []byte) ([]byte, error) { return wrongMod(f.Mod, data), nil })
	}
	return t.FS.Open(name)
}

// changed opens a file with another content.
func (t wrongTree) changed(name string, change func([]byte) ([]byte, error)) (fs.File, error) {
	data, err := fs.ReadFile(t.FS, name)
	if err == nil {
		data, err = change(data)
	}
	if err != nil {
		return nil, err
	}
	return &memoryFile{name: path.Base(name), size: int64(len(data)), Reader: bytes.NewReader(data)}, nil
}

// ReadDir lists the files of a module without those of the versions that the fault hides. A module of which
// all versions are hidden does not exist.
func (t wrongTree) ReadDir(dir string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(t.FS, dir)
	escaped, isModule := strings.CutSuffix(dir, "/@v")
	if err != nil || !isModule || !t.fault.Stale && t.fault.Missing == 0 {
		return entries, err
	}
	name, err := module.UnescapePath(escaped)
	if err != nil {
		return nil, err
	}
	hidden := t.hidden(name, entries)
	left := slices.DeleteFunc(slices.Clone(entries), func(e fs.DirEntry) bool {
		v, ok := versionOf(e)
		return ok && slices.Contains(hidden, v)
	})
	if !slices.ContainsFunc(left, func(e fs.DirEntry) bool { _, ok := versionOf(e); return ok }) {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
	}
	return left, nil
}

// hidden returns the versions of a module that the fault hides from lists.
func (t wrongTree) hidden(name string, entries []fs.DirEntry) (versions []string) {
	for _, e := range entries {
		if v, ok := versionOf(e); ok && t.fault.Selects(name, v) {
			versions = append(versions, v)
		}
	}
	if t.fault.Stale && t.fault.Version == "" && len(versions) > 0 {
		return []string{slices.MaxFunc(versions, semver.Compare)}
	}
	return versions
}

// versionOf returns the version whose .info file an entry of a module's folder is.
func versionOf(e fs.DirEntry) (version string, ok bool) {
	escaped, ok := strings.CutSuffix(e.Name(), string(endpointInfo))
	if !ok {
		return "", false
	}
	version, err := module.UnescapeVersion(escaped)
	return version, err == nil && module.CanonicalVersion(version) == version
}

// A memoryFile is an fs.File, and its fs.FileInfo, whose content is in memory.
type memoryFile struct {
	*bytes.Reader
	name string
	size int64
}

func (f *memoryFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *memoryFile) Close() error               { return nil }
func (f *memoryFile) Name() string               { return f.name }
func (f *memoryFile) Size() int64                { return f.size }
func (f *memoryFile) Mode() fs.FileMode          { return 0o444 }
func (f *memoryFile) ModTime() time.Time         { return time.Time{} }
func (f *memoryFile) IsDir() bool                { return false }
func (f *memoryFile) Sys() any                   { return nil }

// loginPage is what is answered in place of a file, as by a portal or a filter.
const loginPage = "<!DOCTYPE html><html><body>Please log in.</body></html>\n"

// otherModule is whose files are answered in place of a module's own.
const otherModule = "other.example/module"

// change is the line that a changed file has more than the true one.
const change = "\n// changed\n"

func wrongMod(flaw scenarios.ModFlaw, data []byte) []byte {
	switch flaw {
	case scenarios.ModNotAMod:
		return []byte(loginPage)
	case scenarios.ModOtherModule:
		return []byte("module " + otherModule + "\n\ngo " + goVersion + "\n")
	}
	return append(data, change...)
}

func wrongZip(flaw scenarios.ZipFlaw, data []byte) ([]byte, error) {
	switch flaw {
	case scenarios.ZipTruncated:
		return data[:len(data)/2], nil
	case scenarios.ZipNotAZip:
		return []byte(loginPage), nil
	case scenarios.ZipOtherModule:
		return rewriteZip(data, func(name string, content []byte) (string, []byte) {
			_, file, _ := strings.Cut(name, "@")
			_, file, _ = strings.Cut(file, "/")
			return otherModule + "@v1.0.0/" + file, content
		})
	}
	changed := false
	return rewriteZip(data, func(name string, content []byte) (string, []byte) {
		if !changed && path.Ext(name) == ".go" {
			changed = true
			content = append(content, change...)
		}
		return name, content
	})
}

// rewriteZip returns a zip file with the files of another one as edit returns them.
func rewriteZip(data []byte, edit func(name string, content []byte) (string, []byte)) ([]byte, error) {
	in, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("read the true zip file: %w", err)
	}
	if err := CheckZip(in.File); err != nil {
		return nil, err
	}
	var buffer bytes.Buffer
	out := zip.NewWriter(&buffer)
	for _, file := range in.File {
		if err := copyFile(out, file, edit); err != nil {
			return nil, fmt.Errorf("change %s: %w", file.Name, err)
		}
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

// CheckZip returns an error if the files of an archive take more room, in bytes, than those of a module may:
// MaxZipFile in golang.org/x/mod/zip. Package archive/zip gives no file more than what it says here.
func CheckZip(files []*zip.File) error {
	left := uint64(modzip.MaxZipFile)
	for _, f := range files {
		if f.UncompressedSize64 > left {
			return fmt.Errorf("the zip file unpacks to more than %d bytes", modzip.MaxZipFile)
		}
		left -= f.UncompressedSize64
	}
	return nil
}

func copyFile(out *zip.Writer, file *zip.File, edit func(name string, content []byte) (string, []byte)) error {
	r, err := file.Open()
	if err != nil {
		return err
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	name, content := edit(file.Name, content)
	w, err := out.Create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}
