package tcpstack

// What a Conn without Relay waits for once it is closed. Read RFC 9293 3.6 and
// 3.10.4 first, then RFC 1337 and RFC 6191.

import (
	"time"

	"accd/tcpstack/mono"
)

// Specification constants.
const (
	// timeWait is 2 MSL. RFC 9293, 3.4.2 says that an MSL is 2 minutes; Linux's
	// whole TIME-WAIT is 60 s, and has been for as long as anybody remembers.
	timeWait = 60 * time.Second
)

// Ours.
const (
	// finWait2 is how long a peer may leave its direction open when nobody reads
	// it (Linux's tcp_fin_timeout). A half-close by an application that reads on
	// has no limit.
	finWait2 = 60 * time.Second
	// orphanPatience is how long what an application left behind may wait without
	// progress, a closed window included: the smallest R2 there may be (RFC 9293,
	// SHLD-11).
	orphanPatience = 100 * time.Second
	// reopenGap is how far the ISS of a connection that takes the place of one in
	// TIME-WAIT is ahead of it, at least: beyond any unscaled window, as in Linux.
	reopenGap = 65535 + 2
)

// endPhase is what is waited for.
type endPhase uint8

const (
	endNone     endPhase = iota
	endFinWait           // FIN-WAIT-2 with no reader: the peer's FIN, until at
	endTimeWait          // TIME-WAIT, until at
	endOver              // CLOSED: nothing
)

// ending is the end of a connection.
type ending struct {
	phase   endPhase
	passive bool // the peer's FIN came before ours was sent
	gone    bool // Close: nobody will read any more
	at      mono.Time
}

// Close says that the application neither writes nor reads any more: out is
// closed, and what it holds is still delivered. Unread bytes in in, or such that
// arrive later, abort the Conn (RFC 9293, 3.6.1; RFC 2525, 2.17). To close one
// direction only, close out. Not for Relay.
func (c *Conn) Close(now mono.Time) {
	if c.end.gone {
		return
	}
	c.end.gone = true
	c.out.Close()
	c.waitFrom = now
	if c.open.phase == openSynSent || c.in.Len() > 0 {
		c.Abort()
		return
	}
	c.settle(now)
}

// settle moves on where the connection stands once a FIN is acknowledged.
func (c *Conn) settle(now mono.Time) {
	e := &c.end
	switch {
	case c.cfg.Relay || !c.sndClosed || e.phase >= endTimeWait || c.err != nil:
	case !c.rcvClosed:
		if e.gone && e.phase == endNone {
			e.phase, e.at = endFinWait, now.Add(finWait2)
		}
	case e.passive:
		c.over()
	default:
		e.phase, e.at = endTimeWait, now.Add(timeWait)
	}
}

// over is CLOSED after FINs both ways.
func (c *Conn) over() {
	c.end.phase = endOver
	c.retx = retxTimer{}
	c.ack = ackState{}
	c.reasm.reset()
}

// endDeadline gives when the waiting ends.
func (c *Conn) endDeadline() mono.Time {
	if c.end.phase == endNone {
		return mono.Never
	}
	return c.end.at
}

// expireEnd ends it.
func (c *Conn) expireEnd(now mono.Time) {
	if c.endDeadline() <= now {
		c.over()
	}
}
