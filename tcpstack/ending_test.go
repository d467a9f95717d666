package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/wire"
)

var fin = flags(wire.FIN | wire.ACK)

// closed brings a story into a closing state by the shortest way. Bytes before 1 are
// acknowledged both ways, FINs are at 0.
func closed(t *testing.T, state State, cfg *Config) *story {
	t.Helper()
	s := tell(t, cfg, nil)
	ours := func() { s.out.Close(); s.want("F 0:0 ack 0") }
	switch state {
	case FinWait1:
		ours()
	case FinWait2, TimeWait:
		ours()
		s.peer(0, 0, 1)
		if state == TimeWait {
			s.peer(0, 0, 1, fin)
			s.want("1:1 ack 1")
		}
	case CloseWait, LastAck:
		s.peer(0, 0, 0, fin)
		s.want("0:0 ack 1")
		if state == LastAck {
			s.out.Close()
			s.want("F 0:0 ack 1")
		}
	case Closing:
		ours()
		s.peer(0, 0, 0, fin)
		s.want("1:1 ack 1")
	}
	s.state(state)
	return s
}

// RFC 9293, 3.6, figure 12: we close first, and stay to answer.
func TestCloseFirst(t *testing.T) {
	s := tell(t, nil, nil)
	s.write(1000)
	s.out.Close()
	s.want("F 0:1000 ack 0")
	s.state(FinWait1)
	s.peer(0, 0, 1001)
	s.state(FinWait2)
	s.peer(0, 500, 1001)
	s.want("1001:1001 ack 500")
	s.peer(500, 0, 1001, fin)
	s.state(TimeWait)
	s.want("1001:1001 ack 501")
	s.pass(timeWait - 1)
	s.state(TimeWait)
	s.pass(1)
	s.ended(nil)
}

// The peer closes first, we are through with the ACK of our FIN.
func TestCloseSecond(t *testing.T) {
	s := tell(t, nil, nil)
	s.peer(0, 500, 0, fin)
	s.want("0:0 ack 501")
	s.state(CloseWait)
	s.write(1000)
	s.want("0:1000 ack 501")
	s.out.Close()
	s.want("F 1000:1000 ack 501")
	s.state(LastAck)
	s.peer(501, 0, 1000)
	s.state(LastAck)
	s.peer(501, 0, 1001)
	s.ended(nil)
}

// RFC 9293, 3.6, figure 13: FINs cross.
func TestCloseBoth(t *testing.T) {
	s := closed(t, FinWait1, nil)
	s.peer(0, 0, 0, fin)
	s.want("1:1 ack 1")
	s.state(Closing)
	s.peer(1, 0, 1)
	s.state(TimeWait)
	s.pass(timeWait)
	s.ended(nil)
}

// The peer's FIN acknowledges ours.
func TestCloseByFINACK(t *testing.T) {
	s := closed(t, FinWait1, nil)
	s.peer(0, 0, 1, fin)
	s.want("1:1 ack 1")
	s.state(TimeWait)
}

// A FIN is sent again until it is acknowledged.
func TestFINAgain(t *testing.T) {
	s := closed(t, LastAck, nil)
	s.next("F 0:0 ack 1") // a tail loss probe
	for range 3 {
		s.next("F 0:0 ack 1")
	}
	s.peer(1, 0, 1)
	s.ended(nil)
}

// packetdrill's disorder_fin: a FIN that overtakes data waits for it, also with an
// old acknowledgment.
func TestFINBeforeData(t *testing.T) {
	s := closed(t, FinWait2, nil)
	s.peer(500, 0, 0, fin)
	s.state(FinWait2)
	s.peer(0, 500, 1)
	s.want("1:1 ack 501")
	s.state(TimeWait)
}

// RFC 9293, 3.6: a half-close has no limit of time; the application reads on.
func TestHalfClose(t *testing.T) {
	s := closed(t, FinWait2, nil)
	s.pass(30 * 24 * time.Hour)
	s.state(FinWait2)
	s.peer(0, 1000, 1)
	s.want("1:1 ack 1000")
}

// With nobody to read, FIN-WAIT-2 ends.
func TestFinWait2Timeout(t *testing.T) {
	s := closed(t, FinWait2, nil)
	s.pass(time.Hour)
	s.c.Close(s.now)
	s.pass(finWait2 - 1)
	s.state(FinWait2)
	s.pass(1)
	s.ended(nil)
}

