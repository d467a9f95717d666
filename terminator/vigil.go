package terminator

import (
	"time"

	"accd/tcpstack/mono"
)

// vigilTime is how long a shard looks for the next frame before it sleeps. Ours:
// more than what two hosts on the same switch take to answer, since to fall asleep
// just before the answer costs more than not to have looked at all.
const vigilTime = 150 * time.Microsecond

// vigil decides what a shard does between two turns. To be woken costs about
// as much as several frames, so where frames have come in quick succession it stays
// awake for the next one; a single late one ends that, and where nothing happens
// the shard sleeps.
type vigil struct {
	frames uint64        // read when last looked
	since  mono.Time     // when the last of them came
	pause  time.Duration // before that one
}

// rest is what a shard does between two turns.
type rest int

const (
	none  rest = iota
	yield      // let others run that wait for the processor, then look again
	sleep
)

// rest says what the shard does that has read frames so far and need not make
// another turn before next. While it only looks it is in nobody's way: the program
// that is to send the next frame may wait for this very processor.
func (v *vigil) rest(now, next mono.Time, frames uint64) rest {
	came := frames != v.frames
	if came {
		v.pause = now.Sub(v.since)
		v.frames, v.since = frames, now
	}
	switch {
	case next <= now:
		return none
	case v.pause >= vigilTime || now.Sub(v.since) >= vigilTime:
		return sleep
	case came:
		return none
	}
	return yield
}
