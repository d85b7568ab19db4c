package scenarios

import (
	"slices"
	"time"
)

// A ModuleFault is something that is wrong with what a module proxy has. Exactly one of the fields after
// Version says what; After goes with Missing.
type ModuleFault struct {
	Module  string // glob over module paths; empty means all
	Version string // glob over versions; empty means all, and the newest one of each module for Stale

	Stale     bool          // the lists of versions and @latest are from before the versions were there
	Missing   int           // the proxy does not have the versions, and says so with this status
	After     time.Duration // for so long it looks for what is Missing before it says so
	Unknown   int           // it says that it does not have something with this status instead of 404
	Uncached  bool          // its cache does not have the versions: it asks its upstream
	NoEscapes bool          // "!a" is no capital letter to it, so it has no module with one in its path
	Zip       ZipFlaw       // what is wrong with the zip files of the versions
	Mod       ModFlaw       // and with their go.mod files
}

// A ZipFlaw is something that is wrong with a module's zip file. The answer is whole: its length is as said.
type ZipFlaw string

// The flaws of zip files.
const (
	ZipChanged     ZipFlaw = "changed"      // a good zip file, with other code in it
	ZipTruncated   ZipFlaw = "truncated"    // the first half of it
	ZipNotAZip     ZipFlaw = "not-a-zip"    // a page for people
	ZipOtherModule ZipFlaw = "other-module" // a good zip file of another module
)

// A ModFlaw is something that is wrong with a module's go.mod file.
type ModFlaw string

// The flaws of go.mod files.
const (
	ModChanged     ModFlaw = "changed"      // a good go.mod file with one line more
	ModNotAMod     ModFlaw = "not-a-mod"    // a page for people
	ModOtherModule ModFlaw = "other-module" // a good go.mod file of another module
)

var (
	zipFlawValue = oneOf("flaw of a zip file", ZipChanged, ZipTruncated, ZipNotAZip, ZipOtherModule)
	modFlawValue = oneOf("flaw of a go.mod file", ModChanged, ModNotAMod, ModOtherModule)
	refusalValue = whole("an HTTP status of an error", 400, 599)
)

func moduleFields(f *ModuleFault) fields {
	return fields{
		"module":     set(&f.Module, textValue),
		"version":    set(&f.Version, textValue),
		"stale":      set(&f.Stale, boolValue),
		"missing":    set(&f.Missing, refusalValue),
		"after":      set(&f.After, durationValue),
		"unknown":    set(&f.Unknown, refusalValue),
		"uncached":   set(&f.Uncached, boolValue),
		"no-escapes": set(&f.NoEscapes, boolValue),
		"zip":        set(&f.Zip, zipFlawValue),
		"mod":        set(&f.Mod, modFlawValue),
	}
}

func checkModule(d *decoder, f *ModuleFault, pos Position) {
	switch n := len(f.effects()); {
	case n == 0:
		d.failf(pos, "module fault changes nothing")
	case n > 1:
		d.failf(pos, "a module fault does one thing, not `%s:` and `%s:`; write one fault for each", f.effects()[0], f.effects()[1])
	case f.After > 0 && f.Missing == 0:
		d.failf(pos, "`after:` needs `missing:`, which says what comes then")
	case f.Version != "" && (f.Unknown != 0 || f.NoEscapes):
		d.failf(pos, "`version:` does not go with `%s:`, which is about modules whatever their version", f.effects()[0])
	}
}

// effects returns the keys of what the fault does.
func (f *ModuleFault) effects() (keys []string) {
	for _, e := range []struct {
		key string
		set bool
	}{
		{"stale", f.Stale}, {"missing", f.Missing != 0}, {"unknown", f.Unknown != 0}, {"uncached", f.Uncached},
		{"no-escapes", f.NoEscapes}, {"zip", f.Zip != ""}, {"mod", f.Mod != ""},
	} {
		if e.set {
			keys = append(keys, e.key)
		}
	}
	return keys
}

