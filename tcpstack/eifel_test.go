package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/wire"
)

// stamped gives a story with timestamps, without SACK if so wanted.
func stamped(t *testing.T, sack bool) *story {
	return established(t, nil, func(n *Snapshot) {
		n.MSS, n.SACK = 1012, sack
		n.Timestamps, n.TSRecent, n.TSRecentAge, n.TSVal = true, 100, 1, 1000
	})
}

// RFC 3522, 3.2 and RFC 4015, 3.2: the ACK that follows a timeout echoes the
// timestamp of what was sent first, so the timeout was spurious: the window is what
// it was, and nothing more is sent again. Without SACK F-RTO does not tell.
func TestSpuriousTimeoutByTimestamp(t *testing.T) {
	for _, late := range []bool{true, false} {
		s := stamped(t, false)
		s.write(10_000)
		s.sendAll()
		sent := s.c.clock(s.now)
		before, _, _ := s.c.Congestion()
		for s.c.Stats().Timeouts == 0 {
			s.advance(time.Hour)
		}
		s.sendAll()
		s.wait(10 * time.Millisecond)
		ecr := sent
		if !late {
			ecr = s.c.rec.eifel.stamp
		}
		s.peer(0, 0, 2000, ts(101, ecr))
		s.sendAll()
		w, _, _ := s.c.Congestion()
		if again := s.c.Stats().BytesRetransmitted; late != (s.c.Stats().Spurious == 1) || late != (again == 1000) || late != (w >= before) {
			t.Errorf("echo of the first %v: window %d after %d, %d bytes sent again", late, w, before, again)
		}
		s.wait(rtt)
		s.peer(0, 0, 10_000, ts(102, s.c.clock(s.now)))
	}
}

// The same after a fast retransmission: what overtook by more than three segments
// was no loss.
func TestSpuriousFastRetransmitByTimestamp(t *testing.T) {
	for _, sacks := range []bool{true, false} {
		s := stamped(t, sacks)
		s.write(10_000)
		s.sendAll()
		sent := s.c.clock(s.now)
		before, _, _ := s.c.Congestion()
		s.wait(rtt)
		for i := range 4 {
			s.peer(0, 0, 0, ts(101, sent), func(g *Segment) {
				if sacks {
					sack(1000, 1000*(i+2))(g)
				}
			})
			s.sendAll()
		}
		if n := s.c.Stats().FastRecoveries; n != 1 {
			t.Fatalf("SACK %v: %d fast recoveries", sacks, n)
		}
		s.wait(10 * time.Millisecond)
		s.peer(0, 0, 5000, ts(102, sent))
		if w, _, _ := s.c.Congestion(); w < before || s.c.Stats().Spurious != 1 {
			t.Errorf("SACK %v: window %d after %d", sacks, w, before)
		}
		s.peer(0, 0, 10_000, ts(103, sent))
		s.sendAll()
	}
}

// In custody the timestamps are not ours: an echo, however old, takes nothing back.
func TestTimestampsOfOthersProveNothing(t *testing.T) {
	cfg := config("reno")
	cfg.Relay = true
	s := established(t, cfg, func(n *Snapshot) {
		n.MSS, n.SACK = 1012, false
		n.Timestamps, n.TSRecent, n.TSRecentAge, n.TSVal = true, 100, 1, 1000
	})
	s.write(10_000)
	s.sendAll()
	for s.c.Stats().Timeouts == 0 {
		s.advance(time.Hour)
	}
	s.c.SetTimestamp(2000)
	s.sendAll()
	s.peer(0, 0, 2000, ts(101, 1000))
	if s.c.Stats().Spurious != 0 {
		t.Error("a timeout was taken back")
	}
	s.sendAll()
	s.peer(0, 0, 10_000, ts(102, 2000))
	s.peer(0, 0, s.c.SndNxt().Sub(wire.SeqOf(ourISN)), ts(102, 2000))
}
