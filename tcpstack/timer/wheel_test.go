package timer

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"accd/tcpstack/mono"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

func rng(t *testing.T) *rand.Rand {
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-seed=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// TestWheelAgainstList arms, moves, disarms and advances at random and compares
// with a plain list: nothing early, nothing more than a tick late, nothing lost.
func TestWheelAgainstList(t *testing.T) {
	r := rng(t)
	const n = 300
	start := mono.Time(r.Int64N(1 << 62))
	now := start
	var w Wheel[int]
	w.Init(now)
	entries := make([]Entry[int], n)
	want := make([]mono.Time, n) // mono.Never: not armed
	for i := range entries {
		entries[i].Owner = i
		want[i] = mono.Never
	}
	span := func() time.Duration { // from nanoseconds to years
		return time.Duration(r.Int64N(1 << (1 + r.IntN(55))))
	}
	fire := func(i int) {
		if want[i] > now {
			t.Fatalf("entry %d fired %v early", i, want[i].Sub(now))
		}
		if _, ok := entries[i].Armed(); ok {
			t.Fatalf("entry %d is armed while it fires", i)
		}
		want[i] = mono.Never
		switch r.IntN(4) {
		case 0:
			want[i] = now.Add(span())
			w.Arm(&entries[i], want[i])
		case 1:
			j := r.IntN(n)
			want[j] = mono.Never
			w.Disarm(&entries[j])
		}
	}
	for range 200_000 {
		i := r.IntN(n)
		switch r.IntN(5) {
		case 0, 1:
			want[i] = now.Add(span() - time.Duration(r.IntN(1000)))
			w.Arm(&entries[i], want[i])
		case 2:
			want[i] = mono.Never
			w.Disarm(&entries[i])
		default:
			step := span()
			if r.IntN(2) == 0 {
				step %= time.Second
			}
			if next := w.Next(); next != mono.Never && r.IntN(2) == 0 {
				step = max(0, next.Sub(now))
			}
			now = now.Add(step)
			if now > mono.Never/2+mono.Never/4 { // keep clear of the end of time
				now = start
				w.Init(now)
				for i := range entries {
					entries[i] = Entry[int]{Owner: i}
					want[i] = mono.Never
				}
			}
			before := min(w.Next(), mono.Never)
			fired := false
			w.Advance(now, func(i int) { fired = true; fire(i) })
			if fired && now < before {
				t.Fatal("Advance fired something before Next")
			}
		}
		least := mono.Never
		for i := range entries {
			at, ok := entries[i].Armed()
			if ok != (want[i] != mono.Never) || ok && at != want[i] {
				t.Fatalf("entry %d: Armed gives %v %v, want %v", i, at, ok, want[i])
			}
			least = min(least, want[i])
		}
		if least <= now-mono.Time(Tick) && w.head[due] == nil {
			t.Fatalf("an entry is %v late", now.Sub(least))
		}
		next := w.Next()
		if least == mono.Never != (next == mono.Never) {
			t.Fatalf("Next is %v, the earliest entry %v", next, least)
		}
		if least != mono.Never && next > max(now, least)+mono.Time(Tick) {
			t.Fatalf("Next is late by %v", next.Sub(least))
		}
	}
}

// TestWheelJumpsFromNextToNext: following Next reaches every entry within a
// tick, in a number of steps that grows with the levels, not with the distance.
func TestWheelJumpsFromNextToNext(t *testing.T) {
	for _, d := range []time.Duration{1, time.Microsecond, Tick, Tick + 1, time.Second, time.Hour, 10 * 365 * 24 * time.Hour} {
		now := mono.Time(12345678901)
		var w Wheel[int]
		w.Init(now)
		var e Entry[int]
		w.Arm(&e, now.Add(d))
		fired, steps := mono.Time(0), 0
		for ; fired == 0; steps++ {
			at := w.Next()
			w.Advance(at, func(int) { fired = at })
		}
		if late := fired.Sub(now.Add(d)); late < 0 || late >= Tick {
			t.Errorf("%v: fired %v late", d, late)
		}
		if steps > levels {
			t.Errorf("%v: %d steps", d, steps)
		}
		if w.Next() != mono.Never {
			t.Errorf("%v: an empty wheel waits for %v", d, w.Next())
		}
	}
}

func TestWheelArmedInThePastWaitsForTheNextAdvance(t *testing.T) {
	var w Wheel[int]
	w.Init(1000)
	var e Entry[int]
	n := 0
	w.Arm(&e, 10)
	if w.Next() != 1000 {
		t.Errorf("Next is %v", w.Next())
	}
	w.Advance(1000, func(int) { n++; w.Arm(&e, 10) })
	if n != 1 {
		t.Fatalf("fired %d times", n)
	}
	w.Advance(1000, func(int) { n++ })
	if _, ok := e.Armed(); n != 2 || ok {
		t.Fatalf("fired %d times, armed %v", n, ok)
	}
	w.Arm(&e, mono.Never)
	w.Disarm(&e)
	if w.Next() != mono.Never {
		t.Error("Never armed something")
	}
}

func TestWheelAllocatesNothing(t *testing.T) {
	var w Wheel[int]
	w.Init(0)
	entries := make([]Entry[int], 100)
	now := mono.Time(0)
	fire := func(int) {}
	if n := testing.AllocsPerRun(100, func() {
		for i := range entries {
			w.Arm(&entries[i], now.Add(time.Duration(i)*time.Millisecond))
		}
		now = now.Add(50 * time.Millisecond)
		w.Advance(now, fire)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkWheel re-arms one of 100,000 entries and lets a little time pass.
func BenchmarkWheel(b *testing.B) {
	var w Wheel[int]
	w.Init(0)
	entries := make([]Entry[int], 100_000)
	now := mono.Time(0)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range entries {
		entries[i].Owner = i
		w.Arm(&entries[i], now.Add(time.Duration(r.Int64N(int64(time.Second)))))
	}
	fire := func(i int) { w.Arm(&entries[i], now.Add(200*time.Millisecond)) }
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(entries)
		w.Arm(&entries[i], now.Add(200*time.Millisecond))
		now = now.Add(time.Microsecond)
		w.Advance(now, fire)
	}
}
