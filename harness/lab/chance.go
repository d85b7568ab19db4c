//go:build linux

package lab

import (
	"encoding/binary"

	"github.com/simrun/simrun/scenarios"
)

// A dice is what chance decides for one packet: rolls for different purposes do not depend on each other, and
// none depends on when the packet comes.
type dice struct{ seed, draw, salt uint64 }

// roll returns a number in [0,1) for a purpose.
func (d dice) roll(purpose uint64) float64 { return chance(d.seed, d.draw, d.salt<<4|purpose) }

// hits reports whether a roll for a purpose is in a share of all.
func (d dice) hits(share scenarios.Fraction, purpose uint64) bool {
	return share > 0 && d.roll(purpose) < float64(share)
}

// chance returns a number in [0,1) that depends on its arguments only.
func chance(seed, draw, salt uint64) float64 {
	return float64(mix(mix(seed^mix(draw))+salt)>>11) / (1 << 53)
}

// mix is the finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hash folds strings and numbers into one seed, independent of the run of the process.
func hash(seed uint64, parts ...string) uint64 {
	for _, s := range parts {
		for ; len(s) >= 8; s = s[8:] {
			seed = mix(seed ^ binary.LittleEndian.Uint64([]byte(s[:8])))
		}
		var tail [8]byte
		tail[7] = byte(len(s)) + 1
		copy(tail[:], s)
		seed = mix(seed ^ binary.LittleEndian.Uint64(tail[:]))
	}
	return seed
}
