// Package mono is the time of the pure core: a number of nanoseconds. It has
// no Now; the clock is read once per turn, in the shard's loop.
package mono

import (
	"math"
	"time"
)

// Time is an instant on a monotonic clock, in nanoseconds since an epoch
// nobody needs to know. The zero Time means "not set".
type Time int64

// Never is later than every instant that occurs: the deadline of something
// that is not waiting.
const Never Time = math.MaxInt64

// Add gives the instant d after t. Never stays Never.
func (t Time) Add(d time.Duration) Time {
	if t == Never {
		return Never
	}
	return t + Time(d)
}

// Sub gives the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Before reports whether t is earlier than u.
func (t Time) Before(u Time) bool { return t < u }

// IsZero reports whether t is not set.
func (t Time) IsZero() bool { return t == 0 }
