package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/harness/container"
)

// imageOptions is the flags of simrun image.
type imageOptions struct {
	input
	tag string
}

func (a *app) imageCommand() *cobra.Command {
	var o imageOptions
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Make the image for runs in containers",
		Long: `Make the image that "simrun run --isolation container" takes: a root file system
with this machine's Go and git, the libraries that git needs, and a shell; no
certificates, no package manager. It is made by the container engine from what
simrun hands it; nothing is pulled.`,
		Example: `  simrun image
  simrun image --go 1.26.8,1.25.5 --tag simrun:two
  simrun run --isolation container --image simrun:two --go 1.26.8,1.25.5`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.image(cmd.Context(), &o) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.gos, "go", nil, "put the go command `GO` into it, a path or a release such as 1.25.5 (repeatable; default: the one on PATH)")
	f.StringVar(&o.tag, "tag", defaultImage, "call the image `NAME`")
	return cmd
}

func (a *app) image(ctx context.Context, o *imageOptions) error {
	if runtime.GOOS != "linux" {
		return &statusError{status: statusInput, err: fmt.Errorf("an image is made from the Go and git of a Linux machine, and this is %s", runtime.GOOS),
			hint: "take an image that has both, as with: simrun run --isolation container --image golang:1.26 --pull"}
	}
	gos, err := o.findGos(ctx)
	if err != nil {
		return err
	}
	git, err := findGit(ctx)
	if err != nil {
		return &statusError{status: statusInput, err: fmt.Errorf("find git: %w", err), hint: "install git"}
	}
	engine, err := container.Connect(ctx)
	if err != nil {
		return missing(err)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeRoot(w, gos, git)) }()
	search := []string{"/usr/local/go/bin", filepath.Dir(git.program), "/usr/local/bin", "/usr/bin", "/bin"}
	err = engine.Import(ctx, o.tag, r, "ENV PATH="+strings.Join(search, ":"), "WORKDIR /")
	r.CloseWithError(err)
	if err = errors.Join(err, engine.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "image %s: %s, %s\n", o.tag, strings.Join(versions(gos), ", "), git.version)
	return err
}

func versions(gos []*harness.Go) (names []string) {
	for _, g := range gos {
		names = append(names, g.Version)
	}
	return names
}

// A gitTree is where git is.
type gitTree struct {
	version  string
	program  string
	programs string // folder of git's own ones
}

func findGit(ctx context.Context) (*gitTree, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, err
	}
	g := &gitTree{program: program}
	for to, arg := range map[*string]string{&g.version: "--version", &g.programs: "--exec-path"} {
		out, err := exec.CommandContext(ctx, program, arg).Output()
		if err != nil {
			return nil, fmt.Errorf("git %s: %w", arg, err)
		}
		*to = strings.TrimSpace(string(out))
	}
	return g, nil
}

// writeRoot writes the root file system of an image.
func writeRoot(w io.Writer, gos []*harness.Go, git *gitTree) error {
	root, err := container.NewRoot(w)
	if err != nil {
		return err
	}
	for i, g := range gos {
		at := "/usr/local/go"
		if i > 0 {
			at = goRootOfImage(g.Version)
		}
		if err := root.Tree(g.Root, at, "api", "doc", "misc", "test"); err != nil {
			return err
		}
	}
	if err := addGit(root, git); err != nil {
		return err
	}
	for _, name := range []string{"sh", "sleep"} { // of scripts, and of simrun doctor
		program, err := exec.LookPath(name)
		if err != nil {
			return err
		}
		if err := root.Program(program); err != nil {
			return err
		}
	}
	return root.Close()
}

// addGit adds git, with its own programs and its templates.
func addGit(root *container.Root, git *gitTree) error {
	if err := root.Program(git.program); err != nil {
		return err
	}
	all, err := os.ReadDir(git.programs)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.IsDir() {
			continue // of merge tools
		}
		if err := root.Program(filepath.Join(git.programs, e.Name())); err != nil {
			return err
		}
	}
	shared := path.Join(git.programs, "../../share/git-core") // prefix/lib/git-core or prefix/libexec/git-core
	if _, err := os.Stat(shared); err != nil {
		return nil // git does without
	}
	return root.Tree(shared, shared)
}
