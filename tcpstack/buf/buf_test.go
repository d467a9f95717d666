package buf

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"testing"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

func wantPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	f()
}

func TestZeroRef(t *testing.T) {
	var r Ref
	r.Release()
	if r.Retain().Len() != 0 || r.Bytes() != nil || r.Slice(0, 0).Len() != 0 {
		t.Error("the zero Ref refers to something")
	}
}

func TestRoomIsReusedUntilKept(t *testing.T) {
	var p Pool
	a := p.Room(100)
	if b := p.Room(100); &a[0] != &b[0] || p.InUse() != 0 {
		t.Error("room that nobody kept was not given again")
	}
	r := p.Keep(10, 60)
	q := p.Keep(60, 61)
	if b := p.Room(100); &a[0] == &b[0] || p.InUse() != SlabSize {
		t.Errorf("room that was kept was given again; %d in use", p.InUse())
	}
	if &r.Bytes()[0] != &a[10] || r.Len() != 50 || q.Len() != 1 {
		t.Error("Keep refers to something else")
	}
	if s := r.Slice(5, 7); &s.Bytes()[0] != &a[15] || s.Len() != 2 || cap(s.Bytes()) != 2 {
		t.Error("Slice refers to something else")
	}
	wantPanic(t, "Slice past the end", func() { r.Slice(0, 51) })
	r.Release()
	if p.InUse() != SlabSize {
		t.Error("a slab with a reference is not in use")
	}
	q.Release()
	if b := p.Room(1); &b[0] != &a[0] || p.InUse() != 0 {
		t.Error("an unreferenced slab is not filled from its start")
	}
}

func TestReleasedTwice(t *testing.T) {
	var p Pool
	r := p.Copy([]byte("x"))
	r.Release()
	wantPanic(t, "a second Release", r.Release)
}

func TestBudget(t *testing.T) {
	p := Pool{Budget: 2 * SlabSize}
	var refs []Ref
	for !p.Full() {
		if len(refs) > 1000 {
			t.Fatal("never full")
		}
		refs = append(refs, p.Copy(make([]byte, 64<<10)))
	}
	if p.InUse() != 2*SlabSize {
		t.Errorf("%d bytes in use", p.InUse())
	}
	p.Copy([]byte("a full pool still gives room")).Release()
	for _, r := range refs {
		r.Release()
	}
	if p.Full() || p.InUse() != 0 {
		t.Errorf("%d bytes in use after all was released", p.InUse())
	}
}

// What is lent is not written over before the loan is over, referred to or not.
func TestLent(t *testing.T) {
	var p Pool
	a := p.Copy([]byte("lent"))
	b := a.Bytes()
	packed := p.Pack([][]byte{[]byte("packed")})
	c := packed.Bytes()
	first := p.Lend()
	a.Release()
	packed.Release()
	p.Copy([]byte("later")).Release()
	second := p.Lend()
	for range 10 {
		copy(p.Room(SlabSize), make([]byte, SlabSize))
		p.Pack([][]byte{make([]byte, SlabSize)}).Release()
	}
	if string(b) != "lent" || string(c) != "packed" {
		t.Fatalf("what is lent became %q and %q", b, c)
	}
	if n := p.Over(second, first-1); n != first-1 {
		t.Errorf("Over gives %d, want %d", n, first-1)
	}
	if p.Room(SlabSize); string(b) != "lent" || len(p.rest) == 0 {
		t.Fatal("what is lent was used again")
	}
	if p.Over(second); len(p.rest) != 0 || p.InUse() != 0 {
		t.Errorf("%d slabs still rest, %d bytes are in use", len(p.rest), p.InUse())
	}
}

// TestRandomOrder keeps, retains, slices and releases at random and checks that
// no byte changes while it is referred to, and that slabs come back.
func TestRandomOrder(t *testing.T) {
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-seed=%d", n)
	r := rand.New(rand.NewPCG(n, 0))
	type held struct {
		ref  Ref
		want []byte
	}
	var p Pool
	var all []held
	drop := func(i int) {
		if !bytes.Equal(all[i].ref.Bytes(), all[i].want) {
			t.Fatal("bytes changed while referred to")
		}
		all[i].ref.Release()
		all[i] = all[len(all)-1]
		all = all[:len(all)-1]
	}
	for range 20000 {
		switch r.IntN(4) {
		case 0, 1:
			room := p.Room(1 + r.IntN(66000))
			for i := 0; i < len(room); i += 1 + r.IntN(200) {
				room[i] = byte(r.Uint32())
			}
			if r.IntN(2) == 0 {
				from := r.IntN(len(room))
				to := from + r.IntN(min(len(room)-from, 500)+1)
				ref := p.Keep(from, to)
				all = append(all, held{ref, bytes.Clone(room[from:to])})
			}
		case 2:
			if len(all) > 0 {
				h := all[r.IntN(len(all))]
				from := r.IntN(h.ref.Len() + 1)
				to := from + r.IntN(h.ref.Len()-from+1)
				all = append(all, held{h.ref.Retain().Slice(from, to), h.want[from:to]})
			}
		case 3:
			if len(all) > 0 {
				drop(r.IntN(len(all)))
			}
		}
		for len(all) > 200 {
			drop(r.IntN(len(all)))
		}
	}
	for len(all) > 0 {
		drop(0)
	}
	if p.InUse() != 0 {
		t.Errorf("%d bytes in use at the end", p.InUse())
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	var p Pool
	var ring [64]Ref
	i := 0
	step := func() {
		ring[i].Release()
		p.Room(66000)
		ring[i] = p.Keep(0, 60000)
		i = (i + 1) % len(ring)
	}
	for range 200 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Slabs that were not needed between two trims are given up by halves.
func TestTrim(t *testing.T) {
	var p Pool
	fill := func(n int) (refs []Ref) {
		for range n {
			refs = append(refs, p.Copy(make([]byte, SlabSize)))
		}
		return refs
	}
	use := func(n int) {
		for _, r := range fill(n) {
			r.Release()
		}
	}
	use(100)
	if p.Trim(); len(p.free) < 99 {
		t.Fatalf("%d are left of what has just been needed", len(p.free))
	}
	for range 20 {
		use(10)
		p.Trim()
	}
	if n := len(p.free); n < 9 || n > 11 {
		t.Errorf("%d are left where ten are needed", n)
	}
}
