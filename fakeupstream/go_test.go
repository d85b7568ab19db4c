package fakeupstream_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
)

const sumName = "sum.test"

// world serves a universe from a public proxy, its checksum database, and both code hosts.
func world(t *testing.T, u *fakeupstream.Universe) (in *internet, vkey string) {
	skey, vkey := keys(t, sumName)
	db, err := fakeupstream.NewChecksumDB(sumName, skey, u.Modules)
	require.NoError(t, err)
	vcs := &fakeupstream.VCS{Dir: u.Git, Stderr: t.Output()}
	return newInternet(t, map[string]http.Handler{
		"proxy.test": &fakeupstream.ModuleProxy{
			Tree:        os.DirFS(u.Proxy),
			Knows:       func(path string) bool { return !u.IsPrivate(path) },
			ChecksumDBs: []*fakeupstream.ChecksumDB{db},
		},
		"bare.test":        &fakeupstream.ModuleProxy{Tree: os.DirFS(u.Proxy)},
		sumName:            db,
		"github.com":       vcs,
		"git.corp.example": vcs,
	}), vkey
}

// TestGoModTidy runs the real go command against everything at once.
func TestGoModTidy(t *testing.T) {
	u := generate(t)
	in, vkey := world(t, u)
	tests := []struct {
		name string
		env  []string
		want []string // hosts that were asked
		not  []string // hosts that were not
	}{
		{
			name: "sums through the proxy",
			env:  []string{"GOPROXY=https://proxy.test", "GOPRIVATE=git.corp.example"},
			want: []string{"proxy.test", "git.corp.example"},
			not:  []string{"github.com", sumName},
		},
		{
			name: "sums from the database itself",
			env:  []string{"GOPROXY=https://bare.test", "GONOSUMDB=git.corp.example"},
			want: []string{"bare.test", sumName},
			not:  []string{"github.com", "git.corp.example"},
		},
		{
			name: "without a proxy",
			env:  []string{"GOPROXY=direct", "GONOSUMDB=git.corp.example"},
			want: []string{"github.com", "git.corp.example", sumName},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := len(in.log.Requests())
			g := newGo(t, in, append(test.env, "GOSUMDB="+vkey)...)
			require.NoError(t, os.CopyFS(g.dir, os.DirFS(u.Project)))
			output, err := g.run(t, "mod", "tidy")
			require.NoError(t, err, output)
			output, err = g.run(t, "list", "-deps", ".")
			require.NoError(t, err, output)
			assert.Contains(t, output, "git.corp.example/team/secret002\n", "a private module at the end of a chain")

			asked := make(map[string]bool)
			for _, r := range in.log.Requests()[before:] {
				asked[r.Host] = true
			}
			for _, host := range test.want {
				assert.True(t, asked[host], "%s was not asked", host)
			}
			for _, host := range test.not {
				assert.False(t, asked[host], "%s was asked", host)
			}
			goSum, err := os.ReadFile(filepath.Join(g.dir, "go.sum"))
			require.NoError(t, err)
			for _, m := range u.Modules {
				if m.Version == "v1.1.0" {
					assert.Contains(t, string(goSum), m.Path+" v1.1.0 "+m.Sum+"\n")
					assert.Contains(t, string(goSum), m.Path+" v1.1.0/go.mod "+m.GoModSum+"\n")
				}
			}
		})
	}
}

// A lying checksum database is an honest one over wrong sums.
func TestGoModTidyWithLyingDatabase(t *testing.T) {
	u := generate(t)
	wrong := append([]fakeupstream.Module(nil), u.Modules...)
	for i := range wrong {
		wrong[i].Sum = "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	}
	skey, vkey := keys(t, sumName)
	db, err := fakeupstream.NewChecksumDB(sumName, skey, wrong)
	require.NoError(t, err)
	in := newInternet(t, map[string]http.Handler{
		"proxy.test": &fakeupstream.ModuleProxy{Tree: os.DirFS(u.Proxy), ChecksumDBs: []*fakeupstream.ChecksumDB{db}},
	})
	g := newGo(t, in, "GOPROXY=https://proxy.test", "GOSUMDB="+vkey)
	require.NoError(t, os.CopyFS(g.dir, os.DirFS(u.Project)))
	output, err := g.run(t, "mod", "tidy")
	require.Error(t, err)
	assert.Contains(t, output, "SECURITY ERROR")
}

// Words that the go command shows its user.
func TestGoErrors(t *testing.T) {
	u := generate(t)
	in, vkey := world(t, u)
	g := newGo(t, in, "GOPROXY=https://proxy.test", "GOSUMDB="+vkey)
	tests := []struct{ query, want string }{
		{"github.com/acme/lib001@v9.9.9", "not found: github.com/acme/lib001@v9.9.9: invalid version: unknown revision v9.9.9"},
		{"git.corp.example/team/secret001@v1.0.0", "404 Not Found"},
		{"github.com/acme/none@latest", "not found: module github.com/acme/none: no matching versions"},
	}
	for _, test := range tests {
		output, err := g.run(t, "mod", "download", test.query)
		require.Error(t, err)
		assert.Contains(t, output, test.want)
	}
}
