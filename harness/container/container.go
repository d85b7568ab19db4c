package container

import (
	"archive/tar"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
)

// Dir is where a container's program and its files are. It is on the engine's disk, and the engine removes it
// with the container.
const Dir = "/simrun"

// Work is the folder in which the program runs and may make files.
const Work = Dir + "/work"

const (
	program = Dir + "/program"
	user    = 65532 // of no meaning anywhere: what nonroot images use
	tun     = "/dev/net/tun"
	mostPID = 32 << 10 // processes and threads: some hundred cells with all of theirs
)

// seccomp is the filter of system calls, in Docker's form. It forbids what Docker's own filter forbids for
// want of a capability, but for what namespaces are made with: those calls are judged by the kernel, and the
// container's user has no rights beyond its own namespaces.
//
//go:embed seccomp.json
var seccomp string

// A Job is a program of this machine that is to run in a container.
type Job struct {
	Run     string   // id of the run, for [Reap] and for who looks at the engine
	Image   *Image   // of whose files the container's are a copy
	Program string   // file of a static Linux executable for the image's architecture
	Args    []string // the program's arguments, with its name first
	Prepare []string // arguments, without the name, with which it is run once as root, without capabilities; nil: it is not
	Env     []string // beside that of the image
	Memory  int64    // bytes that it may use, without those of files in Dir; 0 means as many as there are
	Stderr  io.Writer
}

// A Container is a running [Job].
type Container struct {
	Stdin  io.WriteCloser // when this process ends, it is closed
	Stdout io.Reader

	engine *Engine
	id     string
	attach client.HijackedResponse
	ended  client.ContainerWaitResult
}

// Start runs a job. What the engine made of it is inspected while the program waits for its first input: a
// container with a network, with rights or with folders of this machine is an error.
func (e *Engine) Start(ctx context.Context, job Job) (c *Container, err error) {
	made, err := e.provider.CreateContainer(ctx, request(job))
	if made != nil {
		defer func() {
			if err != nil {
				err = errors.Join(err, e.remove(context.WithoutCancel(ctx), made.GetContainerID()))
			}
		}()
	}
	if err != nil {
		return nil, fmt.Errorf("make a container of image %q: %w", job.Image.Name, err)
	}
	c = &Container{engine: e, id: made.GetContainerID()}
	err = c.Copy(ctx, func(f *Files) error {
		return errors.Join(f.Folder(path.Base(Work)), f.Add(path.Base(program), job.Program))
	})
	if err != nil {
		return nil, err
	}
	if err := c.connect(ctx, job.Stderr); err != nil {
		return nil, fmt.Errorf("attach to the container: %w", err)
	}
	if err := made.Start(ctx); err != nil {
		c.attach.Close()
		return nil, fmt.Errorf("start the container: %w", err)
	}
	is, err := e.api.ContainerInspect(ctx, c.id, client.ContainerInspectOptions{})
	if err == nil {
		err = apart(&is.Container)
	}
	if err == nil && len(job.Prepare) > 0 {
		err = prepare(ctx, made, job.Prepare)
	}
	if err != nil {
		c.attach.Close()
		return nil, fmt.Errorf("inspect the container: %w", err)
	}
	return c, nil
}

// request is what the engine is asked for.
func request(job Job) testcontainers.ContainerRequest {
	return testcontainers.ContainerRequest{
		Image:  job.Image.ID, // a name might be pulled
		Labels: map[string]string{Label: job.Run},
		ConfigModifier: func(c *container.Config) {
			c.Entrypoint, c.Cmd = append([]string{program}, job.Args[1:]...), nil
			c.Env, c.WorkingDir, c.User = job.Env, Work, fmt.Sprintf("%d:%[1]d", user)
			c.OpenStdin, c.StdinOnce, c.AttachStdin, c.AttachStdout, c.AttachStderr = true, true, true, true, true
		},
		HostConfigModifier: func(h *container.HostConfig) {
			pids, no := int64(mostPID), false
			h.NetworkMode, h.AutoRemove, h.Init = "none", true, &no
			h.CapDrop, h.CapAdd = []string{"ALL"}, nil
			h.SecurityOpt = []string{"no-new-privileges", "seccomp=" + seccomp}
			// A lab mounts a /proc of its own and sets its network's parameters there. The kernel allows that
			// only where nothing of /proc is covered. The container's user may write nothing in it that is not its own.
			h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
			h.ReadonlyRootfs = true
			h.Mounts = []mount.Mount{{Type: mount.TypeVolume, Target: Dir}}
			h.Tmpfs = map[string]string{"/run": "", "/tmp": "exec,mode=1777"}
			h.LogConfig = container.LogConfig{Type: "none"} // what it prints is read here
			h.Resources = container.Resources{
				Devices: []container.DeviceMapping{{PathOnHost: tun, PathInContainer: tun, CgroupPermissions: "rw"}},
				Memory:  job.Memory, MemorySwap: job.Memory, PidsLimit: &pids,
			}
		},
		// Of an engine whose network "none" has another name, testcontainers would connect it to one.
		EndpointSettingsModifier: func(all map[string]*network.EndpointSettings) { clear(all) },
	}
}

