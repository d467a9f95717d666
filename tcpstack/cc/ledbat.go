package cc

import (
	"math"
	"time"

	"accd/tcpstack/mono"
)

// ledbat is LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus), a scavenger: it uses
// what others leave, by keeping the queue it makes below a target and by going
// away now and then to see the path without itself. Section numbers are the
// draft's.
//
// It differs from the draft in one thing: a queue that overflows before it is
// as long as the target would make ledbat a loss-based algorithm like those it
// is to yield to. So after a loss the target is a share of the queue there was
// (loss_target; 1 is the draft). Flows that lose at one queue have to find the
// same target, for a few percent decide who gets how much of the link. So it is
// the longest delay of the round trips around the loss that counts: the length of
// the queue.
type ledbat struct {
	window
	delays

	target   time.Duration
	maxGain  float64       // divisor of the gain at most
	decrease float64       // the constant of the multiplicative decrease
	share    float64       // of the queue at a loss that becomes the target
	lowered  time.Duration // the target since the last loss
	was      time.Duration // lowered, before the last reduction

	rounds   round
	started  bool // the initial slow start is over
	slowdown slowdown
}

// slowdown is the initial and periodic retreat (4.4): two segments for two
// round trips, then back to where it was, in slow start.
type slowdown struct {
	phase slowdownPhase
	at    mono.Time // Waiting: when it is due; otherwise when it began
	round int64     // when the phase may end, in round trips
	back  float64   // the window to return to
}

type slowdownPhase uint8

const (
	slowdownWaiting slowdownPhase = iota // for at
	slowdownFrozen                       // the window is two segments
	slowdownRamp                         // slow start to back
)

// Specification.
const (
	ledbatMinimum      = 2.0  // segments (4.4)
	ledbatFreeze       = 2    // round trips (4.4)
	ledbatPause        = 9    // times the slowdown's length, until the next (4.4)
	ledbatStartup      = 0.75 // of the target: the initial slow start ends (4.3)
	ledbatDecreaseMost = 0.5  // of the window in a round trip (4.2)
)

var ledbatParams = []Param{
	{Name: "target", Unit: "time that a packet may wait in the queue", Default: 0.06, Min: 0.005, Max: 0.1},
	{Name: "gain_divisor", Unit: "the gain is at least one over this", Default: 16, Min: 1, Max: 64},
	{Name: "decrease", Unit: "share of the window per round trip and target exceeded", Default: 1, Min: 0.1, Max: 4},
	{Name: "loss_target", Unit: "share of the queueing delay at a loss that becomes the target; 1 as in the draft: the target stays", Default: 0.25, Min: 0.05, Max: 1},
}

func newLEDBAT(cfg Config) Controller {
	value := func(name string) float64 { return cfg.Params.value(ledbatParams, name) }
	l := renew[ledbat](cfg.Old)
	*l = ledbat{
		target:   time.Duration(value("target") * float64(time.Second)),
		maxGain:  value("gain_divisor"),
		decrease: value("decrease"),
		share:    value("loss_target"),
	}
	own := cfg
	own.InitialWindow = min(cfg.InitialWindow, ledbatMinimum) // 4.3
	l.init(&own)
	l.lowered = l.target
	l.started = l.ssthresh != 0
	if own.Memory.MinRTTAge < delayHistory*delayEpoch {
		l.remember(own.Memory.MinRTT)
	}
	return l
}

// Sent implements Controller.
func (l *ledbat) Sent(now mono.Time, bytes, inFlight int) { l.sent(now, bytes, inFlight) }

