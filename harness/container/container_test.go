package container

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connect returns the engine of the machine that runs the tests.
func connect(t *testing.T) *Engine {
	t.Helper()
	e, err := Connect(t.Context())
	if err != nil {
		if os.Getenv("SIMRUN_REQUIRE_ENGINE") != "" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: make test-containers starts an engine: ", err)
	}
	t.Cleanup(func() { assert.NoError(t, e.Close()) })
	return e
}

// bareImage makes an image without programs.
func bareImage(t *testing.T, e *Engine) *Image {
	t.Helper()
	var root bytes.Buffer
	w := tar.NewWriter(&root)
	for _, dir := range []string{"dev/", "etc/", "proc/", "run/", "sys/", "tmp/"} {
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o1777}))
	}
	require.NoError(t, w.Close())
	require.NoError(t, e.Import(t.Context(), "simrun-bare:test", &root, `ENTRYPOINT ["/serve"]`, "ENV IMAGE=bare", "WORKDIR /tmp"))
	image, err := e.Image(t.Context(), "simrun-bare:test")
	require.NoError(t, err)
	return image
}

// probe is the program of testdata/probe, which is built once.
var probe = sync.OnceValues(func() (string, error) {
	file := probeFile()
	cmd := exec.Command("go", "build", "-o", file, "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the probe: %w\n%s", err, out)
	}
	return file, nil
})

func probeFile() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("simrun-probe-%d", os.Getpid()))
}

func TestMain(m *testing.M) {
	status := m.Run()
	os.Remove(probeFile())
	os.Exit(status)
}

// count returns how many containers of a run there are, whatever they do.
func count(t *testing.T, e *Engine, run string) int {
	found, err := e.api.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", Label+"="+run)})
	require.NoError(t, err)
	return len(found.Items)
}

func probeJob(t *testing.T, e *Engine, run string) Job {
	program, err := probe()
	require.NoError(t, err)
	return Job{Run: run, Image: bareImage(t, e), Program: program, Args: []string{"probe", "an argument"}, Env: []string{"A=b"}, Stderr: io.Discard}
}

// bring copies the file into a container for which its probe waits.
func bring(t *testing.T, c *Container) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("brought along"), 0o600))
	require.NoError(t, c.Copy(t.Context(), func(f *Files) error { return f.Add("work/brought/file", file) }))
	_, err := io.WriteString(c.Stdin, "go\n")
	require.NoError(t, err)
}

func TestStart(t *testing.T) {
	e := connect(t)
	var stderr bytes.Buffer
	job := probeJob(t, e, "start-test")
	job.Stderr, job.Prepare = &stderr, []string{"prepare"}
	c, err := e.Start(t.Context(), job)
	require.NoError(t, err)
	defer c.Close()
	bring(t, c)
	out := bufio.NewReader(c.Stdout)
	line, err := out.ReadString('\n')
	require.NoError(t, err)
	var saw struct {
		Args, Env, Addrs []string
		UID              int
		Status, Fails    map[string]string
		File, TUN        string
	}
	require.NoError(t, json.Unmarshal([]byte(line), &saw))
	assert.Equal(t, "brought along", saw.File)
	assert.Equal(t, "-rw-rw-rw-", saw.TUN, "the probe has prepared it")
	assert.Equal(t, "an argument", saw.Args[1])
	assert.Contains(t, saw.Env, "A=b")
	assert.Contains(t, saw.Env, "IMAGE=bare")
	assert.Equal(t, user, saw.UID)
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		assert.Equal(t, "0000000000000000", saw.Status[set], set)
	}
	assert.Equal(t, "1", saw.Status["NoNewPrivs"])
	assert.Equal(t, "2", saw.Status["Seccomp"], "a filter")
	for _, addr := range saw.Addrs {
		assert.Contains(t, []string{"127.0.0.1/8", "::1/128"}, addr)
	}
	for _, works := range []string{"open tun", "write dir", "write tmp", "reach loopback"} {
		assert.Empty(t, saw.Fails[works], works)
	}
	for _, fails := range []string{"write root", "open core", "open sysrq", "open keys", "reach world"} {
		assert.NotEmpty(t, saw.Fails[fails], fails)
	}

	_, err = io.WriteString(c.Stdin, "there and back\n")
	require.NoError(t, err)
	line, err = out.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "there and back\n", line)
	require.NoError(t, c.attach.CloseWrite())
	exit, err := c.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 7, exit)
	assert.Equal(t, strings.Repeat("last words\n", 20_000), stderr.String())
	require.NoError(t, c.Close())
	assert.Zero(t, count(t, e, "start-test"))
}

