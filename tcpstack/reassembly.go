package tcpstack

import (
	"sort"

	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// maxHoles bounds the separate ranges a peer can make us keep: the cost of an
// out-of-order segment must not grow with what came before (CVE-2018-5390).
const maxHoles = 1024

// minPiece is what the pieces behind holes have to be on average, in bytes, when
// there are many: each costs memory and time beside its bytes.
const minPiece = 256

// reassembly holds what arrived behind a hole.
type reassembly struct {
	spans  []span  // by offset, disjoint
	room   []span  // where spans begin anew once it is empty
	ranges []chunk // the spans, touching ones joined
	stamp  uint32
	bytes  int
	since  mono.Time // when the oldest hole opened
}

// chunk is one contiguous range and when it changed last.
type chunk struct {
	off, end uint64
	stamp    uint32
}

// extent is a contiguous range of offsets; the zero extent is empty.
type extent struct{ off, end uint64 }

// add makes x the first range of those added in order, with what touches its end.
func (x *extent) add(off, end uint64) {
	switch {
	case x.end == x.off:
		x.off, x.end = off, end
	case off <= x.end:
		x.end = max(x.end, end)
	}
}

func (r *reassembly) empty() bool { return len(r.spans) == 0 }

func (r *reassembly) reset() {
	for i := range r.spans {
		r.spans[i].ref.Release()
	}
	*r = reassembly{spans: r.room[:0], room: r.room, ranges: r.ranges[:0]}
}

// insert takes ref, the bytes from off on, and keeps what it does not have. It
// reports the number of new bytes and the first contiguous range that was there
// already; refused says that there are too many holes or crumbs.
func (r *reassembly) insert(now mono.Time, off uint64, ref buf.Ref) (fresh int, twice extent, refused bool) {
	end := off + uint64(ref.Len())
	k := sort.Search(len(r.ranges), func(i int) bool { return r.ranges[i].end >= off })
	if len(r.ranges) >= maxHoles && (k == len(r.ranges) || end < r.ranges[k].off) ||
		len(r.spans) >= maxHoles && r.bytes < minPiece*len(r.spans) {
		ref.Release()
		return 0, extent{}, true
	}
	if r.empty() {
		r.since = now
	}
	i := sort.Search(len(r.spans), func(i int) bool { return r.spans[i].off+uint64(r.spans[i].ref.Len()) > off })
	for at := off; at < end; i++ {
		stop := end
		if i < len(r.spans) {
			stop = min(stop, r.spans[i].off)
		}
		if at < stop {
			piece := ref.Slice(int(at-off), int(stop-off)).Retain()
			if r.spans = append(r.spans, span{}); cap(r.spans) > cap(r.room) {
				r.room = r.spans
			}
			copy(r.spans[i+1:], r.spans[i:])
			r.spans[i] = span{at, piece}
			fresh += piece.Len()
			at = stop
			continue
		}
		to := r.spans[i].off + uint64(r.spans[i].ref.Len())
		twice.add(at, min(to, end))
		at = to
	}
	ref.Release()
	r.bytes += fresh
	r.join(k, off, end)
	return fresh, twice, false
}

// join puts [off, end) into the ranges; k is the first that could touch it.
func (r *reassembly) join(k int, off, end uint64) {
	r.stamp++
	j := k
	for j < len(r.ranges) && r.ranges[j].off <= end {
		off, end = min(off, r.ranges[j].off), max(end, r.ranges[j].end)
		j++
	}
	if j == k {
		r.ranges = append(r.ranges, chunk{})
		copy(r.ranges[k+1:], r.ranges[k:])
	} else {
		r.ranges = append(r.ranges[:k+1], r.ranges[j:]...)
	}
	r.ranges[k] = chunk{off, end, r.stamp}
}

// pop gives the first span if it starts at or before next, and moves on.
func (r *reassembly) pop(now mono.Time, next uint64) (off uint64, ref buf.Ref, ok bool) {
	if r.empty() || r.spans[0].off > next {
		return 0, buf.Ref{}, false
	}
	return r.first(now)
}

// first removes the first span.
func (r *reassembly) first(now mono.Time) (off uint64, ref buf.Ref, ok bool) {
	if r.empty() {
		return 0, buf.Ref{}, false
	}
	off, ref = r.spans[0].off, r.spans[0].ref
	r.spans[0] = span{}
	if r.spans = r.spans[1:]; len(r.spans) == 0 {
		r.spans = r.room[:0]
	}
	r.bytes -= ref.Len()
	if c := &r.ranges[0]; off+uint64(ref.Len()) >= c.end {
		r.ranges = r.ranges[:copy(r.ranges, r.ranges[1:])]
		r.since = now
	} else {
		c.off = off + uint64(ref.Len())
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

// blocks appends to o the SACK blocks of what waits, the one that changed last
// first (RFC 2018, 4), until limit are there.
func (r *reassembly) blocks(o *wire.Options, limit int, seq func(uint64) wire.Seq) {
	below := r.stamp + 1
	for int(o.NSACK) < limit {
		var best *chunk
		for i := range r.ranges {
			if c := &r.ranges[i]; c.stamp < below && (best == nil || c.stamp > best.stamp) {
				best = c
			}
		}
		if best == nil {
			return
		}
		below = best.stamp
		o.Set |= wire.HasSACK
		o.SACK[o.NSACK] = wire.Block{Left: seq(best.off), Right: seq(best.end)}
		o.NSACK++
	}
}
