//go:build linux

package harness

import (
	"errors"
	"fmt"
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
	add := func(c check, e error) { all, err = append(all, c), errors.Join(err, e) }
	switch {
	case f.Address != 0 && f.Address != s.number:
		return []check{{about: "another address", probe: s.dial(), absent: true}}, nil
	case f.AfterPackets > 0 || f.AfterBytes > 0:
		return t.lateChecks(f, s)
	}
	if f.Reject != "" {
		add(rejectCheck(f, s), nil)
	}
	if f.Loss > 0 || f.Bursts.Share > 0 {
		add(lossCheck(f, s), nil)
	}
	if (f.Delay > 0 || f.Jitter > 0) && f.Reorder == 0 { // what overtakes takes no delay
		add(delayCheck(f, s))
	}
	if f.Rate > 0 {
		add(t.rateCheck(s, f.Direction == scenarios.DirectionDown, f.Rate))
	}
	if f.Queue > 0 && f.Queue < bulk/2 || f.Rate == 0 && f.Queue > 0 {
		add(t.queueCheck(f, s))
	}
	if f.Reorder+f.Duplicate+f.Corrupt > 0 {
		own, e := t.damageChecks(f, s)
		all, err = append(all, own...), errors.Join(err, e)
	}
	if f.MTU > 0 {
		own, e := t.mtuChecks(f, s)
		all, err = append(all, own...), errors.Join(err, e)
	}
	return all, err
}

func rejectCheck(f *scenarios.PacketFault, s spot) check {
	return check{about: "reject", probe: s.dial(), shows: func(g sighting) bool {
		return g.Failed == "connect" && slices.Contains(rejections[f.Reject], g.Err)
	}}
}

// lateChecks look at connections that come about and then break while they send or fetch much.
func (t *town) lateChecks(f *scenarios.PacketFault, s spot) ([]check, error) {
	v, err := t.bulkVisit(s, f.Direction == scenarios.DirectionDown)
	if err != nil {
		return nil, err
	}
	c := check{about: "late break", probe: s.visiting(v, silence)}
	switch {
	case f.Loss == 1:
		c.shows = stalled
	case f.Reject == scenarios.RejectRST:
		c.shows = func(g sighting) bool {
			return g.Connected > 0 && slices.Contains([]string{"ECONNRESET", "EPIPE"}, g.Err)
		}
	default:
		return nil, errors.New("only black holes and resets are known to show late")
	}
	return []check{c, {about: "opening", probe: s.dial(), absent: true}}, nil
}

// stalled reports whether a connection came about and then brought nothing more.
func stalled(g sighting) bool { return g.Connected > 0 && g.Err == "timeout" }

// mtuChecks send or fetch much. Where only packets to the host are swallowed, a visit whose ClientHello and
// request are small shows that others pass.
func (t *town) mtuChecks(f *scenarios.PacketFault, s spot) ([]check, error) {
	v, err := t.bulkVisit(s, f.Direction == scenarios.DirectionDown)
	if err != nil {
		return nil, err
	}
	big := check{about: "big packets", probe: s.visiting(v, silence), shows: stalled}
	all := []check{big, {about: "opening", probe: s.dial(), absent: true}}
	if f.Direction == scenarios.DirectionUp {
		v, err = t.visit(s, "", "")
		v.Classic = true
		all = append(all, check{about: "small packets", probe: s.visiting(v, enough), absent: true})
	}
	return all, err
}

// queueCheck moves more than a short queue takes: the client has to send segments again, or gets them out of
// order as the host does.
func (t *town) queueCheck(f *scenarios.PacketFault, s spot) (c check, err error) {
	if f.Queue >= bulk/2 {
		return c, errors.New("nothing is known that shows a queue that long")
	}
	down := f.Direction == scenarios.DirectionDown
	v, err := t.bulkVisit(s, down)
	return check{about: "queue", probe: s.visiting(v, enough), shows: func(g sighting) bool {
		return g.Kernel.Resent > 0 && !down || g.Kernel.Disordered > 0 && down
	}}, err
}

