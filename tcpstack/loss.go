package tcpstack

// Loss detection: RACK-TLP. Read RFC 8985 first, then RFC 2018 and 2883.

import (
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
)

// Specification constants (RFC 8985).
const (
	dupThresh      = 3                      // 6.2: segments SACKed before reordering is ruled out
	reoPersist     = 16                     // 6.2: recoveries without DSACK until the window shrinks again
	maxAckDelay    = 200 * time.Millisecond // 7.2: WCDelAckT
	tlpWithoutRTT  = time.Second            // 7.2
	tlpSlack       = 2 * time.Millisecond   // ours: keeps a probe behind the ACK it waits for
	maxVain        = 16                     // ours: doublings of what a repetition in drain waits for
	maxReoWndMults = 64                     // ours: a bound on what forged DSACKs can do
)

// rackState is RACK's view of time and the tail loss probe.
type rackState struct {
	at   mono.Time     // RACK.xmit_ts: when the packet delivered last was sent
	end  uint64        // RACK.end_seq
	rtt  time.Duration // RACK.rtt
	fack uint64        // RACK.fack: highest byte delivered

	reordered bool   // RACK.reordering_seen
	mult      int    // RACK.reo_wnd_mult
	persist   int    // RACK.reo_wnd_persist
	dsackEnd  uint64 // RACK.dsack_round: no further widening before this is acknowledged

	probe    bool   // a tail loss probe is to be sent
	probing  bool   // one is in flight
	probeEnd uint64 // TLP.end_seq
	resent   bool   // TLP.is_retrans
}

// delivered learns from one packet that was newly acknowledged or SACKed
// (RFC 8985, 6.2 steps 1 to 3).
func (k *rackState) delivered(now mono.Time, r *sent, minRTT time.Duration) {
	rtt := now.Sub(r.at)
	if r.again && rtt < minRTT {
		return // the ACK is for an earlier transmission
	}
	if !r.again && r.end < k.fack {
		k.reordered = true
	}
	k.fack = max(k.fack, r.end)
	if r.at > k.at || r.at == k.at && r.end > k.end {
		k.at, k.end, k.rtt = r.at, r.end, rtt
	}
}

// reorderWindow gives RACK.reo_wnd (RFC 8985, 6.2 step 4).
func (c *Conn) reorderWindow() time.Duration {
	k := &c.rack
	if !k.reordered && (c.rec.phase != open || c.sackedBytes() >= dupThresh*c.mss) {
		return 0
	}
	return min(c.rtt.min/4*time.Duration(1+k.mult), c.rtt.srtt)
}

// widen reacts to a DSACK, once per round trip: a packet was sent again in vain.
func (c *Conn) widen() {
	k := &c.rack
	if c.una >= k.dsackEnd {
		k.dsackEnd = c.nxt
		k.mult = min(k.mult+1, maxReoWndMults)
		k.persist = reoPersist
	}
}

// recovered counts a recovery that ended.
func (k *rackState) recovered() {
	if k.persist--; k.persist <= 0 {
		k.mult, k.persist = 0, 0
	}
}

// detect marks lost what was sent well before the packet delivered last, and
// gives how long to wait until more may be (RFC 8985, 6.2 step 5); 0: nothing. The
// RFC waits for the last of them. Here the list is in the order of time, so waiting
// for the first costs a look at it, and each is marked when its own time has come.
func (c *Conn) detect(now mono.Time) (wait time.Duration) {
	k := &c.rack
	if k.at == 0 {
		return 0
	}
	reo := c.reorderWindow()
	for r := c.sent.oldest(); r != nil && r.at <= k.at; {
		next := c.sent.after(r)
		if r.at < k.at || r.end < k.end {
			if left := r.at.Add(k.rtt + reo).Sub(now); left > 0 {
				return left
			}
			c.markLost(now, r)
		}
		r = next
	}
	return 0
}

// tellsOfMore reports whether a segment SACKs bytes that this Conn never sent:
// in a drain they went past it.
func (c *Conn) tellsOfMore(s *Segment) bool {
	for _, b := range s.Options.Blocks() {
		if c.offset(b.Right) > c.nxt {
			return true
		}
	}
	return false
}

