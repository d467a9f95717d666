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

// Ask gives the ECN bits of a SYN that was sent so often before. One that is not
// answered is repeated without, in case they are why: AccECN is tried once more
// before (RFC 9768, 3.1.4.1), classic ECN is not, as in Linux (RFC 3168, 6.1.1.1).
func (p ECNPolicy) Ask(sent int) wire.Flags {
	switch {
	case p == ECNClassic && sent == 0:
		return wire.CWR | wire.ECE
	case p == ECNAccurate && sent <= 1:
		return aceFlags
	}
	return 0
}

// Grant gives what is agreed on by a server whose first SYN has these flags (RFC
// 9768, table 2 and 3.1.3: what is neither classic nor none is AccECN of the future).
func (p ECNPolicy) Grant(syn wire.Flags) ECN {
	switch f := syn & aceFlags; {
	case p == ECNOff || f == 0:
	case p == ECNAccurate && f != wire.CWR|wire.ECE:
		return AccurateECN
	case f.Has(wire.CWR | wire.ECE):
		return ClassicECN
	}
	return NoECN
}

// Granted gives what is agreed on by a client that has sent so many SYNs and is
// answered by a SYN-ACK with these flags (RFC 9768, table 2). Where ect is false no
// ECT may be sent.
func (p ECNPolicy) Granted(synAck wire.Flags, sent int) (agreed ECN, ect bool) {
	f := synAck & aceFlags
	switch {
	case p != ECNClassic && p != ECNAccurate:
	case f == wire.ECE:
		// A SYN without asked for nothing, so it is not known what this answers:
		// marks are echoed, and nothing is marked.
		return ClassicECN, p.Ask(sent-1) != 0
	case p == ECNClassic || f == 0 || f == aceFlags: // all bits: reflected
	default:
		// 3.2.2.3: the SYN left as Not-ECT, and so it should have arrived.
		return AccurateECN, f == handshakeACE[wire.NotECT] || f == wire.AE|wire.ECE
	}
	return NoECN, false
}

// Answer gives the ECN bits of the SYN-ACK that grants it, to a SYN that arrived
// with the codepoint syn.
func (e ECN) Answer(syn wire.ECN) wire.Flags {
	switch e {
	case ClassicECN:
		return wire.ECE
	case AccurateECN:
		return handshakeACE[syn]
	}
	return 0
}

// grantECN gives the ECN bits of the SYN-ACK to send. What AccECN feeds back is
// the codepoint of the latest SYN; the third SYN-ACK is sent without, and then no
// ECT at all (RFC 9768, 3.1.4.2, 3.1.5, 3.2.3.2.2).
func (c *Conn) grantECN() wire.Flags {
	e := &c.ecn
	if e.agreed == AccurateECN && c.open.tries >= 2 {
		e.barred = true
		return 0
	}
	return e.agreed.Answer(e.synECN)
}

// heardSYN takes the ECN bits of a SYN: the first decides.
func (c *Conn) heardSYN(s *Segment) {
	c.ecn.synECN = s.ECN
	c.ecn.agree(c.cfg.ECN.Grant(s.Flags))
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

// heardSYNACK takes the ECN bits of the SYN-ACK that completes the handshake.
func (c *Conn) heardSYNACK(s *Segment) {
	e := &c.ecn
	agreed, ect := c.cfg.ECN.Granted(s.Flags, int(c.open.tries))
	e.agree(agreed)
	e.barred = !ect
	if agreed == AccurateECN {
		e.marked = s.Flags&aceFlags == handshakeACE[wire.CE]
		e.acc.heedOption(&s.Options)
		e.acc.answers(s.ECN)
	}
}

// answers makes the client's end of an AccECN connection tell how the SYN-ACK
// arrived, and test the path for the option: in the last segment of the handshake
// and in the first data (RFC 9768, 3.2.3.2.1).
func (a *accECN) answers(synACK wire.ECN) {
	a.answerSYNACK(synACK)
	a.test = 2
}

// heardSYNACKAgain takes a SYN-ACK that comes again, because its ACK was lost: that
// has to tell again how it arrived (RFC 9768, 3.2.2.1). What was agreed on stays.
func (c *Conn) heardSYNACKAgain(s *Segment) {
	if f := s.Flags & aceFlags; c.ecn.agreed == AccurateECN && s.Flags.Has(wire.SYN|wire.ACK) &&
		f != 0 && f != wire.ECE && f != aceFlags {
		c.ecn.acc.answerSYNACK(s.ECN)
	}
}
