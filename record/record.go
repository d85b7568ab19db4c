// Package record holds what one run of simrun saw: the facts of each cell, and the file that they are
// kept in. It holds no opinions: what facts mean is package verdict's business.
//
// The file, results.jsonl, has one JSON object per line and one key per object, which says what the line
// is. The first line is the [Run], and every other line is a [Cell], in the order in which the cells ended:
//
//	{"run":{"version":1,"simrun":"v1.0.0","started":"2026-01-02T03:04:05Z",...}}
//	{"cell":{"scenario":"dead-proxy","config":"default","project":"small",...}}
//
// Each line is written whole as its cell ends, so a file whose run was interrupted lacks cells, and at
// worst ends in a torn line.
package record

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Version is the version of the format of results.jsonl. A reader refuses any other.
const Version = 1

// A Run is the first line of results.jsonl: what all its cells have in common.
type Run struct {
	Version   int               `json:"version"`
	Simrun    string            `json:"simrun"`  // version of simrun
	Started   string            `json:"started"` // RFC 3339, UTC
	Host      Host              `json:"host"`
	Seed      uint64            `json:"seed"`
	Vars      map[string]string `json:"vars,omitempty"` // what $go-proxy and the like stood for
	Clock     string            `json:"clock"`          // "real" or "virtual"
	Isolation string            `json:"isolation"`      // "namespace" or "container"
	Timeout   Seconds           `json:"timeout"`        // deadline of each cell
	Repeat    int               `json:"repeat"`
	Jobs      int               `json:"jobs"`               // cells that may work at once
	Cells     int               `json:"cells"`              // cells that were planned; of a shard: those of the shard
	Shard     *Shard            `json:"shard,omitempty"`    // which part of a run this is; nil: all of it
	Releases  []string          `json:"releases,omitempty"` // of Go, under test
	Scenarios []Scenario        `json:"scenarios"`
	Configs   []Config          `json:"configs"`
	Projects  []Project         `json:"projects"`
	Input     Input             `json:"input,omitzero"`
	Private   []string          `json:"private,omitempty"` // hosts of the worlds that may know the private modules
	RTTs      []RTT             `json:"rtts,omitempty"`    // of the worlds' hosts
	Hosts     []Host            `json:"hosts,omitempty"`   // of a run that was merged: the machines of its shards
}

// A Shard is one of several parts of a run, each made by a simrun of its own.
type Shard struct {
	Number int `json:"number"` // from 1
	Of     int `json:"of"`
	Cells  int `json:"cells"` // of all shards together
}

func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Number, s.Of) }

// Input is what the user told simrun to make a run of. It is what repeating a cell takes.
type Input struct {
	Paths   []string          `json:"paths,omitempty"`   // files and folders; none: what is built in
	Configs []string          `json:"configs,omitempty"` // files and folders of --configs
	Project string            `json:"project,omitempty"` // of --project; empty: the first one
	Vars    map[string]string `json:"vars,omitempty"`    // of --var
	Go      string            `json:"go,omitempty"`      // of --go, with commas between several; empty: the one on PATH
}

// An RTT is the round trip between the client and a host that a world requests.
type RTT struct {
	World string  `json:"world"`
	Host  string  `json:"host"`
	RTT   Seconds `json:"rtt"`
}

// Host is the machine that a run was made on.
type Host struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel"`
	CPUs   int    `json:"cpus"`
}

// A Scenario is what a report needs to know of a scenario.
type Scenario struct {
	Name    string        `json:"name"`
	About   string        `json:"about,omitempty"`
	World   string        `json:"world"`
	Weight  float64       `json:"weight"`
	Layer   string        `json:"layer"`             // of its first fault; "" when nothing is wrong
	Faults  []string      `json:"faults,omitempty"`  // each as one line of text, in the order of the file
	Windows []Window      `json:"windows,omitempty"` // when each of Faults is in force, in their order
	Expect  []Expectation `json:"expect,omitempty"`
	File    string        `json:"file,omitempty"`
	Digest  string        `json:"digest,omitempty"` // of its world and faults: the same in two runs if those are
}

// A Window says when a fault is in force, in seconds since the start of the go command. The zero value
// means always.
type Window struct {
	From  Seconds `json:"from,omitempty"`
	Until Seconds `json:"until,omitempty"` // 0: for ever
	Every Seconds `json:"every,omitempty"` // from From on, the fault comes back so often; 0: it stays
	For   Seconds `json:"for,omitempty"`   // and stays for so long each time
}

