package cc

import (
	"testing"
	"time"
)

// resuming is a line whose path is remembered to have carried so many segments.
func resuming(t *testing.T, name string, segments int) *line {
	t.Helper()
	construct, err := Constructor(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := Path{Capacity: segments * simMSS, RTT: 100 * time.Millisecond}
	return newLine(Careful(construct, Config{MSS: simMSS}, p))
}

func (l *line) wantState(t *testing.T, want string) {
	t.Helper()
	if got := l.c.State(); got != want {
		t.Fatalf("state %q, want %q", got, want)
	}
}

// RFC 9959, 3: reconnaissance, unvalidated, validating, normal. Every algorithm
// ends with the window that was proved.
func TestCarefulResume(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		l := resuming(t, name, 2000)
		first := l.c.Window()
		l.round(first)
		l.wantState(t, "careful resume: unvalidated")
		if got := l.c.Window(); got != 1000*simMSS {
			t.Fatalf("window %d segments in the jump, want half of the capacity", got/simMSS)
		}
		if rate, want := float64(l.c.Rate()), 1000*simMSS/0.1; rate < 0.99*want || rate > 1.01*want {
			t.Errorf("the jump is paced at %.0f bytes/s, want %.0f", rate, want)
		}
		if got := l.c.Memory().Window; got > first {
			t.Errorf("memory of %d bytes, of which %d were proved", got, first)
		}
		l.send(l.c.Window())
		l.ackSome(2)
		l.wantState(t, "careful resume: validating")
		l.ackSome(1000)
		if got := l.c.Window(); got < 1000*simMSS || got > 1020*simMSS {
			t.Errorf("window %d segments after the jump, want the 1000 that arrived", got/simMSS)
		}
		if s := l.c.State(); s == "careful resume: validating" {
			t.Errorf("state %q", s)
		}
		if got := l.c.Memory().Ssthresh; got != 0 {
			t.Errorf("ssthresh %d: no limit was found", got)
		}
	})
}

// RFC 9959, 4.5: a sign of congestion leads to half of what was proved, and when
// all of the jump is accounted for, to the algorithm with that as its limit.
func TestSafeRetreat(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		for kind, signal := range map[string]func(*line){
			"loss": func(l *line) { l.lose(1) },
			"ecn": func(l *line) {
				l.c.Congested(l.now, Signal{Kind: ECN, InFlight: l.inFlight, Delivered: l.delivered, LostTotal: l.lost})
			},
		} {
			l := resuming(t, name, 2000)
			l.round(l.c.Window())
			l.send(l.c.Window())
			l.ackSome(100)
			l.wantState(t, "careful resume: validating")
			signal(l)
			l.wantState(t, "careful resume: safe retreat")
			if got := l.c.Window(); got < 45*simMSS || got > 60*simMSS {
				t.Errorf("%s: window %d segments, want half of the 110 that arrived", kind, got/simMSS)
			}
			if l.c.Rate() != 0 {
				t.Errorf("%s: a rate of its own keeps PRR out", kind)
			}
			l.ackSome(200)
			l.wantState(t, "careful resume: safe retreat")
			l.recovery = false
			l.ackSome(1000)
			if m := l.c.Memory(); m.Ssthresh == 0 || m.Ssthresh > 1000*simMSS || l.c.State() == "careful resume: safe retreat" {
				t.Errorf("%s: %s with %+v afterwards", kind, l.c.State(), m)
			}
		}
	})
}

// A timeout in the jump is the algorithm's to answer.
func TestTimeoutInJump(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		l := resuming(t, name, 2000)
		l.round(l.c.Window())
		l.send(l.c.Window())
		l.timeout()
		if got := l.c.Window(); got != simMSS {
			t.Errorf("window %d, want one segment", got)
		}
		if got := l.c.Memory().Ssthresh; name != "bbr" && (got == 0 || got > 10*simMSS) {
			t.Errorf("ssthresh %d", got)
		}
	})
}

// No jump: losses in the first window, another path, nothing to send, nothing to
// gain.
func TestNoJump(t *testing.T) {
	for name, play := range map[string]func() *line{
		"loss": func() *line {
			l := resuming(t, "cubic", 2000)
			l.send(l.c.Window())
			l.lose(1)
			l.recovery = false
			l.ackSome(20)
			return l
		},
		"shorter": func() *line { l := resuming(t, "cubic", 2000); l.rtt /= 3; l.round(l.c.Window()); return l },
		"longer":  func() *line { l := resuming(t, "cubic", 2000); l.rtt *= 11; l.round(l.c.Window()); return l },
		"idle":    func() *line { l := resuming(t, "cubic", 2000); l.appLimited = true; l.round(l.c.Window()); return l },
		"little":  func() *line { l := resuming(t, "cubic", 20); l.round(l.c.Window()); return l },
	} {
		l := play()
		if s := l.c.State(); s == "careful resume: unvalidated" || l.c.Window() > 40*simMSS {
			t.Errorf("%s: %s, window %d", name, s, l.c.Window())
		}
	}
}

// ackSome acknowledges up to so many segments, two at a time.
func (l *line) ackSome(segments int) {
	for ; segments > 0 && l.inFlight > 0; segments -= 2 {
		l.ack(2*simMSS, l.rtt, int64(float64(l.inFlight)/l.rtt.Seconds()))
	}
}
