package tcpstack

// The SYN and the SYN-ACK, and when they go again. Read RFC 7323 2 and RFC 6298 5
// first.

import (
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Ours.
//
// A SYN is sent again after 1, 1, 1, 1, 1, 2, 4, 8 … seconds, as Linux does since
// 6.5, where RFC 6298 (5.5) doubles from the beginning: what is lost with a SYN is
// whole seconds of somebody's time, and one small packet a second is no load. With
// eleven retransmissions the attempt ends after 251 s (RFC 9293, MUST-23: R2 of a
// SYN is at least 3 minutes). A SYN-ACK is sent again after 1, 2, 4 … seconds, five
// times (Linux's tcp_synack_retries): its receiver is not known to have asked for
// it, and one who has repeats the SYN, which is answered at once.
const (
	synLinear     = 5  // SYNs a second apart before the interval doubles
	synRetries    = 11 // retransmissions of a SYN
	synAckRetries = 5  // retransmissions of a SYN-ACK
)

// transmitOpening is Transmit before ESTABLISHED.
func (c *Conn) transmitOpening(now mono.Time, p *Packet) bool {
	h := &c.open
	switch {
	case h.held:
		return false
	case h.due:
		c.sendSYN(now, p)
		return true
	case c.ack.owed && c.ack.now:
		return c.sendAck(now, p) // SYN-RECEIVED: <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>
	}
	return false
}

// sendSYN makes the SYN or SYN-ACK.
func (c *Conn) sendSYN(now mono.Time, p *Packet) {
	h, o := &c.open, &p.Options
	answer := h.phase == openSynReceived
	p.Seq, p.Flags, p.Window = c.iss(), wire.SYN, uint16(c.synWindow())
	o.Set, o.MSS = wire.HasMSS, c.offeredMSS()
	if !c.cfg.NoSACK && (!answer || c.snap.SACK) {
		o.Set |= wire.HasSACKPermitted
	}
	if !c.cfg.NoTimestamps && (!answer || c.snap.Timestamps) {
		o.Set |= wire.HasTS
		o.TSVal, o.TSEcr = c.clock(now), 0
	}
	if !c.cfg.NoWindowScale && (!answer || c.scaled()) {
		o.Set |= wire.HasWScale
		o.WScale = c.scale()
	}
	if answer {
		p.Flags |= wire.ACK | c.grantECN()
		if c.ecn.agreed == AccurateECN && h.tries == 0 {
			FirstAccECN(o) // RFC 9768, 3.2.3.2.2: not when it is sent again
		}
		p.Ack = c.irs().Add(1)
		if c.snap.Timestamps {
			o.TSEcr = c.tsRecent
		}
		c.ack = ackState{quick: c.ack.quick}
	} else {
		p.Flags |= c.cfg.ECN.Ask(int(h.tries))
	}
	h.due = false
	h.sentAt, h.at = now, now.Add(h.interval())
	h.tries++
}

// offeredMSS gives the MSS option to send: what arrives may be as long as the MTU,
// whatever its options (RFC 9293, 3.7.1; RFC 6691), or what OfferMSS allows.
func (c *Conn) offeredMSS() uint16 {
	n := min(c.cfg.mtu()-wire.HeadersLen(c.snap.Tuple.Is4()), maxWindow16)
	if c.open.mss > 0 {
		n = min(n, int(c.open.mss))
	}
	return uint16(n)
}

// scaled reports whether windows are scaled. Where both shifts are 0 there is
// nothing to say, and it makes no difference.
func (c *Conn) scaled() bool { return c.snap.SndScale|c.snap.RcvScale != 0 }

// interval gives how long to wait for an answer to the SYN about to be sent.
func (h *handshake) interval() time.Duration {
	n := int(h.tries)
	if h.phase == openSynSent {
		n = max(0, n-synLinear+1)
	}
	return min(rtoInitial<<n, rtoMax)
}

// expireOpening is Expire before ESTABLISHED.
func (c *Conn) expireOpening(now mono.Time) {
	h := &c.open
	if h.due || c.openingDeadline() > now {
		return
	}
	most := synAckRetries
	if h.phase == openSynSent {
		if most = synRetries; c.cfg.SYNRetries > 0 {
			most = c.cfg.SYNRetries
		}
	}
	if int(h.tries) > most || h.at > now {
		c.err = ErrTimeout
		if h.soft {
			c.err = ErrUnreachable
		}
		return
	}
	h.due = true
}

// openingDeadline is Deadline before ESTABLISHED.
func (c *Conn) openingDeadline() mono.Time {
	h := &c.open
	if h.held || h.tries == 0 {
		return mono.Never
	}
	if h.active && c.cfg.UserTimeout > 0 {
		return min(h.at, c.waitFrom.Add(c.cfg.UserTimeout)) // RFC 9293, 3.9.1.1: of OPEN
	}
	return h.at
}
