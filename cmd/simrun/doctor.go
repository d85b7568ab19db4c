package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/harness/container"
	"github.com/simrun/simrun/reports"
)

// A finding is what a check of simrun doctor found.
type finding struct {
	what  string
	state state
	text  string // what is there, or what is wrong
	mend  string // the command that mends it; empty if there is nothing to mend
}

// A state is how bad a finding is.
type state string

const (
	good    state = "ok"
	warning state = "warn" // simrun works, but not in all ways, or something looks odd that may do no harm
	failed  state = "FAIL" // nothing can be run
)

// A machine is what doctor looks at.
type machine struct {
	files    fs.FS                                 // from the root
	root     bool                                  // this process has user id 0
	openTUN  func() error                          // opens /dev/net/tun for reading and writing
	makeLab  func(context.Context) error           // harness.Check
	jump     func(context.Context) error           // harness.CheckClock
	pressure func() error                          // harness.CheckPressure
	limits   func() error                          // harness.CheckLimits
	findGo   func(context.Context) (string, error) // version and place of the go command
	engine   func(context.Context) (string, error) // name of the container engine, and whether it has the image
	output   func(argv ...string) (string, error)  // first line of what a command prints
	lookPath func(file string) (found string, err error)
}

func (a *app) doctorCommand() *cobra.Command {
	var in input
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out whether this machine can run labs, or what mends it",
		Long: `Find out whether this machine can run labs, one check per line, each failed one
with the command that mends it. The check called "lab" is the proof: it makes a
lab as a run would. The exit status is 3 if nothing can be run.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := in.oneGo("doctor"); err != nil {
				return err
			}
			findings := thisMachine(&in).examine(cmd.Context())
			return a.printFindings(findings)
		},
	}
	cmd.Flags().StringSliceVar(&in.gos, "go", nil, "look at the go command at `PATH` (default: the one on PATH)")
	return cmd
}

// printFindings prints one line for each finding, and fails if one of them did.
func (a *app) printFindings(findings []finding) error {
	status := statusOK
	for _, f := range findings {
		if f.state == failed {
			status = statusHarness
		}
		fmt.Fprintf(a.out, "%-4s  %-16s  %s\n", f.state, f.what, reports.Clean(strings.Join(strings.Fields(f.text), " ")))
		if f.mend != "" {
			fmt.Fprintf(a.out, "%24s  mend: %s\n", "", f.mend)
		}
	}
	if status != statusOK {
		return &statusError{status: status}
	}
	return nil
}

func thisMachine(in *input) *machine {
	return &machine{
		files: os.DirFS("/"),
		root:  os.Geteuid() == 0,
		openTUN: func() error {
			f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
			if err != nil {
				return err
			}
			return f.Close()
		},
		makeLab:  harness.Check,
		jump:     harness.CheckClock,
		pressure: harness.CheckPressure,
		limits:   harness.CheckLimits,
		findGo: func(ctx context.Context) (string, error) {
			g, err := in.findGo(ctx)
			if err != nil {
				return "", err
			}
			return g.Version + " at " + g.Path, nil
		},
		engine:   engineAndDefaultImage,
		output:   firstLine,
		lookPath: exec.LookPath,
	}
}

// firstLine runs a command.
func firstLine(argv ...string) (string, error) {
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	line, _, _ := strings.Cut(string(out), "\n")
	return line, err
}

// examine makes all checks. Whatever else is found, only a missing go command and a lab that cannot be
// made are failures.
func (m *machine) examine(ctx context.Context) []finding {
	findings := []finding{m.checkGo(ctx), m.checkGit(), m.checkTUN()}
	for _, s := range userNamespaceSettings {
		if f, ok := m.checkSetting(s); ok {
			findings = append(findings, f)
		}
	}
	lab := m.checkLab(ctx)
	return append(findings, lab, m.checkEngine(ctx, lab.state == good), m.checkClock(ctx), m.checkPressure(), m.checkLimits(),
		m.checkMemory(), checkCPUs(runtime.NumCPU()))
}

func (m *machine) checkGo(ctx context.Context) finding {
	text, err := m.findGo(ctx)
	if err != nil {
		return finding{"go", failed, err.Error(), "install Go from https://go.dev/dl/, or name one with --go PATH"}
	}
	return finding{"go", good, text, ""}
}

// checkClock looks whether --clock virtual does anything here.
func (m *machine) checkClock(ctx context.Context) finding {
	if err := m.jump(ctx); err != nil {
		return finding{"virtual clock", warning, "cannot be had, so cells live by the real one: " + err.Error(), ""}
	}
	return finding{"virtual clock", good, "a lab's clock jumps over the time in which nothing can happen", ""}
}

// checkLimits looks whether the kernel keeps cells from taking the machine.
func (m *machine) checkLimits() finding {
	if err := m.limits(); err != nil {
		return finding{"limits", warning, err.Error(), ""}
	}
	return finding{"limits", good, "the kernel limits the memory, files and processes of a cell", ""}
}

// checkPressure looks whether cells can tell that they had to wait for the machine.
func (m *machine) checkPressure() finding {
	if err := m.pressure(); err != nil {
		return finding{"pressure", warning, err.Error(), ""}
	}
	return finding{"pressure", good, "cells that have to wait for a CPU or for memory are marked", ""}
}

func (m *machine) checkGit() finding {
	text, err := m.output("git", "version")
	if err != nil {
		return finding{"git", warning, "not found, so configs that fetch directly cannot succeed: " + err.Error(), m.install("git")}
	}
	return finding{"git", good, text, ""}
}

// install returns the command that installs a package here.
func (m *machine) install(name string) string {
	managers := []struct{ program, command string }{
		{"apt-get", "sudo apt-get install "},
		{"dnf", "sudo dnf install "},
		{"apk", "sudo apk add "},
		{"pacman", "sudo pacman -S "},
		{"zypper", "sudo zypper install "},
	}
	for _, p := range managers {
		if _, err := m.lookPath(p.program); err == nil {
			return p.command + name
		}
	}
	return "install the package " + name
}

func (m *machine) checkTUN() finding {
	err := m.openTUN()
	switch {
	case err == nil:
		return finding{"/dev/net/tun", good, "can be opened", ""}
	case errors.Is(err, fs.ErrPermission):
		return finding{"/dev/net/tun", warning, err.Error(), "sudo chmod 0666 /dev/net/tun"}
	case errors.Is(err, fs.ErrNotExist) && m.inContainer():
		return finding{"/dev/net/tun", warning, err.Error(), "start the container with --device /dev/net/tun"}
	}
	return finding{"/dev/net/tun", warning, err.Error(), "sudo modprobe tun"}
}

// inContainer reports whether the files are those of a Docker or Podman container.
func (m *machine) inContainer() bool {
	for _, name := range []string{".dockerenv", "run/.containerenv"} {
		if _, err := fs.Stat(m.files, name); err == nil {
			return true
		}
	}
	return false
}

// A setting is a kernel parameter that can forbid user namespaces to those who are not root.
type setting struct {
	name   string // as sysctl has it
	harms  func(value int) bool
	mend   int // a value that does no harm
	effect string
}

var userNamespaceSettings = []setting{
	{"user.max_user_namespaces", func(v int) bool { return v == 0 }, 15000, "no user namespaces at all"},
	// Of Debian and kernels made from its patches.
	{"kernel.unprivileged_userns_clone", func(v int) bool { return v == 0 }, 1, "user namespaces only for root"},
	// Of Ubuntu 23.10 and later, https://ubuntu.com/blog/ubuntu-23-10-restricted-unprivileged-user-namespaces.
	{"kernel.apparmor_restrict_unprivileged_userns", func(v int) bool { return v != 0 }, 0, "user namespaces without rights, but for root"},
}

// checkSetting returns false for a setting that this kernel does not have.
func (m *machine) checkSetting(s setting) (finding, bool) {
	data, err := fs.ReadFile(m.files, "proc/sys/"+strings.ReplaceAll(s.name, ".", "/"))
	if errors.Is(err, fs.ErrNotExist) {
		return finding{}, false
	}
	what := "user namespaces"
	if err != nil {
		return finding{what, warning, err.Error(), ""}, true
	}
	text := strings.TrimSpace(string(data))
	value, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return finding{what, warning, fmt.Sprintf("%s is %q, which is no number", s.name, text), ""}, true
	case s.harms(value) && (!m.root || s.mend > 1):
		return finding{what, warning, fmt.Sprintf("%s is %d: %s", s.name, value, s.effect), fmt.Sprintf("sudo sysctl -w %s=%d", s.name, s.mend)}, true
	}
	return finding{what, good, fmt.Sprintf("%s is %d", s.name, value), ""}, true
}

// checkLab finds out whether there are labs of any kind: without namespaces, a container engine will do.
func (m *machine) checkLab(ctx context.Context) finding {
	err := m.makeLab(ctx)
	if err == nil {
		return finding{"lab", good, "a lab can be made", ""}
	}
	if _, other := m.engine(ctx); other == nil {
		return finding{"lab", warning, err.Error() + "; simrun run takes a container", ""}
	}
	return finding{"lab", failed, err.Error(), "what the lines above say, or what containers need, below"}
}

// checkEngine looks for what --isolation container needs. Where there are labs without, that is not missed.
func (m *machine) checkEngine(ctx context.Context, labs bool) finding {
	text, err := m.engine(ctx)
	switch {
	case err == nil:
		return finding{"containers", good, text, ""}
	case labs:
		return finding{"containers", good, "not needed, and cannot be had: " + err.Error(), ""}
	}
	return finding{"containers", warning, err.Error(), blame(missing(err)).hint}
}

// engineAndDefaultImage looks for a container engine and the image that simrun image makes.
func engineAndDefaultImage(ctx context.Context) (string, error) {
	e, err := container.Connect(ctx)
	if err != nil {
		return "", err
	}
	_, err = findImage(ctx, e, defaultImage, false)
	return e.Name + " with image " + defaultImage, errors.Join(err, e.Close())
}

// memoryOfRun is what a run with few jobs needs, with some to spare.
const memoryOfRun = 512 << 20

func (m *machine) checkMemory() finding {
	free, err := m.availableMemory()
	if err != nil {
		return finding{"memory", warning, err.Error(), ""}
	}
	text := fmt.Sprintf("%d MiB available", free>>20)
	if free < memoryOfRun {
		return finding{"memory", warning, text + ", which is little", "run fewer cells at once, with --jobs 1"}
	}
	return finding{"memory", good, text, ""}
}

// availableMemory reads MemAvailable of /proc/meminfo, in bytes, see proc_meminfo(5).
func (m *machine) availableMemory() (int64, error) {
	file, err := m.files.Open("proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var kib int64
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, cmp.Or(lines.Err(), errors.New("/proc/meminfo does not say what is available"))
}

func checkCPUs(n int) finding {
	if n < 2 {
		return finding{"CPUs", warning, "1, so cells disturb each other's times", "compare seconds only between runs with --jobs 1"}
	}
	return finding{"CPUs", good, strconv.Itoa(n), ""}
}
