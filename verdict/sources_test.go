package verdict

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/record"
)

func zipRequest(host string, status int) record.Request {
	return record.Request{Method: "GET", Host: host, Server: host, Path: "/example.com/!a/@v/v1.0.0.zip", Status: status, Start: 1, End: 2, Conn: -1}
}

func TestSources(t *testing.T) {
	run := &record.Run{
		Vars:    map[string]string{"go-proxy": "default.test"},
		Configs: []record.Config{{Name: "list", Env: map[string]string{"GOPROXY": "https://a.test,https://b.test|direct"}}, {Name: "unset"}},
	}
	cached := []record.Module{{Path: "example.com/A", Version: "v1.0.0", Sum: "h1:x="}}
	pack := record.Request{Method: "POST", Host: "example.com", Server: "example.com", Path: "/A.git/git-upload-pack", Status: 200, End: 3, Conn: -1}
	cut := zipRequest("a.test", 200)
	cut.Error = "client gone"
	silent := zipRequest("a.test", 0)
	silent.End = 0
	for _, tc := range []struct {
		name string
		cell record.Cell
		want string
	}{
		{"the first", record.Cell{Modules: cached, Requests: []record.Request{zipRequest("a.test", 200)}}, "a.test: example.com/A@v1.0.0"},
		{"the second", record.Cell{Modules: cached, Requests: []record.Request{zipRequest("a.test", 404), zipRequest("a.test", 404), zipRequest("b.test", 200)}},
			"b.test: example.com/A@v1.0.0, after a.test (404 Not Found)"},
		{"the origin", record.Cell{Modules: cached, Requests: []record.Request{zipRequest("a.test", 404), zipRequest("b.test", 503), pack}},
			"example.com: example.com/A@v1.0.0, after a.test (404 Not Found), b.test (503 Service Unavailable)"},
		{"past a black hole", record.Cell{Modules: cached, Conns: []record.Conn{{Host: "a.test"}}, Requests: []record.Request{zipRequest("b.test", 200)}},
			"b.test: example.com/A@v1.0.0, after a.test (no connection)"},
		{"past a cut", record.Cell{Modules: cached, Requests: []record.Request{cut, zipRequest("b.test", 200)}},
			"b.test: example.com/A@v1.0.0, after a.test (broke off)"},
		{"nobody", record.Cell{Requests: []record.Request{zipRequest("a.test", 200)}}, "nobody: example.com/A@v1.0.0, after a.test (sent, and not accepted)"},
		{"silence", record.Cell{Requests: []record.Request{silent}}, "nobody: example.com/A@v1.0.0, after a.test (no answer)"},
		{"git alone", record.Cell{Modules: cached, Requests: []record.Request{pack}}, "example.com: example.com/A@v1.0.0"},
		{"the disk", record.Cell{Modules: cached}, "the client's own disk: example.com/A@v1.0.0"},
		{"the default", record.Cell{Key: record.Key{Config: "unset"}, Requests: []record.Request{zipRequest("default.test", 500)}},
			"nobody: example.com/A@v1.0.0, after default.test (500 Internal Server Error)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.cell.Config == "" {
				tc.cell.Config = "list"
			}
			all := Sources(run, &tc.cell)
			if assert.Len(t, all, 1) {
				assert.Equal(t, tc.want, all[0].String())
			}
		})
	}
}

// TestSourcesOfCaches checks that what a caching proxy asks its upstream is not taken for the client's.
func TestSourcesOfCaches(t *testing.T) {
	run := &record.Run{Configs: []record.Config{{Name: "c", Env: map[string]string{"GOPROXY": "https://a.test"}}}}
	up := zipRequest("up.test", 404)
	up.Conn = 0
	cell := &record.Cell{Key: record.Key{Config: "c"}, Conns: []record.Conn{{Host: "up.test", From: "a.test"}},
		Modules:  []record.Module{{Path: "example.com/A", Version: "v1.0.0", Sum: "h1:x="}, {Path: "example.com/b", Version: "v1.0.0", Sum: "h1:y="}},
		Requests: []record.Request{up, zipRequest("a.test", 200)}}
	all := Sources(run, cell)
	if assert.Len(t, all, 2) {
		assert.Equal(t, "a.test: example.com/A@v1.0.0", all[0].String())
		assert.Equal(t, "the client's own disk: example.com/b@v1.0.0", all[1].String())
	}
}
