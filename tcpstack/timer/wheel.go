// Package timer is a hierarchical timing wheel (Varghese and Lauck, 1987) with
// intrusive entries: arming and disarming move an entry between lists and
// allocate nothing. One wheel serves one shard and is not locked.
package timer

import (
	"math/bits"
	"time"

	"accd/tcpstack/mono"
)

// Tick is the resolution of the wheel: no entry fires early, none later than
// one tick after its time, given a call of Advance.
const Tick = 1 << tickBits * time.Nanosecond // 65.5 µs

// Ours. Eight levels of 64 slots span 2^48 ticks, more than a mono.Time has.
const (
	tickBits = 16
	slotBits = 6
	slots    = 1 << slotBits
	levels   = 8

	due   = levels * slots // the list of entries whose time had come when they were armed
	fired = due + 1        // the list Advance is working through
	lists = fired + 1
)

// Entry is a place in a wheel. Embed it in what waits; the zero Entry is not
// armed. Owner is what Advance hands out.
type Entry[T any] struct {
	Owner T

	at         mono.Time
	next, prev *Entry[T]
	list       int16 // 1 + index of the list e is in; 0: not armed
}

// Wheel holds armed entries. Init it before use.
//
// An entry lies on the level of the highest digit, in base 64, in which its
// tick differs from the wheel's, in the slot of that digit. So the entries of a
// level are all due before those of the next, and a slot of a level above the
// lowest is spread over the levels below when the wheel reaches its first tick.
type Wheel[T any] struct {
	now  mono.Time
	tick uint64 // what lies before has fired
	busy [levels]uint64
	head [lists]*Entry[T]
}

// Init makes the wheel empty, at time now.
func (w *Wheel[T]) Init(now mono.Time) {
	*w = Wheel[T]{now: now, tick: uint64(now) >> tickBits}
}

// Arm makes e fire at at; one in the past fires at the next Advance. An armed
// entry is moved; mono.Never disarms it.
func (w *Wheel[T]) Arm(e *Entry[T], at mono.Time) {
	if e.list != 0 {
		w.unlink(e)
	}
	if at == mono.Never {
		return
	}
	e.at = at
	w.place(e)
}

// Disarm takes e out, if it is armed.
func (w *Wheel[T]) Disarm(e *Entry[T]) {
	if e.list != 0 {
		w.unlink(e)
	}
}

// Armed reports whether e will fire, and when.
func (e *Entry[T]) Armed() (at mono.Time, ok bool) { return e.at, e.list != 0 }

// Advance moves the wheel to now and calls fire for every entry that is due,
// disarmed before the call; fire may arm it anew. What fire arms in the past
// waits for the next Advance. A now before the last one counts as that.
func (w *Wheel[T]) Advance(now mono.Time, fire func(T)) {
	w.now = max(w.now, now)
	w.drain(due, fire)
	end := uint64(w.now) >> tickBits
	for {
		level, first := w.earliest()
		if first > end {
			break
		}
		w.tick = first
		list := w.slot(level, first)
		if level == 0 {
			w.drain(list, fire)
			continue
		}
		w.spread(list)
		w.drain(fired, fire)
	}
	w.tick = end
}

// Next gives the instant before which Advance has nothing to do, mono.Never if
// no entry is armed. It may be early, by the coarseness of a level, never late.
func (w *Wheel[T]) Next() mono.Time {
	if w.head[due] != nil {
		return w.now
	}
	_, first := w.earliest()
	if first > uint64(mono.Never)>>tickBits {
		return mono.Never
	}
	return mono.Time(first << tickBits)
}

// earliest gives the first slot that holds something, by its level and first
// tick; the largest uint64 if there is none.
func (w *Wheel[T]) earliest() (level int, first uint64) {
	for level, busy := range w.busy {
		if busy == 0 {
			continue
		}
		digit := uint64(bits.TrailingZeros64(busy))
		shift := level * slotBits
		above := w.tick >> (shift + slotBits) << (shift + slotBits)
		return level, above | digit<<shift
	}
	return 0, 1<<64 - 1
}

// slot gives the index of the list of a level that is responsible for tick.
func (w *Wheel[T]) slot(level int, tick uint64) int {
	return level*slots + int(tick>>(level*slotBits)%slots)
}

// place links e where its time belongs.
func (w *Wheel[T]) place(e *Entry[T]) {
	if e.at <= w.now {
		w.link(e, due)
		return
	}
	w.file(e)
}

// file links e by its tick, rounded up, on the wheel, or among the fired.
func (w *Wheel[T]) file(e *Entry[T]) {
	tick := (uint64(e.at) + 1<<tickBits - 1) >> tickBits
	if tick <= w.tick {
		w.link(e, fired)
		return
	}
	level := (bits.Len64(tick^w.tick) - 1) / slotBits
	list := w.slot(level, tick)
	w.busy[level] |= 1 << (list % slots)
	w.link(e, list)
}

// spread files the entries of a list anew.
func (w *Wheel[T]) spread(list int) {
	for e := w.head[list]; e != nil; e = w.head[list] {
		w.unlink(e)
		w.file(e)
	}
}

// drain fires the entries a list holds now.
func (w *Wheel[T]) drain(list int, fire func(T)) {
	if list != fired {
		for e := w.head[list]; e != nil; e = w.head[list] {
			w.unlink(e)
			w.link(e, fired)
		}
	}
	for e := w.head[fired]; e != nil; e = w.head[fired] {
		w.unlink(e)
		fire(e.Owner)
	}
}

func (w *Wheel[T]) link(e *Entry[T], list int) {
	e.list = int16(list + 1)
	e.prev, e.next = nil, w.head[list]
	if e.next != nil {
		e.next.prev = e
	}
	w.head[list] = e
}

func (w *Wheel[T]) unlink(e *Entry[T]) {
	list := int(e.list - 1)
	if e.next != nil {
		e.next.prev = e.prev
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		w.head[list] = e.next
		if e.next == nil && list < due {
			w.busy[list/slots] &^= 1 << (list % slots)
		}
	}
	e.next, e.prev, e.list = nil, nil, 0
}
