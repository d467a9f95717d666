package tcpstack

// What an ACK teaches the sender. Read RFC 9293 3.10.7.4 (fifth), RFC 8985 6.2
// and RFC 2018 first.

import (
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// delivery is what one ACK newly told of packets in flight.
type delivery struct {
	bytes    int           // newly delivered
	oldest   time.Duration // RTT of the packet sent first, once only; 0: none
	latest   time.Duration // RTT of the packet sent last, once only; 0: none
	original bool          // one that was sent once only before the RTO was delivered
	again    bool          // one that was sent more than once was delivered
	resent   int           // bytes of such,
	repeats  int           // in so many segments
	dsack    bool
}

// receiveAck processes the acknowledging half of a believable segment; ack is
// its acknowledgment number as an offset, at most nxt. The window of an old one,
// before SND.UNA, does not count (RFC 9293, 3.10.7.4: SND.UNA =< SEG.ACK), and it
// is no duplicate (RFC 5681, 2).
func (c *Conn) receiveAck(now mono.Time, s *Segment, ack uint64) {
	a := &c.told // in c, since what an interface is given would be allocated
	*a = cc.Ack{PriorInFlight: c.flight, CwndLimited: c.limited}
	lostBefore := c.rate.lost
	var d delivery
	advanced := ack > c.una
	if advanced {
		c.cumulative(now, ack, &d)
	}
	if c.snap.SACK && s.Options.NSACK > 0 {
		c.selective(now, s.Options.Blocks(), max(ack, c.una), &d)
	}
	old := s.Ack.Less(c.seq(c.una))
	moved := !old && c.window(s, ack)
	if advanced || moved {
		c.progressed = now
	}
	if d.oldest > 0 && !d.again {
		c.rtt.sample(d.oldest)
		c.rtt.observe(now, d.latest)
	} else if d.latest > 0 && d.latest < c.rtt.base() {
		// RFC 8961, 4 (3): what was sent once has arrived, within the RTO as it is
		// without backoff. Where no sample ever comes, because every ACK is about
		// something sent again too, one timeout would follow another more slowly.
		c.rtt.backoff = 0
	}
	if advanced {
		c.timeouts, c.relay.vain = 0, 0
		c.limited = false
		c.waitFrom = now
	}
	c.retx.probes = 0

	if advanced && c.rec.phase != open && !c.cfg.Relay && c.rec.eifel.heard(s) {
		c.undoEpisode(now)
	}
	if c.rec.frto && d.bytes > 0 {
		switch {
		case d.original && advanced:
			// RFC 5682, 3.1 step 3b: data from before the timeout arrives
			// that nobody sent again.
			c.undoEpisode(now)
		case advanced && !c.rec.onlyNew && c.nxt < c.out.end && c.usable() >= c.mss:
			c.rec.onlyNew = true // step 2b: what new data finds will tell
		default:
			c.rec.frto = false // step 2a, 3a: the loss was real
		}
	}
	var wait time.Duration
	known := d.bytes
	if c.snap.SACK {
		wait = c.detect(now)
		if c.relay.draining && c.tellsOfMore(s) {
			c.detectInDrain(now)
			known = max(known, c.mss)
		}
	} else {
		known = c.withoutSACK(now, s, advanced, moved || old, &d)
	}
	if c.rec.phase != open && c.una >= c.rec.point {
		c.leave(now)
	}
	c.heedEcho(now, s, old, d.bytes)
	c.probeAcked(now, d.dsack, !advanced && !moved && !old && s.Options.NSACK == 0 && s.Payload.Len() == 0)

	a.OnlySACK = !advanced
	a.Acked, a.Lost = d.bytes, int(max(0, c.rate.lost-lostBefore))
	a.InFlight = c.pipe()
	if !d.again && d.latest <= rtoMax {
		a.RTT = d.latest // in a longer one the clock has leapt
	}
	a.SRTT, a.MinRTT = c.rtt.srtt, c.rtt.min
	a.Recovery = c.rec.phase != open || c.ecn.reducing
	if !c.snap.SACK && d.again && d.bytes > d.resent {
		c.rate.late()
	}
	c.rate.sample(now, c.rtt.min, a)
	if a.Acked > 0 || a.Lost > 0 {
		c.control.Acked(now, a)
	}
	if c.rec.phase == fast || c.ecn.reducing {
		c.prr(known, advanced && a.Lost == 0)
	}
	if c.rec.partial && c.rec.phase == fast {
		return // RFC 6582, 4: only the first partial ACK restarts the timer
	}
	c.rec.partial = advanced && c.rec.phase == fast && !c.snap.SACK
	switch {
	case advanced || c.sent.n == 0:
		c.arm(now, wait) // RFC 6298, 5.3
	case d.bytes > 0 || wait > 0:
		c.rearm(now, wait)
	}
}

// cumulative takes the packets before ack out of flight.
func (c *Conn) cumulative(now mono.Time, ack uint64, d *delivery) {
	for c.sent.n > 0 {
		r := c.sent.at(0)
		if r.end > ack {
			if r.off >= ack {
				break
			}
			if r.fate == sacked {
				r.off = ack
				break
			}
			c.sent.split(0, ack)
			continue
		}
		c.delivered(now, r, d)
		c.sent.pop()
	}
	c.stats.BytesAcked += ack - c.una
	c.una = ack
	c.out.Discard(min(ack, c.out.end))
	if c.out.closed && ack > c.out.end {
		c.sndClosed = true
	}
}

// selective takes SACKed packets out of flight (RFC 2018) and notices DSACKs
// (RFC 2883, 4).
func (c *Conn) selective(now mono.Time, blocks []wire.Block, ack uint64, d *delivery) {
	mss := uint64(c.mss)
	for i, b := range blocks {
		off, end := c.offset(b.Left), c.offset(b.Right)
		if end <= off {
			continue
		}
		if i == 0 && c.isDSACK(blocks, off, end, ack) {
			d.dsack = true
			c.duplicate(now, off, int(end-off))
			continue
		}
		if c.relay.draining {
			end = min(end, c.nxt) // behind that is what its sender sent itself
		}
		if b.Left.Less(c.seq(c.una)) || end > c.nxt || end <= off {
			continue
		}
		from, to := -1, -1 // the records of the block
		for j := c.sent.find(off); j < c.sent.n && c.sent.at(j).off < end; j++ {
			r := c.sent.at(j)
			if r.fate != sacked {
				// A peer that SACKs parts of segments gets no record for each
				// (CVE-2019-11478): a part is not there yet.
				lo, hi := r.off, r.end
				if lo < off {
					lo += (off - lo + mss - 1) / mss * mss
				}
				if hi > end {
					hi = r.off + (end-r.off)/mss*mss
				}
				if lo >= hi {
					continue
				}
				c.deliveredPart(now, r, lo, hi, d)
				j = c.sent.sack(j, lo, hi)
			}
			if to = j; from < 0 {
				from = j
			}
		}
		if from >= 0 {
			c.sent.join(from, to)
		}
	}
}

// isDSACK reports whether the first block [off, end) tells of a duplicate.
func (c *Conn) isDSACK(blocks []wire.Block, off, end, ack uint64) bool {
	if end <= ack {
		// What is far behind is noise, not news.
		return ack-off <= uint64(max(c.maxWnd, 1<<20))
	}
	return len(blocks) > 1 && c.offset(blocks[1].Left) <= off && end <= c.offset(blocks[1].Right)
}

// deliveredPart books that the peer now has [from, to) of a packet.
func (c *Conn) deliveredPart(now mono.Time, r *sent, from, to uint64, d *delivery) {
	off, end := r.off, r.end
	r.off, r.end = from, to
	c.delivered(now, r, d)
	r.off, r.end = off, end
}

// delivered books a packet that the peer now has.
func (c *Conn) delivered(now mono.Time, r *sent, d *delivery) {
	switch r.fate {
	case sacked:
		return
	case flying:
		c.flight -= r.len()
	case lost:
		c.lostBytes -= r.len()
	}
	if r.probe {
		c.probeDelivered(now, r)
	}
	if r.len() >= c.mss {
		c.fullDelivered(r, d)
	}
	d.bytes += r.len()
	c.ecn.ectArrived(r)
	c.rate.got(now, r, r.len())
	if !c.rec.frto || !r.again {
		// While F-RTO doubts the timeout, so it doubts that this is the ACK of
		// what was sent last.
		c.rack.delivered(now, r, c.rtt.min)
	}
	if r.again {
		// Karn's rule (RFC 6298, 3). It spoils the others too: what lay
		// behind this packet may have waited for it.
		d.again = true
		d.resent += r.len()
		d.repeats += (r.len() + c.mss - 1) / c.mss
	} else {
		rtt := now.Sub(r.at)
		d.oldest = max(d.oldest, rtt)
		if d.latest == 0 || rtt < d.latest {
			d.latest = rtt
		}
		if r.off < c.rec.point {
			d.original = true
		}
	}
}

// window takes the peer's window from s (RFC 9293, 3.10.7.4: SND.WL1 and
// SND.WL2) and reports whether its right edge moved on.
func (c *Conn) window(s *Segment, ack uint64) bool {
	if s.Seq.Less(c.wl1) {
		return false
	}
	wnd := int(s.Window) << c.snap.SndScale
	edge := ack + uint64(wnd)
	if s.Seq == c.wl1 && ack == c.una && edge < c.edge && edge+uint64(c.mss) > c.edge {
		// Not a shrunk window, only the rounding of its scale.
		edge = c.edge
	}
	c.wl1 = s.Seq
	c.maxWnd = max(c.maxWnd, wnd)
	moved := edge > c.edge
	c.edge = edge
	return moved
}

// withoutSACK is loss detection by duplicate ACKs (RFC 5681, 2; RFC 6582).
// An ACK that is old, or moves the window, is no duplicate. It gives the bytes
// that the ACK tells have left the network: newly acknowledged ones less what
// duplicate ACKs told of before (RFC 9937, 6.1).
func (c *Conn) withoutSACK(now mono.Time, s *Segment, advanced, other bool, d *delivery) (known int) {
	if advanced {
		known = max(0, d.bytes-c.rec.left()*c.mss)
		c.rec.vain, c.rec.late, c.rec.twice = 0, 0, false
		if c.goingBack() {
			c.goBack(d.resent)
			c.rec.vain = d.repeats
		}
		if c.rec.phase == fast && c.una < c.rec.point {
			// RFC 6582, 3.2 step 3: a partial ACK shows the next hole. Beyond
			// the segment sent again it covers what made duplicate ACKs.
			c.rec.dupAcks = max(0, c.rec.dupAcks-max(0, d.bytes/c.mss-1))
			c.headLost(now)
			return known
		}
		c.rec.dupAcks = 0
		return known
	}
	if !other && s.Payload.Len() == 0 && !s.Flags.Has(wire.FIN) && c.flight > 0 {
		c.dupAck(now)
		return c.mss
	}
	return 0
}

// offset converts a sequence number near SND.UNA to an offset; what lies before
// the Stream began is 0.
func (c *Conn) offset(n wire.Seq) uint64 {
	return uint64(max(0, int64(c.una)+int64(n.Sub(c.seq(c.una)))))
}
