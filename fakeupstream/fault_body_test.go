package fakeupstream_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

func TestWrongBodies(t *testing.T) {
	const garbled = "\xcf\xce\xcd\xcc\xcb\xca\xc9\xc8\xc7\xc6" // 0123456789
	tests := []struct {
		name           string
		fault          scenarios.HTTPFault
		known, unknown int64 // Content-Length of a handler that says it, and of one that does not; -1: none
		body           string
	}{
		{"garbage", scenarios.HTTPFault{Garbage: scenarios.GarbageBody}, 100_000, -1, strings.Repeat(garbled, 10_000)},
		{"padded", scenarios.HTTPFault{PadTo: 150_000}, 150_000, -1, text + strings.Repeat("\n", 50_000)},
		{"padded to less", scenarios.HTTPFault{PadTo: 10}, 100_000, -1, text},
		{"truncated", scenarios.HTTPFault{TruncateAfter: &scenarios.Amount{Bytes: 12}}, 12, -1, text[:12]},
		{"truncated to a share", scenarios.HTTPFault{TruncateAfter: &scenarios.Amount{Share: 0.25}}, 25_000, 25_000, text[:25_000]},
		{"truncated after the end", scenarios.HTTPFault{TruncateAfter: &scenarios.Amount{Bytes: 100_001}}, 100_000, -1, text},
		{"truncated to nothing", scenarios.HTTPFault{TruncateAfter: &scenarios.Amount{}}, 0, -1, ""},
		{"without length", scenarios.HTTPFault{ContentLength: scenarios.ContentLengthMissing}, -1, -1, text},
		{"truncated without length", scenarios.HTTPFault{ContentLength: scenarios.ContentLengthMissing,
			TruncateAfter: &scenarios.Amount{Bytes: 5}}, -1, -1, text[:5]},
		{"trickle", scenarios.HTTPFault{Rate: 80_000_000}, 100_000, -1, text},
	}
	for _, test := range tests {
		for _, handler := range []struct {
			name   string
			h      http.Handler
			length int64
		}{{"known", known, test.known}, {"unknown", unknown, test.unknown}} {
			t.Run(test.name+" of "+handler.name+" length", func(t *testing.T) {
				assert.False(t, fakeupstream.NeedsWire(test.fault))
				eachProtocol(t, fakeupstream.WrongHTTP(test.fault)(handler.h), func(t *testing.T, client *http.Client, url string) {
					resp, body, err := get(t, client, url)
					require.NoError(t, err)
					if test.body != "" || handler.length > 0 { // a server says the length of no body by itself
						assert.Equal(t, handler.length, resp.ContentLength)
					}
					assert.True(t, test.body == body, "%d bytes come", len(body))
				})
			})
		}
	}
}

func TestTrickleTakesItsTime(t *testing.T) {
	const wait = 200 * time.Millisecond
	slow := fakeupstream.WrongHTTP(scenarios.HTTPFault{Rate: 8 * 100_000 * scenarios.Rate(time.Second/wait)})
	eachProtocol(t, slow(known), func(t *testing.T, client *http.Client, url string) {
		start := time.Now()
		_, body, err := get(t, client, url)
		require.NoError(t, err)
		assert.True(t, text == body)
		assert.GreaterOrEqual(t, time.Since(start), wait*9/10)
	})
	began := make(chan struct{}, 1)
	never := fakeupstream.WrongHTTP(scenarios.HTTPFault{Rate: 1})
	eachProtocol(t, signal(began, never(known)), func(t *testing.T, client *http.Client, url string) {
		assertGivesUp(t, client, url, http.NoBody, began)
	})
}

// A body of any size is made while it is sent.
func TestPaddedStopsWithTheClient(t *testing.T) {
	endless := fakeupstream.WrongHTTP(scenarios.HTTPFault{PadTo: 1 << 40})
	eachProtocol(t, endless(known), func(t *testing.T, client *http.Client, url string) {
		resp, err := client.Get(url)
		require.NoError(t, err)
		assert.EqualValues(t, 1<<40, resp.ContentLength)
		_, err = io.CopyN(io.Discard, resp.Body, 4<<20)
		require.NoError(t, err)
		resp.Body.Close() // the server's Close waits for the handler
	})
}

