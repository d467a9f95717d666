package splice

import (
	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/pathmem"
	"accd/tcpstack/wire"
)

// Meta is what a Flow is told of a packet beside the Segment.
type Meta struct {
	TTL, TOS  uint8
	FlowLabel uint32
	From      Network // where the packet came from; Unknown: where the others did
}

// Template is what the headers of packets that accd makes towards a side repeat
// from the packets of the opposite endpoint.
type Template struct {
	Tuple     wire.Tuple // Src is the endpoint accd speaks for
	TTL, TOS  uint8      // TOS without ECN
	FlowLabel uint32
	DstNet    Network
}

// Terms are what policy decided for a flow: shared, read-only.
type Terms struct {
	Rule      string
	Leg       [2]*tcpstack.Config // by Side; Relay is set, or HoldFIN with Split
	Split     bool                // each leg has a handshake of its own
	Early     *tcpstack.Listener  // with Split: answers clients before the server is asked; nil: nobody does
	MaxBuffer int                 // bytes held per direction, at most; 0: 64 MiB
	Oblivious bool                // paths are neither remembered nor recalled
}

// Env is what the flows of one shard share.
type Env struct {
	Pool   *buf.Pool // its budget bounds what is held
	Ledger *Ledger   // nil: none
	Count  *Counters
	Paths  *pathmem.Table // nil: paths are not remembered
	// Steer asks for the flow's tuple to be put into the steering set again;
	// nil: nobody listens.
	Steer func(client wire.Tuple)
	// Share is how many bytes of a flow may wait to be read, where the reader does
	// not keep up and they wait for nothing else; 0: it keeps up, and as many may as
	// a processor's caches bear.
	Share int

	free    spare[custody]
	shadows spare[shadow]
	charged int // bytes of windows that flows in custody or with a shadow may fill
}

// Flow is one connection that accd follows. The methods are those of a Conn:
// Receive, Expire and the commands are input; after any of them call Transmit
// until it is false, then Deadline. Commands are Drain, Gap, PacketTooBig and
// Kill. A Flow that is Gone is forgotten, and its packets pass.
//
// A Flow that Rests is nothing but its Record: it may be forgotten and made again
// with Attend when the next packet comes. So idle connections need no Flow.
type Flow struct {
	rec    *Record
	env    *Env
	terms  *Terms
	c      *custody // nil on the wire
	shadow *shadow  // on the wire; nil: nothing is remembered
	state  State

	answers uint8       // 1 << side: it is told again what the other said; see unheard
	listens [2]wire.Seq // where its window begins, with answers
}

// Start makes f, which is zero, the flow of rec, which it borrows until the flow
// is Gone. With nil terms it stays on the wire.
func (f *Flow) Start(now mono.Time, rec *Record, terms *Terms, env *Env) {
	f.Attend(rec, terms, env)
	rec.began = now
}

// Attend makes f the flow that had the record rec and rested. It borrows rec.
func (f *Flow) Attend(rec *Record, terms *Terms, env *Env) {
	*f = Flow{rec: rec, terms: terms, env: env}
}

// Rests reports that the flow is on the wire and only its Record knows anything.
func (f *Flow) Rests() bool { return f.state == OnWire && f.shadow == nil && f.answers == 0 }

// Owes reports that on the wire the flow has something to say at once.
func (f *Flow) Owes() bool { return f.answers != 0 }

// Moved says that what was lent as the record lies at rec now.
func (f *Flow) Moved(rec *Record) { f.rec = rec }

// Receive takes one TCP segment of the flow whose checksum is right, as it came
// from the endpoint from. The payload is taken with Taken only.
func (f *Flow) Receive(now mono.Time, from Side, s *tcpstack.Segment, m Meta) Disposition {
	switch {
	case f.state == OnWire:
		return f.onWire(now, from, s, m)
	case f.state == Draining:
		f.inDrain(now, from, s, m)
	case f.state == InCustody && f.c.ending.on:
		return f.whileEnding(now, from, s)
	case f.Split():
		return f.inSplit(now, from, s, m)
	case f.state == InCustody:
		return f.inCustody(now, from, s, m)
	}
	return Pass
}

