package tcpstack

import (
	"strconv"
	"testing"
	"time"

	"accd/tcpstack/mono"
)

func itoa(n int) string { return strconv.Itoa(n) }

const rtt = 100 * time.Millisecond

// established gives a story with a round trip measured and nothing in flight.
func established(t *testing.T, cfg *Config, edit func(*Snapshot)) *story {
	return tell(t, cfg, func(n *Snapshot) {
		n.SRTT, n.RTTVar, n.MinRTT = rtt, rtt/8, rtt
		if edit != nil {
			edit(n)
		}
	})
}

// sendAll transmits everything the window lets go, however paced, and gives the
// bytes; time stands still but for pacing.
func (s *story) sendAll() (n int) {
	var p Packet
	for {
		for s.c.Transmit(s.now, &p) {
			n += p.Len
		}
		if !s.c.blocked {
			return n
		}
		s.now = s.c.pace.next
	}
}

// RFC 6928: ten segments first. RFC 9293, 3.7: one superpacket carries them.
func TestInitialWindow(t *testing.T) {
	s := tell(t, nil, nil)
	s.write(50_000)
	s.want("0:10000 ack 0")
	s.wait(rtt)
	s.peer(0, 0, 10_000)
	if got := s.sendAll(); got != 20_000 {
		t.Errorf("second round: %d bytes, want 20000", got)
	}
	s.peer(0, 0, 30_000)
	s.sendAll()
	s.peer(0, 0, 50_000)
}

// RFC 6298, 5: the timer backs off; progress ends the count of timeouts.
func TestRetransmissionTimeout(t *testing.T) {
	s := established(t, nil, func(n *Snapshot) { n.SACK = false })
	s.write(1000)
	s.want("0:1000 ack 0")
	at := s.now
	rto := s.c.RTO()
	if rto != rtt+rtoFloor {
		t.Fatalf("RTO %v, want %v", rto, rtt+rtoFloor)
	}
	for i := range 4 {
		s.advance(time.Hour)
		if got := s.now.Sub(at); got != rto<<i {
			t.Fatalf("timeout %d after %v, want %v", i, got, rto<<i)
		}
		at = s.now
		s.want("0:1000 ack 0")
	}
	s.peer(0, 0, 1000)
	if s.c.Backoff() != 0 || s.c.Deadline() != mono.Never {
		t.Errorf("backoff %d, deadline %v after everything is acknowledged", s.c.Backoff(), s.c.Deadline())
	}
}

// RFC 5681, 3.1: the first segment goes again after a timeout although what was
// sent later fills the window of one segment more than once.
func TestTimeoutWithMoreInFlight(t *testing.T) {
	s := established(t, nil, func(n *Snapshot) { n.SACK = false })
	s.write(3000)
	s.sendAll()
	s.wait(s.c.RTO() - 20*time.Millisecond)
	s.write(5000)
	s.sendAll()
	s.advance(time.Hour)
	s.want("0:1000 ack 0")
	s.peer(0, 0, 8000)
}

// RFC 9293, 3.8.3: after R2 timeouts the connection is given up.
func TestGivingUp(t *testing.T) {
	s := established(t, nil, nil)
	s.write(1000)
	for i := 0; s.c.Err() == nil; i++ {
		if i > 100 {
			t.Fatal("never gives up")
		}
		s.flush()
		s.advance(time.Hour)
	}
	if s.c.Err() != ErrTimeout || s.c.Stats().Timeouts != defaultRetries+1 {
		t.Errorf("%v after %d timeouts", s.c.Err(), s.c.Stats().Timeouts)
	}
}

// RFC 8985, 7: a lost tail is probed after two round trips and repaired without
// a timeout.
func TestTailLossProbe(t *testing.T) {
	s := established(t, nil, nil)
	s.write(3000)
	s.sendAll()
	start := s.now
	s.wait(rtt)
	s.peer(0, 0, 1000)
	s.quiet()
	s.advance(time.Hour)
	if got := s.now.Sub(start); got < 3*rtt || got > 3*rtt+50*time.Millisecond {
		t.Errorf("probe after %v, want about %v", got, 3*rtt)
	}
	s.want("2000:3000 ack 0")
	s.wait(rtt)
	s.peer(0, 0, 1000, sack(2000, 3000))
	s.advance(rtt)
	s.want("1000:2000 ack 0")
	s.peer(0, 0, 3000)
	if s.c.Stats().Timeouts != 0 {
		t.Errorf("%d timeouts, want none", s.c.Stats().Timeouts)
	}
}

