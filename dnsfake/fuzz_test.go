package dnsfake

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/simrun/simrun/scenarios"
)

// FuzzServe feeds a server any message. It must not panic, and what it answers must be an answer to it.
func FuzzServe(f *testing.F) {
	add := func(m *dns.Msg) {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	add(new(dns.Msg).SetQuestion("a.example.", dns.TypeA))
	add(new(dns.Msg).SetQuestion(".", dns.TypeANY))
	add(new(dns.Msg).SetEdns0(512, true).SetQuestion("b.example.", dns.TypeAAAA))
	add(new(dns.Msg).SetUpdate("example."))
	f.Add([]byte{})

	h := Handler(Zone{"a.example": {netip.MustParseAddr("192.0.2.1")}}, time.Second)
	lie := &scenarios.DNSFault{Name: "b.*"}
	h = When(func(q *dns.Msg) bool { return Selects(lie, q) }, Rcode(scenarios.RcodeNoData))(h)
	server := &Server{handler: Observe(func(Query) {})(h)}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &responseWriter{server: server, local: &net.UDPAddr{}, client: &net.UDPAddr{}}
		w.write = func(answer []byte) (int, error) {
			var m dns.Msg
			if err := m.Unpack(answer); err != nil {
				t.Errorf("answer % x: %v", answer, err)
			}
			if !m.Response || answer[0] != b[0] || answer[1] != b[1] {
				t.Errorf("% x is no answer to % x", answer, b)
			}
			return len(answer), nil
		}
		server.serve(w, b)
	})
}
