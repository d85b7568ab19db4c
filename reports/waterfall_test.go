package reports

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

func TestWaterfallOrdersBarsByTheirStart(t *testing.T) {
	run, c := story()
	w := NewWaterfall(run, c)
	var kinds []BarKind
	last := record.Seconds(0)
	for _, b := range w.Bars {
		assert.GreaterOrEqual(t, b.Start, last)
		last = b.Start
		kinds = append(kinds, b.Kind)
	}
	assert.Equal(t, []BarKind{QueryBar, QueryBar, ConnBar, RequestBar, QueryBar, ConnBar, RequestBar, ConnBar}, kinds)
}

func TestWaterfallKeepsBarsWithinTheCell(t *testing.T) {
	run, c := story()
	c.Conns = append(c.Conns, record.Conn{Host: "late.example", Start: c.Seconds + 1})
	w := NewWaterfall(run, c)
	require.Len(t, w.Bars, len(c.Queries)+len(c.Conns)+len(c.Requests)-1, "what began after the end is left out")
	for _, b := range w.Bars {
		assert.LessOrEqual(t, b.End, w.End, b.What)
		at := b.Start
		for _, s := range b.Spans {
			assert.GreaterOrEqual(t, s.From, at, b.What)
			assert.LessOrEqual(t, s.To, b.End, b.What)
			at = s.To
		}
	}
}

func TestBarsSayHowTheirSubjectEnded(t *testing.T) {
	const end = 10
	tests := []struct {
		name   string
		cell   record.Cell
		result string
		failed bool
		open   bool
		to     record.Seconds
		spans  []verdict.Span
	}{
		{"an answered query", record.Cell{Queries: []record.Query{{Start: 1, End: 2, Answer: "noerror"}}},
			"noerror", false, false, 2, []verdict.Span{{Phase: verdict.DNS, From: 1, To: 2}}},
		{"a query without an answer ends when the resolver gives up", record.Cell{Queries: []record.Query{{Start: 1, Answer: "none"}}},
			"no answer", true, false, 6, []verdict.Span{{Phase: verdict.DNS, From: 1, To: 6}}},
		{"a query that is refused", record.Cell{Queries: []record.Query{{Start: 1, End: 1, Answer: "refused"}}},
			"refused", true, false, 1, nil},
		{"a connection that nobody answers", record.Cell{Conns: []record.Conn{{Start: 1}}},
			"no answer", true, true, end, []verdict.Span{{Phase: verdict.Connect, From: 1, To: end}}},
		{"a connection that is refused", record.Cell{Conns: []record.Conn{{Start: 1, End: 2, Reset: true}}},
			"refused", true, false, 2, []verdict.Span{{Phase: verdict.Connect, From: 1, To: 2}}},
		{"a handshake that never ends", record.Cell{Conns: []record.Conn{{Start: 1, Established: 2, TLS: true, End: 8}}},
			"no TLS", true, false, 8, []verdict.Span{{Phase: verdict.Connect, From: 1, To: 2}, {Phase: verdict.TLS, From: 2, To: 8}}},
		{"a connection that is reset", record.Cell{Conns: []record.Conn{{Start: 1, Established: 2, End: 3, Reset: true}}},
			"reset", true, false, 3, []verdict.Span{{Phase: verdict.Connect, From: 1, To: 2}}},
		{"a connection that outlives the go command", record.Cell{Conns: []record.Conn{{Start: 1, Established: 2, End: 11, Reset: true}}},
			"open", false, true, end, []verdict.Span{{Phase: verdict.Connect, From: 1, To: 2}}},
		{"an answered request", record.Cell{Requests: []record.Request{{Start: 1, First: 2, End: 4, Status: 200, Conn: -1}}},
			"200", false, false, 4, []verdict.Span{{Phase: verdict.Wait, From: 1, To: 2}, {Phase: verdict.Transfer, From: 2, To: 4}}},
		{"a module that the proxy does not have", record.Cell{Requests: []record.Request{{Start: 1, First: 2, End: 2, Status: 404, Conn: -1}}},
			"404", false, false, 2, []verdict.Span{{Phase: verdict.Wait, From: 1, To: 2}}},
		{"a request that the server fails", record.Cell{Requests: []record.Request{{Start: 1, First: 2, End: 2, Status: 503, Conn: -1}}},
			"503", true, false, 2, []verdict.Span{{Phase: verdict.Wait, From: 1, To: 2}}},
		{"an answer that is cut", record.Cell{Requests: []record.Request{{Start: 1, First: 2, Status: 200, Conn: -1}}},
			"200 cut", true, true, end, []verdict.Span{{Phase: verdict.Wait, From: 1, To: 2}, {Phase: verdict.Transfer, From: 2, To: end}}},
		{"a request without an answer", record.Cell{Requests: []record.Request{{Start: 1, Conn: -1}}},
			"no answer", true, true, end, []verdict.Span{{Phase: verdict.Wait, From: 1, To: end}}},
		{"a tunnel", record.Cell{Requests: []record.Request{{Start: 1, First: 2, Method: "CONNECT", Status: 200, Conn: -1}}},
			"200", false, false, 2, []verdict.Span{{Phase: verdict.Connect, From: 1, To: 2}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.cell.Seconds = end
			w := NewWaterfall(&record.Run{}, &test.cell)
			require.Len(t, w.Bars, 1)
			b := w.Bars[0]
			assert.Equal(t, test.result, b.Result)
			assert.Equal(t, test.failed, b.Failed, "failed")
			assert.Equal(t, test.open, b.Open, "open")
			assert.Equal(t, test.to, b.End)
			assert.Equal(t, test.spans, b.Spans)
		})
	}
}

