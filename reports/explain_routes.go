package reports

import (
	"fmt"
	"strings"

	"github.com/simrun/simrun/record"
)

// routes shows what the agent of a config with a PAC did, connection by connection.
func (e *explainer) routes() {
	c := e.cell
	if len(c.Routes) == 0 && c.AgentEnd == "" {
		return
	}
	e.section("What the agent for the PAC did")
	var texts []string
	for i := range c.Routes {
		texts = append(texts, routeText(&c.Routes[i]))
	}
	if c.AgentEnd != "" {
		texts = append(texts, "it ended before the command did: "+c.AgentEnd)
	}
	e.list(texts)
}

func routeText(r *record.Route) string {
	parts := []string{fmt.Sprintf("at %s to %s:", secondsText(r.Start), r.Target)}
	for _, way := range r.Failed {
		parts = append(parts, way+";")
	}
	way := r.Way
	if way == "" {
		way = "no way was left"
	}
	parts = append(parts, way, "after", secondsText(r.End-r.Start))
	if r.Way != "" && r.Error != "" {
		parts = append(parts, "("+r.Error+")")
	}
	return strings.Join(parts, " ")
}