// RFC 2525, 2.17 and RFC 9293, 3.6.1: closed with bytes unread, or bytes that come
// after, the peer is reset, for they are lost.
func TestCloseUnread(t *testing.T) {
	s := tell(t, nil, nil)
	s.peer(0, 10, 0)
	s.want("0:0 ack 10")
	s.c.Close(s.now)
	s.want("R 0:0 ack 10")
	s.ended(ErrAborted)

	s = tell(t, nil, nil)
	s.c.Close(s.now)
	s.want("F 0:0 ack 0")
	s.peer(0, 10, 1)
	s.want("R 1:1 ack 0")
	s.ended(ErrAborted)
}

// packetdrill's close-no-rst: data that was read before, sent again with a FIN, is
// nothing unread.
func TestCloseRead(t *testing.T) {
	s := tell(t, nil, nil)
	s.peer(0, 10, 0)
	s.want("0:0 ack 10")
	s.in.Discard(10)
	s.c.Close(s.now)
	s.want("F 0:0 ack 10")
	s.peer(0, 10, 1, fin)
	s.want("1:1 ack 11 sack 0:10")
	s.state(TimeWait)
}

// A peer whose window stays closed holds up an application that is there for ever
// (RFC 9293, MUST-36), one that has left for orphanPatience.
func TestCloseIntoZeroWindow(t *testing.T) {
	for _, gone := range []bool{false, true} {
		s := tell(t, nil, func(n *Snapshot) { n.SndWnd = 0 })
		s.write(100)
		if gone {
			s.c.Close(s.now)
		} else {
			s.out.Close()
		}
		s.quiet()
		start := s.now
		for s.now.Sub(start) < time.Hour && s.c.Err() == nil {
			s.advance(time.Hour)
			if s.c.Err() != nil {
				break
			}
			if s.flush() > 0 {
				s.peer(0, 0, 0, window(0)) // it is alive
			}
		}
		if !gone {
			s.state(Established) // its FIN has not left
			continue
		}
		s.want("R 0:0 ack 0")
		s.ended(ErrTimeout)
		if got := s.now.Sub(start); got != orphanPatience {
			t.Errorf("ended after %v, want %v", got, orphanPatience)
		}
	}
}

// packetdrill's fin_wait1_zero_window: the FIN is out, and ACKs that close the window
// come for ever. Retransmissions back off, and with nobody left to wait they end.
func TestFINIntoZeroWindow(t *testing.T) {
	s := tell(t, nil, nil)
	s.write(100)
	s.c.Close(s.now)
	s.want("F 0:100 ack 0")
	start, sent := s.now, 0
	for s.c.Err() == nil {
		if s.advance(time.Hour); s.c.Err() == nil && s.flush() > 0 {
			sent++
			s.peer(0, 0, 0, window(0))
		}
	}
	s.want("R 0:0 ack 0")
	s.ended(ErrTimeout)
	if got := s.now.Sub(start); got != orphanPatience || sent > 10 {
		t.Errorf("ended after %v and %d retransmissions, want %v", got, sent, orphanPatience)
	}
}

// RFC 9293, 3.10.7.4, eighth, TIME-WAIT: a late FIN is acknowledged, and the wait
// begins again; data is acknowledged.
func TestTimeWaitLateFIN(t *testing.T) {
	s := closed(t, TimeWait, nil)
	s.pass(timeWait - time.Second)
	s.peer(0, 0, 1, fin)
	s.want("1:1 ack 1")
	s.pass(timeWait - 1)
	s.state(TimeWait)
	s.pass(1)
	s.ended(nil)
}

// RFC 1337, 3: an RST does not end TIME-WAIT.
func TestTimeWaitReset(t *testing.T) {
	s := closed(t, TimeWait, nil)
	s.peer(1, 0, 1, flags(wire.RST))
	s.peer(1, 0, 1, flags(wire.RST|wire.ACK))
	s.quiet()
	s.state(TimeWait)
}

