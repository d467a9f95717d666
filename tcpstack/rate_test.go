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

// draft-ietf-ccwg-bbr, 4.1.1: a sample lasts as long as the longer of sending and
// acknowledging, so ACKs that something holds back and lets go in lumps do not make
// the path look faster.
func TestRateOfACKsInLumps(t *testing.T) {
	const (
		mss  = 1000
		gap  = time.Millisecond // between segments: 1 MB/s
		rtt  = 40 * time.Millisecond
		want = 1e6
	)
	for _, hold := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
		var (
			r        rateState
			queue    []*sent
			flight   int
			most     int64
			sum      float64
			samples  int
			released mono.Time
		)
		start := mono.Time(time.Second)
		for now, next := start, start; now < start.Add(5*time.Second); now = now.Add(gap / 4) {
			if now >= next {
				p := &sent{end: mss}
				r.sent(now, p, flight)
				queue, flight, next = append(queue, p), flight+mss, next.Add(gap)
			}
			if len(queue) == 0 || queue[0].at.Add(rtt) > now || now < released.Add(hold) {
				continue
			}
			released = now
			for len(queue) > 0 && queue[0].at.Add(rtt) <= now {
				r.got(now, queue[0], mss)
				queue, flight = queue[1:], flight-mss
			}
			var a cc.Ack
			if r.sample(now, rtt, &a); a.Rate > 0 {
				most = max(most, a.Rate)
				sum += float64(a.Rate)
				samples++
			}
		}
		if samples == 0 || float64(most) > 1.05*want {
			t.Errorf("ACKs every %v: a rate of %d in %d samples, want %.0f and at most 5 %% more", hold, most, samples, float64(want))
		}
		if mean := sum / float64(samples); mean < 0.8*want {
			t.Errorf("ACKs every %v: %.0f on average, want %.0f", hold, mean, float64(want))
		}
	}
}

// Without SACK the ACK of what filled a hole tells of all that arrived meanwhile,
// which says nothing about how fast: bbr once took four times the link for it.
func TestRateWithoutSACK(t *testing.T) {
	cfg := config("bbr")
	p := newPair([2]*Config{cfg, cfg}, func(s *Snapshot) { s.SACK = false })
	p.delay, p.rate, p.queue = 20*time.Millisecond, 12.5e6, 500_000
	const n = 8 << 20
	p.write(0, n)
	for p.in[1].End() < n {
		p.step()
		p.in[1].Discard(p.in[1].End())
		if got := p.conn[0].control.Memory().Bandwidth; float64(got) > 1.05*p.rate {
			t.Fatalf("%v: a bandwidth of %d, the link has %.0f", p.now, got, p.rate)
		}
	}
	if s := p.conn[0].Stats(); s.FastRecoveries == 0 {
		t.Error("nothing was lost")
	}
}
