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
	h = When(func(w dns.ResponseWriter, q *dns.Msg) bool { return Selects(lie, w, q) }, Answer(scenarios.AnswerNoData))(h)
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

// FuzzAnswers feeds each lie any message. None must panic, or send more than a message can be.
func FuzzAnswers(f *testing.F) {
	for i := range lies() {
		for _, q := range []*dns.Msg{
			new(dns.Msg).SetQuestion("a.example.", dns.TypeA),
			new(dns.Msg).SetQuestion("a.example.", dns.TypeAAAA).SetEdns0(4096, true),
			new(dns.Msg).SetQuestion(".", dns.TypeTXT),
		} {
			b, err := q.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint(i), b)
		}
	}
	honest := Handler(Zone{"a.example": {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}}, time.Second)
	f.Fuzz(func(t *testing.T, number uint, b []byte) {
		all := lies()
		server := &Server{handler: Observe(func(Query) {})(all[number%uint(len(all))](honest))}
		for _, local := range []net.Addr{&net.UDPAddr{}, &net.TCPAddr{}} {
			w := &responseWriter{server: server, local: local, client: &net.UDPAddr{}}
			w.write = func(answer []byte) (int, error) {
				if len(answer) == 0 || len(answer) > dns.MaxMsgSize {
					t.Errorf("answer of %d bytes to % x", len(answer), b)
				}
				return len(answer), nil
			}
			server.serve(w, b)
		}
	})
}

// lies returns all middlewares that change answers.
func lies() []Middleware {
	all := []Middleware{CNAMEs(100), CNAMEs(1), TTL(0), Rotate(), Address(), Address(netip.IPv6Unspecified()), Inject(Answer(scenarios.AnswerCut), honestly)}
	for _, a := range scenarios.DNSAnswers() {
		all = append(all, Answer(a))
	}
	return all
}
