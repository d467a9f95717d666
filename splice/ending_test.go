package splice

import (
	"testing"
	"time"

	"accd/tcpstack/wire"
)

func (r *rig) wantRST(to Side, seq int) {
	r.t.Helper()
	for len(r.out) > 0 && !r.out[0].flags.Has(wire.RST) {
		r.out = r.out[1:]
	}
	if len(r.out) == 0 || r.out[0].to != to || r.out[0].seq != seq {
		r.t.Fatalf("want an RST to the %v at %d, have %v", to, seq, r.out)
	}
	r.out = r.out[1:]
}

// TestRSTAtOnce: with nothing held the other end is reset at once, with the
// number it expects.
func TestRSTAtOnce(t *testing.T) {
	r := establish(t)
	r.take(Client, r.seg(Client, 1000, 1000, 0)) // in reassembly: custody, nothing held
	r.out = nil
	r.take(Client, r.rst(Client, 0))
	r.wantRST(Server, 0)
	r.advance(3 * time.Second)
	r.wantState(Gone)
	r.wantCount(Reset, 1)
	r.done()
}

// TestRSTAfterDelivery: what was acknowledged is delivered first; nothing of the
// end that is to be reset is acknowledged meanwhile; then it is reset.
func TestRSTAfterDelivery(t *testing.T) {
	r := establish(t)
	r.enter(Client, 3000)
	r.advance(20 * time.Millisecond)
	r.out = nil
	r.take(Client, r.rst(Client, 3000))
	r.wantSilence()
	r.take(Server, r.seg(Server, 0, 500, 1448))
	for _, p := range r.out {
		if p.to != Server || p.ack != 0 || p.flags.Has(wire.RST) {
			t.Errorf("sent %v", p)
		}
	}
	r.out = nil
	r.take(Server, r.seg(Server, 500, 0, 3000))
	r.wantRST(Server, 3000)
	// Its challenge ACK is answered with the number it says.
	r.take(Server, r.seg(Server, 500, 0, 2000))
	r.wantRST(Server, 2000)
	r.take(Client, r.seg(Client, 3000, 10, 0)) // whatever the dead end sends ends here
	r.wantSilence()
	r.advance(3 * time.Second)
	r.wantState(Gone)
	r.done()
}

// TestRSTDeadline: after five seconds the end is reset although it has not taken
// everything.
func TestRSTDeadline(t *testing.T) {
	r := establish(t)
	r.enter(Client, 3000)
	r.take(Client, r.rst(Client, 3000))
	r.advance(4900 * time.Millisecond)
	for _, p := range r.out {
		if p.flags.Has(wire.RST) {
			t.Fatalf("sent %v after less than 5 s", p)
		}
	}
	r.advance(200 * time.Millisecond)
	r.wantRST(Server, 0)
	r.advance(3 * time.Second)
	r.wantState(Gone)
	r.out = nil
	r.done()
}

// TestRSTNotExact: an RST in the window is answered with a challenge ACK and
// changes nothing (RFC 5961, 3.2).
func TestRSTNotExact(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.take(Client, r.rst(Client, 1001))
	r.want(Client, 0, 0, 1000)
	r.take(Client, r.rst(Client, 900))
	r.pass(Client, r.rst(Client, 1<<30))
	r.wantSilence()
	r.wantState(InCustody)
	r.wantCount(ForgedRST, 2)
}

// TestRSTAfterFIN: an RST after the sender's FIN was delivered is not relayed
// while the receiver has everything, and the flow is on the wire.
func TestRSTAfterFIN(t *testing.T) {
	r := establish(t)
	r.take(Server, r.seg(Server, 2000, 100, 0)) // a hole keeps custody open
	r.take(Client, r.fin(Client, 0, 1000, 0))
	r.take(Server, r.seg(Server, 0, 0, 1000))
	r.take(Server, r.seg(Server, 0, 0, 1001))
	r.wantState(InCustody)
	r.out = nil
	r.take(Client, r.rst(Client, 1001))
	r.wantState(OnWire)
	r.done()
}

// TestRSTAfterFINWithData: with bytes held towards the end that is gone, the
// other one has to know.
func TestRSTAfterFINWithData(t *testing.T) {
	r := establish(t)
	r.take(Server, r.seg(Server, 0, 100, 0))
	r.take(Client, r.fin(Client, 0, 1000, 0))
	r.take(Server, r.seg(Server, 100, 0, 1000))
	r.take(Server, r.seg(Server, 100, 0, 1001))
	r.out = nil
	r.take(Client, r.rst(Client, 1001))
	r.wantRST(Server, 1001)
}

// TestRSTBoth: an RST of the end that is being reset ends the flow.
func TestRSTBoth(t *testing.T) {
	r := establish(t)
	r.enter(Client, 3000)
	r.take(Client, r.rst(Client, 3000))
	r.take(Server, r.rst(Server, 0))
	r.wantState(Gone)
	r.out = nil
	r.done()
}

// TestKill: at the deadline of a stop both ends are reset if bytes are held, and
// challenge ACKs are answered; with nothing held the flow just goes on.
func TestKill(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.flow.Drain(r.now, Stop)
	r.flow.Kill(r.now)
	r.turn()
	r.wantRST(Client, 0)
	r.wantRST(Server, 1000)
	r.take(Server, r.seg(Server, 0, 0, 0))
	r.wantRST(Server, 0)
	if r.count.Resets != 2 {
		t.Errorf("%d resets counted", r.count.Resets)
	}
	r.advance(3 * time.Second)
	r.wantState(Gone)
	r.wantCount(Killed, 1)
	r.done()

	r = establish(t)
	r.flow.Kill(r.now)
	r.turn()
	r.wantState(OnWire)
	r.done()

	r = establish(t)
	r.take(Client, r.seg(Client, 1000, 1000, 0)) // in reassembly
	r.out = nil
	r.flow.Drain(r.now, Stop)
	r.flow.Kill(r.now)
	r.turn()
	r.wantState(OnWire)
	r.done()
}

// TestSYNWhileEnding: a new connection passes.
func TestSYNWhileEnding(t *testing.T) {
	r := establish(t)
	r.enter(Client, 3000)
	r.take(Client, r.rst(Client, 3000))
	s := r.syn(Client)
	s.Seq = s.Seq.Add(1 << 20)
	r.pass(Client, s)
	if !r.flow.Reopening() {
		t.Error("the SYN of another connection was not noticed")
	}
}

// TestConnectionWhileEnding: when the reset is out, what the client says on a new
// connection with the same ports passes, and does not wait until the old one needs no
// answers any more.
func TestConnectionWhileEnding(t *testing.T) {
	for _, gone := range []Side{Client, Server} {
		r := establish(t)
		r.enter(gone, 100)
		r.take(gone, r.rst(gone, 100))
		syn := r.syn(Client)
		syn.Seq = syn.Seq.Add(1 << 20)
		r.pass(Client, syn)
		// Whoever still has the old one says so; that is not the new one's.
		r.take(gone.Other(), r.seg(gone.Other(), 0, 0, 100))
		r.wantRST(gone.Other(), 100)
		third := r.seg(Client, 1<<20, 0, 0)
		r.pass(Client, third)
		r.advance(3 * time.Second)
		r.wantState(Gone)
		r.done()
	}
}
