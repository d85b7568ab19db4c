//go:build linux

package lab

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() { inside["disk"] = diskInside }

type diskInput struct {
	Folder    string
	Forbidden bool // nothing can be mounted
}

type diskResult struct {
	Above, Limited, Unlocked, ReadOnly string // what went wrong, empty if nothing did
	Lines                              []string
}

// diskInside changes a folder of this machine through an overlay, and then lets one thing after the other fail.
func diskInside(input json.RawMessage) (any, error) {
	var in diskInput
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, err
	}
	if err := Mount(Files{ResolvConf: "nameserver 192.0.2.53\n", Hosts: "127.0.0.1 localhost\n"}); err != nil {
		return nil, err
	}
	target := Root + "/mod"
	if err := os.Mkdir(target, 0o755); err != nil {
		return nil, err
	}
	if in.Forbidden {
		if err := forbidMounts(); err != nil {
			return nil, err
		}
	}
	if err := Show(in.Folder, target); err != nil {
		return nil, err
	}
	if in.Forbidden {
		content, err := os.ReadFile(target + "/other")
		return diskResult{Lines: []string{string(content), complaint(err), complaint(overlay(in.Folder, target, Root+"/overlay"))}}, nil
	}
	r := diskResult{Above: complaint(os.WriteFile(target+"/file", []byte("changed"), 0o644))}
	content, err := os.ReadFile(target + "/other")
	r.Lines = append(r.Lines, string(content), complaint(err))
	if err := LimitDisk(64 << 10); err != nil {
		return nil, err
	}
	r.Lines = append(r.Lines, complaint(os.WriteFile(target+"/fits", make([]byte, 32<<10), 0o644)))
	r.Limited = complaint(os.WriteFile(target+"/large", make([]byte, 80<<10), 0o644))
	r.Lines = append(r.Lines, complaint(os.Remove(target+"/large")))
	n, err := NewNetwork(Config{})
	if err != nil {
		return nil, err
	}
	defer n.Close()
	if err := n.OnClient(RefuseLocks); err != nil {
		return nil, err
	}
	for _, kind := range []string{"-s", "-x"} {
		cmd := exec.Command("flock", kind, target+"/file", "true")
		var output Ends
		output.Size = 1 << 10
		cmd.Stderr = &output
		_ = n.OnClient(cmd.Start)
		_ = cmd.Wait()
		r.Lines = append(r.Lines, output.String())
		r.Unlocked = output.String()
	}
	if err := ReadOnly(target); err != nil {
		return nil, err
	}
	r.ReadOnly = complaint(os.WriteFile(target+"/file", nil, 0o644))
	return r, nil
}

// forbidMounts takes the right to mount file systems from the calling thread, which is the caller's alone from now on.
func forbidMounts() error {
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var rights [2]unix.CapUserData
	if err := unix.Capget(&header, &rights[0]); err != nil {
		return err
	}
	rights[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
	return unix.Capset(&header, &rights[0])
}

func TestFolderIsCopiedWhereThereIsNoOverlay(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "other"), []byte("as it was"), 0o644))
	var r diskResult
	runInside(t, "disk", diskInput{folder, true}, &r)
	require.Len(t, r.Lines, 3)
	assert.Equal(t, []string{"as it was", ""}, r.Lines[:2])
	assert.Contains(t, r.Lines[2], "operation not permitted")
}

func complaint(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// The folder's name has what means something in the options of overlayfs.
func TestClientDiskCanBeFullLockedAndReadOnly(t *testing.T) {
	folder := filepath.Join(t.TempDir(), `a:b,c\d`)
	require.NoError(t, os.Mkdir(folder, 0o755))
	for _, name := range []string{"file", "other"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("as it was"), 0o644))
	}
	var r diskResult
	runInside(t, "disk", diskInput{folder, false}, &r)
	assert.Empty(t, r.Above)
	assert.Equal(t, []string{"as it was", "", "", "", "", r.Unlocked}, r.Lines)
	assert.Contains(t, r.Limited, "no space left on device")
	assert.Contains(t, r.Unlocked, "No locks available")
	assert.Contains(t, r.ReadOnly, "read-only file system")
	content, err := os.ReadFile(filepath.Join(folder, "file"))
	require.NoError(t, err)
	assert.Equal(t, "as it was", string(content), "nothing of the cell is left")
}
