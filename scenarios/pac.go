package scenarios

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// A PAC is a proxy auto-configuration that a config comes with. The go command knows no such thing, so that an
// agent on the client host evaluates it, and is the proxy of HTTPS_PROXY. Exactly one of Result, Script and URL
// is set.
type PAC struct {
	Result  string        // what the script would return for every URL, such as "PROXY proxy.example:8080; DIRECT"
	Script  string        // JavaScript that has FindProxyForURL
	URL     string        // http:// or https:// URL of the script, at a host of the world
	Policy  PACPolicy     // what becomes of proxies that failed
	Timeout time.Duration // for a connection to one of the list
}

// A PACPolicy says how an agent goes through the list of proxies that a script returns, and what it makes of those
// that cannot be reached.
type PACPolicy string

// The policies of the language.
const (
	PACChromium PACPolicy = "chromium" // to the end of all lists for 5 minutes, once something after it has worked
	PACFirefox  PACPolicy = "firefox"  // left out for 30 minutes, and each time it fails again for 30 more
	PACWinINET  PACPolicy = "wininet"  // to the end of all lists for 30 minutes
	PACStrict   PACPolicy = "strict"   // nothing: the order of the list each time
)

// DefaultPACTimeout is the Timeout of a PAC that does not say. It is the most that Chromium allows for a
// connection to a proxy (kHttpProxyConnectJobTunnelTimeout in net/http/http_proxy_connect_job.cc).
const DefaultPACTimeout = 30 * time.Second

// MaxPACScript is the largest script, in bytes, that an agent evaluates.
const MaxPACScript = 256 << 10

// pathForm is that of the paths of a web host's files.
var pathForm = newForm(`^/[!-"$->@-~]*$`)

var pacPolicyValue = oneOf("policy", PACChromium, PACFirefox, PACWinINET, PACStrict)

// pacField is the field whose value is a constant result or a mapping.
func pacField(dst **PAC) field {
	return field{
		shape: func() shape { return shape{"anyOf": []shape{textValue.shape, object(pacFields(new(PAC)))}} },
		read: func(d *decoder, n ast.Node) {
			if _, isMapping := n.(*ast.MappingNode); isMapping {
				d.pac(dst, n.(*ast.MappingNode))
				return
			}
			*dst = newPAC()
			if read(d, n, &(*dst).Result, textValue) {
				d.checkPACResult((*dst).Result, d.position(n))
			}
		},
	}
}

func newPAC() *PAC { return &PAC{Policy: PACChromium, Timeout: DefaultPACTimeout} }

func pacFields(p *PAC) fields {
	*p = *newPAC()
	return fields{
		"result":  set(&p.Result, textValue),
		"script":  set(&p.Script, textValue),
		"file":    field{shape: func() shape { return textValue.shape }, read: alreadyRead}, // in decoder.pac
		"url":     set(&p.URL, scalar[string]{parse: parsePACURL, shape: shape{"type": "string", "pattern": "^https?://"}}),
		"policy":  set(&p.Policy, pacPolicyValue),
		"timeout": set(&p.Timeout, durationValue),
	}
}

// pac reads a PAC that is written as a mapping.
func (d *decoder) pac(dst **PAC, n *ast.MappingNode) {
	*dst = new(PAC)
	p, pos := *dst, d.position(n)
	good := d.mapping(n, pos, "a PAC", pacFields(p))
	if file := keyNode(n, "file"); file != nil {
		good = d.pacFile(p, file) && good
	}
	var sources []string
	for _, key := range []string{"result", "script", "file", "url"} {
		if keyNode(n, key) != nil {
			sources = append(sources, "`"+key+":`")
		}
	}
	switch {
	case !good:
	case len(sources) == 0:
		d.failf(pos, "a PAC needs one of `result:`, `script:`, `file:` and `url:`")
	case len(sources) > 1:
		d.failf(pos, "a PAC has one source, not %s", strings.Join(sources, " and "))
	case len(p.Script) > MaxPACScript:
		d.failf(pos, "the script is too large: %d bytes, and at most %d are evaluated", len(p.Script), MaxPACScript)
	case p.Timeout <= 0:
		d.failf(d.position(keyNode(n, "timeout")), "`timeout:` leaves no time for a connection")
	case keyNode(n, "result") != nil:
		d.checkPACResult(p.Result, d.position(keyNode(n, "result")))
	}
}

