package cc

import "accd/tcpstack/mono"

// reno is the congestion control of RFC 5681, counting bytes (RFC 3465).
type reno struct {
	window
	beta    float64
	ecnBeta float64
	counted float64 // bytes acknowledged since the window last grew
}

var renoParams = []Param{
	{Name: "beta", Unit: "share of the flight kept after a loss", Default: 0.5, Min: 0.1, Max: 0.95},
	{Name: "ecn_beta", Unit: "share of the flight kept after a CE mark", Default: 0.8, Min: 0.1, Max: 0.95}, // RFC 8511, 3.1
}

func newReno(cfg Config) Controller {
	r := renew[reno](cfg.Old)
	*r = reno{beta: cfg.Params.value(renoParams, "beta"), ecnBeta: cfg.Params.value(renoParams, "ecn_beta")}
	r.init(&cfg)
	return r
}

// Sent implements Controller.
func (r *reno) Sent(now mono.Time, bytes, inFlight int) { r.sent(now, bytes, inFlight) }

// Acked implements Controller.
func (r *reno) Acked(now mono.Time, a *Ack) {
	if !r.acked(now, a) {
		return
	}
	acked := float64(a.Acked)
	if r.slowStart() {
		acked = r.grow(acked)
	}
	// RFC 5681, 3.1 and RFC 3465, 2.1: one segment per window acknowledged.
	r.counted += acked
	if r.counted >= r.cwnd {
		r.counted -= r.cwnd
		r.cwnd += r.mss
	}
}

// Congested implements Controller.
func (r *reno) Congested(_ mono.Time, s Signal) {
	if yes, repeated := r.reduces(&s); yes && repeated {
		r.cwnd = r.mss
	} else if yes {
		beta := r.beta
		if s.Kind == ECN {
			beta = r.ecnBeta
		}
		// RFC 5681, eq. 4: of the flight, not of the window.
		r.reduce(beta*min(float64(r.flight), r.cwnd), s.Kind)
		r.counted = 0
	}
	if s.Kind == Spurious {
		r.restore()
	}
}

// State implements Controller.
func (r *reno) State() string { return r.state() }
