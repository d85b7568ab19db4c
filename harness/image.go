package harness

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/simrun/simrun/scenarios"
)

// An Image is what a program that serves a host needs of a container engine's image.
type Image struct {
	Name string   // as worlds have it
	ID   string   // of the engine, sha256:...
	Root string   // folder of this machine with the image's files, see UnpackImage
	Exec []string // what it runs by itself: its ENTRYPOINT and CMD; may be empty
	Env  []string
	Dir  string // where that runs; empty means /
	User string // NAME, ID, or either with a group behind a colon; empty means root
}

// The most that an image may have.
const (
	maxImageSize  = 16 << 30 // bytes of all files
	maxImageFiles = 1 << 20
)

// ImagesOf returns the names of the images that worlds of scenarios are served by, each once.
func ImagesOf(all []*scenarios.Scenario) []string {
	var names []string
	for _, s := range all {
		for i := range s.World.Hosts {
			if server := s.World.Hosts[i].Server; server != nil && server.Image != "" {
				names = append(names, server.Image)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// UnpackImage writes an image's files, a tar archive that nobody has checked, into a folder, which must not exist. No
// name and no link leads to a file outside of it, devices are left out, and the files belong to this user, without
// the rights of others (setuid). The folder appears when it is complete.
func UnpackImage(archive io.Reader, dir string) (err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), "part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	root, err := os.OpenRoot(part)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := unpack(archive, root); err != nil {
		return err
	}
	if err := os.Chmod(part, 0o755); err != nil {
		return err
	}
	if err := os.Rename(part, dir); err != nil && !errors.Is(err, fs.ErrExist) { // another simrun was faster
		return err
	}
	return nil
}

func unpack(archive io.Reader, root *os.Root) error {
	room := int64(maxImageSize)
	t := tar.NewReader(archive)
	for range maxImageFiles {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the image's files: %w", err)
		}
		if room -= h.Size; room < 0 {
			return fmt.Errorf("the image's files have more than %d bytes", int64(maxImageSize))
		}
		if err := unpackFile(t, h, root); err != nil {
			return fmt.Errorf("unpack %q of the image: %w", h.Name, err)
		}
	}
	return fmt.Errorf("the image has more than %d files", maxImageFiles)
}

// unpackFile writes one entry of an archive. What lies below a symbolic link that leads out of the root is an error
// of [os.Root].
func unpackFile(t *tar.Reader, h *tar.Header, root *os.Root) error {
	name := path.Clean(strings.TrimLeft(h.Name, "/"))
	if name == "." {
		return nil
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return errors.New("its name leads out of the image")
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := h.FileInfo().Mode().Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		return root.Chmod(name, mode|0o700)
	case tar.TypeReg:
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, t)
		return errors.Join(err, f.Chmod(mode|0o400), f.Close())
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return root.Link(path.Clean(strings.TrimLeft(h.Linkname, "/")), name)
	}
	return nil // devices and pipes: a program gets those that every program needs
}
