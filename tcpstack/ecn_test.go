package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/wire"
)

// classic gives a story whose endpoints have agreed on RFC 3168.
func classic(t *testing.T, cfg *Config, edit func(*Snapshot)) *story {
	return tell(t, cfg, func(n *Snapshot) { // no round trip is known, so nothing is paced
		n.ECN = ClassicECN
		if edit != nil {
			edit(n)
		}
	})
}

// paced waits until the pacer lets something go.
func (s *story) paced() { s.now = max(s.now, s.c.pace.next) }

func marked(e wire.ECN) func(*Segment) { return func(g *Segment) { g.ECN = e } }
func with(f wire.Flags) func(*Segment) { return func(g *Segment) { g.Flags |= f } }

// RFC 3168, 6.1.4 to 6.1.6, "only new data": neither a pure ACK, nor a probe, nor
// what is sent again is ECN-capable.
func TestECTOnNewDataOnly(t *testing.T) {
	s := classic(t, nil, nil)
	s.peer(0, 1000, 0)
	s.want("0:0 ack 1000")
	s.write(1000)
	s.want("0:1000 ack 1000 ECT(0)")
	s.advance(time.Hour) // tail loss probe
	s.want("0:1000 ack 1000")
	s.advance(time.Hour) // timeout
	s.want("0:1000 ack 1000")
	s.peer(1000, 0, 1000, window(0))
	s.write(1)
	s.quiet()
	s.advance(time.Hour)
	s.want("999:999 ack 1000")
	s.peer(1000, 0, 1000)
	s.want("W 1000:1001 ack 1000 ECT(0)")
	s.peer(1000, 0, 1001)
	s.out.Close()
	s.want("F 1001:1001 ack 1000")
	s.peer(1000, 0, 1002)
}

// Without an agreement nothing is marked, and marks and echoes mean nothing.
func TestNoECN(t *testing.T) {
	s := tell(t, nil, nil)
	s.write(3000)
	s.want("0:3000 ack 0")
	w := s.c.control.Window()
	s.peer(0, 1000, 1000, marked(wire.CE), with(wire.ECE))
	s.want("3000:3000 ack 1000")
	if got := s.c.control.Window(); got < w || s.c.Stats().ECEReceived != 0 {
		t.Errorf("window %d, was %d: %+v", got, w, s.c.Stats())
	}
	s.peer(1000, 0, 3000)
}

// RFC 3168, 6.1.3: a mark is echoed on every ACK until CWR comes, and a mark that
// comes with the CWR is a new one.
func TestMarkIsEchoedUntilCWR(t *testing.T) {
	s := classic(t, nil, nil)
	s.c.ack.quick = 0
	s.peer(0, 500, 0, marked(wire.CE))
	s.want("E 0:0 ack 500") // at once
	s.peer(500, 1000, 0, marked(wire.ECT0))
	s.peer(1500, 1000, 0, marked(wire.ECT0))
	s.want("E 0:0 ack 2500")
	s.write(100)
	s.want("E 0:100 ack 2500 ECT(0)")
	s.peer(2500, 100, 100, marked(wire.ECT0), with(wire.CWR))
	s.want("100:100 ack 2600") // at once
	s.peer(2600, 100, 100, marked(wire.CE), with(wire.CWR))
	s.want("E 100:100 ack 2700")
	if got := s.c.Stats().CEReceived; got != 2 {
		t.Errorf("%d marks counted, want 2", got)
	}
}

// RFC 3168, 6.1.5: the mark of a segment outside the window is ignored, and so is
// that of one that is here already; its CWR is an old one.
func TestMarkOutsideTheWindow(t *testing.T) {
	s := classic(t, nil, nil)
	s.peer(0, 1000, 0)
	s.want("0:0 ack 1000")
	s.peer(300_000, 1000, 0, marked(wire.CE))
	s.want("0:0 ack 1000")
	s.peer(0, 1000, 0, marked(wire.CE))
	s.want("0:0 ack 1000 sack 0:1000")
	s.peer(1000, 1000, 0, marked(wire.CE))
	s.want("E 0:0 ack 2000")
	s.peer(0, 1000, 0, with(wire.CWR))
	s.want("E 0:0 ack 2000 sack 0:1000")
	// A mark behind a hole counts.
	s.peer(2000, 1, 0, with(wire.CWR))
	s.want("0:0 ack 2001")
	s.peer(3000, 1000, 0, marked(wire.CE))
	s.want("E 0:0 ack 2001 sack 3000:4000")
}

