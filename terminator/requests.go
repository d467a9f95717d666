package terminator

import "sync"

// requests are functions that others want run between two turns.
type requests struct {
	sync.Mutex
	list []func(*shard)
}

// answer runs what others have asked for.
func (s *shard) answer() {
	for {
		s.requests.Lock()
		if len(s.requests.list) == 0 {
			s.requests.list = nil
			s.requests.Unlock()
			return
		}
		do := s.requests.list[0]
		s.requests.list = s.requests.list[1:]
		s.requests.Unlock()
		do(s)
	}
}

// ask has do run on the shard's goroutine, soon.
func (s *shard) ask(do func(*shard)) {
	s.requests.Lock()
	s.requests.list = append(s.requests.list, do)
	s.requests.Unlock()
	s.wake()
}

// wake ends the wait of the shard, if it waits.
func (s *shard) wake() {
	if !s.pending.Swap(true) {
		s.wait.Wake()
	}
}
