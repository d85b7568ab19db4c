//go:build linux

package lab

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

var (
	clientPort4 = netip.MustParseAddrPort("192.0.2.2:40000")
	clientPort6 = netip.MustParseAddrPort("[2001:db8:2::2]:40000")
	hostPort4   = netip.MustParseAddrPort("198.18.1.0:443")
	hostPort6   = netip.MustParseAddrPort("[2001:db8:1::100]:443")
)

// segment returns a TCP packet.
func segment(src, dst netip.AddrPort, flags byte, seq, ack uint32, payload string) []byte {
	t := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	binary.BigEndian.PutUint32(t[4:], seq)
	binary.BigEndian.PutUint32(t[8:], ack)
	t[12], t[13] = 5<<4, flags
	return finish(src.Addr(), dst.Addr(), protoTCP, append(t, payload...), 16)
}

// datagram returns a UDP packet.
func datagram(src, dst netip.AddrPort, payload []byte) []byte {
	u := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(u, src.Port())
	binary.BigEndian.PutUint16(u[2:], dst.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(payload)))
	return finish(src.Addr(), dst.Addr(), protoUDP, append(u, payload...), 6)
}

func parsed(t testing.TB, b []byte) packet {
	t.Helper()
	p, ok := parse(b)
	require.True(t, ok)
	return p
}

func TestParse(t *testing.T) {
	options := segment(clientPort4, hostPort4, flagSYN, 7, 0, "")
	options[20+12] = 6 << 4 // one word of TCP options
	options = append(options, 2, 4, 5, 180)
	ipOptions := append([]byte{0x46}, segment(clientPort4, hostPort4, flagACK, 7, 8, "x")[1:20]...)
	ipOptions = append(append(ipOptions, 1, 1, 1, 0), segment(clientPort4, hostPort4, flagACK, 7, 8, "x")[20:]...)
	later := datagram(clientPort4, hostPort4, []byte("tail"))
	later[7] = 10 // 80 bytes into the datagram
	first := datagram(clientPort4, hostPort4, []byte("head"))
	first[6] = 0x20 // more fragments
	overrun := segment(clientPort4, hostPort4, flagACK, 7, 8, "x")
	overrun[20+12] = 15 << 4 // longer than the packet
	portlessClient, portlessHost := netip.AddrPortFrom(clientPort4.Addr(), 0), netip.AddrPortFrom(hostPort4.Addr(), 0)
	for _, test := range []struct {
		name string
		in   []byte
		want packet
	}{
		{"TCP over IPv4", segment(clientPort4, hostPort4, flagSYN, 7, 0, ""),
			packet{clientPort4, hostPort4, protoTCP, 20, flagSYN, 7, 0, []byte{}}},
		{"TCP over IPv6", segment(clientPort6, hostPort6, flagACK|flagFIN, 7, 8, "bye"),
			packet{clientPort6, hostPort6, protoTCP, 40, flagACK | flagFIN, 7, 8, []byte("bye")}},
		{"TCP options are no payload", options, packet{clientPort4, hostPort4, protoTCP, 20, flagSYN, 7, 0, []byte{}}},
		{"IPv4 options", ipOptions, packet{clientPort4, hostPort4, protoTCP, 24, flagACK, 7, 8, []byte("x")}},
		{"TCP header longer than the packet", overrun, packet{clientPort4, hostPort4, protoTCP, 20, flagACK, 7, 8, nil}},
		{"half a TCP header", segment(clientPort4, hostPort4, 0, 0, 0, "")[:30], packet{portlessClient, portlessHost, protoTCP, 20, 0, 0, 0, nil}},
		{"UDP over IPv4", datagram(clientPort4, hostPort4, []byte("q")), packet{clientPort4, hostPort4, protoUDP, 20, 0, 0, 0, []byte("q")}},
		{"UDP over IPv6", datagram(clientPort6, hostPort6, nil), packet{clientPort6, hostPort6, protoUDP, 40, 0, 0, 0, []byte{}}},
		{"a first fragment", first, packet{clientPort4, hostPort4, protoUDP, 20, 0, 0, 0, []byte("head")}},
		{"a later fragment has no ports", later, packet{portlessClient, portlessHost, protoUDP, 20, 0, 0, 0, nil}},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, parsed(t, test.in))
		})
	}
	for _, in := range [][]byte{
		nil, {0x45}, make([]byte, 60), // version 0
		segment(clientPort4, hostPort4, 0, 0, 0, "")[:19],
		segment(clientPort6, hostPort6, 0, 0, 0, "")[:39],
		append([]byte{0x44}, make([]byte, 40)...),                                 // header of 16 bytes
		append([]byte{0x4f}, segment(clientPort4, hostPort4, 0, 0, 0, "")[1:]...), // header of 60 bytes
	} {
		_, ok := parse(in)
		assert.False(t, ok, "%x", in)
	}
}

