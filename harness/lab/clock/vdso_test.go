//go:build linux

package clock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// image returns the vDSO of this process.
func image(t testing.TB) []byte {
	t.Helper()
	v, err := ours()
	require.NoError(t, err)
	return v.image
}

func TestVDSOOfThisMachine(t *testing.T) {
	v, err := ours()
	require.NoError(t, err)
	m := machines[runtime.GOARCH]
	require.NotEmpty(t, v.patches)
	for at, patch := range v.patches {
		assert.Less(t, at+len(patch), v.area, "a function is changed, and not our own code")
	}
	assert.LessOrEqual(t, v.area+offsetsSize+len(m.code), len(v.image))
	assert.Zero(t, v.area%16)
}

func TestParseVDSORefusesOthers(t *testing.T) {
	whole := image(t)
	m := machines[runtime.GOARCH]
	change := func(f func(b []byte) []byte) []byte { return f(append([]byte(nil), whole...)) }
	for name, test := range map[string]struct {
		image []byte
		says  string
	}{
		"nothing":   {nil, "no 64-bit little-endian ELF file"},
		"no ELF":    {change(func(b []byte) []byte { b[0] = 'x'; return b }), "no 64-bit little-endian ELF file"},
		"32 bits":   {change(func(b []byte) []byte { b[4] = 1; return b }), "no 64-bit little-endian ELF file"},
		"cut short": {whole[:len(whole)/4], "read it as ELF"},
		"full": {change(func(b []byte) []byte {
			for i := len(b) - 1; b[i] == 0; i-- {
				b[i] = 0xcc
			}
			return b
		}), "no room"},
		"other names": {[]byte(strings.ReplaceAll(string(whole), m.required, strings.Repeat("x", len(m.required)))), "has no " + m.required},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseVDSO(test.image, m)
			assert.ErrorContains(t, err, test.says)
		})
	}
}

func FuzzParseVDSO(f *testing.F) {
	whole := image(f)
	f.Add(whole)
	f.Add(whole[:64])
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range machines {
			v, err := parseVDSO(b, m)
			if err != nil {
				continue
			}
			if v.area+offsetsSize+len(m.code) > len(b) {
				t.Fatalf("the code at %d does not fit into %d bytes", v.area, len(b))
			}
			for at, patch := range v.patches {
				if at < 0 || at+len(patch) > v.area {
					t.Fatalf("a patch of %d bytes at %d, and the code at %d", len(patch), at, v.area)
				}
			}
		}
	})
}

// TestJumps decodes the branches that divert functions.
func TestJumps(t *testing.T) {
	for _, distance := range []int{-4096, -8, 8, 1 << 20} {
		patch, err := arm64.jump(8192, 8192+distance)
		require.NoError(t, err)
		word := binary.LittleEndian.Uint32(patch)
		assert.Equal(t, uint32(0b000101), word>>26, "b")
		assert.Equal(t, distance, int(int32(word<<6)>>6)*4)
	}
	_, err := arm64.jump(0, 1<<28)
	assert.ErrorIs(t, err, errTooFar)
}

// TestNames looks up the functions of amd64's vDSO as programs do, and follows the calls in them.
func TestNames(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the vDSO of this machine is that of " + runtime.GOARCH)
	}
	v, err := ours()
	require.NoError(t, err)
	before, after := addresses(t, v.image), addresses(t, patched(v))
	changed := 0
	for name, at := range before {
		function, ours := amd64.functions[name]
		if !ours {
			function, ours = amd64.functions["__vdso_"+name]
		}
		if !ours {
			assert.Equal(t, at, after[name], name)
			continue
		}
		assert.Equal(t, v.area+offsetsSize+function, after[name], name)
		changed++
	}
	assert.GreaterOrEqual(t, changed, len(amd64.functions))
	for at, name := range amd64.calls {
		assert.Equal(t, byte(0xe8), v.code[at-1], "call rel32")
		next := v.area + offsetsSize + at + 4
		assert.Equal(t, before[name], next+int(int32(binary.LittleEndian.Uint32(v.code[at:]))), name)
	}
}

// patched returns the image as a carried process has it, without the two numbers and the code.
func patched(v *vdso) []byte {
	b := slices.Clone(v.image)
	for at, patch := range v.patches {
		copy(b[at:], patch)
	}
	return b
}

func addresses(t *testing.T, image []byte) map[string]int {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(image))
	require.NoError(t, err)
	symbols, err := f.DynamicSymbols()
	require.NoError(t, err)
	found := map[string]int{}
	for _, s := range symbols {
		found[s.Name] = int(s.Value)
	}
	return found
}

// TestLanding: on arm64, an indirect call may have to land on "bti c".
func TestLanding(t *testing.T) {
	plain, guarded := make([]byte, 64), append(append([]byte(nil), arm64.landing...), make([]byte, 60)...)
	at, _, err := arm64.divert(plain, 0, 32, "__kernel_clock_gettime")
	require.NoError(t, err)
	assert.Equal(t, 0, at)
	at, patch, err := arm64.divert(guarded, 0, 32, "__kernel_clock_gettime")
	require.NoError(t, err)
	assert.Equal(t, 4, at)
	assert.Equal(t, uint32(0x14000000|(32+offsetsSize-4)/4), binary.LittleEndian.Uint32(patch))
}

// TestFunctionsBeginWhereTheyAreSaidTo: the code before each function ends with a return.
func TestFunctionsBeginWhereTheyAreSaidTo(t *testing.T) {
	returns := map[string]string{"amd64": "\xc3", "arm64": "\xc0\x03\x5f\xd6"}
	for arch, m := range machines {
		assert.True(t, strings.HasSuffix(string(m.code), returns[arch]), arch)
		for name, at := range m.functions {
			assert.True(t, at == 0 || strings.HasSuffix(string(m.code[:at]), returns[arch]), "%s: %s at %d", arch, name, at)
		}
	}
}

func TestMappingSize(t *testing.T) {
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	base, err := vdsoBase("self")
	require.NoError(t, err)
	size, err := mappingSize(string(maps), base)
	require.NoError(t, err)
	assert.Equal(t, len(image(t)), int(size))
	_, err = mappingSize("00001000-zzz r-xp\n00002000-00001000 r-xp\n", 0x1000)
	assert.Error(t, err)
}