// exportOptions are those of a container that is never started.
func exportOptions(image *Image) client.ContainerCreateOptions {
	return client.ContainerCreateOptions{
		Config:     &container.Config{Image: image.ID, Entrypoint: []string{"/none"}, Labels: map[string]string{Label: "export"}},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	}
}

// prepare runs a container's program as root.
func prepare(ctx context.Context, made testcontainers.Container, args []string) error {
	exit, _, err := made.Exec(ctx, append([]string{program}, args...), tcexec.WithUser("0:0"))
	if err == nil && exit != 0 {
		err = fmt.Errorf("exit status %d", exit)
	}
	if err != nil {
		return fmt.Errorf("prepare the container: %w", err)
	}
	return nil
}

// apart says what connects a container with the world outside, if anything does.
func apart(c *container.InspectResponse) error {
	for name := range c.NetworkSettings.Networks {
		if name != "none" {
			return fmt.Errorf("the engine has connected it to network %q, and should to none", name)
		}
	}
	for _, m := range c.Mounts {
		if m.Type == mount.TypeBind || m.Destination == "" {
			return fmt.Errorf("the engine has mounted %s of its machine there", m.Source)
		}
	}
	h := c.HostConfig
	switch {
	case h.NetworkMode != "none":
		return fmt.Errorf("its network is %q, and should be none", h.NetworkMode)
	case h.Privileged || len(h.CapAdd) > 0 || strings.Join(h.CapDrop, " ") != "ALL":
		return errors.New("the engine has given it capabilities")
	case h.PidMode != "" || h.IpcMode.IsHost() || h.UTSMode != "":
		return errors.New("the engine has given it namespaces of its machine")
	case c.Config.User != fmt.Sprintf("%d:%[1]d", user):
		return fmt.Errorf("the engine runs it as user %q", c.Config.User)
	}
	return nil
}

// Copy puts files into the container: write adds them. It may be called while the program runs.
func (c *Container) Copy(ctx context.Context, write func(*Files) error) error {
	r, w := io.Pipe()
	go func() {
		f := &Files{tar: tar.NewWriter(w), made: map[string]bool{".": true}}
		err := write(f)
		if err == nil {
			err = f.tar.Close()
		}
		w.CloseWithError(err)
	}()
	_, err := c.engine.api.CopyToContainer(ctx, c.id, client.CopyToContainerOptions{DestinationPath: Dir, Content: r})
	r.CloseWithError(err) // ends write, if the engine has refused
	if err != nil {
		return fmt.Errorf("copy files into the container: %w", err)
	}
	return nil
}

// Files are on their way into a container. Its user owns them.
type Files struct {
	tar  *tar.Writer
	made map[string]bool // folders that are there
}

// Folder adds a folder, and those above it. Its name is relative to [Dir].
func (f *Files) Folder(name string) error {
	if f.made[name] {
		return nil
	}
	if err := f.Folder(path.Dir(name)); err != nil {
		return err
	}
	f.made[name] = true
	return f.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, Uid: user, Gid: user})
}

// Add adds a regular file of this machine, and the folders above it. Its name is relative to [Dir].
func (f *Files) Add(name, file string) error {
	if err := f.Folder(path.Dir(name)); err != nil {
		return err
	}
	opened, err := os.Open(file)
	if err != nil {
		return err
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil {
		return err
	}
	mode := int64(info.Mode().Perm() | 0o600)
	if err := f.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: mode, Uid: user, Gid: user}); err != nil {
		return err
	}
	_, err = io.Copy(f.tar, opened)
	return err
}

// connect connects the program's standard input and output with this process, and asks to be told its end.
func (c *Container) connect(ctx context.Context, stderr io.Writer) error {
	attached, err := c.engine.api.ContainerAttach(ctx, c.id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return err
	}
	c.attach = attached.HijackedResponse
	r, w := io.Pipe()
	c.Stdin, c.Stdout = c.attach.Conn, r
	go func() {
		_, err := stdcopy.StdCopy(w, stderr, c.attach.Reader)
		w.CloseWithError(err)
	}()
	c.ended = c.engine.api.ContainerWait(context.WithoutCancel(ctx), c.id, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	return nil
}

// Wait waits for the end of the program and of what it printed, and returns its exit status. Then nothing
// writes to the job's Stderr any more. What nobody has read of Stdout is lost.
func (c *Container) Wait(ctx context.Context) (exit int, err error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case err := <-c.ended.Error:
		return 0, fmt.Errorf("wait for the container: %w", err)
	case end := <-c.ended.Result:
		if end.Error != nil {
			return 0, fmt.Errorf("wait for the container: %s", end.Error.Message)
		}
		defer context.AfterFunc(ctx, c.attach.Close)()
		_, _ = io.Copy(io.Discard, c.Stdout) // its end, or error, comes after all that was printed
		return int(end.StatusCode), nil
	}
}

// Close ends the program, if it has not ended, and removes the container with all that is in it.
func (c *Container) Close() error {
	c.attach.Close()
	return c.engine.remove(context.Background(), c.id)
}
