package splice

// The end of custody. docs/custody.md, Exit to wire, is to be read first.

import (
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// settle ends custody or drain when nothing keeps it; Transmit has nothing to
// send.
func (f *Flow) settle(now mono.Time) {
	c := f.c
	switch {
	case c.ending.on:
	case c.split.on:
		f.settleSplit(now)
		return
	case f.state == Draining:
		if !f.drained(Client) || !f.drained(Server) {
			break
		}
		gone := c.drain.gone[Client] || c.drain.gone[Server]
		for i := range c.conn {
			c.conn[i].Snapshot(&c.snap)
			f.rec.learn(now, Side(i), &c.snap)
			f.rec.Dir[i].Edge = wire.MaxSeq(f.rec.Dir[i].Edge, c.snap.RcvEdge) // I3
		}
		f.release()
		f.back()
		if gone {
			f.end(Reset)
		}
		return
	case f.idle(Client) && f.idle(Server):
		f.exit(now)
		return
	}
	f.note()
}

// idle reports that the leg to side is as I5 wants it. A FIN that was received
// leaves first: its sender repeats it only after a timeout.
func (f *Flow) idle(side Side) bool {
	conn, out := &f.c.conn[side], &f.c.stream[side.Other()]
	return conn.Idle() && (!out.Closed() || conn.FINAcked() || conn.SndNxt() != conn.SndUna())
}

// exit gives the flow back to its endpoints.
func (f *Flow) exit(now mono.Time) {
	f.leave(now, Client)
	f.leave(now, Server)
	f.release()
	f.back()
}

// back is the state on the wire.
func (f *Flow) back() {
	f.state = OnWire
	f.env.Count.Exited++
	if f.rec.over() {
		f.end(Finished)
	}
}

// leave writes to the record what the Conn that talks to side knows, and what
// the other has sent of side's bytes.
func (f *Flow) leave(now mono.Time, side Side) {
	c, s := f.c, &f.c.snap
	conn := &c.conn[side]
	conn.Snapshot(s)
	d, o := &f.rec.Dir[side], &f.rec.Dir[side.Other()]
	f.book(side)

	// d: what the endpoint sends. In drain bytes may be there beyond what was
	// acknowledged to it.
	d.Next = conn.RcvNxt()
	if conn.FINReceived() {
		if !d.is(hasFIN) {
			d.FIN = d.Next
			if s.RcvClosed {
				d.FIN = d.FIN.Add(-1)
			}
			d.flags |= hasFIN
		}
		d.Next = d.FIN.Add(1)
	}
	d.Edge = s.RcvEdge
	d.MaxWnd = uint32(s.MaxWnd)
	if f.rec.Timestamps && s.TSRecentAge != 0 {
		if val, ok := c.conn[side.Other()].TSVal(); ok && int32(val-s.TSRecent) > 0 {
			s.TSRecent = val // it went past accd
		}
		d.stamp(s.TSRecent, s.TSRecentAge)
	}
	// o: what the endpoint receives.
	o.Acked, o.twice = s.SndUna, false // what was said before custody is not said again
	o.Own = s.SndUna.Add(s.SndWnd)
	f.rec.learn(now, side, s)
}

// book counts what this custody has acknowledged of side's bytes since the last
// time.
func (f *Flow) book(side Side) {
	n := f.c.taken(side)
	f.c.first[side] += n
	f.rec.Taken[side] += n
	f.env.Count.TakenBytes[side] += n
}

// release gives up everything that belongs to custody.
func (f *Flow) release() {
	c, e := f.c, f.env
	if c == nil {
		return
	}
	if c.slot >= 0 {
		e.Ledger.release(c.slot)
	}
	e.charged -= c.charge
	c.drain.release()
	keep := e.keptRecords()
	for i := range c.conn {
		f.learnPath(Side(i))
		c.conn[i].Release()
		c.conn[i].Trim(keep)
		c.stream[i].Reset()
		c.stream[i].Trim(keep)
	}
	if c.split.half {
		c.split.early.Settled()
	}
	c.ending, c.split = ending{}, split{}
	c.drain = drain{loose: c.drain.loose}
	c.drain.owed = [2]wire.Seq{}
	e.free.put(c)
	f.c = nil
}
