package verdict

import (
	"github.com/simrun/simrun/record"
)

// A Delivery compares the round trips that the client had to a host with those that the world requests.
type Delivery struct {
	record.RTT                // as requested
	Median     record.Seconds // of the handshakes
	Handshakes int
}

// Excess is how much longer than requested the round trips were.
func (d *Delivery) Excess() record.Seconds { return d.Median - d.RTT.RTT }

// Deliveries looks at the TCP handshakes of the cells in which nothing is declared wrong: from the first SYN
// to the SYN-ACK is one round trip, unless packets were lost. It leaves out hosts without any, and keeps
// the order of the run's RTTs.
func Deliveries(run *record.Run, cells []record.Cell) []Delivery {
	worlds := map[string]string{}
	for _, s := range run.Scenarios {
		if len(s.Faults) == 0 {
			worlds[s.Name] = s.World
		}
	}
	type place struct{ world, host string }
	took := map[place][]float64{}
	for i := range cells {
		world, healthy := worlds[cells[i].Scenario]
		for _, n := range cells[i].Conns {
			if healthy && n.From == "" && n.SYNs == 1 && n.Established > 0 {
				at := place{world, n.Host}
				took[at] = append(took[at], float64(n.Established-n.Start))
			}
		}
	}
	var all []Delivery
	for _, r := range run.RTTs {
		if t := took[place{r.World, r.Host}]; len(t) > 0 {
			all = append(all, Delivery{RTT: r, Median: record.Seconds(median(t)), Handshakes: len(t)})
		}
	}
	return all
}
