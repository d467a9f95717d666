package terminator

import (
	"runtime"
	"testing"

	"accd/tcpstack/buf"
)

// What bulk needs does not grow the collector's heap, goes back to the system when it
// is not needed, and ends with the shard.
func TestSlabs(t *testing.T) {
	var m slabs
	p := buf.Pool{Memory: &m}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var refs []buf.Ref
	for range 100 {
		refs = append(refs, p.Copy(make([]byte, 100)).Slice(0, 100))
		p.Room(buf.SlabSize)
	}
	runtime.ReadMemStats(&after)
	if n := len(m.mapped); n < 100 {
		t.Errorf("%d slabs for 100 that are in use", n)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 8<<20 {
		t.Errorf("the collector's heap has grown by %d bytes", grown)
	}
	for _, r := range refs {
		if len(r.Bytes()) != 100 {
			t.Fatal("a slab is gone")
		}
		r.Release()
	}
	for range 20 {
		p.Trim()
	}
	if n := len(m.mapped); n > 2 {
		t.Errorf("%d slabs are kept for nothing", n)
	}
	if m.free(); len(m.mapped) != 0 {
		t.Errorf("%d slabs outlive the shard", len(m.mapped))
	}
}

// What the heap had to give, since the system did not, is left to the collector.
func TestSlabOfTheHeap(t *testing.T) {
	var m slabs
	b := make([]byte, buf.SlabSize)
	m.Give(b)
	b[0] = 1 // it would be a fault if it had been unmapped
}
