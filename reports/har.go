package reports

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/simrun/simrun/record"
)

// The HTTP archive format, version 1.2: http://www.softwareishard.com/blog/har-12-spec/. Keys that begin
// with an underscore are our own, as the format allows.
type (
	harFile struct {
		Log harLog `json:"log"`
	}
	harLog struct {
		Version string     `json:"version"`
		Creator harCreator `json:"creator"`
		Pages   []harPage  `json:"pages"`
		Entries []harEntry `json:"entries"`
		Comment string     `json:"comment"`

		Queries []record.Query `json:"_queries"`
		Conns   []record.Conn  `json:"_connections"`
	}
	harCreator struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	harPage struct {
		Started string         `json:"startedDateTime"`
		ID      string         `json:"id"`
		Title   string         `json:"title"`
		Timings harPageTimings `json:"pageTimings"`
		Comment string         `json:"comment"`
	}
	harPageTimings struct {
		OnContentLoad float64 `json:"onContentLoad"`
		OnLoad        float64 `json:"onLoad"`
	}
	harEntry struct {
		Page       string      `json:"pageref"`
		Started    string      `json:"startedDateTime"`
		Time       float64     `json:"time"`
		Request    harRequest  `json:"request"`
		Response   harResponse `json:"response"`
		Cache      struct{}    `json:"cache"`
		Timings    harTimings  `json:"timings"`
		ServerIP   string      `json:"serverIPAddress,omitempty"`
		Connection string      `json:"connection,omitempty"`
		Comment    string      `json:"comment,omitempty"`
		Server     string      `json:"_server,omitempty"` // host of the world that answered
		Error      string      `json:"_error,omitempty"`
	}
	harRequest struct {
		Method      string    `json:"method"`
		URL         string    `json:"url"`
		Version     string    `json:"httpVersion"`
		Cookies     []harPair `json:"cookies"`
		Headers     []harPair `json:"headers"`
		QueryString []harPair `json:"queryString"`
		HeadersSize int       `json:"headersSize"`
		BodySize    int       `json:"bodySize"`
	}
	harResponse struct {
		Status      int        `json:"status"`
		StatusText  string     `json:"statusText"`
		Version     string     `json:"httpVersion"`
		Cookies     []harPair  `json:"cookies"`
		Headers     []harPair  `json:"headers"`
		Content     harContent `json:"content"`
		RedirectURL string     `json:"redirectURL"`
		HeadersSize int        `json:"headersSize"`
		BodySize    int64      `json:"bodySize"`
	}
	harContent struct {
		Size    int64  `json:"size"`
		Type    string `json:"mimeType"`
		Comment string `json:"comment"`
	}
	harPair struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	// harTimings are in milliseconds; -1 means that the request had no such part, or that it is unknown.
	// Connect includes SSL.
	harTimings struct {
		Blocked float64 `json:"blocked"`
		DNS     float64 `json:"dns"`
		Connect float64 `json:"connect"`
		SSL     float64 `json:"ssl"`
		Send    float64 `json:"send"`
		Wait    float64 `json:"wait"`
		Receive float64 `json:"receive"`
	}
)

const (
	harPageID  = "cell"
	harUnknown = -1
	harNoType  = "x-unknown" // what browsers write for a type that they do not know
	harAbsent  = "Recorded are times, sizes and statuses. Headers, cookies and bodies are not. Connections " +
		"on which no request reached a server have entries with the method (none)."
)

