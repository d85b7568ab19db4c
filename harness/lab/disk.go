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

// disk is where the file system is that all of the client host's files are in.
const disk = "/run"

// Show shows a folder of this machine at target, an empty folder. What is changed there stays in the cell. It must be
// called after Mount. Where overlayfs cannot be had, as in a user namespace of Linux before 5.11, target gets a copy,
// which costs memory.
func Show(folder, target string) error {
	err := overlay(folder, target, Root+"/overlay")
	if err == nil {
		return nil
	}
	if copyErr := os.CopyFS(target, os.DirFS(folder)); copyErr != nil {
		return errors.Join(err, copyErr)
	}
	return nil
}

// showIn shows a folder of this machine at target, which must be in memory of its own: a copy is a mount, too.
func showIn(folder, target, memory string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	err := overlay(folder, target, filepath.Join(memory, "overlay"))
	if err == nil {
		return nil
	}
	if bindErr := unix.Mount(target, target, "", unix.MS_BIND, ""); bindErr != nil {
		return errors.Join(err, bindErr)
	}
	if copyErr := os.CopyFS(target, os.DirFS(folder)); copyErr != nil {
		return errors.Join(err, copyErr)
	}
	return nil
}

// overlay shows a folder at target, and keeps what is changed there in folder above.
func overlay(folder, target, above string) error {
	upper, work := filepath.Join(above, "upper"), filepath.Join(above, "work")
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,userxattr", overlayPath.Replace(folder), upper, work)
	if err := unix.Mount("overlay", target, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("show %s at %s by overlayfs: %w", folder, target, err)
	}
	return nil
}

// overlayPath escapes what has a meaning in the options of overlayfs.
var overlayPath = strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`)

// ReadOnly makes a folder, with all that is mounted there, read-only.
func ReadOnly(folder string) error {
	err := unix.Mount(folder, folder, "", unix.MS_BIND, "")
	if err == nil {
		err = unix.Mount("", folder, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "")
	}
	if err != nil {
		return fmt.Errorf("make %s read-only: %w", folder, err)
	}
	return nil
}

// LimitDisk leaves so many bytes of room on the client host's disk, rounded up to whole pages.
func LimitDisk(room int64) error {
	var s unix.Statfs_t
	if err := unix.Statfs(disk, &s); err != nil {
		return fmt.Errorf("look at the client's disk: %w", err)
	}
	used := int64(s.Blocks-s.Bfree) * s.Bsize
	options := fmt.Sprintf("mode=0755,size=%d", used+room)
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("limit the client's disk to %d bytes: %w", used+room, err)
	}
	return nil
}
