package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/record"
)

func har(t *testing.T, run *record.Run, c *record.Cell) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, HAR(&b, run, c))
	return b.Bytes()
}

// entriesOf returns the entries of an archive as a reader finds them.
func entriesOf(t *testing.T, archive []byte) []harEntry {
	t.Helper()
	var f harFile
	require.NoError(t, json.Unmarshal(archive, &f))
	return f.Log.Entries
}

func TestHARIsAsTheFormatSays(t *testing.T) {
	schema, err := os.ReadFile("testdata/har-1.2.schema.json")
	require.NoError(t, err)
	var s harSchema
	require.NoError(t, json.Unmarshal(schema, &s))

	run, cells := small()
	all := []*record.Cell{}
	for i := range cells {
		all = append(all, &cells[i])
	}
	toldRun, told := story()
	storedRun, pipe := stored(t, "pipe")
	_, comma := stored(t, "comma")
	for r, list := range map[*record.Run][]*record.Cell{&run: all, toldRun: {told}, storedRun: {pipe, comma}} {
		for _, c := range list {
			var archive any
			require.NoError(t, json.Unmarshal(har(t, r, c), &archive))
			assert.Empty(t, s.check(s.Root, archive, "$"), CellName(r, c.Key))
		}
	}
}

// The check of the schema must be able to fail.
func TestHARSchemaRefusesWhatTheFormatForbids(t *testing.T) {
	text, err := os.ReadFile("testdata/har-1.2.schema.json")
	require.NoError(t, err)
	var s harSchema
	require.NoError(t, json.Unmarshal(text, &s))
	run, c := story()
	for _, change := range []struct{ from, to string }{
		{`"version": "1.2"`, `"version": 1.2`},
		{`"creator"`, `"maker"`},
		{`"startedDateTime": "2026`, `"startedDateTime": "yesterday`},
		{`"headersSize": -1`, `"headersSize": -2`},
		{`"send": 0`, `"sent": 0`},
		{`"url": "https:`, `"url": "not an address`},
	} {
		archive := har(t, run, c)
		require.Contains(t, string(archive), change.from)
		var value any
		require.NoError(t, json.Unmarshal([]byte(strings.Replace(string(archive), change.from, change.to, 1)), &value))
		assert.NotEmpty(t, s.check(s.Root, value, "$"), change.to)
	}
}

func TestHARTimesAddUp(t *testing.T) {
	run, c := story()
	storedRun, pipe := stored(t, "pipe")
	for _, archive := range [][]byte{har(t, run, c), har(t, storedRun, pipe)} {
		for _, e := range entriesOf(t, archive) {
			sum := 0.0
			for _, part := range []float64{e.Timings.Blocked, e.Timings.DNS, e.Timings.Connect, e.Timings.Send, e.Timings.Wait, e.Timings.Receive} {
				sum += max(part, 0) // connect includes ssl
			}
			assert.InDelta(t, e.Time, sum, 0.01, e.Request.URL)
			assert.LessOrEqual(t, e.Timings.SSL, e.Timings.Connect, e.Request.URL)
		}
	}
}

func TestHARTellsTheFirstRequestOnAConnectionWhatItTookToGetThere(t *testing.T) {
	run, c := story()
	c.Requests = append(c.Requests, record.Request{Start: 31.7, First: 31.8, End: 31.9, Host: "proxy.test", Proto: "HTTP/2.0",
		Method: "GET", Path: "/x?a=1&b=%20c&d", Status: 404, Conn: 1})
	entries := entriesOf(t, har(t, run, c))
	first, second := entries[1], entries[2]
	assert.Equal(t, harTimings{Blocked: 20, DNS: 10, Connect: 450, SSL: 230, Wait: 290, Receive: 800}, first.Timings)
	assert.Equal(t, "2026-01-02T03:04:35.280000Z", first.Started, "the query's")
	assert.Equal(t, "https://proxy.test/git.corp.example/team/tool/@v/v1.0.0.zip", first.Request.URL)
	assert.Equal(t, "198.18.1.4", first.ServerIP)
	assert.Equal(t, harTimings{DNS: -1, Connect: -1, SSL: -1, Wait: 100, Receive: 100}, second.Timings)
	assert.Equal(t, []harPair{{"a", "1"}, {"b", " c"}, {"d", ""}}, second.Request.QueryString)
}

