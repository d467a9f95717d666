package splice

import (
	"testing"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// gapped gives a flow without timestamps that holds 1000 bytes of one end after a gap.
func gapped(t *testing.T, from Side) *rig {
	t.Helper()
	r := newRig(t)
	r.opts &^= wire.HasTS
	if !r.handshake() {
		t.Fatal("no record")
	}
	r.enter(from, 1000)
	r.flow.Gap(r.now)
	r.turn()
	return r
}

// TestGapForgedPair: forged data and a forged ACK for it fit each other, but not what
// the server says when it is asked: what is held stays.
func TestGapForgedPair(t *testing.T) {
	r := gapped(t, Client)
	r.trusted = false
	for i := range 20 {
		r.pass(Client, r.seg(Client, 1000+300*i, 300, 0))
		r.pass(Server, r.seg(Server, 0, 0, 1300+300*i))
		r.pass(Client, r.seg(Client, 1000, 0, 0))
		r.advance(40 * time.Millisecond)
		r.pass(Server, r.seg(Server, 0, 0, 0)) // the server itself
	}
	r.wantState(Draining)
	if held := r.flow.Held(); held[Server] != 1000 {
		t.Fatalf("%d bytes are held", held[Server])
	}
	for r.out = nil; len(r.out) == 0; {
		r.advance(time.Second)
	}
	if p := r.out[0]; p.to != Server || p.seq != 0 || len(p.data) == 0 {
		t.Errorf("accd sent %v", p)
	}
	r.out = nil
	r.pass(Server, r.seg(Server, 0, 0, 1000))
	r.wantState(OnWire)
}

// TestGapInsists: after a gap an endpoint that answers what is held five times
// with a number beyond it has it, though it is far beyond every edge.
func TestGapInsists(t *testing.T) {
	r := establish(t)
	r.enter(Client, 1000)
	r.flow.Gap(r.now)
	r.turn()
	r.trusted = false
	answer := func(ack int) {
		t.Helper()
		for r.advance(100 * time.Millisecond); len(r.out) == 0; {
			r.advance(100 * time.Millisecond)
		}
		r.advance(50 * time.Millisecond) // sooner no answer could come
		r.out = nil
		r.pass(Server, r.seg(Server, 0, 0, ack))
		r.pass(Server, r.seg(Server, 0, 0, ack)) // spam says nothing more
	}
	for range tcpstack.AnswersWanted - 1 {
		answer(1_000_000)
	}
	answer(0)
	for range tcpstack.AnswersWanted - 1 {
		r.wantState(Draining)
		answer(1_000_000)
	}
	r.wantState(Draining)
	answer(1_000_000)
	r.wantState(OnWire)
}

// TestGapForgedACK: what accd sends after a gap does not acknowledge forged bytes, or
// their sender would take nothing of it; what it acknowledges it has to have sent.
func TestGapForgedACK(t *testing.T) {
	r := gapped(t, Server)
	r.trusted = false
	next := func() int {
		t.Helper()
		for r.out = nil; len(r.out) == 0; {
			r.advance(time.Second)
		}
		if p := r.out[0]; p.to != Client || p.seq != 0 || len(p.data) == 0 {
			t.Fatalf("accd sent %v", p)
		}
		return r.out[0].ack
	}
	r.pass(Client, r.seg(Client, 0, 300, 0))
	r.pass(Server, r.seg(Server, 1000, 0, 300))
	if ack := next(); ack != 0 {
		t.Errorf("ack %d of forged bytes", ack)
	}
	r.pass(Client, r.seg(Client, 200<<20, 0, 0)) // blind, but it may be so
	r.pass(Server, r.seg(Server, 1000, 0, 300))
	if ack := next(); ack != 0 {
		t.Errorf("ack %d, and the client is far beyond", ack)
	}
	r.pass(Client, r.seg(Client, 500, 300, 0))
	r.pass(Server, r.seg(Server, 1000, 0, 500))
	if ack := next(); ack != 500 {
		t.Errorf("ack %d, want 500", ack)
	}
	r.pass(Client, r.seg(Client, 800, 0, 0))
	r.pass(Client, r.seg(Client, 799, 0, 0)) // a keep-alive probe
	r.pass(Server, r.seg(Server, 1000, 0, 800))
	if ack := next(); ack != 800 {
		t.Errorf("ack %d, want 800", ack)
	}
	r.out = nil
}
