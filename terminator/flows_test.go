package terminator

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"accd/splice"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

// TestFlowTable adds, finds and removes at random and compares with a map; then all
// go. Whoever attends to a place follows it when it moves.
func TestFlowTable(t *testing.T) {
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-seed=%d", n)
	r := rand.New(rand.NewPCG(n, 0))
	var table flows
	if err := table.reserve(660, n); err != nil {
		t.Fatal(err)
	}
	defer table.free()
	type known struct {
		serial uint64
		flow   *flow
	}
	want := map[wire.Tuple]known{}
	serials := map[uint64]bool{}
	check := func(name wire.Tuple) (at uint32, ok bool) {
		at, ok = table.find(&name)
		k, is := want[name]
		if ok != is {
			t.Fatalf("%v is found: %v, want %v", name, ok, is)
		}
		if !ok {
			return at, false
		}
		if p := table.at(at); p.serial != k.serial || p.Tuple != name || (p.flow != 0) != (k.flow != nil) {
			t.Fatalf("found %+v, want serial %d", p, k.serial)
		}
		if f := k.flow; f != nil && (f.at != at || f.Record() != &table.at(at).Record) {
			t.Fatalf("%v is at %d, who attends to it believes %d", name, at, f.at)
		}
		return at, true
	}
	full := 0
	for i := range 50_000 {
		name := web4
		name.SrcPort = uint16(r.IntN(1000))
		at, ok := check(name)
		switch {
		case ok && r.IntN(2) == 0:
			if f := want[name].flow; f != nil {
				table.release(f)
			}
			table.remove(at)
			delete(want, name)
		case ok:
		case !table.room():
			if full++; table.len() != 660 {
				t.Fatalf("no room beside %d", table.len())
			}
		default:
			at := table.add(&splice.Record{Tuple: name}, mono.Time(i+1))
			p := table.at(at)
			if p.heard != mono.Time(i+1) || serials[p.serial] || p.flow != 0 || p.gaps != 0 {
				t.Fatalf("new place %+v", p)
			}
			serials[p.serial] = true
			k := known{serial: p.serial}
			if r.IntN(4) == 0 {
				k.flow = table.take(at)
				k.flow.Attend(&p.Record, nil, nil)
			}
			want[name] = k
		}
		if table.len() != len(want) {
			t.Fatalf("%d places, want %d", table.len(), len(want))
		}
	}
	attended := 0
	table.each(func(f *flow) { attended++ })
	for name, k := range want {
		if at, _ := check(name); k.flow != nil {
			table.release(k.flow)
			table.remove(at)
			attended--
		} else {
			table.remove(at)
		}
		delete(want, name)
	}
	if attended != 0 || table.len() != 0 || table.buckets.n != 1 || full == 0 {
		t.Errorf("%d attended to, %d places, %d buckets are left; %d times full", attended, table.len(), table.buckets.n, full)
	}
}

// What a packet that passes needs of a place lies in its first three cache lines.
func TestPlaceIsCompact(t *testing.T) {
	var p place
	if n := unsafe.Sizeof(p); n != 5*64 {
		t.Errorf("a place has %d bytes", n)
	}
	if n := unsafe.Offsetof(p.Record) + unsafe.Offsetof(p.Record.Path); n > 3*64 {
		t.Errorf("the hot part of a place has %d bytes", n)
	}
}

