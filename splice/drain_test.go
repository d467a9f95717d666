package splice

import (
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// TestDrainDelivers: packets pass, nothing new is acknowledged (I6), what is held
// is sent until it is acknowledged, and then the flow is on the wire; the ACK
// that jumps over native data counts.
func TestDrainDelivers(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.flow.Drain(r.now, Gap)
	r.turn()
	r.wantState(Draining)
	r.pass(Client, r.seg(Client, 1000, 500, 0))
	r.wantSilence()
	r.pass(Server, r.seg(Server, 0, 0, 0)) // SACKs the native data
	r.advance(300 * time.Millisecond)
	p := r.want(Server, 0, 1000, 0)
	if p.ts != r.stamp[Client] {
		t.Errorf("TSval %d is older than what passed, %d", p.ts, r.stamp[Client])
	}
	r.pass(Server, r.seg(Server, 0, 0, 1500))
	r.wantState(OnWire)
	c := &r.flow.Record().Dir[Client]
	if first := r.isn[Client].Add(1); c.Next.Sub(first) != 1500 || c.Acked.Sub(first) != 1500 {
		t.Errorf("next %d, acked %d", c.Next.Sub(first), c.Acked.Sub(first))
	}
	r.out = nil
	// A drain for the moment: the flow enters again.
	r.take(Client, r.seg(Client, 1500, 100, 0))
	r.out = nil
}

// TestDrainForGood: after an operator's drain the flow stays on the wire.
func TestDrainForGood(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.flow.Drain(r.now, Operator)
	r.turn()
	r.pass(Server, r.seg(Server, 0, 0, 1000))
	r.wantState(OnWire)
	r.pass(Client, r.seg(Client, 1000, 100, 0))
	r.wantCount(Policy, 1)
	r.done()
}

// TestDrainIdle: a drain of a flow that holds nothing acknowledged is over at
// once, whatever else it has.
func TestDrainIdle(t *testing.T) {
	r := establish(t)
	r.take(Client, r.seg(Client, 1000, 1000, 0))
	r.out = nil
	r.flow.Drain(r.now, Stop)
	r.turn()
	// What was in reassembly is sent on before drain begins.
	if p := r.want(Server, 1000, 1000, 0); p.ts == 0 {
		t.Errorf("TSval %d", p.ts)
	}
	r.wantState(OnWire)
	r.done()
}

// TestDrainSaysNoLess: what accd sends in drain has at least the ACK and the edge
// that passed (I3).
func TestDrainSaysNoLess(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.flow.Drain(r.now, Gap)
	r.turn()
	s := r.seg(Server, 0, 700, 0)
	r.pass(Server, s)
	r.window[Client] = 2000
	r.pass(Client, r.seg(Client, 1000, 0, 700))
	r.advance(400 * time.Millisecond)
	p := r.want(Server, 0, 1000, 700)
	if p.edge < 700+2000<<7 {
		t.Errorf("edge %d", p.edge)
	}
	r.out = nil
}

// TestURGDrains: an urgent segment, an unknown option: drain, and it passes.
func TestURGDrains(t *testing.T) {
	for _, why := range []Reason{Urgent, UnknownOption} {
		r := establish(t)
		r.enter(Client, 1000)
		s := r.seg(Client, 1000, 1, 0)
		if why == Urgent {
			s.Flags |= wire.URG
		} else {
			s.Options.Set |= wire.HasUnknown
		}
		r.pass(Client, s)
		r.wantState(Draining)
		r.wantCount(why, 1)
		r.pass(Server, r.seg(Server, 0, 0, 1001))
		r.wantState(OnWire)
		r.done()
	}
}

// TestDrainFIN: a FIN received but not acknowledged is its sender's to repeat.
func TestDrainFIN(t *testing.T) {
	r := establish(t)
	r.take(Client, r.fin(Client, 0, 1000, 0))
	r.out = nil
	r.flow.Drain(r.now, Gap)
	r.turn()
	r.pass(Server, r.seg(Server, 0, 0, 1000))
	r.wantState(OnWire)
	r.pass(Client, r.fin(Client, 1000, 0, 0))
	r.pass(Server, r.fin(Server, 0, 0, 1001))
	r.pass(Client, r.seg(Client, 1001, 0, 1))
	r.wantState(Gone)
	r.done()
}

// TestGapInCustody: drain, and the record is unsynced; on a leg for which no
// fresh segment was seen only held data is sent; fresh data and its ACK end it,
// and what is held is given up when its receiver insists that it has it.
func TestGapInCustody(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.flow.Gap(r.now)
	r.turn()
	r.wantState(Draining)
	r.advance(300 * time.Millisecond)
	for _, p := range r.out {
		if len(p.data) == 0 {
			t.Errorf("sent %v", p)
		}
	}
	r.out = nil
	r.trusted = false
	// The server got the held bytes before the gap, and much since.
	const at = 500_000
	n := 0
	next := func() {
		t.Helper()
		r.pass(Client, r.seg(Client, at+1000*n, 1000, 300))
		n++
		r.advance(40 * time.Millisecond) // as the handshake took
		r.pass(Server, r.seg(Server, 300, 0, at+1000*n))
	}
	next()
	r.pass(Client, r.seg(Client, at+1000*n, 0, 300))
	if r.flow.Record().Unsynced {
		t.Error("still unsynced")
	}
	for r.flow.State() == Draining && n < tcpstack.AnswersWanted+3 {
		next()
	}
	r.wantState(OnWire)
	r.out = nil
	r.take(Client, r.seg(Client, at+1000*n, 100, 300))
	r.out = nil
}

// TestGapTimestamp: what went past accd carried later TSvals than it knows, and its
// receiver takes nothing with an older one. What is held goes with the one that the
// receiver echoes, once its sender has sent as much.
func TestGapTimestamp(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	old := r.stamp[Client]
	r.flow.Gap(r.now)
	r.turn()
	r.trusted = false
	next := func() uint32 {
		t.Helper()
		for r.out = nil; len(r.out) == 0; {
			r.advance(100 * time.Millisecond)
		}
		return r.wantNext(Server, 0, 1000, 0).ts
	}
	echo := old + 100
	answer := func() {
		t.Helper()
		s := r.seg(Server, 0, 0, 0)
		s.Options.TSEcr = echo
		r.pass(Server, s)
	}
	answer()
	if ts := next(); ts != old {
		t.Errorf("TSval %d, which nobody has sent; want %d", ts, old)
	}
	r.stamp[Client] = echo + 50
	r.pass(Client, r.seg(Client, 3000, 0, 0))
	answer()
	if ts := next(); ts != echo {
		t.Errorf("TSval %d, want %d", ts, echo)
	}
	r.out = nil
}

// TestReceiverAheadTimestamp: what went another way may have carried a later TSval
// than accd knew: after the receiver has shown that it has those bytes, accd sends
// no less than what came behind them, or the receiver would discard it for ever.
func TestReceiverAheadTimestamp(t *testing.T) {
	r := establish(t)
	r.stamp[Client] += 20 // of the bytes 0–2000
	r.take(Client, r.seg(Client, 2000, 1000, 0))
	r.take(Server, r.seg(Server, 0, 0, 2000))
	for range tcpstack.AnswersWanted {
		r.advance(20 * time.Millisecond)
		r.take(Server, r.seg(Server, 0, 0, 2000))
	}
	r.wantNext(Server, 0, 0, 0)
	for r.out[0].to == Client || r.out[0].seq != 2000 { // probes, for answers and for time that passes
		if p := r.out[0]; p.to == Server && p.ts == r.stamp[Client] {
			t.Error("a TSval from behind a hole was used")
		}
		r.out = r.out[1:]
	}
	if p := r.wantNext(Server, 2000, 1000, 0); p.ts != r.stamp[Client] {
		t.Errorf("TSval %d, want %d", p.ts, r.stamp[Client])
	}
}

// TestOvertaken: a receiver that echoes a later TSval than accd's got it past accd,
// and would discard what carries less: in custody and in drain its echo is sent, but
// nothing beyond what the sender was seen to say, also with an ACK of what went past
// accd.
func TestOvertaken(t *testing.T) {
	for _, c := range []struct {
		gap  bool
		past int
	}{{}, {gap: true}, {gap: true, past: 500}} {
		r := establish(t)
		r.enter(Client, 1000)
		low := r.stamp[Client]
		if c.gap {
			r.flow.Gap(r.now)
			r.turn()
		}
		r.out, r.trusted = nil, false
		// 1000 to 3000 went another way; 2000 to 3000 comes again.
		r.stamp[Client] = low + 30
		r.give(Client, r.seg(Client, 2000, 1000, c.past))
		for _, echo := range []struct{ said, sent uint32 }{{low + 50, low}, {low + 20, low + 20}} {
			s := r.seg(Server, 0, 0, 0)
			s.Options.TSEcr = echo.said
			r.give(Server, s)
			r.out = nil
			for r.advance(time.Second); len(r.out) == 0; {
				r.advance(time.Second)
			}
			for _, p := range r.out {
				if p.to == Server && p.ts != echo.sent {
					t.Errorf("%+v: the server echoes %d more than was sent, and is sent %d more, want %d", c, echo.said-low, p.ts-low, echo.sent-low)
				}
			}
			r.out = nil
		}
	}
}

// TestDrainRST: an RST in drain passes; what is held towards the other end is
// delivered, what is held towards its sender is not.
func TestDrainRST(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.flow.Drain(r.now, Gap)
	r.turn()
	r.pass(Client, r.rst(Client, 5000))
	r.wantState(Draining)
	r.pass(Client, r.rst(Client, 1000))
	r.wantState(Draining)
	r.pass(Server, r.seg(Server, 0, 0, 1000))
	r.wantState(Gone)
	r.out = nil
	r.done()

	r = establish(t)
	r.enter(Client, 1000)
	r.flow.Drain(r.now, Gap)
	r.turn()
	r.pass(Server, r.rst(Server, 0))
	r.wantState(Gone)
	r.out = nil
	r.done()
}
