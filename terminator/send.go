package terminator

import (
	"accd/splice"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Ours: how many bytes a turn sends before what has arrived meanwhile is read, and of them
// one flow while others wait.
const (
	turnSend = 256 << 10
	flowSend = 128 << 10
)

// ready puts f among the flows that send next.
func (s *shard) ready(f *flow) {
	if !f.queued {
		s.fresh.push(f)
	}
}

// send lets flows send, up to a turn's share, and reports whether there is more.
// Flows that something happened to come first, so that an ACK does not wait for
// the bulk of others; those with more to send than their share take turns.
func (s *shard) send() (more bool) {
	for sent := 0; sent < turnSend && !s.choked(); {
		// What little a flow has to say goes first, but bulk gets its half.
		first, then := &s.fresh, &s.busy
		if sent >= turnSend/2 {
			first, then = then, first
		}
		f := first.pop()
		if f == nil {
			f = then.pop()
		}
		if f == nil {
			return false
		}
		n, more := s.sendFlow(f)
		sent += n
		s.deputies.sent += n
		if s.settle(f) && more {
			s.busy.push(f)
		}
	}
	return s.fresh.first != nil || s.busy.first != nil
}

// sendFlow sends what f has, up to its share, and gives how much that was.
func (s *shard) sendFlow(f *flow) (sent int, more bool) {
	s.current = f
	for sent < flowSend {
		to, ok := f.Transmit(s.now, &s.packet)
		if !ok {
			s.current = nil
			return sent, false
		}
		f.Template(to, &s.template)
		s.emitFlow(f, to)
		sent += s.packet.Len + wire.MaxHeader
	}
	s.current = nil
	return sent, true
}

// settle notes what has become of f, which is in no list, and reports whether the
// shard still attends to it.
func (s *shard) settle(f *flow) bool {
	state := f.State()
	if active := state != splice.OnWire && state != splice.Gone; active != f.active {
		f.active = active
		if active {
			s.active++
		} else {
			s.active--
		}
	}
	if state == splice.Gone {
		// A new connection that has the tuple now keeps its steering.
		if forget := s.t.cfg.Forget; forget != nil && f.Why() != splice.Replaced && !f.parted {
			forget(f.client())
		}
		s.remove(f)
		return false
	}
	if f.Rests() {
		s.leave(f)
		return false
	}
	// The entry is re-armed only for something earlier: one that fires too
	// early finds the new deadline.
	if at := f.Deadline(); at != mono.Never {
		if armed, ok := f.timer.Armed(); !ok || at < armed {
			s.wheel.Arm(&f.timer, at)
		}
	}
	return true
}
