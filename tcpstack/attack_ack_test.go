package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/wire"
)

// Savage et al., TCP Congestion Control with a Misbehaving Receiver (1999), names
// three ways in which ACKs could buy speed, and what is to come of each: nothing.

// rounds gives what a sender in slow start sends in n round trips to a peer that
// acknowledges each in the way of ack, which gets the number of bytes in flight.
func rounds(t *testing.T, n int, edit func(*Snapshot), ack func(s *story, from, to int)) int {
	s := established(t, nil, func(n *Snapshot) {
		n.SndScale = 8
		n.SndWnd = 4 << 20
		if edit != nil {
			edit(n)
		}
	})
	s.write(500_000)
	from, to := 0, s.sendAll()
	sent := to
	for range n {
		s.wait(rtt)
		ack(s, from, to)
		from = to
		more := s.sendAll()
		sent += more
		to += more
	}
	s.t.Cleanup(func() { s.peer(0, 0, 500_000, wideWindow) })
	for to < 500_000 { // the rest, so that the story ends
		s.wait(rtt)
		s.peer(0, 0, to, wideWindow)
		to += s.sendAll()
	}
	return sent
}

// wideWindow offers what fits in 16 bits.
func wideWindow(g *Segment) { g.Window = 16 << 10 }

// RFC 3465, 2.1: bytes are counted, not ACKs.
func TestACKDivisionGainsNothing(t *testing.T) {
	honest := rounds(t, 4, nil, func(s *story, from, to int) { s.peer(0, 0, to, wideWindow) })
	divided := rounds(t, 4, nil, func(s *story, from, to int) {
		for at := from + 1; at <= to; at += 7 {
			s.peer(0, 0, at, wideWindow)
		}
		s.peer(0, 0, to, wideWindow)
	})
	if divided > honest {
		t.Errorf("%d bytes with ACKs of 7 bytes, %d with one a round trip", divided, honest)
	}
}

// RFC 5681, 3.2: the window is inflated by no more segments than there were to
// cause duplicate ACKs.
func TestDuplicateACKSpoofingGainsLittle(t *testing.T) {
	s := established(t, nil, func(n *Snapshot) {
		n.SACK = false
		n.CC.Window, n.CC.Ssthresh = 20_000, 20_000
		n.SndScale, n.SndWnd = 8, 4<<20
	})
	s.write(200_000)
	sent := s.sendAll()
	s.wait(rtt)
	for range 1000 {
		s.peer(0, 0, 0, wideWindow)
		sent += s.sendAll()
	}
	// A flight, half of it again, and what is sent again.
	if sent > 2*20_000+3000 {
		t.Errorf("1000 duplicate ACKs bring %d bytes out of a window of 20000", sent)
	}
	for at := 20_000; at <= 200_000; at += 10_000 {
		s.peer(0, 0, min(at, s.c.SndNxt().Sub(wire.SeqOf(ourISN))), wideWindow)
		s.sendAll()
		s.wait(rtt)
	}
	for s.c.out.Len() > 0 {
		s.advance(time.Hour)
		s.sendAll()
		s.peer(0, 0, s.c.SndNxt().Sub(wire.SeqOf(ourISN)), wideWindow)
	}
}

// RFC 5961, 5.2 and RFC 9293, 3.10.7.4: what was not sent cannot be acknowledged,
// neither cumulatively nor by SACK (RFC 2018, 5.1).
func TestOptimisticACKGainsNothing(t *testing.T) {
	s := established(t, nil, nil)
	s.write(30_000)
	sent := s.sendAll()
	before, _, _ := s.c.Congestion()
	s.peer(0, 0, sent+1)
	s.want("10000:10000 ack 0") // challenged
	s.peer(0, 0, 0, sack(sent, sent+1000))
	s.peer(0, 0, 0, sack(sent-1000, sent+1))
	s.quiet()
	if w, in, _ := s.c.Congestion(); w != before || in != sent || s.c.Stats().BadAck != 1 {
		t.Errorf("window %d after %d, %d in flight after %d", w, before, in, sent)
	}
	s.peer(0, 0, sent)
	s.sendAll()
	s.peer(0, 0, 30_000)
}

// Linux, tcp_dsacked_seen: a peer reports no more twice than was sent twice. What
// goes beyond was duplicated on the way, or is made up, and neither widens the
// reordering window nor takes a recovery back.
func TestForgedDSACK(t *testing.T) {
	s := established(t, nil, nil)
	s.write(20_000)
	s.sendAll()
	s.wait(rtt)
	s.peer(0, 0, 3000)
	for range 50 {
		s.peer(0, 0, 3000, sack(1000, 2000))
		s.sendAll()
	}
	if s.c.rack.mult != 0 {
		t.Errorf("the reordering window is %d times wider for what was never sent again", s.c.rack.mult)
	}
	s.peer(0, 0, 3000, sack(4000, 8000))
	s.sendAll()
	if n := s.c.Stats().BytesRetransmitted; n != 1000 {
		t.Fatalf("%d bytes sent again, want the segment that is lost", n)
	}
	w, _, _ := s.c.Congestion()
	s.peer(0, 0, 3000, sack(1000, 3000, 4000, 8000)) // larger than what was sent again
	if got, _, _ := s.c.Congestion(); got != w || s.c.Stats().Spurious != 0 {
		t.Errorf("the window was %d, is %d, %d recoveries were taken back", w, got, s.c.Stats().Spurious)
	}
	for s.c.out.Len() > 0 {
		s.wait(rtt)
		s.peer(0, 0, s.c.SndNxt().Sub(wire.SeqOf(ourISN)))
		s.sendAll()
	}
}

// RFC 8985, 6.2: each round trip with a DSACK widens the reordering window by a
// quarter of the smallest round trip, no more than a round trip in all; sixteen
// recoveries without one take it back.
func TestReorderingWindowAdapts(t *testing.T) {
	s := established(t, nil, func(n *Snapshot) { n.CC.Window = 20_000; n.SndScale, n.SndWnd = 8, 4<<20 })
	s.c.rack.reordered = true
	if got := s.c.reorderWindow(); got != rtt/4 {
		t.Fatalf("a reordering window of %v in the beginning, want %v", got, rtt/4)
	}
	at := 0
	// One segment is overtaken by so many that it counts as lost, and comes twice.
	late := func() {
		s.write(10_000)
		s.sendAll()
		s.wait(rtt)
		s.peer(0, 0, at, sack(at+1000, at+10_000), wideWindow)
		for s.c.Stats().BytesRetransmitted == s.c.dsacked {
			s.advance(time.Hour)
			s.sendAll()
		}
		s.wait(rtt)
		s.peer(0, 0, at+10_000, sack(at, at+1000), wideWindow)
		at += 10_000
		s.sendAll()
	}
	for i := 2; i <= 8; i++ {
		late()
		if got, want := s.c.reorderWindow(), min(time.Duration(i)*s.c.rtt.min/4, s.c.rtt.srtt); got != want {
			t.Errorf("after %d DSACKs %v, want %v", i-1, got, want)
		}
	}
	for range reoPersist {
		s.c.rack.recovered()
	}
	if got := s.c.reorderWindow(); got != s.c.rtt.min/4 {
		t.Errorf("after %d recoveries without DSACK %v, want %v", reoPersist, got, s.c.rtt.min/4)
	}
}
