package terminator

import (
	"testing"
	"time"

	"accd/tcpstack/mono"
)

// A shard stays awake between frames in quick succession, falls asleep when one is
// late, and does not wake up for good before two are quick again.
func TestVigil(t *testing.T) {
	var v vigil
	start := mono.Time(time.Hour)
	for i, c := range []struct {
		at     time.Duration
		frames uint64
		more   bool // the turn has more to do
		want   bool
	}{
		{0, 0, false, false},
		{0, 0, true, true},
		{time.Millisecond, 1, false, false}, // the first frame in an hour
		{time.Millisecond + vigilTime/2, 2, false, true},
		{time.Millisecond + vigilTime, 2, false, true},
		{time.Millisecond + 3*vigilTime/2, 2, false, false}, // nothing came
		{time.Millisecond + 2*vigilTime, 3, false, false},   // late
		{time.Millisecond + 2*vigilTime + 1, 3, false, false},
		{time.Millisecond + 2*vigilTime + 2, 4, false, true},
	} {
		now := start.Add(c.at)
		next := now.Add(turnPeriod)
		if c.more {
			next = now
		}
		if got := v.awake(now, next, c.frames); got != c.want {
			t.Errorf("step %d: awake %t, want %t", i, got, c.want)
		}
	}
}
