package scenarios

import (
	"embed"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
)

//go:embed worlds configs projects healthy packet stream dns tls http module sumdb vcs forward client
var builtin embed.FS

// Options are the options of Load.
type Options struct {
	// Vars are the values of $name in the files, without the dollar sign in the key. They win over the
	// vars of a world. The built-in library needs go-proxy and go-sumdb, which are host names, and
	// file-proxy, which is a file:// URL of a module tree inside the cell.
	Vars map[string]string
}

// Load reads files and folders, these with all *.yaml and *.yml files below them except in folders
// called "testdata" and names that begin with "." or "_".
//
// Worlds that the files refer to and do not declare are taken from the built-in library. If they
// declare no scenario at all, all of its scenarios are taken; the same holds for configs and projects.
// So a file of configs alone is judged against the built-in scenarios, and a file of scenarios is run
// with the built-in configs.
//
// If anything is wrong the error is a *LoadError, which holds all that is. Load may be called
// concurrently.
func Load(paths []string, opts Options) (*Library, error) {
	l := &loader{vars: opts.Vars, worlds: map[string]*World{}, places: map[string]Position{}}
	l.readPaths(paths)
	l.decode()
	if err := l.err(); err != nil {
		return nil, err
	}
	return &l.lib, nil
}

// Builtin returns the library that is part of this package. It is Load without paths.
func Builtin(opts Options) (*Library, error) {
	return Load(nil, opts)
}

// A loader is one call of Load.
type loader struct {
	vars       map[string]string
	found      problems // in the caller's files
	stockFound problems // in the built-in library, such as a variable that the caller left out
	lib        Library
	own        []document // of the caller's files
	stock      []document // of the built-in library; nil until it is needed
	worlds     map[string]*World
	places     map[string]Position // where each kind and name was declared
}

// err returns the problems of the caller's files, or if they have none those of the built-in library.
func (l *loader) err() error {
	if err := l.found.err(); err != nil {
		return err
	}
	return l.stockFound.err()
}

func (l *loader) readPaths(paths []string) {
	seen := map[string]bool{}
	for _, p := range paths {
		files, err := findFiles(p)
		if err != nil {
			l.found.add(&source{name: p}, Position{File: p}, "cannot read: "+reason(err))
		}
		for _, name := range files {
			if name = filepath.Clean(name); seen[name] || err != nil {
				continue
			}
			seen[name] = true
			content, err := readFile(name)
			if err != nil {
				l.found.add(&source{name: name}, Position{File: name}, "cannot read: "+reason(err))
				continue
			}
			l.own = append(l.own, parse(name, content, false, &l.found)...)
		}
	}
}

// reason is an error without the path, which stands before the message anyway.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// builtins returns the documents of a kind in the built-in library.
func (l *loader) builtins(k kind) []document {
	if l.stock == nil {
		l.stock = l.readBuiltin()
	}
	return ofKind(l.stock, k)
}

func (l *loader) readBuiltin() []document {
	docs := []document{}
	err := fs.WalkDir(builtin, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := builtin.ReadFile(name)
		docs = append(docs, parse("builtin/"+name, content, true, &l.stockFound)...)
		return err
	})
	if err != nil {
		l.stockFound.add(&source{}, Position{File: "builtin"}, "cannot read: "+reason(err))
	}
	return docs
}

func ofKind(docs []document, k kind) []document {
	var some []document
	for _, d := range docs {
		if d.kind == k {
			some = append(some, d)
		}
	}
	return some
}

// ownOrBuiltin returns the caller's documents of a kind, or the built-in ones if there are none.
func (l *loader) ownOrBuiltin(k kind) []document {
	if own := ofKind(l.own, k); len(own) > 0 {
		return own
	}
	return l.builtins(k)
}

// decode reads what others refer to before those that refer to it: worlds, configs, then scenarios.
func (l *loader) decode() {
	for _, doc := range ofKind(l.own, worldKind) {
		l.addWorld(doc)
	}
	for _, doc := range l.ownOrBuiltin(projectKind) {
		for _, p := range l.decoder(doc).projects(doc.root) {
			l.declare(doc, projectKind, p.Name, p.Pos)
			l.lib.Projects = append(l.lib.Projects, p)
		}
	}
	hasConfigs := len(ofKind(l.own, configKind)) > 0
	for _, doc := range l.ownOrBuiltin(configKind) {
		for _, c := range l.decoder(doc).configs(doc.root) {
			l.declare(doc, configKind, c.Name, c.Pos)
			l.lib.Configs = append(l.lib.Configs, c)
		}
	}
	names := namesOf(l.lib.Configs, func(c *Config) string { return c.Name })
	for _, doc := range l.ownOrBuiltin(scenarioKind) {
		d := l.decoder(doc)
		s := d.scenario(doc.root, l.world)
		l.declare(doc, scenarioKind, s.Name, s.Pos)
		// Built-in expectations are of built-in configs; they do not concern a caller's own.
		if !doc.src.builtin || !hasConfigs {
			d.checkExpectations(s, names)
		}
		l.lib.Scenarios = append(l.lib.Scenarios, s)
	}
}

// decoder returns a decoder for a document, which is thereby used.
func (l *loader) decoder(doc document) *decoder {
	if !slices.Contains(l.lib.Files, doc.src.name) {
		l.lib.Files = append(l.lib.Files, doc.src.name)
	}
	found := &l.found
	if doc.src.builtin {
		found = &l.stockFound
	}
	return &decoder{src: doc.src, vars: l.vars, found: found}
}

// declare refuses a name that something of the same kind has already.
func (l *loader) declare(doc document, k kind, name string, at Position) {
	key := string(k) + " " + name
	first, taken := l.places[key]
	switch {
	case name == "":
	case taken:
		l.decoder(doc).failf(at, "duplicate %s %s; first at %v", k, quote(name), first)
	default:
		l.places[key] = at
	}
}

func (l *loader) addWorld(doc document) *World {
	w := l.decoder(doc).world(doc.root)
	l.declare(doc, worldKind, w.Name, w.Pos)
	if _, taken := l.worlds[w.Name]; !taken {
		l.worlds[w.Name] = w
		l.lib.Worlds = append(l.lib.Worlds, w)
	}
	return w
}

// world returns the world of a name, the caller's before a built-in one. If there is none it returns
// the names that there are.
func (l *loader) world(name string) (*World, []string) {
	if w, ok := l.worlds[name]; ok {
		return w, nil
	}
	var known []string
	for own := range l.worlds {
		known = append(known, own)
	}
	for _, doc := range l.builtins(worldKind) {
		builtinName := keyNode(doc.root, "world").GetToken().Value
		if builtinName == name {
			return l.addWorld(doc), nil
		}
		known = append(known, builtinName)
	}
	slices.Sort(known)
	return nil, slices.Compact(known)
}
