package tcpstack

import (
	"testing"
	"time"
)

// A clock that leaps by hours is no round trip: pacing and the timeout stay what
// they were. What was in flight over a stall of seconds is not measured either.
func TestLeapIsNoRoundTrip(t *testing.T) {
	for name, leap := range map[string]time.Duration{"hours": 4 * time.Hour, "seconds": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			s := established(t, nil, nil)
			rto := s.c.RTO()
			s.write(4000)
			s.sendAll()
			s.wait(leap)
			if leap < rtoMax {
				s.c.Stalled()
			}
			s.peer(0, 0, 4000)
			if s.c.RTO() != rto {
				t.Errorf("RTO %v after a leap by %v, want %v", s.c.RTO(), leap, rto)
			}
			if _, smallest := s.c.RTT(); smallest != rtt {
				t.Errorf("smallest round trip %v", smallest)
			}
		})
	}
}

// RFC 6298, 5: the backoff stays until there is a new measurement, which what
// was sent again does not give (Karn). Else a path that became longer than the
// timeout would see every segment several times for ever.
func TestBackoffLastsUntilASample(t *testing.T) {
	const now = time.Second // the round trip, which was 100 ms before
	s := established(t, nil, func(n *Snapshot) { n.SACK = false })
	for i := range 3 {
		s.write(1000)
		s.sendAll()
		for sent := s.now; s.c.Deadline() < sent.Add(now); {
			s.now = s.c.Deadline()
			s.c.Expire(s.now)
			s.sendAll()
		}
		s.wait(now)
		s.peer(0, 0, 1000*(i+1))
		if s.c.Backoff() != 0 {
			t.Errorf("%d timeouts without progress after progress", s.c.Backoff())
		}
	}
	if n := s.c.Stats().Retransmitted; n > 2 {
		t.Errorf("%d segments sent again, want those of the first round trip", n)
	}
	if s.c.rtt.backoff != 0 || s.c.RTO() < now {
		t.Errorf("RTO %v with a backoff of %d after a sample of %v", s.c.RTO(), s.c.rtt.backoff, now)
	}
}