// Selects reports whether the fault is about a version of a module, both unescaped.
func (f *ModuleFault) Selects(path, version string) bool {
	return (f.Module == "" || Glob(f.Module, path)) && (f.Version == "" || Glob(f.Version, version))
}

// keepModuleProxies leaves those hosts of a module fault that have modules, and what it changes of them.
func (d *decoder) keepModuleProxies(f *Fault, w *World, at Position) {
	switch {
	case f.Module == nil:
	case f.Module.Uncached:
		d.keepHosts(f, w, at, "module-proxy with an `upstream:`", func(h *Host) bool { return h.Upstream != "" })
	default:
		d.keepHosts(f, w, at, "module-proxy without `server:`", func(h *Host) bool { return h.Role == RoleModuleProxy && h.Server == nil })
	}
}

// keepHosts leaves those hosts of a fault that fit.
func (d *decoder) keepHosts(f *Fault, w *World, at Position, what string, fits func(*Host) bool) {
	all := f.Target.Hosts
	if len(all) == 0 {
		return
	}
	f.Target.Hosts = slices.DeleteFunc(slices.Clone(all), func(i int) bool { return !fits(&w.Hosts[i]) })
	if len(f.Target.Hosts) == 0 {
		d.failf(at, "%s is a %s; a `%s:` fault needs a %s", quote(f.Target.Pattern), w.Hosts[all[0]].Role, f.Layer(), what)
	}
}

func moduleContradiction(a, b *ModuleFault) string {
	if a.Module != b.Module || a.Version != b.Version {
		return ""
	}
	switch {
	case a.Missing != 0 && b.Missing != 0:
		return "set `missing`"
	case a.Unknown != 0 && b.Unknown != 0:
		return "set `unknown`"
	case a.Zip != "" && b.Zip != "":
		return "set `zip`"
	case a.Mod != "" && b.Mod != "":
		return "set `mod`"
	case a.Missing != 0 && b.Unknown == 0 && !b.NoEscapes || b.Missing != 0 && a.Unknown == 0 && !a.NoEscapes:
		return "decide what there is, of which one says that there is nothing,"
	}
	return ""
}

func (f *ModuleFault) describe(w *words) {
	w.add("module", f.Module)
	w.add("version", f.Version)
	w.add("stale", f.Stale)
	w.add("missing", f.Missing)
	w.add("after", f.After)
	w.add("unknown", f.Unknown)
	w.add("uncached", f.Uncached)
	w.add("no-escapes", f.NoEscapes)
	w.add("zip", f.Zip)
	w.add("mod", f.Mod)
}

// checkUpstreams checks that the upstreams of module proxies are others, and that no chain of them is a ring.
func (d *decoder) checkUpstreams(w *World) {
	for i := range w.Hosts {
		h := &w.Hosts[i]
		if h.Upstream == "" {
			continue
		}
		switch up := w.upstreamOf(h); {
		case h.Role != RoleModuleProxy:
			d.failf(h.Pos, "`upstream:` is for a %s, not for a %s", RoleModuleProxy, h.Role)
		case up == nil:
			d.failf(h.Pos, "world has no host %s to be the upstream of %s%s", quote(h.Upstream), h.Name, suggest(h.Upstream, w.hostNames()))
		case up.Role != RoleModuleProxy:
			d.failf(h.Pos, "upstream %s is a %s, not a %s", quote(h.Upstream), up.Role, RoleModuleProxy)
		case w.inRing(h):
			d.failf(h.Pos, "upstreams of %s lead back to it", h.Name)
		}
	}
}

// upstreamOf returns the host that a module proxy asks for what it does not have, or nil.
func (w *World) upstreamOf(h *Host) *Host {
	i := slices.IndexFunc(w.Hosts, func(up Host) bool { return up.Name == h.Upstream })
	if i < 0 {
		return nil
	}
	return &w.Hosts[i]
}

func (w *World) inRing(h *Host) bool {
	up := w.upstreamOf(h)
	for range w.Hosts {
		if up == nil || up.Name == h.Name {
			break
		}
		up = w.upstreamOf(up)
	}
	return up != nil && up.Name == h.Name
}
