package terminator

import (
	"go.uber.org/zap"

	"accd/splice"
)

// silent says that the stopping shard holds nothing.
func (s *shard) silent() {
	select {
	case <-s.quiet:
	default:
		close(s.quiet)
	}
}

// abandon resets the ends of handshakes that are being split. What completes all
// the same, because a reset was lost, is reset by admit.
func (s *shard) abandon() {
	s.opening.Abandon(s.now, &s.template, &s.packet, s.emit)
}

// drain begins the stop: no flow enters custody any more, the others drain.
func (s *shard) drain() {
	s.stopping = true
	s.abandon()
	s.flows.each(func(f *flow) {
		s.current = f
		f.Drain(s.now, splice.Stop)
		s.current = nil
		if f.active {
			s.ready(f)
		}
	})
}

// kill ends the stop: what still holds bytes is reset on both sides. It gives
// how many flows that were.
func (s *shard) kill() (killed int) {
	s.abandon()
	s.flows.each(func(f *flow) {
		if !f.active {
			return
		}
		if held := f.Held(); held != [2]int{} {
			killed++
			s.log.Warn("flow reset: its receiver did not read before the stop's deadline",
				zap.Stringer("flow", f.client()), zap.Int("held_to_client", held[splice.Client]), zap.Int("held_to_server", held[splice.Server]))
		}
		s.current = f
		f.Kill(s.now)
		s.current = nil
		s.ready(f)
	})
	for s.send() {
		s.finish()
	}
	return killed
}
