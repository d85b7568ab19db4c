package verdict

import (
	"regexp"
	"strings"
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

// lazy is [regexp.MustCompile] of what any of patterns matches, at the first use: all the rules together take more
// than a millisecond, which each lab process would spend, and has no use for.
func lazy(patterns ...string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(strings.Join(patterns, "|")) })
}

// The parts of a message that rules look at.
func text(m message) string     { return m.text }
func response(m message) string { return m.response }
func trace(m message) string    { return m.trace }

// is is a rule about what the go command, or git, says itself: one of patterns.
func is(class string, patterns ...string) rule { return rule{class, lazy(patterns...), text} }

// said is a rule about what a server said: one of patterns.
func said(class string, patterns ...string) rule { return rule{class, lazy(patterns...), response} }

// stages are tried in order, and the rules of each in order: the first that matches decides. So what comes
// first is what can be told from its own words wherever it happens; then the stages, the narrower ones
// before the wider. testdata/lines.tsv has a line for every rule, most of them as users met them.
var stages = []stage{
	{
		about: "HTTP/2, which keeps its class wherever it breaks",
		rules: []rule{
			is("h2-goaway", `GOAWAY`),
			is("h2-stream-error", `stream error: stream ID`),
			is("h2-connection-lost", `http2: |\bconnection error: [A-Z]+_`),
		},
	},
	{
		about: "settings that the go command rejects",
		rules: []rule{
			is("goproxy-empty-list", `GOPROXY list is not the empty string, but contains no entries`),
			is("goproxy-invalid-url",
				`invalid proxy URL|invalid GOPROXY|unsupported (?:protocol )?scheme`,
				`parse (?:"[^"?]*"|[^"?\s]*): (?:first path segment|invalid (?:character|port|URL|userinfo)|missing protocol|net/url)`),
			is("creds-over-http", `refusing to pass credentials to insecure URL`),
			is("env-override-conflict", `does not override conflicting OS environment variable`),
			is("sumdb-config-invalid", `(?:invalid|missing) GOSUMDB|invalid sumdb name`),
			is("toolchain-sumdb-off", `golang\.org/toolchain@.*checksum database disabled by GOSUMDB=off`),
			is("disabled-by-gonoproxy", `(?:disabled by|does not match) GOPRIVATE/GONOPROXY`),
			is("goproxy-off", `disabled by GOPROXY=off`),
			is("govcs-forbidden", `GOVCS disallows using|\bin GOVCS\b`),
			is("network-disabled", `network disabled by `),
			is("go-variable-unknown", `unknown go command variable`),
			is("module-files-outdated",
				`missing go\.sum entry|updates to go\.(?:mod|sum) needed|no required module provides package`,
				`disabled by -mod=|due to -mod=|inconsistent vendoring`),
		},
	},
	{
		about: "the module cache on the client's own disk",
		rules: []rule{
			is("cache-disk-full", `(?i)no space left on device|disk quota exceeded|not enough space on the disk`),
			is("cache-lock-unsupported", `(?i)lock .*: (?:no locks available|function not implemented|`+
				`operation not supported|inappropriate ioctl for device|stale (?:NFS )?file handle|incorrect function|`+
				`resource deadlock avoided|.*request is not supported)`),
			is("cache-rename-denied", `(?i)rename .*: (?:access is denied|permission denied|`+
				`the process cannot access the file|directory not empty|file exists|text file busy|invalid cross-device link)`),
			is("cache-permission",
				`(?i)(?:mkdir|open|create|lock|unlinkat|chmod|remove|l?stat|access|unlink|rmdir|symlink|directory|tree dir|file) .*: (?:`+
					`permission denied|read-only file system|access is denied|operation not permitted)`,
				`insufficient permission for adding|dubious ownership`),
			is("cache-corrupt",
				`(?:unexpected|malformed) ziphash|ziphash file is missing|not completely extracted`,
				`dir has been modified|\.lock': File exists|[Oo]bject file \S+ is empty|loose object \S+ .*is corrupt`,
				`bad object HEAD|shallow file has changed`),
			is("cache-unset",
				`module cache not found|could not locate sumdb file|GO(?:MOD|)CACHE (?:entry|is not)`,
				`GOPATH entry is relative|neither \S+ nor \S+ (?:are|is) (?:set|defined)`),
		},
	},
	{
		about: "the forward proxy of HTTPS_PROXY and the like; curl is what git uses",
		rules: []rule{
			is("fwdproxy-auth-required",
				`HTTP code 407 from proxy|CONNECT tunnel failed, response 407`,
				`: (?:407 )?(?:(?i:proxy ?auth\w* ?required)|authenticationrequired|Authentication Required)`,
				`socks connect .*authentication (?:failed|methods)|rejected by the SOCKS5 server`),
			is("fwdproxy-denied", `HTTP code \d+ from proxy|CONNECT tunnel failed|socks connect .*not allowed by ruleset`),
			is("fwdproxy-connection-lost", `socks connect .*unknown error |Proxy CONNECT aborted`),
			is("fwdproxy-wrong-scheme",
				`proxyconnect tcp: tls: (?:first record|oversized record)|SSL routines:.*wrong version number`,
				`Unsupported proxy`),
			is("fwdproxy-not-http", `proxyconnect tcp: .*malformed HTTP|socks connect .*unexpected protocol version`),
			is("fwdproxy-dns-failure",
				`(?:proxyconnect|socks connect|error connecting to proxy) .*(?:lookup |: address )`,
				`Could(?: not|n't) resolve proxy|invalid proxy address`),
			is("fwdproxy-refused",
				`(?:proxyconnect|socks connect|error connecting to proxy) .*(?:connection refused|actively refused)`,
				`Failed to connect to \$forward-proxy`),
			{"fwdproxy-refused", lazy(`Failed to connect|Couldn't connect`), byAnotherHost},
			is("fwdproxy-unreachable", `(?:proxyconnect|socks connect|error connecting to proxy) .*dial tcp\b.*(?:timeout|timed out|`+
				`did not properly respond|no route to host|network is unreachable|unreachable (?:host|network))`),
			is("fwdproxy-connection-lost",
				`proxyconnect |socks connect |error connecting to proxy |SOCKS[45] connection`,
				`SOCKS[45]? (?:response|connect|read|request)`),
			is("fwdproxy-cgi", `refusing to use HTTP_PROXY value in CGI environment`),
			// The go command shows the answer to a CONNECT as its bare status text: `Get "https://...": Forbidden`.
			is("fwdproxy-denied", `(?m)Get "?https?:\S+: [A-Z][a-z]+(?: [A-Z][A-Za-z-]*)*[\s"'`+"`"+`,.;)\]}]*$`),
		},
	},
	{
		about: "choosing a Go toolchain",
		rules: []rule{
			is("toolchain-not-available",
				`toolchain not available|no releases found for go|cannot find "go1\S*" in PATH`,
				`invalid (?:GOTOOLCHAIN|toolchain) ?["g:]`),
			is("toolchain-local-too-old",
				`requires [Gg]o (?:>= |v?\d).*(?:\(running|is requested)|module requires Go \d`,
				`maximum (?:supported )?version|requires a newer Go`),
		},
	},
	{
		about: "sums that differ: of the database before those of go.sum, which name the module",
		rules: []rule{
			is("gosum-checksum-mismatch", `checksum mismatch\s+downloaded: *\S+\s+go\.sum:|recorded in go\.sum`),
			is("sumdb-checksum-mismatch",
				`verifying (?:module|go\.mod): checksum mismatch|checksum mismatch\s+downloaded: *\S+\s+\S+:`,
				`reported by the checksum server`),
			is("gosum-checksum-mismatch", `(?i)(?:check)?sum mismatch`), // and no more is left of it
		},
	},
	{
		about: "the checksum database, or a module proxy in its place",
		mark:  lazy(`verifying (?:module|go\.mod)|/lookup/|/sumdb/|/tile/\d|(?://|lookup )\$go-sumdb|misbehavior detected|^malformed note|sumdb\.Client|verifiable signatures|checking tree#|sumdb response`),
		rules: []rule{
			is("sumdb-state-corrupt", `initializing sumdb\.Client: .*(?:malformed|verifiable)|^malformed note`),
			is("sumdb-bad-response",
				`checksum missing from sumdb response|malformed (?:record|note|tree)`,
				`cannot (?:authenticate|validate) record|no verifiable signatures|invalid signature for key`,
				`inconsistent tile|misbehavi(?:or detected|ng server)|invalid transparency proof|too short for tile`),
			is("sumdb-proxy-unsupported", `reading \S+/supported: \d{3}`),
			is("sumdb-not-found", `reading \S+/lookup/\S+: (?:404|410)\b`),
			is("sumdb-server-error", `reading \S+: \d{3}\b`),
			is("sumdb-connection-lost", `connection reset|forcibly closed|was aborted|\bEOF\b|broken pipe|bad record MAC|server closed`),
			is("sumdb-unreachable", `(?:Get|read) "?https?:|dial tcp|i/o timeout|deadline exceeded`),
			is("sumdb-not-found", `verifying .*: (?:404 Not Found|410 Gone)`), // the URL left out
		},
	},
	{
		about: "the archive of a Go toolchain",
		mark:  lazy(`golang\.org/toolchain@|download go1\.\d+\S*: `),
		rules: []rule{
			is("toolchain-download-failed", `reading |(?:Get|read) "?https?:|dial tcp|read tcp|EOF|no such file`),
		},
	},
	{
		about: "the ?go-get=1 page that says where a module's repository is",
		mark:  lazy(`\?go-get=1|unrecognized import path|parsing \S+: http: `),
		rules: []rule{
			is("vanity-no-meta",
				`no go-import meta tag|meta tags? .*(?:do|did)(?:es)? not match import path|multiple meta tags match`,
				`disagree about go-import`),
			is("vanity-unknown-vcs", `unknown vcs "|unknown version control system`),
			is("vanity-parse-error", `parse \S+\?go-get=1: |parsing \S+: (?:XML|http: |.*charset)|invalid repo root`),
			is("vanity-http-error", `reading \S+\?go-get=1: \d{3}|\?go-get=1 \(status code 5\d\d\)`),
			is("redirect-insecure", `redirected from secure URL`),
			is("redirect-loop", `stopped after \d+ redirects`),
			is("vanity-dns-failure", `dial tcp: lookup |no such host`),
			is("vanity-tls-failure", `x509: |tls: |certificate|HTTP response to HTTPS client`),
			is("vanity-unreachable", `(?:Get|read) "?https?:|dial tcp|read tcp|i/o timeout|EOF`),
			is("module-path-mismatch", `import path does not begin with hostname|invalid \S+ import path|malformed (?:import|module) path`),
		},
	},
	{
		about: "git and its like",
		mark: lazy(`(?i:fatal: |\bexec: "|repository not found|repository does not exist|xcrun: |RPC failed|unable to access)|` +
			`(?m:^\s*(?:error|remote|abort): )|exit status (?:128|129|255)|\b(?:git|hg|svn|bzr|fossil|ssh) [a-z'-]|\b(?:ssh|svn|bzr|git|hg): |` +
			`usage: git|no secure protocol found|Host key verification failed|Permission denied \(|from remote repository`),
		rules: []rule{
			is("vcs-tool-missing",
				`exec: "?(?:git|hg|svn|bzr|fossil|ssh)\b.*(?:executable file not found|file does not exist|no such file)`,
				`missing (?:Git|Mercurial|Subversion|Bazaar|Fossil) command|cannot run ssh`,
				`fork/exec \S*\b(?:git|hg|svn|bzr)\S*: |remote helper for 'https|'remote-https' is not a git command`,
				`xcrun: error|Xcode license`),
			is("git-too-old", `usage: git|unknown (?:option|switch)|expected shallow list`),
			is("git-rate-limited", `(?i)rate limit|abuse detection`),
			is("ssh-host-key",
				`Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|can't be established`,
				`No \S+ host key is known`),
			is("git-auth-required",
				`(?i)could not read (?:username|password|passphrase)|terminal prompts disabled|authentication failed`,
				`permission denied \(|permission denied, please|permission to \S+ denied|HTTP Basic: access denied`,
				`invalid username or|invalid credentials|bad credentials|password authentication was removed`,
				`logon failed|read askpass|not allowed to (?:download|access|upload)|access to repository not granted`,
				`SAML SSO|requested URL returned error: 401|HTTP code = 401`,
				`abort: (?:http )?authorization (?:required|failed)`),
			is("git-repo-not-found",
				`(?i)repository not found|repository '.*' not found|not a git repository|is this a git repository`,
				`does not appear to be a git repository|could not be found|repository (?:\S+ )?does not exist`,
				`does not exist or you do not have permission|not exported|remote: not found|unavailable due to`,
				`repository .*has been disabled|abort: HTTP Error 404|URL '.*' doesn't exist|not a branch`),
			is("unknown-revision",
				`(?i)couldn't find remote ref|no such remote ref|not our ref|unadvertised object`,
				`reference is not a tree|did not match any file|not a valid object name|remote branch \S+ not found`,
				`unknown revision|bad revision`),
			is("git-http-error",
				`requested URL returned error: \d+|RPC failed; (?:HTTP|result=22,? HTTP code =) \d+`,
				`Received HTTP/0\.9 when not allowed|Maximum \(\d+\) redirects followed|unable to update url base`,
				`HTTP Error \d{3}|HTTP request failed|Internal Server Error|unexpected http code`),
			is("git-remote-error", `fatal: remote error: |dumb http transport`),
			is("git-dns-failure",
				`(?i)could(?: not|n't) resolve host|unable to look up|name or service not known`,
				`failure in name resolution|nodename nor servname|getaddrinfo|no address associated`),
			is("git-tls-untrusted",
				`(?i)certificate verif(?:y|ication) failed|SSL certificate problem`,
				`SSL: (?:certificate subject|no alternative certificate)`,
				`certificate (?:issuer|signature) (?:is not|has)|setting certificate|SSL CA cert`,
				`self[- ]signed certificate|untrusted_?root|authority that is not trusted|UNKNOWN_ISSUER`,
				`local issuer certificate|certificate has expired|peer's certificate|certificate name`),
			is("git-transfer-interrupted",
				`(?i)RPC failed|not closed cleanly|transfer closed|early EOF|hung up|unexpected disconnect`,
				`bytes of body are still expected|operation too slow|empty reply from server|bad pack header`,
				`unpack-objects failed|index-pack (?:failed|output|died)|HTTP2 framing layer|connection died, tried`,
				`missing hexadecimal sequence in chunked|bad line length character|unexpected flush|expected flush`,
				`incomplete chunk|inflate: data stream error|broken pipe|did not send all necessary objects`,
				`problem in the chunked|invalid chunk|bad chunk`),
			is("git-tls-failure",
				`(?i)gnutls_handshake\(\) failed|GnuTLS recv error|SSL_connect|SSL_read|SSL_ERROR|SSLRead|schannel: `,
				`SSL routines|x509 certificate routines|unknown SSL protocol|TLS connect error|SSL connect`,
				`SSL connection timeout|NSS error|communicate securely|SEC_E_|SSL received|mbedtls|secure connection`),
			is("git-unreachable",
				`(?i)unable to connect|failed to connect|could(?:n't| not) connect|timed out`,
				`connection (?:was )?(?:refused|reset|aborted)|no secure protocol found|no route to host`,
				`network is unreachable|recv failure|send failure`),
			// the first is what git adds to whatever ssh said
			is("ssh-failed",
				`Could not read from remote repository|Unable to negotiate|kex_exchange|ssh_exchange`,
				`Bad owner or permissions`),
		},
	},
	{
		about: "what a module proxy passes on from where it looked",
		rules: []rule{
			said("upstream-unknown-revision", `unknown revision`),
			said("upstream-fetch-timeout", `timed out|deadline exceeded|fetch timeout`),
			said("upstream-git-error", `\bgit (?:ls-remote|fetch|clone|init)|exit status 128|fatal: `),
			said("invalid-pseudo-version", `invalid pseudo-version`),
			said("module-path-mismatch", modulePath),
			said("policy-blocked",
				`(?i)\bblocked|quarantin|curation|(?:security|download|company|corporate) policy|polic(?:y|ies) violat`,
				`violat\w+ (?:of )?\w* ?polic|malicious`),
		},
	},
	{
		about: "revisions and versions",
		rules: []rule{
			is("invalid-pseudo-version", `(?:invalid|malformed) pseudo-version`),
			is("unknown-revision", `unknown revision|unknown commit|revision \S+ does not exist|is not a tag\)`),
			is("version-query-no-match", `no matching versions?\b`),
			is("proxy-case-encoding", `invalid escaped (?:module path|version)`),
		},
	},
	{
		about: "the store that a module proxy sends large files from",
		mark:  lazy(`https://(?:[\w.-]+\.)?storage\.`),
		rules: []rule{
			is("storage-redirect-blocked", `(?:Get|read|reading) "?https://(?:[\w.-]+\.)?storage\.`),
		},
	},
	{
		about: "a file:// proxy",
		mark:  lazy(`file://`),
		rules: []rule{
			is("file-proxy-incomplete", `no such file or directory|cannot find the (?:file|path)`),
		},
	},
	{
		about: "names",
		mark:  lazy(`\blookup \S+|no such host|(?i:name resolution)`),
		rules: []rule{
			is("dns-no-such-host",
				`(?i)no such host|nodename nor servname|name or service not known|no address associated`,
				`DNS name does not exist|name is valid, but no data|no suitable address|unknown host`),
			is("dns-server-failure",
				`(?i)server misbehaving|cannot unmarshal DNS message|invalid DNS response`,
				`temporary (?:failure in name|error during hostname) resolution|DNS server failure`,
				`no answer from DNS server|non-recoverable error|lame referral|try again|device or resource busy`),
			is("dns-server-unreachable",
				`(?:no route to|unreachable) (?:host|network)|(?:network|host) is (?:unreachable|down)`,
				`connection refused|actively refused|(?:dial|write|read) udp .*: (?:connect|socket|sendto|write): `,
				`forcibly closed`),
			is("dns-timeout", `timeout|timed out|deadline exceeded`),
		},
	},
	{
		about: "TLS",
		rules: []rule{
			is("tls-handshake-timeout", `(?i)TLS handshake time`),
			is("tls-cert-rejected", `x509: cannot verify signature: insecure algorithm`), // which ends as an unknown authority
			is("tls-unknown-authority",
				`signed by unknown authority|certificate is not trusted|failed to load system roots`,
				`local issuer certificate|self[- ]signed certificate`),
			is("tls-cert-expired", `certificate has expired or is not yet valid|certificate is expired|certificate has expired`),
			is("tls-name-mismatch",
				`certificate is (?:not )?valid for|cannot validate certificate for|certificate name does not match`,
				`certificate is not valid for any|tls: unrecognized name`),
			is("tls-cert-rejected", `x509: |failed to (?:verify|parse) certificate|invalid signature by the server certificate`),
			is("tls-client-certificate", `remote error: tls: (?:certificate required|(?:bad|unknown|unsupported|revoked|expired) certificate|unknown certificate authority|access denied)`),
			is("tls-bad-record-mac", `bad record MAC|error decrypting message|decryption failed`),
			is("http-on-https-port", `HTTP response to HTTPS client`),
			is("tls-protocol-mismatch", `(?:remote|local) error: tls: |\btls: `),
		},
	},
	{
		about: "TCP",
		rules: []rule{
			is("goproxy-invalid-url", `dial tcp: (?:address \S+ |missing address)`),
			is("tcp-connect-timeout",
				`dial tcp\b.*(?:i/o timeout|timed out|timeout period|did not properly respond|deadline exceeded)`,
				`while waiting for connection`),
			is("tcp-connection-refused", `(?i)connection refused|actively refused`),
			// permissions: a firewall said so
			is("tcp-unreachable",
				`(?i)(?:network|host) is (?:unreachable|down)|no route to host|unreachable (?:host|network)`,
				`address family not supported|cannot assign requested address|requested address is not valid`,
				`dial tcp .*(?:permission denied|operation not permitted|forbidden by its access permissions|invalid argument|no such device|bad file descriptor)`),
			is("tcp-connection-reset",
				`(?i)connection (?:was )?(?:reset|aborted)|forcibly closed|broken pipe`,
				`software caused connection abort|network name is no longer available|use of closed network connection`),
			is("tcp-read-timeout",
				`read: (?:operation|connection) timed out`,
				`(?:read|write) tcp .*(?:timeout|timed out|did not properly respond)|read "?http.*i/o timeout`,
				`awaiting (?:response )?headers|reading body|context deadline exceeded`),
			is("tcp-connect-timeout", `i/o timeout`), // as the way to a host takes longest
		},
	},
	{
		about: "HTTP",
		rules: []rule{
			// the latter: it came before the request
			is("http-malformed-response",
				`malformed (?:HTTP|MIME|chunked)|invalid (?:byte in|CR in) chunk|chunked line|chunk length`,
				`chunked encoding|header line too long|headers exceeded|transfer encoding|bad Content-Length`,
				`multiple Content-Length|Location header|gzip: invalid|readLoopPeekFailLocked`),
			is("http-body-length-mismatch", `declared Content-Length|http: ContentLength=`),
			is("redirect-loop", `stopped after \d+ redirects`),
			is("redirect-insecure", `redirected from secure URL`),
			is("zip-invalid", `unzip .*unexpected EOF|flate: corrupt`),
			is("download-truncated", `unexpected EOF`),
			is("connection-closed-early", `: EOF|server closed (?:idle )?connection|transport connection broken`),
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
			is("zip-invalid",
				`zip: (?:not a valid|checksum|unsupported|invalid)|zip file contains more than one|top-level directory`,
				`both a file and a directory|multiple entries for file|file name collision|larger than declared size`),
			is("module-path-mismatch", modulePath),
			is("module-too-large", `too (?:large|big)|exceeds allowed size`),
			is("go-mod-invalid",
				`parsing \S*go\.(?:mod|work): \S|errors parsing \S*\s*\S*go\.(?:mod|work)`,
				`go\.(?:mod|work):\d+(?::\d+)?: |malformed go\.sum|invalid go version|unknown (?:directive|block type)`,
				`missing module (?:line|declaration|path)|replacement director`),
			is("proxy-bad-json",
				`invalid response from proxy|looking for beginning of`,
				`invalid character .* (?:in literal|after (?:top-level|object|array))|end of JSON input`,
				`cannot unmarshal|proxy returned info for version`),
		},
	},
	{
		about: "what a forward proxy says in words of its own",
		rules: []rule{
			is("fwdproxy-denied", `Get "?https?:\S+: (?:cannotconnect|\w*(?:blocked|denied|forbidden|notallowed))\b`),
		},
	},
	{
		about: "the -x trace: a not-found that took its time, in seconds of two digits or more",
		rules: []rule{
			{slowNotFound, lazy(`: (?:404|410) .*\(\d{2,}\.\d+s\)`), trace},
		},
	},
}

