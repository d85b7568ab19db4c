//go:build linux

package clock

import (
	"encoding/binary"
	"io"
	"sync/atomic"
	"time"
	"unsafe"
)

// A Board is where a lab process shows its keeper what the keeper cannot see from outside: the keeper reads
// it in the memory of the lab process. Times are nanoseconds of the wall clock as the cell lives it, since
// 1970; 0 means none. It may be used concurrently.
type Board struct {
	running  atomic.Int64 // 1 while the cell's command runs: only then may the clock jump
	alarm    atomic.Int64 // when the packet link's timer goes off
	deadline atomic.Int64 // when the command is ended
	open     atomic.Int64 // TCP connections with data that the other side has not acknowledged
	lossy    atomic.Int64 // those of them that have lost a packet
	doomed   atomic.Int64 // connections on which no packet gets through any more
	since    atomic.Int64 // when the first of them came to that
	hung     atomic.Int64 // set by the keeper: nothing in the cell will ever happen again
	client   atomic.Int64 // inode of the client host's network namespace
}

// boardSize is the size of a Board in bytes.
const boardSize = int(unsafe.Sizeof(Board{}))

// board is the one of this process. It never moves.
var board Board

// TheBoard returns the board of this process.
func TheBoard() *Board { return &board }

// Begin says that the cell's command starts now, and when it will be ended.
func (b *Board) Begin(deadline time.Time) {
	b.deadline.Store(deadline.UnixNano())
	b.running.Store(1)
}

// End says that the cell's command has ended. It reports whether the keeper has found that nothing in the
// cell would ever have happened again.
func (b *Board) End() (hung bool) {
	b.running.Store(0)
	return b.hung.Load() != 0
}

// SetAlarm says when the packet link's timer goes off; the zero time means never.
func (b *Board) SetAlarm(at time.Time) {
	if at.IsZero() {
		b.alarm.Store(0)
		return
	}
	b.alarm.Store(at.UnixNano())
}

// SetConnections says what the packet link knows of the TCP connections: how many have data on the way that
// is not acknowledged, how many of those have lost a packet, and how many are doomed: neither of the former,
// since no packet of theirs gets through any more, the first of them since a time.
func (b *Board) SetConnections(open, lossy, doomed int, since time.Time) {
	b.open.Store(int64(open))
	b.lossy.Store(int64(lossy))
	b.since.Store(since.UnixNano())
	b.doomed.Store(int64(doomed))
}

// SetClient says which network namespace the client host is, by the inode of its file, see namespaces(7).
func (b *Board) SetClient(inode uint64) { b.client.Store(int64(inode)) }

// A notice is what a board showed: the same fields in the same order.
type notice struct {
	Running, Alarm, Deadline, Open, Lossy, Doomed, Since, Hung, Client int64
}

// kernelActs reports whether the kernel's own timers count, which know the real clock only: those that send a lost
// packet again, and acknowledge what has arrived.
func (n notice) kernelActs() bool { return n.Lossy > 0 || n.Alarm == 0 && n.Open > 0 }

func readBoard(mem io.ReaderAt, at int64) (n notice, err error) {
	_, err = mem.ReadAt(unsafe.Slice((*byte)(unsafe.Pointer(&n)), boardSize), at)
	return n, err
}

// sayHung writes on the board that the cell hangs.
func sayHung(mem io.WriterAt, at int64) error {
	_, err := mem.WriteAt(binary.NativeEndian.AppendUint64(nil, 1), at+int64(unsafe.Offsetof(board.hung)))
	return err
}

// A Hello is what a lab process must tell its keeper first.
type Hello struct {
	Listener int     // descriptor that Install returned
	Board    uintptr // address of the board
}

// NewHello installs the filter in this process and returns what its keeper must know.
func NewHello() (Hello, error) {
	listener, err := Install()
	return Hello{Listener: listener, Board: uintptr(unsafe.Pointer(&board))}, err
}

// SetTimer arms a timer of timerfd_create(2), as timerfd_settime(2) does. The keeper moves it.
func SetTimer(fd int, after time.Duration) error { return setTimer(fd, after) }