// A container whose caller is gone ends, since its standard input does.
func TestContainerEndsWithItsCaller(t *testing.T) {
	e := connect(t)
	job := probeJob(t, e, "lonely-test")
	c, err := e.Start(t.Context(), job)
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, 1, count(t, e, "lonely-test"))
	c.attach.Conn.Close() // as the kernel does when a process is killed
	require.Eventually(t, func() bool { return count(t, e, "lonely-test") == 0 }, 20*time.Second, 50*time.Millisecond)
}

func TestReap(t *testing.T) {
	e := connect(t)
	job := probeJob(t, e, "reap-test")
	made, err := e.provider.CreateContainer(t.Context(), request(job)) // never started, so that nothing ends it
	require.NoError(t, err)
	require.NotEmpty(t, made.GetContainerID())
	require.Equal(t, 1, count(t, e, "reap-test"))
	require.NoError(t, e.Reap(t.Context(), "another"))
	require.Equal(t, 1, count(t, e, "reap-test"))
	require.NoError(t, e.Reap(t.Context(), "reap-test"))
	assert.Zero(t, count(t, e, "reap-test"))
}

func TestExport(t *testing.T) {
	e := connect(t)
	image := bareImage(t, e)
	assert.Equal(t, []string{"/serve"}, image.Entrypoint)
	assert.Equal(t, []string{"IMAGE=bare"}, image.Env)
	assert.Equal(t, "/tmp", image.Dir)
	var names []string
	err := e.Export(t.Context(), image, func(root io.Reader) error {
		for r := tar.NewReader(root); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			names = append(names, h.Name)
		}
	})
	require.NoError(t, err)
	assert.Contains(t, names, "tmp/")
	assert.Zero(t, count(t, e, "export"))
}

func TestMissingImage(t *testing.T) {
	e := connect(t)
	_, err := e.Image(t.Context(), "simrun-nobody-made-this:1")
	var missing *MissingError
	require.ErrorAs(t, err, &missing)
	assert.Equal(t, `the container engine has no image "simrun-nobody-made-this:1"`, err.Error())
	assert.NotEmpty(t, missing.Remedy)
}

// What is asked for must be what is asserted, and each assertion must be able to fail.
func TestApart(t *testing.T) {
	made := func() *container.InspectResponse {
		c := &container.InspectResponse{HostConfig: &container.HostConfig{}, Config: &container.Config{},
			NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{"none": {}}}}
		r := request(Job{Image: &Image{}, Args: []string{"program"}})
		r.ConfigModifier(c.Config)
		r.HostConfigModifier(c.HostConfig)
		return c
	}
	require.NoError(t, apart(made()))
	for name, spoil := range map[string]func(*container.InspectResponse){
		"a network":    func(c *container.InspectResponse) { c.NetworkSettings.Networks["reaper_default"] = nil },
		"host network": func(c *container.InspectResponse) { c.HostConfig.NetworkMode = "host" },
		"a folder of the host": func(c *container.InspectResponse) {
			c.Mounts = append(c.Mounts, container.MountPoint{Type: mount.TypeBind, Source: "/home", Destination: "/home"})
		},
		"privileged":     func(c *container.InspectResponse) { c.HostConfig.Privileged = true },
		"a capability":   func(c *container.InspectResponse) { c.HostConfig.CapAdd = []string{"SYS_ADMIN"} },
		"default rights": func(c *container.InspectResponse) { c.HostConfig.CapDrop = nil },
		"host processes": func(c *container.InspectResponse) { c.HostConfig.PidMode = "host" },
		"root":           func(c *container.InspectResponse) { c.Config.User = "" },
	} {
		c := made()
		spoil(c)
		assert.Error(t, apart(c), name)
	}
}