// modulePath is what the go command says when a module is not what its path promises.
const modulePath = `declares its path as|unexpected module path|used for two different module paths|has unexpected file|` +
	`does not have prefix|module path must match|` +
	`(?:major version must be compatible|should be v0 or v1|should be v\d+, not v)|` +
	`\+incompatible suffix not allowed|has (?:post|non|malformed)\S* module path|does not contain package|` +
	`repository rooted at|mismatched repo|missing \S*go\.mod(?: and \S+)? at revision|` +
	`malformed (?:module|import) path|invalid \S+ import path|is not in (?:std|GOROOT)|` +
	`cannot find module providing package`

// status is the pattern of the go command's words for an HTTP status, those of before Go 1.13 included, and of
// what is left of them where somebody shortened the URL.
func status(code string) string {
	return `(?:reading \S+|unexpected status \(\S+\)): ` + code + `\b|(?m:(?::|unexpected status(?: code)?:?|HTTP(?:/\d(?:\.\d)?)?) ` + code + `(?: [A-Z]|[\s"',;.)]*$))`
}

var (
	accessed  = lazy(`unable to access '?https?://(?:[^/@']*@)?([^:/']+)`)
	connected = lazy(`connect to (?:server )?(\S+) port`)
)

// byAnotherHost is the text of a message of git that failed to reach another host than that of the repository: the
// forward proxy of git's own settings.
func byAnotherHost(m message) string {
	url, host := accessed().FindStringSubmatch(m.text), connected().FindStringSubmatch(m.text)
	if url == nil || host == nil || url[1] == host[1] {
		return ""
	}
	return m.text
}
