package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/wire"
)

// RFC 5681, 4.2: an ACK at least for every second full-sized segment; one for
// each of the first few.
func TestAckEverySecondSegment(t *testing.T) {
	s := tell(t, nil, nil)
	for i := range quickAcks {
		s.peer(i*1000, 1000, 0)
		s.want("0:0 ack " + itoa((i+1)*1000))
	}
	at := quickAcks * 1000
	s.peer(at, 1000, 0)
	s.quiet()
	s.peer(at+1000, 1000, 0)
	s.want("0:0 ack " + itoa(at+2000))
	s.peer(at+2000, 10, 0)
	s.quiet()
	s.advance(delackTime)
	s.want("0:0 ack " + itoa(at+2010))
}

// RFC 5681, 4.2: out of order and hole-filling segments are acknowledged at once;
// RFC 2018, 4: the block that changed last comes first.
func TestAckWithHoles(t *testing.T) {
	s := tell(t, nil, nil)
	s.peer(1000, 1000, 0)
	s.want("0:0 ack 0 sack 1000:2000")
	s.peer(3000, 1000, 0)
	s.want("0:0 ack 0 sack 3000:4000 sack 1000:2000")
	s.peer(5000, 1000, 0)
	s.want("0:0 ack 0 sack 5000:6000 sack 3000:4000 sack 1000:2000")
	s.peer(2000, 1000, 0)
	s.quiet() // what one more says can wait: TestCompressedSACK
	s.advance(sackDelay)
	s.want("0:0 ack 0 sack 1000:4000 sack 5000:6000")
	s.peer(0, 1000, 0)
	s.want("0:0 ack 4000 sack 5000:6000")
	s.peer(4000, 1000, 0)
	s.want("0:0 ack 6000")
	if got := s.in.Len(); got != 6000 {
		t.Errorf("in order: %d bytes, want 6000", got)
	}
}

// RFC 2883, 4: a duplicate is reported once, in the first block.
func TestDSACK(t *testing.T) {
	s := tell(t, nil, nil)
	s.peer(0, 1000, 0)
	s.want("0:0 ack 1000")
	s.peer(0, 1000, 0)
	s.want("0:0 ack 1000 sack 0:1000")
	s.peer(500, 1000, 0)
	s.want("0:0 ack 1500 sack 500:1000")
	s.peer(3000, 1000, 0)
	s.want("0:0 ack 1500 sack 3000:4000")
	s.peer(3000, 1000, 0)
	s.want("0:0 ack 1500 sack 3000:4000 sack 3000:4000")
	s.peer(1500, 1500, 0)
	s.want("0:0 ack 4000")
}

// A peer without SACK gets one duplicate ACK per segment of a superpacket.
func TestDuplicateAcksWithoutSACK(t *testing.T) {
	s := tell(t, nil, func(n *Snapshot) { n.SACK = false })
	s.peer(1000, 3000, 0)
	s.want("0:0 ack 0", "0:0 ack 0", "0:0 ack 0")
	s.peer(0, 1000, 0)
	s.want("0:0 ack 4000")
}

// RFC 9293, SHLD-14 and custody.md I3: the right edge never moves left, whatever
// the rounding of the window scale.
func TestWindowNeverRetreats(t *testing.T) {
	cfg := config("reno")
	cfg.Buffer, cfg.Relay = 10_001, true
	s := tell(t, cfg, func(n *Snapshot) { n.RcvEdge = n.RcvNxt.Add(10_001); n.RcvScale = 7 })
	edge := 10_001
	for at, i := 0, 0; i < 500; i++ {
		s.peer(at, 1+i*37%1400, 0)
		if i%3 == 0 {
			s.in.Discard(s.in.End())
		}
		var p Packet
		for s.c.Transmit(s.now, &p) {
			e := p.Ack.Sub(wire.SeqOf(peerISN)) + int(p.Window)<<7
			if e < edge {
				t.Fatalf("segment %d: edge went from %d back to %d", i, edge, e)
			}
			edge = e
		}
		at = s.c.RcvNxt().Sub(wire.SeqOf(peerISN)) // what did not fit comes again
	}
	s.in.Discard(s.in.End())
	s.flush()
}