func TestTypesOfBodies(t *testing.T) {
	for body, kind := range map[string]string{
		"":                                 "text/plain; charset=utf-8",
		"Sorry\n":                          "text/plain; charset=utf-8",
		"<html><body>Log in</body></html>": "text/html; charset=utf-8",
		`{"errors": [{"status": 503}]}`:    "application/json",
		`{"errors": [{"status": 503}]`:     "text/plain; charset=utf-8",
		"<?xml version=\"1.0\"?><Error/>":  "text/xml; charset=utf-8",
	} {
		h := fakeupstream.WrongHTTP(scenarios.HTTPFault{Status: 503, Body: body})(known)
		eachProtocol(t, h, func(t *testing.T, client *http.Client, url string) {
			resp, _, err := get(t, client, url)
			require.NoError(t, err)
			assert.Equal(t, kind, resp.Header.Get("Content-Type"), body)
		})
	}
	h := fakeupstream.WrongHTTP(scenarios.HTTPFault{Status: 200, Body: "<html>", ContentType: "application/zip"})(known)
	eachProtocol(t, h, func(t *testing.T, client *http.Client, url string) {
		resp, _, err := get(t, client, url)
		require.NoError(t, err)
		assert.Equal(t, "application/zip", resp.Header.Get("Content-Type"))
	})
}

func TestRedirect(t *testing.T) {
	for _, test := range []struct{ to, location string }{
		{"loop", "/a/@v/list?x=1"},
		{"https://storage.example", "https://storage.example/a/@v/list?x=1"},
		{"http://storage.example:8000/", "http://storage.example:8000/a/@v/list?x=1"},
		{"http://portal.example/login", "http://portal.example/login"},
	} {
		h := fakeupstream.WrongHTTP(scenarios.HTTPFault{Status: 307, Redirect: test.to})(known)
		eachProtocol(t, h, func(t *testing.T, client *http.Client, url string) {
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			resp, _, err := get(t, client, url+"/a/@v/list?x=1")
			require.NoError(t, err)
			assert.Equal(t, 307, resp.StatusCode)
			assert.Equal(t, test.location, resp.Header.Get("Location"))
		})
	}
}

func TestAuth(t *testing.T) {
	for _, test := range []struct{ want, presented, challenge string }{
		{"alice:secret", "Basic " + base64.StdEncoding.EncodeToString([]byte("alice:secret")), `Basic realm="restricted"`},
		{"Bearer t0ken", "Bearer t0ken", "Bearer"},
	} {
		h := fakeupstream.WrongHTTP(scenarios.HTTPFault{Auth: test.want, Body: "ACCESS DENIED\n"})(known)
		eachProtocol(t, h, func(t *testing.T, client *http.Client, url string) {
			for _, presented := range []string{"", "Basic YWxpY2U6d3Jvbmc=", "Bearer other"} {
				resp, body, err := getWith(t, client, url, presented)
				require.NoError(t, err)
				assert.Equal(t, 401, resp.StatusCode)
				assert.Equal(t, test.challenge, resp.Header.Get("WWW-Authenticate"))
				assert.Equal(t, "ACCESS DENIED\n", body)
			}
			_, body, err := getWith(t, client, url, test.presented)
			require.NoError(t, err)
			assert.True(t, text == body)
		})
	}
}

// getWith is get with credentials.
func getWith(t *testing.T, client *http.Client, url, credentials string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if credentials != "" {
		req.Header.Set("Authorization", credentials)
	}
	resp, err := client.Do(req)
	require.NoError(t, err)
	body, err := readAll(resp)
	return resp, body, err
}

func TestBeyond(t *testing.T) {
	three := fakeupstream.Beyond(scenarios.Frequency{Count: 3, Per: time.Hour})
	for i := range 10 {
		assert.Equal(t, i >= 3, three(nil), "request %d", i+1)
	}
	short := fakeupstream.Beyond(scenarios.Frequency{Count: 1, Per: 10 * time.Millisecond})
	require.False(t, short(nil))
	assert.Eventually(t, func() bool { return !short(nil) }, 10*time.Second, time.Millisecond, "a new span never begins")
	all := fakeupstream.Beyond(scenarios.Frequency{})
	assert.True(t, all(nil), "nothing passes a limit that is none")
}
