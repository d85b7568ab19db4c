package scenarios

import (
	"testing"

	"github.com/stretchr/testify/require"
)

var testVars = map[string]string{"go-proxy": "proxy.example", "go-sumdb": "sum.example", "file-proxy": "file:///tree"}

func TestBuiltin(t *testing.T) {
	lib, err := Builtin(Options{Vars: testVars})
	require.NoError(t, err)
	t.Log(len(lib.Worlds), len(lib.Scenarios), len(lib.Configs), len(lib.Projects), lib.Files)
}
