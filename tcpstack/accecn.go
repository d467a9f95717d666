package tcpstack

// Accurate ECN feedback. Read RFC 9768, 3.2 first, then its appendix A.

import "accd/tcpstack/wire"

// Specification constants (RFC 9768).
const (
	startCEP     = 5       // 3.2.1: of the counter of CE packets
	startBytes   = 1       // 3.2.1: of the counters of ECT bytes
	aceWrap      = 8       // 3.2.2: ACE is a counter of three bits
	byteWrap     = 1 << 24 // 3.2.3: the counters in the option have 24
	maxOptions   = 40      // bytes of a TCP header (RFC 9293, 3.1)
	reportBytes  = 1 << 22 // 3.2.3.3: a counter is reported at least so often
	safetyFactor = 2       // A.2.2
)

// Ours: below so many packets per ACK on average, one that covers eight or more
// tells of ACKs that were lost (RFC 9768, A.2.1: well below 8).
const thinnedACKs = 4

// marks are the byte counters of RFC 9768, 3.2.1, by codepoint.
type marks [4]uint32

// accECN is AccECN in one Conn.
type accECN struct {
	// The receiving half.
	cep     uint32   // r.cep: packets that came with CE, from startCEP on
	got     marks    // r.ceb, r.e0b, r.e1b
	told    marks    // as in the last option sent
	last    wire.ECN // codepoint of the last packet
	pending int      // CE marks since the last packet sent
	shake   bool     // the next pure ACK tells how the SYN-ACK arrived,
	synACK  wire.ECN // with this
	test    int      // options still to be sent to see whether they arrive
	mute    bool     // they do not: none is sent
	testEnd uint64   // behind the first data that carried one; 0: none
	carried bool     // a pure ACK with one has left since data came last,
	again   int      // times in a row that data then came again

	// The sending half.
	sent    uint32  // s.cep
	heard   marks   // s.ceb, s.e0b, s.e1b
	perACK  float64 // packets an ACK covers, moving average; 0: unknown
	started bool    // feedback has come
	third   bool    // the segment that completes the handshake is still to come
	shook   bool    // the segment at hand carried the handshake's encoding
	deaf    bool    // feedback is not to be believed
	options bool    // an option has come
	zeroed  bool    // and it was not to be believed
	stamp   uint32  // TSval of the ACK heeded last
}

func (a *accECN) init() {
	a.cep, a.sent = startCEP, startCEP
	a.got = marks{wire.ECT0: startBytes, wire.ECT1: startBytes}
	a.told, a.heard = a.got, a.got
}

// answerSYNACK makes the next pure ACK tell how a SYN-ACK arrived (RFC 9768,
// 3.2.2.1). The first CE counts, and no other (3.2.2.2).
func (a *accECN) answerSYNACK(e wire.ECN) {
	a.shake, a.synACK = true, e
	if e == wire.CE && a.cep == startCEP {
		a.cep++
	}
}

// noteCounts counts an acceptable packet (RFC 9768, 3.2.1), and says when it is to
// be acknowledged (3.2.2.5.1): the first CE on data at once, every second mark with
// data to acknowledge, every third without.
func (c *Conn) noteCounts(s *Segment) {
	a, n := &c.ecn.acc, s.Payload.Len()
	if s.ECN != wire.NotECT {
		a.got[s.ECN] += uint32(n)
	}
	if s.ECN == wire.CE {
		c.stats.CEReceived += uint64(s.Count())
		a.cep += uint32(s.Count())
		a.pending += s.Count()
		most := 3
		if n > 0 || c.rcvNext() > c.acked {
			most = 2
		}
		if a.pending >= most || n > 0 && a.last != wire.CE {
			c.oweNow()
		}
	}
	a.last = s.ECN
}

// ace gives the ACE field of a packet (RFC 9768, 3.2.2).
func (a *accECN) ace(p *Packet) wire.Flags {
	a.pending = 0
	if a.shake && p.Len == 0 && p.Options.NSACK == 0 && !p.Flags.Any(wire.FIN|wire.RST) {
		a.shake = false
		return handshakeACE[a.synACK]
	}
	return wire.Flags(a.cep%aceWrap) * wire.ECE // ECE is the lowest of the three bits
}

