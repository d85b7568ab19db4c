package scenarios

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// A DNSFault changes what a name server answers.
type DNSFault struct {
	Name   string         // glob over the names asked for; empty means all
	Type   string         // A or AAAA; empty means all
	Delay  time.Duration  // before the answer
	Jitter time.Duration  // uniform, to either side of Delay
	Drop   Fraction       // share of the queries that get no answer
	Answer DNSAnswer      // instead of the true answer; empty means the true one
	CNAMEs int            // aliases between the name and its addresses, 1 to 100; 0 means none
	TTL    *time.Duration // of all records of the answer, in whole seconds; nil means the server's own
	Rotate bool           // each answer begins with the next one of the addresses

	// Address is the name of a host of the world, or an IP address: it is answered as if it were the true
	// one, and names have no address of a family that it has none of. Empty means the truth.
	Address string

	// Injected says that Answer or Address comes first and the true answer after it, as from somebody on the
	// way who is faster than the name server. Delay is then that of the true answer.
	Injected bool
}

// A DNSAnswer is what a name server answers instead of the truth.
type DNSAnswer string

// The answers of the language. The first four are answers without records (RFC 1035 section 4.1.1 and RFC
// 2308), the next three are well-formed, and the rest are malformed.
const (
	AnswerNXDomain DNSAnswer = "nxdomain" // the name does not exist
	AnswerNoData   DNSAnswer = "nodata"   // the name has no records of the type
	AnswerServFail DNSAnswer = "servfail" // the server could not find out
	AnswerRefused  DNSAnswer = "refused"  // the server does not want to answer

	AnswerTruncated DNSAnswer = "truncated"  // over UDP: ask again over TCP (TC bit, RFC 1035 section 4.2.1)
	AnswerOversized DNSAnswer = "oversized"  // over UDP: more than the client said it takes (RFC 6891 section 6.2.3)
	AnswerCNAMELoop DNSAnswer = "cname-loop" // the name is an alias of an alias of itself

	AnswerWrongID       DNSAnswer = "wrong-id"       // the true answer to a query with another ID
	AnswerWrongQuestion DNSAnswer = "wrong-question" // the answer to a question for another name
	AnswerCut           DNSAnswer = "cut"            // the message ends within the first record
	AnswerPointerLoop   DNSAnswer = "pointer-loop"   // the name of the first record is compressed to itself
	AnswerGarbage       DNSAnswer = "garbage"        // bytes that are no DNS message for the client
)

// DNSAnswers returns all answers of the language.
func DNSAnswers() []DNSAnswer {
	return []DNSAnswer{AnswerNXDomain, AnswerNoData, AnswerServFail, AnswerRefused,
		AnswerTruncated, AnswerOversized, AnswerCNAMELoop,
		AnswerWrongID, AnswerWrongQuestion, AnswerCut, AnswerPointerLoop, AnswerGarbage}
}

var (
	dnsAnswerValue = oneOf("answer", DNSAnswers()...)
	queryTypeValue = oneOf("type", "A", "AAAA")
	ttlValue       = scalar[time.Duration]{parse: parseTTL, shape: durationValue.shape}
)

func dnsFields(f *DNSFault) fields {
	return fields{
		"name":     set(&f.Name, textValue),
		"type":     set(&f.Type, queryTypeValue),
		"delay":    set(&f.Delay, durationValue),
		"jitter":   set(&f.Jitter, durationValue),
		"drop":     set(&f.Drop, fractionValue),
		"answer":   set(&f.Answer, dnsAnswerValue),
		"address":  set(&f.Address, textValue),
		"injected": set(&f.Injected, boolValue),
		"cnames":   set(&f.CNAMEs, whole("aliases", 1, 100)),
		"ttl":      setNew(&f.TTL, ttlValue),
		"rotate":   set(&f.Rotate, boolValue),
	}
}

func parseTTL(s string) (time.Duration, error) {
	d, err := ParseDuration(s)
	if err == nil && d%time.Second != 0 {
		err = fmt.Errorf("%s is not a whole number of seconds, which is all that a TTL can say", quote(s))
	}
	return d, err
}

func checkDNS(d *decoder, f *DNSFault, pos Position) {
	bare := *f
	bare.Name, bare.Type = "", ""
	forged := f.Answer != "" || f.Address != ""
	literal, _ := netip.ParseAddr(f.Address)
	switch {
	case bare == DNSFault{}:
		d.failf(pos, "dns fault changes nothing")
	case f.Jitter > f.Delay:
		d.failf(pos, "jitter %v is more than the delay %v", f.Jitter, f.Delay)
	case f.Answer != "" && f.Address != "":
		d.failf(pos, "`answer:` and `address:` contradict each other")
	case f.Type == "A" && literal.Is6(), f.Type == "AAAA" && literal.Is4():
		d.failf(pos, "%s is no answer to `type: %s`; write `answer: nodata`", f.Address, f.Type)
	case f.Injected && !forged:
		d.failf(pos, "`injected: true` needs `answer:` or `address:`, which comes before the true answer")
	case f.Answer != "" && (f.CNAMEs > 0 || f.TTL != nil || f.Rotate):
		d.failf(pos, "`cnames:`, `ttl:` and `rotate:` are about addresses; `answer: %s` has none", f.Answer)
	case f.Drop == 1 && (forged || f.CNAMEs > 0 || f.TTL != nil || f.Rotate || f.Delay > 0):
		d.failf(pos, "`drop: 100%%` leaves no answer for the other keys to change")
	}
}

// checkDNSAddress checks that the address of a DNS fault is one, or a host of the world.
func (d *decoder) checkDNSAddress(f *DNSFault, w *World, fault *ast.MappingNode) {
	if _, err := netip.ParseAddr(f.Address); f.Address == "" || err == nil {
		return
	}
	f.Address = strings.ToLower(f.Address)
	known := w.hostNames()
	if slices.Contains(known, f.Address) {
		return
	}
	at := d.position(keyNode(keyNode(fault, "dns").(*ast.MappingNode), "address"))
	d.failf(at, "address %s is neither an IP address nor a host of the world %s%s", quote(f.Address), w.Name, suggest(f.Address, known))
}

func dnsContradiction(a, b *DNSFault) string {
	forges := func(f *DNSFault) bool { return f.Answer != "" || f.Address != "" }
	switch {
	case a.Name != b.Name || a.Type != b.Type:
		return ""
	case a.Answer != "" && b.Answer != "":
		return "set `answer`"
	case forges(a) && forges(b):
		return "decide the answer"
	case a.TTL != nil && b.TTL != nil:
		return "set `ttl`"
	}
	return ""
}

func (d *DNSFault) describe(w *words) {
	w.add("name", d.Name)
	w.add("type", d.Type)
	w.add("delay", d.Delay)
	w.add("jitter", d.Jitter)
	w.add("drop", d.Drop)
	w.add("answer", d.Answer)
	w.add("address", d.Address)
	w.add("injected", d.Injected)
	w.add("cnames", d.CNAMEs)
	if d.TTL != nil {
		w.set("ttl", *d.TTL)
	}
	w.add("rotate", d.Rotate)
}
