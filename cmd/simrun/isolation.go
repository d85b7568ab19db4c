package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/reports"
)

// isolationOptions are the flags that say where labs are made.
type isolationOptions struct {
	isolation string
	image     string
	pull      bool
}

// The values of --isolation.
const (
	isolationAuto      = "auto"
	isolationNamespace = "namespace"
	isolationContainer = "container"
)

func (o *isolationOptions) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.isolation, "isolation", isolationAuto,
		"make labs by `WAY`: namespace, container, or auto, which is namespaces where they can be had, else a container")
	f.StringVar(&o.image, "image", defaultImage, "with containers, take Go and git from the image `NAME`, which simrun image makes")
	f.BoolVar(&o.pull, "pull", false, "with containers, have the image pulled if it is not there")
}

func (o *isolationOptions) check() error {
	if !slices.Contains([]string{isolationAuto, isolationNamespace, isolationContainer}, o.isolation) {
		return wrongInput("--isolation is %q, and should be namespace, container or auto", o.isolation)
	}
	if o.isolation == isolationNamespace && (o.pull || o.image != defaultImage) {
		return wrongInput("--image and --pull go with --isolation container or auto")
	}
	return nil
}

// A site is where labs are made.
type site interface {
	gos(ctx context.Context, names []string) ([]*harness.Go, error)    // the go commands there
	plan(ctx context.Context, options harness.Options) (runner, error) // to be called after gos
	Close() error
}

// namespaces is the site on this machine.
type namespaces struct{}

func (namespaces) gos(ctx context.Context, names []string) ([]*harness.Go, error) {
	in := input{gos: names}
	return in.findGos(ctx)
}

func (namespaces) plan(ctx context.Context, o harness.Options) (runner, error) {
	if err := addImages(ctx, &o); err != nil {
		return nil, err
	}
	return harness.NewPlan(ctx, o)
}

func (namespaces) Close() error { return nil }

// site finds out where labs are to be made, and says so if there was a choice.
func (a *app) site(ctx context.Context, o *runOptions) (site, error) {
	if o.isolation == isolationNamespace {
		return namespaces{}, nil
	}
	if o.isolation == isolationContainer {
		return a.newSandbox(ctx, o)
	}
	reason := harness.Check(ctx)
	if reason == nil {
		return namespaces{}, nil
	}
	s, err := a.newSandbox(ctx, o)
	if err != nil {
		return nil, &statusError{status: statusHarness, hint: blame(err).hint,
			err: fmt.Errorf("no lab can be made here (%w), and none in a container: %w", reason, err)}
	}
	if !o.quiet {
		fmt.Fprintf(a.err, "isolation: a container of image %s (%s), as no lab can be made here: %s\n", s.image.Name, s.engine.Name, reports.Clean(reason.Error()))
	}
	return s, nil
}
