package scenarios

import (
	"time"
)

// A World is the hosts that exist and what the way to each of them is like from one vantage point.
type World struct {
	Name        string
	About       string
	Vars        map[string]string // defaults for $name; the caller's variables win
	Hosts       []Host            // in the order of the file
	Nameservers []Nameserver      // in the order of the client's resolv.conf; never empty
	Resolver    Resolver          // the rest of the client's resolv.conf
	Pos         Position
}

// A Host is one server of a World, on one port.
// Hosts of the same name and different ports share addresses and link.
type Host struct {
	Name      string            // DNS name, lower case
	Port      int               // 0 means the ports that the role has: 443 with TLS and 80 without
	Role      Role              // what answers there
	Private   bool              // it knows the project's private modules
	Files     map[string]string // what a web server serves, by path
	SumDB     []string          // names of the checksum databases that a module-proxy answers for below /sumdb/
	Upstream  string            // module-proxy that a module-proxy asks for what its cache does not have; empty: it has all
	CodeHost  string            // host that has the repositories of a vcs that has pages only; empty means itself
	Family    Family            // the kinds of addresses it has
	Addresses int               // how many of each kind, at most MaxAddresses; 0 means 1
	Link      Link              // the way from the client to it and back
	Server    *Server           // program that serves it; nil means simrun's own server
	Pos       Position
}

// Ports returns the ports that the host listens on.
func (h *Host) Ports() []uint16 {
	switch {
	case h.Port != 0:
		return []uint16{uint16(h.Port)}
	case h.Role == RoleForwardProxy:
		return []uint16{8080}
	case h.Role == RoleHTTPSProxy:
		return []uint16{443}
	case h.Role == RoleSOCKSProxy:
		return []uint16{1080}
	}
	return []uint16{443, 80}
}

// Dials reports whether the host connects to others.
func (h *Host) Dials() bool { return h.IsForwardProxy() || h.Upstream != "" || h.Server != nil }

// Secure reports whether a port of the host speaks TLS.
func (h *Host) Secure(port uint16) bool {
	switch h.Role {
	case RoleHTTPSProxy:
		return true
	case RoleForwardProxy, RoleSOCKSProxy:
		return false
	}
	return port != 80
}

// A Role says what kind of server a host is.
type Role string

// The roles of the language.
const (
	RoleModuleProxy  Role = "module-proxy"  // the GOPROXY protocol, https://go.dev/ref/mod#goproxy-protocol
	RoleChecksumDB   Role = "checksum-db"   // the checksum database, https://go.dev/design/25530-sumdb
	RoleVCS          Role = "vcs"           // ?go-get=1 pages and git over HTTP
	RoleForwardProxy Role = "forward-proxy" // an HTTP proxy with CONNECT; port 8080 unless the key names another
	RoleHTTPSProxy   Role = "https-proxy"   // the same, spoken to over TLS; port 443
	RoleWeb          Role = "web"           // a web server with files
	RoleSOCKSProxy   Role = "socks-proxy"   // a proxy of SOCKS version 5 (RFC 1928); port 1080
)

// A Family is the set of address families that a host has addresses of.
type Family string

// The families of the language. The zero value means FamilyDual.
const (
	FamilyDual Family = "dual"
	FamilyIPv4 Family = "ipv4"
	FamilyIPv6 Family = "ipv6"
)

// A Nameserver is one of the client's name servers.
type Nameserver struct {
	Name string // what a fault calls it: ns:NAME
	Link Link
	Pos  Position
}

// Resolver is what the client's files say about names, beside the name servers.
type Resolver struct {
	Search  []string `yaml:"search"`
	Options []string `yaml:"options"` // such as "timeout:1", "attempts:1", "rotate"
	Hosts   []string `yaml:"hosts"`   // of the world, whose addresses are in /etc/hosts
}

// A Link is what the way to a host and back is like. The zero Link adds nothing.
type Link struct {
	RTT    time.Duration // round trip; half of it in each direction
	Jitter time.Duration // each packet's one-way delay varies uniformly by up to this much to either side; order is kept
	Loss   Fraction      // share of packets lost, independently, in each direction
	Rate   Rate          // bits per second in each direction; 0 means unlimited
	Queue  Size          // bytes that wait for Rate before packets are dropped; 0 means DefaultQueue
}

// DefaultQueue is the drop-tail queue of a Link with a Rate and no Queue.
const DefaultQueue Size = 256 << 10

// A Scenario is a World with faults on a time line, and what is expected of named configs.
type Scenario struct {
	Name   string
	About  string
	World  *World
	Weight float64 // how often this happens relative to the others; 1 unless the file says otherwise
	Faults []Fault
	Expect []Expectation
	Pos    Position
}

