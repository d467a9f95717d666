package tcpstack

// The receive window and the acknowledgments that carry it. Read RFC 9293 3.8.6
// and RFC 5681 4.2 first.

import (
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// ackState is what the receiving half owes the peer.
type ackState struct {
	owed     bool
	now      bool      // at the end of this turn, not at at
	rides    bool      // at comes soon: until then data of ours may carry it
	at       mono.Time // when a delayed ACK is due
	bytes    int       // received in order since the last ACK
	quick    int       // segments still acknowledged at once
	alone    uint8     // small segments whose ACK does not ride, since one did so in vain
	full     int       // what a full segment of the peer seems to have; 0: ours
	last     int       // bytes of the segment that came last
	repeat   int       // further copies, for a peer that counts duplicate ACKs
	dups     int       // ACKs for segments out of order, sent at once since RCV.NXT moved
	held     int       // segments behind a hole that wait for an ACK
	withheld bool      // the last ACK said less than RCV.NXT, for the limit's sake
	inside   bool      // the peer has shrunk its window: the last ACK kept to it
	dsack    wire.Block
	haveD    bool // dsack is to be reported, once (RFC 2883, 4)
}

// oweNow makes an ACK due at the end of the turn.
func (c *Conn) oweNow() { c.ack.owed, c.ack.now, c.ack.rides, c.ack.at = true, true, false, 0 }

// oweData makes an ACK due for n in-order bytes: at once for every second full
// segment (RFC 5681, 4.2), else after the delay.
func (c *Conn) oweData(now mono.Time, n int, pushed bool) {
	c.ack.bytes += n
	if pushed && c.mayRide(n) {
		c.ack.owed, c.ack.rides, c.ack.at = true, true, now.Add(c.ride)
		return
	}
	if c.ack.bytes >= 2*c.rcvMSS() || c.ack.quick > 0 {
		c.ack.quick--
		c.oweNow()
		return
	}
	if !c.ack.owed {
		c.ack.owed, c.ack.at = true, now.Add(delackTime)
	}
}

// mayRide reports whether the ACK of n bytes waits for data to carry it (SetRide): a
// small segment, as a request or the end of an answer is, while no other ACK is owed and
// there may be data.
// So a sender that has more to say, in small segments or in full ones, hears of them
// as without.
func (c *Conn) mayRide(n int) bool {
	a := &c.ack
	if c.ride == 0 || c.sndClosed || a.owed || a.bytes != n || n >= c.rcvMSS() {
		return false
	}
	if a.alone > 0 {
		a.alone--
		return false
	}
	return true
}

// ackAlone is what becomes of an ACK that no data has carried. Peers that are answered
// late, or that pause after an answer, usually do so again.
func (a *ackState) ackAlone() { a.rides, a.alone = false, inVain }

// oweSACK makes an ACK due for a segment behind a hole. RFC 5681, 4.2 wants one at
// once; so it is for as many as say that something is lost. After that the sender
// learns nothing from one more within the same millisecond, and in heavy loss each
// would cost both ends as much as data: they wait a little for others, as Linux does
// (tcp_comp_sack_delay_ns, tcp_comp_sack_nr).
func (c *Conn) oweSACK(now mono.Time) {
	a := &c.ack
	if !c.snap.SACK || a.dups < dupThresh {
		a.dups++
		c.oweNow()
		return
	}
	if a.held++; a.held >= sackHeld {
		c.oweNow()
		return
	}
	delay := sackDelay
	if c.rtt.srtt > 0 {
		delay = min(delay, c.rtt.srtt/20)
	}
	if at := now.Add(delay); !a.owed || at < a.at {
		a.owed, a.at = true, at
	}
}

// rcvMSS estimates the peer's segment size: no more than what we may send, which
// both ends have agreed on, and less where the path to us is narrower.
func (c *Conn) rcvMSS() int {
	if c.ack.full == 0 {
		return c.mss
	}
	return min(c.ack.full, c.mss)
}

// sizeUp learns the peer's segment size from a segment of n bytes: the largest
// seen, or what comes twice in a row and is not the end of anything (Linux's
// tcp_measure_rcv_mss).
func (a *ackState) sizeUp(n int, pushed bool) {
	if n > a.full && a.full != 0 || n == a.last && !pushed && n >= MinMSS {
		a.full = n
	}
	a.last = n
}

// ackPoint gives the acknowledgment number to send, as an offset: never less
// than before, and no more than the limit, hold and drain allow (invariants I1
// and I6).
func (c *Conn) ackPoint() uint64 {
	if c.hold || c.relay.draining {
		return c.acked
	}
	n := c.rcvNext()
	if c.ackLimit > 0 {
		n = min(n, c.in.base+uint64(c.ackLimit))
	}
	return max(n, c.acked)
}

// offer gives the right edge to offer: it moves on only by a worthwhile step
// (RFC 9293, 3.8.6.2.2: receiver's SWS avoidance), and never back (SHLD-14).
func (c *Conn) offer() uint64 {
	if c.hold || c.relay.draining {
		return c.rcvEdge
	}
	edge := min(c.in.base+uint64(c.buffer), c.ackPoint()+65535<<c.snap.RcvScale)
	if edge < c.rcvEdge+uint64(min(c.buffer/2, c.rcvMSS())) {
		return c.rcvEdge
	}
	return edge
}

// updateDue reports whether the peer should hear of a larger window: what it
// may still send has shrunk to half of what it could. That a handshake offers less
// than the buffer (RFC 7323, 2.2) is no news before it has sent anything. An ACK that
// may ride takes the news along.
func (c *Conn) updateDue() bool {
	if c.stats.Received == 0 && !c.cfg.Relay || c.ack.rides {
		return false
	}
	next, edge := c.rcvNext(), c.offer()
	return edge > c.rcvEdge && !c.rcvClosed && (c.rcvEdge-min(next, c.rcvEdge))*2 <= edge-next
}

// ackDue reports whether a pure ACK is to be sent now.
func (c *Conn) ackDue() bool {
	if c.relay.draining {
		return false
	}
	if c.ack.owed && c.ack.now {
		return true
	}
	if point := c.ackPoint(); c.ack.withheld && point > c.acked &&
		(point == c.rcvNext() || point-c.acked >= uint64(2*c.rcvMSS())) {
		return true
	}
	return c.updateDue()
}

// acknowledge fills the acknowledging half of p, and nothing is owed any more.
// The window is rounded up to its scale: an edge once offered stays.
func (c *Conn) acknowledge(p *Packet) {
	point := c.ackPoint()
	edge := max(c.offer(), point)
	scale := c.snap.RcvScale
	w := (edge - point + 1<<scale - 1) >> scale
	if !c.cfg.Relay && point+w<<scale > c.in.base+uint64(c.buffer)+1<<scale {
		// Rounding up with every ACK would never close the window where a
		// unit of it is larger than a segment. RFC 7323, 2.4 lets the edge
		// seem to shrink by less than a unit; what comes before rcvEdge is
		// still taken. In custody the limit on acknowledgments bounds this.
		w = (edge - point) >> scale
	}
	w = min(w, 65535)
	p.Ack, p.Window = c.rcvSeq(point), uint16(w)
	p.Flags |= wire.ACK
	c.echoMarks(p)
	c.acked = point
	c.rcvEdge = max(c.rcvEdge, point+w<<scale)
	if c.snap.Timestamps && c.haveTS {
		p.Options.Set |= wire.HasTS
		p.Options.TSEcr = c.tsRecent
	}
	c.ack.withheld = point < c.rcvNext() && !c.hold
	if c.ack.repeat > 0 {
		c.ack.repeat--
		return
	}
	if c.ack.bytes = 0; c.ack.held == 0 {
		c.ack.owed, c.ack.now, c.ack.rides = false, false, false
	}
}
