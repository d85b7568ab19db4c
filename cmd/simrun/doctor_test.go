package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/harness/container"
)

// wellMachine is a machine on which everything works; tests spoil parts of it.
func wellMachine() *machine {
	return &machine{
		files:    files("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   2097152 kB\n"),
		openTUN:  func() error { return nil },
		makeLab:  func(context.Context) error { return nil },
		jump:     func(context.Context) error { return nil },
		pressure: func() error { return nil },
		limits:   func() error { return nil },
		findGo:   func(context.Context) (string, error) { return "go1.26.8 at /usr/bin/go", nil },
		engine:   func(context.Context) (string, error) { return "Docker 28.0.0 with image simrun:local", nil },
		output:   func(...string) (string, error) { return "git version 2.39.5", nil },
		lookPath: func(string) (string, error) { return "", exec.ErrNotFound },
	}
}

// files makes a file system of names and contents in turn.
func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func TestDoctorOnAWellMachine(t *testing.T) {
	for _, f := range wellMachine().examine(t.Context()) {
		if f.what == "CPUs" { // of the machine that the test runs on
			continue
		}
		assert.Equal(t, good, f.state, "%+v", f)
		assert.Empty(t, f.mend)
	}
}

func noEngine(m *machine) {
	m.engine = func(context.Context) (string, error) {
		return "", &container.MissingError{Err: errors.New("no engine"), Remedy: "start Docker"}
	}
}

func TestDoctorSaysWhatMends(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name  string
		spoil func(*machine)
		want  finding
	}{
		{"no go", func(m *machine) { m.findGo = func(context.Context) (string, error) { return "", broken } },
			finding{"go", failed, "broken", "install Go from https://go.dev/dl/, or name one with --go PATH"}},
		{"no account of pressure", func(m *machine) { m.pressure = func() error { return broken } },
			finding{"pressure", warning, "broken", ""}},
		{"no limit of processes", func(m *machine) { m.limits = func() error { return broken } },
			finding{"limits", warning, "broken", ""}},
		{"no virtual clock", func(m *machine) { m.jump = func(context.Context) error { return broken } },
			finding{"virtual clock", warning, "cannot be had, so cells live by the real one: broken", ""}},
		{"no engine", noEngine, finding{"containers", good, "not needed, and cannot be had: no engine", ""}},
		{"no namespaces", func(m *machine) { m.makeLab = func(context.Context) error { return broken } },
			finding{"lab", warning, "broken; simrun run takes a container", ""}},
		{"no git", func(m *machine) {
			m.output = func(...string) (string, error) { return "", broken }
			m.lookPath = func(name string) (string, error) {
				if name == "apk" {
					return "/sbin/apk", nil
				}
				return "", exec.ErrNotFound
			}
		}, finding{"git", warning, "not found, so configs that fetch directly cannot succeed: broken", "sudo apk add git"}},
		{"no module tun", func(m *machine) { m.openTUN = func() error { return fs.ErrNotExist } },
			finding{"/dev/net/tun", warning, "file does not exist", "sudo modprobe tun"}},
		{"no tun in a container", func(m *machine) {
			m.openTUN = func() error { return fs.ErrNotExist }
			m.files = files(".dockerenv", "")
		}, finding{"/dev/net/tun", warning, "file does not exist", "start the container with --device /dev/net/tun"}},
		{"tun forbidden", func(m *machine) { m.openTUN = func() error { return fs.ErrPermission } },
			finding{"/dev/net/tun", warning, "permission denied", "sudo chmod 0666 /dev/net/tun"}},
		{"no user namespaces", func(m *machine) { m.files = files("proc/sys/user/max_user_namespaces", "0\n") },
			finding{"user namespaces", warning, "user.max_user_namespaces is 0: no user namespaces at all", "sudo sysctl -w user.max_user_namespaces=15000"}},
		{"only root's", func(m *machine) { m.files = files("proc/sys/kernel/unprivileged_userns_clone", "0\n") },
			finding{"user namespaces", warning, "kernel.unprivileged_userns_clone is 0: user namespaces only for root", "sudo sysctl -w kernel.unprivileged_userns_clone=1"}},
		{"apparmor", func(m *machine) { m.files = files("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n") },
			finding{"user namespaces", warning, "kernel.apparmor_restrict_unprivileged_userns is 1: user namespaces without rights, but for root", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"}},
		{"apparmor and root", func(m *machine) {
			m.root, m.files = true, files("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")
		}, finding{"user namespaces", good, "kernel.apparmor_restrict_unprivileged_userns is 1", ""}},
		{"odd setting", func(m *machine) { m.files = files("proc/sys/user/max_user_namespaces", "many\n") },
			finding{"user namespaces", warning, `user.max_user_namespaces is "many", which is no number`, ""}},
		{"no lab of any kind", func(m *machine) {
			noEngine(m)
			m.makeLab = func(context.Context) error { return broken }
		}, finding{"lab", failed, "broken", "what the lines above say, or what containers need, below"}},
		{"what containers need", func(m *machine) {
			noEngine(m)
			m.makeLab = func(context.Context) error { return broken }
		}, finding{"containers", warning, "no engine", "start Docker"}},
		{"little memory", func(m *machine) { m.files = files("proc/meminfo", "MemAvailable: 2048 kB\n") },
			finding{"memory", warning, "2 MiB available, which is little", "run fewer cells at once, with --jobs 1"}},
		{"odd memory", func(m *machine) { m.files = files("proc/meminfo", "\n") },
			finding{"memory", warning, "/proc/meminfo does not say what is available", ""}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := wellMachine()
			test.spoil(m)
			assert.Contains(t, m.examine(t.Context()), test.want)
		})
	}
	assert.Equal(t, warning, checkCPUs(1).state)
	assert.Equal(t, good, checkCPUs(2).state)
}

func TestPrintFindings(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out}
	require.NoError(t, a.printFindings([]finding{{"git", warning, "not found", "sudo apk add git"}}))
	assert.Equal(t, "warn  git               not found\n                          mend: sudo apk add git\n", out.String())

	out.Reset()
	err := a.printFindings([]finding{{"lab", failed, "lab process:\n\texit \x1b[2J", ""}})
	assert.Equal(t, statusHarness, statusIn(err))
	assert.Equal(t, "FAIL  lab               lab process: exit \\x1b[2J\n", out.String())
}
