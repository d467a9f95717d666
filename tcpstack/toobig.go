package tcpstack

// What routers say of packets that are too big for them. Read RFC 1191, RFC 8201
// and, for what attackers say, RFC 5927 (7) first.

import (
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Ours.
const (
	tooBigSlack = 50 * time.Millisecond
	tooBigRound = 3 // messages of routers that are acted on until what was in flight is acknowledged
)

// tooBigNews is what is remembered of such messages.
type tooBigNews struct {
	doubted    int       // the MTU of one that waits to be believed; 0: none
	doubtedOff uint64    // the byte it is about
	decideAt   mono.Time // by then that should have been acknowledged
	told       int       // how many were acted on since una passed toldUntil
	toldUntil  uint64
}

// plateaus are the guesses for a router that does not tell its MTU, descending
// (RFC 1191, 7.1).
var plateaus = [...]int{32000, 17914, 8166, 4352, 2002, 1492, 1006}

// PacketTooBig takes the news of a router that a packet whose first byte is seq
// was longer than mtu bytes (RFC 1191, RFC 8201); an mtu of 0 comes from a router
// that does not say. It reports whether seq was in flight (RFC 5927, 7.2), and
// then lowers the MSS and sends what is in flight again, without a cut of the
// congestion window: nothing was lost to congestion. Where packets larger than
// mtu have arrived before, that waits until this one is overdue, for the path may
// have changed or somebody has guessed the number.
func (c *Conn) PacketTooBig(now mono.Time, seq wire.Seq, mtu int) bool {
	off := c.offset(seq)
	if seq.Less(c.seq(c.una)) || off >= c.nxt {
		return false
	}
	m := &c.pmtu
	r := c.sent.at(c.sent.find(off))
	size, probe := m.size, r.probe && m.probed != 0
	if probe {
		size = m.probed
	}
	if mtu == 0 {
		mtu = plateauBelow(size)
	}
	mtu = max(mtu, m.floor)
	if r.fate != flying || mtu >= size {
		return true
	}
	if m.proven > mtu && !probe {
		if m.tooBig.doubted == 0 {
			m.tooBig.doubted, m.tooBig.doubtedOff = mtu, off
			m.tooBig.decideAt = max(r.at.Add(c.rtt.srtt+4*c.rtt.rttvar), now).Add(tooBigSlack)
		}
		return true
	}
	if !m.tooBig.heed(c.una, c.nxt) {
		return true
	}
	if probe {
		m.probed, m.tries = 0, 0
		m.hint, m.failed = mtu, mtu+1
		c.forgive(r)
	}
	c.tooBig(now, mtu)
	return true
}

// decideTooBig heeds the message in doubt if what it is about is still missing.
func (c *Conn) decideTooBig(now mono.Time) {
	m := &c.pmtu
	if m.tooBig.doubted == 0 || now < m.tooBig.decideAt {
		return
	}
	mtu := m.tooBig.doubted
	m.tooBig.doubted = 0
	if m.tooBig.doubtedOff < c.una || c.sent.at(c.sent.find(m.tooBig.doubtedOff)).fate == sacked || mtu >= m.size || !m.tooBig.heed(c.una, c.nxt) {
		return
	}
	c.tooBig(now, mtu)
}

// deadline gives when decideTooBig has something to decide.
func (n *tooBigNews) deadline() mono.Time {
	if n.doubted == 0 {
		return mono.Never
	}
	return n.decideAt
}

// tooBig makes mtu the path's and sends again what is in flight in larger packets.
func (c *Conn) tooBig(now mono.Time, mtu int) {
	m := &c.pmtu
	if mtu < m.size {
		c.setPathMTU(mtu)
		m.strikes, m.until, m.proven = 0, 0, 0
		m.rest(now)
	}
	for i := range c.sent.n {
		if r := c.sent.at(i); r.fate == flying && r.len() > c.mss && !r.probe {
			c.forgive(r)
		}
	}
	if c.rec.phase == fast {
		c.rec.allow = max(c.rec.allow, c.mss)
	}
	c.rack.probe, c.rack.probing = false, false // what it asked is answered
	c.arm(now, 0)
}

// heed bounds what forged messages can do that know a number in flight: each
// one acted on sends everything in flight again.
func (n *tooBigNews) heed(una, nxt uint64) bool {
	if una >= n.toldUntil {
		n.told, n.toldUntil = 0, nxt
	}
	n.told++
	return n.told <= tooBigRound
}

// plateauBelow gives the next plateau below size; 0 if there is none.
func plateauBelow(size int) int {
	for _, p := range plateaus {
		if p < size {
			return p
		}
	}
	return 0
}
