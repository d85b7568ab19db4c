package fakeupstream_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
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

// eachWire is eachProtocol with a server that can break its protocol.
func eachWire(t *testing.T, h http.Handler, test func(t *testing.T, proto string, client *http.Client, url string)) {
	certified := httptest.NewTLSServer(h) // has a certificate, and clients that trust it
	defer certified.Close()
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			config := certified.TLS.Clone()
			config.NextProtos = []string{"http/1.1"}
			if proto == "HTTP/2.0" {
				config.NextProtos = []string{"h2"}
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
			served := make(chan error, 1)
			go func() { served <- fakeupstream.NewWireServer(server).Serve(tls.NewListener(l, config)) }()
			defer func() {
				server.Close()
				assert.ErrorIs(t, <-served, http.ErrServerClosed)
			}()
			transport := certified.Client().Transport.(*http.Transport).Clone()
			transport.ForceAttemptHTTP2 = true
			client := &http.Client{Transport: transport}
			defer client.CloseIdleConnections()
			test(t, proto, client, "https://"+l.Addr().String())
		})
	}
}

// A server that has nothing wrong with it says what it means over a wire, too.
func TestWireServer(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Seen", r.Proto)
		if r.TLS != nil {
			w.Header().Set("Seen", r.Proto+" over TLS")
		}
		known.ServeHTTP(w, r)
	})
	eachWire(t, h, func(t *testing.T, proto string, client *http.Client, url string) {
		for range 3 { // HTTP/2 packs the headers of an answer by those before
			resp, body, err := get(t, client, url)
			require.NoError(t, err)
			assert.Equal(t, proto+" over TLS", resp.Header.Get("Seen"))
			assert.Equal(t, proto, resp.Proto)
			assert.Equal(t, text, body)
		}
	})
}

// TestWrongHTTP shows every fault that breaks the protocol to Go's client.
func TestWrongHTTP(t *testing.T) {
	half := &scenarios.Amount{Share: 0.5}
	rst := func(code scenarios.HTTP2Error, after *scenarios.Amount) scenarios.HTTPFault {
		return scenarios.HTTPFault{HTTP2: scenarios.HTTP2Fault{Frame: scenarios.FrameRSTStream, Error: code, After: after}}
	}
	goAway := func(code scenarios.HTTP2Error, after *scenarios.Amount) scenarios.HTTPFault {
		return scenarios.HTTPFault{HTTP2: scenarios.HTTP2Fault{Frame: scenarios.FrameGoAway, Error: code, After: after}}
	}
	tests := []struct {
		name         string
		fault        scenarios.HTTPFault
		http1, http2 string // part of the error; "-" where the fault is not of this protocol
		body         int    // bytes of the body that come; -1: no answer
	}{
		{"close before headers", scenarios.HTTPFault{Close: scenarios.CloseBeforeHeaders}, "EOF", "unexpected EOF", -1},
		{"close in headers", scenarios.HTTPFault{Close: scenarios.CloseInHeaders}, "unexpected EOF", "unexpected EOF", -1},
		{"close after headers", scenarios.HTTPFault{Close: scenarios.CloseAfterHeaders}, "unexpected EOF", "unexpected EOF", 0},
		{"garbage answer", scenarios.HTTPFault{Garbage: scenarios.GarbageAnswer}, "malformed HTTP response", "http2: ", -1},
		{"garbage chunks", scenarios.HTTPFault{Garbage: scenarios.GarbageChunks}, "invalid byte in chunk length", "-", 0},
		{"length short", scenarios.HTTPFault{ContentLength: scenarios.ContentLengthShort}, "", "more than declared Content-Length", 50_000},
		{"length long", scenarios.HTTPFault{ContentLength: scenarios.ContentLengthLong}, "unexpected EOF", "unexpected EOF", 100_000},
		{"reset", rst(scenarios.HTTP2InternalError, nil), "-", "stream error: stream ID 1; INTERNAL_ERROR; received from peer", -1},
		{"reset in body", rst(scenarios.HTTP2ProtocolError, half), "-", "PROTOCOL_ERROR; received from peer", 50_000},
		{"reset refused in body", rst(scenarios.HTTP2RefusedStream, half), "-", "REFUSED_STREAM; received from peer", 50_000},
		{"reset without error", rst(scenarios.HTTP2NoError, half), "-", "NO_ERROR; received from peer", 50_000},
		{"go away", goAway(scenarios.HTTP2EnhanceYourCalm, nil), "-", "Transport received GOAWAY from server ErrCode:ENHANCE_YOUR_CALM", -1},
		{"go away in body", goAway(scenarios.HTTP2NoError, half), "-", "server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR", 50_000},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.True(t, fakeupstream.NeedsWire(test.fault))
			eachWire(t, fakeupstream.WrongHTTP(test.fault)(known), func(t *testing.T, proto string, client *http.Client, url string) {
				want := test.http1
				if proto == "HTTP/2.0" {
					want = test.http2
				}
				if want == "-" {
					return
				}
				body, err := fetch(client, url)
				if want == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, want)
				}
				assert.Equal(t, test.body, body)
			})
		})
	}
}

// fetch returns how many bytes of a body came, or -1 if there was no answer.
func fetch(client *http.Client, url string) (int, error) {
	resp, err := client.Get(url)
	if err != nil {
		return -1, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	return int(n), err
}

// While the window of a connection is empty, headers come, and no bodies.
func TestNoData(t *testing.T) {
	fault := fakeupstream.WrongHTTP(scenarios.HTTPFault{HTTP2: scenarios.HTTP2Fault{
		Frame: scenarios.FrameNoData, After: &scenarios.Amount{Bytes: 10}}})
	zips := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, ".zip") }
	eachWire(t, fakeupstream.When(zips, fault)(known), func(t *testing.T, proto string, client *http.Client, url string) {
		if proto != "HTTP/2.0" {
			return
		}
		_, body, err := get(t, client, url+"/a.mod")
		require.NoError(t, err)
		assert.Equal(t, text, body)
		stalled, err := client.Get(url + "/a.zip")
		require.NoError(t, err)
		defer stalled.Body.Close()
		_, err = io.ReadFull(stalled.Body, make([]byte, 10))
		require.NoError(t, err)
		other, err := client.Get(url + "/b.mod")
		require.NoError(t, err)
		for _, resp := range []*http.Response{stalled, other} {
			time.AfterFunc(20*time.Millisecond, func() { resp.Body.Close() })
			rest, err := io.ReadAll(resp.Body)
			assert.Error(t, err)
			assert.Empty(t, rest)
		}
	})
}

// Who logs requests sees of an answer that is not given that it is not given.
func TestLogOfUnanswered(t *testing.T) {
	var seen fakeupstream.Log
	h := seen.Observe(fakeupstream.WrongHTTP(scenarios.HTTPFault{Close: scenarios.CloseInHeaders})(known))
	eachWire(t, h, func(t *testing.T, _ string, client *http.Client, url string) {
		_, err := fetch(client, url)
		require.Error(t, err)
	})
	all := ended(t, &seen)
	require.NotEmpty(t, all)
	for _, r := range all {
		assert.Zero(t, r.Status)
		assert.Zero(t, r.Bytes)
		assert.NotEmpty(t, r.Err)
	}
}
