package dnsfake_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/simrun/simrun/dnsfake"
	"github.com/simrun/simrun/scenarios"
)

func ExampleListen() {
	zone := dnsfake.Zone{"proxy.example": {netip.MustParseAddr("192.0.2.1")}}
	srv, err := dnsfake.Listen("127.0.0.1:0", dnsfake.Handler(zone, time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	addrs, err := resolver(srv).LookupHost(context.Background(), "proxy.example")
	fmt.Println(addrs, err)
	// Output: [192.0.2.1] <nil>
}

// A name server that answers nothing to AAAA queries, as some middle boxes do, and truly to all others.
func ExampleWhen() {
	zone := dnsfake.Zone{"proxy.example": {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}
	isAAAA := func(_ dns.ResponseWriter, m *dns.Msg) bool { return m.Question[0].Qtype == dns.TypeAAAA }
	h := dnsfake.When(isAAAA, dnsfake.Answer(scenarios.AnswerNoData))(dnsfake.Handler(zone, time.Minute))
	srv, err := dnsfake.Listen("127.0.0.1:0", h)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	addrs, err := resolver(srv).LookupHost(context.Background(), "proxy.example")
	fmt.Println(addrs, err)
	// Output: [192.0.2.1] <nil>
}

// A path on which somebody answers before the name server does, with an address of their own.
func ExampleInject() {
	zone := dnsfake.Zone{"proxy.example": {netip.MustParseAddr("192.0.2.1")}}
	forge := dnsfake.Address(netip.MustParseAddr("203.0.113.7"))
	late := dnsfake.Delay(10*time.Millisecond, 0, rand.New(rand.NewPCG(1, 2)))
	srv, err := dnsfake.Listen("127.0.0.1:0", dnsfake.Inject(forge, late)(dnsfake.Handler(zone, time.Minute)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	addrs, err := resolver(srv).LookupNetIP(context.Background(), "ip4", "proxy.example")
	fmt.Println(addrs, err)
	// Output: [203.0.113.7] <nil>
}

// A name server that fails for one name, and says what it was asked.
func ExampleFault() {
	rng := rand.New(rand.NewPCG(1, 2))
	fault := scenarios.DNSFault{Name: "*.corp.example", Answer: scenarios.AnswerServFail}
	seen := make(chan dnsfake.Query, 1) // a query is seen after its client has the answer
	h := dnsfake.Handler(dnsfake.Zone{"git.corp.example": nil, "proxy.example": nil}, time.Minute)
	h = dnsfake.Observe(func(q dnsfake.Query) { seen <- q })(dnsfake.Fault(fault, nil, rng, nil)(h))
	srv, err := dnsfake.Listen("127.0.0.1:0", h)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"git.corp.example.", "proxy.example."} {
		if _, err := dns.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), srv.Addr()); err != nil {
			fmt.Println(err)
		}
		q := <-seen
		fmt.Println(q.Net, q.Name, q.Type, q.Rcode)
	}
	if err := srv.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// udp git.corp.example A servfail
	// udp proxy.example A nodata
}
