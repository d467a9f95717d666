// Package buf holds the bytes in custody: slabs that frames are read into, and
// counted references to pieces of them. A slab never leaves the shard whose
// Pool made it, so nothing here is locked: others may read what is lent to them, and
// say in their own way when they have.
package buf

import "slices"

// SlabSize is the size in bytes of a slab. A slab is filled from its start with
// whole frames, so it needs room for several of the largest.
const SlabSize = 256 << 10

// slab is a piece of memory that many references share.
type slab struct {
	data []byte
	refs int
	loan uint64 // the last before it had no references any more
	pool *Pool
}

// Ref is a counted reference to bytes of a slab. The zero Ref refers to
// nothing, and Release on it does nothing.
type Ref struct {
	slab     *slab
	off, len uint32
}

// Len gives the number of bytes.
func (r Ref) Len() int { return int(r.len) }

// Bytes gives the bytes; they stay valid until the Ref is released.
func (r Ref) Bytes() []byte {
	if r.slab == nil {
		return nil
	}
	return r.slab.data[r.off : r.off+r.len : r.off+r.len]
}

// Slice gives the bytes [from, to) of r. It does not count as a reference of
// its own: it replaces r, or is retained.
func (r Ref) Slice(from, to int) Ref {
	if from < 0 || to < from || to > int(r.len) {
		panic("BUG: buf: slice out of range")
	}
	return Ref{r.slab, r.off + uint32(from), uint32(to - from)}
}

// Retain counts one more reference and gives r back.
func (r Ref) Retain() Ref {
	if r.slab != nil {
		r.slab.refs++
	}
	return r
}

// Release gives up the reference.
func (r Ref) Release() {
	s := r.slab
	if s == nil {
		return
	}
	s.refs--
	switch {
	case s.refs < 0:
		panic("BUG: buf: released twice")
	case s.refs == 0:
		s.pool.put(s)
	}
}

// Memory is where slabs lie.
type Memory interface {
	// Take gives SlabSize bytes.
	Take() []byte
	// Give takes back what Take gave; nobody refers to it any more.
	Give(b []byte)
}

// Pool makes slabs and takes them back. The zero Pool is ready and has no
// budget.
type Pool struct {
	Budget int    // bytes of slabs that may be in use; 0: no limit
	Memory Memory // nil: the collector's heap

	cur  *slab // being filled, never in free
	at   int   // where in cur the last Room begins
	fill int   // bytes of cur that are kept, or were while it has references
	free []*slab
	idle int // slabs that were free all the time since the last Trim

	packed   *slab // being filled by Pack, never in free
	packedTo int   // its first free byte
	slabs    int   // slabs with references

	lent, over uint64  // loans begun, and of them those that are over, in order
	rest       []*slab // without references, but lent
}

// Room gives n bytes, at most SlabSize, to read a frame into. They are valid
// until the next call of Room, but for what Keep has claimed.
func (p *Pool) Room(n int) []byte {
	if p.spent(p.cur) {
		p.fill = 0
	}
	if p.cur == nil || SlabSize-p.fill < n {
		if p.cur != nil && p.cur.refs == 0 {
			p.leave(p.cur)
		}
		p.cur = p.take()
		p.fill = 0
	}
	p.at = p.fill
	return p.cur.data[p.at : p.at+n : p.at+n]
}

// Keep gives a reference to the bytes [from, to) of what Room gave last, so
// that the next Room lies behind them. Several pieces of one Room may be kept.
func (p *Pool) Keep(from, to int) Ref {
	if from == to {
		return Ref{}
	}
	s := p.cur
	if s.refs == 0 {
		p.slabs++
	}
	s.refs++
	// Frames do not share cache lines.
	p.fill = min(max(p.fill, (p.at+to+63)&^63), SlabSize)
	return Ref{s, uint32(p.at + from), uint32(to - from)}
}

// Copy gives a reference to a copy of b, at most SlabSize bytes.
func (p *Pool) Copy(b []byte) Ref {
	copy(p.Room(len(b)), b)
	return p.Keep(0, len(b))
}