// RFC 9293, 3.8.6.2.2: a window that opened a little is not news; one that
// opened by half of the buffer is.
func TestWindowUpdate(t *testing.T) {
	cfg := config("reno")
	cfg.Buffer = 8000
	s := tell(t, cfg, func(n *Snapshot) { n.RcvEdge = n.RcvNxt.Add(8000) })
	s.peer(0, 8000, 0)
	s.want("0:0 ack 8000")
	s.in.Discard(500)
	s.quiet()
	s.in.Discard(6000)
	var p Packet
	if !s.c.Transmit(s.now, &p) || p.Window != 6000/4 {
		t.Fatalf("window update %d, want 6000", int(p.Window)*4)
	}
}

// RFC 9293, 3.10.7.4: beyond the window nothing is taken, and it is answered.
func TestBeyondTheWindow(t *testing.T) {
	cfg := config("reno")
	cfg.Buffer = 4000
	s := tell(t, cfg, func(n *Snapshot) { n.RcvEdge = n.RcvNxt.Add(4000) })
	s.peer(4000, 1000, 0)
	s.want("0:0 ack 0")
	s.peer(3000, 2000, 0)
	s.want("0:0 ack 0 sack 3000:4000")
	s.peer(10_000, 1000, 0)
	s.want("0:0 ack 0 sack 3000:4000")
	if s.c.Stats().BadSeq != 1 {
		t.Errorf("BadSeq %d, want 1", s.c.Stats().BadSeq)
	}
	s.c.reasm.reset()
}

// RFC 5961, 3.2: only an RST at exactly RCV.NXT resets; one in the window is
// challenged, twice a second at most; RFC 5961, 4.2: so is a SYN.
func TestForgedReset(t *testing.T) {
	s := tell(t, nil, nil)
	rst := flags(wire.RST)
	s.peer(1, 0, 0, rst)
	s.want("0:0 ack 0")
	s.peer(2, 0, 0, rst)
	s.peer(3, 0, 0, flags(wire.SYN))
	s.peer(-1, 0, 0, rst)
	s.peer(70_000, 0, 0, rst)
	s.quiet()
	s.wait(challengeEvery)
	s.peer(0, 0, 0, flags(wire.SYN))
	s.want("0:0 ack 0")
	if s.c.Err() != nil {
		t.Fatalf("ended by a forged segment: %v", s.c.Err())
	}
	s.peer(0, 0, 0, rst)
	if s.c.Err() != ErrReset {
		t.Fatalf("Err %v after an RST at RCV.NXT, want %v", s.c.Err(), ErrReset)
	}
}

// RFC 5961, 5.2: an ACK from before SND.UNA − MAX.SND.WND or for what was never
// sent changes nothing.
func TestForgedAck(t *testing.T) {
	s := tell(t, nil, nil)
	s.write(1000)
	s.want("0:1000 ack 0")
	s.peer(0, 10, 2000)
	s.want("1000:1000 ack 0")
	s.peer(0, 10, -peerWnd-1)
	s.quiet() // within half a second of the last
	s.wait(challengeEvery)
	s.peer(0, 10, -peerWnd-1)
	s.want("1000:1000 ack 0")
	if got := s.c.Stats().BadAck; got != 3 || s.in.Len() != 0 || s.out.Len() != 1000 {
		t.Errorf("BadAck %d, in %d, out %d; want 3, 0, 1000", got, s.in.Len(), s.out.Len())
	}
	s.peer(0, 0, 1000)
}

