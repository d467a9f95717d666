package tcpstack

import (
	"testing"
	"time"
)

// draining gives a Conn of a relay in a drain with 4000 bytes in flight.
func draining(t *testing.T) *story {
	t.Helper()
	cfg := config("cubic")
	cfg.Relay = true
	s := established(t, cfg, func(n *Snapshot) { n.RTTVar = rtt / 20 })
	s.write(4000)
	s.sendAll()
	s.c.Drain()
	return s
}

// In a drain the sender's own packets pass and are SACKed beyond what this Conn
// sent: they show that what is held is lost, without a timeout.
func TestDrainHearsOfLosses(t *testing.T) {
	s := draining(t)
	s.wait(rtt)
	s.peer(0, 0, 1000, sack(6000, 8000))
	s.quiet()
	for at := 1000; at < 4000; at += 1000 {
		s.wait(2 * rtt)
		s.peer(0, 0, at, sack(6000, 9000+at))
		if n := s.sendAll(); n < 1000 {
			t.Fatalf("at %d: %d bytes sent again, want a segment at least", at, n)
		}
	}
	s.wait(rtt)
	s.peer(0, 0, 4000)
	if got := s.c.Stats().Timeouts; got != 0 {
		t.Errorf("%d timeouts, want none", got)
	}
}

// In a drain the first timeouts come without backoff.
func TestDrainTimeouts(t *testing.T) {
	cfg := config("cubic")
	cfg.Relay = true
	s := established(t, cfg, nil)
	s.write(1000)
	s.sendAll()
	s.c.Drain()
	s.advance(time.Hour)
	s.flush() // the tail loss probe
	start := s.now
	for range linearTimeouts {
		s.advance(time.Hour)
		s.want("0:1000 ack 0")
	}
	if got, want := s.now.Sub(start), linearTimeouts*s.c.RTO(); got > want+time.Millisecond {
		t.Errorf("%d timeouts took %v, want %v", linearTimeouts, got, want)
	}
	s.peer(0, 0, 1000)
}

// What is SACKed beyond what this Conn sent may have filled a queue that the held bytes
// wait behind: as long as nothing is acknowledged, less and less of them is sent again
// (simnet's TestForgedDrain, seed 52804).
func TestDrainBehindAQueue(t *testing.T) {
	s := draining(t)
	sent := 0
	for i := range 200 {
		s.wait(rtt / 4)
		s.peer(0, 0, 0, sack(6000, 7000+1000*i))
		sent += s.sendAll()
	}
	if sent < 4000 || sent > 5*4000 {
		t.Errorf("%d bytes are sent again in 50 round trips, want a few times 4000", sent)
	}
	s.peer(0, 0, 4000)
}
