package terminator

import (
	"time"

	"accd/tcpstack/mono"
)

// Ours: how long a shard looks for the next frame before it sleeps, which is more than
// two hosts on the same switch take to answer, since to fall asleep just before the answer
// costs more than not to have looked at all; how long after bulk, where many frames make
// up for one that is late, and endpoints on the same machine need this very processor;
// and how many bytes in one frame are bulk.
const (
	vigilTime     = 150 * time.Microsecond
	vigilBulkTime = 30 * time.Microsecond
	vigilBulk     = 32 << 10
)

// vigil decides what a shard does between two turns. To be woken costs about
// as much as several frames, so where frames have come in quick succession it stays
// awake for the next one; a single late one ends that, and where nothing happens
// the shard sleeps.
type vigil struct {
	came  bool          // a frame, in this turn
	bulk  bool          // the last frame that brought bytes brought many
	since mono.Time     // when the last frame came
	pause time.Duration // before that one
}

// frame notes a frame that brings n bytes of a connection; 0: none, as an ACK.
func (v *vigil) frame(n int) {
	v.came = true
	if n > 0 {
		v.bulk = n >= vigilBulk
	}
}

// rest is what a shard does between two turns.
type rest int

const (
	none  rest = iota
	yield      // let others run that wait for the processor, then look again
	sleep
)

// rest says what the shard does that need not make another turn before next. While it
// only looks it is in nobody's way: the program that is to send the next frame may wait
// for this very processor.
func (v *vigil) rest(now, next mono.Time) rest {
	came := v.came
	if came {
		v.came = false
		v.pause = now.Sub(v.since)
		v.since = now
	}
	patience := vigilTime
	if v.bulk {
		patience = vigilBulkTime
	}
	switch {
	case next <= now:
		return none
	case v.pause >= vigilTime || now.Sub(v.since) >= patience:
		return sleep
	case came:
		return none
	}
	return yield
}