// A Fault is one thing that is wrong, at one place, at one layer.
// Exactly one of Packet, Stream, DNS, TLS, HTTP, Module, SumDB, VCS, Forward and Client is set.
type Fault struct {
	Target Target
	From   time.Duration // from the start of the go command
	Until  time.Duration // 0 means for ever
	Every  time.Duration // from From on, the fault comes back so often; 0 means that it stays
	For    time.Duration // and stays for so long each time

	// Which of the connections, queries or requests that it meets while it is in force.
	First int      // only so many; 0 means all
	Nth   int      // only each so-manieth; 0 means each
	Share Fraction // only so many of them, drawn at random; 0 means all

	Packet  *PacketFault
	Stream  *StreamFault
	DNS     *DNSFault
	TLS     *TLSFault
	HTTP    *HTTPFault
	Module  *ModuleFault
	SumDB   *SumDBFault
	VCS     *VCSFault
	Forward *ForwardFault
	Client  *ClientFault // has no Target, and no time line

	Pos Position
}

// Active reports whether the fault is in force at a time since the start of the go command.
func (f *Fault) Active(at time.Duration) bool {
	if at < f.From || f.Until != 0 && at >= f.Until {
		return false
	}
	return f.Every == 0 || (at-f.From)%f.Every < f.For
}

// Selective reports whether the fault is about some only of the connections, queries or requests that it
// meets.
func (f *Fault) Selective() bool { return f.First > 0 || f.Nth > 0 || f.Share > 0 }

// Layer returns the key that the fault was declared under, such as "packet".
func (f *Fault) Layer() string {
	switch {
	case f.Packet != nil:
		return "packet"
	case f.Stream != nil:
		return "stream"
	case f.DNS != nil:
		return "dns"
	case f.TLS != nil:
		return "tls"
	case f.HTTP != nil:
		return "http"
	case f.VCS != nil:
		return "vcs"
	case f.Forward != nil:
		return "forward"
	case f.Module != nil:
		return "module"
	case f.SumDB != nil:
		return "sumdb"
	case f.Client != nil:
		return "client"
	}
	return ""
}

// A Target says where a fault is.
type Target struct {
	Pattern    string // as written, variables replaced: a host, a glob, host:port, or ns:NAME
	Hosts      []int  // indexes into World.Hosts
	Nameserver []int  // indexes into World.Nameservers
}

// An Amount is a part of a body: a number of bytes or a share of the whole.
type Amount struct {
	Bytes int64
	Share Fraction // used if it is not zero
}

// An Expectation is what a scenario says of the configs whose names match a glob.
type Expectation struct {
	Configs string
	Outcome string // ok, error or hang; empty means any
	Class   string // failure class; empty means any
	Seconds *Range // nil means any
	Pos     Position
}

// A Range is an interval with both ends in it.
type Range struct{ Min, Max float64 }

// A Config is one set of client settings under judgement.
type Config struct {
	Name      string
	About     string
	Env       map[string]string // environment variables, verbatim after variables are replaced
	Netrc     string            // content of ~/.netrc; empty means no such file
	GitConfig string            // content of ~/.gitconfig; empty means no such file
	Cache     CacheState        // what the module cache holds at the start; empty means CacheCold
	Retry     *Retry            // the wrapper around the command; nil means none
	PAC       *PAC              // a proxy auto-configuration; nil means none
	Pos       Position
}

// A Project is the Go module on which the go command runs.
// Either Dir is set or Modules is.
type Project struct {
	Name     string
	About    string
	Dir      string   // a module of the user's own
	Modules  *Modules // a generated one
	Run      []string // the command; "go mod tidy" unless the file says otherwise
	Parallel int      // so many of the command at once, each in a copy of the project; 0 means 1
	Pos      Position
}

// Modules describes a generated universe of modules. The same Modules always give the same bytes.
type Modules struct {
	Seed     uint64 // any
	Public   int    // number of public modules that the project needs, 0 to 10000
	Private  int    // number of private modules that it needs, 0 to 10000
	Versions int    // versions per module, at least 1
	Depth    int    // length of the longest chain of requirements, at least 1
	ZipSize  Size   // mean size of a module's zip file

	State     ProjectState `json:",omitempty"` // of the project that needs them; empty means ProjectBare
	Toolchain string       `json:",omitempty"` // Go release that the project asks for, such as "1.99.0"; empty means one that all supported ones are
}

// A ProjectState is how far a generated project is known to the go command.
type ProjectState string

// The project states of the language.
const (
	ProjectBare     ProjectState = "bare"     // its go.mod requires what it imports; there is no go.sum
	ProjectTidy     ProjectState = "tidy"     // as "go mod tidy" leaves it, with a go.sum
	ProjectVendored ProjectState = "vendored" // as "go mod tidy" and "go mod vendor" leave it
)
