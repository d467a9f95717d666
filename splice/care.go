package splice

// What becomes in custody of legs that are slow, silent or lost. docs/custody.md,
// Custody, is to be read first.

import (
	"time"

	"accd/tcpstack/mono"
)

// Ours; the rest are docs/custody.md's.
const (
	slowAfter  = time.Second
	careMin    = time.Millisecond
	careMax    = 50 * time.Millisecond
	careIdle   = time.Second // a window may stay closed for days
	unknownRTT = 100 * time.Millisecond
	shutAfter  = 15 * time.Second
	answers    = 500 * time.Millisecond // between those to segments without data; Linux's tcp_invalid_ratelimit
)

// legState is what care remembers of the leg to one side.
type legState struct {
	idle    mono.Time // nothing waited for the leg until then
	shut    mono.Time // its endpoint has closed its window on what waits since then; 0: no
	stuck   mono.Time // it has timed out twice in a row since then; 0: no
	asked   mono.Time // the first packet that wants an answer left then, since the endpoint was heard
	steered mono.Time // the tuple was put into the steering set again; 0: no
	probed  mono.Time // its endpoint was asked for its RCV.NXT, for a hole
	probes  int       // how often
	pace    pace      // of what its endpoint takes
}

// care looks after both legs. It is due several times a round trip, and less often
// the longer nothing happens.
func (f *Flow) care(now mono.Time) {
	c := f.c
	a, _ := c.conn[Client].RTT()
	b, _ := c.conn[Server].RTT()
	rtt := a + b
	c.check = now.Add(max(min(max(rtt/4, careMin), careMax), min(f.quiet(now)/8, careIdle)))
	if c.split.on && c.stream[Client].Len() == 0 && c.stream[Server].Len() == 0 {
		c.check = mono.Never // until something comes: it may be idle for days
	}
	if rtt == 0 {
		rtt = unknownRTT
	}
	for _, side := range [2]Side{Client, Server} {
		f.limit(now, side, rtt)
		if c.split.on {
			continue
		}
		f.slow(now, side)
		f.hole(now, side, rtt)
		if f.silent(now, side) || f.blackHole(now, side) {
			return
		}
	}
	if !c.split.on {
		f.watch(now)
	}
}

// quiet gives how long neither leg was heard or asked.
func (f *Flow) quiet(now mono.Time) time.Duration {
	last := f.c.began
	for side := range f.c.conn {
		last = max(last, f.c.conn[side].Heard(), f.c.leg[side].asked)
	}
	return now.Sub(last)
}

// still gives for how long far has taken nothing of what waits for it.
func (c *custody) still(now mono.Time, far Side) time.Duration {
	return now.Sub(max(c.conn[far].Progressed(), c.leg[far].idle))
}

// slow stops acknowledging to the sender while the far end does not move:
// docs/custody.md, Slow far end.
func (f *Flow) slow(now mono.Time, far Side) {
	c, l := f.c, &f.c.leg[far]
	conn := &c.conn[far]
	waits := c.stream[far.Other()].Len() > 0
	if conn.Backoff() < 2 {
		l.stuck = 0
	} else if l.stuck.IsZero() {
		l.stuck = now
	}
	// Small pieces that stay keep the memory of much that has left.
	if p := f.env.Pool; p.Budget > 0 && p.InUse() > p.Budget/2 && waits && now.Sub(l.idle) >= slowAfter {
		c.stream[far.Other()].Pack(p)
	}
	if !waits || conn.SndUna() != conn.SndEdge() {
		l.shut = 0
	} else if l.shut.IsZero() {
		l.shut = now
	}
	if sender := &c.conn[far.Other()]; !l.shut.IsZero() && now.Sub(l.shut) >= shutAfter {
		// docs/custody.md, Closed window: it may stay so for ever, and what the
		// sender was let send it would send again until it gives up.
		sender.SetAckLimit(0)
		sender.Hold(false)
		return
	}
	c.conn[far.Other()].Hold(waits && (c.still(now, far) >= slowAfter ||
		!l.stuck.IsZero() && now.Sub(l.stuck) >= slowAfter))
}

// hole asks the far end for its RCV.NXT when what the sender sent has had a
// hole for two round trips: perhaps what is missing went another way.
func (f *Flow) hole(now mono.Time, far Side, rtt time.Duration) {
	l := &f.c.leg[far]
	n, since := f.c.conn[far.Other()].Reassembling()
	if n == 0 || since > l.probed {
		l.probes = 0
	}
	if n == 0 || now.Sub(max(since, l.probed)) < 2*rtt<<min(l.probes, 8) {
		return
	}
	l.probed = now
	l.probes++
	f.c.conn[far].Probe()
}

// silentAfter is how many timeouts in a row, or probes of a closed window, show that
// a leg is silent. Fewer are what queues and losses do: where 2 of 5 packets are
// lost, one timeout in 250 is followed by as many.
const silentAfter = 5

// silent puts the tuple into the steering set again when a leg has not answered
// for two RTO, and drains after two more, and no sooner than what waits for the
// leg was sent in vain silentAfter times. It reports a drain.
func (f *Flow) silent(now mono.Time, side Side) bool {
	conn, l := &f.c.conn[side], &f.c.leg[side]
	if l.asked < conn.Heard() {
		l.steered = 0
		return false
	}
	rto := conn.RTO()
	switch {
	case l.steered.IsZero() && now.Sub(l.asked) >= 2*rto:
		l.steered = now
		if f.env.Steer != nil {
			f.env.Steer(f.rec.Tuple)
		}
	case f.c.stream[side.Other()].Len() > 0 && conn.Unanswered() < silentAfter && !conn.Swallowed():
	case !l.steered.IsZero() && now.Sub(l.steered) >= 2*rto:
		f.Drain(now, Silent)
		return true
	}
	return false
}

// blackHole drains, as the last resort, when the Conn has no smaller segments
// left to try: docs/custody.md, Path MTU. It reports a drain.
func (f *Flow) blackHole(now mono.Time, side Side) bool {
	if !f.c.conn[side].Swallowed() {
		return false
	}
	f.Drain(now, BlackHole)
	return true
}

// watch gives up a leg whose Conn has timed out. The endpoint at the other leg
// is reset only if it has sent something to accd since the lost one was heard:
// docs/custody.md, Giving up.
func (f *Flow) watch(now mono.Time) {
	c := f.c
	for _, side := range [2]Side{Client, Server} {
		if c.conn[side].Err() == nil {
			continue
		}
		other := side.Other()
		if c.conn[other].Err() == nil && c.conn[side].Heard() < c.conn[other].Heard() {
			f.beginEnding(now, other, Lost)
		} else {
			f.end(Lost)
		}
		return
	}
}
