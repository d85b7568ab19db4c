// Package dnsfake is a name server for closed worlds: it knows the names of one [Zone], is authoritative
// for everything else too, and can be made to misbehave in declared ways.
//
// A [Zone] becomes a [dns.Handler] with [Handler]; a [Middleware] around it adds one fault; [Listen] serves
// the result over UDP and TCP:
//
//	zone := dnsfake.Zone{"a.example": {netip.MustParseAddr("192.0.2.1")}}
//	h := dnsfake.Drop(0.5, rng)(dnsfake.Handler(zone, time.Minute))
//	srv, err := dnsfake.Listen("127.0.0.1:0", h)
//
// [Fault] makes of a declared fault what it says; [Answer], [Address], [Inject], [CNAMEs], [TTL], [Rotate],
// [Delay] and [Drop] are what it is made of, one lie each.
//
// Answers follow RFC 1035 (messages, and TC on what does not fit into a datagram), RFC 2308 (a name that
// does not exist answers NXDOMAIN, a name without records of the type answers NOERROR with no records, both
// with an SOA record) and RFC 6891 (EDNS0: the client's buffer size counts, and versions other than 0
// answer BADVERS). Queries on one TCP connection are answered as they become ready, as RFC 7766 section 7
// allows: a delayed answer holds up no other.
//
// The server keeps no timers of its own. While no query is being delayed, nothing in it waits for the clock.
package dnsfake
