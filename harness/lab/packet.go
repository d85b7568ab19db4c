//go:build linux

package lab

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// TCP flags, RFC 9293 section 3.1.
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// IP protocol numbers, https://www.iana.org/assignments/protocol-numbers.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// A packet is the part of an IP packet's headers that the link looks at.
type packet struct {
	src, dst netip.AddrPort // ports are zero where proto is neither TCP nor UDP, and in later fragments
	proto    byte
	header   int // bytes of the IP header
	flags    byte
	seq, ack uint32
	payload  []byte // of TCP or UDP
}

// parse reads the headers of an IP packet. It reports false for what lacks a whole IPv4 or IPv6 header.
// IPv6 extension headers are not followed: neither kernel of a lab sends any on TCP or UDP.
func parse(b []byte) (p packet, ok bool) {
	if len(b) < 20 {
		return p, false
	}
	var src, dst netip.Addr
	switch b[0] >> 4 {
	case 4:
		p.header = int(b[0]&15) * 4
		if p.header < 20 || len(b) < p.header {
			return p, false
		}
		p.proto = b[9]
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 { // a later fragment has no ports
			p.src, p.dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)
			return p, true
		}
	case 6:
		p.header = 40
		if len(b) < p.header {
			return p, false
		}
		p.proto = b[6]
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	default:
		return p, false
	}
	sport, dport := p.transport(b[p.header:])
	p.src, p.dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return p, true
}

// transport reads a TCP or UDP header and returns the ports.
func (p *packet) transport(t []byte) (sport, dport uint16) {
	switch {
	case p.proto == protoTCP && len(t) >= 20:
		p.seq, p.ack = binary.BigEndian.Uint32(t[4:]), binary.BigEndian.Uint32(t[8:])
		p.flags = t[13]
		if off := int(t[12]>>4) * 4; off >= 20 && off <= len(t) {
			p.payload = t[off:]
		}
	case p.proto == protoUDP && len(t) >= 8:
		p.payload = t[8:]
	default:
		return 0, 0
	}
	return binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
}

// resetFor returns the RST that a closed port answers a TCP packet with (RFC 9293 section 3.10.7.1).
func resetFor(p packet) []byte {
	t := make([]byte, 20)
	binary.BigEndian.PutUint16(t, p.dst.Port())
	binary.BigEndian.PutUint16(t[2:], p.src.Port())
	t[12] = 5 << 4
	if p.flags&flagACK != 0 {
		binary.BigEndian.PutUint32(t[4:], p.ack)
		t[13] = flagRST
	} else {
		n := len(p.payload) + bits.OnesCount8(p.flags&(flagSYN|flagFIN)) // each takes a sequence number
		binary.BigEndian.PutUint32(t[8:], p.seq+uint32(n))
		t[13] = flagRST | flagACK
	}
	return finish(p.dst.Addr(), p.src.Addr(), protoTCP, t, 16)
}

// An unreachable is a code of ICMP "destination unreachable" in both families' numbering.
type unreachable struct{ v4, v6 byte }

// Codes of RFC 792 and RFC 1812 section 5.2.7.1, and of RFC 4443 section 3.1.
var (
	unreachableNet   = unreachable{0, 0}
	unreachableHost  = unreachable{1, 3}
	unreachablePort  = unreachable{3, 4}
	unreachableAdmin = unreachable{13, 1}
)

// icmpFor returns the "destination unreachable" message that a router at from sends for a packet.
func icmpFor(from netip.Addr, p packet, whole []byte, code unreachable) []byte {
	quote, typ, num, proto := p.header+8, byte(3), code.v4, byte(protoICMP)
	if from.Is6() {
		quote, typ, num, proto = 1232, 1, code.v6, protoICMPv6
	}
	m := append([]byte{typ, num, 0, 0, 0, 0, 0, 0}, whole[:min(quote, len(whole))]...)
	return finish(from, p.src.Addr(), proto, m, 2)
}

// corrupt changes a byte of a transport message, so that its checksum is wrong, and reports whether there was
// one to change. Which one depends on the draw. It leaves the ports alone: a router would not look at them,
// but the link does. The receiver's kernel verifies the checksum, as the TUN devices do not claim to have.
func corrupt(message []byte, draw uint64) bool {
	const ports = 8 // with a UDP header's length and checksum, where a zero would mean that there is none
	if len(message) <= ports {
		return false
	}
	at := mix(draw)
	message[ports+at%uint64(len(message)-ports)] ^= byte(at>>56) | 1
	return true
}

// finish puts an IP header before a transport message and fills in the checksum at sum within the message.
func finish(src, dst netip.Addr, proto byte, message []byte, sum int) []byte {
	var pseudo uint32
	if proto != protoICMP { // ICMP for IPv4 has no pseudo header
		pseudo = fold(src.AsSlice()) + fold(dst.AsSlice()) + uint32(proto) + uint32(len(message))
	}
	binary.BigEndian.PutUint16(message[sum:], checksum(pseudo+fold(message)))
	var h []byte
	if src.Is4() {
		h = make([]byte, 20, 20+len(message))
		h[0], h[8], h[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(message)))
		copy(h[12:], src.AsSlice())
		copy(h[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(h[10:], checksum(fold(h)))
	} else {
		h = make([]byte, 40, 40+len(message))
		h[0], h[6], h[7] = 0x60, proto, 64
		binary.BigEndian.PutUint16(h[4:], uint16(len(message)))
		copy(h[8:], src.AsSlice())
		copy(h[24:], dst.AsSlice())
	}
	return append(h, message...)
}

// fold adds up b as 16-bit numbers; checksum completes the sum (RFC 1071).
func fold(b []byte) (sum uint32) {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func checksum(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