func TestHARShowsConnectionsThatNoRequestWasSeenOn(t *testing.T) {
	run, c := story()
	entries := entriesOf(t, har(t, run, c))
	require.Len(t, entries, 4, "two requests, and two connections without any")
	dead, reset := entries[2], entries[3]
	assert.Equal(t, "https://goproxy.cn/", dead.Request.URL)
	assert.Equal(t, "(none)", dead.Request.Method)
	assert.Equal(t, "no answer", dead.Error)
	assert.Zero(t, dead.Response.Status)
	assert.InDelta(t, 31978, dead.Timings.Connect, 0.01)
	assert.Equal(t, "reset", reset.Error)
	assert.InDelta(t, 10, reset.Timings.Connect, 0.01)
	assert.InDelta(t, 40, reset.Timings.Wait, 0.01)
}

func TestHARTellsWritersErrors(t *testing.T) {
	run, c := story()
	full := errors.New("no space left")
	assert.ErrorIs(t, HAR(failingWriter{full}, run, c), full)
}

// Whatever servers and names say, the archive stays one that can be read.
func FuzzHAR(f *testing.F) {
	schema, err := os.ReadFile("testdata/har-1.2.schema.json")
	require.NoError(f, err)
	var s harSchema
	require.NoError(f, json.Unmarshal(schema, &s))
	f.Add("GET", "proxy.test", "/x?a=%zz&", 0.5, 0.2)
	f.Add("CONNECT", "p:8080", "goproxy.cn:443", -1.0, 1e9)
	f.Add("\x00", "\xff", "", 0.0, 0.0)
	f.Fuzz(func(t *testing.T, method, host, path string, start, first float64) {
		if !(start > -1e6 && start < 1e6 && first > -1e6 && first < 1e6) {
			t.Skip("no time of a cell")
		}
		run, c := story()
		c.Requests = append(c.Requests, record.Request{Method: method, Host: host, Path: path, Conn: 0,
			Start: record.Seconds(start), First: record.Seconds(first)})
		var archive any
		require.NoError(t, json.Unmarshal(har(t, run, c), &archive))
		require.Empty(t, s.check(s.Root, archive, "$"))
	})
}

// A harSchema is as much of JSON Schema as testdata/har-1.2.schema.json uses.
type harSchema struct {
	Root  *harRule            `json:"root"`
	Rules map[string]*harRule `json:"rules"`
}

type harRule struct {
	Ref        string              `json:"ref"`
	Type       string              `json:"type"`
	Format     string              `json:"format"`
	Minimum    *float64            `json:"minimum"`
	Required   []string            `json:"required"`
	Properties map[string]*harRule `json:"properties"`
	Items      *harRule            `json:"items"`
}

// check returns what is wrong with a value, one text each.
func (s *harSchema) check(r *harRule, value any, at string) (wrong []string) {
	if r.Ref != "" {
		return s.check(s.Rules[r.Ref], value, at)
	}
	switch v := value.(type) {
	case map[string]any:
		wrong = append(wrong, s.checkObject(r, v, at)...)
	case []any:
		for i, item := range v {
			wrong = append(wrong, s.check(r.Items, item, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case string:
		if !hasFormat(r.Format, v) {
			wrong = append(wrong, fmt.Sprintf("%s: %q is no %s", at, v, r.Format))
		}
	case float64:
		if r.Minimum != nil && v < *r.Minimum || r.Type == "integer" && v != float64(int64(v)) {
			wrong = append(wrong, fmt.Sprintf("%s: %v is out of range", at, v))
		}
	}
	if !slices.Contains(map[string][]string{"object": {"map[string]interface {}"}, "array": {"[]interface {}"},
		"string": {"string"}, "number": {"float64"}, "integer": {"float64"}}[r.Type], fmt.Sprintf("%T", value)) {
		wrong = append(wrong, fmt.Sprintf("%s is no %s", at, r.Type))
	}
	return wrong
}

func (s *harSchema) checkObject(r *harRule, v map[string]any, at string) (wrong []string) {
	for _, name := range r.Required {
		if _, ok := v[name]; !ok {
			wrong = append(wrong, at+" lacks "+name)
		}
	}
	for name, item := range v {
		rule := r.Properties[name]
		switch {
		case rule != nil:
			wrong = append(wrong, s.check(rule, item, at+"."+name)...)
		case !strings.HasPrefix(name, "_"):
			wrong = append(wrong, fmt.Sprintf("%s.%s is not in the format, and has no underscore", at, name))
		}
	}
	return wrong
}

func hasFormat(format, v string) bool {
	switch format {
	case "date-time":
		_, err := time.Parse(time.RFC3339Nano, v)
		return err == nil
	case "uri":
		u, err := url.Parse(v)
		return err == nil && u.Scheme != ""
	}
	return true
}
