//go:build linux

package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/harness/pac"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// agentAddr is where the agent of a config with a PAC listens on the client host.
const agentAddr = "127.0.0.1:3128"

// agentEnv returns the variables that lead the go command and git to the agent. The go command prefers names in
// upper case, and git looks for http_proxy in lower case only.
func agentEnv(p *scenarios.PAC) map[string]string {
	if p == nil {
		return nil
	}
	const url = "http://" + agentAddr
	return map[string]string{"HTTPS_PROXY": url, "HTTP_PROXY": url, "http_proxy": url}
}

// An agent is the running agent of a cell.
type agent struct {
	cmd     *exec.Cmd
	words   lab.Ends
	reading sync.WaitGroup

	mu     sync.Mutex // guards routes
	routes []record.Route
}

// startAgent starts the agent of a cell whose config has a PAC; nil if it has none.
func startAgent(n *lab.Network, s *spec) (a *agent, err error) {
	if s.Config.PAC == nil {
		return nil, nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start the agent for the PAC: %w", err)
		}
	}()
	listener, err := listenOnClient(n)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	choices, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	a = &agent{words: lab.Ends{Size: 1 << 10}}
	setup := pac.Setup{PAC: *s.Config.PAC, Addresses: lab.ClientAddrs()}
	if a.cmd, err = pac.Command(setup, []string{"SSL_CERT_FILE=" + caFile, "SSL_CERT_DIR=/nonexistent"}, listener, theirs); err != nil {
		return nil, err
	}
	a.cmd.Stderr = &a.words
	if err := n.Start(a.cmd, false); err != nil {
		return nil, err
	}
	a.reading.Go(func() { a.read(choices, n) })
	return a, nil
}

// listenOnClient returns the socket of the agent, which has it from its first moment on.
func listenOnClient(n *lab.Network) (file *os.File, err error) {
	err = n.OnClient(func() error {
		l, err := net.Listen("tcp4", agentAddr)
		if err != nil {
			return err
		}
		defer l.Close()
		file, err = l.(*net.TCPListener).File()
		return err
	})
	return file, err
}

// read notes what the agent tells, until it ends.
func (a *agent) read(choices io.ReadCloser, n *lab.Network) {
	defer choices.Close()
	for decoder := json.NewDecoder(choices); ; {
		var c pac.Choice
		if decoder.Decode(&c) != nil {
			return
		}
		end := n.Since().Seconds()
		a.mu.Lock()
		a.routes = append(a.routes, record.Route{Start: record.Seconds(max(0, end-c.Took.Seconds())), End: record.Seconds(end),
			Target: c.Target, Result: c.Result, Failed: c.Failed, Way: c.Way, Error: c.Error})
		a.mu.Unlock()
	}
}

// stop ends the agent and returns what it has told, and how it had ended by itself, if it had.
func (a *agent) stop() (routes []record.Route, ended string) {
	if a == nil {
		return nil, ""
	}
	_ = a.cmd.Process.Kill()
	err := a.cmd.Wait()
	a.reading.Wait()
	if status, _ := a.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		first, _, _ := strings.Cut(a.words.String(), "\n")
		ended = strings.TrimSpace(fmt.Sprintf("%v %s", err, first))
	}
	return a.routes, ended
}
