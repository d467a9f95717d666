package simnet

import (
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// pawsIdle is how long a timestamp can be compared with a later one (RFC 7323, 5.5).
const pawsIdle = 24 * 24 * time.Hour

// Observer stands beside a Box, sees what comes in and goes out, and holds it
// to the six invariants of custody from the outside: it trusts nothing the Flow
// says about itself but its state and what it holds. Of forged packets only what
// is true counts, corrupted ones count for nothing.
type Observer struct {
	sim  *Sim
	keys [2]uint64 // of the streams, by who sends them
	side [2]sight
	bye  [2]farewell // by who says it
	// split: each leg has its own windows and timestamps, so I3 to I6 do not
	// apply.
	split bool
	// blind: the legs have numbers of their own, too. Both ends compare every byte.
	blind bool
	reset bool // an endpoint has reset the connection
	lied  bool // a forged packet came, which may have told of a window
	was   splice.State
	cut   [2]wire.Seq // acknowledged to each side when drain began
	gap   bool        // it has had one since: packets may have gone past accd
}

// sight is what was seen of one endpoint and of the leg towards it.
type sight struct {
	iss, acked wire.Seq // acked: the highest acknowledgment the endpoint sent
	told       wire.Seq // the same of its own packets, which accd could believe
	anyTold    bool
	edge       wire.Seq // the largest right edge the endpoint offered
	anyEdge    bool
	first      int      // the window of its SYN
	scale      uint8    // of the windows it offers
	came       wire.Seq // the end of what it sent, as far as the box saw
	anyCame    bool
	heard      bool // its SYN was seen
	scaleIn    bool // its SYN said a scale
	acks       bool // acked and edge are set
	vals       map[uint32]bool
	passed     wire.Seq // the highest acknowledgment passed to it unmodified
	made       wire.Seq // the highest acknowledgment accd made
	anyPassed  bool
	anyMade    bool
	right      wire.Seq // the largest right edge it was told of
	anyRight   bool
	lastTS     uint32
	lastTSAt   mono.Time
	anyTS      bool
	place      int64 // in its stream, of the segment accd sent last

	fresh   bool     // the packet at hand is the furthest it has sent
	ahead   bool     // it acknowledges what went past accd
	echo    bool     // accd took a mark of it, and has to echo it
	sent    wire.Seq // behind the furthest byte accd sent it in custody
	anySent bool
}

func newObserver(s *Sim, keys [2]uint64) *Observer {
	o := &Observer{sim: s, keys: keys}
	o.side[0].vals, o.side[1].vals = map[uint32]bool{}, map[uint32]bool{}
	return o
}

func raise(n *wire.Seq, set *bool, to wire.Seq) {
	if !*set || n.Less(to) {
		*n, *set = to, true
	}
}

// heard notes a packet that reached the box; f is nil while there is no flow.
func (o *Observer) heard(f *splice.Flow, p *Packet) {
	me := &o.side[p.From]
	if p.Forged {
		o.lied = true
		me.borrow(p)
	}
	if p.Bad || p.Forged {
		return
	}
	if p.Flags.Has(wire.SYN) {
		me.heard, me.iss = true, p.Seq
		me.scale, me.scaleIn = 0, p.Options.Has(wire.HasWScale)
		me.first = int(p.Window)
		if peer := &o.side[p.From.Other()]; peer.heard {
			peer.offers(p.Seq.Add(1 + peer.first)) // what its SYN offered
		}
		if me.scaleIn {
			me.scale = min(p.Options.WScale, wire.MaxWScale)
		}
	}
	o.reset = o.reset || p.Flags.Has(wire.RST)
	leg := o.leg(f, p.From)
	me.ahead = leg != nil && leg.SndNxt().Less(p.Ack)
	me.fresh = !me.anyCame || me.came.Less(p.End())
	raise(&me.came, &me.anyCame, p.End())
	if p.Flags.Has(wire.CWR) {
		me.echo = false
	}
	if p.Options.Has(wire.HasTS) {
		me.vals[p.Options.TSVal] = true
		if p.Flags.Has(wire.ACK) {
			// The opposite endpoint has validated what carried it, perhaps past
			// the box.
			o.side[p.From.Other()].vals[p.Options.TSEcr] = true
		}
	}
	if p.Flags.Has(wire.ACK) && !p.Flags.Has(wire.RST) {
		raise(&me.acked, &me.acks, p.Ack)
		raise(&me.told, &me.anyTold, p.Ack)
		me.offers(p.Ack.Add(o.window(p)))
	}
}

// borrow notes what is true of a forged packet: numbers that the endpoint has
// sent, although the box may not have seen them.
func (s *sight) borrow(p *Packet) {
	if p.Ack == p.Borrowed.Ack && p.Flags.Has(wire.ACK) {
		raise(&s.acked, &s.acks, p.Ack)
	}
	if p.Options.TSVal == p.Borrowed.Options.TSVal {
		s.vals[p.Options.TSVal] = true
	}
}

// took notes a packet that ended at accd. A mark on what nobody has sent before is
// to be echoed; what came before may be an old duplicate, what acknowledges more than
// accd sent is asked about first, the mark of what is beyond the window is not heeded
// (RFC 3168, 6.1.5), and when the other end has reset the connection nothing is.
func (o *Observer) took(f *splice.Flow, p *Packet) {
	me := &o.side[p.From]
	beyond := me.anyRight && me.right.LessEq(p.Seq)
	if p.ECN == wire.CE && me.fresh && !me.ahead && !beyond && !o.reset && len(p.Data) > 0 && !p.Bad && !p.Forged && !o.lied &&
		f.Record().ECN && f.State() == splice.InCustody && o.was == splice.InCustody {
		me.echo = true
	}
}

// ecn checks the marks of a packet that accd made (RFC 3168): ECT on new data
// only, where it was agreed on, and every mark echoed until CWR came.
func (o *Observer) ecn(f *splice.Flow, p *Packet) {
	leg := &o.side[p.From.Other()]
	agreed := f.Record().ECN
	switch {
	case o.split:
	case !agreed && (p.ECN != wire.NotECT || p.Flags.Any(wire.ECE|wire.CWR|wire.AE)):
		o.sim.Failf("ECN: it was not agreed on: %s", o.line(p))
	case p.ECN != wire.NotECT && (len(p.Data) == 0 || p.Flags.Has(wire.SYN)):
		o.sim.Failf("ECN: accd marks what is no data: %s", o.line(p))
	case p.ECN != wire.NotECT && leg.anySent && p.Seq.Less(leg.sent):
		o.sim.Failf("ECN: accd marks what it sends again: %s", o.line(p))
	case leg.echo && f.State() == splice.InCustody && !p.Flags.Any(wire.ECE|wire.RST):
		o.sim.Failf("ECN: accd does not echo a mark it took: %s", o.line(p))
	}
	if len(p.Data) > 0 && (f.State() == splice.InCustody || p.ECN != wire.NotECT) {
		end := p.Seq.Add(len(p.Data))
		if me := &o.side[p.From]; f.State() == splice.Draining && me.anyMade {
			end = wire.MinSeq(end, me.made) // what was not acknowledged its sender sends again, not accd
		}
		raise(&leg.sent, &leg.anySent, end)
	}
}

// offset gives the place in its stream of what accd sends in an endpoint's stead:
// near what it sent before, for sequence numbers come round.
func (s *sight) offset(seq wire.Seq) int64 {
	s.place += int64(seq.Sub(s.iss.Add(1 + int(uint32(s.place)))))
	return s.place
}

func (s *sight) offers(edge wire.Seq) { raise(&s.edge, &s.anyEdge, edge) }

// window gives the bytes a packet offers.
func (o *Observer) window(p *Packet) int {
	w := int(p.Window)
	if !p.Flags.Has(wire.SYN) && o.side[0].scaleIn && o.side[1].scaleIn {
		w <<= o.side[p.From].scale
	}
	return w
}

// passed notes a packet that left unmodified.
func (o *Observer) passed(p *Packet) {
	if p.Bad || p.Forged && p.Ack != p.Borrowed.Ack || !p.Flags.Has(wire.ACK) || p.Flags.Has(wire.RST) {
		return
	}
	to := &o.side[p.From.Other()]
	raise(&to.passed, &to.anyPassed, p.Ack)
	if before := to.acks && p.End().Less(to.acked); !p.Forged && p.Ack.LessEq(to.came) && !before {
		// The window of an ACK for bytes that never came by the box says
		// nothing to it: it could as well be forged. Of a segment before its
		// window the endpoint reads nothing (RFC 9293, 3.10.7.4).
		raise(&to.right, &to.anyRight, p.Ack.Add(o.window(p)))
	}
}

// made checks a packet that accd made, on its way to side.
func (o *Observer) made(f *splice.Flow, p *Packet) {
	if o.blind {
		return
	}
	to := p.From.Other()
	leg, far := &o.side[to], &o.side[p.From]
	o.ecn(f, p)
	if n := len(p.Data); n > 0 {
		off := far.offset(p.Seq)
		if off < 0 {
			o.sim.Failf("accd sends bytes before the stream: %s", o.line(p))
		} else if i := differs(p.Data, o.keys[p.From], uint64(off)); i >= 0 {
			o.sim.Failf("accd sends a wrong byte at offset %d: %s", off+int64(i), o.line(p))
		}
		if end := p.Seq.Add(n); leg.anyEdge && !o.lied && !o.split && leg.edge.Less(end) && n > 1 {
			o.sim.Failf("accd sends %d bytes beyond the window: %s", end.Sub(leg.edge), o.line(p))
		}
	}
	if p.Flags.Has(wire.RST) || !p.Flags.Has(wire.ACK) {
		return
	}
	// I1: every byte below the acknowledgment is acknowledged or held.
	if limit := o.custodyOf(f, p.From); limit.Less(p.Ack) {
		o.sim.Failf("I1: accd acknowledges %d bytes beyond what the %s has and it holds: %s", p.Ack.Sub(limit), nameOf(to.Other()), o.line(p))
	}
	if o.split {
		raise(&leg.made, &leg.anyMade, p.Ack)
		return
	}
	// I3: the right edge never moves left.
	// After a gap accd may believe less of the ACKs than passed; the window of an
	// old one is not read (RFC 9293, 3.10.7.4).
	edge := p.Ack.Add(o.window(p))
	old := o.gap && leg.anyPassed && p.Ack.Less(leg.passed)
	if leg.anyRight && edge.Less(leg.right) && !old {
		o.sim.Failf("I3: the right edge moves left by %d: %s", leg.right.Sub(edge), o.line(p))
	}
	// I4: a TSval of the opposite endpoint, never lower than before.
	if p.Options.Has(wire.HasTS) {
		v := p.Options.TSVal
		if !far.vals[v] {
			o.sim.Failf("I4: no segment of the %s carried this TSval: %s", nameOf(p.From), o.line(p))
		}
		if leg.anyTS && int32(v-leg.lastTS) < 0 && o.sim.now.Sub(leg.lastTSAt) < pawsIdle {
			o.sim.Failf("I4: TSval goes back from %d: %s", leg.lastTS, o.line(p))
		}
		leg.lastTS, leg.lastTSAt, leg.anyTS = v, o.sim.now, true
		if e := p.Options.TSEcr; !leg.vals[e] {
			o.sim.Failf("I4: TSecr echoes what the %s never sent: %s", nameOf(to), o.line(p))
		}
	}
	// I6: in drain nothing new is acknowledged.
	if f.State() == splice.Draining {
		floor := o.cut[to]
		if leg.anyPassed {
			floor = wire.MaxSeq(floor, leg.passed)
		}
		if floor.Less(p.Ack) {
			o.sim.Failf("I6: drain acknowledges %d new bytes: %s", p.Ack.Sub(floor), o.line(p))
		}
	}
	raise(&leg.made, &leg.anyMade, p.Ack)
	raise(&leg.right, &leg.anyRight, edge)
	if leg.made.Sub(leg.passed) > 1<<30 {
		leg.anyPassed = false // long ago: soon it would seem to lie ahead
	}
}

// custodyOf gives the end of what side has acknowledged or accd holds for it.
func (o *Observer) custodyOf(f *splice.Flow, side splice.Side) wire.Seq {
	end := o.side[side].acked
	if c := o.leg(f, side); c != nil {
		end = wire.MaxSeq(end, c.SndUna().Add(f.Held()[side]))
	}
	return end
}

// after checks what must be true between two events.
func (o *Observer) after(f *splice.Flow) {
	if o.blind {
		return
	}
	state := f.State()
	held := f.Held()
	for _, side := range [2]splice.Side{splice.Client, splice.Server} {
		me := &o.side[side]
		// I2: what was acknowledged in B's stead stays until B acknowledges it.
		if other := &o.side[side.Other()]; other.anyMade && state != splice.Gone {
			if end := o.custodyOf(f, side); end.Less(other.made) {
				o.sim.Failf("I2: %d bytes acknowledged to the %s were discarded before the %s had them", other.made.Sub(end), nameOf(side.Other()), nameOf(side))
			}
		}
		if c := o.leg(f, side); c != nil && me.acks && me.acked.Less(c.SndUna()) {
			o.sim.Failf("I2: accd believes the %s has %d bytes that it never acknowledged", nameOf(side), c.SndUna().Sub(me.acked))
		}
		// I5: on the wire nothing is held.
		if state == splice.OnWire && held[side] != 0 {
			o.sim.Failf("I5: on the wire %d bytes are held for the %s", held[side], nameOf(side))
		}
	}
	o.transition(f)
}

// transition notes how far the acknowledgments had come when drain began, and
// whether there was a gap.
func (o *Observer) transition(f *splice.Flow) {
	state := f.State()
	o.gap = state == splice.Draining && (o.gap || f.Record().Unsynced)
	if state == splice.Draining && o.was != splice.Draining {
		for i := range o.side {
			s := &o.side[i]
			o.cut[i] = s.iss.Add(1)
			if s.anyMade {
				o.cut[i] = s.made
			}
			if s.anyPassed {
				o.cut[i] = wire.MaxSeq(o.cut[i], s.passed)
			}
		}
	}
	o.was = state
}

// holds reports that accd has acknowledged to one side what the other has not
// acknowledged: a crash now must reset the connection.
func (o *Observer) holds() bool {
	for i := range o.side {
		me, far := &o.side[i], &o.side[1-i]
		if me.anyMade && far.acked.Less(me.made) {
			return true
		}
	}
	return false
}

func (o *Observer) leg(f *splice.Flow, side splice.Side) *tcpstack.Conn {
	if f == nil {
		return nil
	}
	client, server := f.Legs()
	if side == splice.Client {
		return client
	}
	return server
}

func (o *Observer) line(p *Packet) string {
	return p.describe([2]wire.Seq{o.side[0].iss, o.side[1].iss})
}
