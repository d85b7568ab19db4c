//go:build linux

package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var captureEpoch = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// A block is one block of a pcapng file as its reader finds it.
type block struct {
	kind uint32
	body []byte
}

// blocksOf cuts a file into its blocks, by the rules of section 3.1 of the format alone.
func blocksOf(t *testing.T, file []byte) []block {
	t.Helper()
	var all []block
	for len(file) > 0 {
		require.GreaterOrEqual(t, len(file), 12)
		length := int(binary.LittleEndian.Uint32(file[4:]))
		require.Zero(t, length%4, "blocks are padded to 32 bits")
		require.LessOrEqual(t, length, len(file))
		assert.Equal(t, uint32(length), binary.LittleEndian.Uint32(file[length-4:]), "a block ends with its length")
		all = append(all, block{binary.LittleEndian.Uint32(file), file[8 : length-4]})
		file = file[length:]
	}
	return all
}

func kindsOf(blocks []block) []uint32 {
	var kinds []uint32
	for _, b := range blocks {
		kinds = append(kinds, b.kind)
	}
	return kinds
}

func TestCaptureIsOneSectionThatEndsWithItsStatistics(t *testing.T) {
	var file bytes.Buffer
	hosts := []Host{{Name: "a.test", Addrs: []netip.Addr{netip.MustParseAddr("198.18.1.0"), netip.MustParseAddr("2001:db8:1::100")}}}
	c := newCapture(&file, hosts, captureEpoch, 100)
	require.True(t, c.packet([]byte("first"), time.Second, outbound))
	n, err := c.Write([]byte("CLIENT_RANDOM 00 11\n"))
	require.NoError(t, err)
	require.Equal(t, 20, n)
	require.True(t, c.packet([]byte("second"), 2*time.Second, inbound))
	require.NoError(t, c.finish(3*time.Second))

	blocks := blocksOf(t, file.Bytes())
	require.Equal(t, []uint32{blockSection, blockInterface, blockNames, blockPacket, blockSecrets, blockPacket, blockStatistics}, kindsOf(blocks))
	assert.Contains(t, string(blocks[2].body), "a.test\x00")
	assert.Contains(t, string(blocks[4].body), "CLIENT_RANDOM 00 11\n")
	packet := blocks[5].body
	stamp := uint64(binary.LittleEndian.Uint32(packet[4:]))<<32 | uint64(binary.LittleEndian.Uint32(packet[8:]))
	assert.Equal(t, uint64(captureEpoch.Add(2*time.Second).UnixNano()), stamp)
	assert.Equal(t, "second", string(packet[20:26]))
}

func TestCaptureCountsWhatItHasNoRoomFor(t *testing.T) {
	var file bytes.Buffer
	c := newCapture(&file, nil, captureEpoch, 10)
	assert.True(t, c.packet(make([]byte, 8), 0, outbound))
	assert.False(t, c.packet(make([]byte, 8), 0, outbound))
	assert.False(t, c.packet(make([]byte, 1), 0, outbound), "a smaller packet after a dropped one would make a hole")
	require.NoError(t, c.finish(0))
	blocks := blocksOf(t, file.Bytes())
	statistics := blocks[len(blocks)-1].body
	assert.Equal(t, uint64(3), binary.LittleEndian.Uint64(statistics[16:]), "received")
	assert.Equal(t, uint64(2), binary.LittleEndian.Uint64(statistics[28:]), "dropped")
}

func TestLinkCountsPacketsThatItsCaptureHasNoRoomFor(t *testing.T) {
	l := &link{track: newTracker(1)}
	l.keep([]byte("x"), 0, outbound) // without a capture there is nothing to count
	l.capture = newCapture(new(bytes.Buffer), nil, captureEpoch, 0)
	l.keep([]byte("x"), 0, outbound)
	assert.Equal(t, map[string]int64{"capture": 1}, l.track.lost)
}

func TestCaptureKeepsNothingAfterItsEnd(t *testing.T) {
	var file bytes.Buffer
	c := newCapture(&file, nil, captureEpoch, 100)
	require.NoError(t, c.finish(0))
	whole := file.Len()
	assert.True(t, c.packet([]byte("late"), 0, inbound), "nothing is lost of what nobody wants")
	_, err := c.Write([]byte("late"))
	require.NoError(t, err)
	require.NoError(t, c.finish(0))
	assert.Equal(t, whole, file.Len())
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestCaptureSaysAtItsEndThatItCouldNotBeWritten(t *testing.T) {
	c := newCapture(fullDisk{}, nil, captureEpoch, MaxCapture)
	_, err := c.Write([]byte("key\n"))
	require.NoError(t, err, "a handshake must not fail because of it")
	assert.ErrorContains(t, c.finish(0), "no space left")
}

func TestCaptureMayBeUsedConcurrently(t *testing.T) {
	var file bytes.Buffer
	c := newCapture(&file, nil, captureEpoch, MaxCapture)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 100 {
				c.packet(make([]byte, i), time.Duration(i), outbound)
				_, _ = c.Write([]byte("key\n"))
			}
		})
	}
	wg.Wait()
	require.NoError(t, c.finish(0))
	assert.Len(t, blocksOf(t, file.Bytes()), 3+800+1)
}

// Whatever a packet holds, the file stays one that can be read.
func FuzzCapture(f *testing.F) {
	f.Add([]byte{}, []byte("CLIENT_RANDOM\n"), "a.test")
	f.Add(make([]byte, 1500), []byte{0}, "")
	f.Fuzz(func(t *testing.T, packet, key []byte, name string) {
		var file bytes.Buffer
		c := newCapture(&file, []Host{{Name: name, Addrs: []netip.Addr{netip.IPv6Loopback()}}}, captureEpoch, MaxCapture)
		c.packet(packet, 0, outbound)
		_, _ = c.Write(key)
		require.NoError(t, c.finish(0))
		require.Len(t, blocksOf(t, file.Bytes()), 6)
	})
}