// onWire is Receive on the wire: the packet passes, unless custody begins.
func (f *Flow) onWire(now mono.Time, from Side, s *tcpstack.Segment, m Meta) Disposition {
	r := f.rec
	d, o := &r.Dir[from], &r.Dir[from.Other()]
	switch {
	case s.Flags.Has(wire.SYN):
		// A SYN replaces a record only when its SYN-ACK is acknowledged,
		// which the Opening finds out (docs/custody.md, Wire).
		f.receiveSYN(from, s)
		return Pass
	case s.Flags.Has(wire.RST):
		if s.Seq != d.Next {
			f.count(ForgedRST)
			return Pass
		}
		f.end(Reset)
		return Pass
	case r.Unsynced:
		if s.Payload.Len() > 0 {
			f.count(Unsynced)
		}
		if r.resync(now, from, s, m) {
			f.unheard(now, from, s)
		}
		return Pass
	}
	switch r.believe(now, from, s) {
	case aged:
		r.passEdge(from, s)
		fallthrough
	case refused:
		f.count(Unbelieved)
		return Pass
	case ahead:
		f.unsync()
		r.resync(now, from, s, m)
		return Pass
	}
	// First apply the segment's ACK, then decide (docs/custody.md, Enter custody).
	told := relayed{o.Acked, o.Edge, r.ECN && s.Flags.Has(wire.ECE)}
	r.heed(now, from, s, m)
	f.heard(now, from, s)
	if s.Payload.Len() > 0 {
		why := f.mayEnter(now, from, s, told)
		if why == None {
			why = f.enter(now, from, told)
		}
		if why == None {
			return f.inCustody(now, from, s, m)
		}
		f.count(why)
		f.env.Count.PassedBytes[from] += uint64(s.Payload.Len())
		if why == Busy {
			f.shade(now)
		}
	}
	f.remember(now, from, s)
	r.extend(from, s)
	f.unheard(now, from, s)
	if r.over() {
		f.end(Finished)
	}
	return Pass
}

// Transmit fills p with the next packet of accd's own and says towards which
// side it goes; ok is false when there is none. If the Flow is Gone after one, that
// was its last.
func (f *Flow) Transmit(now mono.Time, p *tcpstack.Packet) (to Side, ok bool) {
	if to, ok = f.answer(p); ok {
		return to, true
	}
	c := f.c
	if c == nil {
		return Client, false
	}
	switch {
	case c.ending.on:
		to, ok = f.transmitEnding(now, p)
	case f.state == Draining:
		to, ok = f.transmitDrain(now, p)
	default:
		to, ok = c.transmit(now, p)
	}
	if ok {
		f.note()
		if p.Len == 0 && p.Flags.Has(wire.FIN) {
			f.settle(now) // it may be the last packet, and who sends it wants to know
		}
		return to, true
	}
	f.settle(now)
	return Client, false
}

// Expire lets time pass.
func (f *Flow) Expire(now mono.Time) {
	c := f.c
	if c == nil {
		f.expireShadow(now)
		return
	}
	if c.ending.on {
		f.expireEnding(now)
		return
	}
	for i := range c.conn {
		if f.state == InCustody || !f.drained(Side(i)) {
			c.conn[i].Expire(now)
		}
	}
	if c.split.on {
		f.lost(now)
	} else if f.state == Draining {
		f.watch(now)
	}
	if f.state == InCustody && !c.ending.on && now >= c.check {
		f.care(now)
	}
}

// Deadline gives the next instant at which Expire or Transmit has something to
// do without new input; mono.Never on the wire, unless the flow has a shadow.
func (f *Flow) Deadline() mono.Time {
	c := f.c
	switch {
	case c == nil && f.shadow != nil:
		return f.shadow.until
	case c == nil:
		return mono.Never
	case c.ending.on:
		return f.endingDeadline()
	}
	at := mono.Never
	if f.state == InCustody {
		at = c.check
		if !c.split.until.IsZero() {
			at = c.split.until
		}
	}
	for i := range c.conn {
		if f.state == InCustody || !f.drained(Side(i)) {
			at = min(at, c.conn[i].Deadline())
		}
	}
	return at
}

