package tcpstack

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one each time")

// random gives a source whose seed is printed.
func random(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// An order is a slice with other costs.
func TestOrder(t *testing.T) {
	r := random(t)
	var o order
	var want []int32
	for step := range 5_000 {
		switch k := r.IntN(8); {
		case k < 3: // a queue: push
			o.open(o.n, 1)[0] = int32(step)
			want = append(want, int32(step))
		case k < 5:
			i := r.IntN(o.n + 1)
			for k := range o.open(i, 1+r.IntN(spare)) {
				o.room[o.head+i+k] = int32(step + k)
				want = slices.Insert(want, i+k, int32(step+k))
			}
		case k < 6 && o.n > 0: // pop
			o.remove(0, 1)
			want = want[1:]
		default:
			i := r.IntN(o.n + 1)
			j := i + r.IntN(min(o.n-i, 5)+1)
			o.remove(i, j)
			want = slices.Delete(want, i, j)
		}
		if got := o.room[o.head : o.head+o.n]; !slices.Equal(got, want) {
			t.Fatalf("step %d: %v, want %v", step, got, want)
		}
	}
	for range 1000 {
		o.open(o.n, 1)
	}
	if n := testing.AllocsPerRun(10_000, func() { o.open(o.n, 1); o.remove(0, 1) }); n != 0 {
		t.Errorf("%v allocations for a push and a pop, want none", n)
	}
}
