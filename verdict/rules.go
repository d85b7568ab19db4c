package verdict

import (
	"regexp"
	"sync"
)

// A stage is a part of the way from the go command to a module, with the rules for errors there.
type stage struct {
	about string
	mark  func() *regexp.Regexp // a message without it does not belong here; nil means any may
	rules []rule
}

// A rule gives a class to the messages that its pattern matches.
type rule struct {
	class   string
	pattern func() *regexp.Regexp
	part    func(message) string
}

// lazy is [regexp.MustCompile] at the first use: all the rules together take more than a millisecond, which
// each lab process would spend, and has no use for.
func lazy(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// The parts of a message that rules look at.
func text(m message) string     { return m.text }
func response(m message) string { return m.response }
func trace(m message) string    { return m.trace }

// is is a rule about what the go command, or git, says itself.
func is(class, pattern string) rule { return rule{class, lazy(pattern), text} }

// said is a rule about what a server said.
func said(class, pattern string) rule { return rule{class, lazy(pattern), response} }

// stages are tried in order, and the rules of each in order: the first that matches decides. So what comes
// first is what can be told from its own words wherever it happens; then the stages, the narrower ones
// before the wider. testdata/lines.tsv has a line for every rule, most of them as users met them.
var stages = []stage{
	{
		about: "HTTP/2, which keeps its class wherever it breaks",
		rules: []rule{
			is("h2-goaway", `GOAWAY`),
			is("h2-stream-error", `stream error: stream ID`),
			is("h2-connection-lost", `http2: `),
		},
	},
	{
		about: "settings that the go command rejects",
		rules: []rule{
			is("goproxy-empty-list", `GOPROXY list is not the empty string, but contains no entries`),
			is("goproxy-invalid-url", `invalid proxy URL|invalid GOPROXY|unsupported protocol scheme`),
			is("creds-over-http", `refusing to pass credentials to insecure URL`),
			is("env-override-conflict", `does not override conflicting OS environment variable`),
			is("sumdb-config-invalid", `(?:invalid|missing) GOSUMDB`),
			is("toolchain-sumdb-off", `golang\.org/toolchain@.*checksum database disabled by GOSUMDB=off`),
			is("disabled-by-gonoproxy", `disabled by GOPRIVATE/GONOPROXY`),
			is("goproxy-off", `disabled by GOPROXY=off`),
			is("govcs-forbidden", `GOVCS disallows using`),
			is("network-disabled", `network disabled by `),
			is("go-variable-unknown", `unknown go command variable`),
		},
	},
	{
		about: "the module cache on the client's own disk",
		rules: []rule{
			is("cache-disk-full", `no space left on device|[Dd]isk quota exceeded|not enough space on the disk`),
			is("cache-lock-unsupported", `(?i)lock .*: (?:no locks available|function not implemented|operation not supported|inappropriate ioctl for device|stale (?:NFS )?file handle)`),
			is("cache-rename-denied", `rename .*: (?:Access is denied|permission denied|The process cannot access the file)`),
			is("cache-permission", `(?i)(?:mkdir|open|create|lock|unlinkat|chmod|remove) \S+: (?:permission denied|read-only file system|access is denied|operation not permitted)`),
			is("cache-corrupt", `(?:unexpected|malformed) ziphash`),
		},
	},
	{
		about: "the forward proxy of HTTPS_PROXY and the like; curl is what git uses",
		rules: []rule{
			is("fwdproxy-auth-required", `HTTP code 407 from proxy|CONNECT tunnel failed, response 407|407 Proxy Authentication Required|: Proxy Authentication Required|socks connect .*authentication (?:failed|methods)`),
			is("fwdproxy-denied", `HTTP code \d+ from proxy|CONNECT tunnel failed|socks connect .*not allowed by ruleset`),
			is("fwdproxy-wrong-scheme", `proxyconnect tcp: tls: (?:first record|oversized record)|SSL routines:.*wrong version number`),
			is("fwdproxy-not-http", `proxyconnect tcp: .*malformed HTTP|socks connect .*unexpected protocol version`),
			is("fwdproxy-dns-failure", `(?:proxyconnect|socks connect) .*lookup |Could not resolve proxy`),
			is("fwdproxy-refused", `(?:proxyconnect|socks connect) .*(?:connection refused|actively refused)|Failed to connect to \$forward-proxy`),
			is("fwdproxy-unreachable", `(?:proxyconnect|socks connect) .*dial tcp\b.*(?:timeout|timed out|did not properly respond|no route to host|network is unreachable|unreachable (?:host|network))`),
			is("fwdproxy-connection-lost", `proxyconnect |socks connect `),
			is("fwdproxy-cgi", `refusing to use HTTP_PROXY value in CGI environment`),
			// The go command shows the answer to a CONNECT as its bare status text: `Get "https://...": Forbidden`.
			is("fwdproxy-denied", `(?m)Get "?https?:\S+: [A-Z][a-z]+(?: [A-Z][A-Za-z-]*)*\)?$`),
		},
	},
	{
		about: "choosing a Go toolchain",
		rules: []rule{
			is("toolchain-not-available", `toolchain not available`),
			is("toolchain-local-too-old", `requires go >= .*\(running go`),
		},
	},
	{
		about: "sums that differ: of the database before those of go.sum, which name the module",
		rules: []rule{
			is("sumdb-checksum-mismatch", `verifying (?:module|go\.mod): checksum mismatch|checksum mismatch\n.*\n\s*\$go-sumdb: `),
			is("gosum-checksum-mismatch", `verifying \S+: checksum mismatch`),
		},
	},
	{
		about: "the checksum database, or a module proxy in its place",
		mark:  lazy(`verifying (?:module|go\.mod)|/lookup/|/sumdb/|/tile/\d|(?://|lookup )\$go-sumdb|misbehavior detected|^malformed note`),
		rules: []rule{
			is("sumdb-state-corrupt", `initializing sumdb\.Client: .*(?:malformed|verifiable)|^malformed note`),
			is("sumdb-bad-response", `malformed (?:record|note|tree)|cannot (?:authenticate|validate) record|no verifiable signatures|invalid signature for key|inconsistent tile|misbehavior detected`),
			is("sumdb-proxy-unsupported", `reading \S+/supported: \d{3}`),
			is("sumdb-not-found", `reading \S+/lookup/\S+: (?:404|410)\b`),
			is("sumdb-server-error", `reading \S+: \d{3}\b`),
			is("sumdb-connection-lost", `connection reset|forcibly closed|\bEOF\b|broken pipe|bad record MAC`),
			is("sumdb-unreachable", `(?:Get|read) "?https?:|dial tcp`),
		},
	},
	{
		about: "the archive of a Go toolchain",
		mark:  lazy(`golang\.org/toolchain@`),
		rules: []rule{
			is("toolchain-download-failed", `reading |(?:Get|read) "`),
		},
	},
	{
		about: "the ?go-get=1 page that says where a module's repository is",
		mark:  lazy(`\?go-get=1|unrecognized import path|parsing \S+: http: `),
		rules: []rule{
			is("vanity-no-meta", `no go-import meta tags`),
			is("vanity-unknown-vcs", `unknown vcs "`),
			is("vanity-parse-error", `parse \S+\?go-get=1: |parsing \S+: XML|parsing \S+: http: `),
			is("vanity-http-error", `reading \S+\?go-get=1: \d{3}`),
			is("vanity-dns-failure", `dial tcp: lookup `),
			is("vanity-tls-failure", `x509: |tls: |HTTP response to HTTPS client`),
			is("vanity-unreachable", `(?:Get|read) "?https?:`),
		},
	},
	{
		about: "git and its like",
		mark:  lazy(`fatal: |error: |remote: |exit status|\bexec: "|\bgit |usage: git|no secure protocol found|Host key verification failed`),
		rules: []rule{
			is("vcs-tool-missing", `executable file not found`),
			is("git-too-old", `usage: git|unknown (?:option|switch)`),
			is("git-rate-limited", `(?i)rate limit`),
			is("ssh-host-key", `Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED`),
			is("git-auth-required", `could not read (?:Username|Password)|Authentication failed|Permission denied \(|HTTP Basic: Access denied|Invalid username or|password authentication was removed`),
			is("git-repo-not-found", `(?i)repository not found|repository '.*' not found|not a git repository|is this a git repository|does not appear to be a git repository|project you were looking for could not be found`),
			is("git-http-error", `requested URL returned error: \d+|RPC failed; (?:HTTP|result=22, HTTP code =) \d+|Received HTTP/0\.9 when not allowed|Maximum \(\d+\) redirects followed`),
			is("git-remote-error", `fatal: remote error: `),
			is("git-dns-failure", `Could not resolve host`),
			is("git-tls-untrusted", `certificate verification failed|SSL certificate problem|SSL: (?:certificate subject|no alternative certificate)`),
			is("git-transfer-interrupted", `RPC failed|not closed cleanly|transfer closed|early EOF|hung up unexpectedly|Operation too slow|Empty reply from server|bad pack header|unpack-objects failed|invalid index-pack output|HTTP2 framing layer|Connection died, tried|missing hexadecimal sequence in chunked|bad line length character`),
			is("git-tls-failure", `gnutls_handshake\(\) failed|GnuTLS recv error|SSL_connect|SSL_read|SSL_ERROR_SYSCALL|schannel: |SSL routines|x509 certificate routines`),
			is("git-unreachable", `(?i)unable to connect|failed to connect|could(?:n't| not) connect|(?:connection|operation) timed out|connection (?:refused|reset)|no secure protocol found`),
			is("unknown-revision", `couldn't find remote ref`),
			is("ssh-failed", `Could not read from remote repository`), // what git adds to whatever ssh said
		},
	},
	{
		about: "what a module proxy passes on from where it looked",
		rules: []rule{
			said("upstream-unknown-revision", `(?s)(?:not found: |invalid version: ).*unknown revision`),
			said("upstream-fetch-timeout", `(?s)not found: .*(?:timed out|deadline exceeded)`),
			said("upstream-git-error", `(?s)not found: .*(?:\bgit |exit status 128)`),
			said("policy-blocked", `(?i)blocked by|quarantin|curation|security policy`),
		},
	},
	{
		about: "revisions and versions",
		rules: []rule{
			is("invalid-pseudo-version", `invalid pseudo-version`),
			is("unknown-revision", `unknown revision`),
			is("version-query-no-match", `no matching versions for query`),
			is("proxy-case-encoding", `invalid escaped (?:module path|version)`),
		},
	},
	{
		about: "the store that a module proxy sends large files from",
		mark:  lazy(`https://storage\.`),
		rules: []rule{
			is("storage-redirect-blocked", `(?:Get|read|reading) "?https://storage\.`),
		},
	},
	{
		about: "a file:// proxy",
		mark:  lazy(`reading file://`),
		rules: []rule{
			is("file-proxy-incomplete", `no such file or directory`),
		},
	},
	{
		about: "names",
		mark:  lazy(`\blookup \S+`),
		rules: []rule{
			is("dns-no-such-host", `(?i)no such host|nodename nor servname|name or service not known`),
			is("dns-server-failure", `(?i)server misbehaving|cannot unmarshal DNS message|invalid DNS response|temporary (?:failure in name|error during hostname) resolution`),
			is("dns-server-unreachable", `no route to host|network is unreachable|connection refused|dial udp .*: connect: `),
			is("dns-timeout", `timeout|timed out`),
		},
	},
	{
		about: "TLS",
		rules: []rule{
			is("tls-handshake-timeout", `TLS handshake timeout`),
			is("tls-cert-rejected", `x509: cannot verify signature: insecure algorithm`), // which ends as an unknown authority
			is("tls-unknown-authority", `signed by unknown authority|certificate is not trusted|failed to load system roots`),
			is("tls-cert-expired", `certificate has expired or is not yet valid|certificate is expired`),
			is("tls-name-mismatch", `certificate is (?:not )?valid for|cannot validate certificate for|certificate name does not match`),
			is("tls-cert-rejected", `x509: `),
			is("tls-client-certificate", `tls: certificate required`),
			is("tls-bad-record-mac", `bad record MAC`),
			is("http-on-https-port", `HTTP response to HTTPS client`),
			is("tls-protocol-mismatch", `remote error: tls: |tls: (?:.*protocol version|.*handshake failure|no supported|first record|oversized record)`),
		},
	},
	{
		about: "TCP",
		rules: []rule{
			is("tcp-connect-timeout", `dial tcp\b.*(?:i/o timeout|connection timed out|operation timed out|did not properly respond)`),
			is("tcp-connection-refused", `connection refused|actively refused`),
			is("tcp-unreachable", `network is unreachable|no route to host|unreachable (?:host|network)|cannot assign requested address|dial tcp .*(?:permission denied|operation not permitted|forbidden by its access permissions)`), // the last two: a firewall said so
			is("tcp-connection-reset", `connection reset by peer|forcibly closed|broken pipe|connection was aborted|software caused connection abort`),
			is("tcp-read-timeout", `read: (?:operation|connection) timed out|read tcp .*(?:i/o timeout|did not properly respond)`),
		},
	},
	{
		about: "HTTP",
		rules: []rule{
			is("http-malformed-response", `malformed HTTP|invalid byte in chunk length|readLoopPeekFailLocked`), // the latter: it came before the request
			is("http-body-length-mismatch", `declared Content-Length`),
			is("redirect-loop", `stopped after \d+ redirects`),
			is("redirect-insecure", `redirected from secure URL`),
			is("download-truncated", `unexpected EOF`),
			is("connection-closed-early", `: EOF|server closed idle connection`),
			is("http-400", status("400")),
			is("http-401", status("401")),
			is("http-403", status("403")),
			is("http-404", status("404")),
			is("http-410", status("410")),
			is("http-429", status("429")),
			is("http-500", status("500")),
			is("http-502", status("502")),
			is("http-503", status("503")),
			is("http-504", status("504")),
			is("http-other", status(`\d{3}`)),
		},
	},
	{
		about: "what is inside an answer that came in well",
		rules: []rule{
			is("zip-invalid", `zip: not a valid zip file|zip: checksum error|zip: unsupported`),
			is("module-path-mismatch", `declares its path as|used for two different module paths|has unexpected file|does not have prefix`),
			is("module-too-large", `too large`),
			is("go-mod-invalid", `parsing \S*go\.mod: \S`),
			is("proxy-bad-json", `invalid response from proxy|looking for beginning of value|end of JSON input|proxy returned info for version`),
		},
	},
	{
		about: "the -x trace: a not-found that took its time, in seconds of two digits or more",
		rules: []rule{
			{slowNotFound, lazy(`: (?:404|410) .*\(\d{2,}\.\d+s\)`), trace},
		},
	},
}

// status is the pattern of the go command's words for an HTTP status, those of before Go 1.13 included.
func status(code string) string {
	return `(?:reading \S+|unexpected status \(\S+\)): ` + code + `\b`
}
