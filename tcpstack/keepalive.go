package tcpstack

// How long a peer may be silent. Read RFC 9293 3.8.3 and 3.8.4, and RFC 5482 first.

import (
	"time"

	"accd/tcpstack/mono"
)

// KeepAlive says how to ask a silent peer whether it is there (RFC 9293, 3.8.4).
// The zero KeepAlive does not (MUST-25).
type KeepAlive struct {
	On       bool
	Idle     time.Duration // of silence before the first probe; 0: 2 h (MUST-28)
	Interval time.Duration // between probes; 0: 75 s, as Linux
	Probes   int           // without an answer, before the Conn is aborted; 0: 9, as Linux
}

// Defaults of KeepAlive.
const (
	keepAliveIdle     = 2 * time.Hour
	keepAliveInterval = 75 * time.Second
	keepAliveProbes   = 9
)

// keepAliveAt gives when the next probe is due, or the last one was not answered.
// While something waits for the peer, that is what tells (RFC 9293, 3.8.4: only
// when nothing else was sent).
func (c *Conn) keepAliveAt() mono.Time {
	k := &c.cfg.KeepAlive
	if !k.On || c.end.phase != endNone || c.waits() {
		return mono.Never
	}
	idle, interval := k.Idle, k.Interval
	if idle == 0 {
		idle = keepAliveIdle
	}
	if interval == 0 {
		interval = keepAliveInterval
	}
	if c.probes == 0 {
		return c.heard.Add(idle)
	}
	return c.probedAt.Add(interval) // a clock that leaps must not make the probes one volley
}

// keepAlive sends the probe that is due, a segment at SND.UNA − 1 without data, or
// gives up when none was answered: one lost ACK proves nothing (MUST-29).
func (c *Conn) keepAlive(now mono.Time) {
	if c.err != nil || c.keepAliveAt() > now {
		return
	}
	most := c.cfg.KeepAlive.Probes
	if most == 0 {
		most = keepAliveProbes
	}
	if int(c.probes) >= most {
		c.abortWith(ErrTimeout)
		return
	}
	c.probes++
	c.probedAt = now
	c.Probe()
}

// waits reports whether something sent, or held back by a closed window, waits for
// the peer.
func (c *Conn) waits() bool { return c.sent.n > 0 || c.persisting() }

// giveUpAt gives when it has waited for too long.
func (c *Conn) giveUpAt() mono.Time {
	patience := c.cfg.UserTimeout
	if c.end.gone && (patience == 0 || patience > orphanPatience) {
		patience = orphanPatience
	}
	if patience == 0 || !c.waits() {
		return mono.Never
	}
	return c.waitFrom.Add(patience)
}

// giveUp ends the Conn then. The peer is told, for it may be there: its window is
// closed, or the way to it.
func (c *Conn) giveUp(now mono.Time) {
	if c.err == nil && c.giveUpAt() <= now {
		c.abortWith(ErrTimeout)
	}
}
