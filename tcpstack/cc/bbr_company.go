package cc

import (
	"math"
	"time"

	"accd/tcpstack/mono"
)

// bbrCompany is what bbr knows of others at the bottleneck, and does for them.
// The draft probes every two to three seconds up to where the queue overflows,
// and keeps what it had then. A CUBIC flow with a window of hundreds of segments
// takes longer than that to come back from each of these losses, so it withers:
// at 100 ms and a queue of one bandwidth-delay product to less than a tenth. So
// after a probe that overflowed a queue which others keep, bbr leaves as much
// room as CUBIC would, and as much time as that needs to use it (yield_time; 0
// is the draft).
type bbrCompany struct {
	shared   bool      // a queue stood while cruising: it is not our own
	yieldTo  mono.Time // no probe before this while shared
	yieldFor float64   // times what CUBIC needs
}

// Of CUBIC (RFC 9438, 4.1.2 and 4.6).
const (
	cubicC    = 0.4 // segments/s³
	cubicBeta = 0.7
)

// yield reacts to a probe that overflowed the queue with inFlight bytes in flight.
func (b *bbr) yield(inFlight int) {
	if !b.shared || b.yieldFor == 0 {
		return
	}
	b.inflightLong = max(int(cubicBeta*float64(inFlight)), b.target())
	k := math.Cbrt(float64(inFlight) / float64(b.mss) * (1 - cubicBeta) / cubicC) // RFC 9438, eq. 2
	b.yieldTo = b.now.Add(time.Duration(b.yieldFor * k * float64(time.Second)))
}

// yielding reports that the time of the others is not over, while they are there.
func (b *bbr) yielding() bool { return b.shared && b.now < b.yieldTo }
