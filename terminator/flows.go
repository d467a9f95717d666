package terminator

import (
	"time"

	"accd/policy"
	"accd/splice"
	"accd/tcpstack/mono"
	"accd/tcpstack/timer"
	"accd/tcpstack/wire"
)

// flow is a splice.Flow with its places in the shard's table, wheel and lists.
type flow struct {
	splice.Flow
	client  wire.Tuple
	verdict *policy.Verdict
	timer   timer.Entry[*flow]
	next    *flow // in a ready list
	heard   mono.Time
	serial  uint64 // unique within the shard; 0: a free place
	index   uint32 // its place
	queued  bool   // it is in a ready list
	active  bool   // it was not on the wire when the shard looked last
}

// chunk is how many flows are allocated together.
const chunk = 256

// flows is the shard's table: places that never move, found by a map without
// pointers, which the garbage collector need not read.
type flows struct {
	places []*[chunk]flow
	free   []uint32
	byName map[wire.Tuple]uint32
	serial uint64
}

func (t *flows) init() { t.byName = make(map[wire.Tuple]uint32) }

// len gives the number of flows.
func (t *flows) len() int { return len(t.byName) }

// at gives a place, in use or not.
func (t *flows) at(i uint32) *flow { return &t.places[i/chunk][i%chunk] }

// find gives the flow of a client's tuple, nil if there is none.
func (t *flows) find(client wire.Tuple) *flow {
	i, ok := t.byName[client]
	if !ok {
		return nil
	}
	return t.at(i)
}

// add makes an empty flow.
func (t *flows) add(client wire.Tuple, now mono.Time) *flow {
	if len(t.free) == 0 {
		first := uint32(len(t.places) * chunk)
		t.places = append(t.places, new([chunk]flow))
		for i := range uint32(chunk) {
			t.free = append(t.free, first+chunk-1-i)
		}
	}
	i := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	f := t.at(i)
	f.client, f.index = client, i
	f.timer.Owner = f
	t.byName[client] = i
	t.renew(f, now)
	return f
}

// renew makes f the flow of another connection of the same name.
func (t *flows) renew(f *flow, now mono.Time) {
	t.serial++
	f.Flow, f.verdict = splice.Flow{}, nil
	f.serial, f.heard = t.serial, now
}

// remove gives up the place of f, which is in no list and not armed.
func (t *flows) remove(f *flow) {
	delete(t.byName, f.client)
	t.free = append(t.free, f.index)
	*f = flow{index: f.index}
}

// all calls do for every flow; do may remove it.
func (t *flows) all(do func(*flow)) { t.part(0, len(t.places), do) }

// part calls do for the flows of some chunks and reports whether there are more.
func (t *flows) part(from, to int, do func(*flow)) (more bool) {
	for _, c := range t.places[min(from, len(t.places)):min(to, len(t.places))] {
		for i := range c {
			if c[i].serial != 0 {
				do(&c[i])
			}
		}
	}
	return to < len(t.places)
}

// Ours. Every place is looked at once a minute.
const (
	sweepPeriod = 100 * time.Millisecond
	sweepParts  = 600
)

// age removes flows on the wire that were not heard of for longer than their
// steering element lives: the kernel has forgotten them too.
func (s *shard) age(now mono.Time) {
	if now.Before(s.swept.Add(sweepPeriod)) {
		return
	}
	s.swept = now
	places := uint32(len(s.flows.places) * chunk)
	for range (places + sweepParts - 1) / sweepParts {
		if s.sweep >= places {
			s.sweep = 0
		}
		f := s.flows.at(s.sweep)
		s.sweep++
		if f.serial != 0 && !f.active && !f.queued && now.Sub(f.heard) > s.t.cfg.Idle {
			s.count.expired++
			s.remove(f)
		}
	}
}

// remove forgets f.
func (s *shard) remove(f *flow) {
	s.wheel.Disarm(&f.timer)
	if f.active {
		s.active--
	}
	s.t.owners.clear(f.client, s.index)
	s.t.flows.Add(-1)
	s.flows.remove(f)
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
