package tcpstack

// Recovery. Read RFC 9937 (PRR) first, then RFC 6675, 6582, 5682 and 3708.

import (
	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// phase is what the sender does about losses.
type phase uint8

const (
	open    phase = iota // nothing is lost
	fast                 // fast recovery: PRR says how much leaves
	timeout              // after an RTO: slow start
)

// recovery is one episode of recovery.
type recovery struct {
	phase phase
	point uint64 // RecoveryPoint: the episode ends when this is acknowledged

	// PRR (RFC 9937, 6).
	delivered  int // prr_delivered
	out        int // prr_out
	flightSize int // RecoverFS
	allow      int // SndCnt not used up yet

	// Undo: the episode was unnecessary when everything it sent again was
	// reported as a duplicate (RFC 3708, Linux's undo_retrans).
	undo      bool
	undoFrom  uint64
	undoBytes int  // sent again and not yet reported twice
	frto      bool // RFC 5682, with SACK: the first ACKs after the timeout tell
	onlyNew   bool // with frto: until the next ACK nothing is sent again
	eifel     eifel

	// Peers without SACK (RFC 6582).
	dupAcks int
	vain    int  // of them, as many as what a timeout sent again in vain may cause
	late    int  // of them, that answer what was sent after the first segment was sent again,
	twice   bool // which was found to be lost once more
	partial bool // an ACK before point has come: the timer runs on
}

// eifel finds out whether what an episode sent again was needed, by the timestamp
// that the first ACK which advances echoes (RFC 3522, 3.2). In custody timestamps
// are the endpoints' and say nothing about us.
type eifel struct {
	sent    bool   // something was sent again
	decided bool   // an ACK has told
	stamp   uint32 // TSval of the first segment sent again
}

// again notes the first packet of an episode that is sent again.
func (e *eifel) again(p *Packet) {
	if !e.sent && p.Options.Has(wire.HasTS) {
		e.sent, e.stamp = true, p.Options.TSVal
	}
}

// heard takes the first ACK that advances, and reports that it answers what was
// sent first: the episode was not needed.
func (e *eifel) heard(s *Segment) (spurious bool) {
	if !e.sent || e.decided {
		return false
	}
	e.decided = true
	return s.Options.Has(wire.HasTS) && s.Options.TSEcr != 0 && int32(s.Options.TSEcr-e.stamp) < 0
}

// enterFast begins fast recovery; the packets lost are marked after.
func (c *Conn) enterFast() {
	c.stats.FastRecoveries++
	c.rec = recovery{
		phase: fast, point: c.nxt, flightSize: max(c.flight+c.lostBytes, c.mss),
		undo: true, undoFrom: c.una, dupAcks: c.rec.left(),
	}
	c.windowReduced()
	c.ecn.episode()
}

// prr computes how much may leave after an ACK that delivered n bytes (RFC 9937,
// 6.2). safe: the ACK advanced SND.UNA and showed no further loss.
func (c *Conn) prr(n int, safe bool) {
	r := &c.rec
	r.delivered += n
	target, pipe := c.control.Window(), c.pipe()
	var cnt int
	if pipe > target {
		cnt = (r.delivered*target+r.flightSize-1)/r.flightSize - r.out
	} else {
		cnt = max(r.delivered-r.out, n)
		if safe {
			cnt += c.mss
		}
		cnt = min(cnt, target-pipe)
	}
	if r.phase == fast && r.out == 0 && cnt < c.mss {
		cnt = c.mss // the fast retransmit itself
	}
	r.allow = max(cnt, 0)
}

// pipe gives the bytes in the network (RFC 6675, 5). For a peer without SACK
// each duplicate ACK stands for a segment that has left it.
func (c *Conn) pipe() int {
	if c.snap.SACK {
		return c.flight
	}
	return max(0, c.flight-c.rec.left()*c.mss)
}

// left gives how many segments duplicate ACKs tell have left the network.
func (r *recovery) left() int { return max(0, r.dupAcks-r.vain) }

// flightSize gives FlightSize (RFC 5681, 2): whatever became of it.
func (c *Conn) flightSize() int { return int(c.nxt - c.una) }

// room gives the bytes that congestion control lets into the network now. PRR
// spreads the way to a smaller window over the ACKs of a round trip. A controller
// that sets its own pace needs no such spreading, and one whose window is not
// smaller must not be held to what ACKs release, or it could never grow on a path
// where something is always lost.
func (c *Conn) room() int {
	if (c.rec.phase == fast || c.ecn.reducing) && c.control.Rate() == 0 {
		return c.rec.allow
	}
	// The window of a controller made for smaller segments carries one at least.
	room := max(c.control.Window(), c.mss) - c.pipe()
	if c.goingBack() {
		room = min(room, c.rec.allow)
	}
	return room
}

// goingBack reports that after a timeout everything is sent again, since a peer
// without SACK does not say what it has.
func (c *Conn) goingBack() bool { return c.rec.phase == timeout && !c.snap.SACK }

// goBack lets more leave after an ACK that advanced: twice what it acknowledges of
// what was sent again, which is slow start. Where it jumps over what the peer had,
// that left the network long ago, and neither makes room nor lets the window grow
// (RFC 3465, 2.3 bounds growth after a timeout for that reason). So little is sent
// in vain, whatever the controller thinks its window is.
func (c *Conn) goBack(again int) { c.rec.allow += max(2*again, c.mss) }

// leave ends an episode whose RecoveryPoint is acknowledged.
func (c *Conn) leave(now mono.Time) {
	c.rec.phase = open
	c.rec.dupAcks = 0
	c.rec.undo = c.rec.undoBytes > 0
	c.rack.recovered()
	c.control.Congested(now, cc.Signal{Kind: cc.Exit, InFlight: c.flight})
}

// undoEpisode takes an unnecessary episode back: what it marked lost is on its way.
func (c *Conn) undoEpisode(now mono.Time) {
	c.stats.Spurious++
	for r := c.sent.record(c.sent.list[lost].last); r != nil; r = c.sent.record(c.sent.list[lost].last) {
		c.sent.refly(r)
		c.flight += r.len()
		if !r.forgiven {
			c.rate.lost -= int64(r.len())
		}
	}
	c.lostBytes = 0
	c.rec.phase, c.rec.undo, c.rec.frto = open, false, false
	c.timeouts = 0
	c.control.Congested(now, cc.Signal{Kind: cc.Spurious, InFlight: c.flight})
}

// duplicate learns that the peer got n bytes from off on twice (RFC 2883).
func (c *Conn) duplicate(now mono.Time, off uint64, n int) {
	if c.rack.probing {
		return // the tail loss probe's own duplicate
	}
	if c.dsacked+uint64(n) > c.stats.BytesRetransmitted {
		return // the network has duplicated it, or somebody makes it up
	}
	c.dsacked += uint64(n)
	c.widen()
	if !c.rec.undo || off < c.rec.undoFrom || c.rec.undoBytes == 0 {
		return
	}
	if c.rec.undoBytes -= n; c.rec.undoBytes <= 0 {
		c.undoEpisode(now)
	}
}

// dupAck counts a duplicate ACK of a peer without SACK (RFC 5681, 2) and starts
// fast retransmit at the third (RFC 6582, 3.2).
func (c *Conn) dupAck(now mono.Time) {
	c.lostAgain(now)
	if c.rec.phase == fast && c.rec.dupAcks*c.mss >= c.rec.flightSize {
		return // RFC 5681, 3.2: there were no more segments that could cause any
	}
	c.rec.dupAcks++
	// What was sent again in vain causes duplicate ACKs too, and the last come when
	// all before the recovery point is acknowledged (RFC 6582, 3.2 step 1). More than
	// that many speak of a loss, as RFC 6582, 4 has it by other signs: without them a
	// loss right behind the recovery point takes another timeout, longer than this one.
	if c.rec.phase == open && c.rec.dupAcks == dupThresh+c.rec.vain && c.una >= c.rec.point {
		c.headLost(now)
	}
}

// lostAgain finds out in recovery that the first segment was lost once more after it
// was sent again, which RFC 6582 leaves to the timer: enough duplicate ACKs answer what
// was sent after it, as RACK has it with SACK (RFC 8985, 6.2). After a timeout all that
// comes in a round trip do but those for what was sent again in vain, as everything goes
// again in order; else those do that come well over a round trip later.
func (c *Conn) lostAgain(now mono.Time) {
	r, h := &c.rec, c.sent.at(0)
	if r.phase == open || c.rtt.srtt == 0 || h.fate != flying || !h.again {
		return
	}
	wait := c.patience() + max(0, c.rack.rtt-c.rtt.srtt)
	if c.goingBack() && !r.twice {
		wait = c.rtt.min
	}
	if now < h.at.Add(wait) {
		return
	}
	if r.late++; r.late >= dupThresh+r.vain {
		r.late, r.twice = 0, true
		r.allow = max(r.allow, c.mss)
		c.headLost(now)
	}
}

// headLost marks the first segment in flight lost.
func (c *Conn) headLost(now mono.Time) {
	if c.sent.n == 0 || c.sent.at(0).fate == flying && c.probeLost(now, c.sent.at(0)) {
		return
	}
	if r := c.head(); r.fate == flying {
		c.markLost(now, r)
	}
}

// head gives the first packet in flight, of which there is one, cut to a segment.
func (c *Conn) head() *sent {
	if r := c.sent.at(0); r.len() > c.mss {
		c.sent.split(0, r.off+uint64(c.mss))
	}
	return c.sent.at(0)
}
