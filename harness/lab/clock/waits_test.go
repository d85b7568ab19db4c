//go:build linux

package clock

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestBoard reads what a board shows, as a keeper does in the memory of a lab process.
func TestBoard(t *testing.T) {
	b := &Board{}
	at := time.Unix(1, 2)
	b.Begin(at)
	b.SetAlarm(at.Add(1))
	b.SetConnections(5, 6, 7, at.Add(2))
	b.SetClient(8)
	memory := unsafe.Slice((*byte)(unsafe.Pointer(b)), boardSize)
	n, err := readBoard(bytes.NewReader(memory), 0)
	require.NoError(t, err)
	assert.Equal(t, notice{Running: 1, Alarm: 1e9 + 3, Deadline: 1e9 + 2, Open: 5, Lossy: 6, Doomed: 7, Since: 1e9 + 4, Client: 8}, n)
	_, err = readBoard(bytes.NewReader(memory[:boardSize-1]), 0)
	assert.Error(t, err, "half of it")
}

func TestParseCall(t *testing.T) {
	for line, want := range map[string]call{
		"running":                           {nr: running},
		"":                                  {nr: gone},
		"-1 0x0 0x0":                        {nr: gone},
		"-1 0x7ffc1d0 0x7f2b":               {nr: elsewhere},
		"7 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8": {nr: 7, args: [6]uint64{1, 2, 3, 4, 5, 6}},
	} {
		got, err := parseCall(line)
		require.NoError(t, err, line)
		assert.Equal(t, want, got, line)
	}
	for _, line := range []string{"what", "7 0x1", "x 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8", "7 0x1 0x2 zz 0x4 0x5 0x6 0x7 0x8"} {
		_, err := parseCall(line)
		assert.ErrorContains(t, err, "cannot understand", line)
	}
}

func FuzzParseCall(f *testing.F) {
	f.Add("202 0x1 0x80 0x0 0x0 0x0 0x0 0x7ffc 0x7f2b")
	f.Fuzz(func(t *testing.T, line string) { _, _ = parseCall(line) })
}

func TestLimits(t *testing.T) {
	memory := make([]byte, 64)
	binary.NativeEndian.PutUint64(memory[16:], 5)
	binary.NativeEndian.PutUint64(memory[24:], 250_000_000)
	binary.NativeEndian.PutUint64(memory[32:], 5)
	binary.NativeEndian.PutUint64(memory[40:], 250_000)
	const spec, val, short = 16, 32, 5250 * time.Millisecond
	type args = [6]uint64
	never := limit{clockID: relative}
	in := func(d time.Duration) limit { return limit{true, relative, d} }
	for _, test := range []struct {
		what string
		call call
		want limit
	}{
		{"for ever", call{unix.SYS_EPOLL_PWAIT, args{3, 0, 1, 0xffffffff}}, never},
		{"not at all", call{unix.SYS_EPOLL_PWAIT, args{3, 0, 1, 0}}, in(0)},
		{"milliseconds", call{unix.SYS_EPOLL_PWAIT, args{3, 0, 1, 30000}}, in(30 * time.Second)},
		{"upper half of the register", call{unix.SYS_EPOLL_PWAIT, args{3, 0, 1, 0xabcd_0000_0bb8}}, in(3 * time.Second)},
		{"timespec", call{unix.SYS_PPOLL, args{0, 0, spec}}, in(short)},
		{"no timespec", call{unix.SYS_PPOLL, args{0, 0, 0}}, never},
		{"sleep", call{unix.SYS_NANOSLEEP, args{spec}}, in(short)},
		{"sleep until", call{unix.SYS_CLOCK_NANOSLEEP, args{unix.CLOCK_REALTIME, 1, spec}}, limit{true, unix.CLOCK_REALTIME, short}},
		{"sleep for", call{unix.SYS_CLOCK_NANOSLEEP, args{unix.CLOCK_MONOTONIC, 0, spec}}, in(short)},
		{"FUTEX_WAIT", call{unix.SYS_FUTEX, args{1, 128, 0, spec}}, in(short)},
		{"FUTEX_WAIT_BITSET", call{unix.SYS_FUTEX, args{1, 9 | 128, 0, spec}}, limit{true, unix.CLOCK_MONOTONIC, short}},
		{"the same with CLOCK_REALTIME", call{unix.SYS_FUTEX, args{1, 9 | 256, 0, spec}}, limit{true, unix.CLOCK_REALTIME, short}},
		{"FUTEX_REQUEUE", call{unix.SYS_FUTEX, args{1, 3, 0, spec}}, never},
		{"a child", call{unix.SYS_WAIT4, args{}}, never},
	} {
		got, err := waits[test.call.nr].limitOf(test.call, bytes.NewReader(memory))
		require.NoError(t, err, test.what)
		assert.Equal(t, test.want, got, test.what)
	}
	got, err := wait{limit: 4, unit: timeval}.limitOf(call{args: args{4: val}}, bytes.NewReader(memory))
	require.NoError(t, err)
	assert.Equal(t, in(short), got)
	_, err = waits[unix.SYS_NANOSLEEP].limitOf(call{unix.SYS_NANOSLEEP, args{1 << 20}}, bytes.NewReader(memory))
	assert.ErrorContains(t, err, "read the time limit")
}

