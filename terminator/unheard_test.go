package terminator

import (
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack/wire"
)

// TestUnheardOfAFlowThatRests: what a flow on the wire says of its own accord leaves
// at once, and the flow rests again (docs/custody.md, Wire).
func TestUnheardOfAFlowThatRests(t *testing.T) {
	b := newBox(t, 1)
	b.handshake(0, web4)
	s := b.term.shards[0]
	client, server := clientTS, serverTS
	from := func(side splice.Side, seq, ack uint32, n int) {
		p := packet{tuple: web4, flags: wire.ACK, seq: seq, ack: ack, window: 512, options: &client, payload: make([]byte, n), net: splice.LAN}
		if side == splice.Server {
			p.tuple, p.options, p.net = web4.Reverse(), &server, splice.WAN
		}
		p.options.TSVal++
		b.send(side, p)
		b.turn()
	}
	from(splice.Server, 5001, 1001, 1000) // into custody
	fl := s.attend(&web4)
	at := s.place(fl)
	fl.Drain(b.now, splice.Operator)
	s.ready(fl)
	for n := range uint32(3) { // on, beyond the client's window of 64 KiB
		from(splice.Server, 6001+30000*n, 1001, 30000)
	}
	from(splice.Client, 1001, 6001, 100)
	from(splice.Server, 96001, 1101, 0)
	from(splice.Server, 96001, 1101, 0)
	b.pass(time.Second)
	if b.take(0); at.flow != 0 {
		t.Fatalf("the flow is in %v and does not rest", fl.State())
	}
	from(splice.Client, 1001, 6001, 100) // again: it has not heard that 100 arrived
	out := b.take(0)
	if len(out) != 2 || out[0].side != splice.Client || out[0].view.Seq() != wire.SeqOf(6001) || out[0].view.Ack() != wire.SeqOf(1101) {
		t.Fatalf("%d frames came out; the first: %v, ack %v", len(out), out[0].view.Seq(), out[0].view.Ack())
	}
	if at.flow != 0 {
		t.Error("the shard goes on attending to a flow that rests")
	}
}