// An Expectation is what a scenario's file says of the configs whose names match a glob.
type Expectation struct {
	Configs string   `json:"configs"`
	Outcome Outcome  `json:"outcome,omitempty"`
	Class   string   `json:"class,omitempty"`
	Min     *Seconds `json:"min_seconds,omitempty"`
	Max     *Seconds `json:"max_seconds,omitempty"`
	Where   string   `json:"where"` // file:line:column
}

// A Config is what a report needs to know of a config.
type Config struct {
	Name  string            `json:"name"`
	About string            `json:"about,omitempty"`
	Env   map[string]string `json:"env"`
	Also  []string          `json:"also,omitempty"`  // what it has beside Env, such as "a ~/.netrc"; never the content, which may be secret
	Where string            `json:"where,omitempty"` // file:line:column
	Cache string            `json:"cache,omitempty"` // "warm": the module cache had all that the project needs; empty: nothing
	Retry string            `json:"retry,omitempty"` // the wrapper around the command, such as "attempts=3 backoff=1s factor=2"; empty: none
}

// A Project is what a report needs to know of a project.
type Project struct {
	Name    string   `json:"name"`
	Run     []string `json:"run"`
	Private []string `json:"private,omitempty"` // paths of its private modules
	Digest  string   `json:"digest,omitempty"`  // of its command and modules: the same in two runs if those are
}

// Seconds is a length of time in seconds. It is rounded to microseconds when it is written.
type Seconds float64

// MarshalJSON implements [encoding/json.Marshaler]. NaN and infinities are errors.
func (s Seconds) MarshalJSON() ([]byte, error) {
	const perSecond = 1e6
	f := float64(s)
	if r := math.Round(f*perSecond) / perSecond; !math.IsInf(r, 0) {
		f = r // else the product overflowed, and has no digits after the point to lose
	}
	return json.Marshal(f)
}

// An Outcome is how a cell ended.
type Outcome string

// The outcomes.
const (
	OK           Outcome = "ok"            // the go command exited with status 0
	Error        Outcome = "error"         // it exited with another status
	Hang         Outcome = "hang"          // it was ended at the deadline
	Skipped      Outcome = "skipped"       // it was not run; Note says why
	HarnessError Outcome = "harness-error" // simrun failed; Note says how. Never a verdict on a config
)

// A Key names a cell within a run.
type Key struct {
	Scenario string `json:"scenario"`
	Config   string `json:"config"`
	Project  string `json:"project"`
	Go       string `json:"go"`  // release, such as "go1.26.8"
	Rep      int    `json:"rep"` // repetition, from 0
}

// A Cell is the facts of one cell.
// All times in it are seconds since the start of the go command, as the go command lived them.
type Cell struct {
	Key
	Started     string           `json:"started,omitempty"` // when the go command started: RFC 3339, UTC
	Outcome     Outcome          `json:"outcome"`
	Note        string           `json:"note,omitempty"` // why, for skipped and harness-error
	Class       string           `json:"class,omitempty"`
	Seconds     Seconds          `json:"seconds"`
	RealSeconds Seconds          `json:"real_seconds"`
	SetupTime   Seconds          `json:"setup_seconds"`        // from the start of the lab process to the start of the go command
	Clock       string           `json:"clock"`                // "real" or "virtual"
	ClockNote   string           `json:"clock_note,omitempty"` // why the real one, where the virtual one was asked for
	Exit        int              `json:"exit"`
	Stderr      string           `json:"stderr,omitempty"`
	Limit       string           `json:"limit,omitempty"`    // which limit its programs exceeded, for which all were ended
	Attempts    []Attempt        `json:"attempts,omitempty"` // of all commands, in the order of their starts, if there may be several
	Attribution Attribution      `json:"attribution"`
	Requests    []Request        `json:"requests,omitempty"`
	Queries     []Query          `json:"queries,omitempty"`
	Conns       []Conn           `json:"conns,omitempty"`
	Strays      []string         `json:"strays,omitempty"`  // addresses outside the world that something tried to reach
	Hosts       []string         `json:"hosts,omitempty"`   // in order of first contact
	Waiting     []string         `json:"waiting,omitempty"` // for a hang: what was under way, one line each
	Proven      bool             `json:"proven,omitempty"`  // for a hang on the virtual clock: no timer was left, but those of servers after the deadline
	Leaks       []Leak           `json:"leaks,omitempty"`
	Integrity   Integrity        `json:"integrity,omitempty"`
	Modules     []Module         `json:"modules,omitempty"` // what the module cache held at the end
	Faults      []FaultCount     `json:"faults,omitempty"`
	Programs    []Program        `json:"programs,omitempty"`  // that served hosts of the world in place of simrun's servers
	Routes      []Route          `json:"routes,omitempty"`    // what the agent of a config with a PAC did, in the order in which it was done
	AgentEnd    string           `json:"agent_end,omitempty"` // how that agent ended before the go command did
	Lost        map[string]int64 `json:"lost,omitempty"`      // events that did not fit into a bounded buffer, by buffer
	Capture     string           `json:"capture,omitempty"`   // file with its packets (pcapng): slash-separated, from the folder of the results file
	ClientCPU   Seconds          `json:"client_cpu_seconds"`  // go and all that it started
	CPUSeconds  Seconds          `json:"cpu_seconds"`         // all processes of the cell
	MaxRSS      int64            `json:"max_rss_bytes"`       // the largest process of the cell
	Pressure    Pressure         `json:"pressure,omitzero"`   // what else took the machine meanwhile
	Contended   bool             `json:"contended,omitempty"` // Pressure was such that Seconds are not to be trusted
	Tries       []Try            `json:"tries,omitempty"`     // how the cell ended before, contended each time, oldest first
}