type writerAt []byte

func (w writerAt) WriteAt(b []byte, at int64) (int, error) { return copy(w[at:], b), nil }

// TestErase: at its limit, poll(2) says of no descriptor that it is ready, and so does select(2).
func TestErase(t *testing.T) {
	memory := writerAt(bytes.Repeat([]byte{0xff}, 64))
	require.NoError(t, erasePoll(memory, [6]uint64{8, 2}))
	assert.Equal(t, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff}, []byte(memory[8:25]))
	memory = bytes.Repeat([]byte{0xff}, 64)
	require.NoError(t, eraseSelect(memory, [6]uint64{10, 8, 0, 32}))
	assert.Equal(t, append(make([]byte, 8), 0xff), []byte(memory[8:17]))
	assert.Equal(t, append(make([]byte, 8), 0xff), []byte(memory[32:41]))
}

// TestFilter runs the filter on calls, in the virtual machine of golang.org/x/net/bpf. That one loads words in
// network byte order, so the calls are laid out in it.
func TestFilter(t *testing.T) {
	m := machines[runtime.GOARCH]
	var raw []bpf.RawInstruction
	for _, i := range filter(m) {
		raw = append(raw, bpf.RawInstruction{Op: i.Code, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	program, whole := bpf.Disassemble(raw)
	require.True(t, whole)
	vm, err := bpf.NewVM(program)
	require.NoError(t, err)
	const allowed, told = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_USER_NOTIF
	for _, test := range []struct {
		what   string
		arch   uint32
		nr     int
		args   [6]uint32
		action int
	}{
		{"of all architectures", m.audit, unix.SYS_READ, [6]uint32{}, allowed},
		{"another architecture", 0x40000003, unix.SYS_READ, [6]uint32{}, told},
		{"execve", m.audit, unix.SYS_EXECVE, [6]uint32{}, told},
		{"setitimer", m.audit, unix.SYS_SETITIMER, [6]uint32{}, told},
		{"the time", m.audit, unix.SYS_CLOCK_GETTIME, [6]uint32{1, 2, 3, 4, 5, 6}, told},
		{"the time, from our code", m.audit, unix.SYS_CLOCK_GETTIME, [6]uint32{4: magic}, allowed},
		{"a timer", m.audit, unix.SYS_TIMERFD_SETTIME, [6]uint32{}, told},
		{"our timer", m.audit, unix.SYS_TIMERFD_SETTIME, [6]uint32{4: magic}, allowed},
		{"SO_RCVTIMEO", m.audit, unix.SYS_SETSOCKOPT, [6]uint32{3, unix.SOL_SOCKET, 20}, told},
		{"SO_SNDTIMEO", m.audit, unix.SYS_SETSOCKOPT, [6]uint32{3, unix.SOL_SOCKET, 67}, told},
		{"SO_KEEPALIVE", m.audit, unix.SYS_SETSOCKOPT, [6]uint32{3, unix.SOL_SOCKET, unix.SO_KEEPALIVE}, allowed},
		{"IP_TTL", m.audit, unix.SYS_SETSOCKOPT, [6]uint32{3, unix.SOL_IP, 20}, allowed},
		{"futex", m.audit, unix.SYS_FUTEX, [6]uint32{}, allowed},
	} {
		b := make([]byte, 64)
		binary.BigEndian.PutUint32(b[dataNumber:], uint32(test.nr))
		binary.BigEndian.PutUint32(b[dataArch:], test.arch)
		for i, a := range test.args {
			binary.BigEndian.PutUint32(b[word(i):], a)
		}
		action, err := vm.Run(b)
		require.NoError(t, err)
		assert.Equal(t, uint32(test.action), uint32(action), test.what)
	}
}
