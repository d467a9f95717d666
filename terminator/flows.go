package terminator

import (
	"time"

	"accd/splice"
	"accd/tcpstack/mono"
	"accd/tcpstack/timer"
	"accd/tcpstack/wire"
)

// flow attends to a connection that is not idle: it is in custody, is shadowed,
// or a packet of it has just come.
type flow struct {
	splice.Flow
	at     uint32 // its place
	number uint32 // its own, among the flows
	timer  timer.Entry[*flow]
	next   *flow // in a ready list
	used   bool
	queued bool // it is in a ready list
	active bool // it was not on the wire when the shard looked last
	parted bool // its last frame has said that it needs no steering any more
	invite bool // its next frame to the server may say that it may take the shortcut
}

// client gives the client's tuple.
func (f *flow) client() wire.Tuple { return f.Record().Tuple }

// flows is the shard's table: a place for every connection, and flows for those
// that are not idle.
type flows struct {
	places
	all  []*flow
	idle []*flow // of them, attending to nobody; what was let go last first
}

// take gives a flow that attends to place i.
func (t *flows) take(i uint32) *flow {
	var f *flow
	if last := len(t.idle) - 1; last >= 0 {
		f, t.idle = t.idle[last], t.idle[:last]
	} else {
		f = &flow{number: uint32(len(t.all))}
		f.timer.Owner = f
		t.all = append(t.all, f)
	}
	f.at, f.used = i, true
	t.at(i).flow = f.number + 1
	return f
}

// release lets go of f, which is in no list and not armed.
func (t *flows) release(f *flow) {
	t.at(f.at).flow = 0
	f.Flow, f.used, f.active, f.parted, f.invite = splice.Flow{}, false, false, false, false
	t.idle = append(t.idle, f)
}

// remove gives up place i, which nobody attends to.
func (t *flows) remove(i uint32) {
	if moved := t.places.remove(i); moved != nil && moved.flow != 0 {
		f := t.all[moved.flow-1]
		f.at = i
		f.Moved(&moved.Record)
	}
}

// each calls do for every flow that attends to somebody; do may remove it.
func (t *flows) each(do func(*flow)) {
	for _, f := range t.all {
		if f.used {
			do(f)
		}
	}
}

// attend gives the flow of a client's tuple, nil if there is none. Who has got it
// makes it ready or leaves it.
func (s *shard) attend(client *wire.Tuple) *flow {
	i, ok := s.flows.find(client)
	if !ok {
		return nil
	}
	p := s.flows.places.at(i)
	if p.flow != 0 {
		return s.flows.all[p.flow-1]
	}
	f := s.flows.take(i)
	f.Attend(&p.Record, s.terms.at(p.ruling).terms, &s.env)
	// What was said to all while it rested.
	if gaps := uint32(s.count.gaps); p.gaps != gaps {
		p.gaps = gaps
		f.Gap(s.now)
	}
	if s.stopping {
		f.Drain(s.now, splice.Stop)
	}
	return f
}

// leave lets f go if it rests and does not wait to send.
func (s *shard) leave(f *flow) {
	if !f.queued && f.Rests() {
		s.wheel.Disarm(&f.timer)
		s.flows.release(f)
	}
}

// place gives the place of f.
func (s *shard) place(f *flow) *place { return s.flows.places.at(f.at) }

// add makes a place for a connection, for which there must be room, and a flow that
// attends to it.
func (s *shard) add(rec *splice.Record) *flow {
	i := s.flows.add(rec, s.now)
	s.flows.places.at(i).gaps = uint32(s.count.gaps)
	s.t.owners.set(rec.Tuple, s.index)
	return s.flows.take(i)
}

// renew makes f attend to another connection of the same name, that of the shard's record.
func (s *shard) renew(f *flow) {
	p := s.place(f)
	s.terms.unbind(p.ruling)
	p.Record, p.gaps = s.record, uint32(s.count.gaps)
	s.flows.renew(p, s.now)
	f.Flow, f.invite = splice.Flow{}, false
}

// rule notes the ruling that a new connection of f was made under.
func (s *shard) rule(f *flow, ruling uint32) *splice.Terms {
	s.terms.bind(ruling)
	s.place(f).ruling = ruling
	return s.terms.at(ruling).terms
}

// remove forgets f and its connection.
func (s *shard) remove(f *flow) {
	s.wheel.Disarm(&f.timer)
	if f.active {
		s.active--
	}
	at := f.at
	s.flows.release(f)
	s.forget(at)
}

// forget removes the connection of a place that nobody attends to.
func (s *shard) forget(at uint32) {
	p := s.flows.places.at(at)
	s.t.owners.clear(p.Tuple, s.index)
	s.t.flows.Add(-1)
	s.terms.unbind(p.ruling)
	s.flows.remove(at)
}

// Ours. Every place is looked at once a minute. What was not needed for some
// seconds goes.
const (
	sweepPeriod = 100 * time.Millisecond
	sweepParts  = 600
	trimPeriod  = 2 * time.Second
)

// age removes connections that rest and were not heard of for longer than their
// steering element lives: the kernel has forgotten them too.
func (s *shard) age(now mono.Time) {
	if now.Before(s.swept.Add(sweepPeriod)) {
		return
	}
	s.swept = now
	if !now.Before(s.trimmed.Add(trimPeriod)) {
		s.trimmed = now
		s.pool.Trim()
		s.env.Trim()
	}
	for range (s.flows.len() + sweepParts - 1) / sweepParts {
		if s.sweep == 0 {
			s.sweep = s.flows.len()
		}
		s.sweep = min(s.sweep, s.flows.len()) - 1
		if s.sweep < 0 {
			s.sweep = 0
			return
		}
		if p := s.flows.places.at(uint32(s.sweep)); p.flow == 0 && now.Sub(p.heard) > s.t.cfg.Idle {
			s.count.expired++
			s.forget(uint32(s.sweep))
		}
	}
}

// late reports that f wants to be woken, for its shadow, and nothing will.
func (s *shard) late(f *flow) bool {
	if f.Deadline() == mono.Never {
		return false
	}
	_, armed := f.timer.Armed()
	return !armed
}

// list is a queue of flows that may have something to send.
type list struct{ first, last *flow }

func (l *list) push(f *flow) {
	f.queued, f.next = true, nil
	if l.last == nil {
		l.first = f
	} else {
		l.last.next = f
	}
	l.last = f
}

func (l *list) pop() *flow {
	f := l.first
	if f == nil {
		return nil
	}
	l.first = f.next
	if l.first == nil {
		l.last = nil
	}
	f.queued, f.next = false, nil
	return f
}
