//go:build linux

package lab

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"time"
)

// Block types, option codes and the like of pcapng (draft-ietf-opsawg-pcapng). Only what captures use is
// here: a library for the whole format would bring more code into the program than this.
const (
	blockSection    = 0x0a0d0d0a // section 4.1
	blockInterface  = 1          // section 4.2
	blockNames      = 4          // section 4.4
	blockStatistics = 5          // section 4.6
	blockPacket     = 6          // section 4.3
	blockSecrets    = 10         // section 4.7

	byteOrderMagic = 0x1a2b3c4d
	linkTypeRaw    = 101        // packets begin with their IP header
	secretsTLS     = 0x544c534b // lines as in SSLKEYLOGFILE
	nameIPv4       = 1
	nameIPv6       = 2

	optComment     = 1
	optUserAppl    = 4 // of blockSection
	optName        = 2 // of blockInterface, as are those below
	optDescription = 3
	optResolution  = 9
	optPacketFlags = 2 // of blockPacket
	optReceived    = 4 // of blockStatistics, as is the one below
	optDropped     = 5
)

// A direction says which way a packet went through an interface, as in the flags of a packet block.
type direction uint32

const (
	inbound  direction = 1
	outbound direction = 2
)

// A pcapngWriter writes the blocks of one section with one interface. Times have nanoseconds.
type pcapngWriter struct {
	w   io.Writer
	buf []byte // of one block, used again for the next
}

// begin starts a block of a type. end writes it.
func (p *pcapngWriter) begin(blockType uint32) {
	p.buf = binary.LittleEndian.AppendUint32(p.buf[:0], blockType)
	p.u32(0) // the length is known at the end
}

func (p *pcapngWriter) end() error {
	length := uint32(len(p.buf) + 4)
	binary.LittleEndian.PutUint32(p.buf[4:], length)
	p.u32(length)
	_, err := p.w.Write(p.buf)
	return err
}

func (p *pcapngWriter) u16(v uint16) { p.buf = binary.LittleEndian.AppendUint16(p.buf, v) }
func (p *pcapngWriter) u32(v uint32) { p.buf = binary.LittleEndian.AppendUint32(p.buf, v) }

// bytes adds data and fills it up to a multiple of 32 bits.
func (p *pcapngWriter) bytes(data []byte) {
	p.buf = append(p.buf, data...)
	p.buf = append(p.buf, make([]byte, -len(data)&3)...)
}

func (p *pcapngWriter) option(code uint16, value []byte) {
	p.u16(code)
	p.u16(uint16(len(value)))
	p.bytes(value)
}

func (p *pcapngWriter) endOfOptions() { p.u32(0) }

// time adds a time as blocks have it: the upper half of the number first, whatever the byte order.
func (p *pcapngWriter) time(at time.Time) {
	nanoseconds := uint64(at.UnixNano())
	p.u32(uint32(nanoseconds >> 32))
	p.u32(uint32(nanoseconds))
}

// section begins the file. All that follows belongs to it.
func (p *pcapngWriter) section(program, comment string) error {
	p.begin(blockSection)
	p.u32(byteOrderMagic)
	p.u16(1) // version 1.0
	p.u16(0)
	p.u32(^uint32(0)) // the length of the section is not known, which is -1
	p.u32(^uint32(0))
	p.option(optComment, []byte(comment))
	p.option(optUserAppl, []byte(program))
	p.endOfOptions()
	return p.end()
}

// network describes the interface that all packets went through.
func (p *pcapngWriter) network(name, description string) error {
	p.begin(blockInterface)
	p.u16(linkTypeRaw)
	p.u16(0) // reserved
	p.u32(0) // packets are kept whole
	p.option(optName, []byte(name))
	p.option(optDescription, []byte(description))
	p.option(optResolution, []byte{9}) // times are in units of 10^-9 s
	p.endOfOptions()
	return p.end()
}

// names says what the hosts at addresses are called.
func (p *pcapngWriter) names(hosts []Host) error {
	p.begin(blockNames)
	for _, h := range hosts {
		for _, a := range h.Addrs {
			p.name(a, h.Name)
		}
	}
	p.u32(0) // end of names
	p.endOfOptions()
	return p.end()
}

func (p *pcapngWriter) name(a netip.Addr, name string) {
	kind := uint16(nameIPv6)
	if a.Is4() {
		kind = nameIPv4
	}
	value := bytes.Join([][]byte{a.AsSlice(), append([]byte(name), 0)}, nil)
	p.option(kind, value) // a name has the form of an option
}

// packet writes a packet that went through the interface.
func (p *pcapngWriter) packet(at time.Time, d direction, data []byte) error {
	p.begin(blockPacket)
	p.u32(0) // number of the interface
	p.time(at)
	p.u32(uint32(len(data))) // that are kept
	p.u32(uint32(len(data))) // that it had
	p.bytes(data)
	p.option(optPacketFlags, binary.LittleEndian.AppendUint32(nil, uint32(d)))
	p.endOfOptions()
	return p.end()
}

// secrets writes lines of a TLS key log. They are good for the packets that follow.
func (p *pcapngWriter) secrets(lines []byte) error {
	p.begin(blockSecrets)
	p.u32(secretsTLS)
	p.u32(uint32(len(lines)))
	p.bytes(lines)
	p.endOfOptions()
	return p.end()
}

// statistics says how many packets the interface had, and how many of them were not kept.
func (p *pcapngWriter) statistics(at time.Time, received, dropped uint64) error {
	p.begin(blockStatistics)
	p.u32(0) // number of the interface
	p.time(at)
	p.option(optReceived, binary.LittleEndian.AppendUint64(nil, received))
	p.option(optDropped, binary.LittleEndian.AppendUint64(nil, dropped))
	p.endOfOptions()
	return p.end()
}
