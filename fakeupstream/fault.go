package fakeupstream

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/simrun/simrun/scenarios"
)

// A Middleware puts a fault around an honest handler.
type Middleware func(http.Handler) http.Handler

// When applies m to the requests that match and leaves the others alone.
// It calls match once per request, from many goroutines at once.
func When(match func(*http.Request) bool, m Middleware) Middleware {
	return func(next http.Handler) http.Handler {
		faulty := m(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Status answers with the status code, 200 to 599, instead of what the handler would have said.
// An empty body stands for the text that goes with the code, such as "Bad Gateway"; the go command shows
// plain text to its user, but no HTML. A retryAfter above 0 is sent as a Retry-After header in whole seconds,
// rounded up.
func Status(code int, body string, retryAfter time.Duration) Middleware {
	if body == "" {
		body = http.StatusText(code) + "\n"
	}
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if retryAfter > 0 {
				seconds := (retryAfter + time.Second - 1) / time.Second
				w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
			}
			if code == http.StatusNoContent || code == http.StatusNotModified {
				w.WriteHeader(code)
				return
			}
			w.Header().Set("Content-Type", http.DetectContentType([]byte(body)))
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.WriteHeader(code)
			io.WriteString(w, body)
		})
	}
}

// Delay waits for d before it lets the handler answer. It gives up when the client does, except that an
// HTTP/1 server does not see that the client of a request with a body has gone before the body is read.
func Delay(d time.Duration) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		})
	}
}

// Hang reads the request and never answers. It ends when the connection does.
func Hang() Middleware {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			// Until the body is read, an HTTP/1 server does not see that the client has gone.
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		})
	}
}

// StallAfter sends so much of the body and then nothing more, and keeps the connection open until the
// client ends it. A body that is shorter than a number of bytes is sent whole and nothing stalls.
// If a share is wanted of an answer without a Content-Length, the body is first collected in memory.
func StallAfter(a scenarios.Amount) Middleware {
	return endAfter(a, func(r *http.Request) { <-r.Context().Done() })
}

// CutAfter sends so much of the body and then ends an HTTP/1 connection, or resets an HTTP/2 stream.
// A body that is shorter than a number of bytes is sent whole and nothing is cut.
// If a share is wanted of an answer without a Content-Length, the body is first collected in memory.
func CutAfter(a scenarios.Amount) Middleware {
	return endAfter(a, func(*http.Request) {})
}

// endAfter aborts the answer after so much of the body has been sent and wait has returned.
func endAfter(a scenarios.Amount, wait func(*http.Request)) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			part := &partWriter{ResponseWriter: w, amount: a, wait: func() { wait(r) }}
			next.ServeHTTP(part, r)
			part.finish()
			if part.ended {
				panic(http.ErrAbortHandler)
			}
		})
	}
}

// errEnded is what a handler gets that writes more than a partWriter lets through.
var errEnded = errors.New("the rest of the body is withheld")

// A partWriter lets a part of the body through.
type partWriter struct {
	http.ResponseWriter
	amount scenarios.Amount
	wait   func() // called once, when the part has been sent

	held    bytes.Buffer // body of unknown length, of which a share is wanted
	written int64
	ended   bool
}

// Write writes to the client what belongs to the part, and fails after it.
func (p *partWriter) Write(data []byte) (int, error) {
	if p.ended {
		return 0, errEnded
	}
	limit, ok := p.limit()
	if !ok {
		return p.held.Write(data)
	}
	return p.writeUpTo(limit, data)
}

// limit returns the length of the part, if it can be known before the end of the body.
func (p *partWriter) limit() (int64, bool) {
	if p.amount.Share == 0 {
		return p.amount.Bytes, true
	}
	length, err := strconv.ParseInt(p.Header().Get("Content-Length"), 10, 64)
	return share(p.amount.Share, length), err == nil
}

func share(f scenarios.Fraction, length int64) int64 {
	return int64(float64(f) * float64(length))
}

func (p *partWriter) writeUpTo(limit int64, data []byte) (int, error) {
	n, err := p.ResponseWriter.Write(data[:min(int64(len(data)), limit-p.written)])
	p.written += int64(n)
	if err != nil || p.written < limit {
		return n, err
	}
	p.ended = true
	// Without this the part would stay in the server's buffer, and be lost when the handler aborts.
	http.NewResponseController(p.ResponseWriter).Flush()
	p.wait()
	return n, errEnded
}

// finish sends the part of a body whose length is known only now.
func (p *partWriter) finish() {
	if p.held.Len() > 0 {
		p.writeUpTo(share(p.amount.Share, int64(p.held.Len())), p.held.Bytes())
	}
}

// FlushError sends what has been written, unless it is not known yet whether it belongs to the part.
func (p *partWriter) FlushError() error {
	if p.held.Len() > 0 {
		return nil
	}
	return http.NewResponseController(p.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (p *partWriter) Flush() { p.FlushError() }

// Unwrap lets http.ResponseController reach the server's own writer.
func (p *partWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }
