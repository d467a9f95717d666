package tcpstack

// What a Conn does in custody beyond RFC 9293: docs/custody.md is to be read
// first.

import (
	"time"

	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// relayState is the part of a Conn that only custody uses.
type relayState struct {
	draining bool
	vain     int  // while draining: repetitions found lost since the peer acknowledged more
	ask      bool // the probe that is due may be the first bytes in flight, sent again

	// The peer acknowledged more than was sent (custody.md: receiver ahead).
	claimed bool      // it did, and a probe asks whether it means it
	claim   wire.Seq  // the number it has to repeat
	asked   bool      // the probe has left,
	askedAt mono.Time // then
	againAt mono.Time // with claimed: the next one is due then, if no answer comes
	vainly  int       // so many were sent since the last answer
	early   bool      // an answer came sooner than one could
	answers int       // that were as large
	proven  bool      // there were enough: Ahead gives claim

	// Of the data behind a hole the segment with the lowest TSval, which a
	// forged one cannot raise: its place and TSval.
	beyond  wire.Seq
	stamp   uint32
	stamped bool

	newest uint32 // TSval that came, behind a hole too
	echo   uint32 // TSecr that came last
	stamps bool   // one came
}

// AnswersWanted is how often in a row the peer, asked, has to acknowledge what its
// owner did not send: forged ACKs come as often as somebody likes, but between them
// the peer gives its own answer, unless so many are lost.
const AnswersWanted = 5

// ahead notes an acknowledgment number beyond SND.NXT. The first one changes
// nothing and asks. A smaller one takes its place, for the first may have been
// forged, and so may one that comes sooner than an answer could.
func (c *Conn) ahead(now mono.Time, n wire.Seq) {
	r := &c.relay
	switch {
	case !r.claimed, r.asked && n.Less(r.claim):
		r.claimed, r.claim, r.answers = true, n, 0
	case !r.asked:
		return
	case now < c.answerAt():
		r.early = true
		return
	default:
		if r.answers++; r.answers == AnswersWanted {
			r.proven = true
			return
		}
	}
	r.asked, r.early, r.vainly = false, false, 0
	r.againAt = now.Add(c.rtt.base())
	c.Ask()
}

// answerAt gives when an answer to the first probe of a claim can come at the soonest.
func (c *Conn) answerAt() mono.Time { return c.relay.askedAt.Add(c.rtt.min / 2) }

// askAt gives when a question is due again: when an answer can come, after one that
// came sooner, for the path may have been slow only while its round trip was measured; and
// when none came within an RTO, twice as long each time. A timer that was backed off while
// the peer was not heard says nothing of one that answers.
func (c *Conn) askAt() mono.Time {
	switch r := &c.relay; {
	case !r.claimed:
		return mono.Never
	case r.early:
		return c.answerAt()
	default:
		return r.againAt
	}
}

// askAgain asks once more.
func (c *Conn) askAgain(now mono.Time) {
	r := &c.relay
	if now < c.askAt() {
		return
	}
	if !r.early {
		r.vainly++
	}
	r.early = false
	r.againAt = now.Add(min(c.rtt.base()<<min(r.vainly, 20), rtoMax))
	c.Ask()
}

// heard takes a claim back when the peer, asked, acknowledges less. An old ACK
// that was on its way proves nothing.
func (r *relayState) heard(old bool) {
	if r.claimed && (r.asked || r.answers > 0) && !old {
		r.claimed, r.proven, r.early = false, false, false
	}
}

// Ahead gives the acknowledgment number beyond SndNxt that the peer has
// confirmed after a probe, once; Relay only. The caller decides whether to
// believe it, and then calls SendTo.
func (c *Conn) Ahead() (n wire.Seq, ok bool) {
	r := &c.relay
	if !r.proven {
		return n, false
	}
	r.claimed, r.proven, r.early = false, false, false
	return r.claim, true
}

// SendTo says that the peer has everything before n, although this Conn did not
// send it: SndUna and SndNxt move there, and out is discarded up to it.
func (c *Conn) SendTo(now mono.Time, n wire.Seq) {
	to := c.offset(n)
	if to <= c.una {
		return
	}
	if c.out.closed && to > c.out.end {
		c.sndClosed = true // the FIN is no byte of the stream
		c.out.Discard(c.out.end)
	} else {
		c.out.Discard(to)
	}
	for c.sent.n > 0 && c.sent.at(0).off < to {
		r := c.sent.at(0)
		if r.end > to {
			c.sent.split(0, to)
			continue
		}
		switch r.fate {
		case flying:
			c.flight -= r.len()
		case lost:
			c.lostBytes -= r.len()
		}
		c.sent.pop()
	}
	c.una, c.nxt = to, max(c.nxt, to)
	c.edge = max(c.edge, to)
	if c.rec.phase != open && c.una >= c.rec.point {
		c.leave(now)
	}
	c.endReduction(now)
	c.progressed = now
	c.timeouts, c.rtt.backoff = 0, 0 // the peer answers
	c.arm(now, 0)
}

// Skipped says that in has moved on by SendTo of the opposite Conn: what waited
// behind the hole is in order now, its timestamp counts (the opposite endpoint
// may have seen a later one with what went another way), and an ACK is owed.
func (c *Conn) Skipped(now mono.Time) {
	c.pull(now)
	c.closeIn()
	if r := &c.relay; r.stamped && r.beyond.LessEq(c.rcvSeq(c.rcvNext())) {
		if !c.haveTS || int32(r.stamp-c.tsRecent) > 0 {
			c.tsRecent, c.tsRecentAge, c.haveTS = r.stamp, now, true
		}
		r.stamped = false
	}
	c.oweNow()
}

// noteStamps keeps the newest TSval of acceptable segments, and the last TSecr.
func (r *relayState) noteStamps(s *Segment) {
	if !r.stamps || int32(s.Options.TSVal-r.newest) > 0 {
		r.newest = s.Options.TSVal
	}
	r.echo, r.stamps = s.Options.TSEcr, true
}

// Passed takes the timestamps of a segment that is not Received: it acknowledges what
// went past this Conn in a drain. See Overtaken.
func (c *Conn) Passed(now mono.Time, s *Segment) {
	if c.snap.Timestamps && s.Options.Has(wire.HasTS) && c.Believable(now, s) {
		c.relay.noteStamps(s)
	}
}

// Overtaken raises the TSval to send (Relay) to what the peer echoes, if other,
// the Conn of the opposite endpoint, has seen as new a one, perhaps behind a hole:
// the peer got it in order with what went past us, and discards what carries less
// (RFC 7323, 5.3). The two forge each other's word only together.
func (c *Conn) Overtaken(other *Conn) {
	if me, far := &c.relay, &other.relay; me.stamps && far.stamps && int32(far.newest-me.echo) >= 0 {
		c.SetTimestamp(me.echo)
	}
}

// noteBeyond keeps the timestamp of data that waits for a hole to close.
func (c *Conn) noteBeyond(s *Segment) {
	r := &c.relay
	if s.Payload.Len() > 0 && (!r.stamped || c.reasm.empty() || int32(s.Options.TSVal-r.stamp) < 0) {
		r.beyond, r.stamp, r.stamped = s.Seq, s.Options.TSVal, true
	}
}

// SetTimestamp sets the TSval to send (Relay). A value lower than the last is
// ignored: the peer would discard what carries it (RFC 7323, 5.3; invariant I4).
// Without Relay it sets the clock's value at the instant of Dial, Accept or Resume,
// before anything is sent; 0 stands for what it is by itself.
func (c *Conn) SetTimestamp(val uint32) {
	if !c.haveTSVal || int32(val-c.tsVal) > 0 {
		c.tsVal, c.haveTSVal = val, true
	}
}

// SetBuffer changes how many bytes beyond in.Base the window offers. An edge
// once offered stays.
func (c *Conn) SetBuffer(bytes int) { c.buffer = bytes }

// SetAckLimit sets how many bytes beyond in.Base are acknowledged; what arrives
// beyond waits in the Stream, unacknowledged. 0: no limit.
func (c *Conn) SetAckLimit(bytes int) { c.ackLimit = bytes }

// SetRide sets how long the ACK of a small segment waits for data to carry it, if no
// other ACK is owed; 0: not at all. RFC 9293, 3.8.6.3 bounds the delay by 500 ms, but a
// sender that holds back its next small segment until the last one is acknowledged
// (RFC 896) waits for as long.
func (c *Conn) SetRide(d time.Duration) { c.ride = d }

// Hold stops acknowledging anything new while on; after it an ACK is owed.
func (c *Conn) Hold(on bool) {
	if c.hold && !on && c.rcvNext() > c.acked {
		c.hold = false
		c.oweNow()
	}
	c.hold = on
}

// Acknowledge says that an ACK is owed now.
func (c *Conn) Acknowledge() { c.oweNow() }

// AckFIN says that the peer's FIN may be acknowledged now (Relay, HoldFIN). The other
// end has everything, so nothing is held back for it any more.
func (c *Conn) AckFIN() {
	if c.FINReceived() && !c.rcvClosed {
		c.rcvClosed, c.hold = true, false
		c.oweNow()
	}
}

// Probe asks for a segment at SND.UNA − 1, which the peer answers with its true
// RCV.NXT (RFC 9293, 3.8.4 and 3.10.7.4).
func (c *Conn) Probe() { c.probe = true }

// Ask is Probe for an answer that others wait for: it sends the first segment in
// flight again if there is one, because Linux answers segments without data only
// twice a second.
func (c *Conn) Ask() { c.probe, c.relay.ask = true, true }

// Drain makes the Conn a retransmitter: it sends what out holds, acknowledges
// nothing new, and Receive reads only the acknowledging half of segments (their
// payload is released).
func (c *Conn) Drain() {
	c.relay.draining = true
	c.ack = ackState{}
}

// NextHeld gives, piece by piece, what waits in reassembly, so that it can be
// sent on before a drain; the caller takes the reference.
func (c *Conn) NextHeld(now mono.Time) (seq wire.Seq, ref buf.Ref, ok bool) {
	off, ref, ok := c.reasm.first(now)
	return c.rcvSeq(off), ref, ok
}

// Stalled says that time passed without the Conn being looked at, or that the
// clock leapt: what is in flight tells nothing of the path's round trip.
func (c *Conn) Stalled() {
	for i := range c.sent.n {
		r := c.sent.at(i)
		r.again, r.probe = true, false // as Karn has it for what was sent twice
	}
}

// Relayed says that a segment with this ack and right edge (ack + window) of the
// opposite endpoint passed to the peer unmodified: what this Conn sends must not
// say less (invariant I3).
func (c *Conn) Relayed(ack, edge wire.Seq) {
	at := c.rcvSeq(c.acked)
	if d := ack.Sub(at); d > 0 {
		c.acked += uint64(d)
	}
	if d := edge.Sub(c.rcvSeq(c.rcvEdge)); d > 0 {
		c.rcvEdge += uint64(d)
	}
}
