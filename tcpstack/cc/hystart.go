package cc

import "time"

// hystart is HyStart++ (RFC 9406): it leaves slow start when round trips grow,
// before the queue overflows, by way of conservative slow start (CSS), which
// goes back when the growth proves to be jitter.
type hystart struct {
	rounds   round
	last     time.Duration // smallest sample of the round before; 0: none
	current  time.Duration // smallest sample of this round; 0: none
	samples  int           // in this round
	baseline time.Duration // of the round that led to CSS; 0: not in CSS
	css      int           // rounds of CSS that ended
}

// Specification: RFC 9406, 4.3.
const (
	hystartMinThresh = 4 * time.Millisecond
	hystartMaxThresh = 16 * time.Millisecond
	hystartDivisor   = 8 // of the last round's RTT
	hystartSamples   = 8 // a round needs before it may decide
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
		h.samples++
		if h.current == 0 || a.RTT < h.current {
			h.current = a.RTT
		}
	}
	if h.samples >= hystartSamples {
		h.decide()
	}
	if h.baseline != 0 {
		return hystartCSSGrowth
	}
	return 1
}

// decide enters CSS when the round trip grew by more than the threshold, and
// leaves it when the round trip fell below what led there (RFC 9406, 4.2).
func (h *hystart) decide() {
	switch {
	case h.baseline != 0:
		if h.current < h.baseline {
			h.baseline = 0
		}
	case h.last != 0:
		thresh := min(max(h.last/hystartDivisor, hystartMinThresh), hystartMaxThresh)
		if h.current >= h.last+thresh {
			h.baseline, h.css = h.current, 0
		}
	}
}
