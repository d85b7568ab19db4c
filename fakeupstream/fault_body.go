package fakeupstream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/simrun/simrun/scenarios"
)

// A shaper changes an answer on its way to the client.
type shaper struct {
	http.ResponseWriter
	begin func(http.Header)                            // is called once, before the headers are sent; nil: nothing to do
	write func(to io.Writer, data []byte) (int, error) // sends a part of the body; nil: as it is
	begun bool
}

// WriteHeader sends the headers of the answer.
func (s *shaper) WriteHeader(status int) {
	if status >= 200 && !s.begun {
		s.begun = true
		if s.begin != nil {
			s.begin(s.Header())
		}
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (s *shaper) Write(data []byte) (int, error) {
	if !s.begun {
		s.WriteHeader(http.StatusOK)
	}
	if s.write == nil {
		return s.ResponseWriter.Write(data)
	}
	return s.write(s.ResponseWriter, data)
}

// FlushError sends what has been written.
func (s *shaper) FlushError() error {
	if !s.begun {
		s.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (s *shaper) Flush() { s.FlushError() }

// Unwrap lets http.ResponseController reach the server's own writer.
func (s *shaper) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// shaped lets the handler answer through a shaper that make returns, and calls end after it, if it is not nil.
func shaped(make func(w http.ResponseWriter, r *http.Request) (s *shaper, end func())) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, end := make(w, r)
			next.ServeHTTP(s, r)
			if !s.begun {
				s.WriteHeader(http.StatusOK)
			}
			if end != nil {
				end()
			}
		})
	}
}

// garbled turns every bit of the body around.
func garbled() Middleware {
	return shaped(func(w http.ResponseWriter, _ *http.Request) (*shaper, func()) {
		return &shaper{ResponseWriter: w, write: func(to io.Writer, data []byte) (int, error) {
			wrong := make([]byte, len(data))
			for i, b := range data {
				wrong[i] = ^b
			}
			return to.Write(wrong)
		}}, nil
	})
}

// trickling sends the body at so many bits per second, from the first byte on. It gives up when the client does.
func trickling(rate scenarios.Rate) Middleware {
	const often = 20 // pieces per second, if there is a byte for each
	piece := max(1, int(rate)/8/often)
	return shaped(func(w http.ResponseWriter, r *http.Request) (*shaper, func()) {
		flush := http.NewResponseController(w).Flush
		var begin time.Time
		total := 0
		return &shaper{ResponseWriter: w, write: func(to io.Writer, data []byte) (n int, err error) {
			if total == 0 {
				begin = time.Now()
			}
			for n < len(data) {
				part := data[n:min(n+piece, len(data))]
				total += len(part)
				due := begin.Add(time.Duration(float64(total) * 8 / float64(rate) * float64(time.Second)))
				if err := sleepUntil(r.Context(), due); err != nil {
					return n, err
				}
				sent, err := to.Write(part)
				n += sent
				if err != nil {
					return n, err
				}
				flush()
			}
			return n, nil
		}}, nil
	})
}

// sleepUntil waits until a time, or returns an error when the context ends before.
func sleepUntil(ctx context.Context, due time.Time) error {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// padded lets empty lines follow the body until it has so many bytes. They are made as they are sent.
func padded(size int64) Middleware {
	return shaped(func(w http.ResponseWriter, r *http.Request) (*shaper, func()) {
		var sent int64
		s := &shaper{ResponseWriter: w,
			begin: func(h http.Header) {
				if n, ok := contentLength(h); ok && n < size {
					h.Set("Content-Length", strconv.FormatInt(size, 10))
				}
			},
			write: func(to io.Writer, data []byte) (int, error) {
				n, err := to.Write(data)
				sent += int64(n)
				return n, err
			}}
		return s, func() {
			lines := bytes.Repeat([]byte("\n"), 32<<10)
			for sent < size && r.Method != http.MethodHead {
				n, err := w.Write(lines[:min(int64(len(lines)), size-sent)])
				sent += int64(n)
				if err != nil {
					return
				}
			}
		}
	})
}

// truncated ends the body after so much of it, as if that were all.
func truncated(a scenarios.Amount) Middleware {
	cut := shaped(func(w http.ResponseWriter, _ *http.Request) (*shaper, func()) {
		left := a.Bytes
		return &shaper{ResponseWriter: w,
			begin: func(h http.Header) {
				n, known := contentLength(h)
				if a.Share > 0 {
					left = share(a.Share, n)
				}
				if known {
					h.Set("Content-Length", strconv.FormatInt(min(n, left), 10))
				}
			},
			write: func(to io.Writer, data []byte) (int, error) {
				n, err := to.Write(data[:min(int64(len(data)), left)])
				if left -= int64(n); err == nil {
					n = len(data)
				}
				return n, err
			}}, nil
	})
	if a.Share > 0 {
		return func(next http.Handler) http.Handler { return cut(measured(next)) }
	}
	return cut
}

// declaring lets the header Content-Length be missing, or say something else than the truth.
func declaring(how scenarios.ContentLength) Middleware {
	switch how {
	case scenarios.ContentLengthMissing:
		return unmeasured
	case scenarios.ContentLengthShort:
		return misdeclaring(func(n int64) int64 { return n / 2 })
	}
	long := misdeclaring(func(n int64) int64 { return 2*n + 1 }) // one more, so that none is too long for nothing
	return func(next http.Handler) http.Handler {
		next = long(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 1 {
				w.Header().Set("Connection", "close") // else the client would wait for the rest
			}
			next.ServeHTTP(w, r)
		})
	}
}

