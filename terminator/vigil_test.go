package terminator

import (
	"testing"
	"time"

	"accd/tcpstack/mono"
)

// A shard stays awake between frames in quick succession, falls asleep when one is
// late, and does not wake up for good before two are quick again. Between two looks in
// vain others may run.
func TestVigil(t *testing.T) {
	var v vigil
	start := mono.Time(time.Hour)
	for i, c := range []struct {
		at     time.Duration
		frames uint64
		more   bool // the turn has more to do
		want   rest
	}{
		{0, 0, false, sleep},
		{0, 0, true, none},
		{time.Millisecond, 1, false, sleep}, // the first frame in an hour
		{time.Millisecond + vigilTime/2, 2, false, none},
		{time.Millisecond + vigilTime, 2, false, yield},
		{time.Millisecond + vigilTime + 1, 2, true, none},
		{time.Millisecond + 3*vigilTime/2, 2, false, sleep}, // nothing came
		{time.Millisecond + 2*vigilTime, 3, false, sleep},   // late
		{time.Millisecond + 2*vigilTime + 1, 3, false, sleep},
		{time.Millisecond + 2*vigilTime + 2, 4, false, none},
		{time.Millisecond + 2*vigilTime + 3, 4, false, yield},
	} {
		now := start.Add(c.at)
		next := now.Add(turnPeriod)
		if c.more {
			next = now
		}
		if got := v.rest(now, next, c.frames); got != c.want {
			t.Errorf("step %d: rest %d, want %d", i, got, c.want)
		}
	}
}
