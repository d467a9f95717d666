package simnet

import (
	"flag"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack/buf"
)

var (
	seeds = flag.Int("seeds", 0, "how many random networks a test runs; 0: its own choice")
	seed  = flag.Uint64("seed", 0, "run this network alone, with -v and a packet trace; 0: all")
	from  = flag.Uint64("from", 1, "with -seeds: the first of them")
	spend = flag.Duration("spend", 0, "run networks from a seed at random on for so long, each test its own, among those of -seeds if it is given; 0: from the first on")
)

// each runs do for every seed the flags ask for, n of them by default, and
// reports the seeds that fail.
func each(t *testing.T, n int, do func(s *Sim, seed uint64) error) {
	t.Helper()
	first, count, skip := uint64(1), uint64(n/patience), uint64(0)
	if *seeds > 0 {
		first, count = *from, uint64(*seeds)
	}
	if *spend > 0 {
		if *seeds == 0 {
			count = 1 << 40
		}
		skip = rand.Uint64N(count)
	}
	if *seed > 0 {
		first, count, skip = *seed, 1, 0
	}
	begin, done := time.Now(), uint64(0)
	if *spend > 0 {
		defer func() { t.Logf("%d seeds from %d on, in %v", done, first+skip, time.Since(begin).Round(time.Second)) }()
	}
	// Thousands of short networks are garbage soon: collecting it took half the time.
	defer debug.SetGCPercent(debug.SetGCPercent(1600))
	var spare []*buf.Pool
	failed := 0
	for ; done < count && failed < 10 && (*spend == 0 || time.Since(begin) < *spend); done++ {
		i := first + (skip+done)%count
		s := New(i)
		s.Spare = spare
		if *seed > 0 && testing.Verbose() {
			s.Trace = os.Stdout
		}
		if err := do(s, i); err != nil {
			failed++
			t.Errorf("seed %d: %v\n\treplay: go test ./tcpstack/simnet -run '^%s$' -seed=%d -v", i, err, t.Name(), i)
		}
		spare = s.Spare
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
	networks(t, 5000, Random)
}

// TestForged puts forged packets into random networks without other faults, so
// that every connection has to end as its scripts have it: none is killed,
// corrupted or left hanging.
func TestForged(t *testing.T) {
	networks(t, 1000, func(seed uint64) Config {
		c := Random(seed)
		d := dice{rand.New(rand.NewPCG(seed, 0xf0e))}
		c.Faults = nil
		c.Forged = d.attacks(12)
		return c
	})
}

// TestForgedDrain lets them come in drain and behind gaps, where accd knows least.
func TestForgedDrain(t *testing.T) {
	networks(t, 1000, func(seed uint64) Config {
		c := Random(seed)
		d := dice{rand.New(rand.NewPCG(seed, 0xf0e))}
		c.Faults = nil
		for range 3 {
			kinds := []FaultKind{Drain, Hang, Lapse, LapseOne, Recreate}
			c.Faults = append(c.Faults, Fault{
				Kind: kinds[d.IntN(len(kinds))], At: d.duration(20*time.Millisecond, 5*time.Second),
				For: d.duration(time.Millisecond, 4*time.Second), Side: splice.Side(d.IntN(2)),
			})
		}
		c.Forged = d.attacks(8)
		return c
	})
}

// TestFaultless holds accd to the most it can do: without faults no connection
// of any random network drains, and none is reset.
func TestFaultless(t *testing.T) {
	sum := networks(t, 1000, func(seed uint64) Config {
		c := Random(seed)
		c.Faults, c.Forged = nil, nil
		return c
	})
	if *seed == 0 && sum.TakenBytes < 4*sum.PassedBytes {
		t.Errorf("accd takes %d bytes and passes %d; most should be taken", sum.TakenBytes, sum.PassedBytes)
	}
	if patience == 1 && *seed == 0 && *seeds == 0 && *spend == 0 && (sum.Marks < 200 || sum.CWR < 100) { // few networks mark at all
		t.Errorf("%d CE marks, %d answers to echoes: they show nothing of ECN", sum.Marks, sum.CWR)
	}
}

// TestSplit terminates every connection, from the handshake on; accd is stopped and
// crashes as in TestRandom, and stands still. Packets that bypass it are another
// matter: the endpoints have nothing in common then.
func TestSplit(t *testing.T) {
	networks(t, 2000, func(seed uint64) Config {
		c := Random(seed)
		c.Box.Split, c.Forged = true, nil
		kept := c.Faults[:0]
		for _, f := range c.Faults {
			if f.Kind == Crash || f.Kind == Stop || f.Kind == Drain {
				kept = append(kept, f)
			}
		}
		c.Faults = kept
		return c
	})
}

// TestEarly answers clients before it asks the server, every other one by a SYN
// cookie.
func TestEarly(t *testing.T) {
	networks(t, 1000, func(seed uint64) Config {
		c := Random(seed)
		c.Box.Split, c.Box.Early, c.Forged, c.Faults = true, 1+int(seed%2), nil, nil
		for i := range c.Scripts {
			c.Scripts[i].Abort = false // before the server was asked it never ends
		}
		return c
	})
}

// networks runs random networks of a kind, and fails if accd did not do in any
// of them what they are for.
func networks(t *testing.T, n int, kind func(seed uint64) Config) BoxCount {
	t.Helper()
	var sum BoxCount
	each(t, n, func(s *Sim, seed uint64) error {
		net := NewNetwork(s, kind(seed))
		err := net.Run()
		sum.add(net.Box.Count)
		return err
	})
	t.Logf("accd: %+v", sum)
	if *seed == 0 && *seeds == 0 && *spend == 0 && sum.Custodies < n/patience/4 {
		t.Errorf("custody began %d times in %d networks: they show nothing", sum.Custodies, n)
	}
	return sum
}
