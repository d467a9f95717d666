package terminator

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

// TestFlowTable adds, finds and removes at random and compares with a map.
func TestFlowTable(t *testing.T) {
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-seed=%d", n)
	r := rand.New(rand.NewPCG(n, 0))
	var table flows
	table.init()
	want := map[wire.Tuple]*flow{}
	serials := map[uint64]bool{}
	for i := range 50_000 {
		name := web4
		name.SrcPort = uint16(r.IntN(1000))
		f := table.find(name)
		if f != want[name] {
			t.Fatalf("found %p, want %p", f, want[name])
		}
		switch {
		case f == nil:
			f = table.add(name, mono.Time(i+1))
			if f.client != name || f.heard != mono.Time(i+1) || serials[f.serial] || f.active || f.queued {
				t.Fatalf("new flow %+v", f)
			}
			serials[f.serial] = true
			want[name] = f
			f.active = true // to see that remove clears it
		case r.IntN(2) == 0:
			table.remove(f)
			delete(want, name)
		}
	}
	seen := 0
	table.all(func(f *flow) {
		seen++
		if want[f.client] != f {
			t.Fatalf("%v is not in the table", f.client)
		}
	})
	inParts := 0
	for i := 0; table.part(i, i+1, func(*flow) { inParts++ }); i++ {
	}
	if seen != len(want) || inParts != seen || table.len() != len(want) || len(table.places) > 4 {
		t.Errorf("%d flows, %d counted, %d wanted, in %d chunks", seen, table.len(), len(want), len(table.places))
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
