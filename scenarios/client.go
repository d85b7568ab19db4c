package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// A ClientFault is something that is wrong with the client host. It holds for all of a cell.
type ClientFault struct {
	Clock   Offset     // how far the client's clock is ahead of the world's; negative: behind
	Cache   CacheFault // what is wrong with the module cache; empty: nothing
	Missing Program    // that is not installed
	Disk    Size       // room that is left on the disk when the command starts; 0: plenty
}

// A CacheFault is something that is wrong with the client's module cache.
type CacheFault string

// The cache faults of the language. The first four are about one module, the first public one in the newest
// version, which the cache has in this state before the command starts.
const (
	CacheTampered   CacheFault = "tampered"    // its zip file has other code than the true one, and the hash of that
	CacheEmptySum   CacheFault = "empty-sum"   // the file with the hash of its zip file is empty, as after a crash
	CacheGarbledSum CacheFault = "garbled-sum" // the file has a hash of an unknown kind
	CacheGarbledMod CacheFault = "garbled-mod" // its go.mod file is the page of a captive portal
	CacheReadOnly   CacheFault = "read-only"   // the folder is on a file system that is mounted read-only
	CacheNoLocks    CacheFault = "no-locks"    // the client's file systems know no exclusive locks: flock(2) says ENOLCK
)

var cacheFaultValue = oneOf("cache fault", CacheTampered, CacheEmptySum, CacheGarbledSum, CacheGarbledMod,
	CacheReadOnly, CacheNoLocks)

// AboutModule reports whether the fault is about a module that is in the cache.
func (f CacheFault) AboutModule() bool {
	return f != "" && f != CacheReadOnly && f != CacheNoLocks
}

// A Program is one that the go command runs.
type Program string

// The programs of the language.
const ProgramGit Program = "git"

var programValue = oneOf("program", ProgramGit)

// A CacheState is what a config's module cache holds when the command starts.
type CacheState string

// The cache states of the language.
const (
	CacheCold CacheState = "cold" // nothing
	CacheWarm CacheState = "warm" // all that the project needs, as an earlier "go mod tidy" left it
)

var cacheStateValue = oneOf("cache", CacheCold, CacheWarm)

// An Offset is a time difference in whole hours, written with its sign in hours, days of 24 hours or years
// of 365 days: "+36h", "-400d", "+2y".
type Offset time.Duration

// maxOffset is the largest Offset to either side.
const maxOffset = 50 * year

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// offsetUnits are sorted for String, which takes the first that leaves no remainder.
var offsetUnits = []unit{{"y", int64(year)}, {"d", int64(day)}, {"h", int64(time.Hour)}}

var (
	offsetForm  = newForm(`^[+-][1-9][0-9]{0,6}[hdy]$`)
	offsetValue = scalar[Offset]{parse: ParseOffset, shape: shape{"type": "string", "pattern": offsetForm.pattern}}
)

// ParseOffset reads an Offset such as "+400d". It refuses 0 and more than 50y to either side.
func ParseOffset(s string) (Offset, error) {
	if !offsetForm.regexp().MatchString(s) {
		return 0, fmt.Errorf("%s is not how far a clock is off: a sign, a whole number, and `h`, `d` or `y`, such as `+400d`", quote(s))
	}
	n, err := parseUnits(s[1:], offsetUnits, "d")
	switch {
	case err != nil:
		return 0, err
	case n > float64(maxOffset):
		return 0, fmt.Errorf("%s is out of range: at most 50y to either side", quote(s))
	case s[0] == '-':
		n = -n
	}
	return Offset(n), nil
}

// String returns o as a file has it, with the largest unit that needs no fraction.
func (o Offset) String() string {
	if o > 0 {
		return "+" + format(int64(o), offsetUnits)
	}
	return format(int64(o), offsetUnits)
}

func clientFields(f *ClientFault) fields {
	return fields{
		"clock":   set(&f.Clock, offsetValue),
		"cache":   set(&f.Cache, cacheFaultValue),
		"missing": set(&f.Missing, programValue),
		"disk":    set(&f.Disk, sizeValue),
	}
}

