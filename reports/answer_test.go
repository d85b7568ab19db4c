package reports

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

func TestSettingsAreShellCommands(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		want []string
	}{
		"nothing is set":                      {nil, nil},
		"plain words are not quoted":          {map[string]string{"GOPROXY": "https://a.example,direct"}, []string{"go env -w GOPROXY=https://a.example,direct"}},
		"a pipe is quoted":                    {map[string]string{"GOPROXY": "https://a.example|direct"}, []string{"go env -w GOPROXY='https://a.example|direct'"}},
		"a quote is quoted":                   {map[string]string{"GOFLAGS": "a'b; rm x"}, []string{`go env -w GOFLAGS='a'\''b; rm x'`}},
		"go env -w does not know HTTPS_PROXY": {map[string]string{"GOPROXY": "off", "HTTPS_PROXY": "http://p:1"}, []string{"go env -w GOPROXY=off", "export HTTPS_PROXY=http://p:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tc.want, Settings(record.Config{Env: tc.env}))
		})
	}
}

func TestAnswerNamesTheConfigAndWhatItDoesNotSurvive(t *testing.T) {
	run, _ := small()
	run.Scenarios[1].Faults = []string{"goproxy.cn packet loss=100%"}
	run.Configs = run.Configs[:2]
	run.Configs[0].Also, run.Configs[0].Where = []string{"a ~/.netrc", "a ~/.gitconfig"}, "ours.yaml:3:5"
	a := NewAnswer(&run, verdict.Rank(&run, []record.Cell{
		cell("all-well", "cn-comma", record.OK, 1),
		cell("all-well", "cn-pipe", record.OK, 1),
		cell("dead-proxy", "cn-comma", record.Error, 2),
		cell("dead-proxy", "cn-pipe", record.Error, 31),
	}, verdict.Rules{}))
	assert.Equal(t, "cn-comma", a.Config)
	assert.Equal(t, []string{
		"It worked in 1 of 2 situations, 50 % by weight; faults cost it 1.00s on average, no private path leaked, " +
			"and all that was used was verified.",
		"No other config that can be recommended is as good by every criterion.",
		"It also takes a ~/.netrc and a ~/.gitconfig: see ours.yaml:3:5.",
	}, a.Why)
	assert.Len(t, a.Fails, 1)
}

func TestAnswerSaysWhyNothingIsRecommended(t *testing.T) {
	run, _ := small()
	a := NewAnswer(&run, verdict.Rank(&run, nil, verdict.Rules{}))
	assert.Empty(t, a.Config)
	assert.Contains(t, strings.Join(a.Why, " "), "no config has a verdict")
}

func TestPercentNeverRoundsToAllOrNothing(t *testing.T) {
	assert.Equal(t, "100 %", percent(1))
	assert.Equal(t, "99 %", percent(0.9999))
	assert.Equal(t, "1 %", percent(0.0001))
	assert.Equal(t, "0 %", percent(0))
}