// Pack gives a reference to a copy of the pieces, one behind the other, at most
// SlabSize bytes. It lies among other copies: what stays for long does not keep
// whole slabs of what has left.
func (p *Pool) Pack(pieces [][]byte) Ref {
	n := 0
	for _, b := range pieces {
		n += len(b)
	}
	if n == 0 {
		return Ref{}
	}
	s, at := p.pack(n)
	for _, b := range pieces {
		p.packedTo += copy(s.data[p.packedTo:], b)
	}
	return Ref{s, uint32(at), uint32(n)}
}

// Copy is Pack of one reference, which stays the caller's.
func (r Ref) Copy() Ref {
	if r.len == 0 {
		return Ref{}
	}
	p := r.slab.pool
	s, at := p.pack(int(r.len))
	p.packedTo += copy(s.data[at:], r.Bytes())
	return Ref{s, uint32(at), r.len}
}

// Grow copies b behind the bytes of r, if r is what was packed last and there is
// room.
func (r *Ref) Grow(b []byte) bool {
	if r.slab == nil {
		return false
	}
	p := r.slab.pool
	if r.slab != p.packed || int(r.off+r.len) != p.packedTo || SlabSize-p.packedTo < len(b) {
		return false
	}
	p.packedTo += copy(p.packed.data[p.packedTo:], b)
	r.len += uint32(len(b))
	return true
}

// pack gives a referenced place for n bytes among what is packed.
func (p *Pool) pack(n int) (s *slab, at int) {
	if p.spent(p.packed) {
		p.packedTo = 0
	}
	if p.packed == nil || SlabSize-p.packedTo < n {
		if p.packed != nil && p.packed.refs == 0 {
			p.leave(p.packed)
		}
		p.packed, p.packedTo = p.take(), 0
	}
	s = p.packed
	if s.refs == 0 {
		p.slabs++
	}
	s.refs++
	return s, p.packedTo
}

// InUse gives the bytes of slabs that hold at least one reference.
func (p *Pool) InUse() int { return p.slabs * SlabSize }

// Full reports whether the budget is used up. The pool still gives room then:
// who takes bytes into custody asks first.
func (p *Pool) Full() bool { return p.Budget > 0 && p.InUse() >= p.Budget }

// Trim gives up half of the slabs that were free all the time since it was called
// last. Call it now and then, so that what a crowd needed goes when it has left.
func (p *Pool) Trim() {
	if p.Memory != nil {
		for _, s := range p.free[:(p.idle+1)/2] {
			p.Memory.Give(s.data)
			s.data = nil // whoever refers to it all the same shall see that
		}
	}
	n := copy(p.free, p.free[(p.idle+1)/2:])
	clear(p.free[n:])
	p.free, p.idle = p.free[:n], n
}

// Lend says that what is referred to now stays readable for somebody who counts no
// references, until Over. It gives the number of the loan, from 1 on.
func (p *Pool) Lend() uint64 {
	p.lent++
	return p.lent
}

// Lent gives the number of the last loan.
func (p *Pool) Lent() uint64 { return p.lent }

// Over says that all loans up to the least of these numbers are over, and gives it.
func (p *Pool) Over(upTo ...uint64) uint64 {
	p.over = slices.Min(upTo)
	k := 0
	for k < len(p.rest) && p.rest[k].loan <= p.over {
		k++
	}
	p.free = append(p.free, p.rest[:k]...)
	p.rest = slices.Delete(p.rest, 0, k)
	return p.over
}

func (p *Pool) take() *slab {
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		p.idle = min(p.idle, n-1)
		return s
	}
	s := &slab{pool: p}
	if p.Memory != nil {
		s.data = p.Memory.Take()
	} else {
		s.data = make([]byte, SlabSize)
	}
	return s
}

func (p *Pool) put(s *slab) {
	p.slabs--
	s.loan = p.lent
	if s != p.cur && s != p.packed {
		p.leave(s)
	}
}

// spent reports that nobody reads what is in a slab any more.
func (p *Pool) spent(s *slab) bool { return s != nil && s.refs == 0 && s.loan <= p.over }

// leave takes a slab without references for others to fill, if it is not lent.
func (p *Pool) leave(s *slab) {
	if s.loan > p.over {
		p.rest = append(p.rest, s)
		return
	}
	p.free = append(p.free, s)
}