// HAR writes the requests of a cell as an HTTP archive, version 1.2, which browsers and many other tools
// read. The first request on a connection carries the time of its DNS queries, connect and TLS handshake.
// What the record does not have (headers, cookies, bodies) is left empty, and the archive says so. The
// queries and connections are in it as the record has them, as _queries and _connections.
func HAR(w io.Writer, run *record.Run, c *record.Cell) error {
	h := &archivist{cell: c, first: map[int]bool{}}
	log := harLog{
		Version: "1.2", Creator: harCreator{"simrun", run.Simrun}, Comment: harAbsent, Entries: []harEntry{},
		Queries: c.Queries, Conns: c.Conns,
		Pages: []harPage{{
			Started: h.clock(0), ID: harPageID, Title: CellName(run, c.Key),
			Timings: harPageTimings{OnContentLoad: harUnknown, OnLoad: milliseconds(c.Seconds)},
			Comment: resultText(c.Outcome, c.Seconds) + " " + c.Class,
		}},
	}
	for i := range c.Requests {
		log.Entries = append(log.Entries, h.request(&c.Requests[i]))
	}
	for i := range c.Conns {
		if c.Conns[i].From == "" && !h.first[i] && !strings.HasPrefix(c.Conns[i].Host, "ns:") {
			log.Entries = append(log.Entries, h.barren(i))
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(harFile{log}); err != nil {
		return fmt.Errorf("write the HTTP archive: %w", err)
	}
	return nil
}

// An archivist makes the entries of one cell.
type archivist struct {
	cell  *record.Cell
	first map[int]bool // connections of which a request has been seen
}

// clock writes a moment of the cell as the wall clock showed it.
func (h *archivist) clock(at record.Seconds) string {
	return h.cell.At(at).Format("2006-01-02T15:04:05.000000Z07:00")
}

func milliseconds(s record.Seconds) float64 { return math.Round(float64(s)*1e6) / 1e3 }

// request makes the entry of a request.
func (h *archivist) request(r *record.Request) harEntry {
	end := r.End
	if end == 0 {
		end = h.connEnd(r.Conn)
	}
	end = max(end, r.Start)
	first := end // of the answer
	if r.First > 0 {
		first = min(max(r.First, r.Start), end)
	}
	started, timings := h.approach(r.Conn, r.Start)
	timings.Wait, timings.Receive = milliseconds(first-r.Start), milliseconds(end-first)
	e := h.entry(r.Conn, r.Method, address(h.target(r)), r.Proto, started, end, timings)
	e.Server, e.Error = r.Server, r.Error
	e.Response.Status, e.Response.BodySize, e.Response.Content.Size = r.Status, r.Bytes, r.Bytes
	if r.Status == 0 && r.Error == "" {
		e.Error = "no answer"
	}
	return e
}

// barren makes the entry of a connection on which no request was seen: what it was for is not known, but
// its time was spent.
func (h *archivist) barren(i int) harEntry {
	c := &h.cell.Conns[i]
	end := max(h.connEnd(i), c.Start)
	bar := connBar(h.cell, i)
	sent := end // nothing, unless the handshakes ended
	if ready := max(c.Established, c.Tunnel, c.Secured); bar.Result != "no TLS" && ready > 0 {
		sent = min(ready, end)
	}
	started, timings := h.approach(i, sent)
	timings.Wait = milliseconds(end - sent)
	e := h.entry(i, "(none)", address(h.origin(i)+"/"), "", started, end, timings)
	e.Error = bar.Result
	e.Comment = "No request was seen on this connection."
	return e
}

// connEnd returns when a connection ended: with the cell if it did not by itself.
func (h *archivist) connEnd(i int) record.Seconds {
	if i >= 0 && i < len(h.cell.Conns) && h.cell.Conns[i].End > 0 {
		return h.cell.Conns[i].End
	}
	return h.cell.Seconds
}

// entry makes an entry of what every one has.
func (h *archivist) entry(conn int, method, target, proto string, started, end record.Seconds, t harTimings) harEntry {
	e := harEntry{
		Page: harPageID, Started: h.clock(started), Time: milliseconds(end - started), Timings: t,
		Request: harRequest{Method: method, URL: target, Version: proto, Cookies: []harPair{}, Headers: []harPair{},
			QueryString: queryPairs(target), HeadersSize: harUnknown, BodySize: harUnknown},
		Response: harResponse{Version: proto, Cookies: []harPair{}, Headers: []harPair{}, HeadersSize: harUnknown,
			Content: harContent{Type: harNoType, Comment: "not recorded"}},
	}
	if conn >= 0 && conn < len(h.cell.Conns) {
		e.Connection = strconv.Itoa(conn)
		if at, err := netip.ParseAddrPort(h.cell.Conns[conn].Addr); err == nil {
			e.ServerIP = at.Addr().String()
		}
	}
	return e
}

// approach returns when what led to a request began, and the parts of the time from then until the request
// left at a time: for the first request on a connection its queries, connect and handshake, for all others
// nothing.
func (h *archivist) approach(conn int, left record.Seconds) (started record.Seconds, t harTimings) {
	t = harTimings{DNS: harUnknown, Connect: harUnknown, SSL: harUnknown}
	if conn < 0 || conn >= len(h.cell.Conns) || h.first[conn] || left < h.cell.Conns[conn].Start {
		return left, t
	}
	h.first[conn] = true
	c := &h.cell.Conns[conn]
	ready := max(c.Established, c.Tunnel)
	connected := max(ready, c.Secured)
	if connected == 0 || c.TLS && c.Secured == 0 {
		connected = left
	}
	connected = max(min(connected, left), c.Start)
	t.Connect = milliseconds(connected - c.Start)
	if c.TLS && ready > 0 && ready <= connected {
		t.SSL = milliseconds(connected - ready)
	}
	started = c.Start
	from, to := h.lookup(conn)
	if to > 0 {
		started = from
		t.DNS = milliseconds(to - from)
	}
	t.Blocked = max(milliseconds(left-started)-t.Connect-max(t.DNS, 0), 0)
	t.Blocked = math.Round(t.Blocked*1e3) / 1e3
	return started, t
}

// lookup returns from when to when the name of a connection's host was looked up for it: by the queries
// that began after the connection before it to the same host, and before it. To is 0 if there are none.
func (h *archivist) lookup(conn int) (from, to record.Seconds) {
	c := &h.cell.Conns[conn]
	since := record.Seconds(-1)
	for i := range conn {
		if before := &h.cell.Conns[i]; before.Host == c.Host && before.Start <= c.Start {
			since = max(since, before.Start)
		}
	}
	for _, q := range h.cell.Queries {
		if q.Name != c.Host || q.Start < since || q.Start > c.Start {
			continue
		}
		if to == 0 || q.Start < from {
			from = q.Start
		}
		if q.End > 0 && q.End <= c.Start {
			to = max(to, q.End)
		} else {
			to = c.Start
		}
	}
	return from, to
}

// address returns a target as it is if it is an address. What is none, as a server may see it from a broken
// client, is quoted as one of an unknown scheme.
func address(target string) string {
	if _, err := url.Parse(target); err != nil {
		return "unknown:" + url.PathEscape(target)
	}
	return target
}

// target returns the address that a request was for.
func (h *archivist) target(r *record.Request) string {
	switch {
	case r.Method == "CONNECT":
		return "https://" + r.Path + "/"
	case strings.HasPrefix(r.Path, "http://"): // asked of a forward proxy
		return r.Path
	}
	scheme := "https"
	if r.Conn >= 0 && r.Conn < len(h.cell.Conns) && !h.cell.Conns[r.Conn].TLS {
		scheme = "http"
	}
	return scheme + "://" + r.Host + r.Path
}

// origin returns the scheme, host and port of a connection.
func (h *archivist) origin(i int) string {
	c := &h.cell.Conns[i]
	at, err := netip.ParseAddrPort(c.Addr)
	switch {
	case err == nil && at.Port() == 80:
		return "http://" + c.Host
	case err == nil && at.Port() != 443:
		return "http://" + c.Host + ":" + strconv.Itoa(int(at.Port()))
	}
	return "https://" + c.Host
}

// queryPairs returns the parameters of an address, in its order.
func queryPairs(target string) []harPair {
	pairs := []harPair{}
	u, err := url.Parse(target)
	if err != nil || u.RawQuery == "" {
		return pairs
	}
	for _, part := range strings.Split(u.RawQuery, "&") {
		name, value, _ := strings.Cut(part, "=")
		pairs = append(pairs, harPair{unescaped(name), unescaped(value)})
	}
	return pairs
}

func unescaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
