//go:build linux

package lab

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// MaxCapture is how many bytes of packets the capture of one cell keeps. Those beyond it are counted.
const MaxCapture = 64 << 20

// captureBuffer is how much of a capture is held back, so that few packets wait for a write.
const captureBuffer = 256 << 10

// captureFD is the descriptor of a lab process to which it writes its capture, where it has one.
const captureFD = 4

// CaptureFile returns the file that Descriptors.Capture was for the parent of this lab process, which must
// have had one. The processes that this one starts do not get it.
func CaptureFile() *os.File {
	unix.CloseOnExec(captureFD)
	return os.NewFile(captureFD, "capture")
}

// A capture keeps the packets of the client host's interface, and the keys of its TLS connections, as a
// pcapng file. It may be used concurrently.
type capture struct {
	epoch time.Time // from which the times of packets count

	mu       sync.Mutex // guards what follows
	out      *bufio.Writer
	file     pcapngWriter
	room     int // bytes that packets may still take
	kept     uint64
	dropped  uint64
	finished bool
	err      error // of the first write that failed
}

// newCapture begins a capture with room for so many bytes of packets.
func newCapture(w io.Writer, hosts []Host, epoch time.Time, room int) *capture {
	c := &capture{epoch: epoch, room: room, out: bufio.NewWriterSize(w, captureBuffer)}
	c.file.w = c.out
	c.note(c.file.section("simrun", "The packets of one cell, as the client host's interface saw them. "+
		"The faults of packets are beyond it: what is lost on the way up is here, what is lost on the way down is not."))
	c.note(c.file.network("eth0", "the client host's interface"))
	c.note(c.file.names(hosts))
	return c
}

// note keeps the first error.
func (c *capture) note(err error) {
	if c.err == nil {
		c.err = err
	}
}

// packet keeps a packet and reports whether there was room for it.
func (c *capture) packet(data []byte, at time.Duration, d direction) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return true
	}
	if c.room < len(data) {
		c.room = 0 // a smaller one that comes later would make a hole
		c.dropped++
		return false
	}
	c.room -= len(data)
	c.kept++
	c.note(c.file.packet(c.epoch.Add(at), d, data))
	return true
}

// Write keeps lines of a TLS key log (crypto/tls, Config.KeyLogWriter). A server writes them before it
// sends what is encrypted with the keys, so they stand before it in the file, where readers want them.
func (c *capture) Write(lines []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.finished {
		c.note(c.file.secrets(lines))
	}
	return len(lines), nil // a capture that fails must not fail a handshake
}

// finish completes the file. What comes later is not kept.
func (c *capture) finish(at time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return c.err
	}
	c.finished = true
	c.note(c.file.statistics(c.epoch.Add(at), c.kept+c.dropped, c.dropped))
	c.note(c.out.Flush())
	return c.err
}

// keep puts a packet into the capture, if there is one.
func (l *link) keep(data []byte, at time.Duration, d direction) {
	if l.capture != nil && !l.capture.packet(data, at, d) {
		l.track.lose("capture")
	}
}

// KeyLog returns where TLS servers write their keys (crypto/tls, Config.KeyLogWriter): nil without a capture.
func (n *Network) KeyLog() io.Writer {
	if n.link.capture == nil {
		return nil
	}
	return n.link.capture
}

// EndCapture completes the capture, if there is one. The packets that come later are not kept.
func (n *Network) EndCapture() error {
	if n.link.capture == nil {
		return nil
	}
	if err := n.link.capture.finish(n.link.now()); err != nil {
		return fmt.Errorf("keep the client's packets: %w", err)
	}
	return nil
}
