package main

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each cell starts simrun at least once, so what testcontainers does before main counts: without package
// harness/container/quiet it would look at all processes of the machine.
func TestStartIsQuiet(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := &exec.Cmd{Path: self, Args: []string{"simrun", "version"}, Env: append(os.Environ(), "GODEBUG=inittrace=1")}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	line := regexp.MustCompile(`init github\.com/testcontainers/\S+/bootstrap @.* (\d+) bytes`).FindSubmatch(out)
	require.NotNil(t, line, "%s", out)
	bytes, err := strconv.Atoi(string(line[1]))
	require.NoError(t, err)
	assert.Less(t, bytes, 100_000, "allocated as it is initialised")
}
