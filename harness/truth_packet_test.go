package harness

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/simrun/simrun/scenarios"
)

// rejections are the errors by which a client's kernel tells of a reject, in IPv4 and IPv6.
var rejections = map[scenarios.Reject][]string{
	scenarios.RejectRST:     {"ECONNREFUSED"},
	scenarios.RejectPort:    {"ECONNREFUSED"},
	scenarios.RejectHost:    {"EHOSTUNREACH"},
	scenarios.RejectNetwork: {"ENETUNREACH"},
	scenarios.RejectAdmin:   {"EHOSTUNREACH", "EACCES"},
}

func (t *town) packetChecks(f *scenarios.PacketFault, s spot) (all []check, err error) {
	if f.Reject != "" {
		all = append(all, check{about: "reject", probe: s.dial(), shows: func(g sighting) bool {
			return g.Failed == "connect" && slices.Contains(rejections[f.Reject], g.Err)
		}})
	}
	if f.Loss > 0 {
		all = append(all, lossCheck(f, s))
	}
	if f.Delay > 0 || f.Jitter > 0 {
		all = append(all, delayCheck(f, s))
	}
	if f.Rate > 0 {
		c, err := t.rateCheck(s, f.Direction == scenarios.DirectionDown, f.Rate)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if f.Queue > 0 && f.Rate == 0 {
		return nil, errors.New("nothing is known that shows a queue of the link's own rate")
	}
	return all, nil
}

// ways returns how many of the directions of a round trip a fault is about.
func ways(d scenarios.Direction) int {
	if d == scenarios.DirectionUp || d == scenarios.DirectionDown {
		return 1
	}
	return 2
}

// lossCheck looks for lost packets at the opening of connections. With less than total loss it counts the
// connections whose first packet had to be sent again, as the client's kernel tells.
func lossCheck(f *scenarios.PacketFault, s spot) check {
	c := check{about: "loss", probe: s.dial()}
	if f.Loss == 1 {
		c.probe.Limit = silence
		c.shows = func(g sighting) bool { return g.Failed == "connect" && g.Err == "timeout" }
		return c
	}
	share := 1 - math.Pow(1-float64(f.Loss), float64(ways(f.Direction)))
	c.partly, c.probe.Times, c.probe.Flock = true, triesToMeet(share), true
	c.shows = func(g sighting) bool { return g.Repeats > 0 }
	return c
}

// triesToMeet returns how many tries it takes to meet what happens to a share of them, with a chance of
// one in ten thousand to miss it.
func triesToMeet(share float64) int {
	return int(math.Ceil(math.Log(1e-4) / math.Log(1-share)))
}

// delayCheck times the opening of connections. Jitter without a delay shows in those that take another time
// than the link's own round trip.
func delayCheck(f *scenarios.PacketFault, s spot) check {
	c := check{about: "delay", probe: s.dial()}
	if f.Delay == 0 {
		c.about, c.partly, c.probe.Times = "jitter", true, 20
		c.shows = func(g sighting) bool { return (g.Connected - s.link.RTT).Abs() > f.Jitter/2+2*s.link.Jitter }
		return c
	}
	least := s.floor() + time.Duration(ways(f.Direction))*(f.Delay-f.Jitter)
	c.shows = func(g sighting) bool { return g.Connected >= least }
	return c
}

// rateCheck times a transfer that a rate makes slow. A limiter may let a burst through at first.
func (t *town) rateCheck(s spot, down bool, rate scenarios.Rate) (c check, err error) {
	const sustained = 0.8
	v, err := t.bulkVisit(s, down)
	if err != nil {
		return c, err
	}
	return check{about: "rate", probe: s.visiting(v, enough), shows: func(g sighting) bool {
		bytes := bulk * int64(v.Requests)
		if down {
			bytes = g.Received
		}
		least := sustained * float64(bytes) * 8 / float64(rate)
		return g.Status != 0 && (g.Ended-g.Connected).Seconds() >= least
	}}, nil
}
