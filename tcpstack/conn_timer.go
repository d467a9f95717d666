package tcpstack

// The one retransmission timer. Read RFC 6298, 5 and RFC 9293, 3.8.6.1 first.

import (
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
)

// retxKind is what the one retransmission timer waits for; the purposes exclude
// each other.
type retxKind uint8

const (
	retxNone    retxKind = iota
	retxReorder          // RACK's reordering window (RFC 8985, 6.2)
	retxProbe            // tail loss probe (RFC 8985, 7)
	retxTimeout          // RTO (RFC 6298)
	retxPersist          // zero-window probe (RFC 9293, 3.8.6.1)
)

type retxTimer struct {
	kind   retxKind
	at     mono.Time
	due    mono.Time // when the RTO is over, whatever the timer waits for first
	probes int       // zero-window probes since the peer was heard
	shift  int       // of the interval between them

	override bool // a window too small to fill was waited for (RFC 9293, 3.8.6.2.1)
}

// arm restarts the RTO (RFC 6298, 5.1 and 5.3) and sets the timer after an ACK or a
// transmission: wait is RACK's.
func (c *Conn) arm(now mono.Time, wait time.Duration) {
	c.retx.due = now.Add(c.rto())
	c.rearm(now, wait)
}

// rearm sets the timer after what acknowledges nothing new in order: the RTO runs on,
// or a peer that SACKs and SACKs would put it off for ever.
func (c *Conn) rearm(now mono.Time, wait time.Duration) {
	t := &c.retx
	switch {
	case c.sent.n == 0:
		if c.persisting() {
			if t.kind != retxPersist {
				c.waitFrom = now
				*t = retxTimer{kind: retxPersist, at: now.Add(c.rtt.base())}
			}
			return
		}
		*t = retxTimer{}
		return
	case wait > 0:
		t.kind, t.at = retxReorder, now.Add(wait)
	case c.probeWanted():
		t.kind, t.at = retxProbe, now.Add(c.probeTimeout())
	default:
		if t.due <= now && t.kind != retxTimeout {
			t.due = now.Add(c.rto()) // RACK's timer went first, and what it found is sent now
		}
		t.kind, t.at = retxTimeout, t.due
	}
	t.probes, t.shift = 0, 0
}

// persisting reports whether data waits for a window that nothing in flight
// will open, or open enough.
func (c *Conn) persisting() bool {
	if c.sent.n > 0 || c.nxt >= c.out.end {
		return false
	}
	n := c.usable()
	return n == 0 || c.silly(n, int(c.out.end-c.nxt))
}

// Deadline gives the next instant at which Expire or Transmit has something to
// do without new input; mono.Never if there is none.
func (c *Conn) Deadline() mono.Time {
	at := mono.Never
	if c.err != nil || c.end.phase == endOver {
		return at
	}
	if c.open.phase != openDone {
		return c.openingDeadline()
	}
	if c.retx.kind != retxNone {
		at = c.retx.at
	}
	if c.ack.owed && !c.relay.draining {
		at = min(at, c.ack.at)
	}
	if c.blocked {
		at = min(at, c.pace.next)
	}
	at = min(at, c.askAt(), c.pmtu.tooBig.deadline())
	if !c.cfg.Relay {
		at = min(at, c.endDeadline(), c.giveUpAt(), c.keepAliveAt(), c.tuneDeadline())
	}
	return at
}

// Expire runs what is due at now. Timers fire nowhere else.
func (c *Conn) Expire(now mono.Time) {
	if c.err != nil || c.end.phase == endOver {
		return
	}
	if c.open.phase != openDone {
		c.expireOpening(now)
		return
	}
	if c.ack.owed && c.ack.at <= now {
		c.ack.now = true
		if c.ack.rides {
			c.ack.ackAlone()
		}
	}
	if !c.cfg.Relay {
		c.expireEnd(now)
		c.giveUp(now)
		c.keepAlive(now)
		c.shrink(now)
	}
	c.askAgain(now)
	c.decideTooBig(now)
	if c.retx.kind == retxNone || c.retx.at > now {
		return
	}
	switch c.retx.kind {
	case retxReorder:
		wait := c.detect(now)
		if c.rec.phase == fast {
			c.prr(0, false)
		}
		c.rearm(now, wait)
	case retxProbe:
		c.rack.probe = true
		c.restart(now)
	case retxTimeout:
		c.timeout(now)
	case retxPersist:
		c.persist(now)
	}
}

