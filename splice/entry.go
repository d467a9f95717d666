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
// custody: that segment's own ACK and window are owed to it.
type relayed struct{ ack, edge wire.Seq }

// mayEnter says why a believed segment with payload does not begin custody, or
// None. Its ACK is applied already; told is from before.
func (f *Flow) mayEnter(from Side, s *tcpstack.Segment, told relayed) Reason {
	r := &f.rec
	d, o := &r.Dir[from], &r.Dir[from.Other()]
	end := s.Seq.Add(s.Payload.Len())
	switch {
	case f.terms == nil || f.native:
		return Policy
	case s.Flags.Any(wire.SYN|wire.RST|wire.URG) || !s.Options.Only(wire.HasTS|wire.HasSACK):
		return Odd
	case !d.quiet() || !o.quiet() || d.is(hasFIN) || !d.Next.Less(end):
		return Busy
	case o.is(hasFIN) && told.ack != o.Acked && o.closed():
		return Busy // the ACK of a FIN passes; the next segment may enter
	case d.Own == d.Next || !end.LessEq(d.Own):
		return Window
	case o.Own == o.Next && !o.closed():
		return Window // nor is the window opened that this sender has closed
	case r.Timestamps && !(d.is(hasTS) && o.is(hasTS) && s.Options.Has(wire.HasTS)):
		return NoTimestamp
	}
	return None
}

// enter begins custody in the state between the segments that passed and the
// one at hand, which the caller gives to inCustody next. It says why not, or
// None.
func (f *Flow) enter(now mono.Time, from Side, told relayed) Reason {
	r, e := &f.rec, f.env
	other := from.Other()
	// The first edge offered is the largest relayed, so that much may come.
	charge := 0
	for i := range r.Dir {
		d := &r.Dir[i]
		charge += max(minHeld, d.Edge.Sub(d.Next))
	}
	if b := e.Pool.Budget; b > 0 && (e.charged+charge > b || e.Pool.Full()) {
		return Budget
	}
	c := e.take()
	c.slot = -1
	if e.Ledger != nil {
		c.entry = Entry{Tuple: r.Tuple}
		for i := range c.entry.Dir {
			d, to := &r.Dir[i], &r.Dir[1-i]
			c.entry.Dir[i] = Held{d.Acked, d.Acked, d.Acked, max(int(to.MSS), 1)}
		}
		var ok bool
		if c.slot, ok = e.Ledger.claim(&c.entry); !ok {
			e.free = append(e.free, c)
			return LedgerFull
		}
	}
	c.charge = charge
	e.charged += charge

	// The opposite leg goes on from what that endpoint was told last, and owes
	// it the ACK and the window of the segment at hand.
	near, far := &c.conn[from], &c.conn[other]
	r.snapshot(now, other, &c.snap)
	c.snap.RcvNxt, c.snap.RcvEdge = told.ack, told.edge
	far.Resume(now, &c.snap, &c.stream[other], &c.stream[from], f.terms.Leg[other])
	if n := r.Dir[other].Acked.Sub(told.ack); n > 0 {
		c.stream[other].Discard(uint64(n))
		far.Skipped(now)
	}
	r.snapshot(now, from, &c.snap)
	near.Resume(now, &c.snap, &c.stream[from], &c.stream[other], f.terms.Leg[from])
	for i := range r.Dir {
		d := &r.Dir[i]
		if d.is(hasTS) {
			c.conn[1-i].SetTimestamp(d.TSRecent)
		}
		if d.closed() {
			c.stream[i].Close()
		}
		c.first[i] = c.stream[i].End()
		c.leg[i] = legState{idle: now}
	}
	f.c, f.state = c, InCustody
	e.Count.Entered++
	f.care(now)
	return None
}

// take gives a custody that was used before, or a new one.
func (e *Env) take() *custody {
	n := len(e.free)
	if n == 0 {
		return new(custody)
	}
	c := e.free[n-1]
	e.free = e.free[:n-1]
	return c
}
