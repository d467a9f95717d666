package tcpstack

// How a connection begins. Read RFC 9293 3.5 and 3.10.7.2 to 3.10.7.4 first, then
// RFC 7323 2 and 3, RFC 6298 5.7 and RFC 5961.

import (
	"time"

	"accd/tcpstack/buf"
	"accd/tcpstack/cc"
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

// Specification constants.
const (
	rtoAfterSYN = 3 * time.Second // RFC 6298, 5.7: the RTO once a SYN was lost
	maxWindow16 = 65535           // a window without scaling
)

// openPhase is how far the handshake is.
type openPhase uint8

const (
	openDone openPhase = iota // ESTABLISHED, or beyond
	openSynSent
	openSynReceived
)

// handshake is what a Conn knows until it is ESTABLISHED. The SYN has no offset in
// the Streams: SND.UNA, as an offset, is the byte behind our SYN from the start.
type handshake struct {
	phase  openPhase
	active bool      // Dial began it, simultaneous open included (RFC 9293, MUST-11)
	held   bool      // the SYN-ACK waits for Answer
	due    bool      // a SYN or SYN-ACK is to be sent now
	reject bool      // an RST at resetSeq is owed to a segment; the handshake goes on
	soft   bool      // an ICMP error told why there may be no answer
	tries  uint8     // SYNs, or SYN-ACKs, sent
	mss    uint16    // MSS option to send; 0: what the MTU allows
	sentAt mono.Time // when the last of them was sent
	at     mono.Time // when the next is due
}

// Dial makes a Conn that opens a connection: its first packet is a SYN. key.Src is
// our side; iss is the initial sequence number (Secret.ISN). in gets what is
// received, out is what is sent: both may hold bytes already, and SND.UNA is
// out.Base. The congestion controller is made when the connection is ESTABLISHED.
func Dial(now mono.Time, key wire.Tuple, iss wire.Seq, in, out *Stream, cfg *Config) *Conn {
	c := new(Conn)
	c.Dial(now, key, iss, in, out, cfg)
	return c
}

// Dial is the function of the same name in place: c's earlier life is over, and
// what it kept for reuse stays.
func (c *Conn) Dial(now mono.Time, key wire.Tuple, iss wire.Seq, in, out *Stream, cfg *Config) {
	c.beginOpening(now, key, iss, in, out, cfg)
	c.open = handshake{phase: openSynSent, active: true, due: true}
}

// Accept makes a Conn of a SYN that arrived: its first packet is the SYN-ACK, at
// once or, if cfg.HoldAnswer, after Answer. key.Src is our side. It takes syn's
// payload, which reaches in when the connection is ESTABLISHED.
func Accept(now mono.Time, key wire.Tuple, iss wire.Seq, syn *Segment, in, out *Stream, cfg *Config) *Conn {
	c := new(Conn)
	c.Accept(now, key, iss, syn, in, out, cfg)
	return c
}

// Accept is the function of the same name in place: c's earlier life is over, and
// what it kept for reuse stays.
func (c *Conn) Accept(now mono.Time, key wire.Tuple, iss wire.Seq, syn *Segment, in, out *Stream, cfg *Config) {
	c.beginOpening(now, key, iss, in, out, cfg)
	c.open = handshake{phase: openSynReceived, due: !cfg.HoldAnswer, held: cfg.HoldAnswer}
	c.learnSYN(now, syn)
	c.heardSYN(syn)
	c.queueText(now, syn)
}

// beginOpening is what Dial and Accept have in common.
func (c *Conn) beginOpening(now mono.Time, key wire.Tuple, iss wire.Seq, in, out *Stream, cfg *Config) {
	first := iss.Add(1)
	c.begin(now, &Snapshot{Tuple: key, SndUna: first, SndNxt: first}, in, out, cfg)
	c.tsVal = uint32(now / mono.Time(time.Millisecond))
	c.waitFrom = now
}

// Answer lets go the SYN-ACK that HoldAnswer held.
func (c *Conn) Answer(mono.Time) {
	if c.open.held {
		c.open.held, c.open.due = false, true
	}
}

// Held reports whether the SYN-ACK waits for Answer.
func (c *Conn) Held() bool { return c.open.held }

// OfferMSS lowers the MSS option of the SYN or SYN-ACK that is to be sent: what
// who answers for a server learnt from it. What the MTU allows is the most.
func (c *Conn) OfferMSS(bytes int) {
	c.open.mss = uint16(min(max(bytes, MinMSS), maxWindow16))
}

// RecallPath says what earlier connections by the same path have left, for a Conn
// that is opening: it will begin with that, carefully (RFC 9959).
func (c *Conn) RecallPath(p cc.Path) { c.snap.Path = p }

// PeerMSS gives the MSS option of the peer's SYN in bytes; 0: there was none, or
// no SYN yet.
func (c *Conn) PeerMSS() int { return c.snap.MSS }

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

// iss gives the sequence number of our SYN, and irs that of the peer's, while the
// handshake goes on.
func (c *Conn) iss() wire.Seq { return c.seq(c.una).Add(-1) }

func (c *Conn) irs() wire.Seq { return c.rcvSeq(c.in.end).Add(-1) }

// synWindow gives the window of a SYN, which is never scaled (RFC 7323, 2.2).
func (c *Conn) synWindow() int { return min(c.buffer, maxWindow16) }

// scale gives the smallest shift with which all of the buffer can be offered.
func (c *Conn) scale() uint8 {
	n := c.cfg.WindowScale
	for n < wire.MaxWScale && c.mostBuffer()>>n > maxWindow16 {
		n++
	}
	return min(n, wire.MaxWScale)
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
	n := min(c.cfg.mtu()-headers(&c.snap.Tuple), maxWindow16)
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
