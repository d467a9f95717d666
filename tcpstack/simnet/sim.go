// Package simnet is a network in virtual time, for tests only: links that lose,
// delay, reorder, duplicate and corrupt, endpoints made of tcpstack, and accd
// between them. One seed makes one network; the same seed makes it again, packet
// by packet.
package simnet

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"accd/splice"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Start is when every simulation begins: an instant that is set, with room for
// what lies before it.
const Start = mono.Time(100 * time.Second)

// Sim is the clock and the list of what happens next. Everything in one
// simulation shares it.
type Sim struct {
	Rand  *rand.Rand
	Trace io.Writer   // one line per packet; nil: none
	Check func()      // called after every event; nil: nothing
	Spare []*buf.Pool // empty ones, whose slabs the next network need not make

	now    mono.Time
	queue  events
	order  uint64
	failed error
	ran    int
	iss    map[[2]int]wire.Seq // by flow and side, for the trace
}

// New makes an empty simulation. All its randomness comes from seed.
func New(seed uint64) *Sim {
	return &Sim{Rand: rand.New(rand.NewPCG(seed, 0x5eed)), now: Start, iss: map[[2]int]wire.Seq{}}
}

// pool gives an empty pool without a budget.
func (s *Sim) pool() *buf.Pool {
	n := len(s.Spare)
	if n == 0 {
		return new(buf.Pool)
	}
	p := s.Spare[n-1]
	s.Spare = s.Spare[:n-1]
	p.Budget = 0
	return p
}

// Now gives the time.
func (s *Sim) Now() mono.Time { return s.now }

// Since gives how long the simulation has run.
func (s *Sim) Since() time.Duration { return s.now.Sub(Start) }

// Events gives how many events have run.
func (s *Sim) Events() int { return s.ran }

// At runs do at at, or now if that has passed. Events of one instant run in the
// order they were asked for.
func (s *Sim) At(at mono.Time, do func()) {
	s.order++
	heap.Push(&s.queue, event{max(at, s.now), s.order, do})
}

// After runs do in d.
func (s *Sim) After(d time.Duration, do func()) { s.At(s.now.Add(d), do) }

// Failf notes what went wrong first. The simulation stops behind the event.
func (s *Sim) Failf(format string, args ...any) {
	if s.failed == nil {
		s.failed = fmt.Errorf("at %.6f: "+format, append([]any{s.Since().Seconds()}, args...)...)
		s.Tracef("FAIL %v", s.failed)
	}
}

// Tracef writes a line to Trace.
func (s *Sim) Tracef(format string, args ...any) {
	if s.Trace != nil {
		fmt.Fprintf(s.Trace, "%10.6f "+format+"\n", append([]any{s.Since().Seconds()}, args...)...)
	}
}

// tracePacket writes a packet to Trace.
func (s *Sim) tracePacket(where string, p *Packet) {
	if s.Trace != nil {
		s.Tracef("%-9s %s", where, p.describe([2]wire.Seq{s.iss[[2]int{p.Flow, 0}], s.iss[[2]int{p.Flow, 1}]}))
	}
}

// nameOf gives a side's name in traces and failures.
func nameOf(s splice.Side) string { return [...]string{"client", "server"}[s] }

// mostEvents is more than any simulation here needs: what runs longer turns in
// a circle.
const mostEvents = 5e6

// Run lets time pass until done says so, d is over, or something failed; it
// gives what failed. A nil done never says so.
func (s *Sim) Run(d time.Duration, done func() bool) error {
	for end := s.now.Add(d); s.failed == nil && len(s.queue) > 0 && (done == nil || !done()); {
		e := heap.Pop(&s.queue).(event)
		if e.at > end {
			heap.Push(&s.queue, e)
			s.now = end
			break
		}
		s.now = e.at
		if s.ran++; s.ran == mostEvents {
			s.Failf("it has not come to an end after %d events", s.ran)
		}
		e.do()
		if s.Check != nil && s.failed == nil {
			s.Check()
		}
	}
	return s.failed
}

// chance reports true with probability p.
func (s *Sim) chance(p float64) bool { return p > 0 && s.Rand.Float64() < p }

// upTo gives a random duration in [0, d).
func (s *Sim) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.Rand.Int64N(int64(d)))
}

// event is something that happens at an instant.
type event struct {
	at    mono.Time
	order uint64
	do    func()
}

// events is a heap, the next event first.
type events []event

func (q events) Len() int { return len(q) }

func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}

func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for container/heap.
func (q *events) Push(e any) { *q = append(*q, e.(event)) }

// Pop is for container/heap.
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

// alarm is the clock of a host or a box, and calls wake at one instant that may
// be moved: its timer, re-armed after each of its turns.
type alarm struct {
	sim  *Sim
	wake func()
	fast time.Duration // what the clock is ahead of the simulation's
	at   mono.Time     // of the event under way; 0: none
	want mono.Time
}

// now gives the time by the clock.
func (a *alarm) now() mono.Time { return a.sim.now.Add(a.fast) }

// set moves the alarm to a time of the clock; mono.Never stops it.
func (a *alarm) set(at mono.Time) {
	if at != mono.Never {
		at = at.Add(-a.fast)
	}
	a.arm(at)
}

// arm is set for a time of the simulation.
func (a *alarm) arm(at mono.Time) {
	a.want = at
	if at == mono.Never || a.at != 0 && a.at <= at {
		return // the event under way looks at want
	}
	at = max(at, a.sim.now)
	a.at = at
	a.sim.At(at, func() { a.ring(at) })
}

func (a *alarm) ring(at mono.Time) {
	if a.at != at {
		return // an earlier one was set meanwhile
	}
	a.at = 0
	if a.want > at {
		a.arm(a.want)
		return
	}
	a.wake()
}
