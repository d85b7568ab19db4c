//go:build linux

package harness

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// attack tries, as root of a cell, to read, change and uncover a folder of this machine's, and to take the cell
// apart. Each line that begins with "got" is a success.
const attack = `
dir=%s
kill -0 %d && echo got process
cat $dir/secret && echo got secret
ls -A $dir | grep . && echo got listing
umount $dir && echo got umount
umount -l /tmp /root $HOME && echo got umounts
unshare -m sh -c "umount $dir; umount /tmp; cat $dir/secret" && echo got unshared secret
unshare -r -m sh -c "umount $dir; umount /tmp; cat $dir/secret" && echo got nested secret
mkdir -p $TMPDIR/view && unshare -m sh -c "mount --bind / $TMPDIR/view && cat $TMPDIR/view$dir/secret" && echo got bound secret
cat /proc/1/root$dir/secret && echo got secret by proc
for p in /proc/[0-9]*; do test "$(cat $p/comm)" = sh && continue; echo saw $(cat $p/comm); (: < $p/mem) && echo got its memory; done
ip link set eth0 down && echo got the network
readlink /proc/1/fd/3 && echo got descriptors of the lab
for fd in /proc/self/fd/*; do readlink $fd | grep socket && echo got socket $fd; done
mount -o remount,rw / && echo got remount
mkdir -p $dir && echo changed > $dir/secret
touch /etc/got /usr/got /var/got
for f in /etc/got /usr/got /var/got; do test -e $f && echo got $f; done
echo $(cat /proc/sys/kernel/printk_ratelimit) > /proc/sys/kernel/printk_ratelimit && echo got the kernel
test -w /proc/sysrq-trigger && echo > /proc/sysrq-trigger && echo got sysrq
ls -l /dev | grep ^b && echo got disks
mknod $TMPDIR/disk b 254 0 && echo got a disk
for f in null zero full random urandom; do head -c 1 /dev/$f > /dev/null || echo got no $f; done
test -d /dev/shm || echo got no shm
echo tried all
`

// TestPrivateFiles lets the command of a project and the program of a world, both hostile, look for the files of
// whoever runs simrun. The first control is that the same attack succeeds where nothing is hidden.
func TestPrivateFiles(t *testing.T) {
	requireLab(t)
	t.Parallel()
	dir := t.TempDir() // below /tmp, which is hidden as a home is
	file := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(file, []byte("a private key\n"), 0o600))
	l, err := net.Listen("unix", filepath.Join(dir, "agent.sock"))
	require.NoError(t, err)
	defer l.Close()
	script := fmt.Sprintf(attack, dir, os.Getpid())

	o := nearOptions(t, small)
	o.Projects[0].Run = []string{"sh", "-c", script}
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	require.Contains(t, p.cells[0].spec.Hidden, "/tmp")
	seen := *p.cells[0].spec
	seen.Hidden = nil
	c := runOne(t, p)
	assert.Contains(t, c.Stderr, "tried all", c.Note)
	assert.NotContains(t, c.Stderr, "\ngot ", "something succeeded")
	assert.NotContains(t, c.Stderr, "a private key")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "a private key\n", string(content), "what was written stayed in the cell")

	p.cells[0].spec = &seen
	assert.Contains(t, runOne(t, p).Stderr, "got secret\n", "the attack works where nothing is hidden")

	o.Configs[0].PAC = &scenarios.PAC{Script: `function FindProxyForURL(url, host) { return "DIRECT" }`}
	p, err = NewPlan(t.Context(), o)
	require.NoError(t, err)
	c = runOne(t, p)
	assert.Contains(t, c.Stderr, "tried all", c.Note)
	assert.NotContains(t, c.Stderr, "\ngot ", "something succeeded beside an agent")
	assert.Equal(t, 2, strings.Count(c.Stderr, "\nsaw exe\n"), "the lab and the agent")

	program := runProgram(t, fmt.Sprintf("[sh, -c, %q]", strings.ReplaceAll(script, "$", "$$")), "[go, mod, tidy]")
	require.Equal(t, record.HarnessError, program.Outcome, "it does not listen")
	assert.Contains(t, program.Note, "tried all")
	assert.NotContains(t, program.Note, "\ngot ")
}

// TestShownFiles runs a program that lies in a hidden folder, by a symbolic link in another one.
func TestShownFiles(t *testing.T) {
	requireLab(t)
	t.Parallel()
	dir, bin := t.TempDir(), t.TempDir()
	program := filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\necho was run; ls "+dir+" "+bin+"\n"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600))
	require.NoError(t, os.Symlink(program, filepath.Join(bin, "link")))
	o := nearOptions(t, small)
	o.Projects[0].Run = []string{filepath.Join(bin, "link")}
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	c := runOne(t, p)
	assert.Contains(t, c.Stderr, "was run", c.Note)
	assert.NotContains(t, c.Stderr, "secret", "what lies beside it is hidden")
}

func TestPrivateFolders(t *testing.T) {
	folders := privateFolders()
	assert.Contains(t, folders, "/tmp")
	for _, f := range folders {
		assert.True(t, filepath.IsAbs(f) && f != "/", f)
	}
}

// What lies in a project by a link is not copied, but the project may be one itself.
func TestCopyProjectLeavesLinksOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "key"), []byte("private"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module m\n"), 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "folder")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "key"), filepath.Join(dir, "key.go")))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "pipe.go"), 0o600))
	link := filepath.Join(outside, "project")
	require.NoError(t, os.Symlink(dir, link))
	for _, from := range []string{dir, link} {
		to := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, copyProject(from, to))
		entries, err := os.ReadDir(to)
		require.NoError(t, err)
		require.Len(t, entries, 1, from)
		assert.Equal(t, "go.mod", entries[0].Name())
	}
}

// The name of a capture is a file's, whatever the names in its key are.
func TestCaptureNames(t *testing.T) {
	long := strings.Repeat("long-", 60)
	names := map[string]bool{}
	for _, k := range []record.Key{
		{Scenario: "../../etc/passwd", Config: "a/b", Project: "c\x00d", Go: "..", Rep: 1}, {Scenario: ".."}, {Scenario: "a+b"}, {Scenario: "a", Config: "b"},
		{Scenario: long}, {Scenario: long, Config: "a"}, {Scenario: long + "+a"}, {Scenario: "\n\x1b"},
	} {
		name := captureName(k)
		assert.True(t, filepath.IsLocal(name) && filepath.Base(name) == name, "%q", name)
		assert.LessOrEqual(t, len(name)+len(partial), 255, "%q", name)
		assert.NotRegexp(t, `[\x00-\x1f]`, name)
		assert.False(t, names[name], "%q is there twice", name)
		names[name] = true
	}
}

// More cells than memory has room for are refused before anything is made.
func TestTooManyCells(t *testing.T) {
	o := Options{Scenarios: make([]*scenarios.Scenario, 1000), Projects: make([]*scenarios.Project, 1), Configs: make([]*scenarios.Config, 1001), Go: make([]*Go, 1)}
	_, err := NewPlan(t.Context(), o)
	var wrong *InputError
	require.ErrorAs(t, err, &wrong)
	assert.ErrorContains(t, err, "are 1001000 cells, and a run has at most 1000000")
	o.Configs, o.Repeat = o.Configs[:1], 1<<62
	_, err = NewPlan(t.Context(), o)
	require.ErrorAs(t, err, &wrong)
}
