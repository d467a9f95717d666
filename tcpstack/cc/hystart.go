package cc

import (
	"slices"
	"time"
)

// hystart is HyStart++ (RFC 9406): it leaves slow start when round trips grow,
// before the queue overflows, by way of conservative slow start (CSS), which
// goes back when the growth proves to be jitter.
//
// The RFC compares the smallest round trips of whole rounds, and CSS lasts five
// of them. A window that doubles in a round has overflown the queue by then, and
// five rounds of a quarter more treble it: at 100 ms and a queue of one
// bandwidth-delay product that cost a tenth of a window. The stack paces, so the
// queue shows while it grows. Here the smallest of the latest samples is compared
// with the round before, and CSS ends also when the round trip has grown by the
// threshold once more, which jitter does not.
type hystart struct {
	rounds   round
	last     time.Duration // smallest sample of the round before; 0: none
	current  time.Duration // smallest sample of this round; 0: none
	recent   [hystartSamples]time.Duration
	samples  int           // in this round
	baseline time.Duration // of the round that led to CSS; 0: not in CSS
	css      int           // rounds of CSS that ended
}

// Specification: RFC 9406, 4.3.
const (
	hystartMinThresh = 4 * time.Millisecond
	hystartMaxThresh = 16 * time.Millisecond
	hystartDivisor   = 8 // of the last round's RTT
	hystartSamples   = 8 // needed to decide
	hystartCSSGrowth = 4 // CSS grows by this fraction of slow start
	hystartCSSRounds = 5
)

// acked takes an ACK of the initial slow start. The window then grows by the
// acknowledged bytes over divisor; 0 says that slow start is over. The limit L
// on one ACK's effect is infinite, since the stack paces (RFC 9406, 4.3).
func (h *hystart) acked(a *Ack) (divisor int) {
	h.rounds.acked(a)
	if h.rounds.begins {
		h.last, h.current, h.samples = h.current, 0, 0
		if h.baseline != 0 {
			// RFC 9406, 4.2: the partial round in which CSS began counts.
			if h.css++; h.css >= hystartCSSRounds {
				return 0
			}
		}
	}
	if a.RTT > 0 {
		h.recent[h.samples%hystartSamples] = a.RTT
		h.samples++
		if h.current == 0 || a.RTT < h.current {
			h.current = a.RTT
		}
	}
	if h.samples >= hystartSamples && h.decide() {
		return 0
	}
	if h.baseline != 0 {
		return hystartCSSGrowth
	}
	return 1
}

// decide enters CSS when the round trip grew by more than the threshold, and
// leaves it when the round trip fell below what led there (RFC 9406, 4.2). It
// reports that slow start is over.
func (h *hystart) decide() bool {
	now := slices.Min(h.recent[:])
	switch {
	case h.baseline != 0:
		if now < h.baseline {
			h.baseline = 0
			return false
		}
		return now >= h.baseline+threshold(h.baseline)
	case h.last != 0 && now >= h.last+threshold(h.last):
		h.baseline, h.css = now, 0
	}
	return false
}

// threshold gives the growth of a round trip that counts (RFC 9406, 4.2).
func threshold(rtt time.Duration) time.Duration {
	return min(max(rtt/hystartDivisor, hystartMinThresh), hystartMaxThresh)
}
