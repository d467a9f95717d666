package splice

import "testing"

// TestUnheard: both ends have sent beyond the other's own window, as accd had let them
// before it went into drain. What either says without data then begins beyond the
// window of the other, which discards it (RFC 9293, 3.10.7.4, first), and what it
// repeats lies before that window. accd tells each what the other said where it listens:
// in drain, on the wire, and once per repetition. It acknowledges nothing new (I6).
func TestUnheard(t *testing.T) {
	r := newRig(t)
	r.first, r.window = [2]uint16{4096, 4096}, [2]uint16{32, 256} // all 4096 bytes
	r.handshake()
	r.enter(Client, 1000)
	r.flow.Drain(r.now, Operator)
	r.turn()
	r.pass(Client, r.seg(Client, 1000, 8000, 0))
	r.pass(Server, r.seg(Server, 0, 2000, 0))
	r.pass(Client, r.seg(Client, 0, 1000, 0)) // what the server has sent is within the client's window
	r.pass(Client, r.seg(Client, 9000, 0, 2000))
	r.pass(Server, r.seg(Server, 2000, 7000, 0))
	r.wantState(Draining)
	r.wantSilence()
	s := r.seg(Server, 0, 1000, 0)
	r.pass(Server, s) // a repetition; nothing else of it is read
	if p := r.want(Server, 0, 0, 2000); p.edge < 9000 || p.ts != r.stamp[Client] || p.ecr != r.stamp[Server]-1 {
		t.Errorf("accd answers %v ts %d/%d", p, p.ts, p.ecr)
	}
	r.out = nil
	r.pass(Server, r.seg(Server, 9000, 0, 3000))
	r.wantState(OnWire)
	r.pass(Client, r.seg(Client, 0, 1400, 2000))
	if p := r.want(Client, 2000, 0, 3000); p.edge < 9000 || p.ts != r.stamp[Server] || p.ecr != r.stamp[Client]-1 {
		t.Errorf("accd answers %v ts %d/%d", p, p.ts, p.ecr)
	}
	r.pass(Server, r.seg(Server, 1000, 1000, 3000))
	r.want(Server, 3000, 0, 2000)
	// An ACK without data, and what the other has not got, pass without an answer.
	r.pass(Client, r.seg(Client, 9000, 0, 2000))
	r.pass(Client, r.seg(Client, 3000, 1000, 2000))
	r.done()
	if !r.flow.Rests() {
		t.Error("the flow does not rest")
	}
}
