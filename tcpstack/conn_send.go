package tcpstack

// What leaves, and when. Read RFC 9293 3.8.6 and RFC 5681 first.

import (
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Transmit fills p with the next packet and reports whether there is one.
func (c *Conn) Transmit(now mono.Time, p *Packet) bool {
	p.reset()
	if c.abort == abortPending {
		c.sendReset(now, p)
		return true
	}
	if c.err != nil || c.end.phase == endOver {
		return false
	}
	if c.open.reject {
		c.open.reject = false
		p.Seq, p.Flags = c.resetSeq, wire.RST
		return true
	}
	if c.open.phase != openDone {
		return c.transmitOpening(now, p)
	}
	c.blocked = false
	if c.ackDue() && (c.ack.haveD || !c.reasm.empty() || c.ack.repeat > 0 || c.ecn.reportDue()) {
		// SACK blocks, and most reports of marks, ride on pure ACKs only: data has
		// no room for them.
		return c.sendAck(now, p)
	}
	return c.sendTailProbe(now, p) || c.sendAgain(now, p) || c.sendNew(now, p) ||
		c.sendUrgent(now, p) || c.sendProbe(now, p) || c.ackDue() && c.sendAck(now, p)
}

// sendAgain sends the first lost packet, or as much of it as may leave.
func (c *Conn) sendAgain(now mono.Time, p *Packet) bool {
	if c.lostBytes == 0 || c.rec.frto && c.rec.onlyNew {
		return false
	}
	r := c.sent.lost()
	// RFC 5681, 3.1: a timeout sends one segment, whatever else may be on its way.
	alone := r.off == c.una && (c.flight == 0 || c.rec.phase == timeout && c.rec.out == 0)
	if r.off >= c.edge && !alone {
		return false // beyond a window that shrank
	}
	n := c.may(now, r.len())
	if n == 0 && alone && c.rec.phase == timeout && c.pace.ready(now) {
		n = min(r.len(), c.mss) // whatever the window, one segment is in flight
	}
	if n == 0 {
		return false
	}
	if n < r.len() {
		c.sent.split(c.sent.find(r.off), r.off+uint64(n))
		r = c.sent.lost()
	}
	c.again(r)
	c.rec.undoBytes += n
	c.lostBytes -= n
	c.send(now, r, p)
	c.rec.eifel.again(p)
	return true
}

// again notes that r is sent once more: from now on its ACK may be for either
// transmission (Karn).
func (c *Conn) again(r *sent) {
	r.again, r.probe, r.forgiven = true, false, false
	c.stats.Retransmitted++
	c.stats.BytesRetransmitted += uint64(r.len())
}

// sendNew sends bytes for the first time, the FIN with the last of them.
func (c *Conn) sendNew(now mono.Time, p *Packet) bool {
	if c.nxt > c.out.end || c.sndClosed {
		return false
	}
	avail := int(c.unsent(now) - c.nxt)
	fin := c.out.closed && !c.relay.draining
	if c.cfg.Relay && fin {
		// custody.md: a FIN is passed on when everything before it is
		// acknowledged.
		fin = c.una == c.out.end
	}
	if avail == 0 {
		if !fin {
			c.appLimited()
			return false
		}
		c.record(now, 1)
		return c.filled(now, c.sent.last(), p)
	}
	n := min(avail, c.usable())
	if n == 0 {
		c.persistWait(now)
		return false
	}
	if size := c.pathProbe(now, n); size > 0 {
		return c.sendPathProbe(now, size, p)
	}
	if c.silly(n, avail) && (c.sent.n > 0 || !c.retx.override) {
		c.persistWait(now)
		return false
	}
	c.retx.override = false
	if n = c.may(now, n); n == 0 {
		return false
	}
	if !c.cfg.Relay && fin && n == avail {
		n++
	}
	c.record(now, uint64(n))
	return c.filled(now, c.sent.last(), p)
}

func (c *Conn) filled(now mono.Time, r *sent, p *Packet) bool {
	c.flight -= r.len() // send counts it
	c.send(now, r, p)
	return true
}

// record notes that the next n bytes are in flight.
func (c *Conn) record(now mono.Time, n uint64) {
	if c.sent.n == 0 {
		c.waitFrom = now
	}
	r := c.sent.push()
	r.off, r.end, r.at = c.nxt, c.nxt+n, now
	c.nxt = r.end
	c.flight += int(n)
}

// silly reports whether n of avail bytes are too few to fill a window with
// (RFC 9293, 3.8.6.2.1: sender's SWS avoidance).
func (c *Conn) silly(n, avail int) bool { return n < avail && n < c.mss && n < c.maxWnd/2 }

// usable gives the bytes the peer's window has room for.
func (c *Conn) usable() int { return int(max(c.edge, c.nxt) - c.nxt) }

// may gives how many of n bytes congestion control and pacing let go now, whole
// segments if not all.
func (c *Conn) may(now mono.Time, n int) int {
	room := c.room()
	if room < min(n, c.mss) {
		c.limited = true
		return 0
	}
	if !c.pace.ready(now) {
		c.blocked = true
		return 0
	}
	room = min(room, c.burst())
	if n <= room {
		return n
	}
	return max(room-room%c.mss, min(room, c.mss))
}

// send puts r into the network and into p.
func (c *Conn) send(now mono.Time, r *sent, p *Packet) {
	n := r.len()
	c.sent.fly(r)
	c.control.Sent(now, n, c.flight)
	c.rate.sent(now, r, c.flight)
	c.flight += n
	c.rec.out += n
	c.rec.allow = max(0, c.rec.allow-n)
	c.pace.sent(now, n, c.pacingRate())
	if t := c.retx.kind; t == retxNone || t == retxPersist || t == retxProbe && !r.again {
		c.arm(now, 0)
	} else if t == retxTimeout && r.again && r.off == c.una {
		c.restart(now) // of what is sent last it is, as Linux has it
	}
	c.fill(now, r, p)
}

// fill describes r in p.
func (c *Conn) fill(now mono.Time, r *sent, p *Packet) {
	p.Seq = c.seq(r.off)
	n := r.len()
	if r.end > c.out.end {
		p.Flags |= wire.FIN
		n--
	}
	if p.Len = n; n > 0 {
		p.Payload = c.out.Gather(p.Payload, r.off, n)
		c.stats.Sent++
		c.stats.BytesSent += uint64(n)
		if n > c.mss && !r.probe {
			p.GSOSize = c.mss
		}
		if r.off+uint64(n) == c.out.end {
			p.Flags |= wire.PSH // RFC 9293, MUST-60
		}
	}
	c.mark(r, p)
	c.stampUrgent(p, r.off)
	if c.ecn.agreed == AccurateECN {
		c.reportOnData(r, p)
	}
	c.stamp(now, p)
	c.acknowledge(p)
}

// stamp sets the TSval.
func (c *Conn) stamp(now mono.Time, p *Packet) {
	if !c.snap.Timestamps || c.cfg.Relay && !c.haveTSVal {
		return
	}
	p.Options.Set |= wire.HasTS
	p.Options.TSVal = c.clock(now)
}

// clock gives the TSval of now: with Relay what SetTimestamp said, else
// milliseconds (RFC 7323, 5.4).
func (c *Conn) clock(now mono.Time) uint32 {
	if c.cfg.Relay {
		return c.tsVal
	}
	return c.tsVal + uint32(now.Sub(c.born)/time.Millisecond)
}

// sendTailProbe sends new data or the last segment again, whatever the
// congestion window says (RFC 8985, 7.3).
func (c *Conn) sendTailProbe(now mono.Time, p *Packet) bool {
	k := &c.rack
	if !k.probe {
		return false
	}
	k.probe = false
	if c.sent.n == 0 || c.rec.phase != open {
		return false
	}
	c.stats.TailProbes++
	k.probing = true
	if n := min(int(c.out.end-min(c.nxt, c.out.end)), c.usable(), c.mss); n > 0 && c.nxt < c.out.end {
		k.resent = false
		c.record(now, uint64(n))
		k.probeEnd = c.nxt
		return c.filled(now, c.sent.last(), p)
	}
	k.resent, k.probeEnd = true, c.nxt
	i := c.sent.n - 1
	if r := c.sent.at(i); r.len() > c.mss {
		c.sent.split(i, r.end-uint64(c.mss))
		i++
	}
	r := c.sent.at(i)
	if r.fate != flying {
		k.probing = false
		return false
	}
	c.ecn.ectLost(r, c.mss)
	c.again(r)
	return c.filled(now, r, p)
}

// sendProbe sends a segment at SND.UNA − 1 without data, or what was Asked for,
// which the peer answers with its window and its RCV.NXT.
func (c *Conn) sendProbe(now mono.Time, p *Packet) bool {
	if !c.probe {
		return false
	}
	data := c.relay.ask && c.sent.n > 0
	c.probe, c.relay.ask = false, false
	if r := &c.relay; !r.asked {
		r.asked, r.askedAt = true, now
	}
	if data {
		r := c.head()
		c.again(r)
		c.fill(now, r, p)
		return true
	}
	p.Seq = c.seq(c.una).Add(-1)
	c.stamp(now, p)
	c.acknowledge(p)
	return true
}

// sendAck sends a pure ACK, with what SACK has to say (RFC 2018, 4; RFC 2883).
func (c *Conn) sendAck(now mono.Time, p *Packet) bool {
	p.Seq = c.seq(c.ackSeq())
	c.stamp(now, p)
	if c.snap.SACK && !c.hold {
		o, limit := &p.Options, 4
		if c.snap.Timestamps {
			limit = 3
		}
		if c.ack.haveD {
			o.Set |= wire.HasSACK
			o.SACK[0], o.NSACK = c.ack.dsack, 1
		}
		c.reasm.blocks(o, limit, c.rcvSeq)
	}
	c.ack.haveD, c.ack.held = false, 0
	if c.ecn.agreed == AccurateECN {
		c.reportOnAck(p)
	}
	c.acknowledge(p)
	return true
}

// ackSeq gives the offset of what carries no data: SND.NXT (RFC 9293, 3.10.7.4). A peer
// that has shrunk its window by more than the rounding of its scale may not heed an ACK
// there, because it lies beyond its window (so Linux's tcp_acceptable_seq keeps to the
// edge), nor at the edge, because it has got what lies beyond. ACKs take turns, or none
// would ever get through where both windows have shrunk.
func (c *Conn) ackSeq() uint64 {
	edge := max(c.edge, c.una)
	if c.nxt < edge+1<<c.snap.SndScale {
		return c.nxt
	}
	if c.ack.inside = !c.ack.inside; c.ack.inside {
		return edge
	}
	return c.nxt
}

// persistWait starts the zero-window probes.
func (c *Conn) persistWait(now mono.Time) {
	if c.sent.n == 0 && c.retx.kind == retxNone {
		c.arm(now, 0)
	}
}

// appLimited marks that there is nothing more to send: the delivery rate will
// be the application's (draft-ietf-ccwg-bbr, 4.1.2.4).
func (c *Conn) appLimited() {
	if c.lostBytes == 0 && c.room() > 0 {
		c.rate.appLimited = max(c.rate.delivered+int64(c.flight), 1)
	}
}