// RFC 3168, 6.1.2: one reduction per window of data, CWR on the first new data
// after it, and no repetition. RFC 8511: less than for a loss. RFC 9937: on the
// way down ACKs still release data.
func TestEchoReducesOncePerWindow(t *testing.T) {
	s := classic(t, nil, func(n *Snapshot) { n.CC.Window, n.CC.Ssthresh = 20_000, 20_000 })
	s.write(200_000)
	s.sendAll()
	s.wait(rtt)
	sent := 0
	for ack := 1000; ack <= 20_000; ack += 1000 {
		s.peer(0, 0, ack, with(wire.ECE))
		sent += s.sendAll()
	}
	if got := s.c.control.Window(); got != 16_000 { // 0.8 of what was in flight
		t.Errorf("window %d, want 16000", got)
	}
	if sent < 13_000 || sent > 16_000 {
		t.Errorf("%d bytes were released by a round trip of echoes", sent)
	}
	st := s.c.Stats()
	if st.ECNReductions != 1 || st.CWRSent != 1 || st.Retransmitted != 0 || st.ECEReceived != 20 {
		t.Errorf("%+v", st)
	}
	// The next echo on what was sent after the reduction counts again: the CWR
	// was lost, or the path is still full.
	s.peer(0, 0, 25_000, with(wire.ECE))
	if st.ECNReductions != 2 {
		t.Errorf("%d reductions, want 2", st.ECNReductions)
	}
	s.flush()
}

// The CWR is on the first new data, and there only: not on what a superpacket of
// it continues with, not on a repetition.
func TestCWROnFirstNewData(t *testing.T) {
	s := classic(t, nil, func(n *Snapshot) { n.CC.Window, n.CC.Ssthresh = 20_000, 20_000 })
	s.write(4000)
	s.want("0:4000 ack 0 ECT(0)")
	s.peer(0, 0, 1000, with(wire.ECE))
	s.quiet()
	s.peer(0, 0, 4000)
	s.write(2000)
	s.want("W 4000:6000 ack 0 ECT(0)")
	s.write(1000)
	s.sendAll()
	s.advance(time.Hour)
	s.want("6000:7000 ack 0") // tail loss probe
	s.peer(0, 0, 7000)
}

// A pure ACK is not sent for the CWR's sake, and an idle Conn that owes CWR holds
// nothing: what it owes is in the Snapshot, and a later Conn says it.
func TestOwedECNIsInTheSnapshot(t *testing.T) {
	s := classic(t, nil, nil)
	s.write(1000)
	s.want("0:1000 ack 0 ECT(0)")
	s.peer(0, 1000, 1000, with(wire.ECE), marked(wire.CE))
	s.want("E 1000:1000 ack 1000")
	s.in.Discard(1000)
	if !s.c.Idle() {
		t.Error("it is not idle")
	}
	var n Snapshot
	if s.c.Snapshot(&n); !n.ECNEcho || !n.ECNReduced || n.ECN != ClassicECN || n.ECTLost != 0 {
		t.Errorf("%+v", n)
	}
	s.c.Resume(s.now, &n, &s.in, &s.out, s.c.cfg)
	s.write(1000)
	s.want("EW 1000:2000 ack 1000 ECT(0)")
	// What the peer echoes meanwhile is answered already.
	s.peer(1000, 0, 1000, with(wire.ECE))
	if got := s.c.Stats().ECNReductions; got != 0 {
		t.Errorf("%d reductions", got)
	}
	s.peer(1000, 0, 2000)
}

