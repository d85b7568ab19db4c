//go:build linux

package harness

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/net/http2/hpack"
)

// A last is the frame of HTTP/2 with which a server ended an answer before its time.
type last struct {
	Frame string `json:",omitempty"` // "rst-stream" or "goaway"
	Code  uint32 `json:",omitempty"`
	Taken bool   `json:",omitempty"` // the request was looked at, says a goaway
}

// A frame of HTTP/2, RFC 9113 section 4.1.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

// Types of frames, RFC 9113 section 6, and the one flag that is looked at.
const (
	dataFrame, headersFrame, rstStreamFrame, settingsFrame, goAwayFrame, windowUpdateFrame = 0, 1, 3, 4, 7, 8

	endStream = 1
)

func (f frame) bytes() []byte {
	b := []byte{0, byte(len(f.payload) >> 8), byte(len(f.payload)), f.kind, f.flags}
	return append(binary.BigEndian.AppendUint32(b, f.stream), f.payload...)
}

func readFrame(r io.Reader) (f frame, err error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	f = frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:])}
	f.payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(r, f.payload)
	return f, err
}

// http2 makes one request of HTTP/2 by hand, and reads frames until the answer is whole or ends otherwise.
func (v *visit) http2(conn net.Conn, begin time.Time, s *sighting) {
	const stream, window = 1, 1 << 30
	s.Asked = time.Since(begin)
	words := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	for _, f := range []frame{
		{settingsFrame, 0, 0, binary.BigEndian.AppendUint32([]byte{0, 4}, window)}, // SETTINGS_INITIAL_WINDOW_SIZE
		{windowUpdateFrame, 0, 0, binary.BigEndian.AppendUint32(nil, window)},
		{headersFrame, 4 | endStream, stream, v.packed()},
	} {
		words = append(words, f.bytes()...)
	}
	if _, err := conn.Write(words); err != nil {
		s.fail("ask", err)
		return
	}
	unpack := hpack.NewDecoder(4096, nil)
	for {
		f, err := readFrame(conn)
		if err != nil {
			s.fail(s.stage(), err)
			return
		}
		switch f.kind {
		case headersFrame:
			err = s.unpack(unpack, f.payload)
			s.First = time.Since(begin)
		case dataFrame:
			s.Body += int64(len(f.payload))
		case rstStreamFrame:
			s.Last = last{Frame: "rst-stream", Code: binary.BigEndian.Uint32(f.payload)}
			err = errors.New("reset")
		case goAwayFrame:
			s.Last = last{"goaway", binary.BigEndian.Uint32(f.payload[4:]), binary.BigEndian.Uint32(f.payload) >= stream}
		}
		if err != nil {
			s.fail(s.stage(), err)
			return
		}
		if f.kind <= headersFrame && f.flags&endStream != 0 {
			s.Ended = time.Since(begin)
			return
		}
	}
}

// unpack notes what the headers of an answer say.
func (s *sighting) unpack(d *hpack.Decoder, block []byte) error {
	fields, err := d.DecodeFull(block)
	s.Length = -1
	for _, f := range fields {
		switch f.Name {
		case ":status":
			s.Status, _ = strconv.Atoi(f.Value)
		case "content-length":
			s.Length, _ = strconv.ParseInt(f.Value, 10, 64)
		}
	}
	return err
}

// stage returns how far an answer has come.
func (s *sighting) stage() string {
	if s.First == 0 {
		return "answer"
	}
	return "body"
}

// packed returns the headers of the request.
func (v *visit) packed() []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: v.Method}, {Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: v.Host}, {Name: ":path", Value: v.Target},
	} {
		e.WriteField(f)
	}
	return b.Bytes()
}