// RFC 7323, 5.3: an old timestamp is answered and dropped; 4.3: only a segment
// that spans Last.ACK.sent sets TS.Recent.
func TestTimestamps(t *testing.T) {
	s := tell(t, nil, func(n *Snapshot) {
		n.Timestamps, n.TSRecent, n.TSRecentAge, n.TSVal = true, 100, 1, 7
	})
	s.peer(0, 988, 0, ts(101, 7))
	s.want("0:0 ack 988 ts 7 101")
	s.peer(988, 988, 0, ts(99, 7))
	s.want("0:0 ack 988 ts 7 101")
	s.peer(2000, 988, 0, ts(500, 7)) // behind a hole: not Last.ACK.sent
	s.want("0:0 ack 988 sack 2000:2988 ts 7 101")
	s.peer(988, 1012, 0, ts(102, 7))
	s.want("0:0 ack 2988 ts 7 102")
	if s.c.Stats().BadPAWS != 1 {
		t.Errorf("BadPAWS %d, want 1", s.c.Stats().BadPAWS)
	}
	s.wait(25 * 24 * time.Hour) // RFC 7323, 5.5
	s.peer(2988, 12, 0, ts(50, 7))
	if v, _ := s.c.TSRecent(); v != 50 {
		t.Errorf("TS.Recent %d after 25 idle days, want 50", v)
	}
	s.flush()
}

// RFC 9293, 3.10.7.4 eighth: a FIN counts when everything before it is there; half
// of the connection stays open; its retransmission is acknowledged again.
func TestFINAndHalfClose(t *testing.T) {
	s := tell(t, nil, nil)
	s.peer(1000, 500, 0, flags(wire.FIN|wire.ACK))
	s.want("0:0 ack 0 sack 1000:1500")
	if s.in.Closed() {
		t.Fatal("closed by a FIN behind a hole")
	}
	s.peer(0, 1000, 0)
	s.want("0:0 ack 1501")
	if !s.in.Closed() {
		t.Fatal("not closed by a FIN in order")
	}
	s.write(2000)
	s.want("0:2000 ack 1501")
	s.peer(1500, 0, 0, flags(wire.FIN|wire.ACK))
	s.want("2000:2000 ack 1501")
	s.peer(1501, 0, 2000)
	s.out.Close()
	s.want("F 2000:2000 ack 1501")
	s.peer(1501, 0, 2001)
	if !s.c.FINAcked() {
		t.Error("our FIN is not acknowledged")
	}
}

// CVE-2018-5390: a flood of tiny holes costs a bounded number of ranges.
func TestTooManyHoles(t *testing.T) {
	cfg := config("reno")
	s := tell(t, cfg, nil)
	for i := range 2 * maxHoles {
		s.peer(2+2*i, 1, 0)
	}
	if got := len(s.c.reasm.ranges); got != maxHoles {
		t.Errorf("%d ranges kept, want %d", got, maxHoles)
	}
	if s.c.Stats().TooManyHoles != maxHoles {
		t.Errorf("%d refused, want %d", s.c.Stats().TooManyHoles, maxHoles)
	}
	s.flush()
}

// The same with crumbs that leave no holes, from the last to the first.
func TestTooManyCrumbs(t *testing.T) {
	s := tell(t, config("reno"), nil)
	for i := range 4 * maxHoles {
		s.peer(4*maxHoles-i, 1, 0)
	}
	if got := s.c.reasm.count; got != freePieces {
		t.Errorf("%d pieces kept, want %d", got, freePieces)
	}
	s.flush()
}

// RFC 9293, 3.10.7.4: a window counts with SND.UNA =< SEG.ACK only, so that an
// ACK overtaken by others does not offer what is not there. RFC 5681, 2: nor is
// it a duplicate.
func TestOvertakenAck(t *testing.T) {
	s := tell(t, nil, func(n *Snapshot) { n.SACK = false })
	s.write(10000)
	s.flush()
	s.peer(0, 0, 5000, window(6000))
	for range 4 {
		s.peer(0, 0, 3000, window(60000))
	}
	if got := s.c.SndEdge().Sub(wire.SeqOf(ourISN)); got != 11000 {
		t.Errorf("the edge is %d, want 11000", got)
	}
	s.quiet() // no fast retransmit
	s.peer(0, 0, 10000)
}

