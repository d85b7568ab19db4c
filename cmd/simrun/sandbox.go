package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/harness/container"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// A sandbox is a simrun in a container, as seen from outside.
type sandbox struct {
	engine  *container.Engine
	image   *container.Image
	within  *container.Container
	in      *json.Encoder
	out     *json.Decoder
	stderr  tail
	results string // folder
	reaper  io.Closer
}

// newSandbox starts simrun in a container. The one in it waits to be told what to run.
func (a *app) newSandbox(ctx context.Context, o *runOptions) (s *sandbox, err error) {
	s = &sandbox{results: o.out}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.engine, err = container.Connect(ctx); err != nil {
		return s, missing(err)
	}
	if s.image, err = findImage(ctx, s.engine, o.image, o.pull); err != nil {
		return s, missing(err)
	}
	program, err := linuxProgram(a.getenv(linuxVariable), s.image.Arch)
	if err != nil {
		return s, err
	}
	run := rand.Text()
	if s.reaper, err = startReaper(run); err != nil {
		return s, err
	}
	s.within, err = s.engine.Start(ctx, container.Job{
		Run: run, Image: s.image, Program: program, Args: []string{"simrun", containedName}, Stderr: &s.stderr,
		Prepare: []string{containedName, "--open-tun"},
		Env:     []string{"HOME=" + container.Work, "TMPDIR=" + container.Work},
		Memory:  s.engine.Memory / 4 * 3,
	})
	if err != nil {
		return s, err
	}
	s.in, s.out = json.NewEncoder(s.within.Stdin), json.NewDecoder(s.within.Stdout)
	return s, nil
}

// defaultImage is the name of the image that simrun image makes.
const defaultImage = "simrun:local"

// findImage looks for an image, and has it pulled if that was asked for.
func findImage(ctx context.Context, e *container.Engine, name string, pull bool) (*container.Image, error) {
	image, err := e.Image(ctx, name)
	absent, ok := errors.AsType[*container.MissingError](err)
	switch {
	case !ok:
		return image, err
	case pull:
		if err := e.Pull(ctx, name); err != nil {
			return nil, err
		}
		return e.Image(ctx, name)
	case name == defaultImage:
		absent.Remedy = "simrun image makes it from this machine's Go and git; or take one that has both, as with --image golang:1.26 --pull"
	default:
		absent.Remedy = "add --pull, and it is pulled from its registry"
	}
	return nil, absent
}

// linuxVariable names the executable that runs in the container.
const linuxVariable = "SIMRUN_LINUX"

// linuxProgram returns a simrun that runs in any container of an architecture: the file named, or this very
// program, or the one that lies beside it in a release for other systems.
func linuxProgram(named, arch string) (string, error) {
	if named != "" {
		return named, static(named, arch)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", err
	}
	var wrong error
	if runtime.GOOS == "linux" && runtime.GOARCH == arch {
		if wrong = static(self, arch); wrong == nil {
			return self, nil
		}
	}
	beside := filepath.Join(filepath.Dir(self), "simrun-linux-"+arch)
	if _, err := os.Stat(beside); err == nil {
		return beside, static(beside, arch)
	}
	if wrong != nil {
		return "", wrong
	}
	return "", &statusError{status: statusInput, err: fmt.Errorf("there is no simrun for linux/%s, which would run in the container", arch),
		hint: fmt.Sprintf("put simrun-linux-%s of the same release beside %s, or name it in %s", arch, self, linuxVariable)}
}

// machines are the architectures of ELF files by GOARCH.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// static makes sure that a file is a Linux executable that needs no libraries: those of the image may be others.
func static(file, arch string) error {
	wrong := func(what string) error {
		return &statusError{status: statusInput, err: fmt.Errorf("%s %s, and cannot run in the container", file, what),
			hint: fmt.Sprintf("build one with CGO_ENABLED=0 GOOS=linux GOARCH=%s go build, and name it in %s", arch, linuxVariable)}
	}
	f, err := elf.Open(file)
	if err != nil {
		return wrong(fmt.Sprintf("is no Linux executable (%v)", err))
	}
	defer f.Close()
	if m, ok := machines[arch]; ok && f.Machine != m {
		return wrong(fmt.Sprintf("is for %v and not for %s", f.Machine, arch))
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return wrong("is linked dynamically")
		}
	}
	return nil
}

