package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// input is the flags that say what scenarios are run with.
type input struct {
	configs []string // files and folders
	project string   // name or folder
	vars    map[string]string
	gos     []string // paths or releases
}

func (in *input) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&in.configs, "configs", nil, "read configs from `PATH`, a file or folder (repeatable)")
	f.StringVar(&in.project, "project", "", "run on the project `NAME`, or in a folder with your own go.mod, written with a slash (default: the first one)")
	f.StringToStringVar(&in.vars, "var", nil, "set a variable of scenario files: `NAME=VALUE` (repeatable)")
	f.Lookup("var").DefValue = "" // pflag would show the empty map as a default
	f.StringSliceVar(&in.gos, "go", nil, "test the go command `GO`, a path or a release such as 1.25.5, which is fetched if need be (repeatable; default: the one on PATH)")
}

// findGo looks at the first go command under test.
func (in *input) findGo(ctx context.Context) (*harness.Go, error) {
	name := ""
	if len(in.gos) > 0 {
		name = in.gos[0]
	}
	g, err := harness.FindGo(ctx, name)
	if err != nil {
		return nil, &statusError{status: statusInput, err: err, hint: "simrun doctor says what is missing"}
	}
	return g, nil
}

// oneGo refuses several go commands, of which a command would look at one only.
func (in *input) oneGo(command string) error {
	if len(in.gos) > 1 {
		return wrongInput("simrun %s looks at one go command, and --go names %d: %s", command, len(in.gos), strings.Join(in.gos, ", "))
	}
	return nil
}

// findGos looks at all go commands under test. Scenarios are read with the defaults of one of them, so they
// must not differ.
func (in *input) findGos(ctx context.Context) ([]*harness.Go, error) {
	first, err := in.findGo(ctx)
	if err != nil {
		return nil, err
	}
	all := []*harness.Go{first}
	for _, name := range in.gos[min(1, len(in.gos)):] {
		g, err := harness.FindGo(ctx, name)
		if err != nil {
			return nil, wrongInput("%w", err)
		}
		if !maps.Equal(g.Vars(), first.Vars()) {
			return nil, wrongInput("--go: the defaults of %s and %s differ (GOPROXY or GOSUMDB in go.env): run them apart", first.Path, g.Path)
		}
		if i := slices.IndexFunc(all, func(o *harness.Go) bool { return o.Version == g.Version }); i >= 0 {
			return nil, wrongInput("--go: %s and %s are both %s", all[i].Path, g.Path, g.Version)
		}
		all = append(all, g)
	}
	return all, nil
}

// loadOptions returns how files are read: with the hosts of the go command's own defaults as
// variables, unless the user has set them. Without a go command there are only the user's.
func (in *input) loadOptions(g *harness.Go) scenarios.Options {
	vars := make(map[string]string)
	if g != nil {
		maps.Copy(vars, g.Vars())
	}
	maps.Copy(vars, in.vars)
	return scenarios.Options{Vars: vars}
}

// load reads files and folders and those of --configs. What they lack is built in: see scenarios.Load.
func (in *input) load(paths []string, opts scenarios.Options) (*scenarios.Library, error) {
	if slices.Contains(paths, "") || slices.Contains(in.configs, "") {
		return nil, wrongInput("a path is empty, and should be that of a file or a folder")
	}
	lib, err := scenarios.Load(slices.Concat(paths, in.configs), opts)
	if err != nil {
		return nil, wrongInput("%w", err)
	}
	return lib, nil
}

// harnessOptions returns what all that runs cells needs: the go command, the library and the project.
func (in *input) harnessOptions(ctx context.Context, at site, paths []string) (harness.Options, *scenarios.Library, error) {
	var none harness.Options
	gos, err := at.gos(ctx, in.gos)
	if err != nil {
		return none, nil, err
	}
	load := in.loadOptions(gos[0])
	lib, err := in.load(paths, load)
	if err != nil {
		return none, nil, err
	}
	project, err := in.selectProject(lib)
	if err != nil {
		return none, nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return none, nil, fmt.Errorf("find a folder for caches: %w", err)
	}
	return harness.Options{
		Projects: []*scenarios.Project{project},
		Go:       gos,
		Vars:     load.Vars,
		CacheDir: filepath.Join(cache, "simrun"),
		Version:  version(),
		Input:    record.Input{Paths: paths, Configs: in.configs, Project: in.project, Vars: in.vars, Go: strings.Join(in.gos, ",")},
	}, lib, nil
}

// selectProject returns the project that the user named: one of the library, or a folder.
// Without a name it is the first one of the library.
func (in *input) selectProject(lib *scenarios.Library) (*scenarios.Project, error) {
	if strings.ContainsAny(in.project, `./\`) {
		return ownProject(in.project)
	}
	var patterns []string
	if in.project != "" {
		patterns = append(patterns, in.project)
	}
	projects, err := lib.ProjectsNamed(patterns...)
	if err != nil {
		return nil, &statusError{status: statusInput, err: err, hint: "a folder is written with a slash, as in --project ./myservice"}
	}
	if len(projects) == 0 {
		return nil, wrongInput("there is no project; name a folder with a go.mod with --project")
	}
	return projects[0], nil
}

// ownProject makes a project of a folder that holds a go.mod.
func ownProject(dir string) (*scenarios.Project, error) {
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return nil, wrongInput("project %q is not a module: %w", dir, err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, wrongInput("project: %w", err)
	}
	return &scenarios.Project{Name: filepath.Base(dir), Dir: dir, Run: []string{"go", "mod", "tidy"}}, nil
}
