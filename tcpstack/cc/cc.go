// Package cc holds the congestion control algorithms. A Controller is told
// facts and owns its state; it never sees the connection. Loss detection
// (RACK-TLP) and recovery (PRR) belong to the stack.
package cc

import (
	"math"
	"time"

	"accd/tcpstack/mono"
)

// Controller decides how many bytes may be in flight, and how fast they leave.
//
// Order of calls: Sent for every packet with data, retransmissions included,
// before it leaves. On an ACK the stack first detects losses and calls
// Congested once per cause, then Acked once. Window and Rate may be read at any
// time; they do not change between calls.
type Controller interface {
	// Sent says that bytes leave now; inFlight is the bytes in flight before
	// them, so 0 outside recovery means a restart from idle.
	Sent(now mono.Time, bytes, inFlight int)
	// Acked says what one ACK taught, after loss detection.
	Acked(now mono.Time, a *Ack)
	// Congested reports a congestion signal, or takes one back.
	Congested(now mono.Time, s Signal)
	// Window is the congestion window in bytes, at least one MSS. In fast
	// recovery it is the window to leave recovery with (ssthresh for
	// loss-based algorithms); PRR paces the way there. After a timeout, and
	// for an algorithm with a Rate of its own, it is the window to obey now:
	// such an algorithm governs its recovery itself, and PRR would only stop
	// it from growing.
	Window() int
	// Rate is the pacing rate in bytes per second; 0: pace Window over SRTT,
	// with the headroom that lets the window grow.
	Rate() int64
	// State describes the algorithm's state in a word or two for operators:
	// "slow start", "probe bw: cruise".
	State() string
	// Memory gives what the next controller on this path should know.
	Memory() Memory
}

// Memory is what outlives a controller: the record of a flow on the wire keeps
// it between two custodies. Zero fields are unknown.
type Memory struct {
	Window    int           // bytes
	Ssthresh  int           // bytes; 0: never left slow start or startup; NoLimit: left it, no limit found
	Bandwidth int64         // bytes per second, largest recent delivery rate
	MinRTT    time.Duration // smallest recent round trip
	Age       time.Duration // how long ago it was taken; Memory itself gives 0
	MinRTTAge time.Duration // how long ago MinRTT was measured, if longer than Age; who resumes fills it in
}

// NoLimit is the Ssthresh of a bbr that has filled the pipe once and never lost
// too much. It fits in 32 bits.
const NoLimit = math.MaxInt32

// Ack is what one ACK taught. Byte counts are payload bytes.
type Ack struct {
	Acked         int           // newly acknowledged or SACKed by this ACK
	Lost          int           // newly marked lost by this ACK
	InFlight      int           // in flight after this ACK and its losses
	PriorInFlight int           // in flight before it
	RTT           time.Duration // sample from accd's own send time (Karn); 0: none
	SRTT          time.Duration // smoothed; 0: no sample yet
	MinRTT        time.Duration // smallest sample of the connection; 0: none
	Recovery      bool          // the stack is in fast recovery or RTO recovery
	CwndLimited   bool          // the window was fully used since the last ACK
	OnlySACK      bool          // SND.UNA did not move: a hole is in front of what was delivered

	// The rate sample (draft-ietf-ccwg-bbr, 4.1), of the most recently sent
	// packet that this ACK newly delivered. Delivered totals count from the
	// start of the connection.
	Delivered      int64         // total delivered, after this ACK
	PriorDelivered int64         // total delivered when that packet was sent
	LostTotal      int64         // total marked lost, after this ACK
	PriorLost      int64         // total lost when that packet was sent
	TxInFlight     int           // in flight right after that packet was sent
	Interval       time.Duration // over which the sample was taken; 0: no sample
	Rate           int64         // bytes per second; 0: no valid sample
	AppLimited     bool          // the sample was taken while application-limited
}

// Kind is a kind of congestion signal.
type Kind uint8

// Kinds of signals.
const (
	// Loss: a packet was marked lost by RACK or by duplicate ACKs. The stack
	// calls it for each lost packet; First is set on the one that begins a
	// recovery episode, on which loss-based algorithms reduce once.
	Loss Kind = iota
	// ECN: CE marks were echoed; at most once per round trip.
	ECN
	// Timeout: the retransmission timer expired and everything in flight was
	// marked lost; the window becomes one segment (RFC 5681, 3.1).
	Timeout
	// Spurious: the reduction of the last episode was unnecessary (F-RTO,
	// DSACK); undo it.
	Spurious
	// Exit: recovery has ended; Window is what to go on with.
	Exit
)

// Signal is a congestion signal. For Loss the fields describe the lost packet.
type Signal struct {
	Kind           Kind
	First          bool  // Loss: begins an episode
	Bytes          int   // size of the lost packet; ECN: bytes marked
	InFlight       int   // in flight now
	FlightSize     int   // sent and not acknowledged cumulatively (RFC 5681, 2); 0: not told
	TxInFlight     int   // Loss: in flight right after the packet was sent
	Delivered      int64 // total delivered now
	PriorDelivered int64 // Loss: total delivered when the packet was sent
	LostTotal      int64 // total lost, this packet included
	PriorLost      int64 // Loss: total lost when the packet was sent
	AppLimited     bool  // Loss: the packet was sent while application-limited
}

// Config are the choices a controller is made with.
type Config struct {
	MSS           int    // bytes of payload in a full segment; never 0
	InitialWindow int    // segments; 0: 10 (RFC 6928)
	Seed          uint64 // for randomised probing
	NoSACK        bool   // the peer sends no SACK, so at most one loss a round trip is seen
	Memory        Memory // of an earlier controller on this path
	Params        Params
	Old           Controller // one that nobody needs any more: its memory may be used again; nil: none
}

// Params are an algorithm's parameters from the configuration, by name. Nil:
// all defaults. Their names, ranges and units are the algorithm's.
type Params map[string]float64
