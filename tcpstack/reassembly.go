package tcpstack

import (
	"slices"
	"sort"

	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// Ours: bounds on what a peer can make us keep, since the cost of an out-of-order
// segment must not grow with what came before (SegmentSmack, CVE-2018-5390).
const (
	maxHoles = 1024 // separate ranges
	// freePieces may be of any size, more have to be minPiece bytes on average:
	// each costs memory beside its bytes.
	freePieces = 1024
	minPiece   = 256
	// What is shorter than packBelow is copied together: it would keep the whole
	// slab that it came in, of which the rest leaves while it waits.
	packBelow = 16 << 10
)

// reassembly holds what arrived behind a hole: ranges, each a chain of pieces. A
// range grows at its ends only, so a segment costs finding its range and, if it
// makes a new one, its place among the ranges, of which there are not many.
type reassembly struct {
	ranges []chunk // by offset, apart from each other
	pieces []piece // [0] is unused
	free   int32   // the first unused piece, by next
	count  int     // pieces in use
	bytes  int
	since  mono.Time // when the oldest hole opened
	recent [4]uint64 // where bytes came last, the last first; 0: nowhere
}

// chunk is one contiguous range.
type chunk struct {
	off, end    uint64
	first, last int32 // its pieces
}

// piece is a part of a range.
type piece struct {
	ref  buf.Ref
	next int32 // the one behind it; 0: none
}

// extent is a contiguous range of offsets; the zero extent is empty.
type extent struct{ off, end uint64 }

// add makes x the first range of those added in order, with what touches its end.
func (x *extent) add(off, end uint64) {
	switch {
	case end <= off:
	case x.end == x.off:
		x.off, x.end = off, end
	case off <= x.end:
		x.end = max(x.end, end)
	}
}

func (r *reassembly) empty() bool { return len(r.ranges) == 0 }

func (r *reassembly) reset() {
	for i := range r.ranges {
		for id := r.ranges[i].first; id != 0; id = r.pieces[id].next {
			r.pieces[id].ref.Release()
			r.pieces[id].ref = buf.Ref{}
		}
	}
	*r = reassembly{ranges: r.ranges[:0], pieces: r.pieces[:0]}
}

// insert takes ref, the bytes from off on, and keeps what it does not have. It
// reports the number of new bytes and the first contiguous range that was there
// already; refused says that there are too many holes or crumbs.
func (r *reassembly) insert(now mono.Time, off uint64, ref buf.Ref) (fresh int, twice extent, refused bool) {
	end := off + uint64(ref.Len())
	// The ranges [k, j) touch or overlap what came.
	k := sort.Search(len(r.ranges), func(i int) bool { return r.ranges[i].end >= off })
	if len(r.ranges) >= maxHoles && (k == len(r.ranges) || end < r.ranges[k].off) ||
		r.count >= freePieces && r.bytes < minPiece*r.count {
		ref.Release()
		return 0, extent{}, true
	}
	if r.empty() {
		r.since = now
	}
	all := chunk{off: off, end: off}
	at, j := off, k
	for ; j < len(r.ranges) && r.ranges[j].off <= end; j++ {
		c := &r.ranges[j]
		if at < c.off {
			fresh += r.append(&all, ref.Slice(int(at-off), int(c.off-off)))
		}
		twice.add(max(at, c.off), min(c.end, end))
		all.off, at = min(all.off, c.off), max(at, c.end)
		r.chain(&all, c.first, c.last)
		all.end = max(all.end, c.end)
	}
	if at < end {
		fresh += r.append(&all, ref.Slice(int(at-off), int(end-off)))
	}
	all.end = max(all.end, end)
	ref.Release()
	r.bytes += fresh
	if j == k {
		r.ranges = append(r.ranges, chunk{})
		copy(r.ranges[k+1:], r.ranges[k:])
	} else {
		r.ranges = append(r.ranges[:k+1], r.ranges[j:]...)
	}
	r.ranges[k] = all
	r.note(&all, off)
	return fresh, twice, false
}

// append puts a part of a segment behind the pieces of c, with those before it if
// it is short.
func (r *reassembly) append(c *chunk, ref buf.Ref) int {
	n := ref.Len()
	if n >= packBelow {
		id := r.piece(ref.Retain())
		r.chain(c, id, id)
		return n
	}
	if c.last != 0 {
		if last := &r.pieces[c.last].ref; last.Len() < packBelow && last.Grow(ref.Bytes()) {
			return n
		}
	}
	id := r.piece(ref.Copy())
	r.chain(c, id, id)
	return n
}

// chain puts the pieces from first to last behind those of c.
func (r *reassembly) chain(c *chunk, first, last int32) {
	if c.last == 0 {
		c.first = first
	} else {
		r.pieces[c.last].next = first
	}
	c.last = last
}

// piece gives the number of a new piece.
func (r *reassembly) piece(ref buf.Ref) int32 {
	r.count++
	id := r.free
	if id != 0 {
		r.free = r.pieces[id].next
		r.pieces[id] = piece{ref: ref}
		return id
	}
	if len(r.pieces) == 0 {
		r.pieces = append(r.pieces, piece{})
	}
	r.pieces = append(r.pieces, piece{ref: ref})
	return int32(len(r.pieces) - 1)
}

// pop gives the first piece if it starts at or before next, and moves on.
func (r *reassembly) pop(now mono.Time, next uint64) (off uint64, ref buf.Ref, ok bool) {
	if r.empty() || r.ranges[0].off > next {
		return 0, buf.Ref{}, false
	}
	return r.first(now)
}

// first removes the first piece.
func (r *reassembly) first(now mono.Time) (off uint64, ref buf.Ref, ok bool) {
	if r.empty() {
		return 0, buf.Ref{}, false
	}
	c := &r.ranges[0]
	id := c.first
	off, ref = c.off, r.pieces[id].ref
	c.first = r.pieces[id].next
	r.pieces[id] = piece{next: r.free}
	r.free = id
	r.count--
	r.bytes -= ref.Len()
	if c.off += uint64(ref.Len()); c.first == 0 {
		r.ranges = r.ranges[:copy(r.ranges, r.ranges[1:])]
		r.since = now
	}
	return off, ref, true
}

// pull moves what is in order now to the end of in, and gives what that had
// already.
func (r *reassembly) pull(now mono.Time, in *Stream) (twice extent) {
	for {
		off, ref, ok := r.pop(now, in.end)
		if !ok {
			return twice
		}
		old := int(in.end - off)
		if old > 0 {
			twice.add(off, off+uint64(min(old, ref.Len())))
		}
		if old >= ref.Len() || in.closed {
			ref.Release()
			continue
		}
		in.Append(ref.Slice(old, ref.Len()))
	}
}

// note keeps which ranges changed last; c, into which bytes came at off, did now.
func (r *reassembly) note(c *chunk, off uint64) {
	last := off
	for i, at := range r.recent {
		r.recent[i] = last
		if at >= c.off && at < c.end {
			break // c was here
		}
		last = at
	}
}

// blocks appends to o the SACK blocks of what waits, the one that changed last
// first (RFC 2018, 4), until limit are there.
func (r *reassembly) blocks(o *wire.Options, limit int, seq func(uint64) wire.Seq) {
	var told [4]int
	n := 0
	put := func(i int) {
		if int(o.NSACK) >= limit || slices.Contains(told[:n], i) {
			return
		}
		c := &r.ranges[i]
		o.Set |= wire.HasSACK
		o.SACK[o.NSACK] = wire.Block{Left: seq(c.off), Right: seq(c.end)}
		o.NSACK++
		told[n] = i
		n++
	}
	for _, at := range r.recent {
		i := sort.Search(len(r.ranges), func(i int) bool { return r.ranges[i].end > at })
		if i < len(r.ranges) && r.ranges[i].off <= at {
			put(i)
		}
	}
	// Ranges that have joined, or left, make room for others.
	for i := 0; i < len(r.ranges) && i < len(told); i++ {
		put(i)
	}
}
