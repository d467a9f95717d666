package tcpstack

// What arrives before a connection is ESTABLISHED. Read RFC 9293 3.10.7.3 and
// 3.10.7.4 first, then RFC 7323 2 and 3, and RFC 5961.

import (
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Unreachable takes an ICMP error about a packet that began at seq. Only in
// SYN-SENT, and only for our SYN, it ends the connection, and only a hard error
// does so at once (RFC 9293, 3.9.2.2; RFC 5461, 4; RFC 5927, 5.2): a soft one is
// the reason given if no answer comes. It reports whether the error was believed.
func (c *Conn) Unreachable(_ mono.Time, seq wire.Seq, hard bool) bool {
	if c.err != nil || c.open.phase != openSynSent || c.open.tries == 0 || seq != c.iss() {
		return false
	}
	c.open.soft = true
	if hard {
		c.err = ErrUnreachable
	}
	return true
}

// learnSYN takes what the peer's SYN or SYN-ACK says. An option is in use only if
// both ends sent it (RFC 7323, 2.2 and 3.2; RFC 2018, 2).
func (c *Conn) learnSYN(now mono.Time, s *Segment) {
	c.snap.RcvNxt = s.Seq.Add(1)
	c.rcvSeq0 = c.snap.RcvNxt.Add(-int(uint32(c.in.end)))
	c.acked = c.in.end
	c.rcvEdge = c.in.end + uint64(c.synWindow())
	o, n := &s.Options, &c.snap
	if o.Has(wire.HasMSS) {
		n.MSS = max(int(o.MSS), 1) // 0 is as small as any, not "none"
	}
	if o.Has(wire.HasWScale) && !c.cfg.NoWindowScale {
		n.SndScale, n.RcvScale = min(o.WScale, wire.MaxWScale), c.scale()
	}
	n.SACK = o.Has(wire.HasSACKPermitted) && !c.cfg.NoSACK
	n.Timestamps = o.Has(wire.HasTS) && !c.cfg.NoTimestamps
	if n.Timestamps {
		c.tsRecent, c.tsRecentAge, c.haveTS = o.TSVal, now, true
	}
	c.wl1 = s.Seq
	c.edge = c.una + uint64(s.Window)
	c.maxWnd = max(c.maxWnd, int(s.Window))
}

// queueText keeps the data and the FIN that came with a SYN until the connection
// is ESTABLISHED (RFC 9293, 3.10.7.2 and 3.10.7.3).
func (c *Conn) queueText(now mono.Time, s *Segment) {
	if s.Flags.Has(wire.FIN) {
		c.receiveFIN(now, s.End().Add(-1))
	}
	if n := min(s.Payload.Len(), c.synWindow()); n > 0 {
		c.reasm.insert(now, c.in.end, s.Payload.Slice(0, n))
		s.Payload = buf.Ref{}
	}
	s.Drop()
}

// receiveOpening takes a segment before ESTABLISHED, and reports whether it is to
// go on as one of an established connection.
func (c *Conn) receiveOpening(now mono.Time, s *Segment) bool {
	if c.open.phase == openSynSent {
		c.inSynSent(now, s)
		return false
	}
	return c.inSynReceived(now, s)
}

// inSynSent is RFC 9293, 3.10.7.3.
func (c *Conn) inSynSent(now mono.Time, s *Segment) {
	answers := s.Flags.Has(wire.ACK)
	switch {
	case answers && (s.Ack != c.seq(c.una) || c.open.tries == 0):
		// First: it acknowledges what we have not sent.
		c.stats.BadAck++
		c.rejectSegment(s)
	case s.Flags.Has(wire.RST):
		// Second; RFC 5961, 3.2: only one that acknowledges our SYN.
		if answers {
			c.err = ErrRefused
		}
	case s.Flags.Has(wire.SYN):
		// Fourth.
		c.learnSYN(now, s)
		if !answers {
			// Simultaneous open (RFC 9293, figure 7): our SYN goes again, as a
			// SYN-ACK.
			c.open.phase, c.open.due, c.open.tries = openSynReceived, true, 0
			c.heardSYN(s)
			c.queueText(now, s)
			return
		}
		c.heardSYNACK(s)
		c.establishWith(now, s)
		return
	}
	s.Drop() // Fifth.
}

// inSynReceived is RFC 9293, 3.10.7.4 as far as it concerns SYN-RECEIVED.
func (c *Conn) inSynReceived(now mono.Time, s *Segment) bool {
	h := &c.open
	completes := s.Flags.Has(wire.ACK) && s.Ack == c.seq(c.una) && !h.held
	if s.Flags.Has(wire.SYN) && !s.Flags.Has(wire.RST) && s.Seq == c.irs() {
		if h.active && completes {
			// The other half of a simultaneous open: the sequence number test
			// must not see the SYN we have (RFC 9293, figure 7, line 6).
			c.establishWith(now, s)
			return false
		}
		switch {
		case s.Flags.Has(wire.ACK):
		case !c.heardSYNAgain(s):
			c.stats.MixedSYN++
			c.Abort()
		case !h.held:
			h.due = true // our SYN-ACK was lost
		}
		return false
	}
	switch {
	case c.paws(now, s):
		// First, and RFC 7323, 5.3 R1.
		c.stats.BadPAWS++
		c.answer(now, s)
	case !c.inWindow(s):
		c.stats.BadSeq++
		if !s.Flags.Has(wire.RST) {
			c.answer(now, s)
		}
	case s.Flags.Has(wire.RST):
		// Second, and RFC 5961, 3.2. Who listens goes on listening; who dialled
		// was refused.
		if c.CheckReset(now, s) == ResetAccept {
			c.err = ErrReset
			if h.active {
				c.err = ErrRefused
			}
		}
	case s.Flags.Has(wire.SYN):
		// Fourth: a passive open goes back to LISTEN, an active one is
		// synchronized (RFC 5961, 4.2).
		if h.active {
			c.challenge(now)
		} else {
			c.err = ErrReset
		}
	case !s.Flags.Has(wire.ACK):
		// Fifth.
	case !completes:
		c.stats.BadAck++
		c.rejectSegment(s)
	default:
		c.thirdACK(s)
		c.establish(now)
		return true
	}
	return false
}

// rejectSegment owes an RST for an acknowledgment of what was never sent (RFC
// 9293, 3.10.7.3 first and 3.10.7.4 fifth).
func (c *Conn) rejectSegment(s *Segment) {
	if !s.Flags.Has(wire.RST) && !c.open.held {
		c.open.reject, c.resetSeq = true, s.Ack
	}
}

// establishWith completes the handshake by a SYN-ACK, and goes on with what else it
// carries (RFC 9293, 3.10.7.3: from the sixth step on).
func (c *Conn) establishWith(now mono.Time, s *Segment) {
	c.wl1 = s.Seq
	c.edge = c.una + uint64(s.Window)
	c.establish(now)
	c.oweNow()
	s.Seq = s.Seq.Add(1)
	s.Flags &^= wire.SYN
	c.receiveText(now, s)
}

// establish makes the connection ESTABLISHED: its round trip is that of a SYN sent
// once (Karn), its congestion window what is left after lost SYNs.
func (c *Conn) establish(now mono.Time) {
	h := &c.open
	crossed := h.active && h.phase == openSynReceived
	switch {
	case h.tries > 1:
		c.rtt.first = rtoAfterSYN
	case h.tries == 1 && !crossed:
		c.rtt.sample(now.Sub(h.sentAt))
		c.rtt.observe(now, now.Sub(h.sentAt))
	}
	window := c.cfg.InitialWindow
	if h.tries > 2 {
		// RFC 5681, 3.1 makes it one segment after any lost SYN; with an initial
		// RTO of one second, a first loss may be none (RFC 6298, appendix A), and
		// Linux forgives it.
		window = 1
	}
	h.phase, h.due, h.tries = openDone, false, 0
	c.initPathMTU()
	c.newController(now, window)
	c.rate.deliveredAt, c.rate.firstSent = now, now
	c.heard, c.progressed = now, now
	if !c.reasm.empty() || c.haveFIN {
		c.pull(now)
		c.closeIn()
		c.oweNow()
	}
}
