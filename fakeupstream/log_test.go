package fakeupstream_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// ticker is a clock that moves one second at each look.
func ticker() func() time.Time {
	var mu sync.Mutex
	now := time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}

func TestLog(t *testing.T) {
	log := &fakeupstream.Log{Now: ticker()}
	eachProtocol(t, log.Observe(known), func(t *testing.T, client *http.Client, url string) {
		resp, _, err := get(t, client, url+"/a%20b?c=d")
		require.NoError(t, err)
		requests := ended(t, log)
		last := requests[len(requests)-1]
		assert.Equal(t, resp.Proto, last.Proto)
		assert.Equal(t, strings.TrimPrefix(url, "https://"), last.Host)
		assert.Equal(t, "GET", last.Method)
		assert.Equal(t, "/a%20b?c=d", last.Path)
		assert.Equal(t, 200, last.Status)
		assert.Equal(t, int64(len(text)), last.Bytes)
		assert.Empty(t, last.Err)
		assert.True(t, last.Remote.Addr() == netip.MustParseAddr("127.0.0.1") && last.Remote.Port() != 0)
		assert.Equal(t, time.Second, last.First.Sub(last.Start))
		assert.Equal(t, time.Second, last.End.Sub(last.First))
	})
}

func TestLogEndings(t *testing.T) {
	tests := []struct {
		name   string
		h      http.Handler
		status int
		bytes  int64
		err    string
	}{
		{"nothing written", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), 200, 0, ""},
		{"status", fakeupstream.Status(404, "no", 0)(known), 404, 2, ""},
		{"first status", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
		}), 418, 0, ""},
		{"cut", fakeupstream.CutAfter(scenarios.Amount{Bytes: 10})(known), 200, 10, "the server aborted the answer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var log fakeupstream.Log
			eachProtocol(t, log.Observe(test.h), func(t *testing.T, client *http.Client, url string) {
				_, _, err := get(t, client, url)
				assert.Equal(t, test.err != "", err != nil)
			})
			requests := log.Requests() // the servers are closed, so all handlers have returned
			require.Len(t, requests, 2)
			for _, r := range requests {
				assert.Equal(t, test.status, r.Status)
				assert.Equal(t, test.bytes, r.Bytes)
				assert.Equal(t, test.err, r.Err)
				assert.False(t, r.End.IsZero())
			}
		})
	}
}

func TestLogKeepsTheFirstRequests(t *testing.T) {
	log := &fakeupstream.Log{Most: 2}
	server := httptest.NewServer(log.Observe(known))
	defer server.Close()
	for _, path := range []string{"/1", "/2", "/3", "/4", "/5"} {
		resp, err := http.Get(server.URL + path)
		require.NoError(t, err)
		resp.Body.Close()
	}
	var paths []string
	for _, r := range log.Requests() {
		paths = append(paths, r.Path)
	}
	assert.Equal(t, []string{"/1", "/2"}, paths)
	assert.Equal(t, 3, log.Dropped())
}

// A request that hangs is in the log while it does, and when the client has gone.
func TestLogOfRequestsUnderWay(t *testing.T) {
	log := &fakeupstream.Log{}
	began := make(chan struct{})
	server := httptest.NewServer(log.Observe(signal(began, fakeupstream.Hang()(known))))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		r := log.Requests()[0]
		assert.False(t, r.Start.IsZero())
		assert.True(t, r.First.IsZero() && r.End.IsZero())
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	require.NoError(t, err)
	_, err = http.DefaultClient.Do(req)
	require.ErrorIs(t, err, context.Canceled)
	server.Close()
	r := log.Requests()[0]
	assert.Equal(t, 0, r.Status)
	assert.True(t, r.First.IsZero())
	assert.False(t, r.End.IsZero())
	assert.Equal(t, "the client went away", r.Err)
}

// What is flushed reaches the client while the handler still works.
func TestLogFlushes(t *testing.T) {
	log := &fakeupstream.Log{}
	release := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		<-release
		io.WriteString(w, "done")
	})
	eachProtocol(t, log.Observe(h), func(t *testing.T, client *http.Client, url string) {
		resp, err := client.Get(url) // returns with the headers
		require.NoError(t, err)
		defer resp.Body.Close()
		requests := log.Requests()
		assert.False(t, requests[len(requests)-1].First.IsZero())
		release <- struct{}{}
		body, err := readAll(resp)
		require.NoError(t, err)
		assert.Equal(t, "done", body)
	})
}