// Memory is taken and given back by steps, and what comes again is zero.
func TestArrayGivesBack(t *testing.T) {
	var a array[[4096]byte]
	if err := a.reserve(4096); err != nil {
		t.Fatal(err)
	}
	defer a.free()
	const perBlock = arrayBlock / 4096
	for round := range 2 {
		for i := range 4096 {
			if !a.room(1) {
				t.Fatal("no room")
			}
			v := a.at(a.push())
			if v[17] != 0 {
				t.Fatalf("round %d: value %d is %d", round, i, v[17])
			}
			v[17] = 1
			if used := a.n * 4096; used <= arraySmall/2 && a.open > used+2*arrayPiece {
				t.Fatalf("round %d: a small array has %d bytes for %d", round, a.open, used)
			}
		}
		if a.room(1) {
			t.Error("room for more than reserved")
		}
		for range 4096 - perBlock/4 {
			a.pop()
		}
		if a.open > perBlock/4*4096+3*arrayPiece {
			t.Errorf("round %d: %d bytes are kept for %d", round, a.open, a.n*4096)
		}
		for a.n > 0 {
			a.pop()
		}
	}
}

// Tuples that differ little fall into buckets as evenly as chance has it.
func TestHashSpreads(t *testing.T) {
	const buckets, n = 1 << 12, 1 << 16
	for name, nth := range map[string]func(int) wire.Tuple{
		"ports":   func(i int) wire.Tuple { k := web4; k.SrcPort = uint16(i); return k },
		"clients": func(i int) wire.Tuple { k := web4; k.Src[14], k.Src[15] = byte(i>>8), byte(i); return k },
		"servers": func(i int) wire.Tuple { k := web6; k.Dst[7], k.Dst[15] = byte(i>>8), byte(i); return k },
	} {
		var count [buckets]int
		for i := range n {
			k := nth(i)
			count[hash(&k, 12345)%buckets]++
		}
		sum := 0.0
		for _, c := range count {
			sum += float64((c - n/buckets) * (c - n/buckets))
		}
		// Chi-squared: as many as there are buckets, give or take 90.
		if x := sum / (n / buckets); x > buckets+600 || x < buckets-600 {
			t.Errorf("%s: %.0f, want about %d", name, x, buckets)
		}
	}
}

func TestListKeepsOrder(t *testing.T) {
	var l list
	f := make([]flow, 5)
	for round := range 3 {
		for i := range f {
			l.push(&f[i])
		}
		for i := range f {
			if got := l.pop(); got != &f[i] || got.queued || got.next != nil {
				t.Fatalf("round %d: place %d gives another", round, i)
			}
		}
		if l.pop() != nil {
			t.Fatal("an empty list gives something")
		}
	}
}

func TestBucket(t *testing.T) {
	b := bucket{rate: 10}
	now, taken := mono.Time(time.Hour), 0
	for range 3000 { // three seconds
		if b.take(now) {
			taken++
		}
		now = now.Add(time.Millisecond)
	}
	if taken < 39 || taken > 41 { // a burst of one second and three seconds
		t.Errorf("%d in three seconds at 10 per second", taken)
	}
	if none := (bucket{}); !none.take(now) {
		t.Error("no limit limits")
	}
}

func TestOpeningsCountPerClient(t *testing.T) {
	o := openings{limit: 3, seed: 1}
	now := mono.Time(time.Hour)
	a, b := web4.Src, web6.Src
	for i := range 5 {
		if got := o.begin(a, now); got != (i < 3) {
			t.Errorf("handshake %d: %v", i+1, got)
		}
	}
	if !o.begin(b, now) {
		t.Error("another client is limited too")
	}
	o.done(a, now)
	if !o.begin(a, now) || o.begin(a, now) {
		t.Error("one completed makes room for one")
	}
	if now = now.Add(2*openingTime + 1); !o.begin(a, now) {
		t.Error("old handshakes count for ever")
	}
}

func TestOwners(t *testing.T) {
	var o owners
	o.init(1000, 7)
	o.set(web4, 3)
	place, held := o.at(&web4, 3)
	if got := place.Load(); got != held || got&shardMask != 4 {
		t.Errorf("owner %x, want %x", got, held)
	}
	o.clear(web4, 2) // somebody else's
	if place.Load() != held {
		t.Error("cleared by a shard that does not own it")
	}
	o.clear(web4, 3)
	if place.Load() != 0 {
		t.Error("not cleared")
	}
}
