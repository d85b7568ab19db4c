//go:build linux

package clock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// A vdso is what the kernel maps into every process for calls that need no system call, see vdso(7), and
// where in it our code goes. It is the same in all processes of one architecture until the machine restarts.
type vdso struct {
	image   []byte
	area    int            // offset of free room for the two numbers and the code
	code    []byte         // that of the machine, with the distances that it lacks
	patches map[int][]byte // by offset
}

// maxVDSO bounds the image, in bytes. Today's have one or two pages.
const maxVDSO = 1 << 20

// parseVDSO finds the functions of an image and room for the code: the zeros between the end of the ELF file
// and that of its last page.
func parseVDSO(image []byte, m *machine) (*vdso, error) {
	end, err := endOfFile(image)
	if err != nil {
		return nil, err
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("read it as ELF: %w", err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read its symbols: %w", err)
	}
	v := &vdso{image: image, area: (end + 15) &^ 15, code: slices.Clone(m.code), patches: map[int][]byte{}}
	size := offsetsSize + len(m.code)
	if v.area+size > len(image) || len(bytes.Trim(image[v.area:v.area+size], "\x00")) > 0 {
		return nil, fmt.Errorf("it has no room of %d bytes after its end at %d", size, end)
	}
	kernels := map[string]int{} // the functions that ours take the place of
	for _, s := range symbols {
		if _, ours := m.functions[s.Name]; !ours {
			continue
		}
		if s.Value >= uint64(end) || s.Size < 16 {
			return nil, fmt.Errorf("%s is at %#x and has %d bytes", s.Name, s.Value, s.Size)
		}
		kernels[s.Name] = int(s.Value)
	}
	if _, found := kernels[m.required]; !found {
		return nil, errors.New("it has no " + m.required)
	}
	if m.calls != nil {
		return v, v.rename(f.SectionByType(elf.SHT_DYNSYM), symbols, kernels, m)
	}
	for name, function := range kernels {
		at, patch, err := m.divert(image, function, v.area, name)
		if err != nil {
			return nil, err
		}
		v.patches[at] = patch
	}
	return v, nil
}

// rename makes our functions those that programs find under the kernel's names, and lets ours call the kernel's.
func (v *vdso) rename(table *elf.Section, symbols []elf.Symbol, kernels map[string]int, m *machine) error {
	const size, value = int(elf.Sym64Size), 8 // of Elf64_Sym, and where it has the address
	if table.Type == elf.SHT_NOBITS || table.Offset+uint64(size*(len(symbols)+1)) > uint64(v.area) {
		return errors.New("its symbols are not where it says")
	}
	for name, function := range kernels {
		for i, s := range symbols { // also where they have another name
			if s.Value == uint64(function) {
				at := int(table.Offset) + size*(i+1) + value // DynamicSymbols leaves the first one out
				v.patches[at] = binary.LittleEndian.AppendUint64(nil, uint64(v.area+offsetsSize+m.functions[name]))
			}
		}
	}
	for at, name := range m.calls {
		if function, found := kernels[name]; found {
			next := v.area + offsetsSize + at + 4
			binary.LittleEndian.PutUint32(v.code[at:], uint32(int32(function-next)))
		}
	}
	return nil
}

// endOfFile returns where the ELF file in an image ends. Nobody reads its section headers after that, but
// the kernel's image has them, and they come last.
func endOfFile(image []byte) (int, error) {
	const header = 64 // Elf64_Ehdr
	if len(image) < header || len(image) > maxVDSO || string(image[:4]) != elf.ELFMAG || image[elf.EI_CLASS] != byte(elf.ELFCLASS64) ||
		image[elf.EI_DATA] != byte(elf.ELFDATA2LSB) {
		return 0, errors.New("it is no 64-bit little-endian ELF file")
	}
	le := binary.LittleEndian
	table := func(offset, size, count int) uint64 {
		return le.Uint64(image[offset:]) + uint64(le.Uint16(image[size:]))*uint64(le.Uint16(image[count:]))
	}
	end := max(header, table(0x20, 0x36, 0x38), table(0x28, 0x3a, 0x3c)) // program headers, section headers
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, fmt.Errorf("read it as ELF: %w", err)
	}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS {
			end = max(end, s.Offset+s.FileSize)
		}
	}
	for _, p := range f.Progs {
		end = max(end, p.Off+p.Memsz)
	}
	if end > uint64(len(image)) {
		return 0, fmt.Errorf("it ends at %d, beyond its mapping of %d bytes", end, len(image))
	}
	return int(end), nil
}
