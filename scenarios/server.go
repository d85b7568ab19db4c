package scenarios

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// DefaultServerPort is the port of the loopback interface on which a Server listens unless it says otherwise.
const DefaultServerPort = 8080

// A Server is a real program that serves a host in place of simrun's own server.
type Server struct {
	Exec  []string          // the program, by its name on PATH or its absolute path, and its arguments; of an image, empty means what it runs by itself
	Image string            // of a container engine, in whose files the program runs; empty: in this machine's
	Port  int               // of its loopback interface, where it listens for plain HTTP; 0 means DefaultServerPort
	Env   map[string]string // beside what every such program gets
	Files map[string]string // content by name, relative to its working directory
}

// Program returns what serves the host, in a word: a program or an image.
func (s *Server) Program() string {
	if s.Image != "" {
		return "image " + s.Image
	}
	return s.Exec[0]
}

// ListenPort returns the port on which the program listens.
func (s *Server) ListenPort() int {
	if s.Port == 0 {
		return DefaultServerPort
	}
	return s.Port
}

func serverFields(s *Server) fields {
	return fields{
		"exec":  setList(&s.Exec, "exec", textValue),
		"image": set(&s.Image, imageValue),
		"port":  set(&s.Port, whole("a port", 1, 65535)),
		"env":   setMap(&s.Env, "env", envNameValue, textValue),
		"files": filesField(s),
	}
}

// filesField reads the files of a program. Formats of configuration files have dollar signs of their own, so
// that in these only variables which exist are replaced.
func filesField(s *Server) field {
	return field{
		shape: func() shape { return mapOf(textValue.shape) },
		read: func(d *decoder, n ast.Node) {
			s.Files = map[string]string{}
			d.entries(n, "files", func(name string, at Position, n ast.Node) {
				if !filepath.IsLocal(name) || filepath.Clean(name) != name || name == "." {
					d.failf(at, "%s is not the name of a file below the program's working directory", quote(name))
				}
				if text, ok := d.written(n); ok {
					s.Files[name] = d.expandKnown(text)
				}
			})
		},
	}
}

// expandKnown replaces $name and ${name} in a text where there is such a variable, and nothing else.
func (d *decoder) expandKnown(text string) string {
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(text, "$")
		b.WriteString(plain)
		if !found {
			return b.String()
		}
		name, after := variable(rest)
		if value, known := d.vars[name]; known {
			b.WriteString(value)
			text = after
			continue
		}
		b.WriteString("$")
		text = rest
	}
}

func checkServer(d *decoder, s *Server, at Position) {
	switch {
	case s.Image != "" && len(s.Exec) == 0:
	case len(s.Exec) == 0 || s.Exec[0] == "":
		d.failf(at, "a server has neither `exec:`, a program and its arguments, such as `[nginx, -c, nginx.conf]`, nor `image:`")
	case strings.Contains(s.Exec[0], "/") && !filepath.IsAbs(s.Exec[0]):
		d.failf(at, "%s is neither a name on PATH nor an absolute path", quote(s.Exec[0]))
	}
	for name := range s.Files {
		if parent := filepath.Dir(name); slices.Contains(filesOf(s), parent) {
			d.failf(at, "file %s is also the folder of %s", quote(parent), quote(name))
		}
	}
}

func filesOf(s *Server) (names []string) {
	for name := range s.Files {
		names = append(names, name)
	}
	return names
}

// checkServed checks what a host with a program of its own cannot have.
func (d *decoder) checkServed(h *Host, at Position) {
	switch {
	case h.Server == nil:
	case h.Role == RoleForwardProxy, h.Role == RoleHTTPSProxy, h.Role == RoleSOCKSProxy:
		d.failf(at, "`server:` cannot be a %s: the program gets requests after simrun has read them, and CONNECT is none to hand on", h.Role)
	case h.Upstream != "":
		d.failf(at, "`upstream:` is for simrun's own server; the program of `server:` has its upstream in its own settings")
	case len(h.SumDB) > 0:
		d.failf(at, "`sumdb:` is for simrun's own server; the program of `server:` answers for a checksum database if it is set up so")
	}
}
