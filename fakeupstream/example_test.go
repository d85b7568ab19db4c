package fakeupstream_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// show prints the answer to a GET.
func show(url string) {
	resp, err := http.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, strings.TrimSpace(string(body)), err)
}

// A proxy with one module. Point a go command at it with GOPROXY and the server's URL.
func ExampleModuleProxy() {
	tree := fstest.MapFS{
		"example.test/!hello/@v/v1.0.0.info": {Data: []byte(`{"Version":"v1.0.0"}`)},
		"example.test/!hello/@v/v1.0.0.mod":  {Data: []byte("module example.test/Hello\n")},
	}
	server := httptest.NewServer(&fakeupstream.ModuleProxy{Tree: tree})
	defer server.Close()
	show(server.URL + "/example.test/!hello/@v/list")
	show(server.URL + "/example.test/!hello/@latest")
	show(server.URL + "/example.test/!hello/@v/v1.1.0.info")
	// Output:
	// 200 v1.0.0 <nil>
	// 200 {"Version":"v1.0.0"} <nil>
	// 404 not found: example.test/Hello@v1.1.0: invalid version: unknown revision v1.1.0 <nil>
}

// A database with one module. A go command trusts it with GOSUMDB set to the verifier key, a space and
// the server's URL.
func ExampleChecksumDB() {
	skey, vkey, err := note.GenerateKey(nil, "sum.example.test")
	if err != nil {
		log.Fatal(err)
	}
	db, err := fakeupstream.NewChecksumDB("sum.example.test", skey, []fakeupstream.Module{{
		Path:     "example.test/hello",
		Version:  "v1.0.0",
		Sum:      "h1:kR7GvdLGxNXX1Y6cKVnLeCFWYN1D8RxCHBpoAx2VyLU=",
		GoModSum: "h1:ytgeQPHU5bnzNl9IfwFJs0U6jTmJWrmJCJcTKXbYrTM=",
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.HasPrefix(vkey, db.Name()+"+"))
	server := httptest.NewServer(db)
	defer server.Close()
	show(server.URL + "/lookup/example.test/bye@v1.0.0")
	// Output:
	// true
	// 404 not found: example.test/bye@v1.0.0: file does not exist <nil>
}

// A server that is overloaded, but only when it comes to zip files.
func ExampleStatus() {
	zips := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, ".zip") }
	overloaded := fakeupstream.When(zips, fakeupstream.Status(http.StatusServiceUnavailable, "", 0))
	honest := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })
	server := httptest.NewServer(overloaded(honest))
	defer server.Close()
	show(server.URL + "/a.mod")
	show(server.URL + "/a.zip")
	// Output:
	// 200 fine <nil>
	// 503 Service Unavailable <nil>
}

// The connection breaks in the middle of a download.
func ExampleCutAfter() {
	honest := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "0123456789")
	})
	server := httptest.NewServer(fakeupstream.CutAfter(scenarios.Amount{Share: 0.5})(honest))
	defer server.Close()
	show(server.URL)
	// Output: 200 01234 unexpected EOF
}

// Two requests a minute are served, and no more.
func ExampleBeyond() {
	tooMany := fakeupstream.When(fakeupstream.Beyond(scenarios.Frequency{Count: 2, Per: time.Minute}),
		fakeupstream.Status(http.StatusTooManyRequests, "", 0))
	honest := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })
	server := httptest.NewServer(tooMany(honest))
	defer server.Close()
	for range 3 {
		show(server.URL)
	}
	// Output:
	// 200 fine <nil>
	// 200 fine <nil>
	// 429 Too Many Requests <nil>
}

// A server that says that its answers are half as long as they are.
func ExampleWireServer() {
	fault := scenarios.HTTPFault{ContentLength: scenarios.ContentLengthShort}
	honest := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "0123456789") })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	fmt.Println(fakeupstream.NeedsWire(fault))
	go fakeupstream.NewWireServer(&http.Server{Handler: fakeupstream.WrongHTTP(fault)(honest)}).Serve(l)
	show("http://" + l.Addr().String())
	// Output:
	// true
	// 200 01234 <nil>
}

