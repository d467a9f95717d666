package terminator

import (
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"accd/splice"
	"accd/tcpstack/mono"
	"accd/terminator/link"
)

// clock is the monotonic clock, read once per turn, in loop, and to know how
// long to wait.
type clock struct{ epoch time.Time }

// newClock makes a clock that has run for an hour, so that no instant is the
// zero Time.
func newClock() clock { return clock{time.Now().Add(-time.Hour)} }

func (c clock) now() mono.Time { return mono.Time(time.Since(c.epoch)) }

// loop runs turns until the shard is told to quit or a tap is gone.
func (s *shard) loop() error {
	defer s.finish()
	for !s.quit.Load() {
		now := s.t.clock.now()
		next := s.guarded(now)
		if s.err != nil {
			return fmt.Errorf("terminator: shard %d: %w", s.index, s.err)
		}
		switch s.vigil.rest(now, next) {
		case none:
			s.works()
		case yield:
			s.works()
			s.deputies.pause()
			link.Yield()
		case sleep:
			if s.rests(); s.assist() {
				continue
			}
			if err := s.sleep(next.Sub(s.t.clock.now())); err != nil {
				return err
			}
		}
	}
	return nil
}

// guarded is turn, and survives a panic: the flow whose code it was is reset if
// it holds bytes and passes from then on, the others of the shard drain.
func (s *shard) guarded(now mono.Time) (next mono.Time) {
	defer func() {
		if r := recover(); r != nil {
			s.recovered(r)
			next = now
		}
	}()
	return s.turn(now)
}

// recovered makes the shard fit for the next turn after a panic. What the flow
// to blame referred to in the pool stays in use.
func (s *shard) recovered(r any) {
	s.count.panics++
	s.pending.Store(true) // others may still wait for an answer
	culprit := s.current
	s.current = nil
	name := ""
	if culprit != nil {
		name = culprit.client().String()
	}
	s.log.Error("BUG: a shard panicked: its flows drain", zap.Int("shard", s.index), zap.Any("panic", r),
		zap.String("flow", name), zap.ByteString("stack", debug.Stack()))
	s.ahead.drop()
	s.fresh, s.busy = list{}, list{}
	s.flows.each(func(f *flow) { f.queued, f.next = false, nil })
	if culprit != nil {
		s.attempt(func() {
			culprit.Kill(s.now)
			for range 4 {
				to, ok := culprit.Transmit(s.now, &s.packet)
				if !ok {
					break
				}
				culprit.Template(to, &s.template)
				s.emit(to)
			}
		})
		culprit.Forsake()
		s.remove(culprit)
	}
	s.flows.each(func(f *flow) {
		if !f.active {
			s.ready(f)
			return
		}
		if !s.attempt(func() { f.Drain(s.now, splice.Restart) }) {
			f.Forsake()
			s.remove(f)
			return
		}
		s.ready(f)
	})
}

// attempt runs do and reports whether it came to its end.
func (s *shard) attempt(do func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("BUG: and again while recovering: the flow is forgotten", zap.Any("panic", r))
		}
	}()
	do()
	return true
}
