package splice

import (
	"slices"
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// TestEnterOnNewData: new data of a quiet flow is acknowledged to its sender and
// sent on, byte by byte, with the numbers both endpoints use.
func TestEnterOnNewData(t *testing.T) {
	r := establish(t)
	r.take(Client, r.seg(Client, 0, 1000, 0))
	r.wantState(InCustody)
	p := r.want(Client, 0, 0, 1000)
	if p.ts != r.stamp[Server] || p.ecr != r.stamp[Client] {
		t.Errorf("to the client TSval %d TSecr %d", p.ts, p.ecr)
	}
	p = r.want(Server, 0, 1000, 0)
	if p.ts != r.stamp[Client] || p.ecr != r.stamp[Server] {
		t.Errorf("to the server TSval %d TSecr %d", p.ts, p.ecr)
	}
	if held := r.flow.Held(); held != [2]int{Server: 1000} {
		t.Errorf("held %v", held)
	}
	// Exit exactly when nothing is held and nothing owed (I5).
	r.take(Server, r.seg(Server, 0, 0, 1000))
	r.wantState(OnWire)
	if taken, passed := r.flow.Bytes(Client); taken != 1000 || passed != 0 {
		t.Errorf("%d bytes taken, %d passed", taken, passed)
	}
	if r.count.Entered != 1 || r.count.Exited != 1 || r.count.TakenBytes != [2]uint64{1000, 0} {
		t.Errorf("counted %+v", r.count)
	}
	r.done()
}

// TestNeverEnters: what keeps a segment with data on the wire.
func TestNeverEnters(t *testing.T) {
	for _, tt := range []struct {
		name string
		why  Reason
		do   func(r *rig) *tcpstack.Segment
	}{
		{"URG", Odd, func(r *rig) *tcpstack.Segment {
			s := r.seg(Client, 0, 10, 0)
			s.Flags |= wire.URG
			return s
		}},
		{"unknown option", Odd, func(r *rig) *tcpstack.Segment {
			s := r.seg(Client, 0, 10, 0)
			s.Options.Set |= wire.HasUnknown
			return s
		}},
		{"FIN only", None, func(r *rig) *tcpstack.Segment { return r.fin(Client, 0, 0, 0) }},
		{"beyond the receiver's edge", Window, func(r *rig) *tcpstack.Segment { return r.seg(Client, 65530, 6, 0) }},
		{"closed window", Window, func(r *rig) *tcpstack.Segment {
			// The server's window is used up and acknowledged without a new one.
			s := r.seg(Client, 0, 65535, 0)
			s.Flags |= wire.URG
			r.pass(Client, s)
			r.window[Server] = 0
			r.pass(Server, r.seg(Server, 0, 0, 65535))
			return r.seg(Client, 65535, 1, 0)
		}},
		{"repeated data", Busy, func(r *rig) *tcpstack.Segment {
			r.pass(Client, func() *tcpstack.Segment { s := r.seg(Client, 0, 10, 0); s.Flags |= wire.URG; return s }())
			r.pass(Server, r.seg(Server, 0, 0, 10))
			return r.seg(Client, 0, 10, 0)
		}},
		{"data on its way", Busy, func(r *rig) *tcpstack.Segment {
			r.pass(Client, func() *tcpstack.Segment { s := r.seg(Client, 0, 10, 0); s.Flags |= wire.URG; return s }())
			return r.seg(Client, 10, 10, 0)
		}},
		{"data on its way back", Busy, func(r *rig) *tcpstack.Segment {
			r.pass(Server, func() *tcpstack.Segment { s := r.seg(Server, 0, 10, 0); s.Flags |= wire.URG; return s }())
			return r.seg(Client, 0, 10, 0)
		}},
		{"no timestamp", NoTimestamp, func(r *rig) *tcpstack.Segment {
			s := r.seg(Client, 0, 10, 0)
			s.Options.Set = 0
			return s
		}},
		{"old timestamp of the other end", NoTimestamp, func(r *rig) *tcpstack.Segment {
			r.advance(13 * 24 * time.Hour)
			r.stamp[Client] += 13 * 24 * 3600 * 1000
			return r.seg(Client, 0, 10, 0)
		}},
		{"no terms", Policy, func(r *rig) *tcpstack.Segment { r.flow.terms = nil; return r.seg(Client, 0, 10, 0) }},
		{"bypass", Policy, func(r *rig) *tcpstack.Segment { r.flow.Drain(r.now, Operator); return r.seg(Client, 0, 10, 0) }},
		{"no memory", Budget, func(r *rig) *tcpstack.Segment { r.pool.Budget = 128 << 10; return r.seg(Client, 0, 10, 0) }},
		{"full ledger", LedgerFull, func(r *rig) *tcpstack.Segment { r.env.Ledger.free = nil; return r.seg(Client, 0, 10, 0) }},
		{"gap", Unsynced, func(r *rig) *tcpstack.Segment { r.flow.Gap(r.now); return r.seg(Client, 0, 10, 0) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := establish(t)
			s := tt.do(r)
			before := r.count.By[tt.why]
			r.pass(Client, s)
			r.wantState(OnWire)
			if tt.why != None && r.count.By[tt.why] != before+1 {
				t.Errorf("%v was not counted: %v", tt.why, r.count.By)
			}
			r.done()
		})
	}
}

// TestEnterTrimsHead: a repeated head is not held twice.
func TestEnterTrimsHead(t *testing.T) {
	r := native(t)
	r.pass(Server, r.seg(Server, 0, 0, 1))
	r.take(Client, r.seg(Client, 0, 101, 0))
	r.wantNext(Server, 1, 100, 0)
}

// TestEnterBehindGap: what lies behind a gap goes to reassembly and is SACKed.
func TestEnterBehindGap(t *testing.T) {
	r := establish(t)
	r.take(Client, r.seg(Client, 1000, 1000, 0))
	if p := r.want(Client, 0, 0, 0); p.nsack != 1 {
		t.Errorf("%d SACK blocks", p.nsack)
	}
	r.want(Server, 0, 0, 0) // the window that accd opens to it
	r.wantSilence()
	r.take(Client, r.seg(Client, 0, 1000, 0))
	r.want(Client, 0, 0, 2000)
	r.wantNext(Server, 0, 2000, 0)
}

// TestEnterOwesAck: the ACK and window of the segment that enters are owed to
// the other leg, also when its data cannot be sent yet.
func TestEnterOwesAck(t *testing.T) {
	r := establish(t)
	s := r.seg(Server, 0, 500, 0)
	s.Flags |= wire.URG
	r.pass(Server, s)
	r.take(Client, r.seg(Client, 100, 100, 500)) // behind a gap, and it acknowledges what passed
	p := r.wantNext(Server, 0, 0, 500)
	if p.edge < 500+int(r.window[Client])<<7 {
		t.Errorf("edge %d", p.edge)
	}
}

// TestFirstEdge: the first edge offered is not left of the largest relayed, and
// what is beyond the limit is kept but not acknowledged.
func TestFirstEdge(t *testing.T) {
	r := establish(t)
	r.window[Server] = 0xffff // 1 MiB with its scale
	r.pass(Server, r.seg(Server, 0, 0, 0))
	r.take(Client, r.seg(Client, 0, 1000, 0))
	if p := r.want(Client, 0, 0, 1000); p.edge < 0xffff<<4 {
		t.Errorf("edge %d", p.edge)
	}
	for off := 1000; off < 400_000; off += 50_000 {
		r.take(Client, r.seg(Client, off, 50_000, 0))
	}
	if got := r.flow.c.conn[Client].RcvAcked().Sub(r.isn[Client].Add(1)); got > minHeld {
		t.Errorf("%d bytes are acknowledged with nothing delivered, the limit is %d", got, minHeld)
	}
	if n := r.flow.c.stream[Client].Len(); n != 401_000 {
		t.Errorf("%d bytes are held", n)
	}
}

// TestClosedWindow: a window that stays closed is no reason to leave the sender
// without an ACK of what it was let send, until it gives up.
func TestClosedWindow(t *testing.T) {
	r := newRig(t)
	r.first[Server] = 1600
	r.handshake()
	r.enter(Client, 1600)
	r.take(Client, r.seg(Client, 1600, 1000, 0))
	r.window[Server] = 0
	r.take(Server, r.seg(Server, 0, 0, 1600))
	stay := func(d time.Duration) {
		for ; d > 0; d -= 600 * time.Millisecond {
			r.advance(600 * time.Millisecond)
			r.give(Server, r.seg(Server, 0, 0, 1600)) // some of the probes find no answer
		}
	}
	stay(2 * time.Second)
	r.out = nil
	r.take(Client, r.seg(Client, 2600, 1000, 0)) // within the window the client was told
	stay(10 * time.Second)
	for _, p := range r.out {
		if p.to == Client && p.ack > 2600 {
			t.Errorf("acknowledged too soon: %v", p)
		}
	}
	stay(5 * time.Second)
	if p := r.out[len(r.out)-1]; !slices.ContainsFunc(r.out, func(p sentPacket) bool { return p.to == Client && p.ack == 3600 }) {
		t.Errorf("not acknowledged to a sender that would give up; the last packet is %v", p)
	}
	r.wantState(InCustody)
	r.out = nil
	r.window[Server] = 5000
	r.take(Server, r.seg(Server, 0, 0, 1600))
	r.advance(100 * time.Millisecond)
	r.take(Server, r.seg(Server, 0, 0, 3600))
	r.wantState(OnWire)
	r.out = nil
	r.done()
}

// TestSlowFarEnd: when its edge has not moved for a second, nothing more is
// acknowledged; when it moves, everything is.
func TestSlowFarEnd(t *testing.T) {
	r := newRig(t)
	r.first[Server] = 1600
	r.handshake()
	r.enter(Client, 1600)
	r.take(Client, r.seg(Client, 1600, 1000, 0))
	r.want(Client, 0, 0, 2600)
	r.window[Server] = 0
	r.take(Server, r.seg(Server, 0, 0, 1600)) // 1000 bytes are held before a closed window
	for range 4 {
		r.advance(300 * time.Millisecond)
		r.give(Server, r.seg(Server, 0, 0, 1600)) // it answers the probes
	}
	r.out = nil
	r.take(Client, r.seg(Client, 2600, 1000, 0)) // within the window the client was told
	r.advance(100 * time.Millisecond)
	for _, p := range r.out {
		if p.to == Client && p.ack > 2600 {
			t.Errorf("acknowledged to a slow end: %v", p)
		}
	}
	r.out = nil
	r.window[Server] = 100
	r.take(Server, r.seg(Server, 0, 0, 1600))
	r.advance(100 * time.Millisecond)
	r.wantNext(Client, 0, 0, 3600)
	r.out = nil
	r.take(Server, r.seg(Server, 0, 0, 3200))
	r.advance(100 * time.Millisecond)
	r.take(Server, r.seg(Server, 0, 0, 3600))
	r.wantState(OnWire)
	r.out = nil
	r.done()
}

// TestTimestampsMonotone: an old segment of the opposite endpoint does not turn
// the TSval back, and one that is not believed does not move it (I4).
func TestTimestampsMonotone(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	stamp := r.stamp[Client]
	r.trusted = false
	s := r.seg(Client, 500_000_000, 100, 0) // far outside: passes
	s.Options.TSVal += 1 << 20
	r.pass(Client, s)
	s = r.seg(Client, 1000, 0, 3_000_000) // acknowledges what was never sent
	s.Options.TSVal += 1 << 20
	r.take(Client, s)
	r.out = nil
	r.advance(300 * time.Millisecond)
	r.trusted = true
	for _, p := range r.out {
		if p.to == Server && p.ts != stamp {
			t.Errorf("TSval %d to the server, want %d: %v", p.ts, stamp, p)
		}
	}
	r.out = nil
}

// TestReceiverAhead: an ACK above SND.NXT changes nothing until the endpoint,
// asked at SND.UNA − 1, says so again; then the stream moves there.
func TestReceiverAhead(t *testing.T) {
	r := establish(t)
	r.take(Client, r.seg(Client, 2000, 1000, 0)) // 0–2000 went another way
	r.out = nil
	r.take(Server, r.seg(Server, 0, 0, 2000))
	r.want(Server, -1, 0, 0)
	if got := r.flow.Held(); got != [2]int{} {
		t.Fatalf("held %v", got)
	}
	r.wantSilence()
	for range tcpstack.AnswersWanted - 1 {
		r.advance(20 * time.Millisecond)
		r.out = nil
		r.take(Server, r.seg(Server, 0, 0, 2000))
		r.want(Server, -1, 0, 0)
	}
	r.advance(20 * time.Millisecond)
	r.out = nil
	r.take(Server, r.seg(Server, 0, 0, 2000))
	r.want(Client, 0, 0, 3000)
	r.want(Server, 2000, 1000, 0)
	r.take(Server, r.seg(Server, 0, 0, 3000))
	r.wantState(OnWire)
	r.done()
}

// TestReceiverAheadFIN: where the FIN went another way too, it is not counted as a
// byte of the stream.
func TestReceiverAheadFIN(t *testing.T) {
	for _, n := range []int{1000, 0} {
		r := establish(t)
		r.take(Server, r.seg(Server, 0, 100, 0)) // begins custody
		r.take(Client, r.fin(Client, 2000, n, 0))
		for range 1 + tcpstack.AnswersWanted {
			r.out = nil
			r.advance(20 * time.Millisecond)
			r.take(Server, r.seg(Server, 100, 0, 2001+n))
		}
		r.want(Client, 100, 0, 2001+n)
		r.take(Client, r.seg(Client, 2001+n, 0, 100))
		r.out = nil
		r.wantState(OnWire)
		if c := &r.flow.Record().Dir[Client]; !c.closed() || c.Next != r.isn[Client].Add(2002+n) {
			t.Errorf("the record: %+v", c)
		}
		r.done()
	}
}

// TestReceiverAheadForged: once, or beyond the edge offered to the sender, is
// not believed.
func TestReceiverAheadForged(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.trusted = false
	r.take(Server, r.seg(Server, 0, 0, 30_000)) // forged
	r.want(Server, 0, 1000, 0)                  // asks, with what is in flight
	r.trusted = true
	r.take(Server, r.seg(Server, 0, 0, 500)) // the endpoint itself
	r.advance(10 * time.Millisecond)
	if una := r.flow.c.conn[Server].SndUna().Sub(r.isn[Client].Add(1)); una != 500 {
		t.Errorf("SND.UNA %d", una)
	}
	r.out = nil
	r.take(Server, r.seg(Server, 0, 0, 1000))
	r.wantState(OnWire)
}

// TestFINNeverTaken: the FIN is passed on when everything before it is
// acknowledged, and acknowledged to its sender only when the receiver has.
func TestFINNeverTaken(t *testing.T) {
	r := establish(t)
	r.take(Server, r.seg(Server, 0, 100, 0)) // keeps custody open
	r.out = nil
	r.take(Client, r.fin(Client, 0, 1000, 0))
	r.want(Client, 100, 0, 1000)
	p := r.want(Server, 0, 1000, 100)
	if p.flags.Has(wire.FIN) {
		t.Fatal("the FIN left with the data")
	}
	r.take(Server, r.seg(Server, 100, 0, 1000))
	if p = r.want(Server, 1000, 0, 100); !p.flags.Has(wire.FIN) {
		t.Fatalf("no FIN: %v", p)
	}
	r.take(Client, r.fin(Client, 1000, 0, 0)) // its own repetition
	r.wantSilence()
	r.take(Server, r.seg(Server, 100, 0, 1001))
	r.want(Client, 100, 0, 1001)
	r.take(Client, r.seg(Client, 1001, 0, 100))
	r.wantState(OnWire)
	if c := &r.flow.Record().Dir[Client]; !c.closed() {
		t.Errorf("the record does not know of the FIN: %+v", c)
	}
	// Half closed: the other direction enters again and ends.
	r.take(Server, r.seg(Server, 100, 100, 1001))
	r.wantNext(Client, 100, 100, 1001)
	r.out = nil
	r.take(Client, r.seg(Client, 1001, 0, 200))
	r.wantState(OnWire)
	r.pass(Server, r.fin(Server, 200, 0, 1001))
	r.pass(Client, r.seg(Client, 1001, 0, 201))
	r.wantState(Gone)
	r.done()
}

// TestFINOfASlowEnd: what was held back because the far end was slow ends with the ACK
// of the FIN: that end may be closed now, and never say it again.
func TestFINOfASlowEnd(t *testing.T) {
	r := establish(t)
	r.take(Server, r.seg(Server, 0, 100, 0)) // keeps custody open
	r.take(Client, r.fin(Client, 0, 1000, 0))
	r.advance(1500 * time.Millisecond)
	r.take(Server, r.seg(Server, 100, 0, 1000))
	r.out = nil
	r.take(Server, r.seg(Server, 100, 0, 1001))
	r.want(Client, 100, 0, 1001)
	r.done()
}

// TestFINUnacknowledgedExits: a FIN that was passed on does not keep custody:
// its sender repeats it.
func TestFINUnacknowledgedExits(t *testing.T) {
	r := establish(t)
	r.take(Client, r.fin(Client, 0, 1000, 0))
	r.out = nil
	r.take(Server, r.seg(Server, 0, 0, 1000))
	if p := r.want(Server, 1000, 0, 0); !p.flags.Has(wire.FIN) {
		t.Fatalf("no FIN: %v", p)
	}
	r.wantState(OnWire)
	r.pass(Server, r.seg(Server, 0, 0, 1001))
	r.pass(Server, r.fin(Server, 0, 0, 1001))
	r.pass(Client, r.seg(Client, 1001, 0, 1))
	r.wantState(Gone)
	r.done()
}

// TestKeepaliveInCustody: a probe before the window is answered.
func TestKeepaliveInCustody(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.take(Client, r.seg(Client, 999, 0, 0))
	r.want(Client, 0, 0, 1000)
}

// TestKeepaliveTimestamp: the TSval of a probe counts, for the far end may have
// seen a later one than accd knows, and its sender says nothing else.
func TestKeepaliveTimestamp(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.stamp[Client] += 100
	r.take(Client, r.seg(Client, 999, 0, 0))
	r.out = nil
	r.advance(300 * time.Millisecond)
	if p := r.wantNext(Server, 0, 1000, 0); p.ts != r.stamp[Client] {
		t.Errorf("TSval %d, want %d", p.ts, r.stamp[Client])
	}
	r.out = nil
}

// TestSYNACKInCustody: a SYN-ACK seen later is answered with an ACK, and a SYN
// changes nothing.
func TestSYNACKInCustody(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.take(Server, r.syn(Server))
	if p := r.want(Server, 1000, 0, 0); p.flags != wire.ACK {
		t.Errorf("answered with %v", p)
	}
	s := r.syn(Client)
	s.Seq = s.Seq.Add(77777)
	r.take(Client, s)
	r.want(Client, 0, 0, 1000)
	r.wantState(InCustody)
}

// TestHoleProbed: a hole older than two round trips makes accd ask the far end.
func TestHoleProbed(t *testing.T) {
	r := establish(t)
	r.take(Client, r.seg(Client, 1000, 1000, 0))
	r.out = nil
	r.advance(200 * time.Millisecond)
	r.want(Server, -1, 0, 0)
	r.out = nil
}

// TestSilentLeg: a leg silent for two RTO is steered again, and still silent after
// five timeouts drains; then the flow is given up without a word, because the client has said
// nothing since.
func TestSilentLeg(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.advance(590 * time.Millisecond)
	r.wantState(InCustody)
	if r.steered != 1 {
		t.Errorf("steered %d times", r.steered)
	}
	r.advance(2 * time.Second)
	r.wantState(InCustody) // after few timeouts it may be loss
	r.advance(10 * time.Second)
	r.wantState(Draining)
	r.wantCount(Silent, 1)
	r.out = nil
	r.advance(2 * time.Hour)
	for _, p := range r.out {
		if p.to != Server || p.flags.Has(wire.RST) {
			t.Fatalf("accd sent %v", p)
		}
	}
	r.out = nil
	r.wantState(Gone)
	r.wantCount(Lost, 1)
	r.done()
}

// TestGivingUpResets: the endpoint that has sent something since the lost one was
// heard is reset.
func TestGivingUpResets(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.advance(5 * time.Second)
	r.pass(Client, r.seg(Client, 1000, 10, 0))
	r.out = nil
	r.advance(2 * time.Hour)
	r.wantState(Gone)
	p := r.wantNext(Client, 0, 0, 1000)
	if !p.flags.Has(wire.RST) {
		t.Errorf("accd sent %v", p)
	}
	r.out = nil
	r.done()
}

// TestBlackHole: a path that swallows full segments and says nothing gets smaller
// ones, in custody; the next custody begins with them.
func TestBlackHole(t *testing.T) {
	r := establish(t)
	r.enter(Client, 3000)
	rto := r.flow.c.conn[Server].RTO()
	begin := r.now
	for smaller, heard := false, false; !smaller; r.advance(10 * time.Millisecond) {
		if r.now.Sub(begin) > 3*rto+10*time.Millisecond {
			t.Fatalf("nothing smaller after %v, the RTO is %v", r.now.Sub(begin), rto)
		}
		for _, p := range r.out {
			smaller = smaller || p.gso == 1280-40-12
			if len(p.data) == 104 && p.seq == 2896 && !heard {
				heard = true
				r.advance(40 * time.Millisecond)
				s := r.seg(Server, 0, 0, 0) // the last piece is small
				s.Options.Set |= wire.HasSACK
				s.Options.SACK[0], s.Options.NSACK = wire.Block{Left: r.isn[Client].Add(1 + 2896), Right: r.isn[Client].Add(1 + 3000)}, 1
				r.give(Server, s)
			}
		}
		r.out = nil
	}
	r.give(Server, r.seg(Server, 0, 0, 1448))
	r.advance(50 * time.Millisecond)
	if p := r.out[0]; p.seq != 1448 || len(p.data) != 1228 && p.gso != 1228 {
		t.Errorf("the next lost segment went as %v in pieces of %d", p, p.gso)
	}
	r.out = nil
	r.give(Server, r.seg(Server, 0, 0, 3000))
	r.turn()
	r.wantState(OnWire)
	if p := &r.flow.rec.Path[Server]; p.MTU != 1280 {
		t.Errorf("the record remembers an MTU of %d", p.MTU)
	}
	r.take(Client, r.seg(Client, 3000, 3000, 0))
	if mss := r.flow.c.conn[Server].MSS(); mss != 1280-40-12 {
		t.Errorf("the next custody begins with segments of %d", mss)
	}
	r.out = nil
}

// TestSwallowed: a path that takes not even the smallest full segments is the
// last resort's: drain.
func TestSwallowed(t *testing.T) {
	r := establish(t)
	r.enter(Client, 3000)
	for range 300 {
		// It hears the small packets only.
		r.advance(100 * time.Millisecond)
		if r.flow.State() == Draining {
			break
		}
		r.give(Server, r.seg(Server, 0, 0, 0))
	}
	r.wantState(Draining)
	r.wantCount(BlackHole, 1)
	r.out = nil
	r.advance(2 * time.Minute)
	if len(r.out) == 0 || r.out[0].gso > 552-40-12 && len(r.out[0].data) > 552-40-12 {
		t.Errorf("sent %v", r.out)
	}
	r.out = nil
}

// TestPacketTooBig: news about a packet of accd's own is taken and lowers the
// leg's segments; other news passes.
func TestPacketTooBig(t *testing.T) {
	r := establish(t)
	if r.flow.PacketTooBig(r.now, Server, r.isn[Client].Add(1), 1300) != Pass {
		t.Error("taken on the wire")
	}
	r.enter(Client, 3000)
	if r.flow.PacketTooBig(r.now, Server, r.isn[Client].Add(1+3000), 1300) != Pass ||
		r.flow.PacketTooBig(r.now, Server, r.isn[Client], 1300) != Pass {
		t.Error("taken for what is not in flight")
	}
	if r.flow.PacketTooBig(r.now, Server, r.isn[Client].Add(1), 1300) != Taken {
		t.Error("not taken for what is in flight")
	}
	r.turn()
	r.advance(50 * time.Millisecond)
	n := 0
	for _, p := range r.out {
		n += len(p.data)
	}
	if n == 0 || r.flow.c.conn[Server].MSS() != 1300-40-12 {
		t.Errorf("%d bytes sent again, segments of %d", n, r.flow.c.conn[Server].MSS())
	}
	r.out = nil
}

// RFC 5927, 7.2: what a custody has seen arrive, the next one knows: news of a
// smaller size is doubted from the first packet on.
func TestPacketTooBigInDoubtAfterCustody(t *testing.T) {
	r := establish(t)
	r.enter(Client, 3000)
	r.advance(50 * time.Millisecond)
	r.take(Server, r.seg(Server, 0, 0, 3000))
	r.wantState(OnWire)
	r.out = nil
	r.take(Client, r.seg(Client, 3000, 3000, 0))
	r.wantState(InCustody)
	if r.flow.PacketTooBig(r.now, Server, r.isn[Client].Add(1+3000), 1300) != Taken {
		t.Error("not taken for what is in flight")
	}
	if mss := r.flow.c.conn[Server].MSS(); mss != 1448 {
		t.Errorf("segments of %d bytes after forged news, want 1448", mss)
	}
	r.advance(50 * time.Millisecond)
	r.take(Server, r.seg(Server, 0, 0, 6000))
	r.wantState(OnWire)
	if mtu := r.flow.rec.Path[Server].MTU; mtu != 1500 {
		t.Errorf("the path is taken to carry %d bytes, want 1500", mtu)
	}
	r.out = nil
}

// TestForgedInCustody: segments with right tuple and wrong numbers neither kill
// nor change anything.
func TestForgedInCustody(t *testing.T) {
	for _, tt := range []struct {
		name string
		from Side
		make func(*rig) *tcpstack.Segment
	}{
		{"RST in the window", Client, func(r *rig) *tcpstack.Segment { return r.rst(Client, 1500) }},
		{"RST before it", Client, func(r *rig) *tcpstack.Segment { return r.rst(Client, 500) }},
		{"RST far away", Client, func(r *rig) *tcpstack.Segment { return r.rst(Client, 1<<30) }},
		{"URG far away", Client, func(r *rig) *tcpstack.Segment {
			s := r.seg(Client, 1<<30, 1, 0)
			s.Flags |= wire.URG
			return s
		}},
		{"URG with a wrong ACK", Client, func(r *rig) *tcpstack.Segment {
			s := r.seg(Client, 1000, 1, 1<<30)
			s.Flags |= wire.URG
			return s
		}},
		{"data with a wrong ACK", Client, func(r *rig) *tcpstack.Segment { return r.seg(Client, 1000, 100, -1<<30) }},
		{"data with an old TSval", Client, func(r *rig) *tcpstack.Segment {
			s := r.seg(Client, 1000, 100, 0)
			s.Options.TSVal -= 1000
			return s
		}},
		{"an ACK beyond what was sent", Server, func(r *rig) *tcpstack.Segment { return r.seg(Server, 0, 0, 1001) }},
		{"SYN", Client, func(r *rig) *tcpstack.Segment { return r.syn(Client) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := establish(t)
			r.enter(Client, 1000)
			r.trusted = false
			r.give(tt.from, tt.make(r))
			r.trusted = true
			r.wantState(InCustody)
			if got := r.flow.Held(); got != [2]int{Server: 1000} {
				t.Errorf("held %v", got)
			}
			r.out = nil
			r.take(Client, r.seg(Client, 1000, 1000, 0))
			r.advance(50 * time.Millisecond)
			r.out = nil
			r.take(Server, r.seg(Server, 0, 0, 2000))
			r.wantState(OnWire)
		})
	}
}

// TestLedgerInCustody: the ledger lists a flow while it is in custody, with the
// numbers its ends know, before the packets that make them true have left.
func TestLedgerInCustody(t *testing.T) {
	mem := make([]byte, LedgerSize(2))
	r := newRig(t)
	all, err := NewLedgers(mem, 1)
	if err != nil {
		t.Fatal(err)
	}
	r.env.Ledger = all[0]
	if !r.handshake() {
		t.Fatal("no record")
	}
	if got := readLedger(t, mem); len(got) != 0 {
		t.Fatalf("on the wire, but listed: %+v", got)
	}
	r.enter(Client, 1000)
	got := readLedger(t, mem)
	if len(got) != 1 || got[0].Tuple != tuple || got[0].Dir[Client].Bytes() != 1000 || !got[0].Stuck() {
		t.Fatalf("listed %+v", got)
	}
	for _, p := range got[0].Resets() {
		if p.To == Client && p.Seq != r.isn[Server].Add(1) {
			t.Errorf("the client expects %v, the RST is at %v", r.isn[Server].Add(1), p.Seq)
		}
	}
	r.take(Server, r.seg(Server, 0, 0, 1000))
	if got := readLedger(t, mem); len(got) != 0 {
		t.Fatalf("on the wire, but listed: %+v", got)
	}
}

// TestReuseOfCustody: a second custody starts clean.
func TestReuseOfCustody(t *testing.T) {
	r := establish(t)
	acked := 0
	for range 50 {
		r.take(Client, r.seg(Client, acked, 1000, 0))
		r.wantState(InCustody)
		acked += 1000
		r.now = r.now.Add(10 * time.Millisecond)
		r.take(Server, r.seg(Server, 0, 0, acked))
		r.wantState(OnWire)
	}
	if len(r.env.free.list) != 1 {
		t.Errorf("%d custodies were made", len(r.env.free.list))
	}
	r.out = nil
	r.done()
}

// TestRepeatsAcknowledgedWindow: a sender that got none of the ACKs for more than
// slack repeats its first segment, again and again; what it repeats is answered,
// also while a hole keeps the flow in custody (RFC 9293, 3.10.7.4, first).
func TestRepeatsAcknowledgedWindow(t *testing.T) {
	r := establish(t)
	r.window[Client] = 4096 // << 7: 512 KiB
	r.pass(Client, r.seg(Client, 0, 0, 0))
	const part, parts = 60000, 3
	for i := range parts {
		r.take(Server, r.seg(Server, i*part, part, 0))
	}
	r.advance(100 * time.Millisecond)
	r.take(Client, r.seg(Client, 0, 0, parts*part))
	r.take(Server, r.seg(Server, parts*part+1000, 1000, 0)) // behind a hole
	r.out = nil                                             // lost, all ACKs
	for range 3 {
		r.advance(20 * time.Millisecond)
		r.take(Client, r.seg(Client, 0, 0, parts*part)) // what it says when asked for the hole
		r.out = nil
		r.take(Server, r.seg(Server, 0, 1000, 0))
		r.wantNext(Server, 0, 0, parts*part)
	}
}

// TestEnterBeyondWindow: the window that custody offered may reach further than the
// receiver's own. What the sender then sends beyond that was asked for by accd: custody
// takes it, as the receiver would not. A window that is closed stays closed.
func TestEnterBeyondWindow(t *testing.T) {
	for _, x := range []struct {
		window uint16 // of the server, in units of 16 bytes
		off, n int    // what the client sends
		want   Disposition
	}{
		{100, 1000, 1600, Taken},
		{100, 1000, 1601, Taken},
		{100, 1000, 60_000, Taken},
		{100, 1 << 20, 1000, Pass}, // further than anybody has offered
		{0, 1000, 500, Pass},
	} {
		r := establish(t)
		r.enter(Client, 1000)
		r.window[Server] = x.window
		r.take(Server, r.seg(Server, 0, 0, 1000))
		r.wantState(OnWire)
		if got := r.give(Client, r.seg(Client, x.off, x.n, 0)); got != x.want {
			t.Errorf("%d bytes at %d in a window of %d: %v, want %v", x.n, x.off, int(x.window)*16, got, x.want)
		}
	}
}
