package scenarios

import "slices"

// A VCSFault changes what a version control host says of its repositories, or what it has in them.
type VCSFault struct {
	Module       string     // glob over the module's path, host included; empty means all
	Meta         Meta       // what is wrong with the ?go-get=1 pages
	Repositories string     // host that the pages send git to instead
	Repository   Repository // how the host answers git instead of serving it
	Pack         Pack       // what becomes of the objects on their way to git
	Tags         Tags       // what has become of the tags since module proxies fetched the versions
	Ballast      Size       // data in each commit that belongs to no module; 0 means none
}

// A Meta is what is wrong with the go-import tag (https://go.dev/ref/mod#vcs-find) of a page.
type Meta string

// The pages of the language.
const (
	MetaMissing     Meta = "missing"      // a page without the tag
	MetaMalformed   Meta = "malformed"    // one that ends within the tag
	MetaWrongPrefix Meta = "wrong-prefix" // the tag is about another import path
	MetaUnknownVCS  Meta = "unknown-vcs"  // it names a version control system that the go command does not know
	MetaPlainHTTP   Meta = "plain-http"   // it sends git to an URL without TLS
)

// A Repository is how a host answers git, with the words that hosting sites use.
type Repository string

// The answers of the language.
const (
	RepositoryNotFound     Repository = "not-found"     // 404
	RepositoryForbidden    Repository = "forbidden"     // 403
	RepositoryUnauthorized Repository = "unauthorized"  // 401, whatever credentials git sends
	RepositoryRateLimited  Repository = "rate-limited"  // 429
	RepositoryRemoteError  Repository = "remote-error"  // 200 with an ERR line, see gitprotocol-pack(5)
	RepositorySignInPage   Repository = "sign-in-page"  // 200 with HTML
	RepositoryDumb         Repository = "dumb-protocol" // the repository as files, see gitprotocol-http(5)
)

// A Pack is what becomes of a packfile between host and client. All of them end half way.
type Pack string

// The packs of the language.
const (
	PackCut     Pack = "cut"     // the answer ends
	PackStalled Pack = "stalled" // nothing more comes
	PackAborted Pack = "aborted" // the host says that it cannot go on, see gitprotocol-pack(5)
	PackCorrupt Pack = "corrupt" // a byte has changed
)

// Tags is what has become of a repository's tags.
type Tags string

// The tags of the language.
const (
	TagsMoved   Tags = "moved" // to commits with other content
	TagsMissing Tags = "missing"
)

var (
	metaValue       = oneOf("meta", MetaMissing, MetaMalformed, MetaWrongPrefix, MetaUnknownVCS, MetaPlainHTTP)
	repositoryValue = oneOf("repository", RepositoryNotFound, RepositoryForbidden, RepositoryUnauthorized,
		RepositoryRateLimited, RepositoryRemoteError, RepositorySignInPage, RepositoryDumb)
	packValue = oneOf("pack", PackCut, PackStalled, PackAborted, PackCorrupt)
	tagsValue = oneOf("tags", TagsMoved, TagsMissing)
)

func vcsFields(f *VCSFault) fields {
	return fields{
		"module":       set(&f.Module, textValue),
		"meta":         set(&f.Meta, metaValue),
		"repositories": set(&f.Repositories, hostValue),
		"repository":   set(&f.Repository, repositoryValue),
		"pack":         set(&f.Pack, packValue),
		"tags":         set(&f.Tags, tagsValue),
		"ballast":      set(&f.Ballast, sizeValue),
	}
}

func checkVCS(d *decoder, f *VCSFault, pos Position) {
	served := f.Repository == "" || f.Repository == RepositoryDumb
	switch {
	case !f.aboutPages() && !f.aboutGit():
		d.failf(pos, "vcs fault changes nothing")
	case f.Meta != "" && f.Repositories != "":
		d.failf(pos, "`meta: %s` and `repositories:` contradict each other: both say what the tag of a page is", f.Meta)
	case !served && (f.Pack != "" || f.Altered()):
		d.failf(pos, "`repository: %s` leaves no repository for `pack:`, `tags:` and `ballast:` to change", f.Repository)
	case f.Repository == RepositoryDumb && f.Pack != "":
		d.failf(pos, "`repository: %s` sends the files of a repository, and no pack is made for the client", f.Repository)
	case f.Ballast > MaxBallast:
		d.failf(pos, "ballast %v is out of range: at most %v", f.Ballast, MaxBallast)
	}
}

