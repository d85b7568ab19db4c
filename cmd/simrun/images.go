package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/harness/container"
)

// addImages gets what the scenarios of a run are served by from a container engine: the files of images, which are
// unpacked once for all runs. Without such scenarios, no engine is asked.
func addImages(ctx context.Context, o *harness.Options) (err error) {
	names := harness.ImagesOf(o.Scenarios)
	if len(names) == 0 {
		return nil
	}
	engine, err := container.Connect(ctx)
	if err != nil {
		return missing(err)
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	o.Images = map[string]*harness.Image{}
	for _, name := range names {
		if o.Images[name], err = unpacked(ctx, engine, name, filepath.Join(o.CacheDir, "images")); err != nil {
			return missing(err)
		}
	}
	return nil
}

// missing makes an error of what a run lacks one of the input, with the remedy.
func missing(err error) error {
	if m, ok := errors.AsType[*container.MissingError](err); ok {
		return &statusError{status: statusInput, err: err, hint: m.Remedy}
	}
	return err
}

// unpacked returns an image whose files are in a folder below dir.
func unpacked(ctx context.Context, engine *container.Engine, name, dir string) (*harness.Image, error) {
	image, err := engine.Image(ctx, name)
	if err != nil {
		return nil, err
	}
	if image.Arch != runtime.GOARCH {
		return nil, wrongInput("image %s is for %s, and this simrun for %s", name, image.Arch, runtime.GOARCH)
	}
	root := filepath.Join(dir, strings.ReplaceAll(image.ID, ":", "-"))
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		err = engine.Export(ctx, image, func(files io.Reader) error { return harness.UnpackImage(files, root) })
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	return asServer(image, root), nil
}

// asServer describes an image whose files are in a folder to the harness.
func asServer(image *container.Image, root string) *harness.Image {
	return &harness.Image{Name: image.Name, ID: image.ID, Root: root, Exec: slices.Concat(image.Entrypoint, image.Cmd),
		Env: image.Env, Dir: image.Dir, User: image.User}
}
