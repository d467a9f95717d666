package lab

import (
	"errors"
	"fmt"
	"time"
)

// Path describes one direction of an emulated link: a queue, a line of limited
// rate behind it, and what happens to segments on the line. The zero Path
// delivers everything at once.
//
// Everything counts segments of at most one MTU: a superpacket is as many
// segments as the device would have cut it into. Only unicast IP is impaired
// and counted; what the hosts say among themselves (ARP, multicast) takes its
// time on the line and arrives.
type Path struct {
	Rate   int64         // bits per second, Ethernet header included; 0: no limit
	Queue  int           // bytes that may wait for the line; 0: BDP of Rate and twice Delay, at least minQueue
	Delay  time.Duration // from the last bit sent to delivery
	Jitter time.Duration // up to this is added to Delay, drawn anew for each piece delivered; order is kept

	// MarkAbove is how many bytes may wait before ECN-capable segments that come
	// are marked with CE (RFC 3168, 5), as a simple AQM does; 0: none is.
	MarkAbove int

	Loss     float64 // share of segments lost, 0 to 1
	Burst    float64 // mean number of segments lost in a row; up to 1: each is lost for itself
	LossFrom int64   // number of the first segment that Loss applies to; 0: all
	Lose     []int64 // numbers of segments lost in any case, ascending; the first segment on the line is 1

	Reorder   float64       // share of segments delivered late, so that others overtake them
	ReorderBy time.Duration // how late
	Duplicate float64       // share of segments delivered twice
	Corrupt   float64       // share of segments with one bit flipped, so that their checksum fails

	Seed uint64 // of all that is random; which segments are lost depends on Seed and their numbers only
}

// minQueue is the room in bytes of a queue that was not given a size: enough
// for two superpackets.
const minQueue = 128 << 10

// BDP gives the bandwidth-delay product in bytes of a rate in bits per second
// and a round-trip time.
func BDP(rate int64, rtt time.Duration) int {
	return int(float64(rate) / 8 * rtt.Seconds())
}

// check tells what in p makes no sense.
func (p *Path) check() error {
	for _, v := range []struct {
		name string
		p    float64
	}{{"Loss", p.Loss}, {"Reorder", p.Reorder}, {"Duplicate", p.Duplicate}, {"Corrupt", p.Corrupt}} {
		if !(v.p >= 0 && v.p <= 1) {
			return fmt.Errorf("lab: path: %s is %v, want a share from 0 to 1", v.name, v.p)
		}
	}
	switch {
	case p.Rate < 0, p.Queue < 0, p.Delay < 0, p.Jitter < 0, p.ReorderBy < 0, p.Burst < 0, p.LossFrom < 0, p.MarkAbove < 0:
		return errors.New("lab: path: a negative value")
	case p.Reorder > 0 && p.ReorderBy == 0:
		return errors.New("lab: path: Reorder needs ReorderBy, the time by which segments come late")
	case p.Burst > 1 && p.Loss == 1:
		return errors.New("lab: path: with Burst, Loss must be below 1")
	}
	for i, n := range p.Lose {
		if n < 1 || i > 0 && n <= p.Lose[i-1] {
			return fmt.Errorf("lab: path: Lose must be ascending numbers from 1, got %v", p.Lose)
		}
	}
	return nil
}

// queue gives the room of the queue in bytes.
func (p *Path) queue() int {
	if p.Queue > 0 {
		return p.Queue
	}
	return max(minQueue, BDP(p.Rate, 2*p.Delay))
}