// Close ends the container.
func (s *sandbox) Close() error {
	var err error
	if s.within != nil {
		err = s.within.Close()
	}
	if s.reaper != nil {
		err = errors.Join(err, s.reaper.Close())
	}
	if s.engine != nil {
		err = errors.Join(err, s.engine.Close())
	}
	return err
}

// ask sends an order and returns the first answer.
func (s *sandbox) ask(ctx context.Context, o order) (answer, error) {
	if err := s.in.Encode(o); err != nil {
		return answer{}, s.lost(ctx, err)
	}
	return s.next(ctx)
}

// next returns the next answer.
func (s *sandbox) next(ctx context.Context) (answer, error) {
	var a answer
	if err := s.out.Decode(&a); err != nil {
		return a, s.lost(ctx, err)
	}
	if f := a.Failed; f != nil {
		return a, &statusError{status: f.Status, err: errors.New(f.Text), hint: f.Hint}
	}
	return a, nil
}

// lost says why the container does not answer.
func (s *sandbox) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	exit, waitErr := s.within.Wait(ctx)
	if waitErr != nil {
		return errors.Join(fmt.Errorf("talk to the container: %w", err), waitErr)
	}
	return fmt.Errorf("simrun in the container ended with status %d: %s", exit, strings.TrimSpace(s.stderr.String()))
}

// gos returns the go commands of the image.
func (s *sandbox) gos(ctx context.Context, names []string) ([]*harness.Go, error) {
	stop := context.AfterFunc(ctx, func() { s.within.Close() })
	defer stop()
	a, err := s.ask(ctx, order{Gos: names})
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", s.image.Name, err)
	}
	h := a.Hello
	switch {
	case h == nil || len(h.Go) == 0:
		return nil, errors.New("simrun in the container does not say hello")
	case h.Simrun != version():
		return nil, &statusError{status: statusInput, err: fmt.Errorf("simrun for the container is %s, and this one %s", h.Simrun, version()),
			hint: "take both from the same release"}
	}
	for _, addr := range h.Addrs {
		if p, err := netip.ParsePrefix(addr); err != nil || !p.Addr().IsLoopback() {
			return nil, fmt.Errorf("the container has the network address %s, and should have none", addr)
		}
	}
	return h.Go, nil
}

// plan has the cells lined up in the container.
func (s *sandbox) plan(ctx context.Context, o harness.Options) (runner, error) {
	stop := context.AfterFunc(ctx, func() { s.within.Close() })
	defer stop()
	if err := s.bring(ctx, &o); err != nil {
		return nil, err
	}
	if err := s.bringImages(ctx, &o); err != nil {
		return nil, err
	}
	earlier := make([]record.Cell, len(o.Earlier))
	for i := range o.Earlier {
		earlier[i] = record.Cell{Key: o.Earlier[i].Key, RealSeconds: o.Earlier[i].RealSeconds}
	}
	o.Earlier = earlier
	a, err := s.ask(ctx, order{Plan: &o})
	if err != nil {
		return nil, err
	}
	if a.Header == nil {
		return nil, errors.New("simrun in the container does not say what it would run")
	}
	a.Header.Isolation = "container"
	return &contents{sandbox: s, header: *a.Header}, nil
}

// The folders below [container.Work] of a project of the user's own.
const (
	broughtProject = "project"
	broughtModules = "modcache"
)

// bring copies a project of the user's own into the container, with what it needs of the module cache, and
// changes the options to what is there. Generated projects are made there.
func (s *sandbox) bring(ctx context.Context, o *harness.Options) error {
	projects := make([]*scenarios.Project, len(o.Projects))
	for i, p := range o.Projects {
		own := *p
		projects[i] = &own
		if p.Modules != nil {
			continue
		}
		host, err := harness.FindGo(ctx, "")
		if err != nil {
			return &statusError{status: statusInput, err: fmt.Errorf("project %s: %w", p.Name, err),
				hint: "a project of your own needs Go on this machine, too: it knows what the project needs of the module cache"}
		}
		u, err := harness.OwnModules(ctx, host, p)
		if err != nil {
			return fmt.Errorf("project %s: %w", p.Name, err)
		}
		at := fmt.Sprintf("%s-%d", broughtProject, i)
		if err := s.within.Copy(ctx, func(f *container.Files) error { return addProject(f, at, u) }); err != nil {
			return fmt.Errorf("project %s: %w", p.Name, err)
		}
		own.Dir = container.Work + "/" + at
		first := *o.Go[0]
		first.ModCache, first.Private = container.Work+"/"+broughtModules, host.Private
		o.Go = append([]*harness.Go{&first}, o.Go[1:]...)
	}
	o.Projects = projects
	return nil
}

