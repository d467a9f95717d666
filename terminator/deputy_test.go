package terminator

import (
	"sync"
	"sync/atomic"
	"testing"

	"accd/splice"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// A deputy on a thread of its own writes most of what a shard has for the client;
// nothing is lost, changed or moved before something else, and all memory comes back.
func TestDeputy(t *testing.T) {
	b := newBox(t, 2)
	x := newTransfer(b, web4, true)
	x.check = true
	boss, deputy := b.term.shards[0], b.term.shards[1]
	deputy.rests(b.now)
	var done atomic.Bool
	var wrote atomic.Uint64
	var other sync.WaitGroup
	other.Go(func() {
		for !done.Load() {
			before := boss.out[splice.Client].written.Load()
			if !deputy.assist() {
				link.Yield()
			}
			wrote.Add(boss.out[splice.Client].written.Load() - before)
		}
	})
	x.run(64 << 20)
	if boss.deputies.deputy != deputy {
		t.Error("no deputy was asked")
	}
	boss.finish()
	x.settle()
	done.Store(true)
	other.Wait()
	if all := boss.out[splice.Client].made.Load(); all < 500 || wrote.Load() == 0 {
		t.Errorf("the deputy wrote about %d of %d frames that it was given", wrote.Load(), all)
	}
}

// What a deputy does not write in time its boss writes, in order, frames that pass
// included; and one that has frames of its own is a deputy no more.
func TestDeputyLate(t *testing.T) {
	b := newBox(t, 2)
	x := newTransfer(b, web4, true)
	x.check = true
	boss, deputy := b.term.shards[0], b.term.shards[1]
	deputy.rests(b.now)
	for boss.out[splice.Client].made.Load() < 10*outboxSize {
		x.step()
	}
	x.run(x.got + 1<<20)
	for range 100 {
		if x.step(); boss.waits() {
			break
		}
	}
	if !boss.waits() {
		t.Fatal("nothing waits for the deputy")
	}
	passing := packet{tuple: ssh4.Reverse(), flags: wire.ACK, seq: 1, payload: []byte("passes"), net: splice.WAN}.frame()
	b.put(0, splice.Server, wire.VirtioHeader{}, passing)
	b.now = b.now.Add(1)
	boss.guarded(b.now)
	boss.finish()
	out := b.take(0)
	if n := len(out); n < 2 || string(out[n-1].view.Payload()) != "passes" {
		t.Fatalf("%d frames came out, the last: %q", n, out[len(out)-1].view.Payload())
	}

	if deputy.works(); boss.deputized() {
		t.Error("a shard that has frames of its own is a deputy")
	}
	deputy.rests(b.now)
	if !boss.deputized() {
		t.Error("a shard that rests again is not asked")
	}
	boss.rests(b.now)
	if deputy.deputies.boss.Load() != nil {
		t.Error("a shard that rests keeps its deputy")
	}
}
