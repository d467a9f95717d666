package terminator

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack/timer"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// bulkWithDeputy gives a download through the first of two shards, and the second, which
// rests.
func bulkWithDeputy(t *testing.T) (b *box, x *transfer, boss, deputy *shard) {
	t.Helper()
	b = newBox(t, 2)
	x = newTransfer(b, web4, true)
	x.check = true
	boss, deputy = b.term.shards[0], b.term.shards[1]
	deputy.rests()
	return b, x, boss, deputy
}

// A deputy on a thread of its own writes most of what a shard has for the client;
// nothing is lost, changed or moved before something else, and all memory comes back.
func TestDeputy(t *testing.T) {
	_, x, boss, deputy := bulkWithDeputy(t)
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
	b, x, boss, deputy := bulkWithDeputy(t)
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
	deputy.rests()
	if !boss.deputized() {
		t.Error("a shard that rests again is not asked")
	}
	boss.rests()
	if deputy.deputies.boss.Load() != nil {
		t.Error("a shard that rests keeps its deputy")
	}
	if boss.deputized() {
		t.Error("a shard that has rested asks for a deputy before it has sent anything")
	}
}

// A shard that asks another just as that finds frames of its own is turned down a
// moment later.
func TestDeputyAskedTooLate(t *testing.T) {
	b := newBox(t, 2)
	boss, deputy := b.term.shards[0], b.term.shards[1]
	deputy.rests()
	deputy.works()
	if !deputy.deputies.boss.CompareAndSwap(nil, boss) { // having seen it rest before
		t.Fatal("somebody has asked already")
	}
	boss.deputies.deputy = deputy
	if deputy.works(); boss.deputized() {
		t.Error("a shard that has frames of its own is a deputy")
	}
}

// What waits is written deputyLate after it was made, however long nothing was
// made before.
func TestDeputyNeverCame(t *testing.T) {
	b := newBox(t, 1)
	s := b.term.shards[0]
	o := &s.out[splice.Client]
	for range 3 {
		b.now = b.now.Add(time.Second)
		s.now = b.now
		s.collect()
		o.put(&wire.VirtioHeader{}, make([]byte, 60), nil, s.pool.Lend())
		s.now = b.now.Add(deputyLate - 1)
		if s.collect(); !s.waits() {
			t.Fatal("what waits for a deputy is written at once")
		}
		s.now = b.now.Add(deputyLate)
		if s.collect(); s.waits() {
			t.Fatal("what waits for a deputy is late")
		}
	}
}

// A shard whose frames wait for a deputy comes back for what else it has to do.
func TestTurnsWhileFramesWait(t *testing.T) {
	b := newBox(t, 1)
	b.handshake(0, web4)
	s := b.term.shards[0]
	fl := s.attend(&web4)
	b.turn()
	s.wheel.Arm(&fl.timer, b.now.Add(1)) // due a timer.Tick from now at most
	s.out[splice.Client].put(&wire.VirtioHeader{}, make([]byte, 60), nil, s.pool.Lend())
	if next := s.guarded(b.now); next > b.now.Add(timer.Tick) || next <= b.now {
		t.Errorf("the next turn is in %v, a flow wants one in %v", next.Sub(b.now), timer.Tick)
	}
	for range turnFrames + 1 {
		b.send(splice.Server, packet{tuple: ssh4.Reverse(), flags: wire.ACK, seq: 1, net: splice.WAN})
	}
	if next := s.guarded(b.now); next != b.now {
		t.Errorf("frames wait to be read, and the next turn is in %v", next.Sub(b.now))
	}
}