// Pressure says for how long a cell's programs were kept from their work, by other programs or other cells,
// while the command ran. It is in real time, whatever the cell's clock.
type Pressure struct {
	CPU    Seconds `json:"cpu,omitempty"`    // they were ready to run and had none: the thread of the lab process that waited longest, and the first one of the command, added up
	Memory Seconds `json:"memory,omitempty"` // some program of the machine waited for memory; 0 if the kernel has no PSI
}

// A Try is how a cell ended that was contended, and so was run again.
type Try struct {
	Outcome  Outcome  `json:"outcome"`
	Class    string   `json:"class,omitempty"`
	Seconds  Seconds  `json:"seconds"`
	Pressure Pressure `json:"pressure,omitzero"`
}

// An Attempt is one run of the command, in a cell whose config tries again or whose project runs several
// commands at once. The cell's outcome, exit status and output are those of a command's last attempt: of the
// first command that did not end well, or of the first if all did.
type Attempt struct {
	Command int     `json:"command,omitempty"` // number of the command, from 0
	Start   Seconds `json:"start"`
	Seconds Seconds `json:"seconds"`
	Outcome Outcome `json:"outcome"` // OK, Error, or Hang if the wrapper's timeout or the deadline ended it
	Exit    int     `json:"exit"`
	Stderr  string  `json:"stderr,omitempty"`
}

// Attribution says where the wall time of the go command went. The parts add up to Cell.Seconds.
// At each instant the furthest stage that any connection is in counts, in the order of the fields
// from the last to the first: while something is being transferred, nothing else is being waited for.
type Attribution struct {
	DNS      Seconds `json:"dns"`
	Connect  Seconds `json:"connect"`
	TLS      Seconds `json:"tls"`
	Wait     Seconds `json:"wait"`     // a request is sent, nothing of its answer is there
	Transfer Seconds `json:"transfer"` // an answer has begun and is not complete
	Local    Seconds `json:"local"`    // nothing is under way on the network
}

// Total returns the sum of the parts.
func (a Attribution) Total() Seconds {
	return a.DNS + a.Connect + a.TLS + a.Wait + a.Transfer + a.Local
}

// A Request is one HTTP request that reached a server, with the times at which the client lived it.
type Request struct {
	Start  Seconds `json:"start"`           // it left the client
	First  Seconds `json:"first,omitempty"` // the first byte of the answer reached the client; 0: never
	End    Seconds `json:"end,omitempty"`   // the last byte did; 0: still under way when the go command ended
	Host   string  `json:"host"`            // that it was sent to, as the client called it
	Server string  `json:"server"`          // host of the world that answered
	Proto  string  `json:"proto"`           // such as HTTP/2.0
	Method string  `json:"method"`
	Path   string  `json:"path"`             // with the query
	Status int     `json:"status,omitempty"` // 0: no answer
	Bytes  int64   `json:"bytes"`            // of the body
	Conn   int     `json:"conn"`             // index into Cell.Conns; -1: unknown
	Error  string  `json:"error,omitempty"`  // how it ended early, as the server saw it
}

// A Query is one DNS query as it was seen on the wire at the client's end of the packet link.
// A repetition of an unanswered query is a Query of its own.
type Query struct {
	Start  Seconds `json:"start"`
	End    Seconds `json:"end,omitempty"` // the answer reached the client; 0: never
	Server string  `json:"server"`        // name of the name server
	Net    string  `json:"net"`           // udp or tcp
	Name   string  `json:"name"`          // without the final dot
	Type   string  `json:"type"`
	Answer string  `json:"answer"` // rcode in lower case, "nodata", "truncated", "malformed", or "none"
}