// RFC 8985, 7.4.2: a probe of what was only slow costs nothing; one that repaired
// a loss costs what a loss does.
func TestTailLossProbeReaction(t *testing.T) {
	for _, lost := range []bool{false, true} {
		s := established(t, nil, func(n *Snapshot) { n.CC.Window = 20_000 })
		before, _, _ := s.c.Congestion()
		s.write(3000)
		s.sendAll()
		s.advance(time.Hour)
		s.want("2000:3000 ack 0")
		s.wait(rtt)
		s.peer(0, 0, 3000)
		if !lost {
			s.peer(0, 0, 3000, sack(2000, 3000))
		}
		s.write(1000)
		s.sendAll()
		s.wait(rtt)
		s.peer(0, 0, 4000)
		if w, _, _ := s.c.Congestion(); (w < before) != lost {
			t.Errorf("lost: %v; the window was %d, is %d", lost, before, w)
		}
	}
}

// RFC 8985, 6.2: three segments SACKed above a hole make it lost at once; only
// the hole is sent again.
func TestFastRetransmit(t *testing.T) {
	s := established(t, nil, nil)
	s.write(10_000)
	s.sendAll()
	s.wait(rtt)
	s.peer(0, 0, 2000, sack(3000, 4000))
	s.quiet()
	s.peer(0, 0, 2000, sack(3000, 5000))
	s.quiet()
	s.peer(0, 0, 2000, sack(3000, 6000))
	s.want("2000:3000 ack 0")
	s.wait(rtt)
	s.peer(0, 0, 10_000)
	if got := s.c.Stats(); got.FastRecoveries != 1 || got.Timeouts != 0 || got.Retransmitted != 1 {
		t.Errorf("%+v", *got)
	}
}

// RFC 8985, 6.2: a reordering within a quarter of the round trip is not a loss.
func TestReorderingIsNoLoss(t *testing.T) {
	s := established(t, nil, nil)
	s.write(3000)
	s.sendAll()
	s.wait(rtt)
	s.peer(0, 0, 0, sack(1000, 3000))
	s.quiet()
	s.advance(rtt / 8)
	s.quiet()
	s.peer(0, 0, 3000)
	if s.c.Stats().Retransmitted != 0 {
		t.Errorf("%d sent again in vain", s.c.Stats().Retransmitted)
	}
}

// RFC 5682: a delay spike looks like a timeout; when the originals arrive, the
// reduction is taken back and nothing more is sent again.
func TestSpuriousTimeout(t *testing.T) {
	s := established(t, nil, nil)
	s.write(10_000)
	s.sendAll()
	before, _, _ := s.c.Congestion()
	for s.c.Stats().Timeouts == 0 {
		s.advance(time.Hour)
		if s.c.Stats().Timeouts == 0 {
			s.flush() // the tail loss probe
		}
	}
	s.want("0:1000 ack 0")
	s.wait(10 * time.Millisecond)
	s.peer(0, 0, 5000)
	s.quiet()
	if w, _, _ := s.c.Congestion(); w < before || s.c.Stats().Spurious != 1 {
		t.Errorf("window %d after %d, %d spurious", w, before, s.c.Stats().Spurious)
	}
	s.peer(0, 0, 10_000)
}

// RFC 5682, 3.1, step 2b: an ACK of the head alone does not tell, what comes after
// new data does. So nothing but the head is sent twice.
func TestSpuriousTimeoutOneByOne(t *testing.T) {
	s := established(t, nil, nil)
	s.write(20_000)
	s.sendAll()
	before, _, _ := s.c.Congestion()
	for s.c.Stats().Timeouts == 0 {
		s.advance(time.Hour)
		if s.c.Stats().Timeouts == 0 {
			s.flush() // the tail loss probe
		}
	}
	s.want("0:1000 ack 0")
	s.wait(10 * time.Millisecond)
	for i := 1; i <= 10; i++ {
		s.peer(0, 0, 1000*i)
		s.sendAll()
	}
	if w, _, _ := s.c.Congestion(); w < before || s.c.Stats().Spurious != 1 || s.c.Stats().Retransmitted > 2 {
		t.Errorf("window %d after %d, %+v", w, before, *s.c.Stats())
	}
	s.peer(0, 0, 20_000)
}

