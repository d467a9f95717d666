package splice

import "accd/tcpstack"

// spare is what was used and may be used again, what was used last first.
type spare[T any] struct {
	list  []*T
	least int // there were since the last trim
	made  int // how many there are, those in use included
}

// take gives one that was used before, or a new one.
func (s *spare[T]) take() *T {
	n := len(s.list)
	if n == 0 {
		s.made++
		return new(T)
	}
	x := s.list[n-1]
	s.list[n-1] = nil
	s.list = s.list[:n-1]
	s.least = min(s.least, n-1)
	return x
}

func (s *spare[T]) put(x *T) { s.list = append(s.list, x) }

// trim gives up half of those that were spare all the time since it was called last.
func (s *spare[T]) trim() {
	gone := (s.least + 1) / 2
	s.made -= gone
	n := copy(s.list, s.list[gone:])
	clear(s.list[n:])
	s.list, s.least = s.list[:n], n
}

// Trim gives memory up that a crowd needed which has left. Call it now and then.
func (e *Env) Trim() {
	e.free.trim()
	e.shadows.trim()
}

// Ours. What near ends have in flight is 3 MiB, in packets of 8 KiB. Few custodies are so many
// that their tables may stay for that, which is 8 MB of them.
const (
	burstRecords = 512
	fewCustodies = 64
)

// keptRecords gives how many entries the tables of a custody that ends keep. That of near ends
// in bulk ends and begins again many times a second, and tables made anew each time would have
// the collector run. But each of a crowd's custodies once serves bulk.
func (e *Env) keptRecords() int {
	if e.free.made <= fewCustodies {
		return burstRecords
	}
	return tcpstack.KeptRecords
}
