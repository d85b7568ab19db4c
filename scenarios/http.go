package scenarios

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// An HTTPFault changes what an HTTP server of any role answers. It is about the requests that match its path
// and its method.
type HTTPFault struct {
	Path   string    // glob over the URL path, "*" also matches "/"; empty means all
	Method string    // empty means all
	Limit  Frequency // so many of these requests pass, and the fault is about the others; zero means that none passes

	// What is answered instead. Without any of these the true answer is changed by the keys below.
	Status      int           // answer with this status
	Body        string        // with this body
	ContentType string        // of this type; empty means that which fits the body
	RetryAfter  time.Duration // with this Retry-After header, in whole seconds
	Redirect    string        // to this URL; or RedirectLoop, to where the request already is
	Auth        string        // 401, unless these credentials are presented: "USER:PASSWORD", or "Bearer TOKEN"
	Hang        bool          // read the request and never answer
	Delay       time.Duration // before the headers

	// What becomes of the answer's body.
	PadTo         Size          // followed by empty lines until it has so many bytes; 0 means not
	TruncateAfter *Amount       // ends in good order after so much
	ContentLength ContentLength // what is declared of it
	Rate          Rate          // trickles; 0 means as fast as the network takes it
	StallAfter    *Amount       // stop after so much of the body, and keep the connection open
	CutAfter      *Amount       // abort after so much of the body

	// How the protocol is broken.
	Garbage Garbage    // what of the answer means nothing
	Close   CloseTime  // when the connection is closed
	HTTP2   HTTP2Fault // what is sent in a connection of HTTP/2; the fault is about no other requests then
}

// RedirectLoop is the Redirect to where the request already is.
const RedirectLoop = "loop"

// A ContentLength is what the header of that name says of a body. Empty means the truth.
type ContentLength string

// The lengths of the language.
const (
	ContentLengthMissing ContentLength = "missing"
	ContentLengthShort   ContentLength = "short" // half of what comes
	ContentLengthLong    ContentLength = "long"  // twice of what comes, before the end in good order
)

// A Garbage says what of an answer means nothing.
type Garbage string

// The garbage of the language.
const (
	GarbageBody   Garbage = "body"   // every bit is turned around
	GarbageAnswer Garbage = "answer" // there are no headers, but bytes of no protocol
	GarbageChunks Garbage = "chunks" // the body comes in chunks whose length is no number; the host speaks no HTTP/2
)

// A CloseTime is a time at which a connection is closed, after the request has been read.
type CloseTime string

// The times of the language.
const (
	CloseBeforeHeaders CloseTime = "before-headers"
	CloseInHeaders     CloseTime = "in-headers"
	CloseAfterHeaders  CloseTime = "after-headers"
)

// An HTTP2Fault is something that only HTTP/2 can do, RFC 9113. The zero HTTP2Fault does nothing.
type HTTP2Fault struct {
	Frame Frame
	Error HTTP2Error
	After *Amount // of the body; nil means instead of the answer
}

// A Frame is what a server of HTTP/2 sends, or no longer does.
type Frame string

// The frames of the language.
const (
	FrameRSTStream Frame = "rst-stream" // ends the answer with an error: section 6.4
	FrameGoAway    Frame = "goaway"     // and the connection is closed: section 6.8
	FrameNoData    Frame = "no-data"    // the window of the connection stays empty: no body goes on any more, section 5.2
)

// An HTTP2Error is an error code of HTTP/2, section 7.
type HTTP2Error string

// The error codes of the language.
const (
	HTTP2NoError         HTTP2Error = "no-error"
	HTTP2ProtocolError   HTTP2Error = "protocol-error"
	HTTP2InternalError   HTTP2Error = "internal-error"
	HTTP2RefusedStream   HTTP2Error = "refused-stream"
	HTTP2EnhanceYourCalm HTTP2Error = "enhance-your-calm"
)

// A Frequency is a number of requests in a time, written "10/s", "100/m" or "5000/h".
type Frequency struct {
	Count int           // at least 1, or 0 in the zero Frequency
	Per   time.Duration // a second, a minute or an hour
}

