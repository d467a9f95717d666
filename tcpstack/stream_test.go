package tcpstack

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"accd/tcpstack/buf"
)

// Pack changes no byte and no offset, and gives back the slabs that small pieces
// kept.
func TestPack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		var p buf.Pool
		var s Stream
		var want []byte
		base := uint64(0)
		same := func(what string) {
			t.Helper()
			if s.Base() != base || s.Len() != len(want) {
				t.Fatalf("%s: [%d, +%d), want [%d, +%d)", what, s.Base(), s.Len(), base, len(want))
			}
			from := r.IntN(len(want) + 1)
			got := bytes.Join(s.Gather(nil, base+uint64(from), len(want)-from), nil)
			if !bytes.Equal(got, want[from:]) {
				t.Fatalf("%s: bytes from %d on have changed", what, from)
			}
		}
		for range 20 {
			for range r.IntN(200) {
				n := 1 + r.IntN(100)
				if r.IntN(10) == 0 {
					n += r.IntN(60000)
				}
				b := make([]byte, n)
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				s.Append(p.Copy(b))
				want = append(want, b...)
			}
			same("appended")
			s.Pack(&p)
			same("packed")
			n := r.IntN(len(want) + 1)
			s.Discard(base + uint64(n))
			base, want = base+uint64(n), want[n:]
			same("discarded")
		}
		s.Reset()
		if p.InUse() != 0 {
			t.Fatalf("%d bytes in use at the end", p.InUse())
		}
	}

	var p buf.Pool
	var s Stream
	for range 300 {
		s.Append(p.Copy([]byte("x")))
		p.Copy(make([]byte, 200<<10)).Release() // what others sent and got acknowledged
	}
	before := p.InUse()
	s.Pack(&p)
	if n := p.InUse(); n != buf.SlabSize || before < 100*buf.SlabSize {
		t.Errorf("300 bytes keep %d bytes, and before %d; want one slab, and before many", n, before)
	}
}