// unmeasured leaves out the length of the body.
func unmeasured(next http.Handler) http.Handler {
	return shaped(func(w http.ResponseWriter, _ *http.Request) (*shaper, func()) {
		s := &shaper{ResponseWriter: w, begin: func(h http.Header) { h.Del("Content-Length") }}
		s.write = func(to io.Writer, data []byte) (int, error) {
			n, err := to.Write(data)
			s.Flush() // else the server would measure a short body by itself
			return n, err
		}
		return s, nil
	})(next)
}

// misdeclaring lets the wire declare another length than that which the server knows to be right.
func misdeclaring(wrong func(int64) int64) Middleware {
	declare := shaped(func(w http.ResponseWriter, _ *http.Request) (*shaper, func()) {
		return &shaper{ResponseWriter: w, begin: func(h http.Header) {
			n, _ := contentLength(h)
			h.Set(orderLength, strconv.FormatInt(wrong(n), 10))
		}}, nil
	})
	return func(next http.Handler) http.Handler { return declare(measured(next)) }
}

// measured lets an answer have a Content-Length. A body of unknown length is first collected in memory.
func measured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := &measurer{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(m, r)
		m.finish()
	})
}

// A measurer holds an answer back until its length is known.
type measurer struct {
	http.ResponseWriter
	status  int
	held    bytes.Buffer
	passing bool // the handler has said the length, and the headers are sent
}

// WriteHeader sends the headers, or keeps the status until it is known how long the body is.
func (m *measurer) WriteHeader(status int) {
	_, known := contentLength(m.Header())
	if known || status < 200 || !mayHaveBody(status) {
		m.passing = m.passing || status >= 200
		m.ResponseWriter.WriteHeader(status)
		return
	}
	m.status = status
}

// Write sends a part of the body, or keeps it.
func (m *measurer) Write(data []byte) (int, error) {
	if _, known := contentLength(m.Header()); known && !m.passing {
		m.WriteHeader(m.status)
	}
	if m.passing {
		return m.ResponseWriter.Write(data)
	}
	return m.held.Write(data)
}

// FlushError sends what has been written, unless it is held back.
func (m *measurer) FlushError() error {
	if !m.passing {
		return nil
	}
	return http.NewResponseController(m.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (m *measurer) Flush() { m.FlushError() }

// Unwrap lets http.ResponseController reach the server's own writer.
func (m *measurer) Unwrap() http.ResponseWriter { return m.ResponseWriter }

func (m *measurer) finish() {
	if m.passing {
		return
	}
	if mayHaveBody(m.status) {
		m.Header().Set("Content-Length", strconv.Itoa(m.held.Len()))
	}
	m.ResponseWriter.WriteHeader(m.status)
	m.ResponseWriter.Write(m.held.Bytes())
}

// mayHaveBody reports whether an answer of a status may have a body, RFC 9110 section 6.4.1.
func mayHaveBody(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// contentLength returns what the headers say of the body's length.
func contentLength(h http.Header) (int64, bool) {
	n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	return n, err == nil
}
