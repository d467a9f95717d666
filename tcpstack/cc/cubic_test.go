package cc

import (
	"math"
	"testing"
	"time"
)

// steady gives a cubic that just lost one segment with a window of w segments.
func steady(t *testing.T, w int, rtt time.Duration) *line {
	l := newLine(mustNew(t, "cubic", Config{Memory: Memory{Window: w * simMSS, Ssthresh: w * simMSS}}))
	l.rtt = rtt
	l.send(w * simMSS)
	l.lose(1)
	l.recovery = false
	l.c.Congested(l.now, Signal{Kind: Exit})
	l.inFlight = 0
	return l
}

// RFC 9438, eq. 1 and 2: the window over time is C(t − K)³ + W_max.
func TestCubicFollowsTheCurve(t *testing.T) {
	const c, beta = 0.4, 0.7
	for _, w := range []float64{500, 1000, 4000} {
		l := steady(t, int(w), 50*time.Millisecond)
		if got := l.c.Window(); math.Abs(float64(got)-beta*w*simMSS) > 1 {
			t.Errorf("window %d after a loss, want %.0f (RFC 9438, 4.6)", got, beta*w*simMSS)
		}
		k := math.Cbrt(w * (1 - beta) / c)
		start, worst := l.now, 0.0
		for l.now.Sub(start).Seconds() < 1.5*k {
			l.round(l.c.Window())
			at := l.now.Sub(start).Seconds() - l.rtt.Seconds()/(beta*w/2) // the first ACK is the epoch
			want := c*math.Pow(at-k, 3) + w
			worst = max(worst, math.Abs(float64(l.c.Window())/simMSS-want))
		}
		if worst > 1 {
			t.Errorf("W_max %.0f: off the curve by %.2f segments, want 1 at most", w, worst)
		}
	}
}

// RFC 9438, 4.3: with a small window and round trip cubic is Reno, with α =
// 3(1−β)/(1+β) up to the prior window and 1 from there.
func TestCubicRenoFriendly(t *testing.T) {
	l := steady(t, 20, 10*time.Millisecond)
	want := 14.0
	for range 20 {
		alpha := 3 * 0.3 / 1.7
		if want >= 20 {
			alpha = 1
		}
		before := float64(l.c.Window()) / simMSS
		l.round(l.c.Window())
		want = before + alpha
		if got := float64(l.c.Window()) / simMSS; math.Abs(got-want) > 0.25 {
			t.Fatalf("window %.2f segments, want %.2f", got, want)
		}
	}
}

// RFC 9438, 4.7: a flow that loses below its last maximum gives up some of it.
func TestCubicFastConvergence(t *testing.T) {
	for _, tc := range []struct {
		on   float64
		want float64 // W_max in segments
	}{{1, 700 * 1.7 / 2}, {0, 700}} {
		l := newLine(mustNew(t, "cubic", Config{
			Memory: Memory{Window: 1000 * simMSS, Ssthresh: 1000 * simMSS},
			Params: Params{"fast_convergence": tc.on},
		}))
		for range 2 {
			l.send(l.c.Window())
			l.lose(1)
			l.recovery = false
			l.c.Congested(l.now, Signal{Kind: Exit})
			l.inFlight = 0
		}
		if got := l.c.(*cubic).wMax / simMSS; math.Abs(got-tc.want) > 0.01 {
			t.Errorf("fast convergence %v: W_max %.2f, want %.2f", tc.on, got, tc.want)
		}
	}
}

// RFC 9438, 4.8: after a timeout the curve begins at the window itself, K = 0.
func TestCubicAfterTimeout(t *testing.T) {
	l := steady(t, 100, 50*time.Millisecond)
	l.send(simMSS)
	l.timeout()
	l.recovery = true
	for l.c.State() == "timeout recovery" && l.c.Window() < 49*simMSS {
		l.round(l.c.Window())
	}
	l.recovery = false
	l.c.Congested(l.now, Signal{Kind: Exit})
	l.round(l.c.Window())
	if c := l.c.(*cubic); c.k != 0 || c.cwnd > 52*simMSS {
		t.Errorf("K %.2f, window %.1f segments, want 0 and about 49", c.k, c.cwnd/simMSS)
	}
}

// RFC 9438, 4.2 and 5.8: time without use of the window is not time of the curve.
func TestCubicDoesNotJump(t *testing.T) {
	for _, limited := range []bool{false, true} {
		l := steady(t, 300, 50*time.Millisecond)
		for range 40 {
			l.round(l.c.Window())
		}
		before := l.c.Window()
		if limited { // a trickle for a minute
			l.appLimited = true
			for range 600 {
				l.round(2 * simMSS)
				l.now = l.now.Add(50 * time.Millisecond)
			}
			l.appLimited = false
		} else { // nothing for a minute
			l.now = l.now.Add(time.Minute)
		}
		l.round(l.c.Window())
		if grown := l.c.Window() - before; grown < 0 || grown > 2*simMSS {
			t.Errorf("limited %v: the window grew by %d bytes", limited, grown)
		}
	}
}

// RFC 7661, 4.4.3: a window that was not used for five minutes is halved.
func TestIdleWindowDecays(t *testing.T) {
	l := steady(t, 400, 50*time.Millisecond)
	before := l.c.Window()
	l.now = l.now.Add(11 * time.Minute)
	l.send(simMSS)
	if got := l.c.Window(); got != before/4 {
		t.Errorf("window %d after 11 minutes, was %d", got, before)
	}
	m := Memory{Window: before, Ssthresh: before, Age: 6 * time.Minute}
	if got := mustNew(t, "cubic", Config{Memory: m}).Window(); got != before/2 {
		t.Errorf("window %d resumed after 6 minutes, was %d", got, before)
	}
}

// HyStart++ loses a third of what plain slow start does where the queue is one
// BDP, and cubic fills the link either way.
func TestCubicSlowStartOvershoot(t *testing.T) {
	var lost [2]int64
	for i := range lost {
		p := newPath(t, 100, 100*time.Millisecond, 1, 0)
		f := p.add(mustNew(t, "cubic", Config{Params: Params{"hystart": float64(i)}}))
		p.run(3 * time.Second)
		lost[i] = f.lost
		if got := p.share(10 * time.Second)[0]; got < 0.95 {
			t.Errorf("%.3f of the link: %v", got, f)
		}
	}
	if lost[1] > lost[0]*2/5 {
		t.Errorf("HyStart++ lost %d bytes, slow start %d", lost[1], lost[0])
	}
}
