package terminator

import (
	"time"

	"accd/tcpstack/mono"
)

// vigilTime is how long a shard looks for the next frame before it sleeps. Ours:
// more than what two hosts on the same switch take to answer, since to fall asleep
// just before the answer costs more than not to have looked at all.
const vigilTime = 150 * time.Microsecond

// vigil decides whether a shard sleeps between two turns. To be woken costs about
// as much as several frames, so where frames have come in quick succession it stays
// awake for the next one; a single late one ends that, and where nothing happens
// the shard sleeps.
type vigil struct {
	frames uint64        // read when last looked
	since  mono.Time     // when the last of them came
	pause  time.Duration // before that one
}

// awake reports whether the shard, which has read frames so far and need not make
// another turn before next, makes one all the same.
func (v *vigil) awake(now, next mono.Time, frames uint64) bool {
	if frames != v.frames {
		v.pause = now.Sub(v.since)
		v.frames, v.since = frames, now
	}
	return next <= now || v.pause < vigilTime && now.Sub(v.since) < vigilTime
}