// The end of a stop waits for no deputy.
func TestKillWithoutDeputy(t *testing.T) {
	b := newBox(t, 1)
	x := newTransfer(b, web4, true)
	x.run(1 << 20)
	x.deaf = true
	x.step() // something is held
	boss := b.term.shards[0]
	for o := &boss.out[splice.Server]; !boss.choked(); {
		o.put(&wire.VirtioHeader{}, packet{tuple: ssh4}.frame(), nil, boss.pool.Lend())
	}
	done := make(chan int)
	go func() { done <- boss.kill() }()
	select {
	case killed := <-done:
		if killed != 1 {
			t.Errorf("%d flows were reset, want 1", killed)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the shard hangs")
	}
	boss.finish()
	resets := 0
	for _, g := range b.take(0) {
		if g.view.Flags().Has(wire.RST) {
			resets++
		}
	}
	if resets != 2 {
		t.Errorf("%d resets, want one to each end", resets)
	}
}

// Shards that run by themselves find deputies, wake them and do without them, and no byte
// of a long download is lost, changed or moved.
func TestDeputyOfRunningShards(t *testing.T) {
	b := newBox(t, 2)
	x := newTransfer(b, web4, true)
	x.check, x.running = true, true
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.term.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	boss := b.term.shards[0]
	made := &boss.out[splice.Client].made
	next := 0
	for end := time.Now().Add(20 * time.Second); x.got < 16<<20 || made.Load() < outboxSize; {
		before := x.got
		if x.got >= next { // the stretches are short here, for there is little in flight
			next = x.got + 256<<10
			boss.ask(func(s *shard) { s.deputies.sent = deputyWorth })
		}
		if x.step(); x.got == before {
			link.Yield()
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes came, and %d frames were given to a deputy", x.got, made.Load())
		}
	}
}

// A deputy that sleeps is woken by the first frame for it, and one that is about to sleep
// does not when something waits already.
func TestDeputyIsWoken(t *testing.T) {
	b := newBox(t, 2)
	boss, deputy := b.term.shards[0], b.term.shards[1]
	boss.deputies.sent = deputyWorth
	deputy.rests()
	for _, before := range []bool{false, true} {
		post := func() {
			boss.post(splice.Client, &wire.VirtioHeader{}, packet{tuple: ssh4.Reverse()}.frame(), nil, true)
		}
		if before {
			post()
		}
		woken := make(chan error, 1)
		go func() {
			for {
				// A signal of Go's scheduler may end a sleep, too.
				if err := deputy.sleep(time.Minute); err != nil || boss.waits() {
					woken <- err
					return
				}
			}
		}()
		for !before && !deputy.deputies.asleep.Load() {
			link.Yield()
		}
		if !before {
			post()
		}
		select {
		case err := <-woken:
			if err != nil || !boss.waits() || !deputy.assist() || boss.waits() {
				t.Errorf("woken with %v, %d frames wait", err, boss.out[splice.Client].len())
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the deputy sleeps while frames wait for it")
		}
	}
}

// To wake a deputy takes longer than to write what is over soon: who sends a megabyte at a
// time has none, however often; who has sent more without a rest asks for one sooner the
// next time.
func TestDeputyIsWorthIt(t *testing.T) {
	b := newBox(t, 2)
	boss, deputy := b.term.shards[0], b.term.shards[1]
	deputy.rests()
	for _, c := range []struct {
		before  []int // stretches
		sent    int
		expects bool
	}{
		{nil, 1 << 20, false},
		{nil, deputyWorth, true},
		{[]int{1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20}, 1 << 20, false},
		{[]int{2 * deputyWorth}, deputyAfter - 1, false},
		{[]int{2 * deputyWorth}, deputyAfter, true},
		{[]int{2 * deputyWorth, 1 << 20, 1 << 20}, deputyAfter, true},
		{append([]int{2 * deputyWorth}, make([]int, 1000)...), deputyAfter, true},
		{append([]int{2 * deputyWorth}, slices.Repeat([]int{1 << 20}, 10)...), 1 << 20, false},
	} {
		d := &boss.deputies
		d.sent, d.longest = 0, 0
		for _, n := range c.before {
			d.sent = n
			boss.rests()
		}
		if d.sent = c.sent; boss.deputized() != c.expects {
			t.Errorf("after stretches %v, with %d bytes sent: deputy %v, want %v", c.before, c.sent, !c.expects, c.expects)
		}
		boss.rests()
	}
}

// A shard that ends leaves nothing unwritten.
func TestEndOfShardWithFrames(t *testing.T) {
	b := newBox(t, 1)
	s := b.term.shards[0]
	s.out[splice.Client].put(&wire.VirtioHeader{}, packet{tuple: ssh4.Reverse()}.frame(), nil, s.pool.Lend())
	s.quit.Store(true)
	if err := s.loop(); err != nil || s.waits() || len(b.take(0)) != 1 {
		t.Errorf("%v, and %d frames are left", err, s.out[splice.Client].len())
	}
}
