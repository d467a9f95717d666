package tcpstack

// The arrival of a segment, in the order of RFC 9293, 3.10.7.4, which is to be
// read first, with RFC 5961 and RFC 7323, 5.

import (
	"time"

	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// pawsIdle is how long TS.Recent stays valid (RFC 7323, 5.5).
const pawsIdle = 24 * 24 * time.Hour

// Stale reports whether a TSval is older than recent, which was set at age and is
// not too old itself to be compared with (RFC 7323, 5.3 and 5.5).
func Stale(now mono.Time, val, recent uint32, age mono.Time) bool {
	return int32(val-recent) < 0 && now.Sub(age) < pawsIdle
}

// Receive takes one segment and its payload. It never sends.
func (c *Conn) Receive(now mono.Time, s *Segment) {
	if c.abort == abortDone {
		c.resetAgain(s)
	}
	if c.err != nil || c.end.phase == endOver ||
		c.open.phase != openDone && !c.receiveOpening(now, s) ||
		!c.arrive(now, s) {
		s.Drop()
		return
	}
	if c.ecn.agreed == AccurateECN {
		if c.ecn.acc.third {
			c.ecn.acc.third = false
			c.thirdACK(s)
		}
		c.noteCounts(s)
	}
	ack := c.offset(s.Ack)
	switch {
	case ack <= c.nxt:
		c.relay.heard(s.Ack.Less(c.seq(c.una)))
	default:
		// custody.md: an ACK above SND.NXT changes nothing. In drain bytes do
		// go past us, but only the caller, who sees them, knows which: SendTo.
		if !c.relay.draining {
			c.ahead(now, s.Ack)
		}
		s.Drop()
		return
	}
	c.heard, c.probes = now, 0
	c.noteTimestamp(now, s)
	c.receiveAck(now, s, ack)
	if c.relay.draining {
		c.noteCWR(s)
		s.Drop()
		return
	}
	c.receiveText(now, s)
}

// receiveText runs the steps from the sixth on: what the segment carries.
func (c *Conn) receiveText(now mono.Time, s *Segment) {
	end := s.End()
	c.receiveUrgent(s)
	c.receiveData(now, s)
	if s.Flags.Has(wire.FIN) {
		c.receiveFIN(now, end.Add(-1))
	}
	c.closeIn()
	c.settle(now)
}

// arrive runs the tests before any effect, and counts and answers what fails
// them.
func (c *Conn) arrive(now mono.Time, s *Segment) bool {
	if c.end.phase == endTimeWait && (s.Flags.Has(wire.RST) || s.Flags.Has(wire.SYN) && !s.Flags.Has(wire.ACK)) {
		return false // RFC 1337, 3 and RFC 6191, 2: see TimeWaiter
	}
	c.heardSYNACKAgain(s)
	// First, and RFC 7323, 5.3 R1.
	if c.paws(now, s) {
		c.stats.BadPAWS++
		c.answer(now, s)
		return false
	}
	if !c.inWindow(s) {
		c.stats.BadSeq++
		c.noteKeepalive(now, s)
		if !s.Flags.Has(wire.RST) {
			c.duplicateData(s)
			c.answer(now, s)
		}
		return false
	}
	// Second.
	if s.Flags.Has(wire.RST) {
		if !c.cfg.Relay && c.CheckReset(now, s) == ResetAccept {
			c.err = ErrReset
		}
		return false
	}
	// Fourth: RFC 5961, 4.2.
	if s.Flags.Has(wire.SYN) {
		c.challenge(now)
		return false
	}
	// Fifth: RFC 5961, 5.2.
	if !s.Flags.Has(wire.ACK) {
		return false
	}
	if !c.ackAcceptable(s) {
		c.stats.BadAck++
		c.challenge(now)
		return false
	}
	return true
}

// Believable reports whether a segment passes the tests that come before any
// effect: RFC 9293 3.10.7.4 first, fifth; RFC 7323 5.3 (PAWS); RFC 5961 5.2.
// An acknowledgment of something never sent does not make it unbelievable to a
// Relay Conn: see Ahead.
func (c *Conn) Believable(now mono.Time, s *Segment) bool {
	return !c.paws(now, s) && c.inWindow(s) && s.Flags.Has(wire.ACK) && c.ackAcceptable(s)
}

// paws reports that a segment is an old duplicate by its timestamp.
func (c *Conn) paws(now mono.Time, s *Segment) bool {
	return s.Options.Has(wire.HasTS) && c.haveTS && !s.Flags.Has(wire.RST) &&
		Stale(now, s.Options.TSVal, c.tsRecent, c.tsRecentAge)
}

// inWindow is the sequence number test. As in Linux a segment may end exactly
// at what was acknowledged, so that a duplicate is noticed, and begin anywhere
// up to the edge.
func (c *Conn) inWindow(s *Segment) bool {
	return !s.End().Less(c.rcvSeq(c.acked)) && s.Seq.LessEq(c.rcvSeq(max(c.rcvEdge, c.rcvNext())))
}

// ackAcceptable is RFC 5961, 5.2: SND.UNA − MAX.SND.WND ≤ SEG.ACK ≤ SND.NXT. In
// custody the peer may have got more than we sent, and windows we did not see:
// see Ahead.
func (c *Conn) ackAcceptable(s *Segment) bool {
	d := s.Ack.Sub(c.seq(c.una))
	if d > int(c.nxt-c.una) {
		return c.cfg.Relay && d <= wire.MaxWindow
	}
	return d >= -c.maxWnd
}

// noteTimestamp keeps TS.Recent (RFC 7323, 4.3).
func (c *Conn) noteTimestamp(now mono.Time, s *Segment) {
	if !c.snap.Timestamps || !s.Options.Has(wire.HasTS) {
		return
	}
	c.relay.noteStamps(s)
	if c.rcvSeq(c.acked).Less(s.Seq) {
		c.noteBeyond(s)
		return
	}
	if !c.haveTS || !Stale(now, s.Options.TSVal, c.tsRecent, c.tsRecentAge) {
		c.tsRecent, c.tsRecentAge, c.haveTS = s.Options.TSVal, now, true
	}
}

// noteKeepalive takes the timestamp of a probe just before the window (RFC 9293,
// 3.8.4), Relay only: an endpoint that says nothing else may have sent its peer a
// later one past us, and the peer discards what carries less.
func (c *Conn) noteKeepalive(now mono.Time, s *Segment) {
	if c.cfg.Relay && s.Seq == c.rcvSeq(c.acked).Add(-1) && s.Flags.Has(wire.ACK) && c.ackAcceptable(s) {
		c.noteTimestamp(now, s)
	}
}

// answer owes an ACK for an unacceptable segment: data at once, what could be
// half of an ACK loop, and what a forger needs no numbers for, at most twice a
// second.
func (c *Conn) answer(now mono.Time, s *Segment) {
	if s.Len() > 0 && !s.Flags.Has(wire.SYN) {
		c.oweNow()
		return
	}
	c.challenge(now)
}

// challenge owes a challenge ACK, rate limited (RFC 5961, 10).
func (c *Conn) challenge(now mono.Time) {
	if now < c.challengeAt {
		return
	}
	c.challengeAt = now.Add(challengeEvery)
	c.stats.ChallengeAcks++
	c.oweNow()
}

// receiveData is the seventh step: the payload.
func (c *Conn) receiveData(now mono.Time, s *Segment) {
	n := s.Payload.Len()
	if n == 0 {
		return
	}
	ref := s.Payload
	s.Payload = buf.Ref{}
	d := s.Seq.Sub(c.rcvSeq(c.in.end))
	if d >= 0 && c.FINReceived() {
		ref.Release() // RFC 9293, 3.10.7.4, seventh: behind a FIN there is no text
		return
	}
	if d+n <= 0 {
		ref.Release()
		c.duplicateRange(s.Seq, n)
		c.oweNow()
		return
	}
	if c.FINReceived() {
		ref.Release() // all of it before the FIN is here
		c.oweNow()
		return
	}
	if c.end.gone {
		// RFC 9293, 3.6.1 and RFC 1122, 4.2.2.13: nobody will read it.
		ref.Release()
		c.Abort()
		return
	}
	c.stats.Received++
	c.ack.sizeUp(n, s.Flags.Has(wire.PSH))
	c.noteMarks(s)
	c.ecn.acc.again = 0
	// The window's right edge cuts.
	if over := d + n - int(c.rcvEdge-c.in.end); over > 0 {
		if n -= over; n <= 0 || d+n <= 0 {
			ref.Release()
			c.oweNow()
			return
		}
		ref = ref.Slice(0, n)
	}
	if d > 0 {
		c.outOfOrder(now, uint64(d)+c.in.end, ref)
		return
	}
	if d < 0 {
		c.duplicateRange(s.Seq, -d)
		ref = ref.Slice(-d, n)
	}
	c.stats.BytesReceived += uint64(ref.Len())
	filling := !c.reasm.empty()
	c.ack.dups = 0
	c.in.Append(ref)
	c.reportTwice(c.pull(now))
	if filling || d < 0 {
		c.oweNow() // RFC 5681, 4.2: at once when a hole is filled
		return
	}
	c.oweData(now, n+d, s.Flags.Has(wire.PSH))
	c.tuneReceive(now, s, n+d)
}

// outOfOrder keeps a segment behind a hole.
func (c *Conn) outOfOrder(now mono.Time, off uint64, ref buf.Ref) {
	n := ref.Len()
	c.stats.OutOfOrder++
	fresh, twice, refused := c.reasm.insert(now, off, ref)
	if refused {
		c.stats.TooManyHoles++
	}
	c.reportTwice(twice)
	c.stats.BytesReceived += uint64(fresh)
	if !c.snap.SACK {
		// A peer that counts duplicate ACKs wants one per segment.
		c.ack.repeat = min(c.ack.repeat+(n-1)/c.mss, 2*dupThresh)
	}
	if twice != (extent{}) {
		c.oweNow() // what it reports is told once only (RFC 2883, 4)
		return
	}
	c.oweSACK(now)
}

// pull moves what is in order now from reassembly to the Stream, and gives what
// the Stream had already.
func (c *Conn) pull(now mono.Time) (twice extent) { return c.reasm.pull(now, c.in) }

// duplicateData reports a segment that lies wholly before the window.
func (c *Conn) duplicateData(s *Segment) {
	if n := s.Payload.Len(); n > 0 && s.Seq.Less(c.rcvSeq(c.acked)) {
		c.duplicateRange(s.Seq, n)
	}
}

// reportTwice reports what came twice, if anything did.
func (c *Conn) reportTwice(x extent) {
	if n := int(x.end - x.off); n > 0 {
		c.duplicateRange(c.rcvSeq(x.off), n)
	}
}

// duplicateRange notes a D-SACK block to send (RFC 2883, 4).
func (c *Conn) duplicateRange(seq wire.Seq, n int) {
	c.stats.Duplicates++
	c.ecn.acc.cameAgain()
	if !c.snap.SACK || c.relay.draining {
		return
	}
	b := wire.Block{Left: seq, Right: seq.Add(n)}
	if c.ack.haveD && c.ack.dsack.Right == b.Left {
		b.Left = c.ack.dsack.Left // what was sent again in vain comes in a row
	}
	c.ack.dsack, c.ack.haveD = b, true
}