// timeout is the expiry of the retransmission timer (RFC 6298, 5.4 to 5.7;
// RFC 8985, 6.3).
func (c *Conn) timeout(now mono.Time) {
	if c.sent.n == 0 {
		c.retx = retxTimer{}
		return
	}
	c.stats.Timeouts++
	c.timeouts++
	c.rtt.backoff++
	if c.timeouts > c.retries() && now.Sub(c.waitFrom) >= c.r2() && (c.edge > c.una || now.Sub(c.heard) > rtoMax) {
		// RFC 9293, 3.8.3: R2. A peer that shrank its window to nothing and
		// still answers is alive.
		c.err = ErrTimeout
		return
	}
	if c.sent.at(0).fate == sacked {
		c.renege()
	} else if r := c.sent.at(0); r.fate == flying {
		c.ecn.ectLost(r, c.mss)
		c.drop(r)
	}
	c.pathTimeout(now)
	first := c.rec.phase != timeout
	reo := c.rack.rtt + c.reorderWindow()
	for r := c.sent.oldest(); r != nil && r.at.Add(reo) <= now; r = c.sent.oldest() {
		c.ecn.ectLost(r, c.mss)
		c.drop(r)
	}
	again := 0
	if c.rec.phase != open {
		again = c.rec.undoBytes // of this window, and may still be reported twice
	}
	c.rec = recovery{
		phase: timeout, point: c.nxt, undo: true, undoFrom: c.una, undoBytes: again,
		frto: c.snap.SACK && first && c.timeouts == 1,
	}
	c.rack.probing, c.rack.probe = false, false
	c.windowReduced()
	c.ecn.episode()
	c.control.Congested(now, cc.Signal{
		Kind: cc.Timeout, First: first, Bytes: c.lostBytes, InFlight: c.flight, FlightSize: c.flightSize(),
		Delivered: c.rate.delivered, LostTotal: c.rate.lost,
	})
	c.rec.allow = min(max(c.control.Window(), c.mss), 2*c.mss)
	c.pace.next = now
	c.restart(now)
}

// restart has the timer wait for a full RTO.
func (c *Conn) restart(now mono.Time) {
	t := &c.retx
	t.due = now.Add(c.rto())
	t.kind, t.at = retxTimeout, t.due
}

// renege forgets what was SACKed: the peer has thrown it away, and gets it again
// (RFC 2018, 8).
func (c *Conn) renege() {
	for i := range c.sent.n {
		if r := c.sent.at(i); r.fate == sacked {
			c.flight += r.len()
			c.drop(r)
		}
	}
}

// persist asks for the window (RFC 9293, 3.8.6.1), for as long as the peer
// answers.
func (c *Conn) persist(now mono.Time) {
	if !c.persisting() {
		c.retx = retxTimer{}
		return
	}
	t := &c.retx
	if t.probes++; t.probes > c.retries() {
		c.err = ErrTimeout
		return
	}
	closed := c.usable() == 0
	c.probe = c.probe || closed // one may be due for another reason
	t.override = !closed
	c.urgentTold = 0 // what told of urgent data may be lost
	t.shift++        // RFC 9293, SHLD-30: every interval is twice the one before
	t.at = now.Add(min(c.rtt.base()<<min(t.shift, 20), rtoMax))
}

// rto gives the RTO. In a drain the first timeouts do not back off, as Linux has
// it for thin streams: little is to be sent, and soon.
func (c *Conn) rto() time.Duration {
	r := c.rtt
	if c.relay.draining {
		r.backoff = max(0, r.backoff-linearTimeouts)
	}
	return r.rto()
}

// r2 gives how long the peer may leave data unacknowledged (RFC 9293, 3.8.3: R2): as
// long as so many timeouts take that back off, from the smallest RTO on. Where SACKs
// take the backoff back, the count alone would come to seconds (SHLD-11: 100 at least).
func (c *Conn) r2() (d time.Duration) {
	step := c.rtt.floor
	for range c.retries() + 1 {
		d += step
		step = min(2*step, rtoMax)
	}
	return d
}

func (c *Conn) retries() int {
	if c.cfg.Retries == 0 {
		return defaultRetries
	}
	return c.cfg.Retries
}
