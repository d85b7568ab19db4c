package pac

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/simrun/simrun/scenarios"
)

// reexecName is the argv[0] by which a process knows that it is an agent.
const reexecName = "simrun-pac"

// The descriptors of an agent.
const (
	listenerFD = 3
	choicesFD  = 4
)

// maxData is how much memory the kernel gives the process of an agent, in bytes: a script can ask for more in one
// step than anybody can take back in time.
const maxData = 512 << 20

// A Setup is all that the process of an agent must know.
type Setup struct {
	PAC       scenarios.PAC
	Addresses []netip.Addr // of the client host
}

// Command returns the command of an agent: this program, which calls [Reexec] first. It serves the connections of
// the listener and writes each Choice to choices, as JSON values. The files stay the caller's. The command must be
// started on the client host, and be killed.
func Command(s Setup, env []string, listener, choices *os.File) (*exec.Cmd, error) {
	setup, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() { // more than a pipe holds
		w.Write(setup)
		w.Close()
	}()
	return &exec.Cmd{Path: "/proc/self/exe", Args: []string{reexecName}, Env: env, Stdin: r, ExtraFiles: []*os.File{listener, choices}}, nil
}

// Reexec turns this process into an agent if Command made it one, and does not return then.
func Reexec() {
	if len(os.Args) == 0 || os.Args[0] != reexecName {
		return
	}
	if err := run(os.Stdin, os.NewFile(listenerFD, "listener"), os.NewFile(choicesFD, "choices")); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}

func run(setup io.Reader, listener, choices *os.File) error {
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: maxData, Max: maxData}); err != nil {
		return fmt.Errorf("limit the agent's memory: %w", err)
	}
	var s Setup
	if err := json.NewDecoder(setup).Decode(&s); err != nil {
		return fmt.Errorf("read the agent's setup: %w", err)
	}
	l, err := net.FileListener(listener)
	if err != nil {
		return err
	}
	var writing sync.Mutex
	a := &Agent{PAC: s.PAC, Dial: new(net.Dialer).DialContext,
		Host: Host{Lookup: lookup, Now: time.Now, Alert: func(string) {}, Addresses: func() []netip.Addr { return s.Addresses }},
		Report: func(c Choice) {
			writing.Lock()
			defer writing.Unlock()
			_ = json.NewEncoder(choices).Encode(c)
		}}
	server := &http.Server{Handler: a, ErrorLog: log.New(io.Discard, "", 0)}
	return server.Serve(l)
}

// lookup asks the client's name servers.
func lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	return (&net.Resolver{PreferGo: true}).LookupNetIP(ctx, "ip", name)
}
