//go:build linux

package harness

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/simrun/simrun/scenarios"
)

// withToxicity returns the check with so many tries that some show the toxic and others do not.
func (c check) withToxicity(f *scenarios.StreamFault) check {
	if f.Toxicity < 1 {
		c.partly, c.probe.Times = true, max(triesToMeet(float64(f.Toxicity)), triesToMeet(1-float64(f.Toxicity)))
	}
	return c
}

func (t *town) streamChecks(f *scenarios.StreamFault, s spot) ([]check, error) {
	if s.host == nil {
		return nil, errors.New("name servers have no streams")
	}
	c, err := t.streamCheck(f, s)
	return []check{c.withToxicity(f)}, err
}

func (t *town) streamCheck(f *scenarios.StreamFault, s spot) (c check, err error) {
	down := f.Stream != "upstream"
	ms := func(name string) time.Duration { return time.Duration(f.Attributes[name]) * time.Millisecond }
	switch f.Type {
	case "bandwidth":
		return t.rateCheck(s, down, scenarios.Rate(f.Attributes["rate"]*1000*8))
	case "slicer":
		return t.slicerCheck(s, down, f.Attributes["average_size"]+f.Attributes["size_variation"])
	case "limit_data":
		return t.limitCheck(s, down, f.Attributes["bytes"])
	case scenarios.StreamDown:
		return check{about: "down", probe: s.dial(), shows: func(g sighting) bool {
			return g.Failed == "connect" && g.Err == "ECONNREFUSED"
		}}, nil
	}
	v, err := t.visit(s, "", "")
	if err != nil {
		return c, err
	}
	c = check{about: f.Type, probe: s.visiting(v, enough)}
	switch f.Type {
	case "latency":
		exchanges := time.Duration(1)
		if v.TLS != "" {
			exchanges++
		}
		least := exchanges * (s.floor() + ms("latency") - ms("jitter"))
		c.shows = func(g sighting) bool { return g.First-g.Connected >= least }
	case "slow_close":
		c.probe.Visit.ToEOF = true
		c.shows = func(g sighting) bool { return g.EOF-g.Asked >= s.floor()+ms("delay") }
	case "timeout":
		c.shows = broken("EOF")
		if f.Attributes["timeout"] == 0 {
			c.probe.Limit = silence
			c.shows = broken("timeout")
		}
	case scenarios.StreamClose:
		c.shows = broken("EOF")
	case "reset_peer":
		c.shows = broken("ECONNRESET", "EPIPE")
	default:
		return c, fmt.Errorf("nothing is known that shows the toxic %q", f.Type)
	}
	return c, nil
}

// broken reports whether a connection came about and then failed in one of the ways.
func broken(ways ...string) func(sighting) bool {
	return func(g sighting) bool { return g.Connected > 0 && slices.Contains(ways, g.Err) && g.Status == 0 }
}

// slicerCheck looks at the sizes of the segments that come.
func (t *town) slicerCheck(s spot, down bool, most int64) (c check, err error) {
	if !down {
		return c, errors.New("a client does not see how its own bytes are sliced")
	}
	v, err := t.bulkVisit(s, down)
	return check{about: "slicer", probe: s.visiting(v, enough), shows: func(g sighting) bool {
		return g.Segments > 0 && g.Received <= most*int64(g.Segments)
	}}, err
}

func (t *town) limitCheck(s spot, down bool, most int64) (check, error) {
	v, err := t.bulkVisit(s, down)
	return check{about: "limit_data", probe: s.visiting(v, enough), shows: func(g sighting) bool {
		return g.Connected > 0 && g.Err != "" && (!down || g.Received <= most)
	}}, err
}