// TestResetFor has the cases of RFC 9293 section 3.10.7.1.
func TestResetFor(t *testing.T) {
	for _, test := range []struct {
		name       string
		flags      byte
		payload    string
		seq, ack   uint32
		resetFlags byte
	}{
		{"SYN", flagSYN, "", 0, 1001, flagRST | flagACK},
		{"SYN with data", flagSYN, "fast", 0, 1005, flagRST | flagACK},
		{"FIN without ACK", flagFIN, "", 0, 1001, flagRST | flagACK},
		{"SYN and FIN", flagSYN | flagFIN, "", 0, 1002, flagRST | flagACK},
		{"data without ACK", 0, "data", 0, 1004, flagRST | flagACK},
		{"ACK", flagACK, "data", 2000, 0, flagRST},
		{"SYN-ACK", flagSYN | flagACK, "", 2000, 0, flagRST},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, ends := range [][2]netip.AddrPort{{clientPort4, hostPort4}, {clientPort6, hostPort6}} {
				p := parsed(t, segment(ends[0], ends[1], test.flags, 1000, 2000, test.payload))
				b := resetFor(p)
				requireValidIP(t, b)
				got := parsed(t, b)
				assert.Equal(t, packet{ends[1], ends[0], protoTCP, p.header, test.resetFlags, test.seq, test.ack, []byte{}}, got)
			}
		})
	}
}

func TestICMPFor(t *testing.T) {
	long := segment(clientPort6, hostPort6, flagACK, 1, 2, string(make([]byte, 1400)))
	for _, test := range []struct {
		name   string
		from   netip.Addr
		packet []byte
		code   unreachable
		typ    icmp.Type
		num    int
		quoted int // bytes
	}{
		{"IPv4 port", hostPort4.Addr(), datagram(clientPort4, hostPort4, []byte("query")), unreachablePort, ipv4.ICMPTypeDestinationUnreachable, 3, 28},
		{"IPv4 host", hostPort4.Addr(), segment(clientPort4, hostPort4, flagSYN, 1, 0, ""), unreachableHost, ipv4.ICMPTypeDestinationUnreachable, 1, 28},
		{"IPv4 network", gateway4, segment(clientPort4, hostPort4, flagSYN, 1, 0, ""), unreachableNet, ipv4.ICMPTypeDestinationUnreachable, 0, 28},
		{"IPv4 admin", hostPort4.Addr(), segment(clientPort4, hostPort4, flagSYN, 1, 0, ""), unreachableAdmin, ipv4.ICMPTypeDestinationUnreachable, 13, 28},
		{"IPv6 port", hostPort6.Addr(), datagram(clientPort6, hostPort6, []byte("query")), unreachablePort, ipv6.ICMPTypeDestinationUnreachable, 4, 53},
		{"IPv6 host", hostPort6.Addr(), segment(clientPort6, hostPort6, flagSYN, 1, 0, ""), unreachableHost, ipv6.ICMPTypeDestinationUnreachable, 3, 60},
		{"IPv6 network", gateway6, segment(clientPort6, hostPort6, flagSYN, 1, 0, ""), unreachableNet, ipv6.ICMPTypeDestinationUnreachable, 0, 60},
		{"IPv6 admin", hostPort6.Addr(), segment(clientPort6, hostPort6, flagSYN, 1, 0, ""), unreachableAdmin, ipv6.ICMPTypeDestinationUnreachable, 1, 60},
		{"IPv6, at most the minimal MTU", hostPort6.Addr(), long, unreachablePort, ipv6.ICMPTypeDestinationUnreachable, 4, 1232},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := icmpFor(test.from, parsed(t, test.packet), test.packet, test.code)
			proto, payload := requireValidIP(t, b)
			assert.LessOrEqual(t, len(b), 1280, "RFC 4443 section 2.4 (c)")
			assert.Equal(t, test.from, parsed(t, b).src.Addr())
			m, err := icmp.ParseMessage(proto, payload)
			require.NoError(t, err)
			assert.Equal(t, test.typ, m.Type)
			assert.Equal(t, test.num, m.Code)
			body := m.Body.(*icmp.DstUnreach)
			assert.Equal(t, test.packet[:test.quoted], body.Data)
		})
	}
}

