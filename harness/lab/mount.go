//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Files are what programs of the client host see of this machine's files.
type Files struct {
	ResolvConf string
	Hosts      string   // of /etc/hosts
	Hidden     []string // folders of this machine that are empty in the cell, and may be written
	Shown      []string // files and folders that are there nevertheless, if they are below hidden ones
}

// nsswitch makes glibc programs (git) ask the files and name servers of the lab only: other modules
// would ask a daemon of this machine over a unix socket, which no network namespace stops.
const nsswitch = "passwd: files\ngroup: files\nhosts: files dns\n"

// Mount hides this machine's run-time folder behind an empty Root, and the folders that are to be hidden, puts the
// files into place and makes all else read-only. It must be called by a lab process, before it starts others.
func Mount(f Files) error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	resolv, err := filepath.EvalSymlinks("/etc/resolv.conf") // before /run is hidden: it often points there
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("find resolv.conf: %w", err)
	}
	if err := freeze(); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount the cell's file system on /run: %w", err)
	}
	if err := os.Mkdir(Root, 0o755); err != nil {
		return err
	}
	for _, c := range []struct{ path, content string }{
		{resolv, f.ResolvConf}, {"/etc/hosts", f.Hosts}, {"/etc/nsswitch.conf", nsswitch},
	} {
		if err := cover(c.path, c.content); err != nil {
			return err
		}
	}
	if err := conceal(append([]string{"/dev"}, f.Hidden...), append(seenDevices(), f.Shown...)); err != nil {
		return err
	}
	if err := linkDevices(); err != nil {
		return err
	}
	// A new /proc shows the processes of the cell only. A container may forbid it; then confine does nothing.
	if unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "") != nil {
		return thaw("/proc") // the network is set up there
	}
	return guardKernel()
}

// cover makes a file show other content in this mount namespace.
func cover(path, content string) error {
	if path == "" {
		return errors.New("cannot give the cell its own resolv.conf: /etc/resolv.conf does not exist; create it, it may be empty")
	}
	if strings.HasPrefix(path, "/run/") { // hidden by now: make it anew
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(content), 0o644)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil // absent files have no say; only resolv.conf must be there
	}
	own := filepath.Join(Root, "etc", filepath.Base(path))
	if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(own, []byte(content), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("put the cell's own file on %s: %w", path, err)
	}
	return nil
}