// reportDue reports that a pure ACK is to be sent for the option's sake, before
// data that has no room for it: CE bytes came, much came, or the SYN-ACK is to be
// answered (RFC 9768, 3.2.3.3 and 3.2.2.1).
func (a *accECN) reportDue() bool {
	if a.shake {
		return true
	}
	return !a.mute && (a.got[wire.CE] != a.told[wire.CE] ||
		a.got[wire.ECT0]-a.told[wire.ECT0] >= reportBytes || a.got[wire.ECT1]-a.told[wire.ECT1] >= reportBytes)
}

// report puts the option into a packet that has so much room for it, if a counter
// has changed or the path is to be tested, with every counter that has changed
// since the beginning if they fit, and every one that has changed since the last
// option at least (RFC 9768, 3.2.3.3).
func (a *accECN) report(o *wire.Options, room int) bool {
	if a.mute || a.got == a.told && a.test == 0 {
		return false
	}
	order := [3]wire.ECN{wire.ECT0, wire.CE, wire.ECT1}
	if a.got[wire.ECT1]-startBytes > a.got[wire.ECT0]-startBytes {
		order[0], order[2] = order[2], order[0]
	}
	need, want := 0, 0
	for i, e := range order {
		if a.got[e] != a.told[e] {
			need = i + 1
		}
		if a.got[e] != start(e) || a.test > 0 {
			want = i + 1
		}
	}
	n := want
	for n > need && wire.AccECNLen(n) > room {
		n--
	}
	if wire.AccECNLen(n) > room {
		return false
	}
	o.Set |= wire.HasAccECN
	o.AccECN = wire.AccECN{Order1: order[0] == wire.ECT1, Fields: uint8(n)}
	for i, e := range order[:n] {
		o.AccECN.Count[i] = a.got[e] % byteWrap
		a.told[e] = a.got[e]
	}
	a.test = max(0, a.test-1)
	return true
}

// FirstAccECN puts the option, with all counters as they are at first, into a
// SYN-ACK, to see whether it gets through (RFC 9768, 3.2.3.2.1).
func FirstAccECN(o *wire.Options) {
	o.Set |= wire.HasAccECN
	o.AccECN = wire.AccECN{Fields: 3, Count: [3]uint32{startBytes, 0, startBytes}}
}

// reportOnAck adds the option to a pure ACK. Two SACK blocks come first, a third
// does not (RFC 9768, 3.2.3.3).
func (c *Conn) reportOnAck(p *Packet) {
	o := &p.Options
	room := maxOptions
	if c.snap.Timestamps {
		room -= 12
	}
	blocks := int(o.NSACK)
	if blocks > 0 {
		room -= 4 + 8*blocks
	}
	for {
		if c.ecn.acc.report(o, room) {
			o.NSACK, c.ecn.acc.carried = uint8(blocks), true
			return
		}
		if blocks <= 2 {
			return
		}
		blocks--
		room += 8
	}
}

// reportOnData adds it to new data that leaves room for it in its segment.
func (c *Conn) reportOnData(r *sent, p *Packet) {
	a := &c.ecn.acc
	if room := c.mss - p.Len; !r.again && a.report(&p.Options, min(room, maxOptions-12)) && a.testEnd == 0 {
		a.testEnd = r.end
	}
}

// start gives the initial value of a byte counter.
func start(e wire.ECN) uint32 {
	if e == wire.CE {
		return 0
	}
	return startBytes
}

// optionLost learns that data was lost. The first that carried an option may have
// been lost for its sake (RFC 9768, 3.2.3.2.2).
func (a *accECN) optionLost(r *sent) {
	if a.testEnd != 0 && r.off < a.testEnd && a.testEnd <= r.end && !r.again {
		a.mute = true
	}
}

// cameAgain learns that data which was acknowledged came again: the second time in
// a row it is supposed that the ACK's option kept it from arriving (RFC 9768,
// 3.2.3.2.2).
func (a *accECN) cameAgain() {
	if a.carried {
		a.carried = false
		a.again++
		a.mute = a.mute || a.again >= 2
	}
}

