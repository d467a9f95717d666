package tcpstack

import "accd/tcpstack/buf"

// Stream is what one Conn received in order and the other has not yet had
// acknowledged: the receive buffer of the one is the send buffer of the other.
// Offsets count the bytes of the direction from where the Stream began, in 64
// bits. The zero Stream is empty and open, at offset 0.
type Stream struct {
	base, end uint64 // the bytes [base, end) are here
	refs      []span // a ring: refs[(head+i)%len] for i < n
	head, n   int
	hint      int    // index, from head, where the last Gather ended
	packed    uint64 // Pack has looked at what is before it
	urgent    uint64 // the bytes before it are urgent; see SetUrgent
	closed    bool
}

// span is one reference and the offset of its first byte.
type span struct {
	off uint64
	ref buf.Ref
}

// Base gives the offset of the first byte held.
func (s *Stream) Base() uint64 { return s.base }

// End gives the offset behind the last byte held.
func (s *Stream) End() uint64 { return s.end }

// Len gives the bytes held.
func (s *Stream) Len() int { return int(s.end - s.base) }

// Closed reports whether no byte will come behind End: a FIN was received there.
func (s *Stream) Closed() bool { return s.closed }

// Close says that no byte will come behind End.
func (s *Stream) Close() { s.closed = true }

// Append takes r and puts its bytes at the end.
func (s *Stream) Append(r buf.Ref) {
	if r.Len() == 0 {
		r.Release()
		return
	}
	if s.closed {
		panic("BUG: tcpstack: bytes behind the end of a closed stream")
	}
	if s.n == len(s.refs) {
		s.grow()
	}
	*s.at(s.n) = span{s.end, r}
	s.n++
	s.end += uint64(r.Len())
}

// Discard releases the bytes before to. Beyond End it moves the stream there:
// bytes that were delivered without passing through it.
func (s *Stream) Discard(to uint64) {
	if to <= s.base {
		return
	}
	for s.n > 0 {
		p := s.at(0)
		end := p.off + uint64(p.ref.Len())
		if end > to {
			break
		}
		p.ref.Release()
		*p = span{}
		s.head++
		if s.head == len(s.refs) {
			s.head = 0
		}
		s.n--
		s.hint = max(0, s.hint-1)
	}
	s.base = to
	s.end = max(s.end, to)
}

// Reset releases everything and makes the stream empty and open, at offset 0.
func (s *Stream) Reset() {
	s.Discard(s.end)
	*s = Stream{refs: s.refs}
}

// Trim gives back the memory that an empty Stream keeps from fuller days, more than keep
// entries.
func (s *Stream) Trim(keep int) {
	if s.n == 0 && cap(s.refs) > keep {
		s.refs, s.head, s.hint = nil, 0, 0
	}
}

// Pack makes pieces of about packPiece bytes, and copies about packTurn bytes at
// a time.
const (
	packPiece = 64 << 10
	packTurn  = 256 << 10
)

// Pack copies together what came since the last time: each piece keeps the whole
// slab it came in, of which the rest may have left long ago. It is for bytes that
// are going to stay.
func (s *Stream) Pack(p *buf.Pool) {
	if s.packed >= s.end {
		return
	}
	var run [][]byte
	n, first, kept, copied := s.n, 0, 0, 0
	put := func(x span) {
		*s.at(kept) = x
		kept++
	}
	// together packs the pieces from first to i.
	together := func(i int) {
		if len(run) > 0 {
			x := span{s.at(first).off, p.Pack(run)}
			for ; first < i; first++ {
				s.at(first).ref.Release()
			}
			put(x)
			run = run[:0]
		}
		first = i
	}
	bytes := 0
	end := s.end
	for i := range n {
		x := *s.at(i)
		if copied >= packTurn {
			end = min(end, x.off)
		}
		if x.off < s.packed || x.off >= end || x.ref.Len() > packPiece {
			together(i)
			put(x)
			first, bytes = i+1, 0
			continue
		}
		if bytes += x.ref.Len(); bytes > packPiece {
			together(i)
			bytes = x.ref.Len()
		}
		run = append(run, x.ref.Bytes())
		copied += x.ref.Len()
	}
	together(n)
	for i := kept; i < n; i++ {
		*s.at(i) = span{}
	}
	s.n, s.hint, s.packed = kept, 0, end
}

// Gather appends to dst the pieces of the bytes [off, off+n), which are held,
// and gives it back. The pieces are borrowed: Discard ends them.
func (s *Stream) Gather(dst [][]byte, off uint64, n int) [][]byte {
	if off < s.base || off+uint64(n) > s.end {
		panic("BUG: tcpstack: gather outside the stream")
	}
	for i := s.find(off); n > 0; i++ {
		p := s.at(i)
		b := p.ref.Bytes()[off-p.off:]
		if len(b) > n {
			b = b[:n]
		}
		dst = append(dst, b)
		n -= len(b)
		off += uint64(len(b))
		s.hint = i
	}
	return dst
}

// find gives the index of the span that holds offset off: usually the one the
// last Gather ended in, or the next.
func (s *Stream) find(off uint64) int {
	for i := s.hint; i < s.n && i < s.hint+2; i++ {
		if p := s.at(i); p.off <= off && off < p.off+uint64(p.ref.Len()) {
			return i
		}
	}
	lo, hi := 0, s.n
	for lo < hi {
		m := (lo + hi) / 2
		if p := s.at(m); p.off+uint64(p.ref.Len()) <= off {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

func (s *Stream) at(i int) *span {
	i += s.head
	if i >= len(s.refs) {
		i -= len(s.refs)
	}
	return &s.refs[i]
}

func (s *Stream) grow() {
	refs := make([]span, max(16, 2*len(s.refs)))
	for i := range s.n {
		refs[i] = *s.at(i)
	}
	s.refs, s.head = refs, 0
}