// A server that has forgotten to renew its certificate. WhenTLS picks the connections that see it.
func ExampleNewTLSListener() {
	ca, err := fakeupstream.NewCA(time.Now())
	if err != nil {
		log.Fatal(err)
	}
	good, err := ca.Leaf("mirror.example")
	if err != nil {
		log.Fatal(err)
	}
	expired, err := ca.Flawed(scenarios.CertificateExpired, "mirror.example")
	if err != nil {
		log.Fatal(err)
	}
	fault := scenarios.TLSFault{Certificate: scenarios.CertificateExpired}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Listener = fakeupstream.NewTLSListener(server.Listener,
		&tls.Config{Certificates: []tls.Certificate{good}}, fakeupstream.WrongTLS(fault, expired))
	server.Start()
	defer server.Close()

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	_, err = tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "mirror.example"})
	var invalid x509.CertificateInvalidError
	fmt.Println(errors.As(err, &invalid) && invalid.Reason == x509.Expired)
	// Output: true
}

// A log around a handler tells what it was asked.
func ExampleLog() {
	var seen fakeupstream.Log
	server := httptest.NewServer(seen.Observe(http.NotFoundHandler()))
	show(server.URL + "/example.test/hello/@v/list")
	server.Close() // waits until every request has ended
	for _, r := range seen.Requests() {
		fmt.Println(r.Method, r.Path, r.Status, r.Bytes)
	}
	// Output:
	// 404 404 page not found <nil>
	// GET /example.test/hello/@v/list 404 19
}

// A proxy whose list of versions is older than its files.
func ExampleWrongModules() {
	proxy := &fakeupstream.ModuleProxy{Tree: fstest.MapFS{
		"example.test/hello/@v/v1.0.0.info": {Data: []byte(`{"Version":"v1.0.0"}`)},
		"example.test/hello/@v/v1.1.0.info": {Data: []byte(`{"Version":"v1.1.0"}`)},
	}}
	stale := scenarios.ModuleFault{Stale: true}
	meets := func(r *http.Request) bool { return proxy.Meets(stale, r) }
	server := httptest.NewServer(fakeupstream.When(meets, fakeupstream.WrongModules(stale, proxy))(proxy))
	defer server.Close()
	show(server.URL + "/example.test/hello/@v/list")
	show(server.URL + "/example.test/hello/@v/v1.1.0.info")
	// Output:
	// 200 v1.0.0 <nil>
	// 200 {"Version":"v1.1.0"} <nil>
}

// A database that has not seen a module yet.
func ExampleOpenWrongChecksumDB() {
	skey, _, err := note.GenerateKey(nil, "sum.example.test")
	if err != nil {
		log.Fatal(err)
	}
	modules := []fakeupstream.Module{{Path: "example.test/hello", Version: "v1.0.0", Sum: "h1:kR7GvdLGxNXX1Y6cKVnLeCFWYN1D8RxCHBpoAx2VyLU="}}
	stale := scenarios.SumDBFault{Answer: scenarios.SumDBStale}
	signed, err := fakeupstream.NewChecksumDB("sum.example.test", skey, fakeupstream.WrongSums(stale, modules))
	if err != nil {
		log.Fatal(err)
	}
	db, err := fakeupstream.OpenWrongChecksumDB(stale, "sum.example.test", signed.SignedTree(), modules)
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(db)
	defer server.Close()
	show(server.URL + "/lookup/example.test/hello@v1.0.0")
	// Output:
	// 404 not found: example.test/hello@v1.0.0: file does not exist <nil>
}

// A proxy that goes on to serve what it has fetched when its upstream is gone.
func ExampleCachingProxy() {
	upstream := httptest.NewServer(&fakeupstream.ModuleProxy{Tree: fstest.MapFS{
		"example.test/hello/@v/v1.0.0.mod": {Data: []byte("module example.test/hello\n")},
	}})
	server := httptest.NewServer(&fakeupstream.CachingProxy{Upstream: upstream.URL})
	defer server.Close()
	show(server.URL + "/example.test/hello/@v/v1.0.0.mod")
	upstream.Close()
	show(server.URL + "/example.test/hello/@v/v1.0.0.mod")
	// Output:
	// 200 module example.test/hello <nil>
	// 200 module example.test/hello <nil>
}
