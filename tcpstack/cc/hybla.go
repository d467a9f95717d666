package cc

import (
	"math"
	"time"

	"accd/tcpstack/mono"
)

// hybla is TCP Hybla (C. Caini, R. Firrincieli, Int. J. of Satellite
// Communications and Networking, 2004): on a long path the window grows in time
// as that of a Reno flow with the round trip RTT0 would, which for rho =
// RTT/RTT0 takes 2^rho − 1 segments per segment acknowledged in slow start, and
// rho² per window after it. The stack paces, as Hybla asks. Slow start ends by
// HyStart++, and may only double so often in a round trip (startup_doublings),
// since what doubles every 25 ms overruns a path of 300 ms by a factor of
// thousands before the first ACK can tell.
type hybla struct {
	window
	hystart hystart

	rtt0      time.Duration
	beta      float64
	doublings float64 // in a round trip of slow start, at most
	rho       float64 // at least 1
}

var hyblaParams = []Param{
	{Name: "rtt0", Unit: "time of the round trip of the Reno flow to keep up with", Default: 0.025, Min: 0.005, Max: 0.5},
	{Name: "beta", Unit: "share of the flight kept after a loss", Default: 0.5, Min: 0.1, Max: 0.95},
	{Name: "startup_doublings", Unit: "of the window in a round trip of slow start, at most", Default: 2, Min: 1, Max: 16},
}

func newHybla(cfg Config) Controller {
	h := renew[hybla](cfg.Old)
	*h = hybla{
		rtt0:      time.Duration(cfg.Params.value(hyblaParams, "rtt0") * float64(time.Second)),
		beta:      cfg.Params.value(hyblaParams, "beta"),
		doublings: cfg.Params.value(hyblaParams, "startup_doublings"),
		rho:       1,
	}
	h.init(&cfg)
	return h
}

// Sent implements Controller.
func (h *hybla) Sent(now mono.Time, bytes, inFlight int) { h.sent(now, bytes, inFlight) }

// Acked implements Controller.
func (h *hybla) Acked(now mono.Time, a *Ack) {
	first := h.ssthresh == 0
	may := h.acked(now, a)
	if h.minRTT > 0 {
		// The path's own round trip: a queue must not make it grow faster.
		h.rho = max(1, float64(h.minRTT)/float64(h.rtt0))
	}
	if !may {
		return
	}
	acked := float64(a.Acked)
	if first {
		divisor := h.hystart.acked(a)
		if divisor == 0 {
			h.ssthresh = h.cwnd
		} else {
			acked /= float64(divisor)
		}
	}
	if h.slowStart() {
		each := math.Exp2(min(h.rho, h.doublings)) - 1
		acked = h.grow(acked*each) / each
	}
	if acked > 0 {
		h.cwnd += h.rho * h.rho * h.mss * acked / h.cwnd
	}
}

// Congested implements Controller.
func (h *hybla) Congested(_ mono.Time, s Signal) {
	if yes, repeated := h.reduces(&s); yes && repeated {
		h.cwnd = h.mss
	} else if yes {
		h.reduce(h.beta*min(float64(h.flight), h.cwnd), s.Kind) // RFC 5681, eq. 4
	}
	if s.Kind == Spurious {
		h.restore()
	}
}

// State implements Controller.
func (h *hybla) State() string { return h.state() }
