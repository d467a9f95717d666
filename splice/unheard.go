package splice

// What accd says in the stead of an endpoint that the other does not hear.
// docs/custody.md, Wire, is to be read first.

import (
	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// unheard notes that s, which passes, repeats what the opposite endpoint has, and that
// this one's answer will not be heard: it has sent beyond the window of from, as accd had
// let it, so what it says without data is no segment of that window (RFC 9293, 3.10.7.4,
// first), and no ACK of it counts. If both have done so, what either repeats lies before
// the other's window, and neither ever gets any further.
//
// What the opposite endpoint has said once only may be forged, and what accd says would be
// believed: so it counts when it was said twice.
//
// After a gap what counts is what was said since, and the TSval is one that was echoed:
// whoever forges those needs both numbers, and could as well send the ACK itself.
func (f *Flow) unheard(now mono.Time, from Side, s *tcpstack.Segment) {
	r := f.rec
	d, o := &r.Dir[from], &r.Dir[from.Other()]
	begin, edge := o.Acked, o.Own
	if r.Unsynced {
		begin, edge = s.Ack, s.Ack.Add(int(s.Window)<<d.Scale)
	}
	if f.terms == nil || !d.twice || s.Len() == 0 || d.delivered(r).Less(s.End()) || o.Next.LessEq(edge) || o.Edge.Less(o.Next) {
		return
	}
	if r.Unsynced && r.Timestamps {
		if !o.is(hasTS) {
			return
		}
		if echo := s.Options.TSEcr; int32(echo-o.TSRecent) > 0 {
			o.stamp(echo, now) // it went past accd
		}
	}
	f.answers |= 1 << from
	f.listens[from] = begin
}

// delivered gives what the opposite endpoint has said to have of the direction.
func (d *Direction) delivered(r *Record) wire.Seq {
	if r.Unsynced && !d.is(answered) {
		return d.Own
	}
	return d.Acked
}

// answer fills p with the ACK that an endpoint was not heard to say, where the other's
// window begins. It says nothing that did not pass twice.
func (f *Flow) answer(p *tcpstack.Packet) (to Side, ok bool) {
	for f.answers&(1<<to) == 0 {
		if to++; f.answers == 0 || to > Server {
			return Client, false
		}
	}
	f.answers &^= 1 << to
	r := f.rec
	me, far := &r.Dir[to], &r.Dir[to.Other()]
	*p = tcpstack.Packet{Seq: f.listens[to], Ack: me.delivered(r), Flags: wire.ACK, Payload: p.Payload[:0]}
	if r.Timestamps {
		p.Options.Set = wire.HasTS
		p.Options.TSVal, p.Options.TSEcr = far.TSRecent, me.TSRecent
	}
	edge := me.Edge
	if f.c != nil {
		conn := &f.c.conn[to]
		p.Ack = wire.MaxSeq(p.Ack, conn.RcvAcked())
		edge = wire.MaxSeq(edge, conn.RcvEdge())
	}
	me.Edge = wire.MaxSeq(edge, offer(p, edge, far.Scale))
	if f.c != nil {
		f.c.conn[to].Relayed(p.Ack, me.Edge) // I3
	}
	return to, true
}

// offer sets the window of p so that it ends at edge, and gives where it ends, rounded
// up to what the scale can say.
func offer(p *tcpstack.Packet, edge wire.Seq, scale uint8) wire.Seq {
	p.Window = uint16(min((max(0, edge.Sub(p.Ack))+1<<scale-1)>>scale, 65535))
	return p.Ack.Add(int(p.Window) << scale)
}
