package scenarios

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// The ways to write single values.
var (
	textValue         = scalar[string]{parse: parseText, shape: shape{"type": []string{"string", "number", "boolean"}}}
	nameValue         = scalar[string]{parse: parseName, shape: shape{"type": "string", "pattern": nameForm.pattern}}
	envNameValue      = scalar[string]{parse: matching(envForm, "an environment variable's name"), shape: shape{"type": "string"}}
	imageValue        = scalar[string]{parse: matching(imageForm, "the name of a container image, such as `nginx:1.27`"), shape: shape{"type": "string", "pattern": imageForm.pattern}}
	varNameValue      = scalar[string]{parse: matching(varForm, "a variable's name"), shape: shape{"type": "string"}}
	pathValue         = scalar[string]{parse: matching(pathForm, "the path of a URL, such as `/proxy.pac`"), shape: shape{"type": "string"}}
	hostValue         = scalar[string]{parse: parseHostName, shape: shape{"type": "string"}}
	methodValue       = scalar[string]{parse: matching(methodForm, "an HTTP method, such as GET"), shape: shape{"type": "string", "pattern": methodForm.pattern}}
	durationValue     = scalar[time.Duration]{parse: ParseDuration, shape: shape{"type": "string", "pattern": `^(\$|[0-9])`, "examples": []string{"250ms", "30s"}}}
	rateValue         = scalar[Rate]{parse: ParseRate, shape: shape{"type": "string", "examples": []string{"5mbit", "64kbit"}}}
	sizeValue         = scalar[Size]{parse: parsePositiveSize, shape: shape{"type": "string", "examples": []string{"64KiB", "1500B"}}}
	fractionValue     = scalar[Fraction]{parse: ParseFraction, shape: shape{"type": "string", "examples": []string{"5%", "100%"}}}
	shareValue        = scalar[Fraction]{parse: parseShare, shape: fractionValue.shape}
	amountValue       = scalar[Amount]{parse: parseAmount, shape: shape{"type": "string", "examples": []string{"50%", "64KiB"}}}
	secondsValue      = scalar[Range]{parse: parseRange, shape: shape{"type": "string", "examples": []string{"29..32"}}}
	boolValue         = scalar[bool]{parse: parseBool, shape: shape{"type": "boolean"}}
	weightValue       = scalar[float64]{parse: parseWeight, shape: shape{"type": "number", "exclusiveMinimum": 0}}
	wholeSecondsValue = scalar[time.Duration]{parse: parseWholeSeconds, shape: durationValue.shape}

	toolchainValue = scalar[string]{parse: matching(toolchainForm, "a Go release such as `1.99.0`"), shape: shape{"type": "string", "pattern": toolchainForm.pattern}}

	roleValue = oneOf("role", RoleModuleProxy, RoleChecksumDB, RoleVCS, RoleForwardProxy,
		RoleHTTPSProxy, RoleSOCKSProxy, RoleWeb)
	familyValue  = oneOf("family", FamilyDual, FamilyIPv4, FamilyIPv6)
	outcomeValue = oneOf("outcome", "ok", "error", "hang")
)

var (
	nameForm      = newForm(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	envForm       = newForm(`^[A-Za-z_][A-Za-z0-9_]*$`)
	imageForm     = newForm(`^[A-Za-z0-9][A-Za-z0-9._-]*([/:@][A-Za-z0-9._-]+)*$`)
	varForm       = newForm(`^[A-Za-z0-9_]+(-+[A-Za-z0-9_]+)*$`)
	methodForm    = newForm(`^[A-Z]+$`)
	hostForm      = newForm(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)
	toolchainForm = newForm(`^1\.[1-9][0-9]{1,3}\.[0-9]{1,3}$`)
	rangeForm     = newForm(`^([0-9]+(?:\.[0-9]+)?)\.\.([0-9]+(?:\.[0-9]+)?)$`)
)

// A form is a regular expression that is compiled at the first use: lab processes have no use for it, and
// each of them would pay.
type form struct {
	pattern string
	regexp  func() *regexp.Regexp
}

func newForm(pattern string) *form {
	return &form{pattern, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })}
}

func worldFields(w *World) fields {
	return fields{
		"world":       set(&w.Name, nameValue).must(),
		"about":       set(&w.About, textValue),
		"vars":        {shape: func() shape { return mapOf(textValue.shape) }, read: alreadyRead}, // in decoder.world
		"hosts":       hostsField(w).must(),
		"nameservers": nameserversField(w),
		"resolver":    setStruct(&w.Resolver, "a resolver", resolverFields),
	}
}

// alreadyRead is for keys that are read before the others, as these depend on them.
func alreadyRead(*decoder, ast.Node) {}

