package cc

import (
	"time"

	"accd/tcpstack/mono"
)

// window is what the loss-based algorithms have in common: the congestion
// window and its threshold, and when the window may grow.
//
// Read RFC 5681 first.
type window struct {
	mss      float64 // bytes
	initial  float64 // bytes
	cwnd     float64 // bytes; fractions matter to cubic
	ssthresh float64 // bytes; 0: arbitrarily high
	flight   int     // bytes in flight when last told
	active   mono.Time

	recovering bool // between the first loss or a timeout and Exit
	timeout    bool // recovering from a timeout, so in slow start meanwhile
	backedOff  bool // nothing was delivered since the last timeout

	before struct{ cwnd, ssthresh float64 } // the last reduction; cwnd 0: it stands

	bandwidth int64         // bytes per second, recent; 0: unknown
	minRTT    time.Duration // 0: unknown
}

// nonValidated is how long a window that is not used stays worth having, since
// the stack paces what it lets out (RFC 7661, 4.4.3).
const nonValidated = 5 * time.Minute

func (w *window) init(cfg *Config) {
	w.mss = float64(cfg.MSS)
	w.initial = float64(cfg.InitialWindow * cfg.MSS)
	w.cwnd = w.initial
	m := &cfg.Memory
	w.bandwidth, w.minRTT = m.Bandwidth, m.MinRTT
	if m.Ssthresh != NoLimit {
		w.ssthresh = float64(m.Ssthresh)
	}
	if m.Window > 0 {
		w.cwnd = max(float64(m.Window), w.mss)
		w.decay(m.Age)
	}
}

// sent notes what is in flight, and reports how long the flow was idle before.
func (w *window) sent(now mono.Time, bytes, inFlight int) (idle time.Duration) {
	if inFlight == 0 && !w.recovering && w.active != 0 {
		idle = now.Sub(w.active)
		w.decay(idle)
	}
	w.flight = inFlight + bytes
	w.active = now
	return idle
}

// decay halves the window for every nonValidated period of idleness, but keeps
// most of it as the threshold (RFC 7661, 4.4.3).
func (w *window) decay(idle time.Duration) {
	for ; idle >= nonValidated && w.cwnd > w.initial; idle -= nonValidated {
		if w.ssthresh != 0 {
			w.ssthresh = max(w.ssthresh, 0.75*w.cwnd)
		}
		w.cwnd = max(w.cwnd/2, w.initial)
	}
}

// acked takes what every algorithm wants of an ACK, and reports whether the
// window may grow by it.
func (w *window) acked(now mono.Time, a *Ack) bool {
	if !a.Recovery {
		w.recovering, w.timeout = false, false
	}
	w.flight = a.InFlight
	w.active = now
	if a.MinRTT != 0 {
		w.minRTT = a.MinRTT
	}
	switch {
	case a.Rate > w.bandwidth:
		w.bandwidth = a.Rate
	case a.Rate > 0 && !a.AppLimited:
		w.bandwidth += (a.Rate - w.bandwidth) / 64 // slow: a round trip has hundreds of ACKs
	}
	if a.Acked <= 0 {
		return false
	}
	w.backedOff = false
	if a.Recovery && !w.timeout {
		return false // PRR is at work
	}
	if a.OnlySACK {
		return false // RFC 5681, 3.1: for new data that is acknowledged; RFC 3042, 2
	}
	// RFC 5681 grows whatever happens; RFC 7661, 4.4.1 only a window that is
	// used. In slow start half is enough, since pacing may not have let out
	// what the last round trip added (Linux does the same).
	return a.CwndLimited || w.slowStart() && w.cwnd < 2*float64(a.PriorInFlight)
}

// slowStart reports whether the window is below its threshold (RFC 5681, 3.1).
func (w *window) slowStart() bool { return w.ssthresh == 0 || w.cwnd < w.ssthresh }

// grow adds acked bytes to the window in slow start, up to the threshold, and
// gives what is left of them for congestion avoidance. RFC 5681, 3.1 and RFC
// 3465, 2.3 bound an ACK's effect to a few segments against bursts; here the
// stack paces, and one ACK may stand for a superpacket of 45 segments.
func (w *window) grow(acked float64) (left float64) {
	room := acked
	if w.ssthresh != 0 {
		room = min(acked, max(w.ssthresh-w.cwnd, 0))
	}
	w.cwnd += room
	return acked - room
}

// reduces reports whether a signal calls for a reduction, and keeps track of
// the episode it belongs to. repeated says that it is one more timeout of the
// same data, on which the threshold stays (RFC 5681, 3.1).
func (w *window) reduces(s *Signal) (yes, repeated bool) {
	if s.FlightSize > 0 {
		w.flight = s.FlightSize
	}
	switch s.Kind {
	case Loss:
		if !s.First {
			return false, false
		}
		w.recovering, w.timeout = true, false
		return true, false
	case ECN:
		return !w.recovering, false // RFC 3168, 6.1.2: once per window of data
	case Timeout:
		repeated = w.backedOff
		w.recovering, w.timeout, w.backedOff = true, true, true
		return true, repeated
	case Spurious, Exit:
		w.recovering, w.timeout, w.backedOff = false, false, false
	}
	return false, false
}

// reduce sets the threshold, and the window to it, or after a timeout to one
// segment, the loss window (RFC 5681, 3.1).
func (w *window) reduce(ssthresh float64, kind Kind) {
	w.before.cwnd, w.before.ssthresh = w.cwnd, w.ssthresh
	if kind == ECN {
		w.before.cwnd = 0 // a mark is never taken back
	}
	w.ssthresh = max(ssthresh, 2*w.mss) // RFC 5681, eq. 4
	w.cwnd = w.ssthresh
	if kind == Timeout {
		w.cwnd = w.mss
	}
}

// restore takes the last reduction back, if it may be: as if nothing had happened
// (RFC 4015, 3.2 step 9).
func (w *window) restore() (done bool) {
	if w.before.cwnd == 0 {
		return false
	}
	w.cwnd, w.ssthresh = max(w.cwnd, w.before.cwnd), w.before.ssthresh
	w.before.cwnd = 0
	return true
}

// Window implements Controller.
func (w *window) Window() int { return int(max(w.cwnd, w.mss)) }

// Rate implements Controller: the stack paces the window.
func (w *window) Rate() int64 { return 0 }

// Memory implements Controller.
func (w *window) Memory() Memory {
	return Memory{
		Window:    w.Window(),
		Ssthresh:  int(w.ssthresh),
		Bandwidth: w.bandwidth,
		MinRTT:    w.minRTT,
	}
}

func (w *window) state() string {
	switch {
	case w.timeout:
		return "timeout recovery"
	case w.recovering:
		return "fast recovery"
	case w.slowStart():
		return "slow start"
	}
	return "congestion avoidance"
}
