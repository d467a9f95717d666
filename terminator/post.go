package terminator

import (
	"accd/splice"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// post writes a frame to the tap that faces to. Bulk it leaves to a deputy, if there
// is one, and then all that comes behind it.
func (s *shard) post(to splice.Side, vh *wire.VirtioHeader, head []byte, body [][]byte, bulk bool) {
	o := &s.out[to]
	if o.len() == 0 && !(bulk && s.deputized()) {
		s.sent(o.queue.Send(vh, head, body))
		return
	}
	if o.len() == outboxSize {
		o.finish()
	}
	o.put(vh, head, body, s.pool.Lend())
	s.alert()
}

// waits reports whether something is not written yet.
func (s *shard) waits() bool { return s.out[splice.Client].len()+s.out[splice.Server].len() > 0 }

// choked reports whether so much waits to be written that there should be no more.
func (s *shard) choked() bool {
	return s.out[splice.Client].len() >= outboxEnough || s.out[splice.Server].len() >= outboxEnough
}

// collect takes back what was lent to outboxes and has been written, and writes what
// comes late.
func (s *shard) collect() {
	d := &s.deputies
	last := s.pool.Lent()
	over := s.pool.Over(last, s.out[splice.Client].loan(), s.out[splice.Server].loan())
	written := s.out[splice.Client].written.Load() + s.out[splice.Server].written.Load()
	switch {
	case over == last || written != d.written:
		d.written, d.moved = written, s.now
	case s.now.Sub(d.moved) >= deputyLate:
		s.finish()
	}
}

// finish sees to it that all is written.
func (s *shard) finish() {
	for side := range s.out {
		s.out[side].finish()
	}
}

// forward writes a frame that was received. What waits for a deputy is lent, as
// other frames are.
func (s *shard) forward(to splice.Side, f *link.Frame) {
	if s.out[to].len() == 0 {
		s.sent(s.out[to].queue.Send(&f.Virtio, f.Bytes, nil))
		return
	}
	ref := f.Ref(0, len(f.Bytes))
	s.whole[0] = ref.Bytes()
	s.post(to, &f.Virtio, nil, s.whole[:], false)
	ref.Release()
}
