package fakeupstream

import (
	"cmp"
	"errors"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/simrun/simrun/scenarios"
)

// writeProject writes the module that needs all others, in the state that spec says.
func writeProject(dir string, spec scenarios.Modules, sources []source, modules []Module) error {
	code, err := projectCode(sources)
	if err != nil {
		return err
	}
	files := map[string][]byte{"go.mod": projectGoMod(spec, sources), "main.go": code}
	if tidied(spec) {
		files["go.sum"] = goSum(sources, modules, versionName(spec.Versions-1))
	}
	if spec.State == scenarios.ProjectVendored {
		if err := vendor(files, spec, sources); err != nil {
			return err
		}
	}
	for name, content := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, content, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

func tidied(spec scenarios.Modules) bool {
	return spec.State == scenarios.ProjectTidy || spec.State == scenarios.ProjectVendored
}

// projectGoMod requires the heads of the chains; "go mod tidy" adds the others.
func projectGoMod(spec scenarios.Modules, sources []source) []byte {
	version := versionName(spec.Versions - 1)
	if tidied(spec) {
		sources = byPath(sources)
	}
	var direct, indirect []byte
	for _, s := range sources {
		switch {
		case s.head:
			direct = fmt.Appendf(direct, "\t%s %s\n", s.path, version)
		case tidied(spec):
			indirect = fmt.Appendf(indirect, "\t%s %s // indirect\n", s.path, version)
		}
	}
	text := fmt.Appendf(nil, "module example.test/app\n\ngo %s\n\nrequire (\n%s)\n", cmp.Or(spec.Toolchain, goVersion), direct)
	if len(indirect) > 0 {
		text = fmt.Appendf(text, "\nrequire (\n%s)\n", indirect)
	}
	return text
}

func byPath(sources []source) []source {
	return slices.SortedFunc(slices.Values(sources), func(a, b source) int { return strings.Compare(a.path, b.path) })
}

func projectCode(sources []source) ([]byte, error) {
	var imports, calls []byte
	for _, s := range sources {
		if s.head {
			imports = fmt.Appendf(imports, "\t%q\n", s.path)
			calls = fmt.Appendf(calls, "\tprintln(%s.Depth())\n", s.name())
		}
	}
	return format.Source(fmt.Appendf(nil, "package main\n\nimport (\n%s)\n\nfunc main() {\n%s}\n", imports, calls))
}

// goSum returns the go.sum of a project that needs one version of each source.
func goSum(sources []source, modules []Module, version string) []byte {
	needed := map[string]bool{}
	for _, s := range sources {
		needed[s.path] = true
	}
	var text []byte
	for _, m := range modules {
		if needed[m.Path] && m.Version == version {
			text = append(text, goSumLines(m)...)
		}
	}
	return text
}

// vendor adds the folder of "go mod vendor": the packages, and the list of them that the go command compares with
// go.mod, see https://go.dev/ref/mod#vendoring.
func vendor(files map[string][]byte, spec scenarios.Modules, sources []source) error {
	version := versionName(spec.Versions - 1)
	var list []byte
	for _, s := range byPath(sources) {
		code, err := s.code(version)
		if err != nil {
			return err
		}
		list = fmt.Appendf(list, "# %[1]s %[2]s\n## explicit; go %[3]s\n%[1]s\n", s.path, version, goVersion)
		files["vendor/"+s.path+"/"+s.name()+".go"] = code
		files["vendor/"+s.path+"/LICENSE"] = []byte(license)
	}
	files["vendor/modules.txt"] = list
	return nil
}
