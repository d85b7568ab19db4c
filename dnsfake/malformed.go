package dnsfake

import (
	"encoding/binary"
	"strings"

	"github.com/miekg/dns"
)

// headerSize is the length of a message's header, which the question follows (RFC 1035 section 4.1).
const headerSize = 12

// spoil sends what ruin makes of each answer, as it is. Nothing is sent if ruin returns nothing.
func spoil(ruin func(q, m *dns.Msg) []byte) Middleware {
	return func(next dns.Handler) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			bite(w)
			next.ServeDNS(&spoiler{wrapper{w}, q, ruin}, q)
		})
	}
}

type spoiler struct {
	wrapper
	query *dns.Msg
	ruin  func(q, m *dns.Msg) []byte
}

// WriteMsg implements [dns.ResponseWriter].
func (s *spoiler) WriteMsg(m *dns.Msg) error {
	b := s.ruin(s.query, m)
	if b == nil {
		return nil
	}
	_, err := s.ResponseWriter.Write(b)
	return err
}

// packed returns m as it goes over the wire: nothing, if a name in it cannot.
func packed(m *dns.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// oversized puts records in front of m until it is larger than the client takes, and does not say so.
func oversized(q, m *dns.Msg) []byte {
	padding := &dns.TXT{
		Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: forgedTTL},
		Txt: []string{strings.Repeat("more than you can take ", 4)},
	}
	m.Compress = false
	for m.Len() <= max(udpSize(q), dns.MinMsgSize) {
		m.Answer = append([]dns.RR{padding}, m.Answer...)
	}
	return packed(m)
}

func wrongID(_, m *dns.Msg) []byte {
	m.Id++
	return packed(m)
}

// wrongQuestion makes m an answer about another name.
func wrongQuestion(_, m *dns.Msg) []byte {
	const name = "other.invalid."
	m.Question[0].Name = name
	for _, rr := range m.Answer {
		rr.Header().Name = name
	}
	return packed(m)
}

// cut leaves the first bytes of the first record, or of nothing where an answer has no records at all.
func cut(_, m *dns.Msg) []byte {
	b := packed(m)
	return b[:min(len(b), questionEnd(b)+5)]
}

// pointerLoop makes m an answer of one record, whose name is compressed to a pointer to that name itself:
// RFC 1035 section 4.1.4 only allows pointers to what came before.
func pointerLoop(_, m *dns.Msg) []byte {
	m.Answer, m.Ns, m.Extra = nil, nil, nil
	b := packed(m)
	if b == nil {
		return nil
	}
	const answers = 6 // offset of ANCOUNT
	binary.BigEndian.PutUint16(b[answers:], 1)
	b = binary.BigEndian.AppendUint16(b, 0xc000|uint16(questionEnd(b)))
	b = binary.BigEndian.AppendUint16(b, dns.TypeA)
	b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
	b = binary.BigEndian.AppendUint32(b, forgedTTL)
	return append(b, 0, 4, 192, 0, 2, 1)
}

// garbage turns every bit of m around, that which says that it is an answer and those of its ID included.
func garbage(_, m *dns.Msg) []byte {
	b := packed(m)
	for i := range b {
		b[i] = ^b[i]
	}
	return b
}

// questionEnd returns where the question of a packed message ends.
func questionEnd(b []byte) int {
	_, end, err := dns.UnpackDomainName(b, headerSize)
	if err != nil {
		return len(b)
	}
	return end + 4 // type and class
}
