package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/verdict"
)

// The elements of a JUnit file, as Jenkins and GitLab read them. testdata/junit.xsd says what may stand where.
type (
	junitFile struct {
		XMLName xml.Name `xml:"testsuites"`
		Name    string   `xml:"name,attr"`
		junitCounts
		Suites []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name string `xml:"name,attr"`
		junitCounts
		Timestamp string      `xml:"timestamp,attr,omitempty"`
		Cases     []junitCase `xml:"testcase"`
	}
	junitCounts struct {
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     junitNumber `xml:"time,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    junitNumber   `xml:"time,attr"`
		Skipped *junitProblem `xml:"skipped"`
		Error   *junitProblem `xml:"error"`
		Failure *junitProblem `xml:"failure"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
	junitNumber float64 // seconds, with three digits after the point
)

// MarshalXMLAttr implements [xml.MarshalerAttr].
func (n junitNumber) MarshalXMLAttr(name xml.Name) (xml.Attr, error) {
	return xml.Attr{Name: name, Value: strconv.FormatFloat(float64(n), 'f', 3, 64)}, nil
}

// JUnit writes a run as a JUnit file: a suite per scenario, and in it a case per cell of which the scenario
// expects something. A broken expectation is a failure, and a failure of simrun an error. A last suite has
// one case, which fails if cells are missing, so that half a run never looks like a good one.
func JUnit(w io.Writer, run *record.Run, cells []record.Cell) error {
	file := junitFile{Name: "simrun"}
	sorted := sorted(run, cells)
	sameScenario := func(a, b record.Key) bool { return a.Scenario == b.Scenario }
	for group := range chunkBy(sorted, sameScenario) {
		suite := junitSuite{Name: Clean(group[0].Scenario), Timestamp: strings.TrimSuffix(run.Started, "Z")}
		for i := range group {
			if len(verdict.Expectations(run, &group[i])) > 0 {
				suite.add(junitCell(run, &group[i]))
			}
		}
		file.add(suite)
	}
	file.add(completeness(run, len(cells)))
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(file); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (f *junitFile) add(s junitSuite) {
	if s.Tests == 0 {
		return
	}
	f.Suites = append(f.Suites, s)
	f.Tests += s.Tests
	f.Failures += s.Failures
	f.Errors += s.Errors
	f.Skipped += s.Skipped
	f.Time += s.Time
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	s.Time += c.Time
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
}

// junitCell makes a case of a cell. The class and the name together are the same in each run, so that a
// server of continuous integration can follow the cell through them.
func junitCell(run *record.Run, c *record.Cell) junitCase {
	made := junitCase{
		Class: "simrun." + Clean(c.Scenario),
		Name:  Clean(fmt.Sprintf("%s %s %s #%d", c.Config, c.Project, c.Go, c.Rep+1)),
		Time:  junitNumber(c.Seconds),
	}
	switch broken := verdict.Broken(run, c); {
	case c.Outcome == record.Skipped:
		made.Skipped = &junitProblem{Message: oneLine(c.Note)}
	case c.Outcome == record.HarnessError:
		made.Error = &junitProblem{Message: oneLine(c.Note), Type: string(record.HarnessError)}
	case len(broken) > 0:
		made.Failure = &junitProblem{
			Message: oneLine(strings.Join(broken, "; ")),
			Type:    Clean(c.Class),
			Text:    junitText(c),
		}
	}
	return made
}

// junitText is what somebody who sees a failure wants to know next.
func junitText(c *record.Cell) string {
	text := "simrun shell " + Clean(c.Scenario) + " --config " + Clean(c.Config) + "\n"
	if remedy := verdict.Remedy(c.Class); remedy != "" {
		text = remedy + "\n" + text
	}
	for line := range strings.Lines(c.Stderr) {
		text += Clean(strings.TrimRight(line, "\n")) + "\n"
	}
	return text
}

// completeness is a suite that says whether all planned cells are there.
func completeness(run *record.Run, cells int) junitSuite {
	s := junitSuite{Name: "run", Timestamp: strings.TrimSuffix(run.Started, "Z")}
	made := junitCase{Class: "simrun", Name: "every planned cell has ended"}
	if missing := run.Cells - cells; missing > 0 {
		made.Error = &junitProblem{Message: fmt.Sprintf("%d of %s missing: the run was interrupted", missing, count(run.Cells, "cell"))}
	}
	s.add(made)
	return s
}
