package cc

import (
	"time"

	"accd/tcpstack/mono"
)

// Path is what earlier connections have left of a path (RFC 9040, 3): what a new
// one may begin with, carefully. The zero Path is unknown.
type Path struct {
	Capacity int           // bytes that were in flight when it was well used; 0: unknown
	RTT      time.Duration // smallest round trip measured then
}

// Careful makes a controller that begins as construct would have it, and jumps
// to half of what the path once carried when the first window has arrived there
// and back without a sign of congestion: Careful Resume (RFC 9959). What the
// jump found is then the Memory that the algorithm goes on with, so this works
// with every one of them.
func Careful(construct func(Config) Controller, cfg Config, p Path) Controller {
	algorithm := construct(cfg)
	jump := p.Capacity / carefulShare
	if jump <= algorithm.Window() || p.RTT <= 0 {
		return algorithm
	}
	c, ok := cfg.Old.(*careful)
	if !ok {
		c = new(careful)
	}
	cfg.Old = algorithm // resume has no other use for it
	*c = careful{
		Controller: algorithm, construct: construct, cfg: cfg, jump: jump, rtt: p.RTT,
		rate: int64(float64(jump) / p.RTT.Seconds()),
	}
	return c
}

// Specification: RFC 9959, 4.
const (
	carefulShare   = 2  // of the capacity saved, at most half is jumped to
	carefulShorter = 2  // a path whose round trip is shorter by that is another one
	carefulLonger  = 10 // or longer
	carefulBeta    = 0.5
)

// careful is a controller that resumes a path. The embedded Controller is the
// algorithm, in charge at first and in the end.
type careful struct {
	Controller
	construct func(Config) Controller
	cfg       Config
	jump      int           // bytes, the window to jump to
	rtt       time.Duration // of the path remembered

	phase carefulPhase
	begun mono.Time // Unvalidated
	edge  int64     // total delivered: Unvalidated: before the jump; then: with it
	pipe  int       // PipeSize: bytes that the path has proved to carry
	room  int       // Validating: the window
	rate  int64     // bytes per second, of the jump

	bandwidth int64 // largest delivery rate, bytes per second
	lost      int64 // total, when the retreat began
	initial   int   // bytes, the first window
	limited   bool  // it was not enough
	minRTT    time.Duration
}

// carefulPhase is a phase of RFC 9959, 3.
type carefulPhase uint8

const (
	carefulReconnaissance carefulPhase = iota
	carefulUnvalidated
	carefulValidating
	carefulRetreat
	carefulNormal
)

// Acked implements Controller.
func (c *careful) Acked(now mono.Time, a *Ack) {
	c.bandwidth, c.minRTT = max(c.bandwidth, a.Rate), a.MinRTT
	switch c.phase {
	case carefulReconnaissance:
		c.Controller.Acked(now, a)
		c.reconnaissance(now, a)
	case carefulUnvalidated:
		// 4.3: until the first packet of the jump is acknowledged, or a round
		// trip has passed.
		c.pipe += a.Acked
		if a.Delivered > c.edge || now.Sub(c.begun) > a.SRTT {
			c.phase = carefulValidating
			c.edge = a.Delivered + int64(a.InFlight)
			c.room = max(a.InFlight, c.pipe)
		}
	case carefulValidating:
		// 4.4: until the last of them is.
		if c.pipe += a.Acked; a.Delivered >= c.edge {
			c.resume(Memory{Window: c.pipe})
		}
		c.room = max(c.room, c.pipe)
	case carefulRetreat:
		c.pipe += a.Acked
		if !a.Recovery && a.Delivered+a.LostTotal-c.lost >= c.edge {
			c.retreated()
		}
	default:
		c.Controller.Acked(now, a)
	}
}

