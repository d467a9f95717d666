package splice

// Drain after a gap, where nobody knows what the endpoints have said to each other.
// docs/custody.md, Drain, is to be read first.

import (
	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// word is what an endpoint says after a gap, and how far it is believed.
type word struct {
	doubted bool      // beyond known it has to insist
	stood   bool      // at is known
	at      wire.Seq  // where its last segment began that can be one: it had sent so much
	known   wire.Seq  // accd sent it so much, or saw it pass, or it has insisted on it
	claim   wire.Seq  // the least of what it said beyond,
	times   int       // so many times in a row
	asked   mono.Time // something was sent to it then, the first since it was heard; 0: nothing
}

// doubt begins with a gap. What passes while there is doubt may be forged, and so may
// what shows the next gap: known stays.
func (f *Flow) doubt() {
	for i := range f.c.drain.word {
		w := &f.c.drain.word[i]
		if !w.doubted {
			w.known = f.rec.before[1-i]
		}
		w.doubted, w.stood, w.times = true, false, 0
	}
}

// doubts reports that an endpoint acknowledges more than is known after a gap.
func (f *Flow) doubts(from Side, ack wire.Seq) bool {
	w := &f.c.drain.word[from]
	return w.doubted && wire.MaxSeq(w.known, f.c.conn[from].SndNxt()).Less(ack)
}

// tells gives the ACK of from that what accd sends to the other endpoint may repeat.
// With one from before the gap that endpoint might not take what is sent to it (RFC
// 5961, 5.2), and with one of what it never sent neither: so one in doubt counts as far
// as that endpoint's own last segment began, which is no further ahead of it than a
// window. A forged one before that it would believe itself.
func (f *Flow) tells(from Side, ack wire.Seq) wire.Seq {
	other := from.Other()
	if !f.doubts(from, ack) {
		return ack
	}
	w := &f.c.drain.word[other]
	if ahead := w.at.Sub(ack); w.stood && ahead >= 0 && ahead <= 65535<<f.rec.Dir[from].Scale {
		return ack
	}
	return f.c.conn[other].RcvAcked()
}

// resync follows a packet of a flow whose numbers are not known.
func (f *Flow) resync(now mono.Time, from Side, s *tcpstack.Segment, m Meta) {
	near, far := &f.c.conn[from], &f.c.conn[from.Other()]
	credible := near.Believable(now, s)
	// The opposite endpoint may heed the window of what accd has already, or of
	// what shows the gap.
	again := s.Flags.Has(wire.ACK) && far.SndUna().LessEq(s.End()) && s.Seq.LessEq(near.RcvEdge())
	heeded := credible || !f.doubts(from, s.Ack) && (again || f.beyond(from, s))
	if fits := f.rec.resync(now, from, s, m); fits || heeded {
		// I3; but an ACK of what was never seen may be forged, and then it
		// does not even stand for what was.
		ack := far.RcvAcked()
		if fits || credible {
			ack = f.tells(from, s.Ack)
		}
		far.Relayed(ack, f.rec.passEdge(from, s))
	}
	if !f.rec.Unsynced {
		f.resynced()
	}
}

// resynced brings both Conns up to what the record has learnt after a gap.
func (f *Flow) resynced() {
	for i := range f.c.conn {
		conn, d := &f.c.conn[i], &f.rec.Dir[i]
		conn.Relayed(conn.RcvAcked(), d.Edge)
		if o := &f.rec.Dir[1-i]; o.is(hasTS) {
			conn.SetTimestamp(o.TSRecent)
		}
	}
}

// insists takes the word of an endpoint that after a gap answers what is held with more
// than accd sent to it, or saw pass, several times in a row and without saying anything
// else in between: it got the bytes before the gap, or past accd. That this fits what
// the other seems to have sent is not enough, for both can be forged; and the connection
// may be over since, so that no fresh data will ever show it. Forged numbers do not get
// through here, because the endpoint itself answers too, and the least of what is said
// counts.
func (f *Flow) insists(now mono.Time, from Side, s *tcpstack.Segment) {
	c := f.c
	w, conn, far := &c.drain.word[from], &c.conn[from], &c.conn[from.Other()]
	if !w.doubted || !s.Flags.Has(wire.ACK) || s.Flags.Any(wire.SYN|wire.RST) {
		return
	}
	// RFC 9293, 3.8.4: a keep-alive probe begins one before what comes next.
	if probes := w.stood && s.Seq.Add(1) == w.at; !probes && (conn.Believable(now, s) || f.beyond(from, s)) {
		w.stood, w.at = true, s.Seq
	}
	if f.drained(from) {
		return
	}
	rtt, _ := conn.RTT()
	if rtt == 0 {
		rtt = unknownRTT
	}
	owed := c.drain.owed[from.Other()]
	switch {
	case !f.doubts(from, s.Ack):
		w.times = 0
		if conn.SndNxt().Less(s.Ack) {
			conn.SendTo(now, wire.MinSeq(s.Ack, owed)) // accd saw it pass
		}
	case w.asked.IsZero():
		conn.Ask() // rather than at the next timeout
	case now.Sub(w.asked) < rtt/2:
		return // sooner than an answer could come
	default:
		if w.times == 0 || s.Ack.Less(w.claim) {
			w.claim = s.Ack
		}
		if w.times++; w.times < tcpstack.AnswersWanted {
			conn.Ask()
			break
		}
		w.times, w.known = 0, w.claim
		w.doubted = f.rec.Unsynced // else what passes is known again
		conn.SendTo(now, wire.MinSeq(w.claim, owed))
		far.Relayed(w.claim, far.RcvEdge())
	}
	w.asked = 0
}
