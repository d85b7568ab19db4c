package scenarios

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// configs reads the Configs of a document.
func (d *decoder) configs(root ast.Node) []*Config {
	var all []*Config
	d.list(root, "configs", func(n ast.Node) {
		c := &Config{Pos: d.position(n)}
		d.mapping(n, c.Pos, "a config", configFields(c))
		if c.Env == nil {
			c.Env = map[string]string{}
		}
		all = append(all, c)
	})
	return all
}

// projects reads the Projects of a document.
func (d *decoder) projects(root ast.Node) []*Project {
	var all []*Project
	d.list(root, "projects", func(n ast.Node) {
		p := &Project{Pos: d.position(n)}
		if d.mapping(n, p.Pos, "a project", projectFields(p)) {
			d.checkProject(p, n.(*ast.MappingNode))
		}
		all = append(all, p)
	})
	return all
}

// list reads a document that is one key with a list.
func (d *decoder) list(root ast.Node, key string, each func(n ast.Node)) {
	d.mapping(root, d.position(root), "a list of "+key, fields{
		key: {required: true, read: func(d *decoder, n ast.Node) {
			count := 0
			ok := d.items(n, key, func(n ast.Node) { count++; each(n) })
			if ok && count == 0 {
				d.failf(d.position(n), "list of %s is empty", key)
			}
		}},
	})
}

func (d *decoder) checkProject(p *Project, m *ast.MappingNode) {
	switch run := keyNode(m, "run"); {
	case run == nil:
		p.Run = []string{"go", "mod", "tidy"}
	case len(p.Run) == 0:
		d.failf(d.position(run), "list of the command's words is empty; leave `run:` out for `go mod tidy`")
	}
	switch {
	case p.Dir == "" && p.Modules == nil:
		d.failf(p.Pos, "a project needs `dir:` or `modules:`")
	case p.Dir != "" && p.Modules != nil:
		d.failf(p.Pos, "a project has `dir:` or `modules:`, not both")
	case p.Dir != "":
		d.checkDir(p, keyNode(m, "dir"))
	}
}

// checkDir makes the folder of a project relative to the file that names it, and looks for its go.mod.
func (d *decoder) checkDir(p *Project, n ast.Node) {
	if d.src.builtin || strings.ContainsRune(p.Dir, 0) {
		d.failf(d.position(n), "%s is not a folder", quote(p.Dir))
		return
	}
	if !filepath.IsAbs(p.Dir) {
		p.Dir = filepath.Join(filepath.Dir(d.src.name), p.Dir)
	}
	if info, err := os.Stat(filepath.Join(p.Dir, "go.mod")); err != nil || info.IsDir() {
		d.failf(d.position(n), "folder %s has no go.mod", quote(p.Dir))
	}
}
