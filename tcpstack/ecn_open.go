package tcpstack

// How ECN is agreed on. Read RFC 9768, 3.1 first, with RFC 3168, 6.1.1 and
// 6.1.1.1.

import "accd/tcpstack/wire"

// ECNPolicy is what Dial asks for and Accept grants.
type ECNPolicy uint8

// The policies.
const (
	// ECNGrant grants classic ECN to who asks for it and asks for nothing, as
	// Linux does by default (tcp_ecn=2): asking may be answered with silence.
	ECNGrant    ECNPolicy = iota
	ECNOff                // neither asks nor grants
	ECNClassic            // asks for and grants classic ECN
	ECNAccurate           // asks for AccECN, and takes or grants whichever the peer knows
)

// aceFlags are the bits of the SYN that ask for AccECN, and of the ACE field.
const aceFlags = wire.AE | wire.CWR | wire.ECE

// handshakeACE encodes the IP-ECN field of a SYN in the SYN-ACK, or of the SYN-ACK
// in its pure ACK (RFC 9768, tables 2 and 3).
var handshakeACE = [4]wire.Flags{
	wire.NotECT: wire.CWR,
	wire.ECT1:   wire.CWR | wire.ECE,
	wire.ECT0:   wire.AE,
	wire.CE:     wire.AE | wire.CWR,
}

// askECN gives the ECN bits of the SYN to send. One that is not answered is
// repeated without, in case they are why: AccECN is tried once more before (RFC
// 9768, 3.1.4.1), classic ECN is not, as in Linux (RFC 3168, 6.1.1.1).
func (c *Conn) askECN() wire.Flags {
	tries := c.open.tries
	switch {
	case c.cfg.ECN == ECNClassic && tries == 0:
		return wire.CWR | wire.ECE
	case c.cfg.ECN == ECNAccurate && tries <= 1:
		return aceFlags
	}
	return 0
}

// grantECN gives the ECN bits of the SYN-ACK to send. What AccECN feeds back is
// the codepoint of the latest SYN; the third SYN-ACK is sent without, and then no
// ECT at all (RFC 9768, 3.1.4.2, 3.1.5, 3.2.3.2.2).
func (c *Conn) grantECN() wire.Flags {
	e := &c.ecn
	switch e.agreed {
	case ClassicECN:
		return wire.ECE
	case AccurateECN:
		if c.open.tries >= 2 {
			e.barred = true
			return 0
		}
		return handshakeACE[e.synECN]
	}
	return 0
}

// heardSYN takes the ECN bits of a SYN: the first decides.
func (c *Conn) heardSYN(s *Segment) {
	e, f := &c.ecn, s.Flags&aceFlags
	e.synECN = s.ECN
	switch p := c.cfg.ECN; {
	case p == ECNOff || f == 0:
	case p == ECNAccurate && f != wire.CWR|wire.ECE:
		e.agree(AccurateECN) // RFC 9768, 3.1.3: any other combination is the future's
	case f.Has(wire.CWR | wire.ECE):
		e.agree(ClassicECN)
	}
}

// heardSYNAgain takes those of a SYN that came before; false: the two contradict
// each other, and the connection is to be reset (RFC 9768, 3.1.5). It agrees on
// nothing new. After one without ECN, its sender may have given up ECN, and is sent
// no ECT.
func (c *Conn) heardSYNAgain(s *Segment) bool {
	e, f := &c.ecn, s.Flags&aceFlags
	e.synECN = s.ECN
	switch {
	case e.agreed == NoECN:
	case f == 0:
		e.barred = true
	case c.cfg.ECN == ECNAccurate:
		return (f == wire.CWR|wire.ECE) == (e.agreed == ClassicECN)
	}
	return true
}

// heardSYNACK takes the ECN bits of the SYN-ACK that completes the handshake (RFC
// 9768, table 2).
func (c *Conn) heardSYNACK(s *Segment) {
	e, f := &c.ecn, s.Flags&aceFlags
	switch c.cfg.ECN {
	case ECNClassic:
		// RFC 3168, 6.1.1: both bits are only reflected. A SYN sent again asked
		// for nothing, so it is not known what this answers: marks are echoed,
		// and nothing is marked.
		if f == wire.ECE {
			e.agree(ClassicECN)
			e.barred = c.open.tries > 1
		}
	case ECNAccurate:
		switch f {
		case 0, aceFlags: // none; or reflected
		case wire.ECE:
			e.agree(ClassicECN)
			e.barred = c.open.tries > 2
		default:
			e.agree(AccurateECN)
			// 3.2.2.3: the SYN left as Not-ECT, and so it should have arrived.
			e.barred = f != handshakeACE[wire.NotECT] && f != wire.AE|wire.ECE
			e.marked = f == handshakeACE[wire.CE]
			e.acc.answerSYNACK(s.ECN)
			e.acc.heedOption(&s.Options)
			e.acc.test = 2 // 3.2.3.2.1: in the last of the handshake, and in the first data
		}
	}
}

// heardSYNACKAgain takes a SYN-ACK that comes again, because its ACK was lost: that
// has to tell again how it arrived (RFC 9768, 3.2.2.1). What was agreed on stays.
func (c *Conn) heardSYNACKAgain(s *Segment) {
	if f := s.Flags & aceFlags; c.ecn.agreed == AccurateECN && s.Flags.Has(wire.SYN|wire.ACK) &&
		f != 0 && f != wire.ECE && f != aceFlags {
		c.ecn.acc.answerSYNACK(s.ECN)
	}
}