// RFC 3168, 6.1.2: a loss in the window of data that an echo was answered for does
// not reduce again; and an echo while a loss is repaired does not either, but any
// reduction is told by CWR.
func TestLossAndEchoReduceOnce(t *testing.T) {
	t.Run("echo first", func(t *testing.T) {
		s := classic(t, nil, func(n *Snapshot) { n.CC.Window, n.CC.Ssthresh = 20_000, 20_000 })
		s.write(20_000)
		s.sendAll()
		s.wait(rtt)
		s.peer(0, 0, 1000, with(wire.ECE))
		w := s.c.control.Window()
		s.peer(0, 0, 1000, with(wire.ECE), sack(2000, 20_000))
		if s.c.rec.phase != fast {
			t.Fatal("the loss was not noticed")
		}
		s.sendAll()
		if got := s.c.control.Window(); got != w {
			t.Errorf("window %d, want %d", got, w)
		}
		s.peer(0, 0, 20_000, with(wire.ECE))
		if got := s.c.control.Window(); got != w || s.c.Stats().ECNReductions != 1 {
			t.Errorf("window %d after recovery, want %d", got, w)
		}
	})
	t.Run("loss first", func(t *testing.T) {
		s := classic(t, nil, func(n *Snapshot) { n.CC.Window, n.CC.Ssthresh = 20_000, 20_000 })
		s.write(20_000)
		s.sendAll()
		s.wait(rtt)
		s.peer(0, 0, 1000, sack(2000, 20_000))
		w := s.c.control.Window()
		s.sendAll()
		s.peer(0, 0, 20_000, with(wire.ECE))
		if got := s.c.control.Window(); got != w || s.c.Stats().ECNReductions != 0 {
			t.Errorf("window %d after recovery, want %d", got, w)
		}
		s.write(500)
		s.paced()
		s.want("W 20000:20500 ack 0 ECT(0)")
		s.peer(0, 0, 20_500)
	})
	t.Run("timeout", func(t *testing.T) {
		s := classic(t, nil, func(n *Snapshot) { n.SACK = false })
		s.write(1000)
		s.want("0:1000 ack 0 ECT(0)")
		s.advance(time.Hour)
		s.want("0:1000 ack 0")
		s.peer(0, 0, 1000)
		s.write(500)
		s.want("W 1000:1500 ack 0 ECT(0)")
		s.peer(0, 0, 1500)
	})
}

// A reduction for an echo is never undone: DSACKs for what a tail loss probe or
// recovery sent in vain afterwards do not bring the window back.
func TestEchoIsNotUndone(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		s := classic(t, config(name), func(n *Snapshot) { n.CC.Window, n.CC.Ssthresh = 20_000, 20_000 })
		s.write(20_000)
		s.sendAll()
		s.wait(rtt)
		s.peer(0, 0, 1000, with(wire.ECE))
		w := s.c.control.Window()
		s.peer(0, 0, 1000, sack(2000, 20_000)) // 1000 was only late,
		s.sendAll()
		s.peer(0, 0, 20_000)
		s.peer(0, 0, 20_000, sack(1000, 2000)) // and came twice
		if s.c.Stats().Spurious != 1 {
			t.Fatalf("%s: the repetition was not found to be in vain", name)
		}
		if got := s.c.control.Window(); got > w+1500 {
			t.Errorf("%s: window %d, want %d", name, got, w)
		}
	}
}

// A path that drops ECT: repetitions are not ECT and get through, and after three
// segments without any ECT data that arrived none is sent any more. One that is
// found to have arrived after all brings it back.
func TestPathDropsECT(t *testing.T) {
	s := classic(t, nil, nil)
	s.write(10_000)
	s.want("0:10000 ack 0 ECT(0)")
	s.advance(time.Hour)
	s.want("9000:10000 ack 0") // tail loss probe
	s.wait(rtt)
	s.peer(0, 0, 0, sack(9000, 10_000))
	for ack := 0; ack < 9000; {
		ack += s.sendAll() // what is repeated arrives
		s.wait(rtt)
		s.peer(0, 0, min(ack, 9000), sack(9000, 10_000))
	}
	s.peer(0, 0, 10_000)
	if _, refused := s.c.ECN(); !refused {
		t.Fatal("ECT is still sent")
	}
	s.write(1000)
	s.paced()
	s.want("W 10000:11000 ack 0")
	s.peer(0, 0, 11_000)
	var n Snapshot
	if s.c.Snapshot(&n); n.ECTLost != MaxECTLost {
		t.Error("the Snapshot does not say so")
	}
}

