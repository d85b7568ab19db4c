//go:build linux

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

const (
	programStart  = 20 * time.Second // that a program may take until it listens
	programOutput = 8 << 10          // bytes of either end of a program's output that are kept
	programDirs   = lab.Root + "/programs"
)

// A program is a real server that runs in the cell, on a machine of its own beside the client.
type program struct {
	host   *scenarios.Host
	guest  *lab.Guest
	image  *Image // in whose files it runs; nil: in this machine's
	output lab.Ends
	dead   chan struct{} // closed when the program has ended

	mu    sync.Mutex // guards what follows
	ended record.Seconds
	died  string // how it ended; empty: it lives
}

// programPath returns where a program of the world is. Servers often lie in folders of which an ordinary
// user's PATH has none.
func programPath(name string) (string, error) {
	found, err := exec.LookPath(name)
	if err == nil || filepath.IsAbs(name) {
		return found, err
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", err
}

// missingProgram says which program of a world this machine does not have, or "".
func missingProgram(w *scenarios.World) string {
	for i := range w.Hosts {
		h := &w.Hosts[i]
		if h.Server == nil || h.Server.Image != "" {
			continue
		}
		if _, err := programPath(h.Server.Exec[0]); err != nil {
			return fmt.Sprintf("host %s is served by %s, which is not installed here", h.Name, h.Server.Exec[0])
		}
	}
	return ""
}

// startPrograms starts the programs of the world, all at once, and waits until each listens.
func (in *internet) startPrograms() error {
	errs := make(chan error)
	for _, p := range in.programs {
		go func() { errs <- p.start(in.network) }()
	}
	var all error
	for range in.programs {
		all = errors.Join(all, <-errs)
	}
	return all
}

// addProgram makes the machine of a host's program. The program starts when all of the world's name servers
// and hosts are there.
func (in *internet) addProgram(h *scenarios.Host) (http.Handler, error) {
	in.egresses = append(in.egresses, h.Name)
	guest, err := in.network.AddGuest(len(in.egresses) - 1)
	if err != nil {
		return nil, err
	}
	p := &program{host: h, guest: guest, image: in.images[h.Server.Image], output: lab.Ends{Size: programOutput}, dead: make(chan struct{})}
	in.programs = append(in.programs, p)
	return p.handler(), nil
}

// start starts the program and waits until it listens.
func (p *program) start(n *lab.Network) error {
	cmd, user, err := p.command()
	if err != nil {
		return fmt.Errorf("prepare the program of host %s: %w", p.host.Name, err)
	}
	if err := p.guest.Start(cmd, user); err != nil {
		return fmt.Errorf("start the program of host %s: %w", p.host.Name, err)
	}
	go p.watch(cmd, n)
	ctx, cancel := context.WithTimeout(context.Background(), programStart)
	defer cancel()
	for {
		if conn, err := p.guest.Dial(ctx, p.host.Server.ListenPort()); err == nil {
			return conn.Close()
		}
		select {
		case <-p.dead:
			return fmt.Errorf("the program of host %s ended before it listened (%s):\n%s", p.host.Name, p.died, p.output.String())
		case <-ctx.Done():
			return fmt.Errorf("the program of host %s does not listen on port %d of its loopback interface after %v:\n%s",
				p.host.Name, p.host.Server.ListenPort(), programStart, p.output.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// folder returns where a program has its files.
func (p *program) folder() string {
	return filepath.Join(programDirs, fmt.Sprintf("%s:%d", p.host.Name, p.host.Port))
}

// command returns the program's command, in a folder that has its files, and the id of its user.
func (p *program) command() (cmd *exec.Cmd, user int, err error) {
	if p.image == nil {
		cmd, err = p.ownCommand()
		return cmd, 0, err
	}
	if user, err = p.image.user(); err != nil {
		return nil, 0, err
	}
	cmd, err = p.imageCommand()
	return cmd, user, err
}

// ownCommand returns the command of a program of this machine.
func (p *program) ownCommand() (*exec.Cmd, error) {
	s := p.host.Server
	path, err := programPath(s.Exec[0])
	if err != nil {
		return nil, err
	}
	dir := p.folder()
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o755); err != nil {
		return nil, err
	}
	for name, content := range s.Files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(path, s.Exec[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &p.output, &p.output
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + filepath.Join(dir, "tmp"), "SSL_CERT_FILE=" + caFile,
		"GIT_CONFIG_SYSTEM=" + gitSystem, "PORT=" + strconv.Itoa(s.ListenPort())}
	for name, value := range s.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd, nil
}

// watch notes when and how the program ends.
func (p *program) watch(cmd *exec.Cmd, n *lab.Network) {
	_ = cmd.Wait() // the state says more
	p.mu.Lock()
	p.ended, p.died = seconds(n.Since()), cmd.ProcessState.String()
	p.mu.Unlock()
	close(p.dead)
}

// handler hands requests to the program. A client of one that does not answer sees its connection end, as
// that of a server that has crashed.
func (p *program) handler() http.Handler {
	to := &url.URL{Scheme: "http", Host: net.JoinHostPort(p.host.Name, strconv.Itoa(p.host.Server.ListenPort()))}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return p.guest.Dial(ctx, p.host.Server.ListenPort())
			},
			DisableCompression:  true,
			MaxIdleConnsPerHost: 16,
		},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, _ error) {
			r.Context().Value(connKey{}).(net.Conn).Close() // all of it: of HTTP/2, a panic resets one stream
			panic(http.ErrAbortHandler)
		},
	}
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// rememberConn is an [http.Server.ConnContext].
func rememberConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// record returns what is known of the program.
func (p *program) record() record.Program {
	p.mu.Lock()
	defer p.mu.Unlock()
	return record.Program{Host: p.host.Name, Exec: p.host.Server.Exec, Image: p.host.Server.Image, Output: p.output.String(), Ended: p.ended, Died: p.died}
}
