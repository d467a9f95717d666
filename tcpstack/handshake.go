package tcpstack

// How a connection begins. Read RFC 9293 3.5 and 3.10.1 first.

import (
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Specification constants.
const (
	rtoAfterSYN = 3 * time.Second // RFC 6298, 5.7: the RTO once a SYN was lost
	maxWindow16 = 65535           // a window without scaling
)

// openPhase is how far the handshake is.
type openPhase uint8

const (
	openDone openPhase = iota // ESTABLISHED, or beyond
	openSynSent
	openSynReceived
)

// handshake is what a Conn knows until it is ESTABLISHED. The SYN has no offset in
// the Streams: SND.UNA, as an offset, is the byte behind our SYN from the start.
type handshake struct {
	phase  openPhase
	active bool      // Dial began it, simultaneous open included (RFC 9293, MUST-11)
	held   bool      // the SYN-ACK waits for Answer
	due    bool      // a SYN or SYN-ACK is to be sent now
	reject bool      // an RST at resetSeq is owed to a segment; the handshake goes on
	soft   bool      // an ICMP error told why there may be no answer
	tries  uint8     // SYNs, or SYN-ACKs, sent
	mss    uint16    // MSS option to send; 0: what the MTU allows
	sentAt mono.Time // when the last of them was sent
	at     mono.Time // when the next is due
}

// Dial makes a Conn that opens a connection: its first packet is a SYN. key.Src is
// our side; iss is the initial sequence number (Secret.ISN). in gets what is
// received, out is what is sent: both may hold bytes already, and SND.UNA is
// out.Base. The congestion controller is made when the connection is ESTABLISHED.
func Dial(now mono.Time, key wire.Tuple, iss wire.Seq, in, out *Stream, cfg *Config) *Conn {
	c := new(Conn)
	c.Dial(now, key, iss, in, out, cfg)
	return c
}

// Dial is the function of the same name in place: c's earlier life is over, and
// what it kept for reuse stays.
func (c *Conn) Dial(now mono.Time, key wire.Tuple, iss wire.Seq, in, out *Stream, cfg *Config) {
	c.beginOpening(now, key, iss, in, out, cfg)
	c.open = handshake{phase: openSynSent, active: true, due: true}
}

// Accept makes a Conn of a SYN that arrived: its first packet is the SYN-ACK, at
// once or, if cfg.HoldAnswer, after Answer. key.Src is our side. It takes syn's
// payload, which reaches in when the connection is ESTABLISHED.
func Accept(now mono.Time, key wire.Tuple, iss wire.Seq, syn *Segment, in, out *Stream, cfg *Config) *Conn {
	c := new(Conn)
	c.Accept(now, key, iss, syn, in, out, cfg)
	return c
}

// Accept is the function of the same name in place: c's earlier life is over, and
// what it kept for reuse stays.
func (c *Conn) Accept(now mono.Time, key wire.Tuple, iss wire.Seq, syn *Segment, in, out *Stream, cfg *Config) {
	c.beginOpening(now, key, iss, in, out, cfg)
	c.open = handshake{phase: openSynReceived, due: !cfg.HoldAnswer, held: cfg.HoldAnswer}
	c.learnSYN(now, syn)
	c.heardSYN(syn)
	c.queueText(now, syn)
}

// beginOpening is what Dial and Accept have in common.
func (c *Conn) beginOpening(now mono.Time, key wire.Tuple, iss wire.Seq, in, out *Stream, cfg *Config) {
	first := iss.Add(1)
	c.begin(now, &Snapshot{Tuple: key, SndUna: first, SndNxt: first}, in, out, cfg)
	c.tsVal = uint32(now / mono.Time(time.Millisecond))
	c.waitFrom = now
}

// Answer lets go the SYN-ACK that HoldAnswer held.
func (c *Conn) Answer(mono.Time) {
	if c.open.held {
		c.open.held, c.open.due = false, true
	}
}

// Held reports whether the SYN-ACK waits for Answer.
func (c *Conn) Held() bool { return c.open.held }

// OfferMSS lowers the MSS option of the SYN or SYN-ACK that is to be sent: what
// who answers for a server learnt from it. What the MTU allows is the most.
func (c *Conn) OfferMSS(bytes int) {
	c.open.mss = uint16(min(max(bytes, MinMSS), maxWindow16))
}

// RecallPath says what earlier connections by the same path have left, for a Conn
// that is opening: it will begin with that, carefully (RFC 9959).
func (c *Conn) RecallPath(p cc.Path) { c.snap.Path = p }

// PeerMSS gives the MSS option of the peer's SYN in bytes; 0: there was none, or
// no SYN yet.
func (c *Conn) PeerMSS() int { return c.snap.MSS }

// iss gives the sequence number of our SYN, and irs that of the peer's, while the
// handshake goes on.
func (c *Conn) iss() wire.Seq { return c.seq(c.una).Add(-1) }

func (c *Conn) irs() wire.Seq { return c.rcvSeq(c.in.end).Add(-1) }

// synWindow gives the window of a SYN, which is never scaled (RFC 7323, 2.2).
func (c *Conn) synWindow() int { return min(c.buffer, maxWindow16) }

// scale gives the smallest shift with which all of the buffer can be offered.
func (c *Conn) scale() uint8 {
	n := c.cfg.WindowScale
	for n < wire.MaxWScale && c.mostBuffer()>>n > maxWindow16 {
		n++
	}
	return min(n, wire.MaxWScale)
}
