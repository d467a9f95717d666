package tcpstack

import (
	"bytes"
	"testing"

	"accd/tcpstack/buf"
	"accd/tcpstack/wire"
)

// Whatever comes in whatever order, reassembly gives back every byte once, in
// order, and knows its ranges.
func TestReassembly(t *testing.T) {
	r := random(t)
	for range 30 {
		var pool buf.Pool
		var a reassembly
		data := make([]byte, 1+r.IntN(300_000))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		have := make([]bool, len(data))
		next, got := 0, []byte(nil)
		for next < len(data) {
			off := next + r.IntN(min(len(data)-next, 60_000))
			n := 1 + r.IntN(min(len(data)-off, []int{3, 2000, 40_000}[r.IntN(3)]))
			if r.IntN(5) == 0 {
				off = next
			}
			if off == next { // in order: the Stream takes it
				for i := range min(n, len(data)-off) {
					have[off+i] = true
				}
				got = append(got, data[off:min(off+n, len(data))]...)
				next = min(off+n, len(data))
			} else {
				fresh, _, refused := a.insert(1, uint64(off)+1, pool.Copy(data[off:off+n]))
				want := 0
				for i := off; i < off+n; i++ {
					if !have[i] {
						want++
					}
					have[i] = have[i] || !refused
				}
				if !refused && fresh != want {
					t.Fatalf("[%d, +%d): %d new bytes, want %d", off, n, fresh, want)
				}
			}
			for {
				at, ref, ok := a.pop(1, uint64(next)+1)
				if !ok {
					break
				}
				at--
				if !bytes.Equal(ref.Bytes(), data[at:int(at)+ref.Len()]) {
					t.Fatalf("wrong bytes at %d", at)
				}
				if old := next - int(at); old < ref.Len() {
					got = append(got, ref.Bytes()[old:]...)
					next += ref.Len() - old
				}
				ref.Release()
			}
			waiting := 0
			for i, h := range have {
				if h && i >= next {
					waiting++
				}
			}
			if a.bytes < waiting {
				t.Fatalf("%d bytes wait, want at least %d", a.bytes, waiting)
			}
			var o wire.Options
			a.blocks(&o, 4, func(n uint64) wire.Seq { return wire.SeqOf(uint32(n)) })
			for _, b := range o.Blocks() {
				for i := b.Left.Uint32(); i < b.Right.Uint32(); i++ {
					if !have[i-1] {
						t.Fatalf("SACK of byte %d, which did not come", i-1)
					}
				}
			}
			if want := min(4, len(a.ranges)); int(o.NSACK) != want {
				t.Fatalf("%d blocks for %d ranges", o.NSACK, len(a.ranges))
			}
		}
		if !bytes.Equal(got, data) {
			t.Fatal("the bytes changed")
		}
		a.reset()
		if n := pool.InUse(); n != 0 {
			t.Fatalf("%d bytes leak", n)
		}
	}
}

// What waits behind holes does not keep the slabs it came in.
func TestReassemblyKeepsNoSlabs(t *testing.T) {
	var pool buf.Pool
	var a reassembly
	for i := range 500 {
		a.insert(1, uint64(1+3000*i), pool.Copy(make([]byte, 1448)))
		pool.Copy(make([]byte, 200<<10)).Release() // what others sent, and has left
	}
	if n := pool.InUse(); n > 500*1448+2*buf.SlabSize {
		t.Errorf("%d bytes wait and keep %d", a.bytes, n)
	}
	a.reset()
}

// RFC 2018, 4: neighbours that came one by one are one piece, and one block.
func TestReassemblyJoins(t *testing.T) {
	var pool buf.Pool
	var a reassembly
	for i := range 100 {
		a.insert(1, uint64(10+i), pool.Copy([]byte{byte(i)}))
	}
	if a.count != 1 || len(a.ranges) != 1 {
		t.Errorf("%d pieces in %d ranges, want one", a.count, len(a.ranges))
	}
	_, ref, _ := a.pop(1, 10)
	for i, b := range ref.Bytes() {
		if int(b) != i {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
	ref.Release()
	a.reset()
}
