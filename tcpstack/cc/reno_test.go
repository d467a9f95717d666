package cc

import "testing"

// RFC 5681, eq. 4: half of what is in flight, which may be less than the window.
func TestRenoHalvesTheFlight(t *testing.T) {
	l := newLine(mustNew(t, "reno", Config{}))
	for range 4 {
		l.round(l.c.Window())
	}
	l.send(40 * simMSS)
	l.lose(1)
	if got := l.c.Window(); got != 20*simMSS {
		t.Errorf("window %d segments, want 20", got/simMSS)
	}
}

// RFC 5681, 3.1: in congestion avoidance one segment more per round trip, and
// none while the window is not used.
func TestRenoAddsOneSegment(t *testing.T) {
	l := newLine(mustNew(t, "reno", Config{Memory: Memory{Window: 50 * simMSS, Ssthresh: 50 * simMSS}}))
	for want := 50; want < 60; want++ {
		if got := l.c.Window() / simMSS; got != want {
			t.Fatalf("window %d segments, want %d", got, want)
		}
		l.round(l.c.Window())
	}
	before := l.c.Window()
	l.appLimited = true
	for range 20 {
		l.round(10 * simMSS)
	}
	if got := l.c.Window(); got != before {
		t.Errorf("window %d, want %d: it was not used", got, before)
	}
}
