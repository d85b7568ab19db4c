//go:build linux

package clock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A carried process has our code in its vDSO.
type carried struct {
	pid  int
	mem  memory
	base int64 // address of the vDSO
	at   int64 // address of the two numbers

	ahead time.Duration // how far its time of day is ahead of the lab's

	used time.Duration // CPU time, when the keeper last looked
	ran  time.Duration // by the cell's monotonic clock, when that had changed last: no thread has run after it
}

// Keys of the auxiliary vector, getauxval(3).
const (
	atNull        = 0
	atSysinfoEHDR = 33 // where the vDSO is
)

// ours is the vDSO of this machine as this process has it: nobody has changed that one.
var ours = sync.OnceValues(func() (*vdso, error) {
	m := machines[runtime.GOARCH]
	if m == nil {
		return nil, fmt.Errorf("there is no code for %s", runtime.GOARCH)
	}
	base, err := vdsoBase("self")
	if err != nil {
		return nil, err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	size, err := mappingSize(string(maps), base)
	if err != nil {
		return nil, err
	}
	mem, err := openMemory("self", unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer mem.Close()
	image := make([]byte, size)
	if _, err := mem.ReadAt(image, base); err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	v, err := parseVDSO(image, m)
	if err != nil {
		return nil, fmt.Errorf("the vDSO is not as expected: %w", err)
	}
	return v, nil
})

// mappingSize returns the size of the mapping that begins at an address, from proc_pid_maps(5).
func mappingSize(maps string, base int64) (int64, error) {
	for line := range strings.Lines(maps) {
		from, rest, _ := strings.Cut(line, "-")
		to, _, _ := strings.Cut(rest, " ")
		begin, err1 := strconv.ParseInt(from, 16, 64)
		end, err2 := strconv.ParseInt(to, 16, 64)
		if err1 == nil && err2 == nil && begin == base && end > base && end-base <= maxVDSO {
			return end - base, nil
		}
	}
	return 0, errors.New("the vDSO is mapped nowhere")
}

// vdsoBase returns the address of the vDSO of a process.
func vdsoBase(pid string) (int64, error) {
	b, err := os.ReadFile("/proc/" + pid + "/auxv")
	if err != nil {
		return 0, err
	}
	for ; len(b) >= 16; b = b[16:] {
		switch binary.NativeEndian.Uint64(b) {
		case atSysinfoEHDR:
			return int64(binary.NativeEndian.Uint64(b[8:])), nil
		case atNull:
			return 0, errors.New("it has no vDSO")
		}
	}
	return 0, errors.New("it has no 64-bit vDSO")
}

// carry puts our code into a process that does not run. Nothing is added to its clocks until they are set.
func carry(pid int) (*carried, error) {
	p, v, err := open(pid)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	image := make([]byte, len(v.image))
	if _, err = p.mem.ReadAt(image, p.base); err == nil && !bytes.Equal(image, v.image) {
		err = errors.New("its vDSO is another one than this program's; is it a 32-bit program?")
	}
	if err == nil {
		_, err = p.mem.WriteAt(append(offsets(0, 0), v.code...), p.at)
	}
	for at, patch := range v.patches {
		if err == nil {
			_, err = p.mem.WriteAt(patch, p.base+int64(at))
		}
	}
	if err != nil {
		p.mem.Close()
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return p, nil
}

// adopt returns a process that has been forked from a carried one.
func adopt(pid int) (*carried, error) {
	p, v, err := open(pid)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	have := make([]byte, len(v.code))
	if _, err = p.mem.ReadAt(have, p.at+offsetsSize); err == nil && !bytes.Equal(have, v.code) {
		err = errors.New("its clock could not be changed when it began")
	}
	if err != nil {
		p.mem.Close()
		return nil, fmt.Errorf("process %d (a %d-byte vDSO): %w", pid, len(v.image), err)
	}
	return p, nil
}

func open(pid int) (*carried, *vdso, error) {
	v, err := ours()
	if err != nil {
		return nil, nil, err
	}
	base, err := vdsoBase(strconv.Itoa(pid))
	if err != nil {
		return nil, nil, err
	}
	mem, err := openMemory(strconv.Itoa(pid), unix.O_RDWR)
	if err != nil {
		return nil, nil, err
	}
	return &carried{pid: pid, mem: mem, base: base, at: base + int64(v.area)}, v, nil
}

// set changes what is added to the clocks of a process.
func (p *carried) set(mono, real time.Duration) error {
	_, err := p.mem.WriteAt(offsets(int64(mono), int64(real)), p.at)
	return err
}

// hasVDSOAt reports whether an address is in the vDSO of the process.
func (p *carried) hasVDSOAt(address uint64) bool {
	v, err := ours()
	return err == nil && address >= uint64(p.base) && address < uint64(p.base)+uint64(len(v.image))
}
