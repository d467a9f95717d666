package tcpstack

import (
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Conn is one connection from ESTABLISHED on. See the package comment for the
// order of calls.
type Conn struct{ cfg *Config }

// Resume makes a Conn that goes on where snap says. in gets what it receives:
// in.End is the offset of RcvNxt. out is what it sends: out.Base is the offset of
// SndUna; bytes of out up to SndNxt count as sent. The Conn borrows snap.
func Resume(now mono.Time, snap *Snapshot, in, out *Stream, cfg *Config) *Conn {
	c := new(Conn)
	c.Resume(now, snap, in, out, cfg)
	return c
}

// Resume is the function of the same name in place; c's earlier life is over.
func (c *Conn) Resume(now mono.Time, snap *Snapshot, in, out *Stream, cfg *Config) { panic("soon") }

// Snapshot fills s with what Resume needs; the bytes of the Streams and what
// waits in reassembly are not in it. Tuple stays as Resume got it.
func (c *Conn) Snapshot(s *Snapshot) { panic("soon") }

// Receive takes one segment and its payload. It never sends.
func (c *Conn) Receive(now mono.Time, s *Segment) { panic("soon") }

// Transmit fills p with the next packet and reports whether there is one.
func (c *Conn) Transmit(now mono.Time, p *Packet) bool { panic("soon") }

// Expire runs what is due at now.
func (c *Conn) Expire(now mono.Time) { panic("soon") }

// Deadline gives the next instant at which Expire or Transmit has something to
// do without new input; mono.Never if there is none.
func (c *Conn) Deadline() mono.Time { panic("soon") }

// Abort ends the Conn: Transmit gives one RST the peer accepts, then nothing.
func (c *Conn) Abort() { panic("soon") }

// Err gives why the Conn ended; nil while it lives or after FINs both ways.
func (c *Conn) Err() error { panic("soon") }

// SetTimestamp sets the TSval to send (Relay). A value lower than the last is
// ignored: the peer would discard what carries it (RFC 7323, 5.2).
func (c *Conn) SetTimestamp(val uint32) { panic("soon") }

// TSRecent gives TS.Recent of the peer; ok is false while none is known.
func (c *Conn) TSRecent() (val uint32, ok bool) { panic("soon") }

// SetBuffer changes how many bytes beyond in.Base the window offers. An edge
// once offered stays.
func (c *Conn) SetBuffer(bytes int) { panic("soon") }

// SetAckLimit sets how many bytes beyond in.Base are acknowledged; what arrives
// beyond waits in the Stream, unacknowledged. 0: no limit.
func (c *Conn) SetAckLimit(bytes int) { panic("soon") }

// Hold stops acknowledging anything new while on: RcvNxt as sent stands still.
func (c *Conn) Hold(on bool) { panic("soon") }

// AckFIN says that the peer's FIN may be acknowledged now (Relay).
func (c *Conn) AckFIN() { panic("soon") }

// SkipTo says that the bytes before n reached the other endpoint without
// passing through in: RcvNxt moves there (custody.md, "receiver ahead of us").
func (c *Conn) SkipTo(n wire.Seq) { panic("soon") }

// Ahead gives, once, the acknowledgment number beyond SndNxt that the peer has
// confirmed after a probe; Relay only. The caller decides whether to believe it.
func (c *Conn) Ahead() (n wire.Seq, ok bool) { panic("soon") }

// SendTo says that the peer has everything before n, although this Conn did not
// send it: SndUna and SndNxt move there, and out is discarded up to it.
func (c *Conn) SendTo(n wire.Seq) { panic("soon") }

// Probe asks for a segment at SndUna−1, which the peer answers with its true
// RCV.NXT (RFC 9293, 3.8.4 and 3.10.7.4).
func (c *Conn) Probe() { panic("soon") }

// Drain makes the Conn a retransmitter: it sends what out holds, acknowledges
// nothing new, and Receive reads only the acknowledging half of segments (their
// payload is released).
func (c *Conn) Drain() { panic("soon") }

// Relayed says that a segment with this ack and right edge (ack + window) of the
// opposite endpoint passed to the peer unmodified: what this Conn sends must not
// say less (invariant I3).
func (c *Conn) Relayed(ack, edge wire.Seq) { panic("soon") }

// PacketTooBig takes the news of a router that a packet whose first byte is seq
// was longer than mtu bytes (RFC 1191, RFC 5927 7.2). It reports whether seq was
// in flight, and then lowers the MSS and retransmits.
func (c *Conn) PacketTooBig(now mono.Time, seq wire.Seq, mtu int) bool { panic("soon") }

// ResetVerdict is what RFC 5961, 3.2 says of an RST.
type ResetVerdict uint8

// Verdicts on an RST.
const (
	ResetIgnore    ResetVerdict = iota // outside the window
	ResetChallenge                     // in the window: a challenge ACK is owed, and CheckReset has noted that
	ResetAccept                        // exactly the next expected byte, or the last one acknowledged to the peer
)

// CheckReset judges an RST; Receive itself acts on one only without Relay.
func (c *Conn) CheckReset(now mono.Time, s *Segment) ResetVerdict { panic("soon") }

// Believable reports whether a segment passes the tests that come before any
// effect: RFC 9293 3.10.7.4 first, fifth; RFC 7323 5.3 (PAWS); RFC 5961 5.2.
func (c *Conn) Believable(now mono.Time, s *Segment) bool { panic("soon") }

// Idle reports that nothing is held or owed: out is acknowledged, reassembly is
// empty, no ACK, window update or probe is due. An unacknowledged FIN of a Relay
// Conn does not count: its sender repeats it.
func (c *Conn) Idle() bool { panic("soon") }

// SndUna gives the oldest byte the peer has not acknowledged.
func (c *Conn) SndUna() wire.Seq { panic("soon") }

// SndNxt gives the next byte to send for the first time.
func (c *Conn) SndNxt() wire.Seq { panic("soon") }

// SndEdge gives the right edge of the window the peer offers.
func (c *Conn) SndEdge() wire.Seq { panic("soon") }

// RcvNxt gives the next byte expected, whether or not it may be acknowledged.
func (c *Conn) RcvNxt() wire.Seq { panic("soon") }

// RcvAcked gives the largest acknowledgment number sent or relayed to the peer.
func (c *Conn) RcvAcked() wire.Seq { panic("soon") }

// RcvEdge gives the largest right edge ever offered or relayed to the peer.
func (c *Conn) RcvEdge() wire.Seq { panic("soon") }

// Reassembling gives the bytes that wait behind a hole, and since when.
func (c *Conn) Reassembling() (bytes int, since mono.Time) { panic("soon") }

// FINReceived reports that the peer's FIN has come in order; FINAcked that ours
// is acknowledged.
func (c *Conn) FINReceived() bool { panic("soon") }

// FINAcked reports that the peer has acknowledged our FIN.
func (c *Conn) FINAcked() bool { panic("soon") }

// Backoff gives the timeouts in a row without progress.
func (c *Conn) Backoff() int { panic("soon") }

// Heard gives when the last believable segment came; Progressed when SndUna or
// SndEdge moved last, or there was nothing to wait for.
func (c *Conn) Heard() mono.Time { panic("soon") }

// Progressed gives when SndUna or SndEdge moved last.
func (c *Conn) Progressed() mono.Time { panic("soon") }

// RTT gives the smoothed and the smallest round trip, 0 if unknown.
func (c *Conn) RTT() (smoothed, smallest time.Duration) { panic("soon") }

// RTO gives the retransmission timeout without backoff.
func (c *Conn) RTO() time.Duration { panic("soon") }

// DeliveryRate gives the recent delivery rate in bytes per second, 0 if unknown.
func (c *Conn) DeliveryRate() int64 { panic("soon") }

// Stats gives the counts.
func (c *Conn) Stats() *Stats { panic("soon") }

// State describes the congestion control's state for operators.
func (c *Conn) State() string { panic("soon") }

// Congestion gives the congestion window in bytes, the bytes in flight and the
// pacing rate in bytes per second (0: none).
func (c *Conn) Congestion() (window, inFlight int, rate int64) { panic("soon") }