// docs/custody.md, Receiver ahead of us: ACKs of bytes before the Stream began,
// however many, are old and claim nothing.
func TestAckBeforeTheStream(t *testing.T) {
	cfg := config("reno")
	cfg.Relay = true
	s := tell(t, cfg, nil)
	s.flush()
	for range 2 * AnswersWanted {
		s.peer(0, 0, -1000)
		s.quiet()
		s.wait(time.Second)
	}
	if n, ok := s.c.Ahead(); ok {
		t.Errorf("claims %v", n)
	}
}

// docs/custody.md, Receiver ahead of us: the peer has to answer three probes.
func TestReceiverAhead(t *testing.T) {
	cfg := config("reno")
	cfg.Relay = true
	s := tell(t, cfg, func(n *Snapshot) { n.MinRTT = 100 * time.Millisecond })
	for range AnswersWanted {
		s.peer(0, 0, 2000)
		s.want("-1:-1 ack 0")
		s.peer(0, 0, 1<<20) // forged, and as good as none
		s.wait(time.Second)
	}
	s.peer(0, 0, 2000)
	if n, ok := s.c.Ahead(); !ok || n != wire.SeqOf(ourISN).Add(2000) {
		t.Errorf("Ahead gives %v, %v; want 2000", n, ok)
	}
}

// docs/custody.md, Receiver ahead of us: where the path was slow while its round trip
// was measured every answer comes too soon, and the next question waits only until it
// does not.
func TestReceiverAheadSooner(t *testing.T) {
	cfg := config("reno")
	cfg.Relay = true
	const slow, fast = time.Second, 50 * time.Millisecond
	s := tell(t, cfg, func(n *Snapshot) { n.MinRTT = slow })
	s.peer(0, 0, 2000)
	for range AnswersWanted {
		s.want("-1:-1 ack 0")
		s.pass(fast)
		s.peer(0, 0, 2000)
		s.quiet()
		if got := s.next("-1:-1 ack 0"); got != slow/2-fast {
			t.Fatalf("asked again after %v, want %v", got, slow/2-fast)
		}
		s.pass(fast)
		s.peer(0, 0, 2000)
	}
	if n, ok := s.c.Ahead(); !ok || n != wire.SeqOf(ourISN).Add(2000) {
		t.Errorf("Ahead gives %v, %v; want 2000", n, ok)
	}
}

// docs/custody.md, Receiver ahead of us: a question or its answer may be lost. It is
// asked again after an RTO, however far the timer was backed off before the peer
// answered.
func TestReceiverAheadAnswerLost(t *testing.T) {
	cfg := config("reno")
	cfg.Relay = true
	s := established(t, cfg, nil)
	s.write(500)
	s.want("0:500 ack 0")
	for range 7 {
		s.next("0:500 ack 0")
	}
	s.peer(0, 0, 2000)
	s.want("0:500 ack 0")
	rto := s.c.rtt.base()
	for i := range 3 {
		if got := s.next("0:500 ack 0"); got != rto<<i {
			t.Fatalf("asked again after %v, want %v", got, rto<<i)
		}
	}
	s.peer(0, 0, 2000)
	s.want("0:500 ack 0")
	if got := s.next("0:500 ack 0"); got != rto {
		t.Fatalf("asked again after %v, want %v", got, rto)
	}
	s.peer(0, 0, 500)
}

// A persist timer that goes off between the peer's claim and the question about it
// does not take the question back: the claim would stay for ever (simnet's
// TestForgedDrain, seed 57147).
func TestClaimIsAskedAboutWithASmallWindow(t *testing.T) {
	cfg := config("reno")
	cfg.Relay = true
	s := established(t, cfg, func(n *Snapshot) { n.SndWnd, n.MaxWnd = 100, 65536 })
	s.write(2000)
	s.flush()
	s.peer(0, 0, 5000, window(100))
	s.advance(time.Hour)
	s.want("0:100 ack 0", "0:100 ack 0")
	s.peer(0, 0, 100)
	if s.flush(); s.c.relay.claimed {
		t.Error("the claim stays")
	}
	s.peer(0, 0, 2000)
}