func checkClient(d *decoder, f *ClientFault, pos Position) {
	if *f == (ClientFault{}) {
		d.failf(pos, "client fault changes nothing")
	}
}

// checkClientFault refuses the keys that mean nothing at the client host.
func (d *decoder) checkClientFault(f *Fault) {
	switch {
	case f.Target.Pattern != "":
		d.failf(f.Pos, "a `client:` fault is at the client host; leave out `host: %s`", f.Target.Pattern)
	case f.From > 0 || f.Until > 0 || f.Every > 0 || f.For > 0:
		d.failf(f.Pos, "a `client:` fault holds from beginning to end; leave out `from:`, `until:`, `every:` and `for:`")
	case f.Selective():
		d.failf(f.Pos, "a `client:` fault is about everything that the client meets; leave out `first:`, `nth:` and `share:`")
	}
}

func (f *ClientFault) describe(w *words) {
	w.add("clock", f.Clock)
	w.add("cache", f.Cache)
	w.add("disk", f.Disk)
	w.add("missing", f.Missing)
}

func clientContradiction(a, b *ClientFault) string {
	switch {
	case a.Clock != 0 && b.Clock != 0:
		return "set `clock`"
	case a.Cache != "" && b.Cache != "":
		return "set `cache`"
	case a.Missing != "" && b.Missing != "":
		return "set `missing`"
	case a.Disk != 0 && b.Disk != 0:
		return "set `disk`"
	}
	return ""
}

// configs reads the Configs of a document.
func (d *decoder) configs(root ast.Node) []*Config {
	var all []*Config
	d.list(root, "configs", func(n ast.Node) {
		c := &Config{Pos: d.position(n)}
		if d.mapping(n, c.Pos, "a config", configFields(c)) {
			d.checkPACConfig(c, n.(*ast.MappingNode))
		}
		if c.Env == nil {
			c.Env = map[string]string{}
		}
		all = append(all, c)
	})
	return all
}

// projects reads the Projects of a document.
func (d *decoder) projects(root ast.Node) []*Project {
	var all []*Project
	d.list(root, "projects", func(n ast.Node) {
		p := &Project{Pos: d.position(n)}
		if d.mapping(n, p.Pos, "a project", projectFields(p)) {
			d.checkProject(p, n.(*ast.MappingNode))
		}
		all = append(all, p)
	})
	return all
}

// list reads a document that is one key with a list.
func (d *decoder) list(root ast.Node, key string, each func(n ast.Node)) {
	d.mapping(root, d.position(root), "a list of "+key, fields{
		key: {required: true, read: func(d *decoder, n ast.Node) {
			count := 0
			ok := d.items(n, key, func(n ast.Node) { count++; each(n) })
			if ok && count == 0 {
				d.failf(d.position(n), "list of %s is empty", key)
			}
		}},
	})
}

func (d *decoder) checkProject(p *Project, m *ast.MappingNode) {
	switch run := keyNode(m, "run"); {
	case run == nil:
		p.Run = []string{"go", "mod", "tidy"}
	case len(p.Run) == 0:
		d.failf(d.position(run), "list of the command's words is empty; leave `run:` out for `go mod tidy`")
	}
	switch {
	case p.Dir == "" && p.Modules == nil:
		d.failf(p.Pos, "a project needs `dir:` or `modules:`")
	case p.Dir != "" && p.Modules != nil:
		d.failf(p.Pos, "a project has `dir:` or `modules:`, not both")
	case p.Dir != "":
		d.checkDir(p, keyNode(m, "dir"))
	}
}

// checkDir makes the folder of a project relative to the file that names it, and looks for its go.mod.
func (d *decoder) checkDir(p *Project, n ast.Node) {
	if d.src.builtin || strings.ContainsRune(p.Dir, 0) {
		d.failf(d.position(n), "%s is not a folder", quote(p.Dir))
		return
	}
	if !filepath.IsAbs(p.Dir) {
		p.Dir = filepath.Join(filepath.Dir(d.src.name), p.Dir)
	}
	if info, err := os.Stat(filepath.Join(p.Dir, "go.mod")); err != nil || info.IsDir() {
		d.failf(d.position(n), "folder %s has no go.mod", quote(p.Dir))
	}
}
