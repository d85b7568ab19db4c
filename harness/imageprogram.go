//go:build linux

package harness

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/simrun/simrun/harness/lab"
	"github.com/simrun/simrun/scenarios"
)

// bundles are where systems have the certificates that they trust: certFiles in crypto/x509/root_linux.go.
var bundles = []string{
	"etc/ssl/certs/ca-certificates.crt",
	"etc/pki/tls/certs/ca-bundle.crt",
	"etc/ssl/ca-bundle.pem",
	"etc/pki/tls/cacert.pem",
	"etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"etc/ssl/cert.pem",
}

// imagePath is PATH for an image that sets none, as engines have it.
const imagePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// checkImages says what is missing for programs of scenarios that run in images.
func checkImages(all []*scenarios.Scenario, images map[string]*Image) error {
	for _, s := range all {
		for i := range s.World.Hosts {
			h := &s.World.Hosts[i]
			if h.Server == nil || h.Server.Image == "" {
				continue
			}
			image := images[h.Server.Image]
			switch {
			case image == nil:
				return wrongInput("host %s is served by image %s, which is not there", h.Name, h.Server.Image)
			case len(h.Server.Exec)+len(image.Exec) == 0:
				return wrongInput("image %s says by neither ENTRYPOINT nor CMD what it runs; write it into `exec:` of host %s", image.Name, h.Name)
			}
		}
	}
	return nil
}

// imageCommand gives the program's machine the image's files and returns the command that it runs.
func (p *program) imageCommand() (*exec.Cmd, error) {
	s := p.host.Server
	dir := path.Join("/", p.image.Dir)
	furniture, err := p.furniture(dir)
	if err != nil {
		return nil, err
	}
	if err := p.guest.Settle(p.image.Root, p.folder(), furniture); err != nil {
		return nil, err
	}
	argv := s.Exec
	if len(argv) == 0 {
		argv = p.image.Exec
	}
	cmd := &exec.Cmd{Args: argv, Dir: dir, Stdout: &p.output, Stderr: &p.output}
	cmd.Env = append([]string{"PATH=" + imagePath, "HOME=/tmp", "TMPDIR=/tmp"}, p.image.Env...)
	cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+caFile, "GIT_SSL_CAINFO="+caFile, "PORT="+strconv.Itoa(s.ListenPort()))
	for name, value := range s.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd, p.guest.Do(func() (err error) {
		if err = os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		cmd.Path, err = findIn(dir, argv[0], cmd.Environ())
		return err
	})
}

// furniture returns the files that the program finds beside those of its image.
func (p *program) furniture(dir string) (f lab.Furniture, err error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return f, err
	}
	f = lab.Furniture{Files: map[string]string{caFile[1:]: string(ca)}, Over: map[string]string{}}
	for _, name := range []string{"etc/resolv.conf", "etc/hosts", "etc/nsswitch.conf"} {
		content, err := os.ReadFile("/" + name) // the cell's
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return f, err
		}
		f.Files[name] = string(content)
	}
	for name, content := range p.host.Server.Files {
		f.Files[strings.TrimPrefix(path.Join(dir, name), "/")] = content
	}
	for _, name := range bundles {
		f.Over[name] = string(ca)
	}
	return f, nil
}

// findIn finds a program as execvp(3) does. It must be called where the program's files are.
func findIn(dir, name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join(dir, name)
		}
		return exec.LookPath(name)
	}
	searched := ""
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			searched = value
		}
	}
	for _, folder := range filepath.SplitList(searched) {
		if found, err := exec.LookPath(path.Join("/", folder, name)); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("the image has no program %q; its PATH is %s", name, searched)
}

// user returns the user id as which an image's program runs.
func (i *Image) user() (id int, err error) {
	name, _, _ := strings.Cut(cmp.Or(i.User, "0"), ":")
	if id, err := strconv.Atoi(name); err == nil {
		return id, nil
	}
	root, err := os.OpenRoot(i.Root)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	users, err := root.Open("etc/passwd")
	if err != nil {
		return 0, fmt.Errorf("find user %q of image %s: %w", name, i.Name, err)
	}
	defer users.Close()
	for lines := bufio.NewScanner(users); lines.Scan(); {
		if f := strings.Split(lines.Text(), ":"); len(f) > 2 && f[0] == name {
			return strconv.Atoi(f[2])
		}
	}
	return 0, fmt.Errorf("image %s has no user %q", i.Name, name)
}
