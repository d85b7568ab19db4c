//go:build linux

package harness

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/simrun/simrun/scenarios"
)

// showsMeta says by what a client knows each of the pages of the language.
var showsMeta = map[scenarios.Meta]func(sighting) bool{
	scenarios.MetaMissing:     func(g sighting) bool { return g.Status == 200 && !strings.Contains(g.Text, "go-import") },
	scenarios.MetaMalformed:   func(g sighting) bool { return says("go-import")(g) && !says(`.git">`)(g) },
	scenarios.MetaWrongPrefix: says(`content="elsewhere.example/`),
	scenarios.MetaUnknownVCS:  says(" cvs https://"),
	scenarios.MetaPlainHTTP:   says(" git http://"),
}

// showsRepository says by what a client that speaks HTTP knows each of the answers of the language.
var showsRepository = map[scenarios.Repository]func(sighting) bool{
	scenarios.RepositoryNotFound:     refuses(404, "Repository not found."),
	scenarios.RepositoryForbidden:    refuses(403, "SAML SSO"),
	scenarios.RepositoryUnauthorized: refuses(401, "Invalid username or token."),
	scenarios.RepositoryRateLimited:  refuses(429, "rate limit exceeded"),
	scenarios.RepositoryRemoteError:  says("ERR The git server is currently unable to handle this request"),
	scenarios.RepositorySignInPage:   says("<title>Sign in</title>"),
	scenarios.RepositoryDumb:         says("\trefs/heads/main\n"),
}

// showsPack says how git ends where a pack does not come as it should.
var showsPack = map[scenarios.Pack]func(sighting) bool{
	scenarios.PackCut:     fails("disconnect"),
	scenarios.PackStalled: fails("timeout"),
	scenarios.PackAborted: fails("aborting due to possible repository corruption on the remote side"),
	scenarios.PackCorrupt: fails("inflate"),
}

// says reports whether the beginning of a good answer has some words.
func says(words string) func(sighting) bool { return refuses(200, words) }

func refuses(status int, words string) func(sighting) bool {
	return func(g sighting) bool { return g.Status == status && strings.Contains(g.Text, words) }
}

// fails reports whether a shell command failed with some words.
func fails(words string) func(sighting) bool {
	return func(g sighting) bool { return g.Failed == "shell" && strings.Contains(g.Err, words) }
}

func (t *town) vcsChecks(f *scenarios.Fault) (all []check, err error) {
	if all, err = each(t.spots(f.Target, ""), func(s spot) ([]check, error) { return t.vcsPageChecks(f.VCS, s) }); err != nil {
		return nil, err
	}
	for _, i := range f.Target.Hosts {
		own, err := t.gitChecks(f.VCS, &t.world.Hosts[i])
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	return all, nil
}

// vcsPageChecks are those that take one request.
func (t *town) vcsPageChecks(f *scenarios.VCSFault, s spot) (all []check, err error) {
	about := func(target string, shows func(sighting) bool) error {
		for _, m := range t.modulesAt(s.host) {
			if f.Concerns(m.path) {
				v, err := t.visit(s, "", m.at)
				v.Target = m.at + target
				all = append(all, check{about: v.Target, probe: s.visiting(v, enough), shows: shows})
				return err
			}
		}
		return fmt.Errorf("no module is %q", f.Module)
	}
	switch {
	case f.Meta != "":
		err = about("?go-get=1", showsMeta[f.Meta])
	case f.Repositories != "":
		err = about("?go-get=1", says(" git https://"+f.Repositories+"/"))
	}
	if f.Repository != "" && err == nil {
		err = about("/info/refs?service=git-upload-pack", showsRepository[f.Repository])
	}
	return all, err
}

// gitChecks are those in which git is the client.
func (t *town) gitChecks(f *scenarios.VCSFault, h *scenarios.Host) (all []check, err error) {
	modules := slices.DeleteFunc(t.modulesAt(h), func(m moduleAt) bool { return !f.Concerns(m.path) })
	if len(modules) == 0 {
		return nil, fmt.Errorf("no module is %q", f.Module)
	}
	url := "https://" + h.Name + modules[0].at
	add := func(about, script string, shows func(sighting) bool) {
		c := check{about: about, shows: shows}
		c.probe = probe{Shell: "cd $(mktemp -d) && url=" + url + " && " + script, Limit: enough, Times: 1}
		if f.Pack == scenarios.PackStalled {
			c.probe.Limit = silence
		}
		all = append(all, c)
	}
	const clone = `git -c advice.detachedHead=false clone --quiet --depth=1 --branch=v1.0.0 $url clone && `
	if f.Pack != "" {
		add("pack", clone+"true", showsPack[f.Pack])
	}
	switch f.Tags {
	case scenarios.TagsMoved:
		add("moved", clone+"cat clone/LICENSE", printed("This tag was moved."))
	case scenarios.TagsMissing:
		add("no tags", `git ls-remote --tags $url | wc -l`, func(g sighting) bool { return g.well() && g.Text == "0" })
	}
	if f.Ballast > 0 {
		add("ballast", clone+"cat clone/ballast/* | wc -c", func(g sighting) bool {
			n, _ := strconv.ParseInt(g.Text, 10, 64)
			return n >= int64(f.Ballast)
		})
	}
	return all, nil
}

// printed reports whether a program that went well printed some words.
func printed(words string) func(sighting) bool {
	return func(g sighting) bool { return g.well() && strings.Contains(g.Text, words) }
}

// A moduleAt is a module whose page or repository is at a host.
type moduleAt struct {
	path string // of the module
	at   string // path of the URL
}

// modulesAt returns the modules that a VCS host has pages or repositories of.
func (t *town) modulesAt(h *scenarios.Host) (all []moduleAt) {
	codeHosts := codeHosts(t.world)
	for _, m := range t.modules {
		host, path, _ := strings.Cut(m.Path, "/")
		if host == h.Name || codeHosts[host] == h.Name {
			all = append(all, moduleAt{m.Path, "/" + path})
		}
	}
	return all
}
