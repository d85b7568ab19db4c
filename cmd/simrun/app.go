package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/reports"
	"github.com/simrun/simrun/scenarios"
)

// An app is simrun with all that it takes from its process.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
}

// The exit statuses.
const (
	statusOK          = 0
	statusBroken      = 1   // an expectation is broken
	statusInput       = 2   // flags, arguments or files are wrong
	statusHarness     = 3   // simrun failed, in a cell or altogether
	statusInterrupted = 130 // 128 + SIGINT, as shells have it; also after SIGTERM
)

// A statusError ends simrun with a status.
type statusError struct {
	status int
	err    error  // nil: all has been said already
	hint   string // what the user can do about it; may be empty
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

// wrongInput makes an error that says that the user's input is wrong.
func wrongInput(format string, args ...any) error {
	return &statusError{status: statusInput, err: fmt.Errorf(format, args...)}
}

// main runs simrun with arguments, and returns the exit status.
func (a *app) main(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return statusOK
	}
	e := blame(err)
	if e.err != nil {
		fmt.Fprintf(a.err, "simrun: %s\n", complaint(err))
	}
	if e.hint != "" {
		fmt.Fprintf(a.err, "hint: %s\n", reports.CleanLines(e.hint))
	}
	return e.status
}

// complaint is the text of an error without credentials and without what steers a terminal. What it quotes cannot
// pretend to be a line of simrun's own.
func complaint(err error) string {
	text := reports.CleanLines(scenarios.Redact(err.Error()))
	return strings.NewReplacer("\nsimrun: ", "\n  simrun: ", "\nhint: ", "\n  hint: ").Replace(text)
}

// blame gives an error the exit status that says whose it is. One of unknown kind is simrun's own: a user
// must not search for it in the input.
func blame(err error) *statusError {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e
	}
	if _, ok := errors.AsType[*harness.InputError](err); ok {
		return &statusError{status: statusInput, err: err}
	}
	return &statusError{status: statusHarness, err: err}
}

const rootLong = `simrun answers one question: which proxy settings keep "go mod tidy" working,
safe and fast when the network misbehaves? It runs the real go command inside a
small simulated internet that fails in declared ways, once for every scenario
and config, and reports what each config did.

"simrun PATH..." is short for "simrun run PATH...".

Exit status:
  0    all is as the scenarios expect
  1    an expectation is broken
  2    the input is wrong: flags, arguments or files
  3    simrun itself failed, in a cell or altogether
  130  interrupted; the results so far are kept`

// helpWidth is the columns that the help of a flag is wrapped to.
const helpWidth = 80

func (a *app) rootCommand() *cobra.Command {
	run := a.runCommand()
	root := &cobra.Command{
		Use:           "simrun PATH...",
		Short:         "Find out which proxy settings keep go mod tidy working when the network misbehaves",
		Long:          rootLong,
		Example:       run.Example,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	options := runOptions{}
	options.bind(root)
	a.completeRun(root, &options)
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if err := somePaths(cmd, args); err != nil {
			return err
		}
		if !isPath(args[0]) {
			return unknownCommand(root, args[0])
		}
		return a.run(cmd.Context(), &options, args)
	}
	wrapped := strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", fmt.Sprintf(".FlagUsagesWrapped %d ", helpWidth))
	root.SetUsageTemplate(wrapped)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand(root))
	root.AddCommand(run, a.validateCommand(), a.doctorCommand(), a.shellCommand(), a.explainCommand(), a.compareCommand(),
		a.trendCommand(), a.reportCommand(), a.mergeCommand(), a.imageCommand(), a.containedCommand(), a.versionCommand())
	return root
}

// isPath tells a path, for which the word run may be left out, from a mistyped command.
func isPath(arg string) bool {
	if strings.ContainsAny(arg, "./\\") {
		return true
	}
	_, err := os.Lstat(arg)
	return err == nil
}

func unknownCommand(root *cobra.Command, name string) error {
	var known []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	return &statusError{
		status: statusInput,
		err:    fmt.Errorf("no command and no file is called %q%s", name, suggest(name, known)),
		hint:   "simrun --help lists the commands",
	}
}

// suggest returns the end of a message about a word that is not one of those known.
func suggest(word string, known []string) string {
	near, ok := scenarios.Nearest(word, known)
	if !ok {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", reports.Clean(near))
}

// flagError names the nearest flag where there is none of the name given.
func flagError(cmd *cobra.Command, err error) error {
	var missing *pflag.NotExistError
	if !errors.As(err, &missing) || missing.GetSpecifiedShortnames() != "" {
		return &statusError{status: statusInput, err: err, hint: cmd.CommandPath() + " --help lists the flags"}
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
	name := "--" + missing.GetSpecifiedName()
	return &statusError{
		status: statusInput,
		err:    fmt.Errorf("unknown flag %s%s", name, suggest(name, known)),
		hint:   cmd.CommandPath() + " --help lists the flags",
	}
}

// helpCommand is cobra's, but it fails for words that it does not know.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || cmd == root && len(rest) > 0 {
				return unknownCommand(root, args[0])
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongInput("%s takes no arguments, and got %q", cmd.CommandPath(), args)
	}
	return nil
}

// somePaths checks that there are arguments.
func somePaths(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return nil
	}
	return &statusError{
		status: statusInput,
		err:    errors.New("no files given"),
		hint:   "name a file or a folder, as in: " + cmd.CommandPath() + " scenarios/",
	}
}
