package tcpstack

// Path MTU discovery. Read RFC 8899 (5) and RFC 4821 (7) first; what routers say is
// in toobig.go. A size here is that of an IP packet in bytes.

import (
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Specification constants.
const (
	basePathMTU = 1280             // RFC 8899, 5.1.2: BASE_PLPMTU, larger than 1200; the search begins there after a black hole
	floorIPv6   = 1280             // RFC 8200, 5: every link carries that
	pathProbes  = 3                // RFC 8899, 5.1.2: MAX_PROBES
	pathRaise   = 10 * time.Minute // RFC 8899, 5.1.1: PMTU_RAISE_TIMER; RFC 1191, 6.3
)

// Ours.
const (
	floorIPv4    = 552  // Linux's min_pmtu: no router that forwards for the Internet asks for less
	usualMTU     = 1500 // the first guess where the link would take more
	pathStrikes  = 2    // timeouts in a row that make a black hole of a size
	pathFollowed = 3    // full segments that have to follow a probe, so that its loss shows
)

// commonMTUs are the sizes that are worth a probe: those of real links and
// tunnels, ascending (RFC 4821, 7.3: a table of likely sizes).
var commonMTUs = [...]int{1006, 1280, 1400, 1440, 1480, 1492, 1500, 2002, 4352, 8166, 9000, 17914, 32000}

// pathMTU is what is known of the largest packet that the path carries.
//
// Up to usualMTU the leg's own MTU is believed until something speaks against
// it. A message of a router lowers it at once; so do timeouts of full segments,
// down to basePathMTU and then to the floor. Whatever is below most is searched
// again, upwards, with probes made of real data: first most itself, since the
// black hole may have been an outage, then the common sizes from below.
type pathMTU struct {
	size  int // PLPMTU: what full segments use
	most  int // MAX_PLPMTU: what the link takes and the peer has announced
	floor int // MIN_PLPMTU
	head  int // bytes of the headers of a segment with data

	strikes int       // timeouts in a row of segments of this size
	passed  mono.Time // when the full segment was sent that arrived last
	reached uint64    // the end of the full segment furthest on that arrived
	proven  int       // the largest size that has arrived since size fell last
	before  int       // the size until the last black hole,
	until   uint64    // used for what lies before this

	// The search.
	raise    mono.Time // no probe before this
	failed   int       // the smallest size found not to pass; 0: none
	hint     int       // what a router said when a probe was too big; 0: nothing
	probed   int       // the size under test; 0: no probe is in flight
	off, end uint64    // the bytes of the probe
	tries    int       // probes of the next size that were lost

	tooBig tooBigNews
}

// initPathMTU begins with what the leg is configured for, what the peer has
// announced (RFC 9293, 3.7.1; RFC 6691: its MSS option counts no options) and
// what an earlier Conn has found.
func (c *Conn) initPathMTU() {
	head, standard, floor := wire.HeadersLen(c.snap.Tuple.Is4()), 536, floorIPv4
	if !c.snap.Tuple.Is4() {
		standard, floor = 1220, floorIPv6
	}
	link, peer := c.cfg.mtu(), c.snap.MSS
	if peer == 0 {
		peer = standard
	}
	m := &c.pmtu
	m.most = min(link, max(peer, MinMSS)+head)
	m.floor = min(floor, m.most)
	m.head = head
	if c.snap.Timestamps {
		m.head += 12
	}
	size := min(m.most, usualMTU)
	if c.snap.PathMTU != 0 {
		size = min(max(c.snap.PathMTU, m.floor), m.most)
		m.raise, m.proven = c.snap.PathMTURaise, c.snap.PathMTUProven
	}
	c.setPathMTU(size)
}

// setPathMTU makes size the largest packet sent.
func (c *Conn) setPathMTU(size int) {
	c.pmtu.size = size
	c.mss = c.payload(size)
}

// payload gives the bytes of a segment whose packet has size bytes.
func (c *Conn) payload(size int) int { return max(size-c.pmtu.head, MinMSS-12) }

// below gives the size to fall back to when packets of a size vanish.
func (m *pathMTU) below(size int) int {
	if size > basePathMTU {
		return max(basePathMTU, m.floor)
	}
	return m.floor
}

// candidate gives the size to probe next; 0: the search is over.
func (m *pathMTU) candidate() int {
	switch {
	case m.size >= m.most:
		return 0
	case m.failed == 0:
		return m.most
	case m.size < m.hint && m.hint < m.failed:
		return m.hint
	}
	for _, size := range commonMTUs {
		if m.size < size && size < m.failed {
			return size
		}
	}
	return 0
}

// rest ends a search: the next one begins after pathRaise, at the beginning.
func (m *pathMTU) rest(now mono.Time) {
	m.failed, m.hint, m.tries = 0, 0, 0
	m.raise = now.Add(pathRaise)
}

// pathProbe gives the size to probe with the next of n bytes that the window has
// room for; 0: none now. A probe is worth sending when nothing else is wrong, the timer
// backed off included, and enough follows it to show its loss (RFC 4821, 7.4).
func (c *Conn) pathProbe(now mono.Time, n int) int {
	m := &c.pmtu
	if m.probed != 0 && c.una >= m.end {
		m.probed = 0 // acknowledged in pieces: inconclusive
	}
	if m.size >= m.most || now < m.raise || m.probed != 0 || c.rec.phase != open || c.lostBytes > 0 || c.rtt.backoff > 0 || c.relay.draining {
		return 0
	}
	size := m.candidate()
	need := c.payload(size) + pathFollowed*c.mss
	if size == 0 || n < need || c.control.Window() < need+c.mss {
		return 0
	}
	return size
}

// sendPathProbe sends new data in one packet of size bytes. It waits for room
// rather than let the window be used up by smaller ones.
func (c *Conn) sendPathProbe(now mono.Time, size int, p *Packet) bool {
	n := c.payload(size)
	if c.room() < n && c.pipe() > 0 {
		c.limited = true
		return false
	}
	if !c.pace.ready(now) {
		c.blocked = true
		return false
	}
	c.record(now, uint64(n))
	r := c.sent.last()
	r.probe = true
	c.pmtu.probed, c.pmtu.off, c.pmtu.end = size, r.off, r.end
	return c.filled(now, r, p)
}

// probeDelivered learns that the peer has got a packet that was a probe, or a
// piece of one. Only a whole one, sent once, shows that its size passes.
func (c *Conn) probeDelivered(now mono.Time, r *sent) {
	m := &c.pmtu
	if m.probed == 0 || r.off != m.off || r.end != m.end {
		return
	}
	if m.probed > m.size {
		c.setPathMTU(m.probed)
	}
	m.probed, m.tries, m.strikes = 0, 0, 0
	if m.candidate() == 0 {
		m.rest(now)
	}
}

// fullDelivered learns that full segments have arrived. Where those are from
// before a black hole, and nobody sent them again, it was none: they were slow. But
// those that waited for something sent again, as d tells, may have been there long before.
func (c *Conn) fullDelivered(r *sent, d *delivery) {
	m := &c.pmtu
	m.passed, m.reached = max(m.passed, r.at), max(m.reached, r.end)
	m.proven = max(m.proven, m.size)
	if r.off < m.until && !r.again && !d.again && r.len() > c.mss && m.before > m.size {
		c.setPathMTU(m.before)
	}
}

// probeLost reports whether r, which was found lost, is a probe: its loss is no
// sign of congestion (RFC 4821, 7.6.2), and what was in it goes again in smaller
// segments.
func (c *Conn) probeLost(now mono.Time, r *sent) bool {
	if !r.probe || c.rec.phase != open {
		return false
	}
	m := &c.pmtu
	c.forgive(r)
	if m.probed == 0 {
		return true // another piece of the same
	}
	size := m.probed
	m.probed = 0
	if m.tries++; m.tries >= pathProbes {
		m.failed, m.tries = size, 0
		if m.candidate() == 0 {
			m.rest(now)
		}
	}
	return true
}

// forgive books a flying packet as lost without blaming congestion.
func (c *Conn) forgive(r *sent) {
	c.sent.lose(r)
	r.forgiven = true
	c.flight -= r.len()
	c.lostBytes += r.len()
}

// pathTimeout looks for a black hole when the retransmission timer has expired
// (RFC 4821, 7.6.3 and 7.7): full segments are lost time and again, and nobody
// says why. A fast retransmission or a tail loss probe that was as large and as
// futile counts as a timeout; a full segment sent later that arrived is the best
// defence. The search that follows puts things right if it was something else.
func (c *Conn) pathTimeout(now mono.Time) {
	m := &c.pmtu
	m.probed = 0 // inconclusive (RFC 4821, 7.6.4)
	head := c.sent.at(0)
	size, most := min(m.size, head.len()+m.head), pathStrikes
	next := m.below(size)
	small := c.payload(next)
	if size <= basePathMTU && c.heard <= head.at {
		most++ // most paths carry that: it is rather an outage
	}
	if c.timeouts == 1 || m.passed >= head.at {
		m.strikes = 0
	}
	if c.timeouts == 1 && (head.again && head.len() > small && m.reached <= head.off || c.rack.probing && c.sent.last().len() > small) {
		m.strikes++
	}
	if m.passed < head.at {
		m.strikes++
	}
	if m.strikes < most || next >= size {
		return
	}
	m.before, m.until, m.proven = m.size, c.nxt, 0
	c.setPathMTU(next)
	m.strikes, m.failed, m.hint, m.tries, m.raise = 0, 0, 0, 0, now
}

// Swallowed reports that even the smallest full segments are lost time and
// again: there is no size left to try.
func (c *Conn) Swallowed() bool {
	m := &c.pmtu
	return c.timeouts > 2 && m.size == m.floor && m.strikes >= pathStrikes && int(c.nxt-c.una) >= c.mss
}

// PathMTU gives the largest IP packet in bytes that the path is believed to
// carry.
func (c *Conn) PathMTU() int { return c.pmtu.size }

// mtu gives the largest packet the leg may carry.
func (cfg *Config) mtu() int {
	if cfg.MTU == 0 {
		return defaultMTU
	}
	return cfg.MTU
}