// RFC 6191, 2: whether a SYN opens the connection anew.
//
// proves: MAY-2 SHLD-4
func TestTimeWaitReopens(t *testing.T) {
	for name, c := range map[string]struct {
		stamps  bool // the old connection had them
		seq     int  // of the SYN; the old one ended at 1
		val     int  // 0: no timestamp; the last one was 1000
		reopens bool
	}{
		"later timestamp":             {true, -50000, 1001, true},
		"same timestamp, later":       {true, 1, 1000, true},
		"same timestamp, earlier":     {true, 0, 1000, false},
		"earlier timestamp":           {true, 90000, 999, false},
		"timestamp gone, later":       {true, 90000, 0, true},
		"timestamp gone, earlier":     {true, 0, 0, false},
		"timestamp new":               {false, -50000, 7, true},
		"without timestamps, later":   {false, 1, 0, true},
		"without timestamps, earlier": {false, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t, nil, func(n *Snapshot) { n.Timestamps = c.stamps })
			s.out.Close()
			s.flush()
			edit := func(*Segment) {}
			if c.stamps {
				edit = ts(1000, 0)
			}
			s.peer(0, 0, 1, fin, edit)
			s.flush()
			s.state(TimeWait)
			g := Segment{Seq: wire.SeqOf(peerISN).Add(c.seq), Flags: wire.SYN}
			if c.val > 0 {
				ts(uint32(c.val), 0)(&g)
			}
			w, waits := s.c.TimeWaiter()
			iss, ok := w.Reopens(s.now, &g)
			if !waits {
				t.Fatal("nothing remains")
			}
			if ok != c.reopens {
				t.Errorf("reopens: %v, want %v", ok, c.reopens)
			}
			if ok && !s.c.SndNxt().Add(65535).Less(iss) {
				t.Errorf("the new ISS %v is not clear of the old connection's %v (RFC 1122, 4.2.2.13)", iss, s.c.SndNxt())
			}
			s.c.Receive(s.now, &g) // silently dropped
			s.quiet()
			s.state(TimeWait)
			g.Flags |= wire.ACK
			if _, ok := w.Reopens(s.now, &g); ok {
				t.Error("a SYN-ACK reopens")
			}
		})
	}
}

// RFC 9293, 3.10.5: what an ABORT sends in each state.
func TestAbortInEveryState(t *testing.T) {
	for state, want := range map[State]string{
		Established: "R 0:0 ack 0",
		FinWait1:    "R 1:1 ack 0",
		FinWait2:    "R 1:1 ack 0",
		CloseWait:   "R 0:0 ack 1",
		Closing:     "",
		LastAck:     "",
		TimeWait:    "",
	} {
		t.Run(state.String(), func(t *testing.T) {
			s := closed(t, state, nil)
			s.c.Abort()
			if want != "" {
				s.want(want)
			}
			s.ended(ErrAborted)
		})
	}
}

// RFC 9293, 3.10.7.4, second: an RST exactly in order ends every state but TIME-WAIT;
// what was received stays readable.
func TestResetInEveryState(t *testing.T) {
	for _, state := range []State{Established, FinWait1, FinWait2, CloseWait, Closing, LastAck} {
		t.Run(state.String(), func(t *testing.T) {
			s := closed(t, state, nil)
			seq := s.c.RcvNxt().Sub(wire.SeqOf(peerISN))
			s.peer(seq-1, 0, 0, flags(wire.RST))
			s.state(state)
			s.peer(seq, 0, 0, flags(wire.RST))
			s.ended(ErrReset)
			s.c.Abort() // nobody is there to hear it
			s.quiet()
		})
	}
}

// RFC 5961, 4.2: a SYN changes nothing in a synchronized state.
func TestSYNInEveryState(t *testing.T) {
	for _, state := range []State{Established, FinWait1, FinWait2, CloseWait, Closing, LastAck} {
		t.Run(state.String(), func(t *testing.T) {
			s := closed(t, state, nil)
			seq := s.c.RcvNxt().Sub(wire.SeqOf(peerISN))
			s.peer(seq+10, 0, 0, flags(wire.SYN))
			if s.flush() != 1 {
				t.Error("not challenged")
			}
			s.peer(seq+10, 0, 0, flags(wire.SYN))
			s.quiet() // twice a second at most (RFC 5961, 7)
			s.state(state)
		})
	}
}
