package container

import (
	"archive/tar"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Root writes a root file system that is made of files of this machine, a Linux one, into an archive. It
// follows the links of this machine, so that each file is where its name says. It must be closed.
type Root struct {
	tar   *tar.Writer
	made  map[string]bool // names that the archive has
	files map[int64][]written
}

// A written is a regular file that the archive has.
type written struct {
	info fs.FileInfo
	name string
}

// NewRoot begins with what every container needs: folders to mount on, and files that say who is who.
func NewRoot(w io.Writer) (*Root, error) {
	r := &Root{tar: tar.NewWriter(w), made: map[string]bool{"/": true, ".": true}, files: map[int64][]written{}}
	for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64"} {
		if to, err := os.Readlink(dir); err == nil {
			if err := r.link(dir, to); err != nil {
				return nil, err
			}
		}
	}
	for _, dir := range []string{"/dev", "/proc", "/run", "/sys", Dir} {
		if err := r.folder(dir); err != nil {
			return nil, err
		}
	}
	if err := r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return nil, err
	}
	for name, content := range map[string]string{
		"/etc/passwd":        fmt.Sprintf("root:x:0:0::/root:/bin/sh\nsimrun:x:%d:%[1]d::%s:/bin/sh\n", user, Work),
		"/etc/group":         fmt.Sprintf("root:x:0:\nsimrun:x:%d:\n", user),
		"/etc/hosts":         "127.0.0.1 localhost\n",
		"/etc/resolv.conf":   "",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	} {
		if err := r.text(name, content); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Close ends the archive.
func (r *Root) Close() error { return r.tar.Close() }

// Program adds a program where it is, with the libraries and the loader that it is linked to.
func (r *Root) Program(file string) error {
	needs, err := libraries(file)
	if err != nil {
		return fmt.Errorf("find the libraries of %s: %w", file, err)
	}
	for _, name := range append(needs, file) {
		dir, err := filepath.EvalSymlinks(filepath.Dir(name))
		if err != nil {
			return err
		}
		if err := r.Tree(name, path.Join(dir, path.Base(name))); err != nil {
			return err
		}
	}
	return nil
}

// Tree adds a file, or a folder with all that is in it but what is called as one of those named, under another name.
// Links are followed: their targets may lie elsewhere.
func (r *Root) Tree(from, to string, but ...string) error {
	return r.tree(from, to, but, 0)
}

// deepest is how many folders deep a tree may be: one that links to itself has no end.
const deepest = 40

func (r *Root) tree(from, to string, but []string, depth int) error {
	info, err := os.Stat(from)
	switch {
	case err != nil:
		return err
	case depth > deepest:
		return fmt.Errorf("%s is more than %d folders deep", from, deepest)
	case info.Mode().IsRegular():
		return r.file(from, to, info)
	case !info.IsDir():
		return nil
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := r.folder(to); err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(but, e.Name()) {
			continue
		}
		if err := r.tree(filepath.Join(from, e.Name()), path.Join(to, e.Name()), nil, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// folder adds a folder and those above it.
func (r *Root) folder(name string) error {
	if r.made[name] {
		return nil
	}
	if err := r.folder(path.Dir(name)); err != nil {
		return err
	}
	r.made[name] = true
	return r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: inArchive(name) + "/", Mode: 0o755})
}

// file adds a regular file. One that is there under another name becomes a link to that: git has a hundred names.
func (r *Root) file(from, name string, info fs.FileInfo) error {
	if r.made[name] {
		return nil
	}
	if err := r.folder(path.Dir(name)); err != nil {
		return err
	}
	r.made[name] = true
	same := slices.IndexFunc(r.files[info.Size()], func(w written) bool { return os.SameFile(w.info, info) })
	if same >= 0 {
		first := r.files[info.Size()][same].name
		return r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: inArchive(name), Linkname: inArchive(first), Mode: 0o755})
	}
	r.files[info.Size()] = append(r.files[info.Size()], written{info, name})
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	mode := int64(info.Mode().Perm() | 0o444)
	if err := r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: inArchive(name), Size: info.Size(), Mode: mode, ModTime: info.ModTime()}); err != nil {
		return err
	}
	_, err = io.Copy(r.tar, f)
	return err
}

func (r *Root) text(name, content string) error {
	if err := r.folder(path.Dir(name)); err != nil {
		return err
	}
	r.made[name] = true
	if err := r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: inArchive(name), Size: int64(len(content)), Mode: 0o644}); err != nil {
		return err
	}
	_, err := io.WriteString(r.tar, content)
	return err
}

func (r *Root) link(name, to string) error {
	r.made[name] = true
	return r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: inArchive(name), Linkname: to, Mode: 0o777})
}

func inArchive(name string) string { return strings.TrimPrefix(name, "/") }

// libraries returns the files that a program is linked to, and its loader, as the loader itself finds them. A
// script and a static program have none.
func libraries(file string) ([]string, error) {
	loader, err := loaderOf(file)
	if loader == "" || err != nil {
		return nil, err
	}
	out, err := exec.Command(loader, "--list", file).Output()
	if err != nil {
		return nil, fmt.Errorf("%s --list: %w", loader, err)
	}
	files := []string{loader}
	for line := range strings.Lines(string(out)) {
		name, at, found := strings.Cut(strings.TrimSpace(line), " => ")
		if !found {
			continue // the loader, or the vDSO
		}
		at, _, _ = strings.Cut(at, " (")
		if !filepath.IsAbs(at) {
			return nil, fmt.Errorf("%s is %s", name, at)
		}
		files = append(files, at)
	}
	return files, nil
}

// loaderOf returns the program that loads a dynamically linked one; "" for all other files.
func loaderOf(file string) (string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", nil // a script
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
			return strings.TrimRight(string(name), "\x00"), err
		}
	}
	return "", nil
}
