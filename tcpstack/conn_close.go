package tcpstack

// The ends of a connection: FIN and RST. Read RFC 9293 3.6 and 3.5.2, and RFC
// 5961, 3 first.

import (
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// receiveFIN is the eighth step, for the FIN at fin.
func (c *Conn) receiveFIN(now mono.Time, fin wire.Seq) {
	if c.rcvClosed {
		c.oweNow() // our ACK of it was lost
		if c.end.phase == endTimeWait {
			c.end.at = now.Add(timeWait) // RFC 9293, 3.10.7.4, eighth: TIME-WAIT
		}
		return
	}
	d := fin.Sub(c.rcvSeq(c.in.end))
	if !c.haveFIN && d >= 0 && c.in.end+uint64(d) <= c.rcvEdge {
		c.haveFIN, c.finAt = true, c.in.end+uint64(d)
	}
	if d > 0 {
		c.oweNow() // RFC 5681, 4.2: it is out of order
	}
}

// closeIn closes the Stream when everything before the FIN is there. A Conn that
// holds the FIN acknowledges it only after AckFIN.
func (c *Conn) closeIn() {
	if !c.haveFIN || c.finAt != c.in.end || c.in.closed {
		return
	}
	c.in.Close()
	c.reasm.reset() // nothing lies behind a FIN
	if !c.cfg.Relay && !c.cfg.HoldFIN {
		c.rcvClosed = true
		c.end.passive = !c.finSent()
		c.oweNow()
	}
}

// Abort ends the Conn: Transmit gives one RST the peer accepts, where it has to
// hear of it (RFC 9293, 3.10.5), then nothing. A SYN whose answer is held is refused
// as a closed port would refuse it.
func (c *Conn) Abort() { c.abortWith(ErrAborted) }

// abortWith is Abort for a reason.
func (c *Conn) abortWith(err error) {
	if c.err != nil && c.abort != abortNo || c.end.phase == endOver {
		return
	}
	if c.abort == abortNo && c.err != ErrReset && c.resets() {
		c.abort = abortPending
		c.resetSeq = c.seq(c.una)
		if c.lostBytes == 0 && c.rec.phase == open {
			c.resetSeq = c.seq(c.nxt)
		}
	}
	if c.err == nil {
		c.err = err
	}
}

// resets reports whether the state is one in which an abort sends an RST (RFC
// 9293, 3.10.5): not before the peer has heard of us, nor when all is said. With
// Relay that is for the caller to know.
func (c *Conn) resets() bool {
	if c.cfg.Relay {
		return true
	}
	switch c.State() {
	case SynReceived, Established, FinWait1, FinWait2, CloseWait:
		return true
	}
	return false
}

// resetAgain answers what the peer sends after our RST, a challenge ACK above
// all, with an RST at the number it expects (RFC 5961, 3.2).
func (c *Conn) resetAgain(s *Segment) {
	if s.Flags.Has(wire.ACK) && !s.Flags.Has(wire.RST) && s.Ack != c.resetSeq {
		c.abort, c.resetSeq = abortPending, s.Ack
	}
}

// sendReset makes the RST: at what the peer expects next, as far as we know
// (RFC 9293, 3.10.5; RFC 5961, 3.2).
func (c *Conn) sendReset(now mono.Time, p *Packet) {
	c.abort = abortDone
	if c.open.held {
		// RFC 9293, 3.10.7.1: CLOSED, of a segment without ACK.
		p.Seq, p.Ack, p.Flags = wire.Seq{}, c.irs().Add(1), wire.RST|wire.ACK
		return
	}
	p.Seq = c.resetSeq
	p.Flags = wire.RST
	c.stamp(now, p)
	c.acknowledge(p)
}

// ResetVerdict is what RFC 5961, 3.2 says of an RST.
type ResetVerdict uint8

// Verdicts on an RST.
const (
	ResetIgnore    ResetVerdict = iota // outside the window
	ResetChallenge                     // in the window: a challenge ACK is owed now
	ResetAccept                        // exactly the next byte, as the peer or we see it
)

// CheckReset judges an RST; Receive itself acts on one only without Relay. Exact
// is the largest number acknowledged to the peer, RCV.NXT as the peer knows it,
// or what is received in order beyond that.
func (c *Conn) CheckReset(now mono.Time, s *Segment) ResetVerdict {
	if s.Seq == c.rcvSeq(c.acked) || s.Seq == c.rcvSeq(c.rcvNext()) {
		return ResetAccept
	}
	if s.Seq.In(c.rcvSeq(c.acked), c.rcvSeq(max(c.rcvEdge, c.rcvNext()+1))) {
		c.challenge(now)
		return ResetChallenge
	}
	return ResetIgnore
}
