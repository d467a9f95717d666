package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/mono"
)

// RFC 9293, MUST-36 and MUST-37: a window may stay closed for a day; the peer is
// probed all that time, at intervals that grow to two minutes and no further, and
// when it opens what waits is sent.
func TestZeroWindowForADay(t *testing.T) {
	s := established(t, nil, nil)
	s.write(2000)
	s.want("0:2000 ack 0")
	s.wait(rtt)
	s.peer(0, 0, 2000, window(0))
	s.write(1000)
	s.quiet()
	probes := 0
	for end := s.now.Add(24 * time.Hour); s.now < end; probes++ {
		s.advance(time.Hour)
		s.want("1999:1999 ack 0")
		s.wait(rtt)
		s.peer(0, 0, 2000, window(0))
		s.quiet()
	}
	if n := int(24 * time.Hour / rtoMax); probes < n || probes > n+30 {
		t.Errorf("%d probes in a day, want about %d", probes, n)
	}
	if s.c.Err() != nil {
		t.Fatal(s.c.Err())
	}
	s.peer(0, 0, 2000)
	s.want("2000:3000 ack 0")
	s.peer(0, 0, 3000)
}

// esp-lwip: two ends that have closed their windows to each other answer each
// other's probes and not each other's answers.
func TestTwoZeroWindows(t *testing.T) {
	cfg := config("reno")
	cfg.Buffer = 20_000
	p := newPair([2]*Config{cfg, cfg}, func(s *Snapshot) {
		s.SndScale, s.RcvScale, s.SndWnd, s.RcvEdge = 2, 2, 20_000, s.RcvNxt.Add(20_000)
	})
	p.write(0, 60_000)
	p.write(1, 60_000)
	hour := p.now.Add(time.Hour)
	for p.now < hour && p.step() {
	}
	for i := range p.in {
		// Each probe and its answer, in both directions: no more than one of
		// each in two minutes, when the intervals are as long as they get.
		if n := p.sent[i]; n > 100+2*int(time.Hour/rtoMax) {
			t.Errorf("side %d has sent %d packets in an hour with both windows closed", i, n)
		}
		if got := p.in[i].Len(); got < 18_000 || got > 21_000 {
			t.Errorf("side %d has received %d bytes into a window of 20000", i, got)
		}
	}
	got := [2]int{}
	for p.now < hour.Add(time.Hour) {
		for i := range p.in {
			got[i] += p.in[i].Len()
			p.in[i].Discard(p.in[i].End())
		}
		if !p.step() {
			break
		}
	}
	for i := range p.in {
		if got[i]+p.in[i].Len() != 60_000 {
			t.Errorf("side %d has got %d of 60000 bytes after its window opened", i, got[i]+p.in[i].Len())
		}
		p.in[i].Reset()
	}
}

// RFC 8961, 4 (3) and RFC 6298, 5.5: into a black hole less and less is sent: the
// gaps double up to two minutes, each carries one segment, and the end comes after
// R2 (RFC 9293, 3.8.3), which Linux has at about 15 minutes.
func TestBlackHoleBacksOff(t *testing.T) {
	s := established(t, nil, func(n *Snapshot) { n.CC.Window = 20_000 })
	s.write(20_000)
	s.sendAll()
	start, last, gap := s.now, s.now, time.Duration(0)
	sent := 0
	for s.c.Err() == nil {
		timeouts := s.c.Stats().Timeouts
		s.advance(time.Hour)
		n := s.sendAll()
		if s.c.Stats().Timeouts == timeouts {
			continue // the tail loss probe
		}
		if s.c.Err() == nil && (n == 0 || n > 1000) {
			t.Fatalf("timeout %d sends %d bytes, want one segment at most", s.c.Stats().Timeouts, n)
		}
		sent += n
		if d := s.now.Sub(last); sent > n && d < min(2*gap, rtoMax) {
			t.Fatalf("timeout %d after %v, the one before after %v", s.c.Stats().Timeouts, d, gap)
		}
		if last, gap = s.now, s.now.Sub(last); sent == n {
			gap = s.c.RTO() // the first came behind the tail loss probe
		}
	}
	if d := s.now.Sub(start); s.c.Err() != ErrTimeout || d < 13*time.Minute || d > 18*time.Minute {
		t.Errorf("%v after %v", s.c.Err(), d)
	}
	if s.c.Deadline() != mono.Never {
		t.Error("a Conn that has ended waits for something")
	}
}

// RFC 9293, SHLD-11: the peer whose SACKs take the backoff back is there, though it has
// not got the first segment: R2 is a time, not only a count (simnet's TestForgedDrain,
// seed 9211).
func TestSACKsGiveTime(t *testing.T) {
	s := established(t, nil, nil)
	s.write(1000)
	s.flush()
	for start := s.now; s.now.Sub(start) < 100*time.Second; {
		s.advance(time.Hour)
		s.flush()
		s.c.rtt.backoff = 0 // as SACKs do of what was sent once
		if err := s.c.Err(); err != nil {
			t.Fatalf("%v after %v and %d timeouts", err, s.now.Sub(start), s.c.Stats().Timeouts)
		}
	}
	s.peer(0, 0, 1000)
}
