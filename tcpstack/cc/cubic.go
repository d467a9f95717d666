package cc

import (
	"math"

	"accd/tcpstack/mono"
)

// cubic is RFC 9438, with HyStart++ in the initial slow start.
type cubic struct {
	window
	curve
	hystart hystart

	c     float64 // segments per second cubed
	beta  float64 // share of the window kept after a loss
	marks float64 // share of the window kept after a CE mark
	alpha float64 // Reno-friendly additive increase below the prior window
	fast  bool    // fast convergence
	slow  bool    // hystart is in use

	last mono.Time // of the latest ACK
	undo curve     // before the last reduction
}

// curve is the window over time since the last congestion event (RFC 9438,
// 4.1.2). Windows are in bytes.
type curve struct {
	epoch     mono.Time // when this congestion avoidance began; 0: not yet
	wMax      float64   // window before the last reduction; 0: unknown
	prior     float64   // the same without fast convergence
	cwndEpoch float64   // window at epoch
	k         float64   // seconds from epoch until wMax
	wEst      float64   // window Reno would have
}

var cubicParams = []Param{
	{Name: "c", Unit: "segments/s³", Default: 0.4, Min: 0.01, Max: 10},
	{Name: "beta", Unit: "share of the window kept after a loss", Default: 0.7, Min: 0.1, Max: 0.95},
	{Name: "ecn_beta", Unit: "share of the window kept after a CE mark", Default: 0.85, Min: 0.1, Max: 0.95}, // RFC 8511, 3.1
	{Name: "fast_convergence", Unit: "0 or 1", Default: 1, Min: 0, Max: 1},
	{Name: "hystart", Unit: "0 or 1", Default: 1, Min: 0, Max: 1},
}

func newCubic(cfg Config) Controller {
	c := renew[cubic](cfg.Old)
	*c = cubic{
		c:     cfg.Params.value(cubicParams, "c"),
		beta:  cfg.Params.value(cubicParams, "beta"),
		marks: cfg.Params.value(cubicParams, "ecn_beta"),
		fast:  cfg.Params.value(cubicParams, "fast_convergence") != 0,
		slow:  cfg.Params.value(cubicParams, "hystart") != 0,
	}
	c.alpha = 3 * (1 - c.beta) / (1 + c.beta) // RFC 9438, 4.3
	c.init(&cfg)
	return c
}

// Sent implements Controller.
func (c *cubic) Sent(now mono.Time, bytes, inFlight int) {
	if idle := c.sent(now, bytes, inFlight); idle > 0 {
		c.skip(now) // RFC 9438, 4.2: t does not include idle periods
	}
}

// skip takes the time since the latest ACK out of the curve.
func (c *cubic) skip(now mono.Time) {
	if c.epoch != 0 && c.last != 0 {
		c.epoch = c.epoch.Add(now.Sub(c.last))
	}
	c.last = now
}

// Acked implements Controller.
func (c *cubic) Acked(now mono.Time, a *Ack) {
	first := c.ssthresh == 0 // RFC 9406, 4.3: HyStart++ only in the initial slow start
	if !c.acked(now, a) {
		c.skip(now) // RFC 9438, 4.2 and 5.8: nor application-limited ones
		return
	}
	acked := float64(a.Acked)
	if first && c.slow {
		divisor := c.hystart.acked(a)
		if divisor > 0 {
			c.grow(acked / float64(divisor))
			c.last = now
			return
		}
		c.ssthresh = c.cwnd // RFC 9406, 4.2: after the last round of CSS
	}
	if c.slowStart() {
		acked = c.grow(acked)
	}
	if acked > 0 {
		c.avoid(now, acked, max(a.SRTT.Seconds(), 0))
	}
	c.last = now
}

// avoid is congestion avoidance (RFC 9438, 4.2 to 4.5): the larger of the cubic
// curve and Reno's line.
func (c *cubic) avoid(now mono.Time, acked, rtt float64) {
	if c.epoch == 0 {
		c.begin(now)
	}
	t := now.Sub(c.epoch).Seconds()

	alpha := c.alpha
	if c.wEst >= c.prior {
		alpha = 1 // RFC 9438, 4.3: as Reno once above the prior window
	}
	c.wEst += alpha * c.mss * acked / c.cwnd // eq. 4

	if c.at(t) < c.wEst {
		c.cwnd = max(c.cwnd, c.wEst) // RFC 9438, 4.3: the Reno-friendly region
		return
	}
	target := min(max(c.at(t+rtt), c.cwnd), 1.5*c.cwnd) // RFC 9438, 4.2
	c.cwnd += (target - c.cwnd) * min(acked/c.cwnd, 1)  // RFC 9438, 4.4 and 4.5
}

// begin starts the curve at the current window. After a timeout and after slow
// start without a loss there is no wMax: K is 0 (RFC 9438, 4.8 and 4.10).
func (c *cubic) begin(now mono.Time) {
	c.epoch, c.cwndEpoch, c.wEst = now, c.cwnd, c.cwnd
	c.k = 0
	if c.wMax > c.cwnd {
		c.k = math.Cbrt((c.wMax - c.cwnd) / c.mss / c.c) // eq. 2
	} else {
		c.wMax = c.cwnd
	}
}

// at gives W_cubic(t) in bytes (RFC 9438, eq. 1), t in seconds since the epoch.
func (c *cubic) at(t float64) float64 {
	d := t - c.k
	return c.c*d*d*d*c.mss + c.wMax
}

// Congested implements Controller.
func (c *cubic) Congested(_ mono.Time, s Signal) {
	if yes, repeated := c.reduces(&s); yes && repeated {
		c.cwnd = c.mss
	} else if yes {
		c.undo = c.curve
		c.prior = c.cwnd
		switch {
		case s.Kind == Timeout:
			c.wMax = 0 // RFC 9438, 4.8
		case c.fast && c.cwnd < c.wMax:
			c.wMax = c.cwnd * (1 + c.beta) / 2 // RFC 9438, 4.7: leave room for new flows
		default:
			c.wMax = c.cwnd
		}
		c.epoch = 0
		beta := c.beta
		if s.Kind == ECN {
			beta = c.marks
		}
		// RFC 9438, 4.6: of the window, which only grows while it is used.
		c.reduce(beta*c.cwnd, s.Kind)
	}
	if s.Kind == Spurious && c.before.cwnd > c.cwnd {
		// RFC 9438, 4.9: back to the state before the event.
		c.restore()
		c.curve = c.undo
	}
}

// State implements Controller.
func (c *cubic) State() string {
	if !c.recovering && c.ssthresh == 0 && c.hystart.baseline != 0 {
		return "conservative slow start"
	}
	return c.state()
}