// damageChecks move so many packets that some are hit and noticed, but for a chance of one in a million, and look at
// what the client's kernel says of them. Twenty are hit in the mean; of duplicates, those that it notices vary twice as
// much as the hits do.
func (t *town) damageChecks(f *scenarios.PacketFault, s spot) (all []check, err error) {
	down := f.Direction == scenarios.DirectionDown
	for _, d := range []struct {
		about    string
		share    scenarios.Fraction
		down, up func(kernel) bool
	}{
		{"reorder", f.Reorder, func(k kernel) bool { return k.Disordered > 0 }, func(k kernel) bool { return k.Overtaken > 0 }},
		{"duplicate", f.Duplicate, nil, func(k kernel) bool { return k.Doubled > 0 }},
		{"corrupt", f.Corrupt, func(k kernel) bool { return k.BadSums > 0 }, func(k kernel) bool { return k.Resent > 0 }},
	} {
		shows := d.up
		if f.Direction != scenarios.DirectionUp && d.down != nil {
			shows = d.down
		}
		switch {
		case d.share == 0:
			continue
		case down && d.down == nil:
			return nil, fmt.Errorf("a client does not see the effect of %s on what comes", d.about)
		}
		v, err := t.manyPackets(s, down || d.about == "reorder" && f.Direction != scenarios.DirectionUp, 20/float64(d.share))
		if err != nil {
			return nil, err
		}
		all = append(all, check{about: d.about, probe: s.visiting(v, enough), shows: func(g sighting) bool { return shows(g.Kernel) }})
	}
	return all, nil
}

// manyPackets returns a visit that sends or fetches at least so many packets.
func (t *town) manyPackets(s spot, down bool, packets float64) (visit, error) {
	const each = bulk / int(scenarios.InterfaceMTU)
	v, err := t.bulkVisit(s, down)
	if v.Requests <= 1 { // otherwise it has many small answers
		v.Requests = int(math.Ceil(packets / float64(each)))
	}
	return v, err
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
	pass := (1 - float64(f.Loss)) * (1 - float64(f.Bursts.Share*f.Bursts.LossInside()))
	share := 1 - math.Pow(pass, float64(ways(f.Direction)))
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
func delayCheck(f *scenarios.PacketFault, s spot) (check, error) {
	c := check{about: "delay", probe: s.dial()}
	if f.Delay == 0 {
		c.about, c.partly, c.probe.Times = "jitter", true, 20
		c.shows = func(g sighting) bool { return (g.Connected - s.link.RTT).Abs() > f.Jitter/2+2*s.link.Jitter }
		return c, nil
	}
	below := time.Duration(deviations[f.Distribution] * float64(f.Jitter))
	if f.Delay <= below {
		return c, errors.New("the delay is sometimes none")
	}
	least := s.floor() + time.Duration(ways(f.Direction))*(f.Delay-below)
	c.shows = func(g sighting) bool { return g.Connected >= least }
	return c, nil
}

// deviations are how far delays go below their mean, in units of the jitter: a normal distribution goes
// further once in a billion packets.
var deviations = map[scenarios.Distribution]float64{
	"":                            1,
	scenarios.DistributionUniform: 1,
	scenarios.DistributionNormal:  6,
	scenarios.DistributionPareto:  0.578,
}

// rateCheck times a transfer that a rate makes slow: a second long, which is more than the work of moving so
// many bytes. A limiter may let a burst through at first.
func (t *town) rateCheck(s spot, down bool, rate scenarios.Rate) (c check, err error) {
	const sustained, seconds = 0.8, 1
	v, err := t.bulkVisit(s, down)
	if err != nil {
		return c, err
	}
	v.Requests = max(v.Requests, 1) * int(math.Ceil(seconds*float64(rate)/8/bulk))
	return check{about: "rate", probe: s.visiting(v, enough), shows: func(g sighting) bool {
		bytes := bulk * int64(v.Requests)
		if down {
			bytes = g.Received
		}
		least := sustained * float64(bytes) * 8 / float64(rate)
		return g.Status != 0 && (g.Ended-g.Connected).Seconds() >= least
	}}, nil
}