// A Conn is one TCP connection as it was seen on the wire at the client's end of the packet link.
type Conn struct {
	Host        string  `json:"host"`           // of the world; the address for a stray
	Addr        string  `json:"addr"`           // address:port
	From        string  `json:"from,omitempty"` // host that opened it, such as a forward proxy; empty: the client
	Start       Seconds `json:"start"`
	Established Seconds `json:"established,omitempty"` // the SYN-ACK reached the client; 0: never
	Tunnel      Seconds `json:"tunnel,omitempty"`      // the forward proxy's answer to CONNECT reached the client; 0: no CONNECT, or no answer
	TLS         bool    `json:"tls,omitempty"`         // the client began a TLS handshake on it
	Secured     Seconds `json:"secured,omitempty"`     // the client sent its first application data over TLS; 0: never
	Issuer      string  `json:"issuer,omitempty"`      // of the certificate that a fault showed instead of the host's own
	End         Seconds `json:"end,omitempty"`         // FIN or RST; 0: still open at the end
	Reset       bool    `json:"reset,omitempty"`
	SYNs        int     `json:"syns"`       // that the client sent, retransmissions included
	BytesUp     int64   `json:"bytes_up"`   // TCP payload that the client sent, retransmissions included
	BytesDown   int64   `json:"bytes_down"` // TCP payload that reached the client
}

// A Route is what the agent of a config with a PAC did for one connection or plain request of its client.
type Route struct {
	Start  Seconds  `json:"start"`
	End    Seconds  `json:"end"`              // the way was open, or none was left
	Target string   `json:"target"`           // host:port that the client wanted to reach
	Result string   `json:"result,omitempty"` // of FindProxyForURL
	Failed []string `json:"failed,omitempty"` // ways that could not be taken, each with the reason, in the order of trying
	Way    string   `json:"way,omitempty"`    // that was taken; empty: none
	Error  string   `json:"error,omitempty"`  // of the script, or of the last way
}

// A Leak is a private module path that a host outside saw.
type Leak struct {
	Module string `json:"module"`
	Host   string `json:"host"`
	How    string `json:"how"` // the first request line that told it
}

// Integrity says whether what was downloaded was checked, and what came of it.
type Integrity string

// The integrities. The zero value means that nothing was downloaded.
const (
	Verified         Integrity = "verified"
	Unverified       Integrity = "unverified"
	TamperedRejected Integrity = "tampered-rejected"
	TamperedAccepted Integrity = "tampered-accepted"
)

// A Program is a real program that served a host.
type Program struct {
	Host   string   `json:"host"`
	Exec   []string `json:"exec"`             // with its arguments; empty: what the image runs by itself
	Image  string   `json:"image,omitempty"`  // of a container engine, in whose files it ran
	Output string   `json:"output,omitempty"` // of which the middle is missing if it is long
	Ended  Seconds  `json:"ended,omitempty"`  // when it ended, if Died says that it did
	Died   string   `json:"died,omitempty"`   // how it ended, such as "exit status 1"; empty: it lived until the end
}

// A Module is one module version that the module cache held at the end.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum,omitempty"`     // h1: hash of the zip, as in the .ziphash file; empty if there is only a go.mod
	Good    bool   `json:"good"`              // Sum is that of the true module
	BadMod  bool   `json:"bad_mod,omitempty"` // its go.mod file is not the true one
	Checked bool   `json:"checked"`           // a checksum database was asked about it in this cell
	Pinned  bool   `json:"pinned,omitempty"`  // the project's go.sum had its hash before the cell began
	Before  bool   `json:"before,omitempty"`  // it was in the cache before the cell began
}

// A FaultCount says how often a declared fault bit.
type FaultCount struct {
	Fault    string `json:"fault"`              // as Scenario.Faults
	Bit      int64  `json:"bit"`                // packets, connections, queries or requests, by layer
	Unseeded bool   `json:"unseeded,omitempty"` // it draws numbers that no seed repeats: cells of one seed may differ by it
}

// Exercised reports whether any declared fault bit, or none was declared.
func (c *Cell) Exercised() bool {
	if len(c.Faults) == 0 {
		return true
	}
	for _, f := range c.Faults {
		if f.Bit > 0 {
			return true
		}
	}
	return false
}

// At returns the wall-clock time of a moment of the cell. It is the zero time if the record does not say
// when the cell started.
func (c *Cell) At(s Seconds) time.Time {
	started, err := time.Parse(time.RFC3339Nano, c.Started)
	if err != nil {
		return time.Time{}
	}
	return started.Add(time.Duration(math.Round(float64(s)*1e6)) * time.Microsecond)
}
