package simnet

import (
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack/wire"
)

// TestWithheld tells accd that keeps a FIN or its acknowledgment from a network that
// loses them.
func TestWithheld(t *testing.T) {
	fin := &Packet{From: splice.Server, Seq: wire.SeqOf(100), Flags: wire.FIN | wire.ACK}
	ack := &Packet{From: splice.Client, Ack: wire.SeqOf(101), Flags: wire.ACK}
	early := &Packet{From: splice.Client, Ack: wire.SeqOf(100), Flags: wire.ACK}
	type step struct {
		at  time.Duration
		do  func(*Observer, *Packet)
		pkt *Packet
	}
	arrives, leaves := (*Observer).arrives, (*Observer).leaves
	for _, c := range []struct {
		name  string
		steps []step
		want  bool
	}{
		{"nothing comes", nil, false},
		{"FINs are passed on, nothing comes back", []step{{0, arrives, fin}, {0, leaves, fin}, {time.Second, arrives, fin}, {time.Second, leaves, fin}}, false},
		{"ACKs are passed on and lost", []step{{0, arrives, fin}, {0, leaves, fin}, {time.Second, arrives, ack}, {time.Second, leaves, ack}}, false},
		{"a FIN is answered", []step{{0, arrives, fin}, {time.Second, leaves, ack}}, false},
		{"a FIN is kept", []step{{0, arrives, fin}, {0, leaves, fin}, {time.Second, arrives, fin}, {time.Second, leaves, early}}, true},
		{"a FIN is kept for a while", []step{{0, arrives, fin}, {50 * time.Second, leaves, fin}, {65 * time.Second, leaves, ack}}, false},
		{"an ACK is kept", []step{{0, arrives, fin}, {0, leaves, fin}, {time.Second, arrives, ack}, {time.Second, leaves, early}}, true},
		{"an ACK is kept, with the FIN passed on", []step{{0, arrives, fin}, {0, leaves, fin}, {0, arrives, ack}, {time.Second, arrives, fin}, {time.Second, leaves, fin}, {62 * time.Second, leaves, ack}}, true},
	} {
		s := New(1)
		o := newObserver(s, [2]uint64{})
		begin := s.now
		for _, step := range c.steps {
			s.now = begin.Add(step.at)
			step.do(o, step.pkt)
		}
		if got := o.withheld(splice.Server, begin, begin.Add(70*time.Second)); got != c.want {
			t.Errorf("%s: withheld %v", c.name, got)
		}
	}
}
