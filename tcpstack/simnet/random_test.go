package simnet

import (
	"flag"
	"os"
	"testing"
)

var (
	seeds = flag.Int("seeds", 0, "how many random networks a test runs; 0: its own choice")
	seed  = flag.Uint64("seed", 0, "run this network alone, with -v and a packet trace; 0: all")
)

// each runs do for every seed the flags ask for, n of them by default, and
// reports the seeds that fail.
func each(t *testing.T, n int, do func(s *Sim, seed uint64) error) {
	t.Helper()
	first, last := uint64(1), uint64(n)
	if *seeds > 0 {
		last = uint64(*seeds)
	}
	if *seed > 0 {
		first, last = *seed, *seed
	}
	failed := 0
	for i := first; i <= last && failed < 10; i++ {
		s := New(i)
		if *seed > 0 && testing.Verbose() {
			s.Trace = os.Stdout
		}
		if err := do(s, i); err != nil {
			failed++
			t.Errorf("seed %d: %v\n\treplay: go test ./tcpstack/simnet -run '^%s$' -seed=%d -v", i, err, t.Name(), i)
		}
	}
}

// TestRandomPairs is TCP without accd over random paths: every connection ends
// by itself, every byte arrives as it was written.
func TestRandomPairs(t *testing.T) {
	each(t, 500, func(s *Sim, seed uint64) error { return RunPair(s, Random(seed)) })
}

// TestRandom is accd in the middle of random networks, with both legs impaired,
// crashes, gaps and drains: no connection hangs, no byte changes, and the
// invariants of custody hold after every event.
func TestRandom(t *testing.T) {
	var sum BoxCount
	each(t, 2000, func(s *Sim, seed uint64) error {
		n := NewNetwork(s, Random(seed))
		err := n.Run()
		sum.add(n.Box.Count)
		return err
	})
	t.Logf("accd: %+v", sum)
}