// reconnaissance jumps when the first window was acknowledged, on a path that
// looks like the one remembered, for a flow that has more to send (4.2).
func (c *careful) reconnaissance(now mono.Time, a *Ack) {
	if c.initial == 0 {
		c.initial = a.PriorInFlight
	}
	c.limited = c.limited || a.CwndLimited
	switch {
	case a.Lost > 0 || a.Recovery || c.Controller.Window() >= c.jump:
		c.phase = carefulNormal
	case a.Delivered < int64(c.initial) || !c.limited:
	case a.MinRTT < c.rtt/carefulShorter || a.MinRTT > c.rtt*carefulLonger:
		c.phase = carefulNormal // 4.2: another path
	default:
		c.phase, c.begun = carefulUnvalidated, now
		c.edge = a.Delivered + int64(a.InFlight)
		c.pipe = a.InFlight + a.Acked
		c.rate = int64(float64(c.jump) / max(a.SRTT, a.MinRTT).Seconds())
	}
}

// Congested implements Controller.
func (c *careful) Congested(now mono.Time, s Signal) {
	switch {
	case c.phase == carefulReconnaissance:
		c.phase = carefulNormal
		fallthrough
	case c.phase == carefulNormal:
		c.Controller.Congested(now, s)
	case s.Kind == Timeout:
		c.retreated()
		c.Controller.Congested(now, s)
	case s.Kind == Spurious || s.Kind == Exit:
		c.retreated()
	case c.phase != carefulRetreat:
		// 4.5: back to half of what has proved to pass, until everything sent
		// in the jump is acknowledged or lost.
		c.phase = carefulRetreat
		c.room = max(c.pipe/2, c.initial/2)
		c.edge = s.Delivered + int64(s.InFlight) + int64(s.Bytes)
		c.lost = s.LostTotal - int64(s.Bytes)
	}
}

// retreated hands over to the algorithm after a jump that failed.
func (c *careful) retreated() {
	c.resume(Memory{Window: max(c.room, c.pipe/2), Ssthresh: max(int(carefulBeta*float64(c.pipe)), 2*c.cfg.MSS)})
}

// resume makes the algorithm go on with what was found.
func (c *careful) resume(m Memory) {
	c.phase = carefulNormal
	m.Bandwidth, m.MinRTT = c.bandwidth, c.minRTT
	c.cfg.Memory = m
	c.Controller = c.construct(c.cfg)
}

// Sent implements Controller.
func (c *careful) Sent(now mono.Time, bytes, inFlight int) {
	if c.phase == carefulReconnaissance || c.phase == carefulNormal {
		c.Controller.Sent(now, bytes, inFlight)
	}
}

// Window implements Controller.
func (c *careful) Window() int {
	switch c.phase {
	case carefulUnvalidated:
		return c.jump
	case carefulValidating, carefulRetreat:
		return max(c.room, c.cfg.MSS)
	}
	return c.Controller.Window()
}

// Rate implements Controller: the jump is spread over a round trip (4.3). The
// first window, which might leave at once (RFC 6928), is as fast, since it must
// have arrived before the jump.
func (c *careful) Rate() int64 {
	switch c.phase {
	case carefulReconnaissance:
		return max(c.rate, c.Controller.Rate())
	case carefulUnvalidated, carefulValidating:
		return c.rate
	case carefulRetreat:
		return 0
	}
	return c.Controller.Rate()
}

// State implements Controller.
func (c *careful) State() string {
	switch c.phase {
	case carefulUnvalidated:
		return "careful resume: unvalidated"
	case carefulValidating:
		return "careful resume: validating"
	case carefulRetreat:
		return "careful resume: safe retreat"
	}
	return c.Controller.State()
}

// Memory implements Controller. What a jump has not proved is not remembered.
func (c *careful) Memory() Memory {
	switch c.phase {
	case carefulUnvalidated, carefulValidating:
		return Memory{Window: max(c.pipe, c.cfg.MSS), Bandwidth: c.bandwidth, MinRTT: c.minRTT}
	case carefulRetreat:
		return Memory{Window: max(c.room, c.cfg.MSS), Ssthresh: max(c.pipe/2, c.cfg.MSS), Bandwidth: c.bandwidth, MinRTT: c.minRTT}
	}
	return c.Controller.Memory()
}