// thirdACK takes the ACE field of the segment that completes the handshake at its
// server (RFC 9768, table 4): of a pure ACK it says how the SYN-ACK arrived, which
// left as Not-ECT.
func (c *Conn) thirdACK(s *Segment) {
	e, a := &c.ecn, &c.ecn.acc
	if e.agreed != AccurateECN {
		return
	}
	if s.Payload.Len() > 0 || s.Options.NSACK > 0 || s.Flags.Has(wire.FIN) {
		return
	}
	a.shook, a.started = true, true
	switch s.Flags & aceFlags {
	case 0:
		e.barred, a.deaf = true, true // note 1
	case handshakeACE[wire.ECT1], handshakeACE[wire.ECT0]:
		e.barred = true // 3.2.2.3: mangled
	case handshakeACE[wire.CE]:
		e.barred = true
		a.sent++
		e.marked = true
	}
}

// heedACE takes the feedback of an ACK: the ACE field, the option, and what both
// say together. It reports whether packets were marked. newly is the bytes it
// newly acknowledges.
func (c *Conn) heedACE(s *Segment, old bool, newly int) bool {
	e, a := &c.ecn, &c.ecn.acc
	if a.shook {
		a.shook = false
		a.stamp = s.Options.TSVal
		a.heedOption(&s.Options)
		return false
	}
	// A.1: feedback that is superseded does not count. With nothing newly
	// acknowledged, only a timestamp shows that it is not.
	progress := s.Options.Has(wire.HasTS) && int32(s.Options.TSVal-a.stamp) > 0
	if old || a.deaf || newly == 0 && !progress && a.started {
		return false
	}
	if s.Options.Has(wire.HasTS) {
		a.stamp = s.Options.TSVal
	}
	ace := uint32(s.Flags&aceFlags) / uint32(wire.ECE)
	if !a.started {
		a.started = true
		if ace == 0 {
			e.barred, a.deaf = true, true // 3.2.2.4
			return false
		}
	}
	packets := uint32((newly + c.mss - 1) / c.mss)
	delta := (ace - a.sent) % aceWrap
	bytes, known := a.heedOption(&s.Options)
	if known && bytes > 0 && delta == 0 && packets < aceWrap {
		e.barred = true // 3.2.3.2.5: bytes were marked, and no packet
	}
	delta = c.unwrap(delta, packets, bytes, known)
	if n := float64(packets); a.perACK == 0 {
		a.perACK = n
	} else if n > 0 {
		a.perACK += (n - a.perACK) / 8
	}
	a.sent += delta
	c.stats.ECEReceived += uint64(delta)
	if newly > 0 && e.marked {
		// The SYN or SYN-ACK was marked: there is a window to reduce only now.
		e.marked = false
		return true
	}
	return delta > 0
}

// unwrap gives how many packets were marked, if the ACE field has moved by delta on
// an ACK of so many: it may have gone round (RFC 9768, 3.2.2.5.2 and A.2).
func (c *Conn) unwrap(delta, packets, bytes uint32, known bool) uint32 {
	if packets < aceWrap {
		return delta
	}
	safer := packets - (packets-delta)%aceWrap
	switch {
	case safer <= delta:
		return delta
	case known:
		// A.2.2: are the marked segments as short as that would make them?
		if bytes <= uint32(c.mss)*delta && bytes/safer < uint32(c.mss)/safetyFactor {
			return delta
		}
	case c.ecn.acc.perACK == 0 || c.ecn.acc.perACK >= thinnedACKs:
		return delta // A.2.1: ACKs cover as much anyway
	}
	return safer
}

// heedOption takes the byte counters of an option, and gives how many bytes more
// were marked with CE; known is false if it does not say. If the first one has a
// zero where a counter starts at more, none is believed (RFC 9768, 3.2.3.2.4).
func (a *accECN) heedOption(o *wire.Options) (marked uint32, known bool) {
	if !o.Has(wire.HasAccECN) || a.zeroed {
		return 0, false
	}
	order := [3]wire.ECN{wire.ECT0, wire.CE, wire.ECT1}
	if o.AccECN.Order1 {
		order[0], order[2] = order[2], order[0]
	}
	for i, e := range order[:o.AccECN.Fields] {
		n := o.AccECN.Count[i]
		if !a.options && e != wire.CE && n == 0 {
			a.zeroed = true
			return 0, false
		}
		d := (n - a.heard[e]) % byteWrap
		a.heard[e] += d
		if e == wire.CE {
			marked = d
		}
	}
	a.options = true
	return marked, true // what is left out has not changed
}