// Acked implements Controller.
func (l *ledbat) Acked(now mono.Time, a *Ack) {
	may := l.acked(now, a)
	if a.Acked > 0 {
		l.rounds.acked(a)
	}
	l.observe(now, a.RTT, l.rounds.count)
	if a.Acked > 0 {
		l.schedule(now, a)
	}
	if !may || l.slowdown.phase == slowdownFrozen {
		return
	}
	gain, queue := l.gain(), l.queue()
	switch {
	case l.slowStart():
		// 4.3: slow start by the gain, or after a timeout as RFC 5681 has it;
		// the first one ends before the target.
		if l.timeout {
			gain = 1
		}
		left := l.grow(gain * float64(a.Acked))
		if !l.started && float64(queue) > ledbatStartup*float64(l.lowered) {
			l.ssthresh = l.cwnd
		}
		if left == 0 {
			return
		}
	case queue > l.lowered:
		// 4.2: per round trip, so an ACK's share of it.
		over := float64(queue)/float64(l.lowered) - 1
		change := max(gain*l.mss-l.decrease*l.cwnd*over, -ledbatDecreaseMost*l.cwnd)
		l.cwnd = max(l.cwnd+change*min(float64(a.Acked)/l.cwnd, 1), ledbatMinimum*l.mss)
		l.ssthresh = min(l.ssthresh, l.cwnd) // or slow start would undo it
	default:
		l.cwnd += gain * l.mss * float64(a.Acked) / l.cwnd // 4.1
	}
}

// gain is what a round trip adds, in segments: little where the round trip is
// much shorter than the target, so that ledbat never outruns Reno (4.1).
func (l *ledbat) gain() float64 {
	base := l.base()
	if base == 0 {
		return 1
	}
	return 1 / min(l.maxGain, math.Ceil(2*float64(l.target)/float64(base)))
}

// schedule runs the slowdowns (4.4). The next one comes nine times as long after
// the end of one as that took, so that they cost a tenth at most.
func (l *ledbat) schedule(now mono.Time, a *Ack) {
	d := &l.slowdown
	switch {
	case !l.started:
		if !l.slowStart() { // the initial slow start is over
			l.started = true
			d.phase, d.at = slowdownWaiting, now.Add(ledbatFreeze*a.SRTT)
		}
	case l.timeout || d.phase == slowdownWaiting && d.at == 0:
		// After a timeout, and for a flow resumed, it is due as after any other.
		d.phase, d.at = slowdownWaiting, now.Add(ledbatPause*4*a.SRTT)
	case d.phase == slowdownWaiting && now >= d.at && !a.Recovery:
		d.phase, d.at, d.back = slowdownFrozen, now, l.cwnd
		d.round = l.rounds.count + 1 + ledbatFreeze // the round trip under way does not count
		l.cwnd = min(l.cwnd, ledbatMinimum*l.mss)
		l.ssthresh = max(d.back, ledbatMinimum*l.mss)
	case d.phase == slowdownFrozen && l.rounds.count >= d.round:
		d.phase = slowdownRamp
	case d.phase == slowdownRamp && !l.slowStart():
		d.phase, d.at = slowdownWaiting, now.Add(ledbatPause*now.Sub(d.at))
	}
}

// Congested implements Controller.
func (l *ledbat) Congested(_ mono.Time, s Signal) {
	if yes, repeated := l.reduces(&s); yes && repeated {
		l.cwnd = l.mss
	} else if yes {
		l.was = l.lowered
		if l.share < 1 && s.Kind != Timeout {
			l.lowered = min(max(time.Duration(l.share*float64(l.longest())), delayNoise), l.target)
		}
		// RFC 6817, 2.4.2 on loss: as Reno. While away, what it returns to.
		keep := l.cwnd
		if l.slowdown.phase != slowdownWaiting {
			keep = max(l.cwnd, l.slowdown.back)
		}
		l.reduce(0.5*keep, s.Kind)
		if l.slowdown.phase == slowdownFrozen {
			l.cwnd = min(l.cwnd, ledbatMinimum*l.mss)
		}
		l.slowdown.back = l.ssthresh
	}
	if s.Kind == Spurious && l.restore() {
		l.lowered = l.was
	}
}

// Memory implements Controller.
func (l *ledbat) Memory() Memory {
	m := l.window.Memory()
	if l.slowdown.phase != slowdownWaiting {
		m.Window = max(m.Window, int(l.slowdown.back))
	}
	return m
}

// State implements Controller.
func (l *ledbat) State() string {
	switch s := l.state(); {
	case l.recovering || !l.started:
		return s
	case l.slowdown.phase == slowdownFrozen:
		return "slowdown"
	case l.slowdown.phase == slowdownRamp:
		return "slowdown: return"
	default:
		return s
	}
}