// requireValidIP checks a packet with other people's parsers, and its checksums by arithmetic, and returns
// the protocol and what the packet carries.
func requireValidIP(t *testing.T, b []byte) (proto int, payload []byte) {
	t.Helper()
	var pseudo []byte
	if b[0]>>4 == 4 {
		h, err := ipv4.ParseHeader(b)
		require.NoError(t, err)
		require.Equal(t, len(b), h.TotalLen)
		require.Positive(t, h.TTL)
		require.True(t, sumsToZero(b[:h.Len]), "IPv4 header checksum")
		proto, payload = h.Protocol, b[h.Len:]
		pseudo = append(append(pseudo, h.Src.To4()...), h.Dst.To4()...)
	} else {
		h, err := ipv6.ParseHeader(b)
		require.NoError(t, err)
		require.Equal(t, len(b), ipv6.HeaderLen+h.PayloadLen)
		require.Positive(t, h.HopLimit)
		proto, payload = h.NextHeader, b[ipv6.HeaderLen:]
		pseudo = append(append(pseudo, h.Src...), h.Dst...)
	}
	if proto == protoICMP {
		pseudo = nil // RFC 792 has none
	} else {
		pseudo = append(pseudo, 0, byte(proto), byte(len(payload)>>8), byte(len(payload)))
	}
	require.True(t, sumsToZero(append(pseudo, payload...)), "checksum")
	return proto, payload
}

// sumsToZero checks an Internet checksum (RFC 1071) in another way than packet.go makes it: the one's
// complement sum of 16-bit words is the remainder of the whole, read as one number, by 65535.
func sumsToZero(b []byte) bool {
	if len(b)%2 == 1 {
		b = append(b[:len(b):len(b)], 0)
	}
	n := new(big.Int).SetBytes(b)
	return n.Mod(n, big.NewInt(0xffff)).Sign() == 0
}

// FuzzParse feeds any bytes to the parser, and what it makes of them to those who build packets.
func FuzzParse(f *testing.F) {
	f.Add(segment(clientPort4, hostPort4, flagSYN, 7, 0, ""))
	f.Add(segment(clientPort6, hostPort6, flagACK, 7, 8, "data"))
	f.Add(datagram(clientPort4, hostPort4, []byte("query")))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parse(b)
		if !ok {
			return
		}
		require.LessOrEqual(t, len(p.payload), len(b)-p.header)
		reset := parsed(t, resetFor(p))
		assert.Equal(t, [2]netip.AddrPort{p.dst, p.src}, [2]netip.AddrPort{reset.src, reset.dst})
		requireValidIP(t, icmpFor(p.dst.Addr(), p, b, unreachableHost))
		if p.proto != protoTCP || len(b) < p.header+20 {
			return
		}
		again := segment(p.src, p.dst, p.flags, p.seq, p.ack, string(p.payload))
		requireValidIP(t, again)
		q := parsed(t, again)
		assert.Equal(t, []any{p.src, p.dst, p.flags, p.seq, p.ack, string(p.payload)}, []any{q.src, q.dst, q.flags, q.seq, q.ack, string(q.payload)})
	})
}

// TestCorruptBreaksTheChecksum checks it by arithmetic; that kernels do, TestKernelsDropWhatIsCorrupt shows.
func TestCorruptBreaksTheChecksum(t *testing.T) {
	for name, whole := range map[string][]byte{
		"TCP over IPv4":  segment(clientPort4, hostPort4, flagSYN, 7, 0, ""),
		"TCP over IPv6":  segment(clientPort6, hostPort6, flagACK, 7, 8, "some data"),
		"UDP over IPv4":  datagram(clientPort4, hostPort4, []byte("q")),
		"UDP over IPv6":  datagram(clientPort6, hostPort6, []byte("query")),
		"ICMP over IPv4": icmpFor(hostPort4.Addr(), parsed(t, datagram(clientPort4, hostPort4, nil)), datagram(clientPort4, hostPort4, nil), unreachablePort),
	} {
		for draw := range uint64(500) {
			b := bytes.Clone(whole)
			p := parsed(t, b)
			require.True(t, corrupt(b[p.header:], draw))
			changed := 0
			for i := range b {
				if b[i] != whole[i] {
					changed++
				}
			}
			assert.Equal(t, 1, changed, "bytes changed, %s", name)
			assert.Equal(t, whole[:p.header+4], b[:p.header+4], "IP header and ports, %s", name)
			if p.proto == protoICMP {
				assert.False(t, sumsToZero(b[p.header:]), name)
				continue
			}
			pseudo := append(append(p.src.Addr().AsSlice(), p.dst.Addr().AsSlice()...), 0, p.proto, 0, byte(len(b)-p.header))
			assert.False(t, sumsToZero(append(pseudo, b[p.header:]...)), name)
		}
	}
	assert.False(t, corrupt(make([]byte, 8), 1), "nothing but the ports of a datagram")
}
