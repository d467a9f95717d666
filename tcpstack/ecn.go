package tcpstack

// Explicit congestion notification. Read RFC 3168, 6.1 first, then RFC 8311 and
// RFC 8511.

import (
	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// ECN is what two endpoints have agreed on in their handshake.
type ECN uint8

// What can be agreed on.
const (
	NoECN       ECN = iota
	ClassicECN      // RFC 3168: one signal per round trip
	AccurateECN     // RFC 9768: every mark is counted
)

// String gives the word operators see.
func (e ECN) String() string { return [...]string{"none", "classic", "accurate"}[e] }

// MaxECTLost is how many segments of ECT data may be lost before any has arrived:
// then the path is taken for one that drops ECT. Ours.
const MaxECTLost = 3

// Ours.
const maxECTStrikes = 3 // episodes of loss in a row without ECT data that arrived between them

// ecnState is what ECN means for one Conn: as a sender, which marks new data and
// answers echoes, and as a receiver, which echoes marks.
type ecnState struct {
	agreed ECN

	// The sending half.
	cwr      bool   // the window was reduced: the next new data says so
	point    uint64 // what was sent before this is answered for: its echoes are old news
	reducing bool   // PRR takes the window down, without a loss
	refused  bool   // the path drops ECT, so none is sent
	barred   bool   // the handshake was such that none may be sent
	proven   bool   // ECT data has arrived
	lost     int    // segments of ECT data lost while none has arrived
	strikes  int    // episodes of loss since ECT data arrived

	// The receiving half.
	echo   bool     // CE came, and no CWR since
	synECN wire.ECN // of the latest SYN
	marked bool     // the handshake has told of a mark, which is to be answered
	acc    accECN
}

// agree begins what the handshake has agreed on.
func (e *ecnState) agree(on ECN) {
	e.agreed = on
	e.acc = accECN{}
	if on == AccurateECN {
		e.acc.init()
	}
}

func (e *ecnState) init(snap *Snapshot, una uint64) {
	*e = ecnState{
		cwr: snap.ECNReduced, echo: snap.ECNEcho,
		lost: snap.ECTLost, refused: snap.ECTLost >= MaxECTLost,
		point: una,
	}
	e.agree(snap.ECN)
	if e.agreed == AccurateECN {
		e.acc.third = snap.AwaitThird
		if snap.TellSYNACK {
			e.acc.answers(snap.SYNACKArrived)
		}
	}
}

// mark makes new data ECN-capable, and says CWR in the first after a reduction
// (RFC 3168, 6.1.2). Pure ACKs, probes and what is sent again never are (6.1.4,
// 6.1.5, 6.1.6). In a drain the endpoint itself hears the echoes, and answers
// them.
func (c *Conn) mark(r *sent, p *Packet) {
	e := &c.ecn
	if e.agreed == NoECN || r.again || p.Len == 0 {
		return
	}
	if e.cwr && !c.relay.draining {
		e.cwr = false
		p.Flags |= wire.CWR
		c.stats.CWRSent++
	}
	if !e.refused && !e.barred {
		r.ect = true
		p.ECN = wire.ECT0
	}
}

// heedEcho answers an ECE, once per window of data (RFC 3168, 6.1.2): what an ACK
// echoes that covers nothing sent after the last reduction is older than that.
// A loss is answered already, and while one is being repaired it is enough.
func (c *Conn) heedEcho(now mono.Time, s *Segment, old bool, newly int) {
	e := &c.ecn
	c.endReduction(now)
	switch e.agreed {
	case NoECN:
		return
	case ClassicECN:
		if !s.Flags.Has(wire.ECE) || old {
			return
		}
		c.stats.ECEReceived++
	case AccurateECN:
		if !c.heedACE(s, old, newly) {
			return
		}
	}
	if e.reducing || c.rec.phase != open || c.una <= e.point {
		return
	}
	c.stats.ECNReductions++
	flight := max(c.flight, c.mss)
	c.control.Congested(now, cc.Signal{
		Kind: cc.ECN, Bytes: c.mss, InFlight: c.flight, Delivered: c.rate.delivered, LostTotal: c.rate.lost,
	})
	c.windowReduced()
	if c.una == c.nxt {
		// Nothing is in flight that would take the window down, or end it.
		c.control.Congested(now, cc.Signal{Kind: cc.Exit})
		return
	}
	e.reducing = true
	// RFC 9937 serves any reduction: here no ACK tells of a loss, so nothing is
	// sent that the way to the smaller window does not release.
	c.rec.delivered, c.rec.out, c.rec.flightSize, c.rec.allow = 0, 0, flight, 0
	c.rec.undo = false // nothing was sent in vain
}

// endReduction ends what PRR does for an echo once all that was in flight then is
// acknowledged.
func (c *Conn) endReduction(now mono.Time) {
	if c.ecn.reducing && c.una >= c.ecn.point {
		c.ecn.reducing = false
		c.control.Congested(now, cc.Signal{Kind: cc.Exit, InFlight: c.flight})
	}
}

// windowReduced notes a reduction, whatever its cause: the receiver is told with
// the next new data (RFC 3168, 6.1.2), and what is in flight now may still bring
// echoes.
func (c *Conn) windowReduced() {
	e := &c.ecn
	e.reducing = false
	e.cwr = e.agreed == ClassicECN
	e.point = c.nxt
}

// ectLost learns that a packet was marked lost, or is repeated on suspicion. A path
// that drops ECT lets its repetition through, which is not ECT: so it shows in
// losses without anything delivered between them. Both rules are ours; RFC 3168 has
// none.
func (e *ecnState) ectLost(r *sent, mss int) {
	e.acc.optionLost(r)
	if !r.ect || r.again || e.proven || e.refused {
		return
	}
	e.lost += (r.len() + mss - 1) / mss
	e.refused = e.lost >= MaxECTLost
}

// ectLosses gives what a later Conn should know of them.
func (e *ecnState) ectLosses() int {
	if e.refused {
		return MaxECTLost
	}
	return e.lost
}

// episode counts the beginning of a loss recovery.
func (e *ecnState) episode() {
	if e.agreed != NoECN && !e.refused {
		e.strikes++
		e.refused = e.strikes >= maxECTStrikes
	}
}

// ectArrived learns that the peer has a packet. One that was sent once only shows
// that the path lets ECT through, whatever was thought before.
func (e *ecnState) ectArrived(r *sent) {
	if r.ect && !r.again {
		e.proven, e.refused, e.lost, e.strikes = true, false, 0, 0
	}
}

// noteMarks takes the marks of data in the window (RFC 3168, 6.1.3). CWR ends the
// echo of what came before it; both are acknowledged at once, since a sender that
// has reduced may have room for nothing else (Linux does the same).
func (c *Conn) noteMarks(s *Segment) {
	e := &c.ecn
	if e.agreed != ClassicECN {
		return
	}
	c.noteCWR(s)
	if s.ECN == wire.CE {
		c.stats.CEReceived++
		if !e.echo {
			c.oweNow()
		}
		e.echo = true
	}
}

// noteCWR ends the echo.
func (c *Conn) noteCWR(s *Segment) {
	if c.ecn.echo && s.Flags.Has(wire.CWR) {
		c.ecn.echo = false
		c.oweNow()
	}
}

// echoMarks says ECE on whatever acknowledges (RFC 3168, 6.1.3), or how many marks
// came.
func (c *Conn) echoMarks(p *Packet) {
	if c.ecn.agreed == AccurateECN {
		p.Flags = p.Flags&^aceFlags | c.ecn.acc.ace(p)
		return
	}
	if c.ecn.echo && !p.Flags.Has(wire.RST) {
		p.Flags |= wire.ECE
	}
}

// single says that no superpacket may leave: what cuts it takes a CWR for that of
// RFC 3168 and keeps it in the first segment only, which would change the ACE field
// (RFC 9768, 3.3.4).
func (e *ecnState) single() bool {
	return e.agreed == AccurateECN && e.acc.cep*uint32(wire.ECE)&uint32(wire.CWR) != 0
}

// reportDue reports that an ACK which is due is to be a pure one, for what it has to
// tell of marks.
func (e *ecnState) reportDue() bool { return e.agreed == AccurateECN && e.acc.reportDue() }
