package reports

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// Page writes a run as one page that needs no network, and no script to be read: a script only adds sorting,
// filtering and copying. The cells must have been judged, and ranked as r says; name is what commands on the
// page call the run, such as "simrun-out". All texts of the run are escaped, also as [Clean] does, and the page
// forbids the browser to load anything or to run any other script. The only errors are those of w.
func Page(w io.Writer, results *record.Results, r *verdict.Ranking, name string) error {
	var b strings.Builder
	if err := pageTemplate().Execute(&b, newPage(results, r, name)); err != nil {
		return err
	}
	_, err := io.WriteString(w, CleanLines(b.String()))
	return err
}

//go:embed templates/report.html templates/cell.html templates/plot.html templates/report.css templates/report.js
var templates embed.FS

// pageTemplate is parsed when it is first needed: each lab process is simrun started again, and needs none.
var pageTemplate = sync.OnceValue(func() *template.Template {
	functions := template.FuncMap{
		"percent": percent,
		"seconds": secondsText,
		"count":   count,
		"inc":     func(n int) int { return n + 1 },
		"added":   addedText,
		"join":    func(list []string) string { return strings.Join(list, ", ") },
	}
	return template.Must(template.New("report.html").Funcs(functions).
		ParseFS(templates, "templates/report.html", "templates/cell.html", "templates/plot.html"))
})

// asset returns an embedded file.
func asset(name string) string {
	data, err := templates.ReadFile("templates/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(data)
}

// policy is the Content-Security-Policy of the page: nothing is loaded, and no script runs but our own.
func policy(script string) string {
	sum := sha256.Sum256([]byte(script))
	return fmt.Sprintf("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
}
