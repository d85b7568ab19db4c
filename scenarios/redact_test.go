package scenarios

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRedact(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"nothing in it", "nothing in it"},
		{`Get "https://bob:hunter2@proxy.example/x": EOF`, `Get "https://bob:xxxxx@proxy.example/x": EOF`},
		{"https://a.example,http://bob:p%40ss@b.example|direct", "https://a.example,http://bob:xxxxx@b.example|direct"},
		{"https://:token@a.example", "https://:xxxxx@a.example"},
		{"ssh://git@code.example/x", "ssh://git@code.example/x"},
		{"https://a.example/m@v1.0.0", "https://a.example/m@v1.0.0"},
		{"=> Send header: Authorization: Basic YTpi", "=> Send header: Authorization: Basic xxxxx"},
		{"http.extraheader=AUTHORIZATION: bearer abc", "http.extraheader=AUTHORIZATION: bearer xxxxx"},
		{"remote: Invalid username or password.", "remote: Invalid username or password."},
	} {
		assert.Equal(t, c.want, Redact(c.text))
	}
}

func TestCredentials(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"GOPROXY=https://proxy.example,direct", nil},
		{"GOPRIVATE=*.corp.example", nil},
		{"GOPROXY=https://bob:p%40ss@proxy.example", []string{"p%40ss", "p@ss", "Ym9iOnBAc3M="}},
		{"GOPROXY=https://ghp_abc@proxy.example", []string{"ghp_abc"}},
		{"GITHUB_TOKEN=abc", []string{"abc"}},
		{"GOAUTH=netrc; helper --token=abc", []string{"abc"}},
		{"machine a.example login bob password abc", []string{"abc"}},
		{"[http]\n\textraheader = PRIVATE-TOKEN: abc\n", []string{"abc", "abc"}},
		{"[http]\n\textraheader = X-Login: my abc\n", []string{"my abc", "abc"}},
		{`[http]` + "\n" + `extraheader = "Authorization: Basic abc"`, []string{"abc", "Basic abc", "abc"}},
		{"[url \"https://bob:abc@a.example/\"]\n\tinsteadOf = https://a.example/", []string{"abc", "abc", "Ym9iOmFiYw=="}},
		{"[url \"ssh://git@a.example/\"]", nil},
	} {
		assert.Equal(t, c.want, Credentials(c.text), c.text)
	}
}

func TestNetrcCredentials(t *testing.T) {
	c := Config{Netrc: "machine a.example\n\tlogin bob\n\tpassword abc\n"}
	assert.Contains(t, c.Credentials(), "abc")
	assert.Contains(t, c.Credentials(), "Ym9iOmFiYw==", "as Basic authentication has it")
}

// Errors of files with passwords in them end up in logs.
func TestErrorsShowNoCredentials(t *testing.T) {
	var found problems
	src := &source{name: "f.yaml", lines: []string{"  GOPROXY: https://bob:hunter2@a.example", "  password: hunter2", "  GOPROXY: direct"}}
	for line := range src.lines {
		found.add(src, Position{"f.yaml", line + 1, 3}, `"https://bob:hunter2@a.example" is wrong`)
	}
	text := found.err().Error()
	assert.NotContains(t, text, "hunter2")
	assert.Contains(t, text, "GOPROXY: direct", "other lines are shown")
}

// Whatever a password is, it is not in what is shown, and what is redacted stays as it is.
func FuzzRedact(f *testing.F) {
	f.Add("bob", "p%40ss")
	f.Add("", "token")
	f.Add("Authorization: Basic", "YTpi")
	f.Fuzz(func(t *testing.T, user, password string) {
		text := user + " " + password
		assert.Equal(t, Redact(text), Redact(Redact(text)))
		Credentials(text)
		if password == "" || strings.ContainsAny(user+password, "/@:\"' \t\r\n\f\v") {
			return
		}
		login := user + ":" + password
		assert.Contains(t, Credentials("GOPROXY=https://"+login+"@proxy.example"), password)
		assert.Equal(t, Redact(`Get "https://`+user+`:xxxxx@proxy.example/x": EOF`), Redact(`Get "https://`+login+`@proxy.example/x": EOF`))
	})
}
