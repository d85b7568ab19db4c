package fakeupstream

import (
	"fmt"
	"time"

	"golang.org/x/mod/module"
)

// toolchainModule is the path of the module whose versions are Go's releases, see https://go.dev/doc/toolchain.
const toolchainModule = "golang.org/toolchain"

// toolchainPlatforms are those for which there are generated toolchains.
var toolchainPlatforms = []string{"linux-amd64", "linux-arm64"}

// toolchainGo is the go command of a generated toolchain. It runs, and that is all that it does.
const toolchainGo = `#!/bin/sh
echo "go version go%s (simulated), for: go $*"
`

const simulated = "The go command wants this folder to be there.\n"

// addToolchains adds a Go release to a proxy tree, for each platform, and to the modules.
func addToolchains(tree, release string, modules []Module) ([]Module, error) {
	for _, platform := range toolchainPlatforms {
		m, err := writeRelease(tree, toolchain(release, platform))
		if err != nil {
			return nil, err
		}
		modules = append(modules, m)
	}
	sortModules(modules)
	return modules, nil
}

// toolchain makes the release of a toolchain. The go command makes what is in bin, lib and pkg/tool executable, and
// runs bin/go: Exec in cmd/go/internal/toolchain/select.go.
func toolchain(version, platform string) release {
	return release{
		Version: module.Version{Path: toolchainModule, Version: "v0.0.1-go" + version + "." + platform},
		time:    time.Date(2024, time.January, 1, 12, 0, 0, 0, time.UTC),
		files: []memFile{
			{"LICENSE", []byte(license)},
			{"VERSION", fmt.Appendf(nil, "go%s\n", version)},
			{"bin/go", fmt.Appendf(nil, toolchainGo, version)},
			{"bin/gofmt", fmt.Appendf(nil, toolchainGo, version)},
			{"go.mod", []byte("module " + toolchainModule + "\n")},
			{"lib/README", []byte(simulated)},
			{"pkg/tool/README", []byte(simulated)},
		},
	}
}

// IsToolchain reports whether the module is a Go release.
func (m Module) IsToolchain() bool { return m.Path == toolchainModule }