// String returns the frequency as a file has it.
func (f Frequency) String() string {
	return fmt.Sprintf("%d/%s", f.Count, map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"}[f.Per])
}

// redirects are the statuses that lead elsewhere: RFC 9110, section 15.4.
var redirects = []int{301, 302, 303, 307, 308}

// The statuses that need not be written, by the names that net/http has for them. Nothing of it is wanted where
// records are only read.
const (
	statusFound           = 302
	statusTooManyRequests = 429
)

var (
	frequencyValue     = scalar[Frequency]{parse: parseFrequency, shape: shape{"type": "string", "pattern": `^(\$|[0-9]+/[smh]$)`, "examples": []string{"10/s", "100/m"}}}
	redirectValue      = scalar[string]{parse: parseRedirect, shape: shape{"type": "string", "examples": []string{RedirectLoop, "https://storage.example"}}}
	authValue          = scalar[string]{parse: parseAuth, shape: shape{"type": "string", "examples": []string{"alice:secret", "Bearer token"}}}
	contentLengthValue = oneOf("content-length", ContentLengthMissing, ContentLengthShort, ContentLengthLong)
	garbageValue       = oneOf("garbage", GarbageBody, GarbageAnswer, GarbageChunks)
	closeValue         = oneOf("time to close", CloseBeforeHeaders, CloseInHeaders, CloseAfterHeaders)
	frameValue         = oneOf("frame", FrameRSTStream, FrameGoAway, FrameNoData)
	http2ErrorValue    = oneOf("error of HTTP/2", HTTP2NoError, HTTP2ProtocolError, HTTP2InternalError, HTTP2RefusedStream, HTTP2EnhanceYourCalm)
)

func httpFields(f *HTTPFault) fields {
	return fields{
		"path":           set(&f.Path, textValue),
		"method":         set(&f.Method, methodValue),
		"limit":          set(&f.Limit, frequencyValue),
		"status":         set(&f.Status, whole("an HTTP status", 200, 599)),
		"body":           set(&f.Body, textValue),
		"content-type":   set(&f.ContentType, textValue),
		"retry-after":    set(&f.RetryAfter, wholeSecondsValue),
		"redirect":       set(&f.Redirect, redirectValue),
		"auth":           set(&f.Auth, authValue),
		"hang":           set(&f.Hang, boolValue),
		"delay":          set(&f.Delay, durationValue),
		"pad-to":         set(&f.PadTo, sizeValue),
		"truncate-after": setNew(&f.TruncateAfter, amountValue),
		"content-length": set(&f.ContentLength, contentLengthValue),
		"rate":           set(&f.Rate, rateValue),
		"stall-after":    setNew(&f.StallAfter, amountValue),
		"cut-after":      setNew(&f.CutAfter, amountValue),
		"garbage":        set(&f.Garbage, garbageValue),
		"close":          set(&f.Close, closeValue),
		"http2":          setStruct(&f.HTTP2, "an http2 fault", http2Fields),
	}
}

func http2Fields(f *HTTP2Fault) fields {
	return fields{
		"frame": set(&f.Frame, frameValue).must(),
		"error": set(&f.Error, http2ErrorValue),
		"after": setNew(&f.After, amountValue),
	}
}

func checkHTTP(d *decoder, f *HTTPFault, pos Position) {
	f.complete()
	bare := *f
	bare.Path, bare.Method = "", ""
	answers, ends := f.answers(), f.ends()
	switch {
	case bare == HTTPFault{}:
		d.failf(pos, "http fault changes nothing")
	case len(answers) > 1:
		d.failf(pos, "`%s:` and `%s:` contradict each other: each says what is answered", answers[0], answers[1])
	case (f.Body != "" || f.RetryAfter != 0 || f.ContentType != "") && len(answers) == 0:
		d.failf(pos, "`body:`, `content-type:` and `retry-after:` need `status:`")
	case f.Redirect == "" && slices.Contains(redirects, f.Status):
		d.failf(pos, "`status: %d` needs `redirect:`, which says where it leads", f.Status)
	case f.Redirect != "" && f.Status != 0 && !slices.Contains(redirects, f.Status):
		d.failf(pos, "`redirect:` goes with the statuses 301, 302, 303, 307 and 308, not with %d", f.Status)
	case f.Hang && bare != HTTPFault{Hang: true, Limit: f.Limit}:
		d.failf(pos, "`hang: true` leaves no answer for the other keys to change")
	case len(ends) > 1:
		d.failf(pos, "`%s:` and `%s:` contradict each other", ends[0], ends[1])
	case f.Garbage == GarbageChunks && f.ContentLength != "":
		d.failf(pos, "`garbage: chunks` has no content-length")
	default:
		checkHTTP2(d, &f.HTTP2, pos)
	}
}

func checkHTTP2(d *decoder, f *HTTP2Fault, pos Position) {
	switch {
	case f.Frame == FrameRSTStream && f.Error == "":
		d.failf(pos, "`frame: rst-stream` needs `error:`, such as `internal-error`")
	case f.Frame == FrameNoData && f.Error != "":
		d.failf(pos, "`frame: no-data` has no `error:`; nothing is said")
	case f.Frame == FrameNoData && f.After == nil:
		d.failf(pos, "`frame: no-data` needs `after:`; a window is never empty at once")
	}
}

// answers returns the keys that say what is answered instead.
func (f *HTTPFault) answers() []string {
	return keysOf(map[string]bool{
		"status":   f.Status != 0 && f.Redirect == "", // with `redirect:` it only says in which way
		"redirect": f.Redirect != "",
		"auth":     f.Auth != "",
	})
}

// ends returns the keys that say how an answer ends.
func (f *HTTPFault) ends() []string {
	return keysOf(map[string]bool{
		"stall-after": f.StallAfter != nil,
		"cut-after":   f.CutAfter != nil,
		"close":       f.Close != "",
		"garbage":     f.Garbage == GarbageAnswer || f.Garbage == GarbageChunks,
		"http2":       f.HTTP2.Frame != "",
	})
}

func keysOf(set map[string]bool) (keys []string) {
	for key, is := range set {
		if is {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// complete sets what follows from the other keys.
func (f *HTTPFault) complete() {
	beyond := HTTPFault{Path: f.Path, Method: f.Method, Limit: f.Limit,
		Body: f.Body, ContentType: f.ContentType, RetryAfter: f.RetryAfter}
	switch {
	case f.Redirect != "" && f.Status == 0:
		f.Status = statusFound
	case f.Limit != (Frequency{}) && *f == beyond:
		f.Status = statusTooManyRequests
	}
}

// NeedsHTTP1 reports whether the fault can only be done in HTTP/1.1, so that its host must not speak HTTP/2.
func (f HTTPFault) NeedsHTTP1() bool { return f.Garbage == GarbageChunks }

// checkHTTPPlace checks that an HTTP fault leads to a host of its world.
func (d *decoder) checkHTTPPlace(f *Fault, w *World, fault *ast.MappingNode) {
	if f.HTTP == nil || f.HTTP.Redirect == "" {
		return
	}
	to, err := url.Parse(f.HTTP.Redirect)
	known := w.hostNames()
	if err == nil && to.Host != "" && !slices.Contains(known, strings.ToLower(to.Hostname())) {
		at := d.position(keyNode(keyNode(fault, "http").(*ast.MappingNode), "redirect"))
		d.failf(at, "world %s has no host %s%s", w.Name, quote(to.Hostname()), suggest(to.Hostname(), known))
	}
}

func parseRedirect(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case s == RedirectLoop:
		return s, nil
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", fmt.Errorf("%s is neither `loop` nor a URL such as `https://storage.example`", quote(s))
	}
	return s, nil
}

func parseAuth(s string) (string, error) {
	user, _, ok := strings.Cut(s, ":")
	token, bearer := strings.CutPrefix(s, "Bearer ")
	if bearer && token != "" && !strings.ContainsAny(token, " \t\r\n") || !bearer && ok && user != "" {
		return s, nil
	}
	return "", fmt.Errorf("%s is neither `USER:PASSWORD` nor `Bearer TOKEN`", quote(s))
}

func parseFrequency(s string) (Frequency, error) {
	const most = 1_000_000
	number, unit, _ := strings.Cut(s, "/")
	per, known := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || !known:
		return Frequency{}, fmt.Errorf("%s is no number of requests in a time, such as `10/s`, `100/m` or `5000/h`", quote(s))
	case n < 1 || n > most:
		return Frequency{}, fmt.Errorf("%s is out of range: 1 to %d", quote(s), most)
	}
	return Frequency{n, per}, nil
}

func httpContradiction(a, b *HTTPFault) string {
	decides := func(f *HTTPFault) bool { return f.Status != 0 || f.Hang }
	switch {
	case a.Path != b.Path || a.Method != b.Method:
		return ""
	case a.Status != 0 && b.Status != 0:
		return "set `status`"
	case decides(a) && decides(b):
		return "decide the answer"
	case len(a.ends()) > 0 && len(b.ends()) > 0:
		return "say how answers end"
	}
	return ""
}

func (f *HTTPFault) describe(w *words) {
	w.add("path", f.Path)
	w.add("method", f.Method)
	w.add("limit", f.Limit)
	w.add("status", f.Status)
	w.add("content-type", f.ContentType)
	w.add("retry-after", f.RetryAfter)
	w.add("redirect", f.Redirect)
	if f.Auth != "" {
		w.set("auth", authScheme(f.Auth))
	}
	w.add("delay", f.Delay)
	w.add("hang", f.Hang)
	w.add("pad-to", f.PadTo)
	w.addAmount("truncate-after", f.TruncateAfter)
	w.add("content-length", f.ContentLength)
	w.add("rate", f.Rate)
	w.addAmount("stall-after", f.StallAfter)
	w.addAmount("cut-after", f.CutAfter)
	w.add("garbage", f.Garbage)
	w.add("close", f.Close)
	w.add("http2", f.HTTP2.Frame)
	w.add("error", f.HTTP2.Error)
	w.addAmount("after", f.HTTP2.After)
}

// authScheme returns the scheme of credentials, RFC 9110 section 11.1.
func authScheme(credentials string) string {
	if strings.HasPrefix(credentials, "Bearer ") {
		return "Bearer"
	}
	return "Basic"
}

// addAmount adds key=amount unless there is none.
func (w *words) addAmount(key string, a *Amount) {
	if a != nil {
		w.set(key, a)
	}
}