// pacFile reads the script of a PAC from a file beside the one that names it, as it is: no variables are replaced.
func (d *decoder) pacFile(p *PAC, n ast.Node) bool {
	var name string
	if !read(d, n, &name, textValue) {
		return false
	}
	if d.src.builtin {
		d.failf(d.position(n), "%s is not a file", quote(name))
		return false
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(d.src.name), name)
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		d.failf(d.position(n), "%s is not a file with a script", quote(name)) // a pipe would be waited for
		return false
	}
	content, err := readFile(name)
	if err != nil {
		d.failf(d.position(n), "cannot read the script %s: %s", name, reason(err))
		return false
	}
	p.Script = string(content)
	return true
}

// checkPACResult refuses what an agent would pass over.
func (d *decoder) checkPACResult(result string, pos Position) {
	ways, unknown := ParsePACResult(result)
	switch {
	case len(unknown) > 0:
		d.failf(pos, "%s is no way to a host; write DIRECT, or PROXY, HTTPS or SOCKS5 with host:port", quote(unknown[0]))
	case len(ways) == 0:
		d.failf(pos, "result has no way to a host, such as `PROXY proxy.example:8080; DIRECT`")
	}
}

func parsePACURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("%s is not the URL of a script, such as `http://pac.example/proxy.pac`", quote(s))
	}
	return s, nil
}

// proxyVariables are the environment variables that lead to an agent.
var proxyVariables = []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"}

// checkPACConfig refuses a config whose variables would lead past the agent.
func (d *decoder) checkPACConfig(c *Config, m *ast.MappingNode) {
	if c.PAC == nil {
		return
	}
	for _, name := range proxyVariables {
		if _, ok := c.Env[name]; ok {
			d.failf(d.position(keyNode(m, "env")), "`pac:` sets %s, to the agent that evaluates it; leave it out of `env:`", name)
			return
		}
	}
}

// A Way is one element of what a PAC script returns.
type Way struct {
	Kind WayKind
	Addr string // host:port of the proxy; empty for WayDirect
}

// A WayKind says what a Way leads to.
type WayKind string

// The kinds of ways.
const (
	WayDirect WayKind = "DIRECT"
	WayProxy  WayKind = "PROXY"  // an HTTP proxy
	WayHTTPS  WayKind = "HTTPS"  // an HTTP proxy, spoken to over TLS
	WaySOCKS  WayKind = "SOCKS5" // version 5; "SOCKS" alone is taken for it, too
)

// String returns the way as a script writes it.
func (w Way) String() string { return strings.TrimSpace(string(w.Kind) + " " + w.Addr) }

// wayKinds are the words of scripts, with the port that each leads to by itself: those of ProxyServer::Scheme in
// Chromium's net/base/proxy_server.h.
var wayKinds = map[string]struct {
	kind WayKind
	port int
}{
	"PROXY": {WayProxy, 80}, "HTTP": {WayProxy, 80}, "HTTPS": {WayHTTPS, 443}, "SOCKS": {WaySOCKS, 1080}, "SOCKS5": {WaySOCKS, 1080},
}

// maxWays bounds what is taken of a result.
const maxWays = 64

// ParsePACResult reads what FindProxyForURL returns: ways to a host, the best first, with semicolons between. As in
// browsers, elements that are not understood are passed over; they come back as unknown. SOCKS version 4 is not
// understood. Of more than 64 ways the rest is passed over, too.
func ParsePACResult(result string) (ways []Way, unknown []string) {
	for element := range strings.SplitSeq(result, ";") {
		element = strings.TrimSpace(element)
		switch w, ok := parseWay(element); {
		case element == "":
		case !ok || len(ways) == maxWays:
			unknown = append(unknown, element)
		default:
			ways = append(ways, w)
		}
	}
	return ways, unknown
}

func parseWay(element string) (w Way, ok bool) {
	words := strings.Fields(element)
	if len(words) == 1 && strings.EqualFold(words[0], string(WayDirect)) {
		return Way{Kind: WayDirect}, true
	}
	if len(words) != 2 {
		return w, false
	}
	known, ok := wayKinds[strings.ToUpper(words[0])]
	if !ok {
		return w, false
	}
	host, port, err := net.SplitHostPort(words[1])
	if err != nil {
		host, port = strings.Trim(words[1], "[]"), strconv.Itoa(known.port)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || !isHost(host) {
		return w, false
	}
	return Way{known.kind, net.JoinHostPort(strings.ToLower(host), port)}, true
}

// isHost reports whether a text is a name of a host or an IP address.
func isHost(s string) bool {
	if net.ParseIP(s) != nil {
		return true
	}
	_, err := parseHostName(s)
	return err == nil
}
