package verdict

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/record"
)

func outside(host string) bool { return host != "git.corp.example" && host != "inside.example" }

var secret = record.Project{Private: []string{
	"git.corp.example/team/secret", "git.corp.example/team/secret/v2", "git.corp.example/Upper", "github.com/acme/secret",
}}

func TestLeakOfOneRequest(t *testing.T) {
	for _, tc := range []struct {
		name, host, path string
		want             string
	}{
		{"list", "proxy.example", "/git.corp.example/team/secret/@v/list", "git.corp.example/team/secret"},
		{"zip", "proxy.example", "/git.corp.example/team/secret/@v/v1.0.0.zip", "git.corp.example/team/secret"},
		{"latest", "proxy.example", "/git.corp.example/team/secret/@latest", "git.corp.example/team/secret"},
		{"next major version", "proxy.example", "/git.corp.example/team/secret/v2/@v/list", "git.corp.example/team/secret/v2"},
		{"package", "proxy.example", "/git.corp.example/team/secret/pkg/@v/list", "git.corp.example/team/secret"},
		{"upper case", "proxy.example", "/git.corp.example/!upper/@v/list", "git.corp.example/Upper"},
		{"upper case, percent-encoded", "proxy.example", "/git.corp.example/%21upper/@v/list", "git.corp.example/Upper"},
		{"below a path", "proxy.example", "/goproxy/git.corp.example/team/secret/@v/list", "git.corp.example/team/secret"},
		{"known host", "proxy.example", "/github.com/acme/secret/@v/list", "github.com/acme/secret"},
		{"lookup", "sum.example", "/lookup/git.corp.example/!upper@v1.0.0", "git.corp.example/Upper"},
		{"lookup through a proxy", "proxy.example", "/sumdb/sum.example/lookup/github.com/acme/secret@v1.0.0", "github.com/acme/secret"},
		{"plain HTTP through a forward proxy", "fwd.example", "http://proxy.example/git.corp.example/Upper/@v/list", ""},
		{"the same, case-encoded", "fwd.example", "http://proxy.example/git.corp.example/!upper/@v/list", "git.corp.example/Upper"},
		{"go-get page through a forward proxy", "fwd.example", "http://git.corp.example/team/secret?go-get=1", "git.corp.example/team/secret"},
		{"go-get page", "github.com", "/acme/secret?go-get=1", "github.com/acme/secret"},
		{"git", "github.com:443", "/acme/secret.git/info/refs?service=git-upload-pack", "github.com/acme/secret"},
		{"git without suffix", "github.com", "/acme/secret/git-upload-pack", "github.com/acme/secret"},
		{"prefix", "proxy.example", "/git.corp.example/team/@v/list", "git.corp.example/team"},
		{"host as prefix", "proxy.example", "/git.corp.example/@v/list", "git.corp.example"},

		{"inside", "inside.example", "/git.corp.example/team/secret/@v/list", ""},
		{"inside, with port", "inside.example:8443", "/git.corp.example/team/secret/@v/list", ""},
		{"own go-get page", "git.corp.example", "/team/secret?go-get=1", ""},
		{"public module", "proxy.example", "/github.com/other/lib/@v/list", ""},
		{"prefix that is public anyway", "proxy.example", "/github.com/acme/@v/list", ""},
		{"name that only begins alike", "proxy.example", "/git.corp.example/team/secrets/@v/list", ""},
		{"name that only ends alike", "proxy.example", "/xgithub.com/acme/secret/@v/list", ""},
		{"tile", "sum.example", "/tile/8/0/000", ""},
		{"other page", "github.com", "/acme/secret", ""},
		{"CONNECT", "fwd.example", "git.corp.example:443", ""},
		{"nonsense", "proxy.example", "%zz", ""},
		{"lookup without version", "sum.example", "/lookup/github.com/acme/secret", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cell := &record.Cell{Requests: []record.Request{{Host: tc.host, Method: "GET", Path: tc.path}}}
			var want []record.Leak
			if tc.want != "" {
				want = []record.Leak{{Module: tc.want, Host: bareHost(tc.host), How: "GET " + tc.path}}
			}
			got := Leaks(cell, secret, outside)
			if len(want) == 0 {
				assert.Empty(t, got)
				return
			}
			assert.Equal(t, want, got)
		})
	}
}

func TestLeaksAreTold(t *testing.T) {
	get := func(server, path string) record.Request {
		return record.Request{Host: "proxy.example", Server: server, Method: "GET", Path: path}
	}
	cell := &record.Cell{Requests: []record.Request{
		get("proxy.example", "/git.corp.example/@v/list"), // goes, as the whole path follows
		get("proxy.example", "/git.corp.example/team/secret/@v/list"),
		get("proxy.example", "/git.corp.example/team/secret/@v/v1.0.0.mod"), // the same leak again
		get("other.example", "/git.corp.example/team/@v/list"),              // stays: other.example saw no more
		get("inside.example", "/git.corp.example/Upper/@v/list"),            // it is the server that counts
	}}
	assert.Equal(t, []record.Leak{
		{Module: "git.corp.example/team/secret", Host: "proxy.example", How: "GET /git.corp.example/team/secret/@v/list"},
		{Module: "git.corp.example/team", Host: "other.example", How: "GET /git.corp.example/team/@v/list"},
	}, Leaks(cell, secret, outside))
	assert.Empty(t, Leaks(cell, record.Project{}, outside), "a project without private modules")
}

// FuzzLeaks checks that no path makes Leaks fail or find what it should not look for.
func FuzzLeaks(f *testing.F) {
	f.Add("/git.corp.example/!upper/@v/list")
	f.Add("/sumdb/x/lookup/github.com/acme/secret@v1")
	f.Add("http://github.com/acme/secret.git/info/refs")
	f.Add("//@v/")
	f.Fuzz(func(t *testing.T, path string) {
		cell := &record.Cell{Requests: []record.Request{{Host: "proxy.example", Path: path}}}
		known := newPrivatePaths(secret.Private, outside)
		for _, l := range Leaks(cell, secret, outside) {
			assert.True(t, known.whole[l.Module] || known.prefix[l.Module], l.Module)
		}
	})
}
