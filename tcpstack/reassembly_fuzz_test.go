package tcpstack

import (
	"testing"

	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// bitmap is the model of reassembly: which bytes are there.
type bitmap [8192]bool

// runs gives the contiguous ranges.
func (m *bitmap) runs() (all []chunk) {
	for i := 0; i < len(m); i++ {
		if !m[i] {
			continue
		}
		from := i
		for i < len(m) && m[i] {
			i++
		}
		all = append(all, chunk{off: uint64(from), end: uint64(i)})
	}
	return all
}

// FuzzReassembly holds reassembly against a bitmap.
func FuzzReassembly(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Add([]byte("\x05\x05\x05\x00\x00\x10\x00\x40\x01\x00\x07\x00\x01"))
	var slabs slabs
	f.Fuzz(func(t *testing.T, ops []byte) {
		r, pool := &script{ops}, slabs.next()
		var m bitmap
		var re reassembly
		var newest chunk // what changed last; empty: not known
		room := make([]byte, 4096)
		insert := func(off, n int) {
			n = min(n, len(m)-off)
			if n <= 0 {
				return
			}
			want := 0
			var had extent // the first range that was there
			for i := off; i < off+n; i++ {
				switch {
				case !m[i]:
					want++
				case had.end == 0:
					had = extent{uint64(i), uint64(i + 1)}
				case had.end == uint64(i):
					had.end++
				}
			}
			fresh, twice, refused := re.insert(1, uint64(off), pool.Copy(streamBytes(room[:n], uint64(off))))
			if refused {
				if fresh != 0 || len(re.ranges) < maxHoles && re.count < freePieces {
					t.Fatalf("refused with %d ranges and %d pieces, %d bytes kept", len(re.ranges), re.count, fresh)
				}
				return
			}
			if fresh != want || twice != had {
				t.Fatalf("[%d, +%d): %d new bytes and %+v twice, want %d and %+v", off, n, fresh, twice, want, had)
			}
			for i := range n {
				m[off+i] = true
			}
			newest = chunk{off: uint64(off), end: uint64(off + n)}
		}
		for steps := 0; r.more() && steps < 1000; steps++ {
			switch op := r.u8(); op % 8 {
			case 0, 1, 2:
				insert(r.u16()%len(m), r.u16()%len(room))
			case 3, 4:
				insert(r.u16()%len(m), 1+int(op)%100)
			case 5: // crumbs
				at, step := r.u16()%len(m), 2+int(r.u8()%16)
				for range op {
					insert(at, 1)
					at = (at + step) % len(m)
				}
			case 6: // what is in order leaves
				next := uint64(r.u16() % len(m))
				for {
					off, ref, ok := re.pop(mono.Time(steps), next)
					if !ok {
						break
					}
					next = max(next, take(t, &m, off, ref))
				}
				newest = chunk{}
			case 7:
				if off, ref, ok := re.first(1); ok {
					take(t, &m, off, ref)
				}
				newest = chunk{}
			}
			agree(t, &re, &m, newest)
		}
		for {
			off, ref, ok := re.first(1)
			if !ok {
				break
			}
			take(t, &m, off, ref)
		}
		if m != (bitmap{}) || re.bytes != 0 || pool.InUse() != 0 {
			t.Fatalf("%d bytes stay, %d bytes of buffers leak", re.bytes, pool.InUse())
		}
	})
}

// take checks and removes a span that left, and gives its end.
func take(t *testing.T, m *bitmap, off uint64, ref buf.Ref) uint64 {
	if at, wrong := wrongByte(ref.Bytes(), off); wrong {
		t.Fatalf("wrong byte at %d", at)
	}
	for i := range ref.Len() {
		if !m[off+uint64(i)] {
			t.Fatalf("byte %d leaves twice, or never came", off+uint64(i))
		}
		m[off+uint64(i)] = false
	}
	ref.Release()
	return off + uint64(ref.Len())
}

// agree compares the ranges, and the SACK blocks made of them, with the model.
func agree(t *testing.T, re *reassembly, m *bitmap, newest chunk) {
	runs, total := m.runs(), 0
	if len(runs) != len(re.ranges) {
		t.Fatalf("%d ranges, want %d", len(re.ranges), len(runs))
	}
	for i, c := range runs {
		if re.ranges[i].off != c.off || re.ranges[i].end != c.end {
			t.Fatalf("range %d is [%d, %d), want [%d, %d)", i, re.ranges[i].off, re.ranges[i].end, c.off, c.end)
		}
		total += int(c.end - c.off)
	}
	if re.bytes != total || re.empty() != (total == 0) {
		t.Fatalf("%d bytes, want %d", re.bytes, total)
	}
	var o wire.Options
	re.blocks(&o, 4, func(off uint64) wire.Seq { return wire.SeqOf(uint32(off)) })
	if int(o.NSACK) != min(4, len(runs)) {
		t.Fatalf("%d blocks of %d ranges", o.NSACK, len(runs))
	}
	// RFC 2018, 4: the first block is the one that the newest segment is in.
	if first := o.SACK[0]; newest.end > 0 && (uint64(first.Left.Uint32()) > newest.off || uint64(first.Right.Uint32()) < newest.end) {
		t.Fatalf("the first block is [%v, %v), the newest segment [%d, %d)", first.Left, first.Right, newest.off, newest.end)
	}
}
