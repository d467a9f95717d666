package splice

import (
	"math"
	"time"

	"accd/tcpstack"
	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Record is a flow on the wire: plain old data without pointers, so that it can
// lie in shared memory and be handed to another process. What every packet needs
// comes first and together: where there are many flows, each cache line of it costs
// more than what is done with it.
type Record struct {
	Tuple      wire.Tuple // client → server
	SACK       bool       // agreed in the handshake
	Timestamps bool       // agreed in the handshake
	ECN        bool       // classic ECN, agreed in the handshake
	Unsynced   bool       // after a gap in steering: the numbers are not known

	native    bool   // it stays on the wire for good
	reopening bool   // the SYN of another connection passed
	fresh     bool   // Unsynced: data and its ACK were seen since
	why       Reason // of the last drain, or of the end
	flaps     uint8  // drains of short custodies and late shadows, in a row
	busy      uint16 // segments with data that passed since nothing was on its way, up to what makes a shadow

	Dir [2]Direction // by the side that sends

	Path    [2]Path     // by the endpoint it leads to
	Taken   [2]uint64   // payload bytes that accd acknowledged, by the side that sent them
	before  [2]wire.Seq // Unsynced: Next of either direction when the gap came
	tsFresh [2]uint32   // Unsynced: TSval of the newest segment of either side since the gap
	tsKnown [2]uint32   // Unsynced: the least TSval since the gap; once answered, the largest that was echoed
	began   mono.Time   // when the Flow was started
}

// Direction is what one endpoint sends.
type Direction struct {
	Passed uint64 // payload bytes that passed

	Next  wire.Seq // behind the highest byte that passed
	Acked wire.Seq // what the opposite endpoint acknowledged
	Edge  wire.Seq // the largest right edge (ack + window) this endpoint was told
	Own   wire.Seq // the largest right edge the opposite endpoint itself told; Unsynced, until answered: what it acknowledged last

	FIN       wire.Seq // of its FIN, with hasFIN
	MaxWnd    uint32   // the largest window this endpoint offered, bytes (RFC 5961, 5.2)
	TSRecent  uint32   // its newest TSval (RFC 7323, 4.3), with hasTS
	tsAge     uint32   // when that came, seconds of mono.Time
	FlowLabel uint32   // of its packets; IPv6
	ISN       wire.Seq // of its SYN

	MSS   uint16  // its MSS option; 0: none
	Scale uint8   // shift of the windows it sends (RFC 7323, 2)
	TTL   uint8   // of its packets
	TOS   uint8   // of its packets, without ECN
	Net   Network // the network its packets come from
	flags dirFlags
	twice bool // what the opposite endpoint acknowledged it has said again, no more and no less since
}

// Path is what the next custody needs to start well on the leg to an endpoint; 0:
// unknown. Times are in microseconds.
type Path struct {
	SRTT, RTTVar, MinRTT uint32
	Window, Ssthresh     uint32 // bytes
	Bandwidth            uint32 // KiB per second
	Learned              uint32 // when the last custody ended, seconds of mono.Time
	MTU                  uint16 // the largest IP packet in bytes that it carries
	mtuProven            uint16 // PathMTUProven of tcpstack.Snapshot
	minAge               uint16 // how old MinRTT was when the last custody ended, seconds
	mtuWait              uint8  // how long after Learned a larger MTU is worth a try, minutes
	alone                uint8  // AckAlone of tcpstack.Snapshot
}

type dirFlags uint8

const (
	hasTS    dirFlags = 1 << iota // TSRecent is known
	hasFIN                        // its FIN passed
	seen                          // Unsynced: a segment of it came since the gap
	answered                      // Unsynced: what came since was acknowledged
	echoOwed                      // accd has taken a CE mark of its data, and seen no CWR since
	cwrOwed                       // accd has answered its ECE, and not said CWR to it yet
)

// ectLostShift is where the two bits of ECTLost of tcpstack.Snapshot are, of the
// leg to the endpoint.
const ectLostShift = 6

func (d *Direction) is(f dirFlags) bool { return d.flags&f != 0 }

func (d *Direction) set(f dirFlags, on bool) {
	if d.flags &^= f; on {
		d.flags |= f
	}
}

// stamp sets TSRecent.
func (d *Direction) stamp(val uint32, now mono.Time) {
	d.TSRecent, d.tsAge = val, seconds(now)
	d.flags |= hasTS
}

// stampedAt gives when TSRecent came, never 0.
func (d *Direction) stampedAt() mono.Time { return max(1, mono.Time(d.tsAge)*mono.Time(time.Second)) }

// stampLasts is how long a TSval may be repeated: half of what RFC 7323, 5.5, has
// an endpoint compare TSvals for. One that is older would be believed, because
// nothing can be said of it, and the true one that comes next may seem to lie
// before it.
const stampLasts = 12 * 24 * time.Hour

// stamped reports that TSRecent is known, and recent enough to be repeated.
func (d *Direction) stamped(now mono.Time) bool {
	return d.is(hasTS) && now.Sub(d.stampedAt()) < stampLasts
}

// Began gives when the flow was started.
func (r *Record) Began() mono.Time { return r.began }

// quiet reports that no byte of the direction is on its way.
func (d *Direction) quiet() bool { return d.Next == d.Acked }

// closed reports that the endpoint's FIN is acknowledged.
func (d *Direction) closed() bool { return d.is(hasFIN) && d.FIN.Less(d.Acked) }

// over reports that both endpoints have said their last: both FINs have passed, of which one is
// acknowledged, and everything before the other. What may still come is the ACK of
// that, and what an endpoint says again: for both they need nobody.
func (r *Record) over() bool {
	a, b := &r.Dir[Client], &r.Dir[Server]
	return a.closed() && b.ended() || b.closed() && a.ended()
}

// ended reports that everything but the endpoint's FIN, which has passed, is
// acknowledged.
func (d *Direction) ended() bool {
	return d.is(hasFIN) && d.FIN.LessEq(d.Acked) && d.Next == d.FIN.Add(1)
}

// tupleTo gives the tuple of packets towards a side.
func (r *Record) tupleTo(to Side) wire.Tuple {
	if to == Server {
		return r.Tuple
	}
	return r.Tuple.Reverse()
}

// memoryLasts is how long what was learnt of a path is worth something.
const memoryLasts = 10 * time.Minute

// snapshot fills s for the Conn that talks to side.
func (r *Record) snapshot(now mono.Time, side Side, s *tcpstack.Snapshot) {
	me, far, path := &r.Dir[side], &r.Dir[side.Other()], &r.Path[side]
	*s = tcpstack.Snapshot{
		Tuple:      r.tupleTo(side),
		MSS:        int(me.MSS),
		SndScale:   me.Scale,
		RcvScale:   far.Scale,
		SACK:       r.SACK,
		Timestamps: r.Timestamps,
		SndClosed:  far.closed(),
		RcvClosed:  me.closed(),
		SndUna:     far.Acked,
		SndNxt:     far.Acked,
		SndWnd:     max(0, far.Own.Sub(far.Acked)),
		MaxWnd:     int(me.MaxWnd),
		RcvNxt:     me.Next,
		RcvEdge:    me.Edge,
		TSVal:      far.TSRecent,
		AckAlone:   path.alone,
		SRTT:       time.Duration(path.SRTT) * time.Microsecond,
		RTTVar:     time.Duration(path.RTTVar) * time.Microsecond,
		MinRTT:     time.Duration(path.MinRTT) * time.Microsecond,
	}
	if path.Learned > uint32(path.minAge) {
		s.MinRTTAt = mono.Time(path.Learned-uint32(path.minAge)) * mono.Time(time.Second)
	}
	if path.MTU != 0 {
		s.PathMTU = int(path.MTU)
		s.PathMTUProven = int(path.mtuProven)
		s.PathMTURaise = mono.Time(path.Learned+60*uint32(path.mtuWait)) * mono.Time(time.Second)
	}
	if r.ECN {
		s.ECN = tcpstack.ClassicECN
		s.ECNEcho, s.ECNReduced, s.ECTLost = me.is(echoOwed), me.is(cwrOwed), int(me.flags>>ectLostShift)
	}
	if me.is(hasTS) {
		s.TSRecent, s.TSRecentAge = me.TSRecent, me.stampedAt()
	}
	if age := time.Duration(seconds(now)-path.Learned) * time.Second; path.Learned != 0 && age < memoryLasts {
		s.CC = cc.Memory{
			Window: int(path.Window), Ssthresh: int(path.Ssthresh), Bandwidth: int64(path.Bandwidth) << 10,
			MinRTT: s.MinRTT, Age: age,
		}
	}
}

// learn keeps what the Conn that talked to side leaves behind.
func (r *Record) learn(now mono.Time, side Side, s *tcpstack.Snapshot) {
	d, p := &r.Dir[side], &r.Path[side]
	p.SRTT, p.RTTVar, p.MinRTT = micros(s.SRTT), micros(s.RTTVar), micros(s.MinRTT)
	p.minAge = uint16(min(max(0, now.Sub(s.MinRTTAt)/time.Second), math.MaxUint16))
	p.Window, p.Ssthresh = clip(s.CC.Window), clip(s.CC.Ssthresh)
	p.MTU = uint16(min(s.PathMTU, math.MaxUint16))
	p.mtuProven = uint16(min(s.PathMTUProven, math.MaxUint16))
	p.mtuWait = uint8(min((max(0, s.PathMTURaise.Sub(now))+time.Minute-1)/time.Minute, math.MaxUint8))
	p.Bandwidth, p.Learned = clip(int(s.CC.Bandwidth>>10)), seconds(now)
	p.alone = s.AckAlone
	d.set(echoOwed, s.ECNEcho)
	d.set(cwrOwed, s.ECNReduced)
	d.flags = d.flags&^(3<<ectLostShift) | dirFlags(min(s.ECTLost, 3))<<ectLostShift
}

func seconds(now mono.Time) uint32 { return uint32(now / mono.Time(time.Second)) }

func micros(d time.Duration) uint32 { return clip(int(d / time.Microsecond)) }

func clip(n int) uint32 { return uint32(min(max(n, 0), 1<<32-1)) }
