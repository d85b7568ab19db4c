package scenarios

import (
	"encoding/base64"
	"net/url"
	"strings"
)

// Redacted stands for a credential that is not shown, as in [net/url.URL.Redacted].
const Redacted = "xxxxx"

var (
	// userinfo is what stands before the host of an URL; the second group is the password, with its colon.
	userinfo = newForm(`://([^\s/@:"']*)(:[^\s/@"']*)?@`)
	// authorization is a header or a setting of one; the last group is the credential.
	authorization = newForm(`(?i)(authorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|token|digest|negotiate)\s+)?)([^\s"',]+)`)
	// assignment is a setting or a flag whose name says that its value is a credential.
	assignment = newForm(`(?i)((?:token|passw(?:or)?d|passphrase|secret|credentials?|api[-_]?key|private[-_]?key|authtoken)[\w.-]*["']?(?:\s*[=:]\s*|\s+)["']?)([^\s'";,]+)`)
	// extraHeader is git's setting of that name.
	extraHeader = newForm(`(?i)extraheader["']?\s*=\s*["']?[\w-]+:\s*([^\n"']+)`)
)

// Redact takes out of a text what looks like a credential, whoever wrote it: passwords of URLs, and what is in
// Authorization headers.
func Redact(text string) string {
	text = userinfo.regexp().ReplaceAllStringFunc(text, func(s string) string {
		if user, _, found := strings.Cut(s[len("://"):], ":"); found {
			return "://" + user + ":" + Redacted + "@"
		}
		return s // a user alone, as in ssh://git@code.example
	})
	return authorization.regexp().ReplaceAllString(text, "${1}"+Redacted)
}

// hasCredential reports whether a line of a file seems to have a credential in it.
func hasCredential(line string) bool {
	return userinfo.regexp().MatchString(line) || authorization.regexp().MatchString(line) || assignment.regexp().MatchString(line) || extraHeader.regexp().MatchString(line)
}

// Credentials returns the passwords, tokens and headers in a text of settings, such as a ~/.netrc, a ~/.gitconfig,
// or an environment variable as NAME=VALUE: as they are there, and in the other forms in which they travel.
func Credentials(text string) (all []string) {
	for _, m := range userinfo.regexp().FindAllStringSubmatch(text, -1) {
		user, password := m[1], strings.TrimPrefix(m[2], ":")
		switch {
		case password != "":
			all = append(all, loginForms(user, password)...)
		case user != "" && user != "git":
			all = append(all, user) // a token in place of a user
		}
	}
	for _, m := range authorization.regexp().FindAllStringSubmatch(text, -1) {
		all = append(all, m[2])
	}
	for _, m := range assignment.regexp().FindAllStringSubmatch(text, -1) {
		all = append(all, m[2])
	}
	for _, m := range extraHeader.regexp().FindAllStringSubmatch(text, -1) {
		value := strings.TrimSpace(m[1])
		all = append(all, value)
		if fields := strings.Fields(value); len(fields) > 1 {
			all = append(all, fields[len(fields)-1]) // after a scheme such as Basic
		}
	}
	return all
}

// loginForms returns a password as it may stand in texts: itself, without the escapes of an URL, and as Basic
// authentication has it (RFC 7617).
func loginForms(user, password string) []string {
	forms := []string{password}
	plainUser, err1 := url.PathUnescape(user)
	plain, err2 := url.PathUnescape(password)
	if err1 == nil && err2 == nil {
		forms = append(forms, plain, base64.StdEncoding.EncodeToString([]byte(plainUser+":"+plain)))
	}
	return forms
}

// Credentials returns the passwords and tokens that a config has in its environment and files.
func (c *Config) Credentials() (all []string) {
	for name, value := range c.Env {
		all = append(all, Credentials(name+"="+value)...)
	}
	all = append(all, netrcLogins(c.Netrc)...)
	for _, text := range []string{c.Netrc, c.GitConfig} {
		all = append(all, Credentials(text)...)
	}
	return all
}

// netrcLogins returns the logins of a ~/.netrc as Basic authentication has them.
func netrcLogins(text string) (all []string) {
	login := ""
	words := strings.Fields(text)
	for i := 0; i+1 < len(words); i++ {
		switch words[i] {
		case "login":
			login = words[i+1]
		case "password":
			all = append(all, loginForms(login, words[i+1])...)
		}
	}
	return all
}

// Credentials returns the passwords and tokens that a scenario's faults ask for, and that the programs of its world
// are given.
func (s *Scenario) Credentials() (all []string) {
	for i := range s.Faults {
		f := &s.Faults[i]
		if f.Forward != nil {
			all = append(all, loginSecrets(f.Forward.Auth)...)
		}
		if f.HTTP != nil {
			all = append(all, loginSecrets(f.HTTP.Auth)...)
		}
	}
	for i := range s.World.Hosts {
		if server := s.World.Hosts[i].Server; server != nil {
			all = append(all, server.credentials()...)
		}
	}
	return all
}

// loginSecrets returns what is secret in USER:PASSWORD or "Bearer TOKEN".
func loginSecrets(login string) []string {
	if token, ok := strings.CutPrefix(login, "Bearer "); ok {
		return []string{token}
	}
	user, password, _ := strings.Cut(login, ":")
	return loginForms(user, password)
}

func (s *Server) credentials() []string {
	all := Credentials(strings.Join(s.Exec, " "))
	for name, value := range s.Env {
		all = append(all, Credentials(name+"="+value)...)
	}
	for _, content := range s.Files {
		all = append(all, Credentials(content)...)
	}
	return all
}