func TestFaultBarsShowWhenTheFaultWasInForce(t *testing.T) {
	tests := []struct {
		name   string
		window record.Window
		want   []Interval
		often  bool
	}{
		{"always", record.Window{}, []Interval{{0, 10}}, false},
		{"from and until", record.Window{From: 2, Until: 5}, []Interval{{2, 5}}, false},
		{"after the end of the cell", record.Window{From: 12}, nil, false},
		{"flapping", record.Window{From: 1, Every: 4, For: 3}, []Interval{{1, 4}, {5, 8}, {9, 10}}, false},
		{"flapping until", record.Window{Every: 4, For: 3, Until: 6}, []Interval{{0, 3}, {4, 6}}, false},
		{"flapping more often than can be shown", record.Window{Every: 0.001, For: 0.0005}, []Interval{{0, 10}}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			run := &record.Run{Scenarios: []record.Scenario{{Name: "s", Windows: []record.Window{test.window}}}}
			c := &record.Cell{Key: record.Key{Scenario: "s"}, Seconds: 10, Faults: []record.FaultCount{{Fault: "f", Bit: 3}}}
			w := NewWaterfall(run, c)
			require.Len(t, w.Faults, 1)
			assert.Equal(t, FaultBar{Fault: "f", Bit: 3, Spans: test.want, Often: test.often}, w.Faults[0])
		})
	}
}

func TestCellNameSaysWhatTellsTheCellFromOthers(t *testing.T) {
	k := record.Key{Scenario: "dead-proxy", Config: "cn-comma", Project: "tiny", Go: "go1.26.8", Rep: 1}
	assert.Equal(t, "dead-proxy/cn-comma", CellName(&record.Run{Repeat: 1}, k))
	assert.Equal(t, "dead-proxy/cn-comma/2", CellName(&record.Run{Repeat: 3}, k))
	several := &record.Run{Repeat: 3, Projects: []record.Project{{Name: "tiny"}, {Name: "large"}}}
	assert.Equal(t, "dead-proxy/cn-comma/tiny/2", CellName(several, k))
}

