package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/scenarios"
)

// shellOptions is the flags of simrun shell.
type shellOptions struct {
	input
	from   []string
	config string
	seed   uint64
}

func (a *app) shellCommand() *cobra.Command {
	var o shellOptions
	cmd := &cobra.Command{
		Use:   "shell SCENARIO [flags] [-- COMMAND [ARG]...]",
		Short: "Run a shell, or a command, on the client host of one scenario",
		Long: `Run a shell, or a command, on the client host of one scenario, with the network
as broken as it says and the environment of one config. SCENARIO is the name of
one of the built-in scenarios or of one in the files that --from names. simrun
exits with the status of the command.`,
		Example: `  simrun shell dead-proxy --config cn-comma
  simrun shell dead-proxy --from mine/ -- go mod tidy -x`,
		Args: func(cmd *cobra.Command, args []string) error {
			if before := cmd.ArgsLenAtDash(); before == 1 || before < 0 && len(args) == 1 {
				return nil
			}
			return wrongInput("shell takes one scenario, and a command after --")
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.shell(cmd.Context(), &o, args[0], args[1:])
		},
	}
	o.bind(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.from, "from", nil, "read scenarios from `PATH`, a file or folder (repeatable; default: the built-in ones)")
	f.StringVar(&o.config, "config", "", "use the settings of the config `NAME` (default: none, so the go command's own)")
	f.Uint64Var(&o.seed, "seed", 1, "`NUMBER` from which all chance in the network is drawn")
	a.completeShell(cmd, &o)
	return cmd
}

func (a *app) shell(ctx context.Context, o *shellOptions, scenario string, argv []string) error {
	options, err := o.harnessOptions(ctx, scenario)
	if err != nil {
		return err
	}
	if len(argv) == 0 {
		argv = []string{cmp.Or(a.getenv("SHELL"), "/bin/sh")}
	}
	// Ctrl-C is for the command in the foreground, and must not end simrun below it.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, os.Interrupt)
	defer signal.Stop(ignored)
	exit, err := harness.Shell(ctx, options, argv)
	if err != nil {
		return fmt.Errorf("run %q in a lab: %w", argv[0], err)
	}
	if exit != 0 {
		return &statusError{status: exit}
	}
	return nil
}

// harnessOptions finds the one scenario, config and project.
func (o *shellOptions) harnessOptions(ctx context.Context, scenario string) (harness.Options, error) {
	if err := o.oneGo("shell"); err != nil {
		return harness.Options{}, err
	}
	options, lib, err := o.input.harnessOptions(ctx, namespaces{}, o.from)
	if err != nil {
		return options, err
	}
	if options.Scenarios, err = lib.ScenariosNamed(scenario); err != nil {
		return options, wrongInput("%w", err)
	}
	options.Configs = []*scenarios.Config{{Name: "none"}}
	if o.config != "" {
		if options.Configs, err = lib.ConfigsNamed(o.config); err != nil {
			return options, wrongInput("%w", err)
		}
	}
	if len(options.Scenarios) > 1 || len(options.Configs) > 1 {
		return options, wrongInput("shell takes one scenario and one config, and %q and %q match more", scenario, o.config)
	}
	options.Repeat, options.Jobs, options.Seed = 1, 1, o.seed
	return options, addImages(ctx, &options)
}