// RFC 2018, 8: a receiver may throw away what it SACKed; after a timeout it is
// sent again.
func TestReneging(t *testing.T) {
	s := established(t, nil, nil)
	s.write(4000)
	s.sendAll()
	s.wait(rtt)
	s.peer(0, 0, 1000, sack(2000, 4000))
	s.advance(rtt)
	s.want("1000:2000 ack 0")
	s.wait(rtt)
	s.peer(0, 0, 2000) // all of it forgotten
	got := 0
	for i := 0; i < 20 && got < 2000; i++ {
		s.advance(time.Hour)
		got += s.sendAll()
		s.peer(0, 0, 2000+got)
	}
	if got != 2000 {
		t.Errorf("%d bytes sent again, want 2000", got)
	}
}

// RFC 9293, 3.8.6.1: a closed window is probed for ever while the peer answers,
// at growing intervals.
func TestZeroWindowProbe(t *testing.T) {
	s := established(t, nil, nil)
	s.write(2000)
	s.want("0:2000 ack 0")
	s.wait(rtt)
	s.peer(0, 0, 2000, window(0))
	s.write(1000)
	s.quiet()
	last, gap := s.now, time.Duration(0)
	for i := range 50 {
		s.advance(time.Hour)
		s.want("1999:1999 ack 0")
		if d := s.now.Sub(last); d < gap || d > rtoMax {
			t.Fatalf("probe %d after %v, the one before after %v", i, d, gap)
		}
		last, gap = s.now, s.now.Sub(last)
		s.peer(0, 0, 2000, window(0))
		s.quiet()
	}
	s.peer(0, 0, 2000)
	s.want("2000:3000 ack 0")
	s.peer(0, 0, 3000)
}

// RFC 9293, MUST-34: a window that shrinks below what is in flight is survived.
func TestShrunkWindow(t *testing.T) {
	s := established(t, nil, nil)
	s.write(8000)
	s.sendAll()
	s.wait(rtt)
	s.peer(0, 0, 2000, window(1000))
	s.quiet()
	s.wait(rtt)
	s.peer(0, 0, 8000)
	if s.c.flight != 0 || s.c.Err() != nil {
		t.Errorf("flight %d, %v", s.c.flight, s.c.Err())
	}
}

// A burst is a millisecond of the pacing rate, and what a late wake-up may catch
// up with is bounded.
func TestPacing(t *testing.T) {
	cfg := config("reno")
	cfg.MaxRate = 1_000_000
	s := established(t, cfg, func(n *Snapshot) { n.CC.Window = 200_000 })
	s.write(10_000)
	start := s.now
	s.want("0:2000 ack 0")
	// 2,000 bytes at 1 MB/s take 2 ms, less a millisecond of credit.
	s.now = s.c.Deadline()
	if got := s.now.Sub(start); got != time.Millisecond {
		t.Errorf("second packet after %v, want 1ms", got)
	}
	s.want("2000:4000 ack 0")
	s.now = s.c.Deadline()
	if got := s.now.Sub(start); got != 3*time.Millisecond {
		t.Errorf("third packet after %v, want 3ms", got)
	}
	s.want("4000:6000 ack 0")
	s.sendAll()
	s.peer(0, 0, 10_000)
}

// PRR (RFC 9937): recovery from a loss of 4 of 30 segments sends no burst beyond
// two segments per ACK and ends at ssthresh.
func TestProportionalRateReduction(t *testing.T) {
	s := established(t, nil, func(n *Snapshot) { n.CC.Window, n.CC.Ssthresh = 30_000, 30_000 })
	s.write(60_000)
	if n := s.sendAll(); n != 30_000 {
		t.Fatalf("sent %d, want 30000", n)
	}
	s.wait(rtt)
	for i := 5; i <= 30; i++ {
		s.peer(0, 0, 0, sack(4000, i*1000))
		if n := s.sendAll(); n > 2000 && i > 7 {
			t.Errorf("ACK %d released %d bytes", i, n)
		}
	}
	s.wait(rtt)
	s.peer(0, 0, 30_000)
	s.sendAll()
	if w, _, _ := s.c.Congestion(); s.c.rec.phase != fast && (w < 14_000 || w > 16_000) {
		t.Errorf("window %d after recovery, want about half of 30000", w)
	}
	s.peer(0, 0, s.c.SndNxt().Sub(s.c.sndSeq0))
	s.sendAll()
	s.peer(0, 0, s.c.SndNxt().Sub(s.c.sndSeq0))
}
