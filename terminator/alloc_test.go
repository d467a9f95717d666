//go:build !race

// The race detector allocates where the program does not.

package terminator

import (
	"testing"

	"accd/splice"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// Frames that pass cost no allocation.
func TestPassingAllocatesNothing(t *testing.T) {
	b := newBox(t, 1, withShortcut)
	b.handshake(0, web4)
	foreign := packet{tuple: ssh4, flags: wire.ACK, seq: 1, payload: make([]byte, 1000)}.frame()
	p := packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS}
	followed, direct := p.frame(), p.direct()
	var f link.Frame
	step := func() {
		b.put(0, splice.Client, wire.VirtioHeader{}, foreign)
		b.put(0, splice.Client, wire.VirtioHeader{}, followed)
		b.put(0, splice.Client, wire.VirtioHeader{}, direct)
		b.term.shards[0].turn(b.now)
		for n := range 3 {
			if ok, err := b.ends[0][splice.Server].Recv(&b.pool, &f); !ok || err != nil {
				t.Fatal(n, ok, err)
			}
		}
	}
	for range 100 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCustodyAllocatesNothingPerPacket(t *testing.T) {
	b := newBox(t, 1)
	x := newTransfer(b, web4, true)
	x.run(64 << 20) // until windows and buffers have grown
	before := x.got
	n := testing.AllocsPerRun(200, func() {
		for range 10 {
			x.step()
		}
	})
	if n != 0 {
		t.Errorf("%v allocations in 10 steps", n)
	}
	if x.got-before < 1<<20 {
		t.Errorf("only %d bytes moved meanwhile", x.got-before)
	}
}
