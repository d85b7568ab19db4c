package fakeupstream

import (
	"bufio"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// A Request is what a server saw of one HTTP request.
type Request struct {
	Start  time.Time // it was read
	First  time.Time // the answer began; zero: not yet, or never
	End    time.Time // the answer ended; zero: it is still under way
	Host   string    // as the client called it, with the port if the client named one
	Proto  string    // such as HTTP/2.0
	Method string
	Path   string         // with the query, escaped as it came; the authority for CONNECT
	Status int            // 0: no answer; 200 for a CONNECT whose connection the handler took over
	Bytes  int64          // of the answer's body; what goes through a tunnel is not counted
	Remote netip.AddrPort // the client's end of the connection
	Local  netip.AddrPort // the server's end
	Err    string         // how it ended early; empty: it did not
}

// A Log remembers the requests that handlers got. The zero Log is ready for use, by many handlers and
// goroutines at once. It keeps every request until it is dropped itself, or the first Most.
type Log struct {
	Now  func() time.Time // clock of the log; nil means time.Now. It must not be changed in use
	Most int              // requests that are kept; 0 means all. It must not be changed in use

	mu       sync.Mutex
	requests []*Request
	dropped  int
}

// Dropped returns how many requests came when there were Most already.
func (l *Log) Dropped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Requests returns the requests so far in the order in which they began, those under way included.
func (l *Log) Requests() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	requests := make([]Request, len(l.requests))
	for i, r := range l.requests {
		requests[i] = *r
	}
	return requests
}

// Observe returns a handler that answers as next does and writes to the log.
// Put it around the faults, so that it sees what the client sees.
func (l *Log) Observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := &observer{ResponseWriter: w, log: l, request: l.begin(r)}
		returned := false
		defer func() { o.end(r, returned) }()
		next.ServeHTTP(o, r)
		returned = true
	})
}

func (l *Log) begin(r *http.Request) *Request {
	remote, _ := netip.ParseAddrPort(r.RemoteAddr) // stays zero for a listener without addresses
	entry := &Request{
		Host:   r.Host,
		Proto:  r.Proto,
		Method: r.Method,
		Path:   r.URL.RequestURI(),
		Remote: remote,
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		entry.Local, _ = netip.ParseAddrPort(local.String())
	}
	if r.Method == http.MethodConnect {
		entry.Path = r.RequestURI
	}
	l.add(entry)
	return entry
}

// add appends a request that begins now, if there is room.
func (l *Log) add(entry *Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry.Start = l.now() // under the lock, so that the log is in the order of time
	if l.Most > 0 && len(l.requests) >= l.Most {
		l.dropped++
		return
	}
	l.requests = append(l.requests, entry)
}

func (l *Log) now() time.Time {
	if l.Now != nil {
		return l.Now()
	}
	return time.Now()
}

// An observer is the ResponseWriter of one request. The log's mutex guards request.
type observer struct {
	http.ResponseWriter
	log     *Log
	request *Request
}

// began notes the status of an answer, the first time that there is one.
func (o *observer) began(status int) {
	o.log.mu.Lock()
	defer o.log.mu.Unlock()
	if o.request.Status == 0 {
		o.request.Status = status
		o.request.First = o.log.now()
	}
}

func (o *observer) end(r *http.Request, returned bool) {
	gone := r.Context().Err() != nil
	if returned && !gone {
		o.began(http.StatusOK) // as the server does for a handler that writes nothing
	}
	o.log.mu.Lock()
	defer o.log.mu.Unlock()
	o.request.End = o.log.now()
	switch {
	case o.request.Err != "":
	case returned && o.request.Status != 0: // a client may go as soon as it has the whole answer
	case gone:
		o.request.Err = "the client went away"
	default:
		o.request.Err = "the server aborted the answer"
	}
}

// WriteHeader notes the status and passes it on.
func (o *observer) WriteHeader(status int) {
	if status >= 200 {
		o.began(status)
	}
	o.ResponseWriter.WriteHeader(status)
}

// Write counts what it writes.
func (o *observer) Write(data []byte) (int, error) {
	o.began(http.StatusOK)
	n, err := o.ResponseWriter.Write(data)
	o.log.mu.Lock()
	defer o.log.mu.Unlock()
	o.request.Bytes += int64(n)
	if err != nil {
		o.request.Err = err.Error()
	}
	return n, err
}

// FlushError implements what http.ResponseController looks for.
func (o *observer) FlushError() error {
	o.began(http.StatusOK)
	return http.NewResponseController(o.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (o *observer) Flush() { o.FlushError() }

// Hijack hands over the connection of an HTTP/1 request; see http.Hijacker.
func (o *observer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(o.ResponseWriter).Hijack()
	if err == nil {
		o.began(http.StatusOK)
	}
	return conn, rw, err
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (o *observer) Unwrap() http.ResponseWriter { return o.ResponseWriter }
