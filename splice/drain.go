package splice

// Drain: the wire plus a retransmitter. docs/custody.md, Drain, is to be read
// first.

import (
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// drain is what a drain remembers.
type drain struct {
	on    bool
	owed  [2]wire.Seq // by the side that sends: v, the highest byte acknowledged
	gone  [2]bool     // the endpoint has reset the connection
	word  [2]word     // after a gap
	loose []loose     // what waited in reassembly, to be sent on
	sent  int         // of loose
}

// loose is a piece that waited behind a hole.
type loose struct {
	from Side
	seq  wire.Seq
	ref  buf.Ref
}

// release drops what was not sent on.
func (d *drain) release() {
	for i := range d.loose {
		d.loose[i].ref.Release()
	}
	clear(d.loose)
	d.loose, d.sent = d.loose[:0], 0
}

// Drain takes a flow out of custody: nothing new is acknowledged, packets pass,
// and what is held is delivered. After an operator's drain, a bypass or a stop
// it stays on the wire. A split flow cannot be drained.
func (f *Flow) Drain(now mono.Time, why Reason) {
	if why.forGood() {
		f.rec.native = true
	}
	f.forget(ShadowTorn)
	if f.state != InCustody || f.c.ending.on || f.c.split.on {
		return
	}
	c := f.c
	f.rec.why = why
	f.count(why)
	if now.Sub(c.began) < settled {
		f.flap()
	} else {
		f.rec.flaps = 0
	}
	c.drain.on = true
	for i := range c.conn {
		conn := &c.conn[i]
		c.drain.owed[i] = conn.RcvAcked()
		f.leave(now, Side(i))
		// What is in reassembly is sent on before drain begins.
		for {
			seq, ref, ok := conn.NextHeld(now)
			if !ok {
				break
			}
			c.drain.loose = append(c.drain.loose, loose{Side(i), seq, ref})
			d := &f.rec.Dir[i]
			d.Next = wire.MaxSeq(d.Next, seq.Add(ref.Len()))
		}
	}
	c.conn[Client].Drain()
	c.conn[Server].Drain()
	f.state = Draining
	if why == Silent {
		f.unsync() // its packets perhaps go another way
	}
}

// Unreadable takes the news that a packet of from passes that accd cannot read: a
// fragment, or one with IP options. Custody drains first if the sequence number
// is one that from may send: nobody who does not know it can end a custody so.
func (f *Flow) Unreadable(now mono.Time, from Side, seq wire.Seq, why Reason) {
	if f.state == InCustody {
		near := &f.c.conn[from]
		if seq.Sub(near.RcvAcked()) < -slack || near.RcvEdge().Less(seq) {
			f.count(Unbelieved)
			return
		}
	}
	f.Drain(now, why)
}

// Gap notes that steering had a gap: what is in custody drains, and the record
// is unsynced until fresh segments have shown where the flow is.
func (f *Flow) Gap(now mono.Time) {
	if c := f.c; c != nil {
		c.conn[Client].Stalled()
		c.conn[Server].Stalled()
		c.split.gap(now)
	}
	f.Drain(now, Gap)
	if f.state == OnWire || f.state == Draining {
		f.unsync()
	}
}

// unsync notes that packets of the flow went another way.
func (f *Flow) unsync() {
	f.forget(ShadowTorn)
	f.rec.unsync()
	if f.state == Draining {
		f.doubt()
	}
}

// inDrain is Receive in drain: every packet passes and is read.
func (f *Flow) inDrain(now mono.Time, from Side, s *tcpstack.Segment, m Meta) {
	r, c := f.rec, f.c
	near, far := &c.conn[from], &c.conn[from.Other()]
	switch {
	case s.Flags.Has(wire.SYN):
		f.receiveSYN(from, s)
		return
	case s.Flags.Has(wire.RST):
		if s.Seq == r.Dir[from].Next || s.Seq == near.RcvAcked() {
			// What is held towards it has lost its receiver; what is held
			// towards the other end is delivered.
			c.drain.gone[from] = true
		}
		return
	case r.Unsynced:
		f.resync(now, from, s, m)
	default:
		switch r.believe(now, from, s) {
		case ahead:
			f.unsync()
			f.resync(now, from, s, m)
			f.insists(now, from, s)
			return
		case aged:
			far.Relayed(s.Ack, r.passEdge(from, s))
			fallthrough
		case refused:
			f.count(Unbelieved)
			return
		}
		r.heed(now, from, s, m)
		r.extend(from, s)
		f.unheard(now, from, s)
		// I3: what accd sends must not say less than what passes.
		far.Relayed(f.tells(from, s.Ack), r.Dir[from.Other()].Edge)
		if d := &r.Dir[from]; d.is(hasTS) {
			far.SetTimestamp(d.TSRecent)
		}
	}
	if near.Err() == nil && (!r.Unsynced || s.Ack.LessEq(near.SndNxt())) {
		t := *s
		t.Payload = s.Payload.Retain()
		near.Receive(now, &t)
		near.Overtaken(far)
		if !c.drain.word[from].doubted {
			f.delivered(now, from)
		}
	} else {
		near.Passed(now, s)
	}
	f.insists(now, from, s)
}

// delivered moves the Conn that talks to side on to what its endpoint has
// acknowledged, native bytes beyond the held ones included: accd saw them pass.
func (f *Flow) delivered(now mono.Time, side Side) {
	c, o := f.c, &f.rec.Dir[side.Other()]
	if conn := &c.conn[side]; conn.SndUna().Less(o.Acked) && conn.SndUna().Less(c.drain.owed[side.Other()]) {
		conn.SendTo(now, wire.MinSeq(o.Acked, wire.MaxSeq(conn.SndNxt(), c.drain.owed[side.Other()])))
	}
}

// drained reports that nothing is held towards side any more.
func (f *Flow) drained(side Side) bool {
	c := f.c
	return c.drain.gone[side] || !c.conn[side].SndUna().Less(c.drain.owed[side.Other()])
}

// transmitDrain fills p: what waited in reassembly first, then what is held.
func (f *Flow) transmitDrain(now mono.Time, p *tcpstack.Packet) (Side, bool) {
	c := f.c
	if f.sendLoose(p) {
		return c.drain.loose[c.drain.sent].from.Other(), true
	}
	for i := range c.conn {
		side := Side(i)
		for !f.drained(side) && c.conn[side].Transmit(now, p) {
			// After a gap nothing but held data is sent on a leg until a
			// fresh segment for it was seen.
			if p.Len > 0 || !f.rec.Unsynced || f.rec.Dir[side.Other()].is(seen) {
				if w := &c.drain.word[side]; w.asked.IsZero() {
					w.asked = now
				}
				return side, true
			}
		}
	}
	return Client, false
}

// sendLoose fills p with up to a full segment of what waited in reassembly. What
// is beyond the receiver's own edge is left to its sender.
func (f *Flow) sendLoose(p *tcpstack.Packet) bool {
	c, d := f.c, &f.c.drain
	for ; d.sent < len(d.loose); d.sent++ {
		l := &d.loose[d.sent]
		conn := &c.conn[l.from.Other()]
		n := min(l.ref.Len(), conn.MSS())
		if n == 0 || conn.SndEdge().Less(l.seq.Add(n)) {
			continue
		}
		me, far := &f.rec.Dir[l.from.Other()], &f.rec.Dir[l.from]
		*p = tcpstack.Packet{
			Seq: l.seq, Ack: conn.RcvAcked(), Flags: wire.ACK | wire.PSH,
			Payload: append(p.Payload[:0], l.ref.Bytes()[:n]), Len: n,
		}
		conn.Relayed(p.Ack, offer(p, conn.RcvEdge(), far.Scale)) // I3: it was rounded up
		if f.rec.Timestamps {
			p.Options.Set = wire.HasTS
			p.Options.TSVal, p.Options.TSEcr = far.TSRecent, me.TSRecent
		}
		rest := l.ref.Slice(n, l.ref.Len())
		l.seq, l.ref = l.seq.Add(n), rest
		return true
	}
	return false
}
