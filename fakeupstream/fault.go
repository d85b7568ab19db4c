package fakeupstream

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
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

// Beyond returns a function for [When] that lets so many requests pass in each span of time, and matches the
// others. A span begins with the first request after the one before.
func Beyond(f scenarios.Frequency) func(*http.Request) bool {
	var mu sync.Mutex
	var begin time.Time
	passed := 0
	return func(*http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(begin) >= f.Per {
			begin, passed = now, 0
		}
		passed++
		return passed > f.Count
	}
}

// WrongHTTP returns what a declared fault does to the requests that it is about; which these are, its Path,
// Method and Limit among them, is the caller's to say with [When]. If [NeedsWire], the server must be a
// [WireServer].
func WrongHTTP(f scenarios.HTTPFault) Middleware {
	var all []Middleware // the innermost first
	add := func(is bool, m func() Middleware) {
		if is {
			all = append(all, m())
		}
	}
	add(f.Hang, Hang)
	add(f.Redirect != "", func() Middleware { return redirected(f) })
	add(f.Auth != "", func() Middleware { return guarded(f) })
	add(f.Status != 0 && f.Redirect == "", func() Middleware { return answered(f.Status, f) })
	add(f.Garbage == scenarios.GarbageBody, garbled)
	add(f.PadTo > 0, func() Middleware { return padded(int64(f.PadTo)) })
	add(f.TruncateAfter != nil, func() Middleware { return truncated(*f.TruncateAfter) })
	add(f.ContentLength != "", func() Middleware { return declaring(f.ContentLength) })
	add(f.Rate > 0, func() Middleware { return trickling(f.Rate) })
	add(f.StallAfter != nil, func() Middleware { return StallAfter(*f.StallAfter) })
	add(f.CutAfter != nil, func() Middleware { return CutAfter(*f.CutAfter) })
	add(f.Garbage == scenarios.GarbageAnswer, func() Middleware { return unanswered(orderHeaders, headersGarbage) })
	add(f.Garbage == scenarios.GarbageChunks, garbledChunks)
	add(f.Close != "", func() Middleware { return closing(f.Close) })
	add(f.HTTP2.Frame != "", func() Middleware { return wrongHTTP2(f.HTTP2) })
	add(f.Delay > 0, func() Middleware { return Delay(f.Delay) })
	return func(next http.Handler) http.Handler {
		for _, m := range all {
			next = m(next)
		}
		return next
	}
}

// NeedsWire reports whether a fault breaks the protocol, which needs a [WireServer].
func NeedsWire(f scenarios.HTTPFault) bool {
	length := f.ContentLength == scenarios.ContentLengthShort || f.ContentLength == scenarios.ContentLengthLong
	garbage := f.Garbage == scenarios.GarbageAnswer || f.Garbage == scenarios.GarbageChunks
	return length || garbage || f.Close != "" || f.HTTP2.Frame != ""
}

// Status answers with the status code, 200 to 599, instead of what the handler would have said.
// An empty body stands for the text that goes with the code, such as "Bad Gateway"; the go command shows
// plain text to its user, but no HTML or JSON. A retryAfter above 0 is sent as a Retry-After header in whole
// seconds, rounded up.
func Status(code int, body string, retryAfter time.Duration) Middleware {
	return answered(code, scenarios.HTTPFault{Body: body, RetryAfter: retryAfter})
}

// answered is Status with all that a fault says of the answer.
func answered(code int, f scenarios.HTTPFault) Middleware {
	body := cmp.Or(f.Body, http.StatusText(code)+"\n")
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if f.RetryAfter > 0 {
				seconds := (f.RetryAfter + time.Second - 1) / time.Second
				w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
			}
			if !mayHaveBody(code) {
				w.WriteHeader(code)
				return
			}
			w.Header().Set("Content-Type", cmp.Or(f.ContentType, typeOf(body)))
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.WriteHeader(code)
			io.WriteString(w, body)
		})
	}
}

// typeOf returns the type of a text: JSON, or what browsers would take it for.
func typeOf(body string) string {
	if strings.HasPrefix(body, "{") && json.Valid([]byte(body)) {
		return "application/json"
	}
	return http.DetectContentType([]byte(body))
}

// redirected leads elsewhere. Where only a host is named, the path stays.
func redirected(f scenarios.HTTPFault) Middleware {
	answer := answered(f.Status, f)(nil)
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			to, _ := strings.CutSuffix(f.Redirect, "/")
			switch u, err := url.Parse(to); {
			case f.Redirect == scenarios.RedirectLoop:
				to = r.URL.RequestURI()
			case err == nil && u.Path == "" && u.RawQuery == "":
				to += r.URL.RequestURI()
			}
			w.Header().Set("Location", to)
			answer.ServeHTTP(w, r)
		})
	}
}

// guarded lets those pass who present the right credentials, RFC 9110 section 11.
func guarded(f scenarios.HTTPFault) Middleware {
	challenge := `Basic realm="restricted"`
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(f.Auth))
	if strings.HasPrefix(f.Auth, "Bearer ") {
		challenge, want = "Bearer", f.Auth
	}
	denied := answered(http.StatusUnauthorized, f)(nil)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == want {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("WWW-Authenticate", challenge)
			denied.ServeHTTP(w, r)
		})
	}
}

// ordering lets the wire do something with the answer.
func ordering(order, what string, m Middleware) Middleware {
	return func(next http.Handler) http.Handler {
		next = m(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(order, what)
			next.ServeHTTP(w, r)
		})
	}
}

// unanswered lets the wire do something instead of sending an answer. Those who look on see no answer either.
func unanswered(order, what string) Middleware {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for u, ok := w.(unwrapper); ok; u, ok = w.(unwrapper) {
				w = u.Unwrap()
			}
			w.Header().Set(order, what)
			if order != orderHeaders {
				w.Header().Set(orderHeaders, headersHidden)
			}
			w.WriteHeader(http.StatusOK)
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
	}
}

// An unwrapper is a ResponseWriter around another one, as [http.ResponseController] knows it.
type unwrapper interface{ Unwrap() http.ResponseWriter }

// closing closes the connection.
func closing(when scenarios.CloseTime) Middleware {
	switch when {
	case scenarios.CloseBeforeHeaders:
		return unanswered(orderHeaders, headersDropped)
	case scenarios.CloseInHeaders:
		return unanswered(orderHeaders, headersHalf)
	}
	return ordering(orderEnd, endClose, func(next http.Handler) http.Handler {
		cut := CutAfter(scenarios.Amount{})(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cut.ServeHTTP(w, r)
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler) // there is no body to be cut
		})
	})
}

// garbledChunks lets the body come in chunks, whose first has a length that is no number.
func garbledChunks() Middleware { return ordering(orderChunks, "garbage", unmeasured) }

// wrongHTTP2 sends what only a server of HTTP/2 can.
func wrongHTTP2(f scenarios.HTTP2Fault) Middleware {
	code := " " + strconv.Itoa(int(http2Codes[f.Error]))
	switch {
	case f.Frame == scenarios.FrameNoData:
		return ordering(orderEnd, endStall, StallAfter(*f.After))
	case f.Frame == scenarios.FrameGoAway && f.After == nil:
		return unanswered(orderEnd, endRefuse+code)
	case f.Frame == scenarios.FrameGoAway:
		return ordering(orderEnd, endGoAway+code, CutAfter(*f.After))
	case f.After == nil:
		return unanswered(orderEnd, endReset+code)
	}
	return ordering(orderEnd, endReset+code, CutAfter(*f.After))
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
