package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/wire"
)

// Linux, tcp_comp_sack_delay_ns and tcp_comp_sack_nr: the first three segments
// behind a hole are acknowledged at once (RFC 5681, 4.2), so that the sender may
// retransmit; those that follow share an ACK in a millisecond, or each 44; what
// fills the hole is acknowledged at once again.
func TestCompressedSACK(t *testing.T) {
	s := tell(t, nil, nil)
	for i := range dupThresh {
		s.peer(1000*(i+1), 1000, 0)
		s.want("0:0 ack 0 sack 1000:" + itoa(1000*(i+2)))
	}
	s.peer(4000, 1000, 0)
	s.peer(5000, 1000, 0)
	s.quiet()
	s.advance(sackDelay / 2)
	s.quiet()
	s.peer(6000, 1000, 0)
	s.advance(time.Hour)
	s.want("0:0 ack 0 sack 1000:7000")
	for i := range sackHeld - 1 {
		s.peer(7000+100*i, 100, 0)
	}
	s.quiet()
	s.peer(7000+100*(sackHeld-1), 100, 0)
	s.want("0:0 ack 0 sack 1000:11400")
	s.peer(0, 500, 0)
	s.want("0:0 ack 500 sack 1000:11400")
	s.peer(500, 500, 0)
	s.want("0:0 ack 11400")
}

// With a short round trip an ACK waits a twentieth of it at most.
func TestCompressedSACKOnShortPath(t *testing.T) {
	const short = 200 * time.Microsecond
	s := tell(t, nil, func(n *Snapshot) { n.SRTT, n.MinRTT = short, short })
	for i := range dupThresh + 1 {
		s.peer(1000*(i+1), 1000, 0)
		s.flush()
	}
	if got := s.c.Deadline().Sub(s.now); got != short/20 {
		t.Errorf("the fourth ACK waits %v, want %v", got, short/20)
	}
	s.advance(time.Hour)
	s.want("0:0 ack 0 sack 1000:5000")
	s.c.reasm.reset()
}

// Data that leaves meanwhile does not take the place of an ACK with SACK blocks.
func TestCompressedSACKWithData(t *testing.T) {
	s := tell(t, nil, nil)
	for i := range dupThresh + 1 {
		s.peer(1000*(i+1), 1000, 0)
		s.flush()
	}
	s.write(1000)
	s.want("0:1000 ack 0")
	s.advance(sackDelay)
	s.want("1000:1000 ack 0 sack 1000:5000")
	s.peer(0, 1000, 1000)
	s.want("1000:1000 ack 5000")
}

// RFC 5681, 4.2: an ACK for every second full segment, where full is what the peer
// sends, not what it might: Linux, tcp_measure_rcv_mss. Segments behind a hole teach
// it too (Linux selftest tcp_ooo_rcv_mss).
func TestPeerSegmentSize(t *testing.T) {
	for _, behind := range []bool{false, true} {
		s := tell(t, nil, nil)
		s.c.ack.quick = 0
		at := 0
		if behind {
			at = 500
		}
		for i := range 4 {
			s.peer(at+500*i, 500, 0)
			s.flush()
		}
		if behind {
			s.peer(0, 500, 0)
			s.flush()
		}
		at += 2000
		for range 5 { // every second one from now on
			s.peer(at, 500, 0)
			if s.c.rcvMSS() != 500 {
				t.Fatalf("behind a hole %v: segments of 500 count as %d", behind, s.c.rcvMSS())
			}
			s.flush()
			at += 500
		}
		s.advance(time.Hour)
		s.flush()
		s.peer(at, 500, 0)
		s.quiet()
		s.peer(at+500, 500, 0)
		s.want("0:0 ack " + itoa(at+1000))
		at += 1000
		for range 2 { // the path has become wider
			s.peer(at, 1000, 0)
			at += 1000
			s.flush()
		}
		if got := s.c.rcvMSS(); got != 1000 {
			t.Errorf("behind a hole %v: segments of 1000 count as %d", behind, got)
		}
		s.advance(time.Hour)
		s.flush()
	}
}

// riding gives a Conn whose ACKs may ride for so long, and what its peer pushes with.
func riding(t *testing.T, ride time.Duration) (s *story, push func(*Segment)) {
	t.Helper()
	s = tell(t, nil, nil)
	s.c.SetRide(ride)
	return s, flags(wire.ACK | wire.PSH)
}

// RFC 9293, 3.8.6.3 and RFC 1122, 4.2.3.2: the ACK of a small segment may wait for data
// to carry it; that of a full one, of one that is not pushed, or of a second one may not.
func TestACKRides(t *testing.T) {
	const ride = time.Millisecond
	s, push := riding(t, ride)
	s.peer(0, 100, 0, push)
	s.quiet()
	s.advance(ride / 2)
	s.write(300)
	s.want("0:300 ack 100") // the answer carries it
	s.peer(100, 100, 300, push)
	s.quiet()
	s.peer(200, 100, 300, push) // a second one: its sender does not wait, nor do we
	s.want("300:300 ack 300")
	s.peer(300, 100, 300)
	s.want("300:300 ack 400")
	s.peer(400, 1000, 300, push)
	s.want("300:300 ack 1400")
	s.peer(1400, 100, 300, push)
	s.quiet()
	if got := s.c.Deadline().Sub(s.now); got != ride {
		t.Errorf("the ACK waits %v, want %v", got, ride)
	}
	s.advance(ride)
	s.want("300:300 ack 1500")
}

// An ACK that waited in vain is followed by some that do not wait, in this custody and
// the next.
func TestACKRidesInVain(t *testing.T) {
	const ride = time.Millisecond
	s, push := riding(t, ride)
	s.peer(0, 100, 0, push)
	s.quiet()
	s.advance(ride)
	s.want("0:0 ack 100")
	at := 100
	for i := range inVain {
		if i == inVain/2 {
			var snap Snapshot
			s.c.Snapshot(&snap)
			s.c.Resume(s.now, &snap, &s.in, &s.out, config("reno"))
			s.c.SetRide(ride)
		}
		s.peer(at, 100, 0, push)
		at += 100
		s.want("0:0 ack " + itoa(at))
	}
	s.peer(at, 100, 0, push)
	s.quiet()
	s.advance(ride)
	s.want("0:0 ack " + itoa(at+100))
}

// Where the answer to what is acknowledged would be the data, none comes behind our FIN.
func TestACKRidesOnNothing(t *testing.T) {
	s := tell(t, nil, nil)
	s.c.SetRide(time.Millisecond)
	s.out.Close()
	s.want("F 0:0 ack 0")
	s.peer(0, 0, 1)
	s.peer(0, 100, 1, flags(wire.ACK|wire.PSH))
	s.want("1:1 ack 100")
}

// A window that may grow is told with the ACK that rides, not before it.
func TestACKRidesWithWindow(t *testing.T) {
	cfg := config("reno")
	cfg.Relay = true
	s := tell(t, cfg, nil)
	s.c.SetRide(time.Millisecond)
	s.c.SetBuffer(1 << 20)
	s.peer(0, 100, 0, flags(wire.ACK|wire.PSH))
	s.quiet()
	s.advance(time.Millisecond)
	s.want("0:0 ack 100")
}
