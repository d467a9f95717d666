package lab

import "accd/tcpstack/wire"

// seen counts retransmissions the way an observer on the line can: data whose
// sequence numbers it has seen before.
type seen struct {
	next map[wire.Tuple]wire.Seq // behind the highest byte seen, by direction of flow
}

// maxSeen bounds the flows remembered; when it is reached all are forgotten,
// and the first retransmission of each may be missed.
const maxSeen = 1 << 16

func (s *seen) init() { s.next = make(map[wire.Tuple]wire.Seq) }

// again gives the number of segments of p whose every byte was seen before.
func (s *seen) again(p *packet) int {
	v := &p.view
	if v.Kind != wire.KindTCP {
		return 0
	}
	begin, syn := v.Seq(), v.Flags().Has(wire.SYN)
	if v.Data == v.End && !syn {
		return 0
	}
	k := v.Tuple()
	end := begin.Add(v.End - v.Data)
	next, known := s.next[k]
	switch {
	case syn || !known:
		if len(s.next) >= maxSeen {
			clear(s.next)
		}
		if syn {
			end = end.Add(1) // RFC 9293, 3.4: SYN takes one
		}
		s.next[k] = end
		return 0
	case end.LessEq(next):
		return p.segs
	}
	s.next[k] = end
	if p.mss == 0 || next.LessEq(begin) {
		return 0
	}
	return next.Sub(begin) / p.mss
}