// broughtImages is the folder below [container.Work] of images that serve hosts. The archive of an image's files lies
// beside their folder until they are unpacked there.
const broughtImages = "images"

// bringImages copies what hosts are served by into the container: the files of images, as archives.
func (s *sandbox) bringImages(ctx context.Context, o *harness.Options) error {
	o.Images = map[string]*harness.Image{}
	for i, name := range harness.ImagesOf(o.Scenarios) {
		image, err := s.engine.Image(ctx, name)
		if err != nil {
			return missing(err)
		}
		if image.Arch != s.image.Arch {
			return wrongInput("image %s is for %s, and image %s for %s", name, image.Arch, s.image.Name, s.image.Arch)
		}
		at := fmt.Sprintf("%s/%d", broughtImages, i)
		if err := s.bringImage(ctx, image, "work/"+at+".tar"); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
		o.Images[name] = asServer(image, container.Work+"/"+at)
	}
	return nil
}

// bringImage copies the archive of an image's files into the container. Its size must be known first, so it is
// written to a file in between.
func (s *sandbox) bringImage(ctx context.Context, image *container.Image, at string) (err error) {
	f, err := os.CreateTemp("", "simrun-image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	copyTo := func(files io.Reader) error {
		_, err := io.Copy(f, files)
		return err
	}
	if err := s.engine.Export(ctx, image, copyTo); err != nil {
		return err
	}
	return s.within.Copy(ctx, func(files *container.Files) error { return files.Add(at, f.Name()) })
}

// addProject adds a project, and what it needs of the module cache.
func addProject(f *container.Files, at string, u *fakeupstream.Universe) error {
	names, err := harness.ProjectFiles(u.Project)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := f.Add("work/"+at+"/"+filepath.ToSlash(name), filepath.Join(u.Project, name)); err != nil {
			return err
		}
	}
	for _, m := range u.Modules {
		if err := addModule(f, u.Proxy, m); err != nil {
			return err
		}
	}
	return nil
}

// addModule adds a module's files of the download cache.
func addModule(f *container.Files, cache string, m fakeupstream.Module) error {
	names, err := harness.CacheFiles(m)
	if err != nil {
		return err
	}
	for _, name := range names {
		file := filepath.Join(cache, name)
		if _, err := os.Stat(file); err != nil {
			continue // what is needed is there: OwnModules has looked
		}
		if err := f.Add("work/"+broughtModules+"/cache/download/"+filepath.ToSlash(name), file); err != nil {
			return err
		}
	}
	return nil
}

// A contents is the plan of a sandbox.
type contents struct {
	*sandbox
	header record.Run
	skip   []record.Key
}

// Header implements runner.
func (c *contents) Header() record.Run { return c.header }

// Skip implements runner.
func (c *contents) Skip(done []record.Cell) error {
	for i := range done {
		c.skip = append(c.skip, done[i].Key)
	}
	return nil
}

// Run implements runner.
func (c *contents) Run(ctx context.Context, emit func(*record.Cell) error, progress func(harness.Status)) error {
	stop := context.AfterFunc(ctx, func() { c.within.Close() })
	defer stop()
	for a, err := c.ask(ctx, order{Skip: c.skip}); ; a, err = c.next(ctx) {
		switch {
		case err != nil:
			return err
		case a.Done:
			return nil
		case a.Status != nil:
			progress(*a.Status)
		case a.Packet != nil:
			err = c.keep(a.Packet)
		case a.Cell != nil:
			err = emit(a.Cell)
		}
		if err != nil {
			return err
		}
	}
}

// keep writes packets into their file. The container may not say where else to write.
func (c *contents) keep(p *chunk) error {
	root, err := os.OpenRoot(c.results)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.OpenFile(filepath.FromSlash(p.Name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return fmt.Errorf("keep the client's packets: %w", err)
	}
	_, err = f.Write(p.Data)
	return errors.Join(err, f.Close())
}

// A tail is a writer that keeps the last bytes written to it. It may be used concurrently.
type tail struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept.Write(p)
	t.kept.Next(max(0, t.kept.Len()-tailSize))
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kept.String()
}
