package splice

import (
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// Sizes of the stories: full segments with timestamps.
const (
	full  = 1448
	early = busyEnough - 1 // busy segments that pass before the shadow begins
)

// busy brings a flow on the wire to where its shadow has just begun: an urgent byte
// and seven full segments passed, and the eighth, at shadowed, is remembered.
// Nothing is acknowledged.
func busy(t *testing.T) *rig {
	r := native(t)
	for i := range early {
		r.pass(Client, r.seg(Client, 1+i*full, full, 0))
	}
	if r.flow.Shadowed() {
		t.Fatal("the shadow began too early")
	}
	r.pass(Client, r.seg(Client, shadowed, full, 0))
	if !r.flow.Shadowed() || r.count.Shadows != 1 {
		t.Fatal("no shadow began")
	}
	r.wantSilence()
	return r
}

const shadowed = 1 + early*full

// sack is a pure ACK with SACK blocks, pairs of offsets.
func (r *rig) sack(from Side, off, ack int, blocks ...int) *tcpstack.Segment {
	s := r.seg(from, off, 0, ack)
	s.Options.Set |= wire.HasSACK
	for i := 0; i < len(blocks); i += 2 {
		first := r.isn[from.Other()].Add(1)
		s.Options.SACK[i/2] = wire.Block{Left: first.Add(blocks[i]), Right: first.Add(blocks[i+1])}
		s.Options.NSACK++
	}
	return s
}

// TestShadow: from one point on what passes is remembered, and when the oldest
// unacknowledged byte is among it custody begins: the sender is told that accd has
// everything, what passed counts as sent, and only what is new leaves.
func TestShadow(t *testing.T) {
	r := busy(t)
	r.pass(Client, r.seg(Client, shadowed+full, full, 0))
	r.pass(Server, r.seg(Server, 0, 0, shadowed-1)) // the oldest byte is one before the shadow
	r.pass(Client, r.seg(Client, shadowed+2*full, full, 0))
	r.wantState(OnWire)
	r.pass(Server, r.seg(Server, 0, 0, shadowed))
	at := shadowed + 3*full
	r.take(Client, r.seg(Client, at, full, 0))
	r.wantState(InCustody)
	p := r.want(Client, 0, 0, at+full)
	if p.ts != r.stamp[Server] || p.ecr != r.stamp[Client] {
		t.Errorf("to the client TSval %d TSecr %d", p.ts, p.ecr)
	}
	if p = r.want(Server, at, full, 0); p.ts != r.stamp[Client] {
		t.Errorf("to the server TSval %d", p.ts)
	}
	r.wantSilence()
	if held := r.flow.Held(); held != [2]int{Server: 4 * full} {
		t.Errorf("held %v", held)
	}
	r.take(Server, r.seg(Server, 0, 0, at+full))
	r.wantState(OnWire)
	if r.count.Entered != 1 || r.count.Adopted != 1 {
		t.Errorf("counted %+v", r.count)
	}
	if taken, passed := r.flow.Bytes(Client); taken != full || passed != uint64(at) {
		t.Errorf("%d bytes taken, %d passed", taken, passed)
	}
	r.done()
}

// TestShadowQuietEntersAsEver: a flow of which nothing is on its way enters
// without a shadow, and short exchanges never get one.
func TestShadowQuietEntersAsEver(t *testing.T) {
	r := native(t)
	sent := 1
	for range 5 {
		for range early {
			r.pass(Client, r.seg(Client, sent, 10, 0))
			sent += 10
		}
		r.pass(Server, r.seg(Server, 0, 0, sent))
		s := r.seg(Client, sent, 1, 0)
		s.Flags |= wire.URG
		r.pass(Client, s)
		sent++
	}
	r.pass(Server, r.seg(Server, 0, 0, sent))
	r.take(Client, r.seg(Client, sent, 10, 0))
	if r.count.Shadows != 0 || r.count.Adopted != 0 {
		t.Errorf("counted %+v", r.count)
	}
	r.out = nil
}

// TestShadowGoneWhenQuiet: a shadow of which everything is acknowledged ends.
func TestShadowGoneWhenQuiet(t *testing.T) {
	r := busy(t)
	r.pass(Server, r.seg(Server, 0, 0, shadowed+full))
	if r.flow.Shadowed() {
		t.Error("it is still there")
	}
	r.done()
}

// TestShadowLostBehind: what passed and was lost behind accd accd sends again, as
// what it has acknowledged; the sender's own repetition ends at accd.
func TestShadowLostBehind(t *testing.T) {
	r := busy(t)
	for i := 1; i < 5; i++ {
		r.pass(Client, r.seg(Client, shadowed+i*full, full, 0))
	}
	r.pass(Server, r.seg(Server, 0, 0, shadowed))
	at := shadowed + 5*full
	r.take(Client, r.seg(Client, at, full, 0))
	r.want(Client, 0, 0, at+full)
	r.want(Server, at, full, 0)
	// The first of them is lost.
	for i := 1; i < 4; i++ {
		r.take(Server, r.sack(Server, 0, shadowed, shadowed+full, shadowed+(i+1)*full))
	}
	r.advance(15 * time.Millisecond)
	r.want(Server, shadowed, full, 0)
	// The ACKs that passed before told the client, too.
	r.take(Client, r.seg(Client, shadowed, full, 0))
	if p := r.want(Client, 0, 0, at+full); p.nsack != 1 {
		t.Errorf("%d SACK blocks, want a D-SACK", p.nsack)
	}
	r.take(Server, r.seg(Server, 0, 0, at+full))
	r.wantState(OnWire)
	r.done()
}

// TestShadowTail: of what passed nothing arrives, and nothing else comes: a probe,
// then a timeout, send it again.
func TestShadowTail(t *testing.T) {
	r := busy(t)
	r.pass(Server, r.seg(Server, 0, 0, shadowed))
	r.take(Client, r.seg(Client, shadowed+full, full, 0))
	r.out = nil
	r.advance(2 * time.Second)
	again := map[int]bool{}
	for _, p := range r.out {
		if p.to == Server && len(p.data) > 0 {
			again[p.seq] = true
		}
	}
	if !again[shadowed] {
		t.Errorf("what passed is not sent again: %v", r.out)
	}
	r.out = nil
}

// TestShadowSACKedBefore: what the receiver has said of the bytes on their way
// before custody began counts: the hole is sent at once, the rest is not.
func TestShadowSACKedBefore(t *testing.T) {
	r := busy(t)
	for i := 1; i < 5; i++ {
		r.pass(Client, r.seg(Client, shadowed+i*full, full, 0))
	}
	r.pass(Server, r.sack(Server, 0, shadowed, shadowed+full, shadowed+5*full))
	at := shadowed + 5*full
	r.take(Client, r.seg(Client, at, full, 0))
	r.want(Client, 0, 0, at+full)
	r.want(Server, shadowed, full, 0)
	r.out = nil
	r.advance(20 * time.Millisecond)
	for _, p := range r.out {
		if len(p.data) > 0 && p.seq != at {
			t.Errorf("sent again: %v", p)
		}
	}
	r.out = nil
	r.take(Server, r.seg(Server, 0, 0, at+full))
	r.wantState(OnWire)
}

// TestShadowHole: what is lost before the box leaves a hole, behind which
// everything is kept. Custody begins all the same, tells the sender what is there
// and, when the hole is filled, sends that alone.
func TestShadowHole(t *testing.T) {
	r := busy(t)
	hole := shadowed + full
	for i := 2; i < 5; i++ {
		r.pass(Client, r.seg(Client, shadowed+i*full, full, 0))
	}
	r.pass(Server, r.sack(Server, 0, hole, hole+full, hole+4*full))
	at := shadowed + 5*full
	r.take(Client, r.seg(Client, at, full, 0))
	r.wantState(InCustody)
	if p := r.want(Client, 0, 0, hole); p.nsack != 1 {
		t.Errorf("%d SACK blocks", p.nsack)
	}
	r.advance(10 * time.Millisecond)
	r.out = nil // a question to the server, for the hole is old perhaps
	r.take(Client, r.seg(Client, hole, full, 0))
	r.want(Client, 0, 0, at+full)
	r.want(Server, hole, full, 0)
	r.advance(20 * time.Millisecond) // paced
	r.want(Server, at, full, 0)
	r.wantSilence()
	r.take(Server, r.seg(Server, 0, 0, at+full))
	r.wantState(OnWire)
	r.done()
}

// TestShadowReordered: the order in which bytes pass does not matter.
func TestShadowReordered(t *testing.T) {
	r := busy(t)
	for _, i := range []int{3, 1, 4, 2, 2, 0, 1} {
		r.pass(Client, r.seg(Client, shadowed+i*full, full, 0))
	}
	r.pass(Server, r.seg(Server, 0, 0, shadowed+full/2)) // within a segment
	at := shadowed + 5*full
	r.take(Client, r.seg(Client, at, full, 0))
	r.want(Client, 0, 0, at+full)
	r.want(Server, at, full, 0)
	r.advance(400 * time.Millisecond)
	if len(r.out) == 0 { // the rig compares its bytes
		t.Error("what passed is not sent again")
	}
	r.out = nil
	r.take(Server, r.seg(Server, 0, 0, at+full))
	r.wantState(OnWire)
	r.out = nil
	r.done()
}

// TestShadowBothWays: custody begins when the oldest unacknowledged byte of both
// directions is remembered.
func TestShadowBothWays(t *testing.T) {
	r := native(t)
	s := r.seg(Server, 0, 1, 0)
	s.Flags |= wire.URG
	r.pass(Server, s)
	for i := range 10 {
		r.pass(Client, r.seg(Client, 1+i*full, full, 0))
		r.pass(Server, r.seg(Server, 1+i*full, full, 0))
	}
	if !r.flow.Shadowed() {
		t.Fatal("no shadow")
	}
	r.pass(Server, r.seg(Server, 1+10*full, full, 1+8*full))
	r.pass(Client, r.seg(Client, 1+10*full, full, 1))
	r.wantState(OnWire)
	// This one's ACK is not told to the server yet, when custody begins with it.
	r.take(Client, r.seg(Client, 1+11*full, full, 1+9*full))
	r.wantState(InCustody)
	r.want(Client, 1+11*full, 0, 1+12*full)
	r.want(Server, 1+11*full, full, 1+11*full)
	if held := r.flow.Held(); held != [2]int{2 * full, 4 * full} {
		t.Errorf("held %v", held)
	}
	r.take(Server, r.seg(Server, 1+11*full, 0, 1+12*full))
	r.take(Client, r.seg(Client, 1+12*full, 0, 1+11*full))
	r.wantState(OnWire)
	r.done()
}

// TestShadowBeyondEdge: what is beyond the receiver's own edge is not remembered,
// since it will not keep it.
func TestShadowBeyondEdge(t *testing.T) {
	r := newRig(t)
	r.first[Server] = 9 * full
	r.handshake()
	s := r.seg(Client, 0, 1, 0)
	s.Flags |= wire.URG
	r.pass(Client, s)
	for i := range busyEnough {
		r.pass(Client, r.seg(Client, 1+i*full, full, 0))
	}
	r.flow.rec.Dir[Client].Edge = r.flow.rec.Dir[Client].Edge.Add(10 * full) // believed
	r.pass(Client, r.seg(Client, shadowed+full, full, 0))
	if n, want := r.flow.shadow.bytes(), 2*full-1; n != want {
		t.Errorf("%d bytes are remembered, want %d", n, want)
	}
	r.trusted = false
}

// TestShadowUnbelieved: what an endpoint would not believe is not remembered.
func TestShadowUnbelieved(t *testing.T) {
	r := busy(t)
	r.trusted = false
	s := r.seg(Client, shadowed+full, full, 0)
	s.Options.TSVal -= 1000
	s.Payload.Release()
	s.Payload = r.pool.Copy(make([]byte, full))
	r.pass(Client, s)
	r.trusted = true
	r.pass(Client, r.seg(Client, shadowed+full, full, 0))
	r.pass(Server, r.seg(Server, 0, 0, shadowed))
	r.take(Client, r.seg(Client, shadowed+2*full, full, 0))
	r.out = nil
	r.advance(2 * time.Second) // sends all of it, and the rig compares
	r.out = nil
}

// TestShadowTorn: a FIN, an urgent or odd segment, a gap and a drain end the
// shadow, and an ACK of what never passed does.
func TestShadowTorn(t *testing.T) {
	for name, tear := range map[string]func(r *rig){
		"FIN": func(r *rig) { r.pass(Client, r.fin(Client, shadowed+full, 10, 0)) },
		"FIN of the other side": func(r *rig) {
			r.pass(Server, r.fin(Server, 0, 0, 0))
			for i := range 100 {
				r.pass(Client, r.seg(Client, shadowed+(i+1)*100, 100, 0))
			}
		},
		"URG": func(r *rig) {
			s := r.seg(Client, shadowed+full, 10, 0)
			s.Flags |= wire.URG
			r.pass(Client, s)
		},
		"unknown option": func(r *rig) {
			s := r.seg(Client, shadowed+full, 10, 0)
			s.Options.Set |= wire.HasUnknown
			r.pass(Client, s)
		},
		"gap":                      func(r *rig) { r.flow.Gap(r.now) },
		"drain":                    func(r *rig) { r.flow.Drain(r.now, Operator) },
		"an IP option":             func(r *rig) { r.flow.Drain(r.now, IPOption) },
		"an ACK of what is unseen": func(r *rig) { r.trusted = false; r.pass(Server, r.seg(Server, 0, 0, shadowed+2*full)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := busy(t)
			tear(r)
			if r.flow.Shadowed() {
				t.Error("it is still there")
			}
			r.wantCount(ShadowTorn, 1)
			r.wantState(OnWire)
			r.done()
		})
	}
}

// TestShadowDrainForGood: after an operator's drain there is no shadow either.
func TestShadowDrainForGood(t *testing.T) {
	r := native(t)
	r.flow.Drain(r.now, Operator)
	for i := range 10 * busyEnough {
		r.pass(Client, r.seg(Client, 1+100*i, 100, 0))
	}
	if r.count.Shadows != 0 {
		t.Error("a shadow began")
	}
	r.wantCount(Policy, 10*busyEnough)
	r.done()
}

// TestShadowLate: a shadow in whose time custody does not begin ends by itself, and
// the next one waits longer.
func TestShadowLate(t *testing.T) {
	r := busy(t)
	r.advance(shadowLife)
	if r.flow.Shadowed() {
		t.Fatal("it is still there")
	}
	r.wantCount(ShadowLate, 1)
	r.done()
	for i := range 2*busyEnough - 1 {
		r.pass(Client, r.seg(Client, shadowed+full+100*i, 100, 0))
	}
	if r.flow.Shadowed() {
		t.Fatal("the next one came too early")
	}
	r.pass(Client, r.seg(Client, shadowed+full+100*(2*busyEnough-1), 100, 0))
	if !r.flow.Shadowed() {
		t.Fatal("there is no next one")
	}
}

// TestShadowFlaps: a flow that leaves custody again and again, soon after it began,
// has to be busy for longer each time; one that was in custody for long does not.
func TestShadowFlaps(t *testing.T) {
	for _, tt := range []struct {
		stays time.Duration
		after int
	}{{0, 2 * busyEnough}, {settled, busyEnough}} {
		r := establish(t)
		r.enter(Client, 100)
		r.now = r.now.Add(tt.stays)
		s := r.seg(Client, 100, 1, 0)
		s.Flags |= wire.URG
		r.pass(Client, s)
		r.pass(Server, r.seg(Server, 0, 0, 100))
		r.wantState(OnWire)
		n := 0
		for ; !r.flow.Shadowed(); n++ {
			r.pass(Client, r.seg(Client, 101+100*n, 100, 0))
		}
		if n != tt.after {
			t.Errorf("after %v in custody the shadow began at segment %d, want %d", tt.stays, n, tt.after)
		}
	}
}

// TestShadowFull: a shadow is charged to the budget, of which custody keeps half
// for itself; it ends under pressure.
func TestShadowFull(t *testing.T) {
	r := native(t)
	r.pool.Budget = 4*minHeld - 1
	for i := range busyEnough {
		r.pass(Client, r.seg(Client, 1+100*i, 100, 0))
	}
	if r.flow.Shadowed() {
		t.Error("a shadow took more than half of the budget")
	}
	r.wantCount(ShadowFull, 1)
	r.pool.Budget = 4 * minHeld
	for i := range busyEnough {
		r.pass(Client, r.seg(Client, 1001+100*i, 100, 0))
	}
	if !r.flow.Shadowed() || r.env.charged != 2*minHeld {
		t.Fatalf("no shadow, or a wrong charge: %d", r.env.charged)
	}
	r.pool.Budget = 300 << 10 // one slab is more than three quarters
	r.pass(Client, r.seg(Client, 2001, 100, 0))
	if r.flow.Shadowed() {
		t.Error("it stays under pressure")
	}
	r.wantCount(ShadowFull, 2)
	r.done()
}

// TestShadowTakesMore: the charge follows the window, and ends the shadow where the
// budget does not.
func TestShadowTakesMore(t *testing.T) {
	for _, budget := range []int{0, 4 * minHeld} {
		r := busy(t)
		r.pool.Budget = budget
		r.window[Server] = 0xffff // 1 MiB
		r.pass(Server, r.seg(Server, 0, 0, shadowed-1))
		for i := 1; i < 300 && r.flow.Shadowed(); i++ {
			r.pass(Client, r.seg(Client, shadowed+i*full, full, 0))
		}
		if r.flow.Shadowed() != (budget == 0) {
			t.Errorf("budget %d: a shadow: %v, %v", budget, r.flow.Shadowed(), r.count.By)
		}
		if budget == 0 && r.env.charged < 300*full {
			t.Errorf("%d bytes are charged", r.env.charged)
		}
	}
}

// TestShadowNoRoom: where custody cannot begin the shadow stays for its time.
func TestShadowNoRoom(t *testing.T) {
	for _, why := range []Reason{Budget, LedgerFull} {
		r := busy(t)
		r.pass(Server, r.seg(Server, 0, 0, shadowed))
		free := r.env.Ledger.free
		if why == Budget {
			r.pool.Budget = 256 << 10 // full
		} else {
			r.env.Ledger.free = nil
		}
		before := r.env.charged
		r.pass(Client, r.seg(Client, shadowed+full, full, 0))
		r.wantCount(why, 1)
		r.wantState(OnWire)
		if why == LedgerFull {
			if r.env.charged != before {
				t.Errorf("%d bytes are charged, %d were", r.env.charged, before)
			}
			r.env.Ledger.free = free
			r.take(Client, r.seg(Client, shadowed+2*full, full, 0))
			r.take(Server, r.seg(Server, 0, 0, shadowed+3*full))
			r.wantState(OnWire)
			r.out = nil
		}
		r.done()
	}
}

// TestShadowLedger: the ledger lists what passed in order as sent, from the first
// packet of custody on.
func TestShadowLedger(t *testing.T) {
	r := busy(t)
	r.pass(Server, r.seg(Server, 0, 0, shadowed))
	r.take(Client, r.seg(Client, shadowed+full, full, 0))
	h := r.flow.c.entry.Dir[Client]
	first := r.isn[Client].Add(1)
	if h.Acked.Sub(first) != shadowed || h.Owed.Sub(first) != shadowed+2*full || h.Sent.Sub(first) != shadowed+2*full {
		t.Errorf("acked %d, owed %d, sent %d", h.Acked.Sub(first), h.Owed.Sub(first), h.Sent.Sub(first))
	}
	r.out = nil
}

// TestShadowDrain: custody of a busy flow that drains at once, before it has
// acknowledged anything, owes nothing.
func TestShadowDrain(t *testing.T) {
	r := busy(t)
	r.pass(Client, r.seg(Client, shadowed+2*full, full, 0)) // behind a hole
	r.pass(Server, r.seg(Server, 0, 0, shadowed))
	s := r.seg(Client, shadowed+3*full, full, 0)
	r.witness.Arrived(Client, s)
	if r.flow.Receive(r.now, Client, s, Meta{}) != Taken {
		t.Fatal("passed")
	}
	r.flow.Drain(r.now, Gap)
	r.turn()
	r.want(Server, shadowed+2*full, full, 0) // what waited is sent on
	r.want(Server, shadowed+3*full, full, 0)
	r.wantState(OnWire)
	r.done()
}

// TestShadowFlowsEnd: the end of a flow frees its shadow.
func TestShadowFlowsEnd(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"RST":      func(r *rig) { r.pass(Client, r.rst(Client, shadowed+full)) },
		"replaced": func(r *rig) { r.flow.Replace() },
		"panic":    func(r *rig) { r.flow.forget(None); r.flow.Forsake() },
	} {
		t.Run(name, func(t *testing.T) {
			r := busy(t)
			end(r)
			r.wantState(Gone)
			r.done()
		})
	}
	r := busy(t)
	r.flow.Forsake()
	if r.env.charged != 0 {
		t.Errorf("%d bytes are charged", r.env.charged)
	}
}

