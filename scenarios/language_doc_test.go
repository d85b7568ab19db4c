package scenarios

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sections are the headings of docs/language.md that have a table of keys, and what it is a table of.
var sections = map[string]func() shape{
	"World":       func() shape { return object(worldFields(new(World))) },
	"Host":        func() shape { return object(hostFields(new(Host))) },
	"Server":      func() shape { return object(serverFields(new(Server))) },
	"Name server": func() shape { return object(linkFields(new(Link))) },
	"Resolver":    func() shape { return object(resolverFields(new(Resolver))) },
	"Scenario":    func() shape { return object(scenarioFields(new(Scenario))) },
	"Fault":       func() shape { return object(faultFields(new(Fault))) },
	"Packet":      func() shape { return object(packetFields(new(PacketFault))) },
	"Bursts":      func() shape { return object(burstsFields(new(Bursts))) },
	"Stream":      func() shape { return object(streamFields(new(StreamFault), nil)) },
	"DNS":         func() shape { return object(dnsFields(new(DNSFault))) },
	"TLS":         func() shape { return object(tlsFields(new(TLSFault))) },
	"HTTP":        func() shape { return object(httpFields(new(HTTPFault))) },
	"VCS":         func() shape { return object(vcsFields(new(VCSFault))) },
	"HTTP2":       func() shape { return object(http2Fields(new(HTTP2Fault))) },
	"Forward":     func() shape { return object(forwardFields(new(ForwardFault))) },
	"Module":      func() shape { return object(moduleFields(new(ModuleFault))) },
	"SumDB":       func() shape { return object(sumdbFields(new(SumDBFault))) },
	"Client":      func() shape { return object(clientFields(new(ClientFault))) },
	"Expectation": func() shape { return object(expectationFields(new(Expectation))) },
	"Config":      func() shape { return object(configFields(new(Config))) },
	"Retry":       func() shape { return object(retryFields(new(Retry))) },
	"PAC":         func() shape { return object(pacFields(new(PAC))) },
	"Project":     func() shape { return object(projectFields(new(Project))) },
	"Modules":     func() shape { return object(modulesFields(new(Modules))) },
}

// TestLanguageTables keeps the reference from missing a key, or having one that there is not.
func TestLanguageTables(t *testing.T) {
	text := readReference(t)
	for heading, schema := range sections {
		t.Run(heading, func(t *testing.T) {
			s := parsedShape(t, schema())
			rows := tableOf(text, heading, "key")
			assert.ElementsMatch(t, slices.Collect(maps.Keys(s.Properties)), slices.Collect(maps.Keys(rows)))
			for key, p := range s.Properties {
				required := slices.Contains(s.Required, key)
				assert.Equal(t, required, strings.TrimSpace(rows[key].fallback) == "required", "`%s` is required: %v", key, required)
				for _, word := range p.Enum {
					assert.Contains(t, rows[key].value, "`"+word+"`", "values of `%s`", key)
				}
				if p.Maximum > 0 && p.Maximum < 1e6 {
					assert.Contains(t, rows[key].value, fmt.Sprintf("%d to %d", p.Minimum, p.Maximum), "values of `%s`", key)
				}
			}
		})
	}
}

func TestLanguageToxics(t *testing.T) {
	types := tableOf(readReference(t), "Stream", "type")
	assert.ElementsMatch(t, streamTypeValue.shape["enum"], slices.Collect(maps.Keys(types)))
	rows := tableOf(readReference(t), "Stream", "attribute")
	assert.ElementsMatch(t, attributeNames(), slices.Collect(maps.Keys(rows)))
	for toxic, attributes := range toxics {
		for name, a := range attributes {
			unit := strings.Replace(a.unit, "KB/s", "kB/s", 1)
			assert.Contains(t, rows[name].value, "`"+toxic+"`", "toxics with the attribute %s", name)
			assert.Contains(t, rows[name].fallback, unit, "unit of %s", name)
			if a.required {
				assert.Contains(t, rows[name].fallback, "required", "%s of %s", name, toxic)
			}
		}
	}
}

// TestLanguageExamples loads the examples of the reference, and wants every key in one of them.
func TestLanguageExamples(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "myservice"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "myservice", "go.mod"), []byte("module myservice.example\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "own.pac"), []byte("function FindProxyForURL() { return 'DIRECT' }"), 0o644))
	var all strings.Builder
	for i, example := range examplesOf(readReference(t)) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), []byte(example), 0o644))
		all.WriteString(example)
	}
	lib, err := Load([]string{dir}, Options{Vars: map[string]string{"go-sumdb": "sum.example"}})
	require.NoError(t, err)
	assert.Len(t, lib.Scenarios, strings.Count(all.String(), "\nfaults:"))
	assert.Len(t, lib.Configs, 6)
	assert.Len(t, lib.Projects, 2)
	for heading, schema := range sections {
		for key := range parsedShape(t, schema()).Properties {
			assert.Regexp(t, `\b`+key+`:`, all.String(), "an example of a %s", heading)
		}
	}
}

// TestReadmeExamples loads each example of the README by itself, as its reader would.
func TestReadmeExamples(t *testing.T) {
	examples := examplesOf(readDoc(t, "README.md"))
	require.NotEmpty(t, examples)
	for _, example := range examples {
		file := filepath.Join(t.TempDir(), "mine.yaml")
		require.NoError(t, os.WriteFile(file, []byte(example), 0o644))
		_, err := Load([]string{file}, Options{Vars: map[string]string{
			"go-proxy": "proxy.example", "go-sumdb": "sum.example", "file-proxy": "file:///proxy"}})
		require.NoError(t, err)
	}
}

func readReference(t *testing.T) string {
	t.Helper()
	return readDoc(t, "docs/language.md")
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(text)
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// examplesOf returns the blocks of YAML in a text of Markdown.
func examplesOf(text string) []string {
	var all []string
	for _, m := range yamlBlock.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// A row is what a table says of its key.
type row struct{ value, fallback string }

// tableOf returns the rows of the table below a heading whose first column has a title.
func tableOf(text, heading, title string) map[string]row {
	_, section, _ := strings.Cut(text, "# "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n#")
	_, table, _ := strings.Cut(section, "\n| "+title+" |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := map[string]row{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, " |")
		if key, ok := strings.CutPrefix(cells[0], "| `"); ok {
			rows[strings.TrimSuffix(key, "`")] = row{cells[1], cells[2]}
		}
	}
	return rows
}

// parsed is the part of a schema that the tables of the reference show.
type parsed struct {
	Required   []string
	Properties map[string]struct {
		Enum             []string
		Minimum, Maximum int64
	}
}

func parsedShape(t *testing.T, s shape) parsed {
	t.Helper()
	text, err := json.Marshal(s)
	require.NoError(t, err)
	var p parsed
	require.NoError(t, json.Unmarshal(text, &p))
	return p
}
