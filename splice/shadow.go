package splice

// The shadow: how a busy flow comes into custody. docs/custody.md, Shadow, is to
// be read first.

import (
	"time"

	"accd/tcpstack"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Ours.
const (
	// busyEnough is how many segments with data a flow passes while it is busy
	// before it gets a shadow: short exchanges end sooner.
	busyEnough = 8
	// maxFlaps bounds how often that is doubled.
	maxFlaps = 8
	// settled is how long custody has to last for its drain not to count as a
	// flap.
	settled = 10 * time.Second
	// shadowLife is within what custody has to begin: the receiver acknowledges
	// what came before the shadow after a round trip, or after some timeouts.
	shadowLife = 4 * time.Second
)

// shadow is what a busy flow on the wire remembers of what passes.
type shadow struct {
	dir    [2]tcpstack.Shadow  // by the side that sends
	told   [2]tcpstack.Segment // by the side that sends: its last ACK, with its SACK blocks; no payload
	until  mono.Time           // it ends then
	charge int                 // of the budget
}

// bytes gives the bytes referred to.
func (sh *shadow) bytes() int { return sh.dir[Client].Len() + sh.dir[Server].Len() }

// reserve charges n bytes to what of the budget custody leaves, and reports
// whether they are there.
func (e *Env) reserve(n, budget int) bool {
	if e.Pool.Budget > 0 && (e.charged+n > budget || e.Pool.Full()) {
		return false
	}
	e.charged += n
	return true
}

// windows gives the bytes that the endpoints may have on their way: the first
// edges custody offers are the largest relayed.
func (r *Record) windows() (n int) {
	for i := range r.Dir {
		d := &r.Dir[i]
		n += max(minHeld, d.Edge.Sub(d.Acked))
	}
	return n
}

// quiet reports that no byte is on its way.
func (r *Record) quiet() bool { return r.Dir[Client].quiet() && r.Dir[Server].quiet() }

// finishing reports that a FIN is on its way.
func (r *Record) finishing() bool {
	return r.Dir[Client].is(hasFIN) && !r.Dir[Client].closed() || r.Dir[Server].is(hasFIN) && !r.Dir[Server].closed()
}

// shade is told of a segment with data that passes because the flow is busy. From
// the last of enough of them on what passes is remembered.
func (f *Flow) shade(now mono.Time) {
	if f.shadow != nil || f.rec.finishing() {
		return
	}
	if f.rec.busy++; f.rec.busy < busyEnough<<f.rec.flaps {
		return
	}
	f.rec.busy = 0
	// Half of the budget is custody's alone.
	e, charge := f.env, f.rec.windows()
	if !e.reserve(charge, e.Pool.Budget/2) {
		f.count(ShadowFull)
		return
	}
	sh := e.shadows.take()
	sh.charge, sh.until = charge, now.Add(shadowLife)
	for i := range sh.dir {
		sh.dir[i].Begin(f.rec.Dir[i].Next)
		sh.told[i] = tcpstack.Segment{}
	}
	f.shadow = sh
	e.Count.Shadows++
}

// heard keeps the shadow to what is not acknowledged, after a believed segment's
// ACK. Nothing on its way needs none.
func (f *Flow) heard(now mono.Time, from Side, s *tcpstack.Segment) {
	if f.rec.quiet() {
		f.rec.busy = 0
		f.forget(None)
	}
	sh := f.shadow
	if sh == nil {
		return
	}
	o := &f.rec.Dir[from.Other()]
	sh.dir[from.Other()].Discard(now, o.Acked)
	if s.Ack == o.Acked {
		sh.told[from] = *s
		sh.told[from].Payload = buf.Ref{}
	}
}

// remember adds a believed segment that passes to the shadow. What is beyond the
// receiver's own edge is a hole like any other. What custody would not take tears
// the shadow: bytes that pass must not be known by halves.
func (f *Flow) remember(now mono.Time, from Side, s *tcpstack.Segment) {
	sh := f.shadow
	if sh == nil {
		return
	}
	if s.Flags.Has(wire.FIN) || oddity(s) != None {
		f.forget(ShadowTorn)
		return
	}
	n := min(s.Payload.Len(), f.rec.Dir[from].Own.Sub(s.Seq))
	if n <= 0 {
		return
	}
	sh.dir[from].Insert(now, s.Seq, s.Payload.Slice(0, n).Retain())
	e := f.env
	if more := f.rec.windows() - sh.charge; more > 0 && e.reserve(more, e.Pool.Budget/2) {
		sh.charge += more
	}
	if p := e.Pool; sh.bytes() > sh.charge || p.Budget > 0 && p.InUse() > p.Budget/4*3 {
		f.forget(ShadowFull)
	}
}

// holds reports that accd has every byte of side that is on its way: there is
// none, or the shadow began before the oldest.
func (f *Flow) holds(side Side) bool {
	d := &f.rec.Dir[side]
	return d.quiet() || f.shadow != nil && f.shadow.dir[side].First() == d.Acked
}

// inOrder gives where the bytes of side that passed in order end.
func (f *Flow) inOrder(side Side) wire.Seq {
	if f.shadow != nil {
		return f.shadow.dir[side].Next()
	}
	return f.rec.Dir[side].Next
}

// flap makes the flow be busy for longer before the next shadow.
func (f *Flow) flap() { f.rec.flaps = min(f.rec.flaps+1, maxFlaps) }

// forget ends the shadow; why is None when it has done its work.
func (f *Flow) forget(why Reason) {
	sh, e := f.shadow, f.env
	if sh == nil {
		return
	}
	for i := range sh.dir {
		sh.dir[i].Release()
	}
	e.charged -= sh.charge
	e.shadows.put(sh)
	f.shadow, f.rec.busy = nil, 0
	if why != None {
		f.count(why)
	}
}

// expireShadow ends a shadow in whose time custody did not begin.
func (f *Flow) expireShadow(now mono.Time) {
	if f.shadow != nil && now >= f.shadow.until {
		f.flap()
		f.forget(ShadowLate)
	}
}
