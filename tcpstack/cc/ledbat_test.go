package cc

import (
	"testing"
	"time"
)

// queueing gives a ledbat on a path of 50 ms whose queue overflowed with the round
// trips given.
func queueing(t *testing.T, rtts ...time.Duration) *line {
	l := newLine(mustNew(t, "ledbat", Config{Memory: Memory{Window: 400 * simMSS, Ssthresh: 400 * simMSS, MinRTT: 50 * time.Millisecond}}))
	for _, rtt := range rtts {
		l.send(2 * simMSS)
		l.ack(2*simMSS, rtt, 0)
	}
	l.send(10 * simMSS)
	l.lose(1)
	l.recovery = false
	l.inFlight = 0
	return l
}

// After a decrease slow start does not go back to the window before: for as long as
// the queue is longer than the target, as others keep it, the window falls to the
// least.
func TestLEDBATStaysAway(t *testing.T) {
	l := queueing(t, 90*time.Millisecond)
	l.rtt = 90 * time.Millisecond
	last := l.c.Window()
	for range 60 {
		l.round(last)
		if w := l.c.Window(); w > last {
			t.Fatalf("the window grew from %d to %d with a queue of 40 ms and a target of 10 ms", last, w)
		}
		last = l.c.Window()
	}
	if last != 2*simMSS {
		t.Errorf("window %d after 60 round trips, want two segments", last)
	}
}

// Flows that lose at one queue find the same target, whatever their latest samples.
func TestLEDBATTargetIsOfTheQueue(t *testing.T) {
	const ms = time.Millisecond
	a := queueing(t, 70*ms, 82*ms, 90*ms, 85*ms)
	b := queueing(t, 88*ms, 89*ms, 90*ms, 88*ms)
	for _, l := range []*line{a, b} {
		if got := l.c.(*ledbat).lowered; got != 10*ms {
			t.Errorf("target %v after a loss with a queue of 40 ms, want a quarter of it", got)
		}
	}
}