// TestShadowAfterGap: after a gap fresh data and its ACK show where the flow is,
// and the server that it has what is held; though it never pauses it is in custody soon
// after.
func TestShadowAfterGap(t *testing.T) {
	r := establish(t)
	r.window[Server] = 0xffff
	r.enter(Client, 1000)
	r.flow.Gap(r.now)
	r.trusted = false
	const at = 500_000
	n := 0
	for ; r.flow.State() != InCustody && n < 100; n++ {
		r.give(Client, r.seg(Client, at+n*full, full, 0))
		if n >= 10 {
			r.give(Server, r.seg(Server, 0, 0, at+(n-9)*full))
		}
		r.advance(4 * time.Millisecond)
	}
	r.wantState(InCustody)
	if n > 80 {
		t.Errorf("after %d segments, ten in a round trip", n)
	}
	r.out = nil
}

// TestShadowAllocs: remembering what passes allocates nothing per packet.
func TestShadowAllocs(t *testing.T) {
	r := busy(t)
	r.window[Server] = 0xffff
	r.pass(Server, r.seg(Server, 0, 0, shadowed-1))
	seg := *r.seg(Client, 0, 0, 0)
	first := r.isn[Client].Add(1)
	sent := shadowed + full
	step := func() {
		room := r.pool.Room(full)
		seg.Seq, seg.Payload = first.Add(sent), r.pool.Keep(0, len(room))
		seg.Options.TSVal++
		if r.flow.Receive(r.now, Client, &seg, Meta{}) != Pass {
			t.Fatal("taken")
		}
		seg.Drop()
		sent += full
	}
	for range 100 {
		step()
	}
	r.flow.shadow.until = r.now.Add(time.Hour)
	if n := testing.AllocsPerRun(200, step); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
	if !r.flow.Shadowed() || r.flow.shadow.bytes() < 200*full {
		t.Error("nothing is remembered")
	}
}
