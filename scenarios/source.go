package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits on a file. The parser's time grows with the square of tokens and nesting, so both are bounded
// before it sees them.
const (
	maxFileSize = 1 << 20
	maxTokens   = 20_000
	maxNesting  = 32
	maxColumn   = 400 // of a "-", of which any number can nest on one line
)

// A source is a file that was read.
type source struct {
	name    string // as users know it
	lines   []string
	builtin bool
}

func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

func (s *source) position(t *token.Token) Position {
	if t == nil || t.Position == nil {
		return Position{File: s.name}
	}
	return Position{s.name, t.Position.Line, t.Position.Column}
}

// A kind is what a document declares.
type kind string

const (
	worldKind    kind = "world"
	scenarioKind kind = "scenario"
	configKind   kind = "config"
	projectKind  kind = "project"
)

// A document is one YAML document of a file.
type document struct {
	src  *source
	kind kind
	root *ast.MappingNode
}

// findFiles returns the path itself if it is a file, or all YAML files below it, sorted. As the go
// command does, it passes over folders called "testdata" and names that begin with "." or "_".
func findFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	var files []string
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != path && isHidden(entry.Name()):
			return filepath.SkipDir
		case entry.Type().IsRegular() && isYAML(name) && !isHidden(entry.Name()):
			files = append(files, name)
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = errors.New("folder has no *.yaml and no *.yml file")
	}
	return files, err
}

func isHidden(name string) bool {
	return name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

func isYAML(name string) bool {
	return slices.Contains([]string{".yaml", ".yml"}, path.Ext(filepath.ToSlash(name)))
}

// readFile returns the content of a file, but never more of it than one byte above the limit.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileSize+1))
}

// parse splits a file into its documents. What it cannot make sense of it adds to found.
func parse(name string, content []byte, builtin bool, found *problems) []document {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	src := &source{name: name, builtin: builtin}
	switch {
	case len(content) > maxFileSize:
		found.add(src, Position{File: name}, fmt.Sprintf("file is larger than %v", Size(maxFileSize)))
		return nil
	case !utf8.Valid(content):
		found.add(src, Position{File: name}, "file is not UTF-8 text")
		return nil
	}
	src.lines = strings.Split(strings.ReplaceAll(string(content), "\r\n", "\n"), "\n")
	tokens := lexer.Tokenize(string(content))
	if !checkTokens(src, tokens, found) {
		return nil
	}
	// Duplicate keys are the decoder's business, which knows both places.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		found.add(src, errorPosition(src, err), "cannot read YAML: "+errorMessage(err))
		return nil
	}
	return documents(src, file, found)
}

func errorPosition(src *source, err error) Position {
	var at yaml.Error
	if errors.As(err, &at) {
		return src.position(at.GetToken())
	}
	return Position{File: src.name}
}

func errorMessage(err error) string {
	var at yaml.Error
	if errors.As(err, &at) {
		return at.GetMessage()
	}
	return err.Error()
}

// checkTokens refuses the parts of YAML that the language does without, and files that would cost the
// parser too much time. Without anchors and aliases there is no way to write a bomb.
func checkTokens(src *source, tokens token.Tokens, found *problems) bool {
	if len(tokens) > maxTokens {
		found.add(src, src.position(tokens[maxTokens]), fmt.Sprintf("file has more than %d words and marks; split it", maxTokens))
		return false
	}
	before, nesting := len(found.list), 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			nesting++
		case token.MappingEndType, token.SequenceEndType:
			nesting--
		}
		if message := refuse(t, nesting); message != "" {
			found.add(src, src.position(t), message)
			break
		}
	}
	return len(found.list) == before
}

func refuse(t *token.Token, nesting int) string {
	switch t.Type {
	case token.AnchorType, token.AliasType, token.MergeKeyType:
		return "anchors, aliases and merge keys are not part of the language; write the value again, or use a variable"
	case token.TagType, token.DirectiveType, token.MappingKeyType:
		return fmt.Sprintf("YAML's %s is not part of the language", quote(t.Value))
	}
	if nesting > maxNesting || t.Type == token.SequenceEntryType && t.Position.Column > maxColumn {
		return fmt.Sprintf("nested more than %d deep", maxNesting)
	}
	return ""
}

func documents(src *source, file *ast.File, found *problems) []document {
	var docs []document
	empty := true
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		empty = false
		root, ok := d.Body.(*ast.MappingNode)
		if !ok || len(root.Values) == 0 {
			found.add(src, src.position(d.Body.GetToken()), "a document is a mapping; it begins with a key such as `name:`, `world:`, `configs:` or `projects:`")
			continue
		}
		if kind, ok := kindOf(src, root, found); ok {
			docs = append(docs, document{src, kind, root})
		}
	}
	if empty {
		found.add(src, Position{File: src.name}, "file has no document")
	}
	return docs
}

// kindOf tells what a document declares by its top-level keys.
func kindOf(src *source, root *ast.MappingNode, found *problems) (kind, bool) {
	byKey := []struct {
		key  string
		kind kind
	}{
		{"hosts", worldKind}, {"nameservers", worldKind},
		{"configs", configKind}, {"projects", projectKind},
		{"name", scenarioKind}, {"faults", scenarioKind}, {"expect", scenarioKind},
		{"world", worldKind},
	}
	var known []string
	for _, k := range byKey {
		if keyNode(root, k.key) != nil {
			return k.kind, true
		}
		known = append(known, k.key)
	}
	first := root.Values[0].Key.GetToken()
	found.add(src, src.position(first), fmt.Sprintf("%s does not begin a world, scenario, list of configs or of projects%s",
		quote(first.Value), suggest(first.Value, known)))
	return "", false
}

// keyNode returns the first value that root has for a key, or nil.
func keyNode(root *ast.MappingNode, key string) ast.Node {
	for _, v := range root.Values {
		if v.Key.GetToken().Value == key {
			return v.Value
		}
	}
	return nil
}
