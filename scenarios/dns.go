package scenarios

import "time"

// A DNSFault changes what a name server answers.
type DNSFault struct {
	Name   string        // glob over the names asked for; empty means all
	Type   string        // A or AAAA; empty means all
	Delay  time.Duration // before the answer
	Jitter time.Duration // uniform, to either side of Delay
	Drop   Fraction      // share of the queries that get no answer
	Answer Rcode         // instead of the true answer
}

// An Rcode is a DNS answer without records.
type Rcode string

// The answers of the language.
const (
	RcodeNXDomain Rcode = "nxdomain"
	RcodeServFail Rcode = "servfail"
	RcodeRefused  Rcode = "refused"
	RcodeNoData   Rcode = "nodata" // NOERROR and an empty answer
)

var (
	rcodeValue     = oneOf("answer", RcodeNXDomain, RcodeServFail, RcodeRefused, RcodeNoData)
	queryTypeValue = oneOf("type", "A", "AAAA")
)

func dnsFields(f *DNSFault) fields {
	return fields{
		"name":   set(&f.Name, textValue),
		"type":   set(&f.Type, queryTypeValue),
		"delay":  set(&f.Delay, durationValue),
		"jitter": set(&f.Jitter, durationValue),
		"drop":   set(&f.Drop, fractionValue),
		"answer": set(&f.Answer, rcodeValue),
	}
}

func checkDNS(d *decoder, f *DNSFault, pos Position) {
	bare := *f
	bare.Name, bare.Type = "", ""
	switch {
	case bare == DNSFault{}:
		d.failf(pos, "dns fault changes nothing")
	case f.Jitter > f.Delay:
		d.failf(pos, "jitter %v is more than the delay %v", f.Jitter, f.Delay)
	case f.Answer != "" && f.Drop == 1:
		d.failf(pos, "`answer:` and `drop: 100%%` contradict each other")
	}
}

func dnsContradiction(a, b *DNSFault) string {
	if a.Answer != "" && b.Answer != "" && a.Name == b.Name && a.Type == b.Type {
		return "set `answer`"
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
}