// detectInDrain is RACK's rule where the packets delivered later are not this
// Conn's: an ACK that tells of them, and not of what was sent well over a round
// trip before it came, says that this is lost. What is lost again and again may only
// be slow, behind native packets that fill a queue: until the peer acknowledges more,
// each repetition waits twice as long as the one before.
func (c *Conn) detectInDrain(now mono.Time) {
	if c.rtt.srtt == 0 {
		return
	}
	patience := c.patience() << min(c.relay.vain, maxVain)
	again := false
	for r := c.sent.oldest(); r != nil && r.at.Add(patience) <= now; {
		next := c.sent.after(r)
		again = again || r.again
		c.markLost(now, r)
		r = next
	}
	if again {
		c.relay.vain++
	}
}

// patience gives within what time an answer comes nearly always: well over a round
// trip.
func (c *Conn) patience() time.Duration { return c.rtt.srtt + max(c.rtt.srtt/4, 4*c.rtt.rttvar) }

// markLost takes a packet out of the network. The first one begins an episode.
func (c *Conn) markLost(now mono.Time, r *sent) {
	if c.probeLost(now, r) {
		return
	}
	begins := c.rec.phase == open
	first := begins && !c.ecn.reducing // RFC 3168, 6.1.2: once per window of data
	if begins {
		c.enterFast()
	}
	c.ecn.ectLost(r, c.mss)
	c.drop(r)
	c.control.Congested(now, cc.Signal{
		Kind: cc.Loss, First: first,
		Bytes: r.len(), InFlight: c.flight, FlightSize: c.flightSize(), TxInFlight: r.inFlight,
		Delivered: c.rate.delivered, PriorDelivered: r.delivered,
		LostTotal: c.rate.lost, PriorLost: r.lostTotal,
		AppLimited: r.appLimited,
	})
}

// drop books a flying packet as lost.
func (c *Conn) drop(r *sent) {
	c.sent.lose(r)
	c.flight -= r.len()
	c.lostBytes += r.len()
	c.rate.lost += int64(r.len())
}

// sackedBytes gives the bytes the peer has above SND.UNA.
func (c *Conn) sackedBytes() int { return int(c.nxt-c.una) - c.flight - c.lostBytes }

// probeTimeout gives the PTO (RFC 8985, 7.2).
func (c *Conn) probeTimeout() time.Duration {
	if c.rtt.srtt == 0 {
		return tlpWithoutRTT
	}
	pto := 2*c.rtt.srtt + tlpSlack
	if c.flight <= c.mss {
		pto += maxAckDelay
	}
	return min(pto, c.rto())
}

// probeWanted reports whether a tail loss probe may be scheduled (RFC 8985,
// 7.2): not in recovery, nothing SACKed, none in flight.
func (c *Conn) probeWanted() bool {
	return c.snap.SACK && c.rec.phase == open && !c.rack.probing && c.sackedBytes() == 0 && c.timeouts == 0
}

// probeAcked ends a tail loss probe (RFC 8985, 7.4.2). An ACK of exactly what was
// in flight does not say whether the probe repaired a loss or the original was
// only slow. A DSACK, or a duplicate without SACK, says that both arrived; an ACK
// of more without either that one was lost, which nothing else has shown.
func (c *Conn) probeAcked(now mono.Time, dsack, duplicate bool) {
	k := &c.rack
	if !k.probing || c.una < k.probeEnd {
		return
	}
	switch {
	case !k.resent || dsack:
	case c.una > k.probeEnd:
		if c.rec.phase == open && !c.ecn.reducing {
			c.windowReduced()
			c.control.Congested(now, cc.Signal{Kind: cc.Loss, First: true, Bytes: c.mss, InFlight: c.flight,
				Delivered: c.rate.delivered, PriorDelivered: c.rate.delivered, LostTotal: c.rate.lost, PriorLost: c.rate.lost})
			c.control.Congested(now, cc.Signal{Kind: cc.Exit, InFlight: c.flight})
		}
	case !duplicate:
		return
	}
	k.probing = false
}