// MaxBallast is the most Ballast of a VCSFault. Each repository that the fault is about takes so much of the
// disk, once for all runs.
const MaxBallast Size = 256 << 20

func (f *VCSFault) aboutPages() bool { return f.Meta != "" || f.Repositories != "" }

func (f *VCSFault) aboutGit() bool { return f.Repository != "" || f.Pack != "" || f.Altered() }

// Altered reports whether the fault is about what is in the repositories.
func (f *VCSFault) Altered() bool { return f.Tags != "" || f.Ballast > 0 }

// Concerns reports whether the fault is about the module of a path.
func (f *VCSFault) Concerns(path string) bool { return f.Module == "" || Glob(f.Module, path) }

// askedForPages reports whether the go command asks a host for ?go-get=1 pages. It knows by itself where the
// repositories of some hosts are: vcsPaths in cmd/go/internal/vcs/vcs.go.
func (h *Host) askedForPages() bool { return h.Name != "github.com" && h.Name != "bitbucket.org" }

// keepRepositories leaves those hosts of a vcs fault that have what the fault is about.
func (d *decoder) keepRepositories(f *Fault, w *World, at Position) {
	all := f.Target.Hosts
	if f.VCS == nil || len(all) == 0 {
		return
	}
	f.Target.Hosts = slices.DeleteFunc(slices.Clone(all), func(i int) bool { return f.VCS.unfit(&w.Hosts[i]) != "" })
	if len(f.Target.Hosts) == 0 {
		d.failf(at, "%s %s", quote(f.Target.Pattern), f.VCS.unfit(&w.Hosts[all[0]]))
	}
}

// unfit says why the fault cannot be at a host, or returns "".
func (f *VCSFault) unfit(h *Host) string {
	switch {
	case h.Role != RoleVCS:
		return "is a " + string(h.Role) + ", and a `vcs:` fault is at a " + string(RoleVCS)
	case h.Server != nil:
		return "is served by " + h.Server.Program() + ", and a `vcs:` fault is about what simrun's own servers have"
	case !f.aboutGit() && !h.askedForPages():
		return "is asked for no pages: the go command knows by itself where its repositories are"
	case !f.aboutPages() && h.CodeHost != "":
		return "has pages only; its repositories are on " + h.CodeHost
	}
	return ""
}

// checkRepositories checks what the hosts of a world say of where their repositories are.
func (d *decoder) checkRepositories(w *World) {
	for i := range w.Hosts {
		h := &w.Hosts[i]
		if h.CodeHost == "" || h.Role != RoleVCS {
			continue
		}
		var known []string
		var code *Host
		for j := range w.Hosts {
			if other := &w.Hosts[j]; j != i && other.Role == RoleVCS && other.CodeHost == "" && slices.Contains(other.Ports(), 443) {
				known = append(known, other.Name)
				if other.Name == h.CodeHost {
					code = other
				}
			}
		}
		switch {
		case code == nil:
			d.failf(h.Pos, "world has no %s %s on port 443 with repositories%s", RoleVCS, quote(h.CodeHost), suggest(h.CodeHost, known))
		case h.Private && !code.Private:
			d.failf(h.Pos, "%s is private, and its repositories are on %s, which is not", h.Name, code.Name)
		case !h.askedForPages():
			d.failf(h.Pos, "the go command asks %s for no pages: it knows by itself where its repositories are", h.Name)
		}
	}
}

func vcsContradiction(a, b *VCSFault) string {
	switch {
	case a.Module != b.Module:
		return ""
	case a.aboutPages() && b.aboutPages():
		return "set the tag of pages"
	case a.Repository != "" && b.Repository != "":
		return "set `repository`"
	case a.Pack != "" && b.Pack != "":
		return "set `pack`"
	case a.Altered() && b.Altered():
		return "set what is in the repositories"
	}
	return ""
}

func (f *VCSFault) describe(w *words) {
	w.add("module", f.Module)
	w.add("meta", f.Meta)
	w.add("repositories", f.Repositories)
	w.add("repository", f.Repository)
	w.add("pack", f.Pack)
	w.add("tags", f.Tags)
	w.add("ballast", f.Ballast)
}