func resolverFields(r *Resolver) fields {
	return fields{
		"search":  setList(&r.Search, "search", hostValue),
		"options": setList(&r.Options, "options", textValue),
		"hosts":   setList(&r.Hosts, "hosts", hostValue),
	}
}

func hostFields(h *Host) fields {
	f := linkFields(&h.Link)
	f["role"] = set(&h.Role, roleValue).must()
	f["private"] = set(&h.Private, boolValue)
	f["files"] = setMap(&h.Files, "files", pathValue, textValue)
	f["sumdb"] = setList(&h.SumDB, "sumdb", hostValue)
	f["upstream"] = set(&h.Upstream, hostValue)
	f["repositories"] = set(&h.CodeHost, hostValue)
	f["family"] = set(&h.Family, familyValue)
	f["addresses"] = set(&h.Addresses, addressValue)
	f["server"] = setMapping(&h.Server, "a server", serverFields, checkServer)
	return f
}

func linkFields(l *Link) fields {
	return fields{
		"rtt":    set(&l.RTT, durationValue),
		"jitter": set(&l.Jitter, durationValue),
		"loss":   set(&l.Loss, fractionValue),
		"rate":   set(&l.Rate, rateValue),
		"queue":  set(&l.Queue, sizeValue),
	}
}

func scenarioFields(s *Scenario) fields {
	return fields{
		"name":   set(&s.Name, nameValue).must(),
		"about":  set(&s.About, textValue),
		"world":  field{shape: func() shape { return nameValue.shape }, read: alreadyRead}.must(), // in decoder.scenario
		"weight": set(&s.Weight, weightValue),
		"faults": faultsField(s),
		"expect": expectField(s),
	}
}

func faultFields(f *Fault) fields {
	return fields{
		"host":    set(&f.Target.Pattern, textValue), // required but for `client:`, see checkLayer
		"from":    set(&f.From, durationValue),
		"until":   set(&f.Until, durationValue),
		"every":   set(&f.Every, durationValue),
		"for":     set(&f.For, durationValue),
		"first":   set(&f.First, whole("of the connections, queries or requests", 1, 1_000_000)),
		"nth":     set(&f.Nth, whole("each so-manieth", 1, 1_000_000)),
		"share":   set(&f.Share, shareValue),
		"packet":  setMapping(&f.Packet, "a packet fault", packetFields, checkPacket),
		"stream":  streamField(f),
		"dns":     setMapping(&f.DNS, "a dns fault", dnsFields, checkDNS),
		"tls":     setMapping(&f.TLS, "a tls fault", tlsFields, checkTLS),
		"http":    setMapping(&f.HTTP, "an http fault", httpFields, checkHTTP),
		"module":  setMapping(&f.Module, "a module fault", moduleFields, checkModule),
		"sumdb":   setMapping(&f.SumDB, "a sumdb fault", sumdbFields, checkSumDB),
		"vcs":     setMapping(&f.VCS, "a vcs fault", vcsFields, checkVCS),
		"forward": setMapping(&f.Forward, "a forward fault", forwardFields, checkForward),
		"client":  setMapping(&f.Client, "a client fault", clientFields, checkClient),
	}
}

func expectationFields(e *Expectation) fields {
	return fields{
		"configs": set(&e.Configs, textValue).must(),
		"outcome": set(&e.Outcome, outcomeValue),
		"class":   set(&e.Class, nameValue),
		"seconds": setNew(&e.Seconds, secondsValue),
	}
}

func configFields(c *Config) fields {
	return fields{
		"name":      set(&c.Name, nameValue).must(),
		"about":     set(&c.About, textValue),
		"env":       setMap(&c.Env, "env", envNameValue, textValue),
		"netrc":     set(&c.Netrc, textValue),
		"gitconfig": set(&c.GitConfig, textValue),
		"cache":     set(&c.Cache, cacheStateValue),
		"retry":     setMapping(&c.Retry, "retry", retryFields, checkRetry),
		"pac":       pacField(&c.PAC),
	}
}

func projectFields(p *Project) fields {
	return fields{
		"name":     set(&p.Name, nameValue).must(),
		"about":    set(&p.About, textValue),
		"dir":      set(&p.Dir, textValue),
		"modules":  setMapping(&p.Modules, "modules", modulesFields, checkModules),
		"run":      setList(&p.Run, "run", textValue),
		"parallel": set(&p.Parallel, whole("commands at once", 1, 16)),
	}
}

