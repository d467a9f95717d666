package terminator

import (
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// A shard that has found its taps empty lately keeps up, however much it carries. Where
// it has not for too long, each flow that brings much has its part of what is carried in
// queueTime, for as long as that goes on and a little longer. Those that bring little
// take nothing from the others.
func TestBacklog(t *testing.T) {
	var b backlog
	start := mono.Time(time.Hour)
	b.init(start)
	const frame, frames = 60_000, 20 // a millisecond
	step := 0
	turn := func(more bool) int {
		for i := range frames {
			b.read(frame, uint32((step*frames+i)*7/3)%4)
		}
		b.read(60, uint32(5+step))
		now := start.Add(time.Duration(step) * time.Millisecond)
		step++
		return b.turn(now, more)
	}
	for range 100 {
		if share := turn(step%2 != 0); share != 0 {
			t.Fatalf("in step %d a share of %d", step, share)
		}
	}
	for range 50 {
		turn(true)
	}
	want := frame * frames * int(queueTime/time.Millisecond) / 4
	if share := turn(true); share < want*9/10 || share > want*11/10 {
		t.Errorf("a share of %d, want %d", share, want)
	}
	for range shareLasts / time.Millisecond {
		if turn(false) == 0 {
			t.Fatalf("no share in step %d, right after the backlog has gone", step)
		}
	}
	turn(false)
	if share := turn(false); share != 0 {
		t.Errorf("a share of %d long after the backlog has gone", share)
	}
}

// What waits in the taps of a shard reaches the flows as their share.
func TestShareReachesFlows(t *testing.T) {
	b := newBox(t, 1)
	b.handshake(0, web4)
	s := b.term.shards[0]
	for range 30 {
		for range 2 * turnFrames {
			b.send(splice.Client, packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS})
		}
		s.turn(b.now) // leaves half of them
		if b.now = b.now.Add(time.Millisecond); s.env.Share != 0 {
			return
		}
	}
	t.Error("a shard that does not keep up gives no share")
}

// What a turn finds after a sleep has just come, though it cannot take all of it, and that
// the shard had nothing to do for long before that is no sign that it does not keep up.
func TestBacklogAfterSleep(t *testing.T) {
	var b backlog
	now := mono.Time(time.Hour)
	b.init(now)
	for range 10 {
		b.sleeps()
		now = now.Add(turnPeriod)
		for _, more := range []bool{true, true, false} {
			if share := b.turn(now, more); share != 0 {
				t.Fatalf("a share of %d because of one burst", share)
			}
			now = now.Add(queueTime / 2)
		}
	}
	now = now.Add(2 * queueTime) // a long turn
	if b.turn(now, true) == 0 {
		t.Error("what came while a turn took long has not waited")
	}
}

// The shard says so itself.
func TestBacklogHearsOfSleep(t *testing.T) {
	s := newBox(t, 1).term.shards[0]
	s.wait.Wake()
	if err := s.sleep(time.Minute); err != nil || !s.backlog.slept {
		t.Errorf("%v, slept %t", err, s.backlog.slept)
	}
}
