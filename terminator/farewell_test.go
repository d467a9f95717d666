package terminator

import (
	"testing"

	"accd/splice"
	"accd/tcpstack/wire"
)

var bye = [6]byte{2, 0xac, 0xcd, 0, 1, 0}

// farewells is a box that notes who is forgotten.
func farewells(t *testing.T) (b *box, forgotten *[]wire.Tuple) {
	forgotten = new([]wire.Tuple)
	return newBox(t, 1, func(c *Config) {
		c.Farewell = bye
		c.Forget = func(client wire.Tuple) { *forgotten = append(*forgotten, client) }
	}), forgotten
}

// through has a packet pass and reports whether it came out as the last of its flow.
func (b *box) through(side splice.Side, p packet) (last bool) {
	b.t.Helper()
	b.send(side, p)
	g := b.want1(0)
	if g.side != side.Other() || g.view.Flags() != p.flags {
		b.t.Fatalf("%v came out as %v towards the %v", p.flags, g.view.Flags(), g.side)
	}
	return [6]byte(g.frame[6:12]) == bye
}

// The second FIN that passes is the last frame of its flow, and so is a reset: their
// source says so, and nobody needs to forget the flow.
func TestLastFramePasses(t *testing.T) {
	b, forgotten := farewells(t)
	for _, tuple := range []wire.Tuple{web4, web6} {
		b.handshake(0, tuple)
		if b.through(splice.Client, packet{tuple: tuple, flags: wire.FIN | wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS}) {
			t.Error("the first FIN is the last frame")
		}
		if !b.through(splice.Server, packet{tuple: tuple.Reverse(), flags: wire.FIN | wire.ACK, seq: 5001, ack: 1002, window: 512, options: &serverTS}) {
			t.Error("the second FIN is not the last frame")
		}
		if b.through(splice.Client, packet{tuple: tuple, flags: wire.ACK, seq: 1002, ack: 5002, window: 512, options: &clientTS}) {
			t.Error("what comes after the end is the last frame")
		}
		b.handshakeAt(0, tuple, 77000) // the same addresses and ports again
		if !b.through(splice.Client, packet{tuple: tuple, flags: wire.RST, seq: 77001}) {
			t.Error("the reset is not the last frame")
		}
	}
	if n := b.term.flows.Load(); n != 0 || len(*forgotten) != 0 {
		t.Errorf("%d flows are left, forgotten are %v", n, *forgotten)
	}
}

// The second FIN that custody sends is a last frame, too.
func TestLastFrameOfCustody(t *testing.T) {
	b, forgotten := farewells(t)
	b.handshake(0, web4)
	answer := packet{tuple: web4.Reverse(), flags: wire.ACK | wire.PSH, seq: 5001, ack: 1001, window: 512, options: &serverTS, payload: []byte("bye")}
	fin := packet{tuple: web4, flags: wire.FIN | wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS}
	serverFIN := packet{tuple: web4.Reverse(), flags: wire.FIN | wire.ACK, seq: 5004, ack: 1002, window: 512, options: &serverTS}
	b.through(splice.Client, fin)
	b.send(splice.Server, packet{tuple: web4.Reverse(), flags: wire.ACK, seq: 5001, ack: 1002, window: 512, options: &serverTS})
	b.want1(0)
	b.send(splice.Server, answer)
	b.turn()
	b.take(0)
	if state := b.term.shards[0].attend(&web4).State(); state != splice.InCustody {
		t.Fatalf("the flow is in %v", state)
	}
	b.send(splice.Server, serverFIN)
	b.silence(0) // until the client has everything before it
	b.send(splice.Client, packet{tuple: web4, flags: wire.ACK, seq: 1002, ack: 5004, window: 512, options: &clientTS})
	if g := b.want1(0); g.side != splice.Client || !g.view.Flags().Has(wire.FIN) || [6]byte(g.frame[6:12]) != bye {
		t.Errorf("towards the %v came %v from % x", g.side, g.view.Flags(), g.frame[6:12])
	}
	if n := b.term.flows.Load(); n != 0 || len(*forgotten) != 0 {
		t.Errorf("%d flows are left, forgotten are %v", n, *forgotten)
	}
}

// Without an address for last frames, or a frame to bear it, flows are forgotten.
func TestForgottenWithoutLastFrame(t *testing.T) {
	b, forgotten := farewells(t)
	b.term.cfg.Farewell = [6]byte{}
	b.handshake(0, web4)
	b.through(splice.Client, packet{tuple: web4, flags: wire.RST, seq: 1001})
	if len(*forgotten) != 1 || (*forgotten)[0] != web4 {
		t.Errorf("forgotten are %v, want %v", *forgotten, web4)
	}
}

// Where the last frame of a flow is an ACK, as behind crossed FINs or the answer of a
// half-closed connection, nobody would look whether it is the last: the flow is forgotten.
func TestLastFrameIsAnACK(t *testing.T) {
	b, forgotten := farewells(t)
	b.handshake(0, web4)
	for _, p := range []struct {
		side splice.Side
		packet
	}{
		{splice.Client, packet{tuple: web4, flags: wire.FIN | wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS}},
		{splice.Server, packet{tuple: web4.Reverse(), flags: wire.FIN | wire.ACK, seq: 5001, ack: 1001, window: 512, options: &serverTS}},
		{splice.Client, packet{tuple: web4, flags: wire.ACK, seq: 1002, ack: 5002, window: 512, options: &clientTS}},
	} {
		if b.through(p.side, p.packet) {
			t.Errorf("%v of the %v ends steering by its source", p.flags, p.side)
		}
	}
	if n := b.term.flows.Load(); n != 0 || len(*forgotten) != 1 || (*forgotten)[0] != web4 {
		t.Errorf("%d flows are left, forgotten are %v, want %v", n, *forgotten, web4)
	}
}
