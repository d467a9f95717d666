package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
)

// TestRateLeap: a rate measured across a leap of the clock is none. A controller that
// paces by it would need hours to find the path's again.
func TestRateLeap(t *testing.T) {
	for _, tt := range []struct {
		took time.Duration
		rate int64
	}{{time.Second, 1000}, {rtoMax, 1000 / 120}, {rtoMax + 1, 0}, {5 * time.Hour, 0}} {
		var r rateState
		var p sent
		begin := mono.Time(time.Second)
		r.sent(begin, &p, 0)
		r.got(begin.Add(tt.took), &p, 1000)
		var a cc.Ack
		r.sample(begin.Add(tt.took), 0, &a)
		if a.Rate != tt.rate || r.recent != tt.rate {
			t.Errorf("1000 bytes in %v: rate %d, kept %d, want %d", tt.took, a.Rate, r.recent, tt.rate)
		}
	}
}
