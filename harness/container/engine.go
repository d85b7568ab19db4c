// Package container runs programs in containers that have no network and no rights: the way to labs on
// machines that cannot make them, such as macOS. It is the only package that knows a container engine's API.
package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"

	"github.com/simrun/simrun/harness/container/quiet"
)

func init() { quiet.End() } // testcontainers has been initialised

// Label is on all containers that simrun makes. Its value is the id of the run, see [Job].
const Label = "simrun.run"

// A MissingError says what is not there, an engine or an image, and how to get it.
type MissingError struct {
	Err    error
	Remedy string
}

func (e *MissingError) Error() string { return e.Err.Error() }

// Unwrap returns e.Err.
func (e *MissingError) Unwrap() error { return e.Err }

// An Engine is a connection to Docker, or to another engine with its API. It may be used concurrently.
type Engine struct {
	Name   string // such as "Docker 20.10.24"
	Memory int64  // of the engine's machine, in bytes
	CPUs   int    // of the engine's machine

	provider *testcontainers.DockerProvider
	api      client.APIClient
}

// Connect connects to the engine that DOCKER_HOST names, or else to that of this machine, as Docker's own
// command and testcontainers find it. The error is a [*MissingError] if none answers.
func Connect(ctx context.Context) (*Engine, error) {
	// Its reaper is a container of an image that would have to be pulled. What is left of a killed run is
	// removed otherwise, see [Reap].
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		return nil, err
	}
	log.SetDefault(log.NewNoopLogger())
	// With its default, testcontainers makes a bridge on the engine's machine if there is none.
	provider, err := testcontainers.NewDockerProvider(testcontainers.WithDefaultBridgeNetwork("none"))
	if err != nil {
		return nil, noEngine(err)
	}
	e := &Engine{provider: provider, api: provider.Client()}
	info, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, errors.Join(noEngine(err), e.Close())
	}
	if info.Info.OSType != "linux" {
		return nil, errors.Join(&MissingError{
			Err:    fmt.Errorf("the container engine runs %s containers", info.Info.OSType),
			Remedy: "switch it to Linux containers",
		}, e.Close())
	}
	e.Name, e.Memory, e.CPUs = "Docker "+info.Info.ServerVersion, info.Info.MemTotal, info.Info.NCPU
	return e, nil
}

func noEngine(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return &MissingError{
		Err:    fmt.Errorf("no container engine answers: %s", line),
		Remedy: "start Docker, or name another engine with its API in DOCKER_HOST",
	}
}

// Close ends the connection.
func (e *Engine) Close() error { return e.provider.Close() }

// An Image is an image that the engine has.
type Image struct {
	Name       string // as the caller wrote it
	ID         string // sha256:..., which is that of nothing else
	Arch       string // as GOARCH has it
	Entrypoint []string
	Cmd        []string
	Env        []string
	Dir        string // where its program runs; empty means /
	User       string // empty means root
}

// Image looks for an image. The error is a [*MissingError] if the engine has none of that name: it is not
// pulled.
func (e *Engine) Image(ctx context.Context, name string) (*Image, error) {
	found, err := e.api.ImageInspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil, &MissingError{Err: fmt.Errorf("the container engine has no image %q", name), Remedy: "pull or build it; nothing is pulled unasked"}
	}
	if err != nil {
		return nil, fmt.Errorf("look for image %q: %w", name, err)
	}
	if found.Os != "linux" {
		return nil, fmt.Errorf("image %q is for %s, and should be for linux", name, found.Os)
	}
	i := &Image{Name: name, ID: found.ID, Arch: found.Architecture}
	if c := found.Config; c != nil {
		i.Entrypoint, i.Cmd, i.Env, i.Dir, i.User = c.Entrypoint, c.Cmd, c.Env, c.WorkingDir, c.User
	}
	return i, nil
}

// Pull has the engine pull an image from its registry.
func (e *Engine) Pull(ctx context.Context, name string) error {
	pulling, err := e.api.ImagePull(ctx, name, client.ImagePullOptions{})
	if err == nil {
		err = pulling.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("pull image %q: %w", name, err)
	}
	return nil
}

// Import makes an image of a root file system, a tar archive. Changes are lines of a Dockerfile, such as
// "ENV PATH=/bin". An image of the same name loses it.
func (e *Engine) Import(ctx context.Context, name string, root io.Reader, changes ...string) error {
	answer, err := e.api.ImageImport(ctx, client.ImageImportSource{Source: root, SourceName: "-"}, name, client.ImageImportOptions{Changes: changes})
	if err != nil {
		return fmt.Errorf("import image %q: %w", name, err)
	}
	text, err := io.ReadAll(io.LimitReader(answer, 1<<20))
	if err = errors.Join(err, answer.Close()); err != nil {
		return fmt.Errorf("import image %q: %w", name, err)
	}
	if strings.Contains(string(text), `"errorDetail"`) { // it comes with status 200
		return fmt.Errorf("import image %q: %s", name, strings.TrimSpace(string(text)))
	}
	return nil
}

// Export hands an image's root file system to use, as a tar archive whose content nobody has checked. No
// program of the image is run.
func (e *Engine) Export(ctx context.Context, image *Image, use func(root io.Reader) error) (err error) {
	made, err := e.api.ContainerCreate(ctx, exportOptions(image))
	if err != nil {
		return fmt.Errorf("export image %q: %w", image.Name, err)
	}
	defer func() { err = errors.Join(err, e.remove(context.WithoutCancel(ctx), made.ID)) }()
	root, err := e.api.ContainerExport(ctx, made.ID, client.ContainerExportOptions{})
	if err != nil {
		return fmt.Errorf("export image %q: %w", image.Name, err)
	}
	defer root.Close()
	return use(root)
}

// goneAfter is how long the engine may take to remove a container.
const goneAfter = 20 * time.Second

// remove removes a container with its volumes, whatever it does. One that is gone is no error.
func (e *Engine) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, goneAfter)
	defer cancel()
	for {
		_, err := e.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case err == nil || errdefs.IsNotFound(err):
			return nil
		case !errdefs.IsConflict(err): // the engine is about to remove it by itself
			return fmt.Errorf("remove container %.12s: %w", id, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove container %.12s: %w", id, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Reap removes all containers of a run, whatever they do.
func (e *Engine) Reap(ctx context.Context, run string) error {
	found, err := e.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", Label+"="+run)})
	if err != nil {
		return fmt.Errorf("list the containers of run %s: %w", run, err)
	}
	for _, c := range found.Items {
		err = errors.Join(err, e.remove(ctx, c.ID))
	}
	return err
}

// Count returns how many containers of an image the engine has, whatever they do.
func (e *Engine) Count(ctx context.Context, image string) (int, error) {
	found, err := e.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("ancestor", image)})
	if err != nil {
		return 0, fmt.Errorf("list the containers of image %q: %w", image, err)
	}
	return len(found.Items), nil
}
