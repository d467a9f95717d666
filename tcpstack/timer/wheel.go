// Package timer is a hierarchical timing wheel (Varghese and Lauck, 1987) with
// intrusive entries: arming and disarming move an entry between lists and
// allocate nothing. One wheel serves one shard and is not locked.
package timer

import (
	"time"

	"accd/tcpstack/mono"
)

// Tick is the resolution of the wheel: no entry fires early, none later than
// one tick after its time, given a call of Advance.
const Tick = 1 << 16 * time.Nanosecond // 65.5 µs

// Entry is a place in a wheel. Embed it in what waits; the zero Entry is not
// armed. Owner is what Advance hands out.
type Entry[T any] struct {
	Owner T

	at         mono.Time
	next, prev *Entry[T]
}

// Wheel holds armed entries. Init it before use.
type Wheel[T any] struct {
	now mono.Time
	// The worker fills in the levels.
}

// Init makes the wheel empty, at time now.
func (w *Wheel[T]) Init(now mono.Time) { panic("contract only") }

// Arm makes e fire at at; one in the past fires at the next Advance. An armed
// entry is moved; mono.Never disarms it.
func (w *Wheel[T]) Arm(e *Entry[T], at mono.Time) { panic("contract only") }

// Disarm takes e out, if it is armed.
func (w *Wheel[T]) Disarm(e *Entry[T]) { panic("contract only") }

// Armed reports whether e will fire, and when.
func (e *Entry[T]) Armed() (at mono.Time, ok bool) { panic("contract only") }

// Advance moves the wheel to now and calls fire for every entry that is due,
// disarmed before the call; fire may arm it anew.
func (w *Wheel[T]) Advance(now mono.Time, fire func(T)) { panic("contract only") }

// Next gives the instant before which Advance has nothing to do, mono.Never if
// no entry is armed. It may be early, by the coarseness of a level, never late.
func (w *Wheel[T]) Next() mono.Time { panic("contract only") }
