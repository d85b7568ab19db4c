package fakeupstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// A repository is a bare git repository that is being written by git fast-import.
// The nil repository stands for a machine without git: its methods do nothing.
type repository struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stream *bufio.Writer
	stderr bytes.Buffer
	marks  int
}

// createRepository makes the repository of a module below dir, or returns nil if there is no git command.
func createRepository(ctx context.Context, dir, modulePath string) (*repository, error) {
	git, err := exec.LookPath("git")
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for git: %w", err)
	}
	bare := filepath.Join(dir, filepath.FromSlash(modulePath)+".git")
	if err := initBare(bare); err != nil {
		return nil, fmt.Errorf("create repository: %w", err)
	}
	r := &repository{}
	// Everything goes into one pack, uncompressed, for its data does not compress.
	r.cmd = exec.CommandContext(ctx, git, "-c", "fastimport.unpackLimit=0", "-c", "core.compression=0",
		"--git-dir="+bare, "fast-import", "--quiet", "--done")
	r.cmd.Env = isolatedGit()
	r.cmd.Stderr = &r.stderr
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start git fast-import: %w", err)
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start git fast-import: %w", err)
	}
	r.stream = bufio.NewWriter(r.stdin)
	return r, nil
}

// initBare does what "git init --bare" does, without a process, and the same with every version of git.
func initBare(dir string) error {
	for _, sub := range []string{"objects", "refs"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "HEAD"), []byte("ref: refs/heads/main\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "config"), []byte("[core]\n\trepositoryformatversion = 0\n\tbare = true\n"), 0o644),
	)
}

// Commit adds a release as a commit to the main branch. The format is that of git-fast-import(1).
func (r *repository) Commit(rel release) error {
	if r == nil {
		return nil
	}
	r.marks++
	fmt.Fprintf(r.stream, "commit refs/heads/main\nmark :%d\n", r.marks)
	fmt.Fprintf(r.stream, "committer simrun <simrun@example.test> %d +0000\n", rel.time.Unix())
	r.data([]byte(rel.Version.Version + "\n"))
	fmt.Fprintf(r.stream, "deleteall\n")
	for _, f := range rel.files {
		fmt.Fprintf(r.stream, "M 100644 inline %s\n", f.name)
		r.data(f.data)
	}
	if err := r.stream.Flush(); err != nil {
		return fmt.Errorf("write to git fast-import: %w", err)
	}
	return nil
}

// Tag tags the commit that was added last with the version of a release. The stream remembers errors until
// Flush.
func (r *repository) Tag(rel release) {
	if r != nil {
		fmt.Fprintf(r.stream, "reset refs/tags/%s\nfrom :%d\n\n", rel.Version.Version, r.marks)
	}
}

// data writes one length-counted block. The stream remembers errors until Flush.
func (r *repository) data(block []byte) {
	fmt.Fprintf(r.stream, "data %d\n", len(block))
	r.stream.Write(block)
	r.stream.WriteByte('\n')
}

// Close ends git fast-import and reports what it complained of.
func (r *repository) Close() error {
	if r == nil {
		return nil
	}
	fmt.Fprintf(r.stream, "done\n")
	flushed := r.stream.Flush()
	closed := r.stdin.Close()
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("git fast-import: %w: %s", err, bytes.TrimSpace(r.stderr.Bytes()))
	}
	return errors.Join(flushed, closed)
}
