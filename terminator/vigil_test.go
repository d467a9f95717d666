package terminator

import (
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// A shard stays awake between frames in quick succession, falls asleep when one is
// late, and does not wake up for good before two are quick again. Between two looks in
// vain others may run.
func TestVigil(t *testing.T) {
	const ack, request, bulk = 0, 100, vigilBulk
	var v vigil
	start := mono.Time(time.Hour)
	for i, c := range []struct {
		at     time.Duration
		frames []int // and what they bring
		more   bool  // the turn has more to do
		want   rest
	}{
		{0, nil, false, sleep},
		{0, nil, true, none},
		{time.Millisecond, []int{request}, false, sleep}, // the first frame in an hour
		{time.Millisecond + vigilTime/2, []int{request}, false, none},
		{time.Millisecond + vigilTime, nil, false, yield},
		{time.Millisecond + vigilTime + 1, nil, true, none},
		{time.Millisecond + 3*vigilTime/2, nil, false, sleep},          // nothing came
		{time.Millisecond + 2*vigilTime, []int{request}, false, sleep}, // late
		{time.Millisecond + 2*vigilTime + 1, nil, false, sleep},
		{time.Millisecond + 2*vigilTime + 2, []int{request, request}, false, none},
		{time.Millisecond + 2*vigilTime + 3, nil, false, yield},

		// After bulk it does not stay awake for long; ACKs are no sign of its end.
		{time.Second, []int{bulk}, false, sleep},
		{time.Second + vigilBulkTime, []int{bulk}, false, none},
		{time.Second + 2*vigilBulkTime - 1, nil, false, yield},
		{time.Second + 2*vigilBulkTime, []int{ack}, false, none},
		{time.Second + 3*vigilBulkTime, nil, false, sleep},
		{time.Second + 4*vigilBulkTime, []int{bulk, request}, false, none},
		{time.Second + 5*vigilBulkTime, nil, false, yield},
	} {
		for _, n := range c.frames {
			v.frame(n)
		}
		now := start.Add(c.at)
		next := now.Add(turnPeriod)
		if c.more {
			next = now
		}
		if got := v.rest(now, next); got != c.want {
			t.Errorf("step %d: rest %d, want %d", i, got, c.want)
		}
	}
}

// A shard stays awake for what it reads itself and is meant for it: the host's own chatter
// and what other shards hand over are no sign that more comes.
func TestVigilHearsOfFrames(t *testing.T) {
	b := newBox(t, 2)
	b.handshake(1, web4)
	frame := func(payload int) []byte {
		return packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, payload: make([]byte, payload)}.frame()
	}
	chatter := frame(100)
	chatter[0] = 0xff
	for _, c := range []struct {
		what       string
		shard      int
		frame      []byte
		came, bulk bool // as the shard that reads it sees it
	}{
		{"bulk", 1, frame(vigilBulk), true, true},
		{"an ACK", 1, frame(0), true, true},
		{"chatter", 1, chatter, false, true},
		{"a request", 1, frame(100), true, false},
		{"what is another shard's", 0, frame(0), true, false},
	} {
		for _, s := range b.term.shards {
			s.vigil.came = false
		}
		b.put(c.shard, splice.Client, wire.VirtioHeader{}, c.frame)
		b.turn()
		reads, other := b.term.shards[c.shard].vigil, b.term.shards[1-c.shard].vigil
		if reads.came != c.came || reads.bulk != c.bulk || other.came {
			t.Errorf("%s: came %t, bulk %t, to another shard %t; want %t, %t, false", c.what, reads.came, reads.bulk, other.came, c.came, c.bulk)
		}
	}
}