func modulesFields(m *Modules) fields {
	const most = 10_000
	*m = Modules{Versions: 1, Depth: 1, ZipSize: 16 << 10}
	return fields{
		"seed":     set(&m.Seed, whole[uint64]("seed", 0, math.MaxInt64)),
		"public":   set(&m.Public, whole("modules", 0, most)),
		"private":  set(&m.Private, whole("modules", 0, most)),
		"versions": set(&m.Versions, whole("versions", 1, 1000)),
		"depth":    set(&m.Depth, whole("modules in a chain", 1, most)),
		"zip-size": set(&m.ZipSize, sizeValue),

		"project":   set(&m.State, oneOf("state of a project", ProjectBare, ProjectTidy, ProjectVendored)),
		"toolchain": set(&m.Toolchain, toolchainValue),
	}
}

// Limits on the modules of a project, all versions of all of them together. Each number in a file is harmless; what
// they come to need not be.
const (
	maxVersions = 100_000
	maxZips     = Size(16 << 30)
)

func checkModules(d *decoder, m *Modules, at Position) {
	versions := (m.Public + m.Private) * m.Versions
	switch {
	case versions > maxVersions:
		d.failf(at, "%d modules with %d versions each are %d to generate; at most %d", m.Public+m.Private, m.Versions, versions, maxVersions)
	case m.ZipSize > maxModuleZip:
		d.failf(at, "`zip-size:` is %v; a module of Go's has at most %v, and some are half as large again", m.ZipSize, maxModuleZip)
	case Size(versions)*m.ZipSize > maxZips:
		d.failf(at, "%d zip files of %v are %v to generate; at most %v", versions, m.ZipSize, Size(versions)*m.ZipSize, maxZips)
	}
}

// maxModuleZip is the largest mean size of zip files with which none is larger than the go command takes:
// MaxZipFile in golang.org/x/mod/zip.
const maxModuleZip = Size(250 << 20)

func parseText(s string) (string, error) {
	if strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("%s contains a NUL character", quote(s))
	}
	return s, nil
}

func parseName(s string) (string, error) {
	if nameForm.regexp().MatchString(s) {
		return s, nil
	}
	kebab := strings.ToLower(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return !isVariableRune(r) || r == '_' || r == '-' }), "-"))
	if nameForm.regexp().MatchString(kebab) {
		return "", fmt.Errorf("%s is not kebab-case; did you mean `%s`?", quote(s), kebab)
	}
	return "", fmt.Errorf("%s is not kebab-case, such as `dead-proxy`", quote(s))
}

func parseHostName(s string) (string, error) {
	s = strings.ToLower(s)
	if len(s) > 253 || !hostForm.regexp().MatchString(s) {
		return "", fmt.Errorf("%s is not a host name", quote(s))
	}
	return s, nil
}

func matching(form *form, what string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !form.regexp().MatchString(s) {
			return "", fmt.Errorf("%s is not %s", quote(s), what)
		}
		return s, nil
	}
}

func parsePositiveSize(s string) (Size, error) {
	n, err := ParseSize(s)
	if err == nil && n == 0 {
		err = fmt.Errorf("%s is out of range: at least 1B", quote(s))
	}
	return n, err
}

func parseShare(s string) (Fraction, error) {
	f, err := ParseFraction(s)
	if err == nil && f == 0 {
		err = fmt.Errorf("%s applies to nothing", quote(s))
	}
	return f, err
}

func parseAmount(s string) (Amount, error) {
	if strings.HasSuffix(s, "%") {
		f, err := ParseFraction(s)
		return Amount{Share: f}, err
	}
	n, err := ParseSize(s)
	return Amount{Bytes: int64(n)}, err
}

func parseRange(s string) (Range, error) {
	parts := rangeForm.regexp().FindStringSubmatch(s)
	if parts == nil {
		return Range{}, fmt.Errorf("%s is not a range of seconds, such as `29..32`", quote(s))
	}
	low, errLow := strconv.ParseFloat(parts[1], 64)
	high, errHigh := strconv.ParseFloat(parts[2], 64)
	if errLow != nil || errHigh != nil || low > high {
		return Range{}, fmt.Errorf("%s is an empty range: %s is more than %s", quote(s), parts[1], parts[2])
	}
	return Range{low, high}, nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%s is neither `true` nor `false`", quote(s))
}

func parseWeight(s string) (float64, error) {
	const most = 1_000_000
	w, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is not a number", quote(s))
	case !(w > 0 && w <= most): // the negation also catches NaN
		return 0, fmt.Errorf("%s is out of range: more than 0 and at most %d", quote(s), most)
	}
	return w, nil
}

func parseWholeSeconds(s string) (time.Duration, error) {
	d, err := ParseDuration(s)
	if err == nil && d%time.Second != 0 {
		err = fmt.Errorf("%s is not a whole number of seconds, which is all that Retry-After can say", quote(s))
	}
	return d, err
}
