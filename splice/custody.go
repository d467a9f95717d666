package splice

// What custody does with a segment. docs/custody.md, Custody, is to be read
// first.

import (
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// custody is what a Flow needs while accd answers for its bytes.
type custody struct {
	conn   [2]tcpstack.Conn   // by the side it talks to
	stream [2]tcpstack.Stream // by the side that sends: in of its Conn, out of the other
	leg    [2]legState        // by the side it leads to
	first  [2]uint64          // by the side that sends: the offset where custody began
	began  mono.Time
	check  mono.Time // when care is due
	ending ending
	drain  drain
	split  split

	slot   int   // in the ledger; -1: none
	entry  Entry // as the ledger has it
	charge int   // of the budget
	snap   tcpstack.Snapshot
}

// owed gives the highest byte of from that accd answers for: v.
func (c *custody) owed(from Side) wire.Seq {
	if c.drain.on {
		return c.drain.owed[from]
	}
	return c.conn[from].RcvAcked()
}

// taken gives the payload bytes of from that this custody has acknowledged.
func (c *custody) taken(from Side) uint64 {
	conn, in := &c.conn[from], &c.stream[from]
	n := in.End() - c.first[from]
	if late := conn.RcvNxt().Sub(conn.RcvAcked()); late > 0 {
		n -= min(n, uint64(late))
	}
	return n
}

// inCustody is Receive in custody.
//
// A segment that begins so far from what the two Conns know that its sender cannot
// mean this custody passes, as accd never drops what it does not own
// (ARCHITECTURE.md, Custody), and the opposite endpoint answers it as it would
// without accd. Everything else is the Conn's to judge: also what lies the largest window
// back, because a sender that got no ACK of that window repeats it until it hears one,
// and the opposite endpoint's answer would end here. What the Conn does not believe
// changes nothing and ends here too, because the opposite endpoint, which is behind,
// might believe it.
func (f *Flow) inCustody(now mono.Time, from Side, s *tcpstack.Segment, m Meta) Disposition {
	c, other := f.c, from.Other()
	near, far := &c.conn[from], &c.conn[other]
	back := max(slack, 65535<<near.Scale())
	if !s.Flags.Has(wire.SYN) && (s.Seq.Sub(far.SndUna()) < -back ||
		wire.MaxSeq(near.RcvEdge(), far.SndEdge()).Less(s.Seq)) {
		if f.beyond(from, s) {
			f.Drain(now, Gap)
			f.unsync()
			f.inDrain(now, from, s, m)
			return Pass
		}
		f.count(Unbelieved)
		return Pass
	}
	if s.Flags.Has(wire.RST) {
		f.receiveRST(now, from, s)
		s.Drop()
		return Taken
	}
	if why := oddity(s); why != None && near.Believable(now, s) && s.Ack.LessEq(near.SndNxt()) {
		f.Drain(now, why)
		f.inDrain(now, from, s, m)
		return Pass
	}
	f.rec.Dir[from].headers(m)
	c.hear(now, from, s)
	f.pair(now, from)
	if now >= c.check {
		f.care(now)
	}
	return Taken
}

// hear gives the Conn of from what its endpoint sent.
func (c *custody) hear(now mono.Time, from Side, s *tcpstack.Segment) {
	if c.stream[from].Len() == 0 {
		c.leg[from.Other()].idle = now
	}
	c.conn[from].Receive(now, s)
	s.Payload = buf.Ref{}
}

// beyond reports that a segment outside the custody is one that its sender could
// have sent after packets of the flow went another way.
func (f *Flow) beyond(from Side, s *tcpstack.Segment) bool {
	near := &f.c.conn[from]
	seq, ack := s.Seq.Sub(near.RcvEdge()), s.Ack.Sub(near.SndUna())
	ts, ok := near.TSRecent()
	return s.Flags.Has(wire.ACK) && !s.Flags.Has(wire.RST) && seq > 0 && seq <= maxDrift && ack >= 0 && ack <= maxDrift &&
		(!ok || s.Options.Has(wire.HasTS) && int32(s.Options.TSVal-ts) >= 0)
}

// oddity says why a segment sends custody into drain: docs/custody.md, URG,
// unknown option. What belongs to a handshake is left to the Conn.
func oddity(s *tcpstack.Segment) Reason {
	switch {
	case s.Flags.Has(wire.SYN):
		return None
	case s.Flags.Has(wire.URG):
		return Urgent
	case !s.Options.Only(wire.HasTS | wire.HasSACK):
		return UnknownOption
	}
	return None
}

// pair tells one leg what the other has learnt from its endpoint.
func (f *Flow) pair(now mono.Time, from Side) {
	c, other := f.c, from.Other()
	near, far := &c.conn[from], &c.conn[other]
	if ts, ok := near.TSRecent(); ok {
		far.SetTimestamp(ts) // I4
	}
	near.Overtaken(far)
	// docs/custody.md, Receiver ahead of us: never beyond the edge offered to
	// the sender.
	if n, ok := near.Ahead(); ok && n.LessEq(far.RcvEdge()) {
		if fin, ok := far.FIN(); ok && fin.Less(n) {
			near.SendTo(now, fin) // the FIN is no byte of the stream
			far.Skipped(now)
		}
		near.SendTo(now, n)
		far.Skipped(now)
		if ts, ok := far.TSRecent(); ok {
			near.SetTimestamp(ts)
		}
	}
	if near.FINAcked() {
		far.AckFIN() // docs/custody.md, FIN is never taken
	}
}

// transmit fills p with the next packet of one of the Conns.
func (c *custody) transmit(now mono.Time, p *tcpstack.Packet) (to Side, ok bool) {
	for to := range c.conn {
		if c.split.early != nil && Side(to) == Server {
			continue // not asked yet
		}
		conn := &c.conn[to]
		if !conn.Transmit(now, p) {
			continue
		}
		wants := p.Len > 0 || p.Flags.Has(wire.FIN)
		if p.Seq.Less(conn.SndNxt()) {
			// One that comes soon after an answer may get none; while the
			// window is closed others follow.
			wants = wants || conn.SndUna() != conn.SndEdge() || now.Sub(conn.Heard()) >= answers
		}
		if l := &c.leg[to]; wants && l.asked < conn.Heard() {
			l.asked = now
		}
		return Side(to), true
	}
	return Client, false
}

// note brings the ledger up to date before a packet leaves that would make it
// say too little.
func (f *Flow) note() {
	c := f.c
	if c == nil || c.slot < 0 {
		return
	}
	changed := false
	for i := range c.conn {
		from := Side(i)
		to := &c.conn[from.Other()]
		h := Held{to.SndUna(), c.owed(from), to.SndNxt(), to.MSS()}
		if h != c.entry.Dir[i] {
			c.entry.Dir[i], changed = h, true
		}
	}
	if changed {
		f.env.Ledger.update(c.slot, &c.entry)
	}
}