// story is a run and a cell of it in which a dead mirror is followed by one that works, until the network
// goes away.
func story() (*record.Run, *record.Cell) {
	run := &record.Run{
		Version: record.Version, Simrun: "v0.1.0", Started: "2026-01-02T03:04:05Z", Seed: 7, Clock: "real", Timeout: 70, Repeat: 1,
		Vars: map[string]string{"go-proxy": "proxy.test", "go-sumdb": "sum.test"},
		Scenarios: []record.Scenario{{
			Name: "dead-proxy", About: "goproxy.cn swallows every packet for its first 31 s.", World: "office-cn",
			Faults: []string{
				"goproxy.cn packet loss=100% until=31s",
				"proxy.test http status=503 from=40s every=10s for=2s",
			},
			Windows: []record.Window{{Until: 31}, {From: 40, Every: 10, For: 2}},
			File:    "builtin/packet/dead-proxy.yaml",
		}},
		Configs:  []record.Config{{Name: "cn-pipe", Env: map[string]string{"GOPROXY": "https://goproxy.cn|https://proxy.test"}}},
		Projects: []record.Project{{Name: "small", Run: []string{"go", "mod", "tidy"}, Private: []string{"git.corp.example/team/tool"}}},
	}
	cell := &record.Cell{
		Key:     record.Key{Scenario: "dead-proxy", Config: "cn-pipe", Project: "small", Go: "go1.26.8"},
		Started: "2026-01-02T03:04:05.25Z", Outcome: record.Error, Class: "http-503", Exit: 1, Seconds: 32, RealSeconds: 32.2,
		Stderr: "go: git.corp.example/team/tool@v1.0.0: reading https://proxy.test/git.corp.example/team/tool/@v/v1.0.0.zip: 503 Service Unavailable\n",
		Queries: []record.Query{
			{Start: 0.011, End: 0.02, Server: "ns:ns1", Net: "udp", Name: "goproxy.cn", Type: "A", Answer: "noerror"},
			{Start: 0.012, End: 0.021, Server: "ns:ns1", Net: "udp", Name: "goproxy.cn", Type: "AAAA", Answer: "nodata"},
			{Start: 30.03, End: 30.04, Server: "ns:ns1", Net: "udp", Name: "proxy.test", Type: "A", Answer: "noerror"},
		},
		Conns: []record.Conn{
			{Host: "goproxy.cn", Addr: "198.18.1.3:443", Start: 0.022, SYNs: 5},
			{Host: "proxy.test", Addr: "198.18.1.4:443", Start: 30.05, Established: 30.27, TLS: true, Secured: 30.5, SYNs: 1, BytesUp: 2100, BytesDown: 5200},
			{Host: "git.corp.example", Addr: "198.18.1.6:443", Start: 31.9, Established: 31.91, End: 31.95, Reset: true, SYNs: 1},
		},
		Requests: []record.Request{
			{Start: 0.4, First: 0.5, End: 0.5, Host: "proxy.corp.example:8080", Server: "proxy.corp.example", Proto: "HTTP/1.1",
				Method: "CONNECT", Path: "goproxy.cn:443", Status: 200, Conn: -1},
			{Start: 30.51, First: 30.8, End: 31.6, Host: "proxy.test", Server: "proxy.test", Proto: "HTTP/2.0", Method: "GET",
				Path: "/git.corp.example/team/tool/@v/v1.0.0.zip", Status: 503, Bytes: 4096, Conn: 1},
		},
		Hosts:  []string{"ns:ns1", "goproxy.cn", "proxy.test", "git.corp.example"},
		Leaks:  []record.Leak{{Module: "git.corp.example/team/tool", Host: "proxy.test", How: "GET /git.corp.example/team/tool/@v/v1.0.0.zip"}},
		Faults: []record.FaultCount{{Fault: "goproxy.cn packet loss=100% until=31s", Bit: 5}, {Fault: "proxy.test http status=503 from=40s every=10s for=2s"}},
	}
	cell.Attribution = verdict.Attribute(cell)
	return run, cell
}
