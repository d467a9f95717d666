package splice

// spare is what was used and may be used again, what was used last first.
type spare[T any] struct {
	list  []*T
	least int // there were since the last trim
}

// take gives one that was used before, or a new one.
func (s *spare[T]) take() *T {
	n := len(s.list)
	if n == 0 {
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
	left := s.list[(s.least+1)/2:]
	n := copy(s.list, left)
	clear(s.list[n:])
	s.list, s.least = s.list[:n], n
}

// Trim gives memory up that a crowd needed which has left. Call it now and then.
func (e *Env) Trim() {
	e.free.trim()
	e.shadows.trim()
}
