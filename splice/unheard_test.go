package splice

import "testing"

// sendBeyond brings a flow into drain in which both ends have sent, or are about to
// send, beyond the other's window of 4096 bytes.
func sendBeyond(t *testing.T) *rig {
	r := newRig(t)
	r.first, r.window = [2]uint16{4096, 4096}, [2]uint16{32, 256} // all 4096 bytes
	r.handshake()
	r.enter(Client, 1000)
	r.flow.Drain(r.now, Operator)
	r.turn()
	r.pass(Client, r.seg(Client, 1000, 8000, 0))
	r.pass(Server, r.seg(Server, 0, 2000, 0))
	return r
}

// TestUnheard: both ends have sent beyond the other's own window, as accd had let them
// before it went into drain. What either says without data then begins beyond the
// window of the other, which discards it (RFC 9293, 3.10.7.4, first), and what it
// repeats lies before that window. accd tells each what the other said where it listens:
// in drain, on the wire, and once per repetition. It acknowledges nothing new (I6), and
// nothing that was said once only.
func TestUnheard(t *testing.T) {
	r := sendBeyond(t)
	r.pass(Client, r.seg(Client, 0, 1000, 0)) // what the server has sent is within the client's window
	r.pass(Client, r.seg(Client, 9000, 0, 2000))
	r.pass(Server, r.seg(Server, 2000, 7000, 0))
	r.wantState(Draining)
	r.wantSilence()
	r.pass(Client, r.seg(Client, 9000, 0, 2000))
	s := r.seg(Server, 0, 1000, 0)
	r.pass(Server, s) // a repetition; nothing else of it is read
	if p := r.want(Server, 0, 0, 2000); p.edge < 9000 || p.ts != r.stamp[Client] || p.ecr != r.stamp[Server]-1 {
		t.Errorf("accd answers %v ts %d/%d", p, p.ts, p.ecr)
	}
	r.out = nil
	r.pass(Server, r.seg(Server, 9000, 0, 3000))
	r.wantState(OnWire)
	r.pass(Server, r.seg(Server, 9000, 0, 3500)) // forged
	r.pass(Server, r.seg(Server, 9000, 0, 3000))
	read := r.stamp[Client]
	r.pass(Client, r.seg(Client, 0, 1400, 2000))
	r.wantSilence()
	r.pass(Server, r.seg(Server, 9000, 0, 3600))
	r.pass(Server, r.seg(Server, 9000, 0, 3600))
	r.pass(Client, r.seg(Client, 0, 1400, 2000))
	if p := r.want(Client, 2000, 0, 3600); p.edge < 9000 || p.ts != r.stamp[Server] || p.ecr != read {
		t.Errorf("accd answers %v ts %d/%d", p, p.ts, p.ecr)
	}
	r.pass(Server, r.seg(Server, 1000, 1000, 3600))
	r.want(Server, 3600, 0, 2000)
	// An ACK without data, and what the other has not got, pass without an answer.
	r.pass(Client, r.seg(Client, 9000, 0, 2000))
	r.pass(Client, r.seg(Client, 3600, 1000, 2000))
	r.done()
	if !r.flow.Rests() {
		t.Error("the flow does not rest")
	}
}

// TestUnheardAfterGap: the same while the numbers are not known, where nothing fresh
// ever shows them: what counts is what both have said since.
func TestUnheardAfterGap(t *testing.T) {
	r := sendBeyond(t)
	r.pass(Server, r.seg(Server, 2000, 7000, 1000))
	r.wantState(OnWire)
	r.flow.Gap(r.now)
	heard := r.stamp // neither takes anything that came later
	say := func(from Side, off, n, ack int) {
		s := r.seg(from, off, n, ack)
		s.Options.TSEcr = heard[from.Other()]
		r.pass(from, s)
	}
	say(Client, 0, 1400, 2000)
	say(Client, 9000, 0, 2000)
	say(Server, 9000, 0, 3000)
	r.wantSilence() // what both have said does not fit yet
	say(Server, 1000, 1000, 3000)
	r.wantSilence()
	say(Client, 0, 1400, 2000)
	if p := r.want(Client, 2000, 0, 3000); p.ts != heard[Server] || p.edge < 9000 {
		t.Errorf("accd answers %v ts %d, want %d", p, p.ts, heard[Server])
	}
	say(Client, 9000, 0, 2000)
	say(Server, 1000, 1000, 3000)
	r.want(Server, 3000, 0, 2000)
	say(Client, 3000, 1000, 2000) // the server does not have it
	if !r.flow.Record().Unsynced {
		t.Error("the flow is synced: this shows little")
	}
	r.done()
}

// TestUnheardAfterCustody: what was said twice before a custody says nothing of what
// custody was told, and has not passed on yet when it ends (I6).
func TestUnheardAfterCustody(t *testing.T) {
	r := newRig(t)
	r.first, r.window = [2]uint16{4096, 4096}, [2]uint16{32, 256} // all 4096 bytes
	r.handshake()
	for range 2 {
		r.pass(Client, r.seg(Client, 0, 0, 0))
	}
	r.enter(Client, 1000)
	r.take(Client, r.seg(Client, 1000, 8000, 0)) // beyond the server's own window
	r.take(Server, r.fin(Server, 0, 0, 1000))
	r.out = nil
	ack := r.seg(Client, 9000, 0, 1) // of the FIN
	r.witness.Arrived(Client, ack)
	r.flow.Receive(r.now, Client, ack, Meta{})
	r.flow.Drain(r.now, Operator)
	r.turn()
	r.out = nil
	r.pass(Server, r.fin(Server, 0, 0, 1000))
	r.wantSilence()
}
