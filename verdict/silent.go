package verdict

import (
	"slices"
	"strings"

	"github.com/simrun/simrun/record"
)

// cutOff is how the go command ends the line about a request that was not answered in full. If a forward proxy does
// not answer CONNECT, net/http says no more than that: dialConn in net/http/transport.go returns the error of
// ReadResponse as it is.
const cutOff = `": unexpected EOF`

// cutOffClasses are the classes of such lines, by what was asked for.
var cutOffClasses = []string{"download-truncated", "vanity-unreachable", "sumdb-connection-lost"}

// proxySaidNothing reports whether a forward proxy of the config took requests, and ended each connection
// without one byte: as one does that speaks SOCKS or TLS and is taken for one of HTTP.
func proxySaidNothing(run *record.Run, cell *record.Cell) bool {
	if run == nil || !strings.Contains(cell.Stderr, cutOff) {
		return false
	}
	var proxies []string
	for key, value := range configEnv(run, cell.Config) {
		if isForwardProxyVariable(key) {
			proxies = append(proxies, hostOf(value))
		}
	}
	asked := false
	for _, c := range cell.Conns {
		if !slices.Contains(proxies, c.Host) {
			continue
		}
		if c.BytesDown > 0 {
			return false
		}
		asked = asked || c.BytesUp > 0 && c.End > 0
	}
	return asked
}
