package splice

import (
	"testing"

	"accd/tcpstack"
	"accd/tcpstack/wire"
)

// fastOpen plays a handshake whose SYN carries n bytes, of which the server takes
// took, up to the client's ACK, which it gives.
func (r *rig) fastOpen(n, took int) *tcpstack.Segment {
	syn := r.syn(Client)
	syn.Options.Set |= wire.HasFastOpen
	syn.Payload = r.pool.Copy(pattern(Client, 0, n))
	r.hear(Client, syn)
	syn.Drop()
	answer := r.syn(Server)
	answer.Ack = answer.Ack.Add(took)
	r.hear(Server, answer)
	return r.seg(Client, took, 0, 0)
}

// TestFastOpen: the data of a SYN is relayed with the handshake, counts as
// acknowledged as far as the SYN-ACK says so, and custody starts behind it.
func TestFastOpen(t *testing.T) {
	for _, took := range []int{500, 300, 0} {
		r := newRig(t)
		s := r.fastOpen(500, took)
		if !r.hear(Client, s) {
			t.Fatalf("%d bytes taken: not established", took)
		}
		r.pass(Client, s)
		d := &r.flow.Record().Dir[Client]
		if first := r.isn[Client].Add(1); d.Next.Sub(first) != took || d.Acked != d.Next {
			t.Errorf("next %d, acked %d, want %d", d.Next.Sub(first), d.Acked.Sub(first), took)
		}
		if got := d.Own.Sub(d.Next); got != int(r.first[Server]) {
			t.Errorf("the window of the SYN-ACK reaches %d bytes", got)
		}
		r.take(Client, r.seg(Client, took, 100, 0))
		r.want(Client, 0, 0, took+100)
		r.want(Server, took, 100, 0)
		r.take(Server, r.seg(Server, 0, 0, took+100))
		r.wantState(OnWire)
		r.done()
	}
}

// TestFastOpenServerData: what a server answers before the client's ACK has passed
// is on its way when the flow begins, and does not enter; when it is acknowledged
// the flow enters.
func TestFastOpenServerData(t *testing.T) {
	for _, late := range []bool{false, true} {
		r := newRig(t)
		s := r.fastOpen(500, 500)
		for i := range 3 {
			data := r.seg(Server, 1000*i, 1000, 500)
			if r.hear(Server, data) {
				t.Fatal("established by the server")
			}
			data.Drop()
		}
		if late { // the first ACK is lost, and this one says more
			s = r.seg(Client, 500, 0, 2000)
		}
		if !r.hear(Client, s) {
			t.Fatal("not established")
		}
		r.pass(Client, s)
		r.pass(Server, r.seg(Server, 3000, 1000, 500))
		r.wantCount(Busy, 1)
		r.pass(Client, r.seg(Client, 500, 0, 4000))
		r.take(Server, r.seg(Server, 4000, 1000, 500))
		r.want(Client, 4000, 1000, 500)
		r.want(Server, 500, 0, 5000)
		r.take(Client, r.seg(Client, 500, 0, 5000))
		r.wantState(OnWire)
		r.done()
	}
}

// TestFastOpenExactNumbers: the client's ACK begins where the SYN-ACK says, and
// acknowledges no more than the server was seen to send.
func TestFastOpenExactNumbers(t *testing.T) {
	for name, s := range map[string]struct{ off, ack int }{
		"before the data that was taken": {0, 0},
		"within it":                      {499, 0},
		"behind it":                      {501, 0},
		"an ACK of what was not sent":    {500, 1001},
		"an ACK before the SYN-ACK":      {500, -1},
	} {
		r := newRig(t)
		r.fastOpen(500, 500)
		data := r.seg(Server, 0, 1000, 500)
		r.hear(Server, data)
		data.Drop()
		if r.hear(Client, r.seg(Client, s.off, 0, s.ack)) {
			t.Errorf("%s: established", name)
		}
	}
}

// TestFastOpenForgedServerData: only a handshake that carried data lets a server
// speak early, within the client's window, and answering what it took.
func TestFastOpenForgedServerData(t *testing.T) {
	for name, tt := range map[string]struct{ n, off, ack int }{
		"no fast open":       {0, 0, 0},
		"beyond the window":  {500, 65535, 500},
		"a wrong ACK number": {500, 0, 501},
	} {
		r := newRig(t)
		r.fastOpen(tt.n, tt.n)
		data := r.seg(Server, tt.off, 1000, tt.ack)
		r.hear(Server, data)
		data.Drop()
		if !r.hear(Client, r.seg(Client, tt.n, 0, 0)) {
			t.Fatalf("%s: not established", name)
		}
		if d := &r.flow.Record().Dir[Server]; !d.quiet() {
			t.Errorf("%s: %d bytes are on their way", name, d.Next.Sub(d.Acked))
		}
	}
}