// The same in conversations of one segment at a time, with timeouts only: no ECT
// from the fourth on.
func TestPathDropsECTOneByOne(t *testing.T) {
	s := classic(t, nil, func(n *Snapshot) { n.SACK = false })
	for i := range 3 {
		at := itoa(i * 100)
		end := itoa(i*100 + 100)
		s.write(100)
		cwr := ""
		if i > 0 {
			cwr = "W "
		}
		s.want(cwr + at + ":" + end + " ack 0 ECT(0)")
		s.advance(time.Hour)
		s.want(at + ":" + end + " ack 0")
		s.peer(0, 0, i*100+100)
	}
	s.write(100)
	s.want("W 300:400 ack 0")
	s.peer(0, 0, 400)
}

// What was proven to arrive is not given up for the sake of losses in between.
func TestLossesOnAPathThatTakesECT(t *testing.T) {
	s := classic(t, nil, func(n *Snapshot) { n.SACK = false })
	for i := range 10 {
		s.write(200)
		s.flush()
		if i%2 == 0 {
			s.peer(0, 0, i*200+100) // some arrives,
		}
		s.advance(time.Hour) // and some does not
		s.flush()
		s.peer(0, 0, i*200+200)
	}
	if _, refused := s.c.ECN(); refused {
		t.Error("ECT is given up")
	}
}

// In a drain the endpoints hear the echoes of what passes themselves: no CWR in
// their name, and their CWR ends what was echoed before.
func TestECNInDrain(t *testing.T) {
	s := classic(t, &Config{Relay: true}, func(n *Snapshot) { n.CC.Window, n.CC.Ssthresh = 2000, 2000 })
	s.write(10_000)
	s.want("0:2000 ack 0 ECT(0)")
	s.peer(0, 100, 1000, marked(wire.CE), with(wire.ECE))
	s.c.Drain()
	s.peer(100, 100, 2000, marked(wire.CE), with(wire.CWR))
	s.want("2000:4000 ack 0 ECT(0)")
	s.in.Reset()
}

// An echo when nothing is in flight leaves a smaller window, not a closed one: no ACK
// would come to open it (simnet's TestRandomBusy, seed 1003).
func TestEchoWhenAllIsAcknowledged(t *testing.T) {
	s := classic(t, nil, nil)
	s.write(3000)
	s.want("0:3000 ack 0 ECT(0)")
	s.wait(20 * time.Millisecond)
	s.peer(0, 0, 3000)
	s.peer(0, 0, 3000, with(wire.ECE))
	s.paced()
	s.write(1000)
	s.want("W 3000:4000 ack 0 ECT(0)")
	s.peer(0, 0, 4000)
}

// A receiver that turns out to have everything ends the reduction too: what comes
// next is not held back by a rate that no ACK will ever raise.
func TestReductionEndsWithSendTo(t *testing.T) {
	cfg := config("reno")
	cfg.Relay = true
	s := classic(t, cfg, func(n *Snapshot) { n.CC.Window, n.CC.Ssthresh = 20_000, 20_000 })
	s.write(20_000)
	s.sendAll()
	s.peer(0, 0, 1000, with(wire.ECE))
	s.write(20_000)
	s.sendAll()
	s.c.SendTo(s.now, s.c.SndNxt())
	s.sendAll()
	if s.c.flight == 0 {
		t.Error("nothing is sent any more")
	}
	s.c.SendTo(s.now, s.c.seq(s.out.End()))
}
