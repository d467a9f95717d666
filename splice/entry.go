package splice

// The beginning of custody. docs/custody.md, Enter custody, is to be read first.

import (
	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// minHeld is the least that may be held per direction, whatever the limit says:
// docs/custody.md, Limit by time.
const minHeld = 128 << 10

// relayed is what an endpoint was told last before the segment that may begin
// custody: that segment's own ACK and window are owed to it, and its ECE too.
type relayed struct {
	ack, edge wire.Seq
	echo      bool
}

// mayEnter says why a believed segment with payload does not begin custody, or
// None. Its ACK is applied already; told is from before.
func (f *Flow) mayEnter(now mono.Time, from Side, s *tcpstack.Segment, told relayed) Reason {
	r := f.rec
	d, o := &r.Dir[from], &r.Dir[from.Other()]
	end := s.Seq.Add(s.Payload.Len())
	switch {
	case f.terms == nil || f.rec.native:
		return Policy
	case s.Flags.Any(wire.SYN|wire.RST|wire.URG) || !s.Options.Only(wire.HasTS|wire.HasSACK):
		return Odd
	case !f.holds(from) || !f.holds(from.Other()) || d.is(hasFIN) || r.finishing() || !d.Next.Less(end):
		return Busy
	case o.is(hasFIN) && told.ack != o.Acked && o.closed():
		return Busy // the ACK of a FIN passes; the next segment may enter
	case d.Own.LessEq(d.Next) || !end.LessEq(d.Edge):
		// What reaches beyond the receiver's own window accd has asked for, by what an
		// earlier custody offered. The receiver would take none of such a segment.
		return Window
	case o.Own == o.Acked && !o.closed():
		return Window // nor is the window opened that this sender has closed
	case r.Timestamps && !(d.stamped(now) && o.stamped(now) && s.Options.Has(wire.HasTS)):
		return NoTimestamp
	}
	return None
}

// enter begins custody in the state between the segments that passed and the
// one at hand, which the caller gives to inCustody next. It says why not, or
// None.
func (f *Flow) enter(now mono.Time, from Side, told relayed) Reason {
	r, e, sh := f.rec, f.env, f.shadow
	other := from.Other()
	charge := r.windows()
	more := charge
	if sh != nil {
		more -= sh.charge
	}
	if !e.reserve(more, e.Pool.Budget) {
		return Budget
	}
	end := [2]wire.Seq{f.inOrder(Client), f.inOrder(Server)}
	c := e.free.take()
	c.slot = -1
	if e.Ledger != nil {
		c.entry = Entry{Tuple: r.Tuple}
		for i := range c.entry.Dir {
			d, to := &r.Dir[i], &r.Dir[1-i]
			c.entry.Dir[i] = Held{d.Acked, d.Acked, end[i], max(int(to.MSS), 1)}
		}
		var ok bool
		if c.slot, ok = e.Ledger.claim(&c.entry); !ok {
			e.free.put(c)
			e.charged -= more
			return LedgerFull
		}
	}
	c.charge, c.began = charge, now
	f.c, f.state = c, InCustody
	for i := range c.stream {
		if sh != nil {
			sh.dir[i].Give(&c.stream[i])
		} else {
			c.stream[i].Discard(origin)
		}
	}
	// Each endpoint was told what the other has acknowledged, but for the ACK
	// and the window of the segment at hand.
	f.resume(now, from, relayed{ack: r.Dir[from].Acked, edge: r.Dir[from].Edge}, &end)
	f.resume(now, other, told, &end)
	for i := range r.Dir {
		d, in, out := &r.Dir[i], &c.conn[i], &c.conn[1-i]
		if sh != nil {
			out.AdoptOut(&sh.dir[i])
			in.AdoptIn(&sh.dir[i])
		}
		if d.is(hasTS) {
			out.SetTimestamp(d.TSRecent)
		}
		if d.closed() {
			c.stream[i].Close()
		}
		c.first[i] = c.stream[i].End()
		c.leg[i] = legState{idle: now}
	}
	e.Count.Entered++
	if sh != nil {
		e.Count.Adopted++
		sh.charge = 0 // custody's now
		// What the far end said last tells what of the bytes on their way it
		// has. The segment at hand says so for the other direction.
		if s := &sh.told[other]; s.Options.NSACK > 0 && s.Ack == r.Dir[from].Acked {
			c.conn[other].Receive(now, s)
		}
		f.forget(None)
	}
	f.care(now)
	return None
}

// origin is the offset at which the Streams of custody begin: the numbers of a
// window before it have offsets too.
const origin = wire.MaxWindow

// resume makes the Conn that talks to side, which was told so much. What passed
// in order ends at end, by the side that sends.
func (f *Flow) resume(now mono.Time, side Side, told relayed, end *[2]wire.Seq) {
	c, s := f.c, &f.c.snap
	f.rec.snapshot(now, side, s)
	s.Path = f.recallPath(now, side)
	s.SndNxt = end[side.Other()]
	s.RcvNxt, s.RcvEdge = end[side], told.edge
	s.RcvUnacked = s.RcvNxt.Sub(told.ack)
	s.ECNEcho = s.ECNEcho || told.echo
	c.conn[side].Resume(now, s, &c.stream[side], &c.stream[side.Other()], f.terms.Leg[side])
}
