package splice

// A flow that is split: two connections from the handshake to the end. accd
// answers for its bytes all its life, so it cannot be drained and it is never on
// the wire. docs/custody.md, Split, is to be read first.

import (
	"time"

	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Ours: how long a split flow that both ends have closed stays, to answer a FIN
// again. An endpoint that waits longer is answered by the other, which is in
// TIME-WAIT itself: the sequence numbers of both legs are the same.
const (
	lingerRTOs  = 8
	lingerMin   = time.Second
	lingerApart = time.Minute // where the endpoints would not believe each other
)

// split is what a split flow remembers beside its custody.
type split struct {
	on    bool
	until mono.Time // both ends have closed; 0: not yet
	// early is the Listener that answered the client, until its handshake is over;
	// half says that it counts the client among its half-open ones.
	early *tcpstack.Listener
	half  bool
	apart bool // the two legs count differently: bytes, answered early, or time, after a gap
}

// gap notes that time has leapt: the flow's timestamps are ahead of the endpoints'
// now, and what waits for a FIN has not waited.
func (s *split) gap(now mono.Time) {
	s.apart = true
	if !s.until.IsZero() {
		s.until = now.Add(lingerApart)
	}
}

// StartSplit makes f, which is zero, a flow of two connections: legs is what they
// have agreed on, from Opening.Legs. Bytes keep the numbers that the endpoints
// gave them.
func (f *Flow) StartSplit(now mono.Time, rec *Record, legs *[2]tcpstack.Snapshot, terms *Terms, env *Env) {
	f.Start(now, rec, terms, env)
	c := f.beginSplit(now)
	for i := range c.conn {
		legs[i].Path = f.recallPath(now, Side(i))
		c.conn[i].Resume(now, &legs[i], &c.stream[i], &c.stream[1-i], terms.Leg[i])
	}
	c.conn[Server].Acknowledge() // the handshake's third segment
	f.claim(legs[Client].SndUna, legs[Server].SndUna)
	f.care(now)
}

// beginSplit gives f a custody for life.
func (f *Flow) beginSplit(now mono.Time) *custody {
	c, e := f.env.free.take(), f.env
	c.slot, c.charge, c.split = -1, splitCharge, split{on: true}
	c.leg, c.first = [2]legState{{idle: now}, {idle: now}}, [2]uint64{}
	e.charged += c.charge
	e.Count.Split++
	f.c, f.state = c, InCustody
	return c
}

// claim lists the flow in the ledger: toClient and toServer are the next sequence
// numbers of what accd sends.
func (f *Flow) claim(toClient, toServer wire.Seq) {
	c, l := f.c, f.env.Ledger
	if l == nil {
		return
	}
	c.entry = Entry{Tuple: f.rec.Tuple, Split: true}
	for from, n := range [2]wire.Seq{Client: toServer, Server: toClient} {
		c.entry.Dir[from] = Held{n, n, n, max(c.conn[1-from].MSS(), 1)}
	}
	if slot, ok := l.claim(&c.entry); ok {
		c.slot = slot
	}
}

// unlist gives back what a flow that both ends have closed does not need any more:
// it holds nothing, and there is nothing to reset.
func (f *Flow) unlist() {
	c := f.c
	f.env.charged -= c.charge
	c.charge = 0
	if c.slot >= 0 {
		f.env.Ledger.release(c.slot)
		c.slot = -1
	}
}

// splitCharge is what a split flow takes of the budget: its first windows.
const splitCharge = 2 * minHeld

// MaySplit reports whether there is room for one more split flow; a handshake
// that was answered needs it whatever happens meanwhile.
func (e *Env) MaySplit() bool {
	return (e.Ledger == nil || len(e.Ledger.free) > 0) &&
		(e.Pool.Budget == 0 || e.charged+splitCharge <= e.Pool.Budget && !e.Pool.Full())
}

// Split reports whether the flow is split: it cannot be drained.
func (f *Flow) Split() bool { return f.c != nil && f.c.split.on }

// inSplit is Receive of a split flow: all its packets end here.
func (f *Flow) inSplit(now mono.Time, from Side, s *tcpstack.Segment, m Meta) Disposition {
	c, other := f.c, from.Other()
	near, far := &c.conn[from], &c.conn[other]
	if !c.split.until.IsZero() && (f.rec.reopening || s.Flags.Has(wire.SYN)) {
		f.receiveSYN(from, s)
		return Pass
	}
	f.rec.Dir[from].headers(m)
	if s.Payload.Len() <= 1 && !s.Flags.Any(wire.FIN|wire.RST) && s.Seq == near.RcvAcked().Add(-1) {
		far.Probe() // RFC 9293, 3.8.4: is the far end alive, too?
	}
	c.hear(now, from, s)
	f.opened()
	if near.FINAcked() {
		far.AckFIN() // docs/custody.md, FIN is never taken
	}
	if now >= c.check || c.check == mono.Never && c.stream[from].Len() > 0 {
		f.care(now)
	}
	f.lost(now)
	return Taken
}

// lost resets the other end when one has reset the connection or does not answer
// any more.
func (f *Flow) lost(now mono.Time) {
	f.opened()
	c := f.c
	for _, side := range [2]Side{Client, Server} {
		switch err := c.conn[side].Err(); err {
		case nil:
			continue
		case tcpstack.ErrReset, tcpstack.ErrRefused, tcpstack.ErrUnreachable:
			f.beginEnding(now, side.Other(), Reset)
		default:
			f.beginEnding(now, side.Other(), Lost)
		}
		return
	}
}

// settleSplit ends a split flow when both ends have closed and were answered;
// Transmit has nothing to send.
func (f *Flow) settleSplit(now mono.Time) {
	c := f.c
	switch {
	case !c.conn[Client].Closed() || !c.conn[Server].Closed():
	case c.split.until.IsZero():
		rto := max(c.conn[Client].RTO(), c.conn[Server].RTO())
		least := lingerMin
		if c.split.apart {
			least = lingerApart
		}
		c.split.until = now.Add(max(least, lingerRTOs*rto))
		f.unlist()
	case now >= c.split.until:
		f.end(Finished)
		return
	}
	f.note()
}
