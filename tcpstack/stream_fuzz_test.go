package tcpstack

import (
	"bytes"
	"testing"
)

// FuzzStream holds a Stream against a slice of bytes.
func FuzzStream(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	var slabs slabs
	f.Fuzz(func(t *testing.T, ops []byte) {
		r, pool := &script{ops}, slabs.next()
		var s Stream
		var base, end uint64
		room := make([]byte, 3000)
		for r.more() {
			switch op := r.u8(); op % 8 {
			case 0, 1, 2:
				n := r.u16() % len(room)
				if end-base+uint64(n) > 100_000 || s.Closed() {
					continue
				}
				s.Append(pool.Copy(streamBytes(room[:n], end)))
				end += uint64(n)
			case 3:
				pool.Copy(room).Release() // what others have
			case 4:
				base += uint64(r.u16()) % (end - base + 1)
				s.Discard(base)
			case 5:
				s.Discard(base - min(base, uint64(op))) // behind already: nothing
			case 6:
				s.Pack(pool)
			case 7:
				switch {
				case op < 200:
					from := base + uint64(r.u16())%(end-base+1)
					n := uint64(r.u16()) % (end - from + 1)
					got := bytes.Join(s.Gather(nil, from, int(n)), nil)
					if at, wrong := wrongByte(got, from); wrong || uint64(len(got)) != n {
						t.Fatalf("gathered %d of %d bytes, wrong at %d", len(got), n, at)
					}
				case op < 230 && !s.Closed():
					end += uint64(op) // delivered without passing through
					base = end
					s.Discard(base)
				default:
					s.Close()
				}
			}
			if s.Base() != base || s.End() != end || s.Len() != int(end-base) {
				t.Fatalf("the stream is [%d, %d), want [%d, %d)", s.Base(), s.End(), base, end)
			}
		}
		got := bytes.Join(s.Gather(nil, base, int(end-base)), nil)
		if at, wrong := wrongByte(got, base); wrong || uint64(len(got)) != end-base {
			t.Fatalf("%d of %d bytes at the end, wrong at %d", len(got), end-base, at)
		}
		if s.Reset(); pool.InUse() != 0 || s.Len() != 0 || s.Closed() {
			t.Fatalf("%d bytes of buffers leak", pool.InUse())
		}
	})
}
