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

// TestRoundTripLeap: neither the Conn nor its controller believes a round trip across a
// leap of the clock.
func TestRoundTripLeap(t *testing.T) {
	for _, tt := range []struct{ took, rtt time.Duration }{{time.Second, time.Second}, {5 * time.Hour, 0}} {
		s := tell(t, config("bbr"), nil)
		s.write(1000)
		s.flush()
		s.wait(tt.took)
		s.peer(0, 0, 1000)
		if srtt, _ := s.c.RTT(); srtt != tt.rtt || s.c.told.RTT != tt.rtt {
			t.Errorf("an ACK after %v: round trip %v, the controller was told %v; want %v", tt.took, srtt, s.c.told.RTT, tt.rtt)
		}
	}
}
