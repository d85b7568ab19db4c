//go:build linux

package harness

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/simrun/simrun/scenarios"
)

func (t *town) httpChecks(f *scenarios.HTTPFault, s spot) (all []check, err error) {
	v, err := t.visit(s, f.Method, f.Path)
	if err != nil {
		return nil, err
	}
	v.HTTP2 = f.HTTP2.Frame != ""
	v.Requests = f.Limit.Count + 1
	c := check{about: v.Method + " " + v.Target, probe: s.visiting(v, enough)}
	add := func(is bool, limit time.Duration, shows func(sighting) bool) {
		if is {
			c.probe.Limit, c.shows = limit, shows
			all = append(all, c)
		}
	}
	add(f.Status != 0, enough, func(g sighting) bool { return showsStatus(f, g) })
	add(f.Redirect != "", enough, func(g sighting) bool {
		return f.Redirect == scenarios.RedirectLoop && g.Location == v.Target ||
			f.Redirect != scenarios.RedirectLoop && strings.HasPrefix(g.Location, f.Redirect)
	})
	add(f.Auth != "", enough, func(g sighting) bool {
		return g.Status == http.StatusUnauthorized && strings.Fields(authorization(f.Auth))[0] == strings.Fields(g.Challenge)[0]
	})
	add(f.Delay > 0, enough, func(g sighting) bool { return g.First-g.Asked >= f.Delay })
	add(f.Hang, silence, func(g sighting) bool { return g.Asked > 0 && g.Failed == "answer" && g.Err == "timeout" })
	add(f.PadTo > 0, enough, func(g sighting) bool { return g.Body == int64(f.PadTo) })
	add(f.TruncateAfter != nil, enough, func(g sighting) bool {
		return g.Err == "" && (g.Body == g.Length || g.Length == -1) && shortened(*f.TruncateAfter, g.Body)
	})
	add(f.Rate > 0, enough, func(g sighting) bool {
		return g.Ended-g.First >= time.Duration(float64(g.Body)*8/float64(f.Rate)*float64(time.Second))*8/10
	})
	add(f.StallAfter != nil, silence, func(g sighting) bool { return g.Err == "timeout" && g.Body == part(*f.StallAfter, g.Length) })
	add(f.CutAfter != nil, enough, func(g sighting) bool { return g.Err == "EOF" && g.Body == part(*f.CutAfter, g.Length) })
	add(f.Garbage != "", enough, showsGarbage[f.Garbage])
	add(f.Close != "", enough, showsClose[f.Close])
	h2 := &f.HTTP2
	add(h2.Frame == scenarios.FrameNoData, silence, func(g sighting) bool { return g.Err == "timeout" && g.Body == part(*h2.After, g.Length) })
	add(h2.Frame == scenarios.FrameRSTStream || h2.Frame == scenarios.FrameGoAway, enough, func(g sighting) bool { return showsFrame(h2, g) })
	if f.ContentLength == scenarios.ContentLengthShort {
		v.Requests = 2 // what comes behind the body that was declared is no answer to the second
		c.probe = s.visiting(v, enough)
	}
	add(f.ContentLength != "", enough, showsLength[f.ContentLength])
	if f.Auth != "" {
		known := v
		known.Auth = authorization(f.Auth)
		all = append(all, check{about: "with credentials", probe: s.visiting(known, enough), absent: true})
	}
	return all, nil
}

// showsStatus reports whether an answer is the one that a fault gives.
func showsStatus(f *scenarios.HTTPFault, g sighting) bool {
	kind := f.ContentType == "" || f.ContentType == g.Type
	return g.Status == f.Status && strings.HasPrefix(f.Body, g.Text[:min(len(g.Text), len(f.Body))]) && g.RetryAfter == retryAfter(f) && kind
}

// authorization returns the header that presents credentials.
func authorization(credentials string) string {
	if strings.HasPrefix(credentials, "Bearer ") {
		return credentials
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
}

// shortened reports whether a body is as long as it is cut. What a share is of cannot be seen, but that it is less
// than the least file.
func shortened(a scenarios.Amount, body int64) bool {
	return a.Share == 0 && body == a.Bytes || a.Share > 0 && body > 0 && body < bulk
}

// showsGarbage says by what a client knows each kind of garbage. Bits that are turned around are no text, and a zip
// file begins with PK.
var showsGarbage = map[scenarios.Garbage]func(sighting) bool{
	scenarios.GarbageBody: func(g sighting) bool {
		return g.Status == http.StatusOK && !strings.HasPrefix(g.Text, "PK") && strings.Contains(g.Text, "?")
	},
	scenarios.GarbageAnswer: func(g sighting) bool { return g.Failed == "answer" && strings.Contains(g.Err, "malformed HTTP") },
	scenarios.GarbageChunks: func(g sighting) bool {
		return g.Failed == "body" && strings.Contains(g.Err, "invalid byte in chunk length")
	},
}

// showsClose says by what a client knows when a connection was closed.
var showsClose = map[scenarios.CloseTime]func(sighting) bool{
	scenarios.CloseBeforeHeaders: func(g sighting) bool { return g.Failed == "answer" && g.Err == "EOF" && g.Plain == 0 },
	scenarios.CloseInHeaders:     func(g sighting) bool { return g.Failed == "answer" && g.Err == "EOF" && g.Plain > 0 },
	scenarios.CloseAfterHeaders:  func(g sighting) bool { return g.Failed == "body" && g.Err == "EOF" && g.Body == 0 },
}

// showsLength says by what a client knows that the length of a body is not as it is declared.
var showsLength = map[scenarios.ContentLength]func(sighting) bool{
	scenarios.ContentLengthMissing: func(g sighting) bool { return g.Err == "" && g.Length == -1 },
	scenarios.ContentLengthShort: func(g sighting) bool {
		return g.Body == g.Length && g.Failed == "answer" && strings.Contains(g.Err, "malformed HTTP")
	},
	scenarios.ContentLengthLong: func(g sighting) bool { return g.Failed == "body" && g.Err == "EOF" && g.Length == 2*g.Body+1 },
}

// http2Codes are the numbers of errors in RFC 9113, section 7.
var http2Codes = map[scenarios.HTTP2Error]uint32{
	"": 0, scenarios.HTTP2NoError: 0, scenarios.HTTP2ProtocolError: 1, scenarios.HTTP2InternalError: 2,
	scenarios.HTTP2RefusedStream: 7, scenarios.HTTP2EnhanceYourCalm: 11,
}

// showsFrame reports whether an answer ended by a frame of HTTP/2.
func showsFrame(f *scenarios.HTTP2Fault, g sighting) bool {
	come := f.After == nil && g.First == 0 || f.After != nil && g.Body == part(*f.After, g.Length)
	taken := f.Frame == scenarios.FrameGoAway && f.After != nil
	return g.Last == last{string(f.Frame), http2Codes[f.Error], taken} && come
}
