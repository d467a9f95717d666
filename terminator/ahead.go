package terminator

import (
	"accd/splice"
	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// Ours: from how many flows on the table does not fit into caches, so that frames
// are read ahead; how many; and how large they may be, since large ones would push
// each other out of caches.
const (
	aheadFlows  = 1 << 13
	aheadFrames = 32
	aheadBytes  = 2 << 10
)

// ahead is frames that were read together, so that the memory their flows need is
// on its way while others are worked on. With few flows it is one at a time.
type ahead struct {
	frames [aheadFrames]link.Frame
	n      int    // read
	done   int    // of them, worked on
	warmed uint64 // what was read in advance, so that it is read at all
	bucket [aheadFrames]uint32
}

// read reads up to most frames and reports whether there may be more.
func (a *ahead) read(q link.Queue, p *buf.Pool, most int) (more bool, err error) {
	a.n, a.done = 0, 0
	for a.n < most {
		f := &a.frames[a.n]
		ok, err := q.Recv(p, f)
		if !ok || err != nil {
			return false, err
		}
		a.n++
		if a.n == most || len(f.Bytes) > aheadBytes {
			break
		}
		f.Hold()
	}
	return true, nil
}

// drop gives up what was not worked on.
func (a *ahead) drop() {
	for ; a.done < a.n; a.done++ {
		a.frames[a.done].Drop()
	}
}

// reach gives how many frames to read at once.
func (s *shard) reach() int {
	if s.flows.len() < s.many {
		return 1
	}
	return aheadFrames
}

// warm begins to read what the flows of the frames read ahead will need: first all
// buckets, then all places, so that each wait for memory is one for all.
func (s *shard) warm(from splice.Side) {
	a := &s.ahead
	for i := range a.n {
		a.bucket[i] = 0
		if s.view.Parse(a.frames[i].Bytes) != wire.KindTCP {
			continue
		}
		client := s.view.Tuple()
		if from == splice.Server {
			client = client.Reverse()
		}
		a.bucket[i] = *s.flows.bucket(hash(&client, s.flows.seed))
	}
	for _, at := range a.bucket[:a.n] {
		if at != 0 {
			p := s.flows.places.at(at - 1)
			a.warmed += uint64(p.flow) + p.Dir[splice.Client].Passed + p.Dir[splice.Server].Passed
		}
	}
}
