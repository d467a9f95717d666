// Package tcpstack is TCP as a pure state machine: no goroutine, lock, clock,
// system call or log. A Conn is one connection, from its first SYN (Dial, Accept)
// or from ESTABLISHED on (Resume).
//
// The methods of a Conn are of four kinds. Input: Receive takes a segment,
// Expire lets time pass. Output: Transmit gives one packet at a time until it
// says no, then Deadline gives the next instant at which something is due. After
// any input or command, call Transmit until it is false, then Deadline.
// Commands change what the Conn wants: Answer, Close, Abort, SetTimestamp, Hold,
// Drain, Probe.
// Getters change nothing.
package tcpstack

import (
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Config is how a Conn behaves; it is shared and read-only. The zero Config is
// usable: cubic, defaults of RFC 6298.
type Config struct {
	// NewController makes the congestion control; nil: cubic.
	NewController func(c cc.Config) cc.Controller
	// InitialWindow is the first congestion window in segments; 0: 10.
	InitialWindow int
	// MTU is the largest IP packet in bytes this leg may send; 0: 1500.
	MTU int
	// MaxRate caps pacing, in bytes per second; 0: no cap.
	MaxRate int64
	// Buffer is how many bytes beyond in.Base the window offers, at most; 0: 4 MiB.
	Buffer int
	// MinBuffer is how many it offers in the beginning, without Relay, and again
	// after ten idle seconds; it grows to Buffer with what the reader takes in a
	// round trip (dynamic right-sizing). 0: Buffer.
	MinBuffer int
	// SendBuffer and MinSendBuffer bound in bytes what SendRoom tells a writer to
	// keep in out; 0: 4 MiB and 16 KiB.
	SendBuffer, MinSendBuffer int
	// Memory is what buffers grow into, together with those of other Conns; nil:
	// there is no limit beside the Conn's own.
	Memory *Budget
	// MinRTO is the floor of the variance term of the retransmission timeout;
	// 0: 200 ms.
	MinRTO time.Duration
	// Retries is how many timeouts in a row without progress the Conn
	// survives (RFC 9293, R2); 0: 15, as Linux.
	Retries int
	// NoSegmentation says that the device cannot cut superpackets: no packet
	// carries more than one full segment.
	NoSegmentation bool
	// Unpaced says that something below paces, as the fq qdisc does, or that
	// nothing should: packets leave as soon as the windows allow.
	Unpaced bool
	// NoSACK, NoTimestamps and NoWindowScale leave that option out of what Dial
	// and Accept offer and agree to.
	NoSACK, NoTimestamps, NoWindowScale bool
	// ECN is what Dial asks for and Accept grants; 0: ECNGrant.
	ECN ECNPolicy
	// WindowScale is the smallest shift to offer (RFC 7323, 2), for a Conn whose
	// buffer is to grow later; 0: just what Buffer needs.
	WindowScale uint8
	// HoldAnswer makes Accept wait for Answer before it sends the SYN-ACK.
	HoldAnswer bool
	// SYNRetries is how often Dial sends its SYN again; 0: 11, which takes 251 s.
	SYNRetries int
	// UserTimeout ends the Conn when something sent has not been acknowledged, or
	// a window stayed closed, for so long (RFC 9293, 3.9.1.1; RFC 5482: of this end
	// alone); 0: only Retries count. Not for Relay.
	UserTimeout time.Duration
	// KeepAlive probes a silent peer. Not for Relay.
	KeepAlive KeepAlive
	// Relay says that both ends of the Conn's streams belong to endpoints that
	// talk to each other, as in custody: timestamps are set by SetTimestamp,
	// a FIN is sent only when everything before it is acknowledged, and a
	// received FIN is acknowledged only after AckFIN. An RST is not acted on:
	// see CheckReset.
	Relay bool
	// HoldFIN says that a received FIN is acknowledged only after AckFIN, as
	// with Relay: its sender learns that it was delivered, not that it was
	// taken.
	HoldFIN bool
}

// MinMSS is the least that a peer's MSS option counts for, bytes: Linux's
// tcp_min_snd_mss (CVE-2019-11479).
const MinMSS = 48

// Ours.
const (
	defaultBuffer  = 4 << 20
	minSendBuffer  = 16 << 10 // Linux's tcp_wmem
	defaultMTU     = 1500
	defaultRetries = 15
	maxPayload     = 65535 - 60 - 60 // of a superpacket, whatever its headers
	delackTime     = 40 * time.Millisecond
	linearTimeouts = 6                      // in a drain; Linux's TCP_THIN_LINEAR_RETRIES
	sackDelay      = time.Millisecond       // Linux's tcp_comp_sack_delay_ns
	sackHeld       = 44                     // Linux's tcp_comp_sack_nr
	quickAcks      = 16                     // segments acknowledged at once in the beginning
	inVain         = 16                     // small segments acknowledged at once after an ACK that waited for data in vain
	challengeEvery = 500 * time.Millisecond // Linux's tcp_invalid_ratelimit (RFC 5961, 10)
)

// Conn is one connection. See the package comment for the order of calls.
//
// Inside, bytes are named by 64-bit offsets of the two Streams; 32-bit sequence
// numbers appear only where a Segment comes in and a Packet goes out.
type Conn struct {
	cfg     *Config
	in, out *Stream
	snap    Snapshot // as resumed: what the handshake agreed on
	err     error
	control cc.Controller // nil before ESTABLISHED
	old     cc.Controller // of the connection before, to be used again; nil: none
	told    cc.Ack        // what control was told last
	open    handshake     // until ESTABLISHED
	end     ending        // once closed, without Relay

	// The sending half (conn_send.go).
	sndSeq0    wire.Seq // the sequence number of out's offset 0
	una, nxt   uint64   // SND.UNA and SND.NXT as offsets; our FIN counts one
	edge       uint64   // the right edge the peer offers: una + SND.WND
	maxWnd     int      // MAX.SND.WND (RFC 5961, 5.2)
	wl1        wire.Seq // SND.WL1: of the segment that set the window last
	mss        int      // payload bytes of a full segment, options subtracted
	pmtu       pathMTU
	flight     int // bytes in the network: sent, not delivered, not lost
	lostBytes  int // marked lost and not sent again yet
	sent       sentQueue
	passed     []chunk // beyond nxt: what the peer was sent before the Conn began
	rtt        rttState
	rate       rateState
	pace       pacer
	rack       rackState
	rec        recovery
	ecn        ecnState
	retx       retxTimer
	timeouts   int    // in a row without progress
	dsacked    uint64 // bytes sent again that the peer reported to have twice
	sndClosed  bool   // our FIN is acknowledged
	urgentTold uint64 // the mark that a packet has told of last
	limited    bool   // the congestion window held something back since the last ACK
	blocked    bool   // the pacer holds something back

	// The receiving half (conn_recv.go).
	rcvSeq0   wire.Seq // the sequence number of in's offset 0
	acked     uint64   // largest acknowledgment sent or relayed, as an offset
	rcvEdge   uint64   // the largest right edge offered or relayed
	buffer    int      // bytes beyond in.Base that the window offers
	tune      autotune
	ride      time.Duration
	ackLimit  int // bytes beyond in.Base that are acknowledged; 0: all
	reasm     reassembly
	ack       ackState
	hold      bool
	rcvClosed bool   // the peer's FIN is acknowledged, or may be (AckFIN)
	finAt     uint64 // offset of the peer's FIN, if haveFIN
	haveFIN   bool

	// Timestamps (RFC 7323).
	tsRecent    uint32
	tsRecentAge mono.Time
	haveTS      bool   // tsRecent is set
	tsVal       uint32 // Relay: what to send; else the clock when the Conn was born
	haveTSVal   bool

	relay       relayState
	probe       bool      // a segment at SND.UNA − 1 is to be sent
	probes      uint8     // keepalive probes since the peer was heard
	probedAt    mono.Time // the last of them
	waitFrom    mono.Time // since when what is sent waits for the peer
	heard       mono.Time
	progressed  mono.Time
	challengeAt mono.Time // no challenge ACK before this
	abort       abortState
	resetSeq    wire.Seq  // of the RST that Abort sends
	born        mono.Time // when Resume was called
	stats       Stats
}

type abortState uint8

const (
	abortNo abortState = iota
	abortPending
	abortDone
)

// Stats are counts from the beginning of the Conn.
type Stats struct {
	Sent, Retransmitted           uint64 // segments with payload
	BytesSent, BytesRetransmitted uint64
	BytesAcked                    uint64 // by the peer
	Received, BytesReceived       uint64 // in order or not, without duplicates
	Duplicates, OutOfOrder        uint64 // segments
	Timeouts, FastRecoveries      uint64
	TailProbes, Spurious          uint64
	BadAck, BadSeq, BadPAWS       uint64 // segments not believed
	ChallengeAcks                 uint64
	TooManyHoles                  uint64 // segments dropped
	CEReceived, ECEReceived       uint64 // segments with these marks, where ECN is agreed on
	CWRSent, ECNReductions        uint64
	MixedSYN                      uint64 // a handshake was reset because its SYNs contradicted each other
}

// seq and offset convert between the two names of a byte of the sending half;
// rcvSeq and rcvOff of the receiving half.
func (c *Conn) seq(off uint64) wire.Seq { return c.sndSeq0.Add(int(uint32(off))) }

func (c *Conn) rcvSeq(off uint64) wire.Seq { return c.rcvSeq0.Add(int(uint32(off))) }

// rcvNext gives RCV.NXT as an offset: behind the in-order bytes and, once it may
// be acknowledged, the FIN.
func (c *Conn) rcvNext() uint64 {
	if c.haveFIN && c.finAt == c.in.end && c.rcvClosed {
		return c.in.end + 1
	}
	return c.in.end
}

// Err gives why the Conn ended; nil while it lives, and after it ended by FINs.
func (c *Conn) Err() error { return c.err }

// TSRecent gives TS.Recent of the peer; ok is false while none is known.
func (c *Conn) TSRecent() (val uint32, ok bool) { return c.tsRecent, c.haveTS }

// TSVal gives the newest TSval sent to the peer; Relay only.
func (c *Conn) TSVal() (val uint32, ok bool) { return c.tsVal, c.haveTSVal }

// SndUna gives the oldest byte the peer has not acknowledged.
func (c *Conn) SndUna() wire.Seq { return c.seq(c.una) }

// SndNxt gives the next byte to send for the first time.
func (c *Conn) SndNxt() wire.Seq { return c.seq(c.nxt) }

// SndEdge gives the right edge of the window the peer offers.
func (c *Conn) SndEdge() wire.Seq { return c.seq(c.edge) }

// RcvNxt gives the next byte expected, whether or not it may be acknowledged.
func (c *Conn) RcvNxt() wire.Seq { return c.rcvSeq(c.rcvNext()) }

// RcvAcked gives the largest acknowledgment number sent or relayed to the peer.
func (c *Conn) RcvAcked() wire.Seq { return c.rcvSeq(c.acked) }

// RcvEdge gives the largest right edge ever offered or relayed to the peer.
func (c *Conn) RcvEdge() wire.Seq { return c.rcvSeq(c.rcvEdge) }

// Reassembling gives the bytes that wait behind a hole, and since when the
// oldest hole is there.
func (c *Conn) Reassembling() (bytes int, since mono.Time) { return c.reasm.bytes, c.reasm.since }

// FIN gives the sequence number of the peer's FIN, if it has come, whether or not
// everything before it has.
func (c *Conn) FIN() (n wire.Seq, ok bool) { return c.rcvSeq(c.finAt), c.haveFIN }

// FINReceived reports that the peer's FIN has come and everything before it.
func (c *Conn) FINReceived() bool { return c.rcvClosed || c.haveFIN && c.finAt == c.in.end }

// FINAcked reports that the peer has acknowledged our FIN.
func (c *Conn) FINAcked() bool { return c.sndClosed }

// Closed reports that both FINs were acknowledged, ours by the peer and the
// peer's by us.
func (c *Conn) Closed() bool { return c.sndClosed && c.rcvClosed && c.acked == c.rcvNext() }

// Backoff gives the timeouts in a row without progress.
func (c *Conn) Backoff() int { return c.timeouts }

// Unanswered gives the timeouts in a row without progress, or the probes of a
// closed window since the peer was heard.
func (c *Conn) Unanswered() int { return max(c.timeouts, c.retx.probes) }

// Heard gives when the last believable segment came.
func (c *Conn) Heard() mono.Time { return c.heard }

// Progressed gives when SndUna or SndEdge moved last.
func (c *Conn) Progressed() mono.Time { return c.progressed }

// RTT gives the smoothed and the smallest round trip, 0 if unknown.
func (c *Conn) RTT() (smoothed, smallest time.Duration) { return c.rtt.srtt, c.rtt.min }

// RTO gives the retransmission timeout without backoff.
func (c *Conn) RTO() time.Duration { return c.rtt.base() }

// DeliveryRate gives the recent delivery rate in bytes per second, 0 if unknown.
func (c *Conn) DeliveryRate() int64 { return c.rate.recent }

// ECN gives what was agreed on in the handshake, and whether ECT is not sent all
// the same, because the path drops it.
func (c *Conn) ECN() (agreed ECN, refused bool) { return c.ecn.agreed, c.ecn.refused || c.ecn.barred }

// MSS gives the payload bytes of a full segment.
func (c *Conn) MSS() int { return c.mss }

// Scale gives the shift of the windows that are sent to the peer (RFC 7323, 2).
func (c *Conn) Scale() uint8 { return c.snap.RcvScale }

// Stats gives the counts.
func (c *Conn) Stats() *Stats { return &c.stats }

// Control describes the congestion control's state for operators; "" before
// ESTABLISHED.
func (c *Conn) Control() string {
	if c.control == nil {
		return ""
	}
	return c.control.State()
}

// Congestion gives the congestion window in bytes, the bytes in flight and the
// pacing rate in bytes per second (0: none).
func (c *Conn) Congestion() (window, inFlight int, rate int64) {
	if c.control == nil {
		return 0, 0, 0
	}
	return c.control.Window(), c.flight, c.pacingRate()
}

// Idle reports that nothing is held or owed: out is acknowledged, reassembly is
// empty, no ACK, window update or probe is due. An unacknowledged FIN of a Relay
// Conn does not count: its sender repeats it.
func (c *Conn) Idle() bool {
	return c.out.Len() == 0 && c.reasm.empty() && !c.probe && !c.relay.claimed && !c.ack.owed &&
		c.acked == c.rcvNext() && !c.updateDue()
}
