package fakeupstream_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// text is a body that takes more than one write and more than one packet.
var text = strings.Repeat("0123456789", 10_000)

// known answers with a Content-Length, as module proxies do; unknown without, as git does.
var (
	known = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		io.Copy(w, strings.NewReader(text))
	})
	unknown = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for chunk := range strings.SplitSeq(text, "9") {
			if chunk != "" {
				io.WriteString(w, chunk+"9")
			}
			w.(http.Flusher).Flush()
		}
	})
	empty = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
)

// eachProtocol runs test with a server of h and a client, over HTTP/1.1 and HTTP/2.
func eachProtocol(t *testing.T, h http.Handler, test func(t *testing.T, client *http.Client, url string)) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			server := httptest.NewUnstartedServer(h)
			server.EnableHTTP2 = proto == "HTTP/2.0"
			server.StartTLS()
			defer server.Close()
			client := server.Client()
			defer client.CloseIdleConnections()
			test(t, client, server.URL)
		})
	}
}

func TestStatus(t *testing.T) {
	tests := []struct {
		fault  fakeupstream.Middleware
		status int
		body   string
		kind   string // of content
		retry  string
	}{
		{fakeupstream.Status(503, "", 0), 503, "Service Unavailable\n", "text/plain; charset=utf-8", ""},
		{fakeupstream.Status(429, "slow down", 1500*time.Millisecond), 429, "slow down", "text/plain; charset=utf-8", "2"},
		{fakeupstream.Status(200, "<html>", 0), 200, "<html>", "text/html; charset=utf-8", ""},
		{fakeupstream.Status(204, "", time.Second), 204, "", "", "1"},
	}
	for _, test := range tests {
		eachProtocol(t, test.fault(known), func(t *testing.T, client *http.Client, url string) {
			resp, body, err := get(t, client, url)
			require.NoError(t, err)
			assert.Equal(t, test.status, resp.StatusCode)
			assert.Equal(t, test.body, body)
			assert.Equal(t, test.kind, resp.Header.Get("Content-Type"))
			assert.Equal(t, test.retry, resp.Header.Get("Retry-After"))
		})
	}
}

func TestWhen(t *testing.T) {
	zips := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, ".zip") }
	h := fakeupstream.When(zips, fakeupstream.Status(500, "", 0))(known)
	eachProtocol(t, h, func(t *testing.T, client *http.Client, url string) {
		resp, _, err := get(t, client, url+"/a.zip")
		require.NoError(t, err)
		assert.Equal(t, 500, resp.StatusCode)
		_, body, err := get(t, client, url+"/a.mod")
		require.NoError(t, err)
		assert.Equal(t, text, body)
	})
}

// A short delay lets the answer pass; a long one is over at once when the client gives up.
func TestDelay(t *testing.T) {
	const wait = 20 * time.Millisecond
	eachProtocol(t, fakeupstream.Delay(wait)(known), func(t *testing.T, client *http.Client, url string) {
		start := time.Now()
		_, body, err := get(t, client, url)
		require.NoError(t, err)
		assert.Equal(t, text, body)
		assert.GreaterOrEqual(t, time.Since(start), wait)
	})
	began := make(chan struct{}, 1)
	eachProtocol(t, signal(began, fakeupstream.Delay(time.Hour)(known)), func(t *testing.T, client *http.Client, url string) {
		assertGivesUp(t, client, url, http.NoBody, began)
	})
}

func TestHang(t *testing.T) {
	began := make(chan struct{}, 1)
	eachProtocol(t, signal(began, fakeupstream.Hang()(known)), func(t *testing.T, client *http.Client, url string) {
		assertGivesUp(t, client, url, strings.NewReader(text), began)
	})
}

// signal says on began that a request has reached h.
func signal(began chan<- struct{}, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		h.ServeHTTP(w, r)
	})
}

// assertGivesUp ends a request that has reached the server. The server's Close, which waits for its
// handlers, proves that they end with it.
func assertGivesUp(t *testing.T, client *http.Client, url string, body io.Reader, began <-chan struct{}) {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	require.NoError(t, err)
	resp, err := client.Do(req)
	if err == nil { // headers that had come before
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	assert.ErrorIs(t, err, context.Canceled)
}

// parts is how much of text each amount lets through.
var parts = []struct {
	amount scenarios.Amount
	want   int
}{
	{scenarios.Amount{Bytes: 0}, 0},
	{scenarios.Amount{Bytes: 1}, 1},
	{scenarios.Amount{Bytes: 50_005}, 50_005},
	{scenarios.Amount{Share: 0.25}, 25_000},
	{scenarios.Amount{Share: 0.00001}, 1},
}

func TestCutAfter(t *testing.T) {
	for name, h := range map[string]http.Handler{"known length": known, "unknown length": unknown} {
		t.Run(name, func(t *testing.T) {
			for _, part := range parts {
				eachProtocol(t, fakeupstream.CutAfter(part.amount)(h), func(t *testing.T, client *http.Client, url string) {
					resp, body, err := get(t, client, url)
					assert.Equal(t, 200, resp.StatusCode)
					assert.Equal(t, text[:part.want], body)
					assert.Error(t, err, "the client cannot tell that the body was cut")
				})
			}
		})
	}
}

func TestStallAfter(t *testing.T) {
	for name, h := range map[string]http.Handler{"known length": known, "unknown length": unknown} {
		t.Run(name, func(t *testing.T) {
			for _, part := range parts {
				eachProtocol(t, fakeupstream.StallAfter(part.amount)(h), func(t *testing.T, client *http.Client, url string) {
					assertStalls(t, client, url, text[:part.want])
				})
			}
		})
	}
}

// assertStalls reads what comes, and then checks that nothing more does until the client gives up.
func assertStalls(t *testing.T, client *http.Client, url, want string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	got := make([]byte, len(want))
	_, err = io.ReadFull(resp.Body, got)
	require.NoError(t, err)
	assert.True(t, want == string(got))
	timer := time.AfterFunc(20*time.Millisecond, cancel)
	defer timer.Stop()
	rest, err := io.ReadAll(resp.Body)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, rest)
}

// A body that ends before the fault is sent whole.
func TestPartsOfShortBodies(t *testing.T) {
	for _, fault := range []fakeupstream.Middleware{
		fakeupstream.CutAfter(scenarios.Amount{Bytes: 100_001}),
		fakeupstream.StallAfter(scenarios.Amount{Bytes: 100_001}),
	} {
		for _, h := range []http.Handler{known, unknown} {
			eachProtocol(t, fault(h), func(t *testing.T, client *http.Client, url string) {
				_, body, err := get(t, client, url)
				require.NoError(t, err)
				assert.True(t, text == body)
			})
		}
	}
	eachProtocol(t, fakeupstream.CutAfter(scenarios.Amount{Share: 0.5})(empty), func(t *testing.T, client *http.Client, url string) {
		_, body, err := get(t, client, url)
		require.NoError(t, err)
		assert.Empty(t, body)
	})
}

// A handler learns that the rest of its body goes nowhere, so that it need not produce it.
func TestPartsStopTheHandler(t *testing.T) {
	var failure error
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, failure = io.WriteString(w, text)
	})
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() {
		cut := fakeupstream.CutAfter(scenarios.Amount{Bytes: 3})(h)
		cut.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	})
	assert.Error(t, failure)
	assert.False(t, errors.Is(failure, io.ErrShortWrite))
}
