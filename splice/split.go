package splice

// A flow that is split: two connections from the handshake to the end. accd
// answers for its bytes all its life, so it cannot be drained and it is never on
// the wire. docs/custody.md, Split, is to be read first.

import (
	"time"

	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Ours: how long a split flow that both ends have closed stays, to answer a FIN
// again. An endpoint that waits longer is answered by the other, which is in
// TIME-WAIT itself: the sequence numbers of both legs are the same.
const (
	lingerRTOs = 8
	lingerMin  = time.Second
)

// split is what a split flow remembers beside its custody.
type split struct {
	on    bool
	until mono.Time // both ends have closed; 0: not yet
}

// StartSplit makes f, which is zero, a flow of two connections: legs is what they
// have agreed on, from Opening.Legs. Bytes keep the numbers that the endpoints
// gave them.
func (f *Flow) StartSplit(now mono.Time, rec *Record, legs *[2]tcpstack.Snapshot, terms *Terms, env *Env) {
	f.Start(now, rec, terms, env)
	c := env.take()
	c.slot = -1
	c.split = split{on: true}
	if env.Ledger != nil {
		c.entry = Entry{Tuple: rec.Tuple, Split: true}
		for i := range c.entry.Dir {
			n := legs[1-i].SndUna
			c.entry.Dir[i] = Held{n, n, n, max(legs[1-i].MSS, 1)}
		}
		if slot, ok := env.Ledger.claim(&c.entry); ok {
			c.slot = slot
		}
	}
	c.charge = splitCharge
	env.charged += c.charge
	for i := range c.conn {
		side := Side(i)
		legs[i].Path = f.recallPath(now, side)
		c.conn[i].Resume(now, &legs[i], &c.stream[i], &c.stream[side.Other()], terms.Leg[i])
		c.leg[i] = legState{idle: now}
	}
	c.conn[Server].Acknowledge() // the handshake's third segment
	f.c, f.state = c, InCustody
	env.Count.Split++
	f.care(now)
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
	if !c.split.until.IsZero() && (f.reopening || s.Flags.Has(wire.SYN)) {
		f.receiveSYN(from, s)
		return Pass
	}
	f.rec.Dir[from].headers(m)
	if s.Payload.Len() <= 1 && !s.Flags.Any(wire.FIN|wire.RST) && s.Seq == near.RcvAcked().Add(-1) {
		far.Probe() // RFC 9293, 3.8.4: is the far end alive, too?
	}
	near.Receive(now, s)
	s.Payload = buf.Ref{}
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
	c := f.c
	for _, side := range [2]Side{Client, Server} {
		switch err := c.conn[side].Err(); err {
		case nil:
			continue
		case tcpstack.ErrReset:
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
		c.split.until = now.Add(max(lingerMin, lingerRTOs*rto))
	case now >= c.split.until:
		f.end(Finished)
		return
	}
	f.note()
}
