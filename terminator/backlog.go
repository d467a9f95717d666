package terminator

import (
	"math/bits"
	"time"

	"accd/tcpstack/mono"
)

// Ours: how long frames may wait in a tap because the shard is busy with others; how
// often what it carries is measured; how long flows keep to their share after frames
// waited longer; and what lies between two bytes of which it is noted whose they are.
const (
	queueTime  = time.Millisecond
	shareEvery = 20 * time.Millisecond
	shareLasts = time.Second
	shareStep  = 64 << 10
)

// backlog decides whether a shard keeps up with what waits in its taps. Where it
// does not, it is the bottleneck of all its flows, and what their senders have in
// flight stands in its queue: that is as long as the windows that accd offers make it.
type backlog struct {
	emptied mono.Time // when nothing waited any more
	slept   bool      // since then until now
	behind  mono.Time // when frames had waited longer than queueTime; 0: never
	began   mono.Time // of the measurement
	bytes   int       // read since
	noted   int       // of them, when it was noted last whose they were
	whose   uint64    // a bit for each flow noted; two may have the same
	share   int       // what the last measurement gave, bytes
}

// init begins.
func (b *backlog) init(now mono.Time) { b.emptied, b.began = now, now }

// sleeps says that the shard sleeps until the next turn: the first frame wakes it, so
// what that finds has just come.
func (b *backlog) sleeps() { b.slept = true }

// read notes n bytes of the flow at a place. Flows that bring little are hardly ever
// noted, so that they do not count among those that share.
func (b *backlog) read(n int, place uint32) {
	if b.bytes += n; b.bytes-b.noted >= shareStep {
		b.noted = b.bytes
		b.whose |= 1 << (place * 0x9e3779b1 >> 26) // 2^32 by the golden ratio scatters what lies close together
	}
}

// turn notes whether anything still waits when a turn has read its part. It gives how
// much each flow may have waiting: its part of what is carried in queueTime; 0: the
// shard keeps up, and flows need no share.
func (b *backlog) turn(now mono.Time, more bool) (share int) {
	if d := now.Sub(b.began); d >= shareEvery {
		b.share = int(float64(b.bytes)*float64(queueTime)/float64(d)) / max(bits.OnesCount64(b.whose), 1)
		b.began, b.bytes, b.noted, b.whose = now, 0, 0, 0
	}
	if b.slept || !more {
		b.emptied, b.slept = now, false
	} else if now.Sub(b.emptied) > queueTime {
		b.behind = now
	}
	if b.behind.IsZero() || now.Sub(b.behind) > shareLasts {
		return 0
	}
	return max(b.share, 1)
}
