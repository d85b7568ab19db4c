//go:build linux

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/record"
)

// requireLab skips a test that needs labs where none can be made, but fails it if SIMRUN_REQUIRE_LAB is set:
// a machine that should test all must not pass by skipping.
func requireLab(t *testing.T) {
	t.Helper()
	err := lab.Check(t.Context())
	switch {
	case err == nil:
	case os.Getenv("SIMRUN_REQUIRE_LAB") != "":
		t.Fatalf("no lab can be made here, and SIMRUN_REQUIRE_LAB is set: %v", err)
	default:
		t.Skipf("SKIPPED, NOT TESTED: no lab can be made on this machine: %v", err)
	}
}

// attemptsVar is the environment variable with the attempts that TestAttempts makes, as JSON.
const attemptsVar = "SIMRUN_TEST_ATTEMPTS"

// An attempt is one try to reach something from the client host.
type attempt struct{ Network, Addr string } // as net.Dial has them; the network "name" looks Addr up

func (a attempt) String() string { return a.Network + " " + a.Addr }

// make makes the attempt and returns how it failed.
func (a attempt) make() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if a.Network == "name" {
		_, err := net.DefaultResolver.LookupHost(ctx, a.Addr)
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, a.Network, a.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("ping")); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = conn.Read(make([]byte, 4)) // of UDP only the answer shows that it arrived
	return err
}

// TestAttempts is no test but the program that TestHermetic runs, inside a lab and outside.
func TestAttempts(t *testing.T) {
	text := os.Getenv(attemptsVar)
	if text == "" {
		t.Skip("this is the program of TestHermetic")
	}
	var attempts []attempt
	require.NoError(t, json.Unmarshal([]byte(text), &attempts))
	for _, a := range attempts {
		fmt.Printf("%s: %v\n", a, a.make())
	}
}

// resultOf returns what TestAttempts printed of an attempt: "<nil>" if it succeeded.
func resultOf(t *testing.T, output string, a attempt) string {
	t.Helper()
	for line := range strings.Lines(output) {
		if result, found := strings.CutPrefix(line, a.String()+": "); found {
			return strings.TrimSpace(result)
		}
	}
	require.FailNow(t, "no result", "%v in %q", a, output)
	return ""
}

// TestHermetic tries to leave a lab in many ways. The same program succeeds outside, where there is
// something to be reached on this machine, so that each attempt is one that could succeed.
func TestHermetic(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const public = "203.0.113.1" // of TEST-NET-3, RFC 5737: nobody's
	doors := hostDoors(t)
	stray := attempt{"tcp", public + ":80"}
	unknown := attempt{"name", "undeclared.test"}
	known := attempt{"name", "proxy.test"}

	program, err := os.Executable()
	require.NoError(t, err)
	command := []string{program, "-test.run=^TestAttempts$"}
	text, err := json.Marshal(append(doors, stray, unknown, known))
	require.NoError(t, err)

	outside := exec.Command(command[0], command[1:]...)
	attempts, err := json.Marshal(doors)
	require.NoError(t, err)
	outside.Env = append(os.Environ(), attemptsVar+"="+string(attempts))
	output, err := outside.CombinedOutput()
	require.NoError(t, err, "%s", output)
	for _, a := range doors {
		assert.Equal(t, "<nil>", resultOf(t, string(output), a), "%s, outside", a)
	}

	o := nearOptions(t, small)
	o.Projects[0].Run = command
	o.Configs[0].Env = map[string]string{attemptsVar: string(text)}
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	c := runOne(t, p)
	require.Equal(t, record.OK, c.Outcome, "%s%s", c.Note, c.Stderr)
	for _, a := range doors {
		assert.NotEqual(t, "<nil>", resultOf(t, c.Stderr, a), "%s, in the lab", a)
	}
	assert.Contains(t, resultOf(t, c.Stderr, stray), "network is unreachable")
	assert.Contains(t, c.Strays, public)
	assert.Contains(t, resultOf(t, c.Stderr, unknown), "no such host")
	assert.Equal(t, "nxdomain", answerTo(c, "undeclared.test"))
	assert.Equal(t, "<nil>", resultOf(t, c.Stderr, known), "the name server works")
	assert.Equal(t, "noerror", answerTo(c, "proxy.test"))
}

// TestTelemetryIsOff: in a home that is new, the go command would count what it does and start another one to sum up.
func TestTelemetryIsOff(t *testing.T) {
	requireLab(t)
	t.Parallel()
	o := nearOptions(t, small)
	o.Projects[0].Run = []string{"sh", "-c", "go mod tidy && go env GOTELEMETRY && ls -A $(go env GOTELEMETRYDIR)"}
	p, err := NewPlan(t.Context(), o)
	require.NoError(t, err)
	c := runOne(t, p)
	require.Equal(t, record.OK, c.Outcome, "%s%s", c.Note, c.Stderr)
	assert.True(t, strings.HasSuffix(c.Stderr, "off\nmode\n"), c.Stderr)
}

// answerTo returns the answer to the cell's first query for a name.
func answerTo(c *record.Cell, name string) string {
	for _, q := range c.Queries {
		if q.Name == name {
			return q.Answer
		}
	}
	return "never asked"
}

// hostDoors opens what programs of this machine may listen on, and returns how to reach it.
func hostDoors(t *testing.T) (doors []attempt) {
	t.Helper()
	for _, ip := range hostAddrs(t) {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		require.NoError(t, err)
		pong(t, l)
		doors = append(doors, attempt{"tcp", l.Addr().String()})
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { udp.Close() })
	go pongPackets(udp)
	doors = append(doors, attempt{"udp", udp.LocalAddr().String()})

	sockets := []string{fmt.Sprintf("@simrun-test-%d", os.Getpid())}
	if dir, err := os.MkdirTemp("/run", "simrun-test-"); err == nil { // as of nscd or systemd-resolved
		t.Cleanup(func() { os.RemoveAll(dir) })
		sockets = append(sockets, filepath.Join(dir, "socket"))
	} else {
		t.Logf("NOT TESTED: a socket in /run: %v", err)
	}
	for _, name := range sockets {
		l, err := net.Listen("unix", name)
		require.NoError(t, err)
		pong(t, l)
		doors = append(doors, attempt{"unix", name})
	}
	return doors
}

// hostAddrs returns this machine's own addresses, but for those that hold on one link only.
func hostAddrs(t *testing.T) (ips []string) {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addrs {
		if ip := a.(*net.IPNet).IP; !ip.IsLinkLocalUnicast() {
			ips = append(ips, ip.String())
		}
	}
	return ips
}

// pong answers each connection until the test ends.
func pong(t *testing.T, l net.Listener) {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := conn.Read(make([]byte, 4)); err == nil {
					_, _ = conn.Write([]byte("pong")) // the other end reports what is missing
				}
			}()
		}
	}()
}

func pongPackets(c net.PacketConn) {
	b := make([]byte, 4)
	for {
		_, from, err := c.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = c.WriteTo([]byte("pong"), from) // the other end reports what is missing
		}
	}
}
