//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() {
	inside["mount"] = mountInside
	inside["fail"] = func(json.RawMessage) (any, error) { return nil, errors.New("no such luck") }
	inside["panic"] = func(json.RawMessage) (any, error) { panic("out of cheese") }
	inside["wait"] = func(json.RawMessage) (any, error) { select {} }
}

// requireLab skips a test that needs labs where none can be made, but fails it if SIMRUN_REQUIRE_LAB is set:
// a machine that should test all must not pass by skipping.
func requireLab(t *testing.T) {
	t.Helper()
	err := Check(t.Context())
	switch {
	case err == nil:
	case os.Getenv("SIMRUN_REQUIRE_LAB") != "":
		t.Fatalf("no lab can be made here, and SIMRUN_REQUIRE_LAB is set: %v", err)
	default:
		t.Skipf("SKIPPED, NOT TESTED: no lab can be made on this machine: %v", err)
	}
}

// startInside starts a lab process that runs a function of inside.
func startInside(t *testing.T, ctx context.Context, name string) *Process {
	t.Helper()
	p, err := Start(ctx, map[string]any{"Name": name}, Descriptors{})
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

func TestProcessSaysHowItFailed(t *testing.T) {
	requireLab(t)
	for name, complaint := range map[string]string{
		"fail":  "exit status 1: no such luck",
		"panic": "exit status 2: panic: out of cheese",
	} {
		p := startInside(t, t.Context(), name)
		_, err := p.Wait()
		assert.ErrorContains(t, err, complaint)
		_, again := p.Wait()
		assert.Equal(t, err, again)
		exit, err := p.WaitExit()
		assert.NoError(t, err)
		assert.Positive(t, exit)
	}
}

func TestProcessEndsWhenItIsTold(t *testing.T) {
	requireLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := startInside(t, ctx, "wait")
	cancel()
	_, err := p.Wait()
	assert.ErrorContains(t, err, "signal: killed")
	p.Kill() // of an ended process does nothing

	p = startInside(t, t.Context(), "wait")
	p.Kill()
	_, err = p.Wait()
	assert.ErrorContains(t, err, "signal: killed")
}

// machine is what a program sees of a machine's name services and processes.
type machine struct {
	ResolvConf, Hosts, NSSwitch string
	Run                         []string // names in /run
	ReadHosts                   string   // /etc/hosts as another program sees it
}

func look() (m machine, err error) {
	for name, to := range map[string]*string{"/etc/resolv.conf": &m.ResolvConf, "/etc/hosts": &m.Hosts, "/etc/nsswitch.conf": &m.NSSwitch} {
		b, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return m, err
		}
		*to = string(b)
	}
	entries, err := os.ReadDir("/run")
	if err != nil {
		return m, err
	}
	for _, e := range entries {
		m.Run = append(m.Run, e.Name())
	}
	out, err := exec.Command("cat", "/etc/hosts").Output()
	m.ReadHosts = string(out)
	return m, err
}

func mountInside(json.RawMessage) (any, error) {
	if err := Mount(Files{ResolvConf: "nameserver 192.0.2.53\n", Hosts: "127.0.0.1 lab\n"}); err != nil {
		return nil, err
	}
	return look()
}

// TestMount checks that the lab has files of its own, and this machine keeps its.
func TestMount(t *testing.T) {
	requireLab(t)
	before, err := look()
	require.NoError(t, err)
	var lab machine
	runInside(t, "mount", nil, &lab)
	assert.Equal(t, "nameserver 192.0.2.53\n", lab.ResolvConf)
	assert.Equal(t, "127.0.0.1 lab\n", lab.Hosts)
	assert.Equal(t, lab.Hosts, lab.ReadHosts)
	if before.NSSwitch != "" {
		assert.Equal(t, nsswitch, lab.NSSwitch)
	}
	resolv, err := filepath.EvalSymlinks("/etc/resolv.conf") // it may lie in /run
	require.NoError(t, err)
	assert.Contains(t, lab.Run, "simrun")
	for _, name := range lab.Run {
		assert.True(t, name == "simrun" || strings.HasPrefix(resolv, "/run/"+name+"/"), "/run/%s", name)
	}
	after, err := look()
	require.NoError(t, err)
	assert.Equal(t, before.ResolvConf, after.ResolvConf)
	assert.Equal(t, before.Hosts, after.Hosts)
	assert.Equal(t, before.NSSwitch, after.NSSwitch)
	assert.NotContains(t, after.Run, "simrun")
}

func TestCoverNeedsResolvConf(t *testing.T) {
	assert.ErrorContains(t, cover("", ""), "/etc/resolv.conf does not exist")
	assert.NoError(t, cover("/nonexistent/hosts", "content"), "other files may be absent")
}

func TestEnds(t *testing.T) {
	text := "0123456789"
	for size, want := range map[int]string{10: text, 5: text, 4: "0123\n[...]\n6789", 1: "0\n[...]\n9"} {
		for step := 1; step <= len(text); step++ {
			e := Ends{Size: size}
			for i := 0; i < len(text); i += step {
				fmt.Fprint(&e, text[i:min(i+step, len(text))])
			}
			assert.Equal(t, want, e.String(), "size %d, written by %d", size, step)
		}
	}
	assert.Empty(t, new(Ends).String())
}

func TestSomethingThatIsNoProcessOfALabGoesOn(t *testing.T) {
	require.False(t, strings.HasPrefix(os.Args[0], reexecName))
	Reexec(func(*Control) error { panic("called") })
}

// TestCheckClock lets another program sleep in a lab whose clock jumps.
func TestCheckClock(t *testing.T) {
	requireLab(t)
	require.NoError(t, CheckClock(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, CheckClock(ctx))
}
