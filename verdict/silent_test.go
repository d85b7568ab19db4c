package verdict

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/record"
)

func TestAProxyThatSaysNothing(t *testing.T) {
	const line = `go: m.example/lib@v1.0.0: Get "https://proxy.example/m.example/lib/@v/v1.0.0.zip": unexpected EOF` + "\n"
	silent := record.Conn{Host: "socks.example", BytesUp: 95, End: 0.1}
	for _, c := range []struct {
		name, proxy, stderr string
		conns               []record.Conn
		want                string
	}{
		{"a port of SOCKS as one of HTTP", "http://socks.example:1080", line, []record.Conn{silent, silent}, "fwdproxy-connection-lost"},
		{"no forward proxy", "", line, []record.Conn{silent}, "download-truncated"},
		{"a forward proxy for others", "http://web.example:3128", line, []record.Conn{silent}, "download-truncated"},
		{"one that answers", "http://socks.example:1080", line, []record.Conn{silent, {Host: "socks.example", BytesUp: 95, BytesDown: 39}}, "download-truncated"},
		{"one that was never asked", "http://socks.example:1080", line, []record.Conn{{Host: "proxy.example", BytesUp: 9}}, "download-truncated"},
	} {
		run := record.Run{Configs: []record.Config{{Name: "c", Env: map[string]string{"HTTPS_PROXY": c.proxy}}}}
		cell := record.Cell{Key: record.Key{Config: "c"}, Outcome: record.Error, Stderr: c.stderr, Conns: c.conns}
		assert.Equal(t, c.want, Classify(&cell, &run), c.name)
	}
}
