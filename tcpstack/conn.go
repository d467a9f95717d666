// Package tcpstack is TCP as a pure state machine: no goroutine, lock, clock,
// system call or log. A Conn is one connection from ESTABLISHED on.
//
// The methods of a Conn are of four kinds. Input: Receive takes a segment,
// Expire lets time pass. Output: Transmit gives one packet at a time until it
// says no, then Deadline gives the next instant at which something is due. After
// any input or command, call Transmit until it is false, then Deadline.
// Commands change what the Conn wants: Abort, SetTimestamp, Hold, Drain, Probe.
// Getters change nothing.
package tcpstack

import (
	"errors"
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// How a Conn ends other than by FIN in both directions.
var (
	ErrReset   = errors.New("tcpstack: connection reset by peer")
	ErrTimeout = errors.New("tcpstack: connection timed out")
	ErrAborted = errors.New("tcpstack: connection aborted")
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
	// Buffer is the largest number of bytes the Conn keeps in its in Stream
	// before it closes the window; 0: 4 MiB.
	Buffer int
	// MinRTO is the floor of the retransmission timeout; 0: 200 ms, Linux's
	// value, where RFC 6298 (2.4) says one second.
	MinRTO time.Duration
	// Retries is how many timeouts in a row without progress the Conn
	// survives (RFC 9293, R2); 0: 15, as Linux.
	Retries int
	// Relay says that both ends of the Conn's stream belong to endpoints that
	// talk to each other, as in custody: timestamps are set by SetTimestamp,
	// a FIN is sent only when everything before it is acknowledged, and a
	// received FIN is acknowledged only after AckFIN. Nothing is answered on
	// its own account but what RFC 5961 asks for.
	Relay bool
}

// Snapshot is a Conn between two packets, with nothing held: what Resume needs
// to go on. Plain old data.
type Snapshot struct {
	Tuple wire.Tuple // Src is the side this Conn plays

	// Agreed in the handshake.
	MSS        int   // the peer's MSS option in bytes, options not subtracted; 0: 536 or 1220
	SndScale   uint8 // shift of windows the peer sends
	RcvScale   uint8 // shift of windows sent to the peer
	SACK       bool
	Timestamps bool
	SndClosed  bool // our FIN is acknowledged
	RcvClosed  bool // the peer's FIN is acknowledged

	// The sending half.
	SndUna wire.Seq // oldest byte the peer has not acknowledged
	SndNxt wire.Seq // next byte to send
	SndWnd int      // bytes the peer offers from SndUna on
	MaxWnd int      // largest window ever seen, bytes

	// The receiving half.
	RcvNxt  wire.Seq // next byte expected
	RcvEdge wire.Seq // the largest right edge ever offered to the peer

	// Timestamps (RFC 7323), meaningful when Timestamps.
	TSRecent    uint32    // of the peer
	TSRecentAge mono.Time // when it was set
	TSVal       uint32    // to send; Relay only

	// To start well.
	SRTT, RTTVar, MinRTT time.Duration // 0: unknown
	CC                   cc.Memory
}

// Stats are counts from the beginning of the Conn.
type Stats struct {
	Sent, Retransmitted                            uint64 // segments with payload
	BytesSent, BytesRetransmitted                  uint64
	BytesAcked                                     uint64 // by the peer
	Received, BytesReceived                        uint64 // in order or not, without duplicates
	Duplicates, OutOfOrder                         uint64 // segments
	Timeouts, FastRecoveries, TailProbes, Spurious uint64
	BadAck, BadSeq, BadPAWS                        uint64 // segments not believed
	ChallengeAcks                                  uint64
}
