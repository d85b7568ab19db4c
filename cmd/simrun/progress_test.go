package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/record"
)

func statusAt(elapsed time.Duration) harness.Status {
	s := harness.Status{Done: 12, Total: 400, Elapsed: elapsed, Left: 3 * time.Minute}
	for _, config := range []string{"cn-comma", "cn-pipe", "direct", "corp"} {
		r := harness.Running{For: 41 * time.Second, Doing: "goproxy.cn to answer"}
		r.Key = record.Key{Scenario: "dead-proxy", Config: config}
		s.Running = append(s.Running, r)
	}
	return s
}

func TestMeterOnATerminal(t *testing.T) {
	var b bytes.Buffer
	m := &meter{w: &b, total: 400, width: func() int { return 50 }}
	m.status(statusAt(34 * time.Second))
	assert.Equal(t, ""+
		"12/400 cells, 4 running, 34s, about 3m0s left\n"+
		"     41s  dead-proxy × cn-comma  waits for gopro…\n"+
		"     41s  dead-proxy × cn-pipe  waits for goprox…\n"+
		"     41s  dead-proxy × direct  waits for goproxy…\n", b.String())
	for line := range strings.Lines(b.String()) {
		require.Less(t, ansi.StringWidth(strings.TrimSuffix(line, "\n")), 50, "a full line would wrap")
	}

	b.Reset()
	m.status(harness.Status{Done: 399, Total: 400, Left: -1})
	assert.Equal(t, "\x1b[4F\x1b[J399/400 cells, 0 running, 0s\n", b.String(), "the block is replaced")

	b.Reset()
	ended := fakeCell("cn-pipe", record.OK)
	m.cell(&ended)
	assert.Empty(t, b.String())
	ended.Outcome = record.HarnessError
	m.cell(&ended)
	assert.Equal(t, "\x1b[1F\x1b[J[2/400] dead-proxy × cn-pipe  HARNESS-ERROR\n", b.String())

	b.Reset()
	m.finish()
	assert.Empty(t, b.String(), "nothing is left to be cleared")
}

func TestMeterInALog(t *testing.T) {
	var b bytes.Buffer
	few := &meter{w: &b, total: fewCells}
	ended := fakeCell("cn-pipe", record.OK)
	few.status(statusAt(0))
	few.cell(&ended)
	few.finish()
	assert.Equal(t, "[1/100] dead-proxy × cn-pipe  ok 1.00s\n", b.String())

	b.Reset()
	many := &meter{w: &b, total: fewCells + 1}
	many.cell(&ended)
	for seconds := range 11 {
		many.status(statusAt(time.Duration(seconds) * time.Second))
	}
	assert.Equal(t, ""+
		"12/400 cells, 4 running, 0s, about 3m0s left\n"+
		"12/400 cells, 4 running, 5s, about 3m0s left\n"+
		"12/400 cells, 4 running, 10s, about 3m0s left\n", b.String())
}

func TestMeterNeutralisesNames(t *testing.T) {
	var b bytes.Buffer
	m := &meter{w: &b, total: 1, width: func() int { return 200 }}
	r := harness.Running{Doing: "connect \x1b[2Jhost\n"}
	r.Scenario = "\x1b]0;owned\x07"
	m.status(harness.Status{Total: 1, Running: []harness.Running{r}})
	assert.NotContains(t, b.String(), "\x1b")
	assert.Equal(t, 2, strings.Count(b.String(), "\n"))
}
