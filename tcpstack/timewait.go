package tcpstack

// TIME-WAIT without the Conn. Read RFC 9293 3.10.7.4 first, then RFC 1337 and RFC
// 6191.

import (
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// TimeWaiter is what a connection in TIME-WAIT has to remember: it answers as the
// Conn would, at a small part of its size, for owners of many. It reports no D-SACK.
type TimeWaiter struct {
	Until mono.Time // when TIME-WAIT is over

	sndNxt, rcvNxt wire.Seq // behind both FINs
	rcvEdge        wire.Seq // the right edge offered
	maxWnd         int32    // MAX.SND.WND (RFC 5961, 5.2)
	window         uint16   // of its ACKs, scaled
	flags          wire.Flags
	stamps         bool // timestamps were agreed on
	comparable     bool // timestamps of a SYN are looked at
	haveTS         bool // tsRecent is set
	tsRecent       uint32
	tsRecentAge    mono.Time
	tsVal          uint32    // what the clock showed at tsFrom
	tsFrom         mono.Time // the birth of the Conn
	challengeAt    mono.Time // no challenge ACK before this
}

// TimeWaiter gives what remains of a Conn in TIME-WAIT that has nothing more to
// send; its owner may forget the Conn then. It is false in other states.
func (c *Conn) TimeWaiter() (w TimeWaiter, ok bool) {
	if c.end.phase != endTimeWait || c.ack.owed || c.err != nil {
		return w, false
	}
	var p Packet
	last := *c
	last.acknowledge(&p)
	return TimeWaiter{
		Until: c.end.at, sndNxt: c.seq(c.nxt), rcvNxt: c.rcvSeq(c.rcvNext()),
		rcvEdge: c.rcvSeq(max(c.rcvEdge, c.rcvNext())), maxWnd: int32(c.maxWnd),
		window: p.Window, flags: p.Flags,
		stamps: c.snap.Timestamps, comparable: !c.cfg.NoTimestamps,
		haveTS: c.haveTS, tsRecent: c.tsRecent, tsRecentAge: c.tsRecentAge,
		tsVal: c.tsVal, tsFrom: c.born, challengeAt: c.challengeAt,
	}, true
}

// Receive takes a segment and reports whether it is answered, by the ACK that p is
// then. Nothing but time ends TIME-WAIT (RFC 1337, 3), and a late FIN makes it begin
// anew.
func (w *TimeWaiter) Receive(now mono.Time, s *Segment, p *Packet) (answered bool) {
	p.reset()
	answered = w.receive(now, s)
	s.Drop()
	if !answered {
		return false
	}
	p.Seq, p.Ack, p.Flags, p.Window = w.sndNxt, w.rcvNxt, w.flags, w.window
	if w.stamps {
		p.Options.Set |= wire.HasTS
		p.Options.TSVal = w.tsVal + uint32(now.Sub(w.tsFrom)/time.Millisecond)
		p.Options.TSEcr = w.tsRecent
	}
	return true
}

// receive is Conn.arrive and what follows it, in this state.
func (w *TimeWaiter) receive(now mono.Time, s *Segment) (answered bool) {
	syn, ack := s.Flags.Has(wire.SYN), s.Flags.Has(wire.ACK)
	if s.Flags.Has(wire.RST) || syn && !ack {
		return false // RFC 1337, 3 and RFC 6191, 2: see Reopens
	}
	stale := s.Options.Has(wire.HasTS) && w.haveTS && Stale(now, s.Options.TSVal, w.tsRecent, w.tsRecentAge)
	switch {
	case stale || s.End().Less(w.rcvNxt) || w.rcvEdge.Less(s.Seq): // first; RFC 7323, 5.3
		return s.Len() > 0 && !syn || w.challenge(now)
	case syn: // fourth
		return w.challenge(now)
	case !ack: // fifth
		return false
	}
	if d := s.Ack.Sub(w.sndNxt); d > 0 || d < -int(w.maxWnd) {
		return w.challenge(now) // RFC 5961, 5.2
	}
	if w.stamps && s.Options.Has(wire.HasTS) && s.Seq.LessEq(w.rcvNxt) {
		w.tsRecent, w.tsRecentAge, w.haveTS = s.Options.TSVal, now, true
	}
	if s.Flags.Has(wire.FIN) { // eighth
		w.Until = now.Add(timeWait)
		return true
	}
	return s.Payload.Len() > 0 && s.Seq.Less(w.rcvNxt.Add(-1)) // seventh: behind a FIN there is no text
}

// challenge reports whether a challenge ACK may be sent (RFC 5961, 10).
func (w *TimeWaiter) challenge(now mono.Time) bool {
	if now < w.challengeAt {
		return false
	}
	w.challengeAt = now.Add(challengeEvery)
	return true
}

// Reopens reports whether a SYN may open the connection anew (RFC 9293, SHLD-4; RFC
// 6191, 2): its timestamp, or else its sequence number, is later than all of the old
// one. The owner then forgets w and calls Accept with an initial sequence number not
// before iss. A SYN that may not is to be dropped without an answer; Receive does.
func (w *TimeWaiter) Reopens(now mono.Time, s *Segment) (iss wire.Seq, ok bool) {
	if !s.Flags.Has(wire.SYN) || s.Flags.Any(wire.ACK|wire.RST) {
		return iss, false
	}
	later := w.rcvNxt.LessEq(s.Seq)
	if s.Options.Has(wire.HasTS) && w.comparable {
		switch {
		case !w.haveTS || now.Sub(w.tsRecentAge) >= pawsIdle:
			later = true
		case s.Options.TSVal != w.tsRecent:
			later = int32(s.Options.TSVal-w.tsRecent) > 0
		}
	}
	return w.sndNxt.Add(reopenGap), later
}