// Template fills t for packets towards a side.
func (f *Flow) Template(to Side, t *Template) {
	d := &f.rec.Dir[to.Other()]
	*t = Template{f.rec.tupleTo(to), d.TTL, d.TOS, d.FlowLabel, f.rec.Dir[to].Net}
}

// PacketTooBig takes the news that a packet towards a side whose first byte is
// seq was longer than mtu bytes. Taken: it was a packet of accd's own.
func (f *Flow) PacketTooBig(now mono.Time, to Side, seq wire.Seq, mtu int) Disposition {
	if f.c != nil && !f.c.ending.on && f.c.conn[to].PacketTooBig(now, seq, mtu) {
		return Taken
	}
	return Pass
}

// State says who answers for the flow's bytes.
func (f *Flow) State() State { return f.state }

// Began gives when the flow was started.
func (f *Flow) Began() mono.Time { return f.rec.began }

// Why gives the reason of the last drain, or of the end.
func (f *Flow) Why() Reason { return f.rec.why }

// Reopening reports that the SYN of another connection passed: packets of the flow
// that pass are shown to the Opening too, and the record it establishes replaces
// the flow, which is then ended with Replace.
func (f *Flow) Reopening() bool { return f.rec.reopening }

// receiveSYN notes that another connection may be about to use the tuple.
func (f *Flow) receiveSYN(from Side, s *tcpstack.Segment) {
	if s.Seq != f.rec.Dir[from].ISN {
		f.rec.reopening = true
	}
}

// Replace ends the flow because a new connection uses its tuple.
func (f *Flow) Replace() { f.end(Replaced) }

// Held gives the bytes that were acknowledged and not delivered yet, by the
// side they go to.
func (f *Flow) Held() (n [2]int) {
	if c := f.c; c != nil {
		if c.split.on && !c.ending.on { // the two sides of a byte may have different numbers
			return [2]int{c.stream[Server].Len(), c.stream[Client].Len()}
		}
		for to := range c.conn {
			n[to] = max(0, c.owed(Side(to).Other()).Sub(c.conn[to].SndUna()))
		}
	}
	return n
}

// Record gives what is known of the flow; in custody it is as of its beginning.
func (f *Flow) Record() *Record { return f.rec }

// Bytes gives the payload bytes that from has sent: acknowledged by accd, and
// passed.
func (f *Flow) Bytes(from Side) (taken, passed uint64) {
	taken, passed = f.rec.Taken[from], f.rec.Dir[from].Passed
	if f.state == InCustody {
		taken += f.c.taken(from)
	}
	return taken, passed
}

// Terms gives what policy decided; nil: the flow stays on the wire.
func (f *Flow) Terms() *Terms { return f.terms }

// Shadowed reports that the flow is on the wire and what passes is remembered.
func (f *Flow) Shadowed() bool { return f.shadow != nil }

// Legs gives the two Conns, nil on the wire.
func (f *Flow) Legs() (client, server *tcpstack.Conn) {
	if f.c == nil {
		return nil, nil
	}
	return &f.c.conn[Client], &f.c.conn[Server]
}

// Forsake ends a flow in which a panic occurred: its places in the ledger, in the
// budget and in its Listener's backlog are free again. What its Streams refer to is left alone, since
// nobody knows what state it is in.
func (f *Flow) Forsake() {
	if c := f.c; c != nil {
		if c.slot >= 0 {
			f.env.Ledger.release(c.slot)
		}
		if c.split.half {
			c.split.early.Settled()
		}
		f.env.charged -= c.charge
	}
	if f.shadow != nil {
		f.env.charged -= f.shadow.charge
	}
	f.c, f.shadow, f.state, f.rec.why, f.answers = nil, nil, Gone, Restart, 0
}

func (f *Flow) count(why Reason) { f.env.Count.By[why]++ }

// end makes the flow Gone: what it held is given up.
func (f *Flow) end(why Reason) {
	if f.state == Gone {
		return
	}
	if f.c != nil && !f.c.drain.on {
		f.book(Client)
		f.book(Server)
	}
	f.forget(None)
	f.release()
	f.state, f.rec.why, f.answers = Gone, why, 0
	f.count(why)
}
