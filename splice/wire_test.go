package splice

import (
	"reflect"
	"testing"
	"time"
	"unsafe"

	"accd/tcpstack/wire"
)

// TestRecordIsPlain: a record has no pointer and is small.
func TestRecordIsPlain(t *testing.T) {
	var plain func(reflect.Type) bool
	plain = func(t reflect.Type) bool {
		switch t.Kind() {
		case reflect.Struct:
			for i := range t.NumField() {
				if !plain(t.Field(i).Type) {
					return false
				}
			}
			return true
		case reflect.Array:
			return plain(t.Elem())
		}
		return t.Kind() <= reflect.Float64 && t.Kind() != reflect.Uintptr
	}
	if !plain(reflect.TypeFor[Record]()) {
		t.Error("a record holds pointers")
	}
	if n := unsafe.Sizeof(Record{}); n > 280 {
		t.Errorf("a record has %d bytes", n)
	}
}

// native brings a flow whose handshake is done into a state that keeps it on the
// wire: an urgent byte of the client is on its way.
func native(t *testing.T) *rig {
	r := establish(t)
	s := r.seg(Client, 0, 1, 0)
	s.Flags |= wire.URG
	r.pass(Client, s)
	return r
}

// TestWireFollows: next, acked, edges and TS.Recent follow what passes.
func TestWireFollows(t *testing.T) {
	r := native(t)
	r.pass(Client, r.seg(Client, 1, 99, 0))
	r.window[Server] = 1000
	ts := r.stamp[Server] + 1
	r.pass(Server, r.seg(Server, 0, 50, 40))
	c, s := &r.flow.Record().Dir[Client], &r.flow.Record().Dir[Server]
	first := r.isn[Client].Add(1)
	if c.Next.Sub(first) != 100 || c.Acked.Sub(first) != 40 || c.Own.Sub(first) != 40+1000<<4 || c.Edge.Sub(first) != 65535 {
		t.Errorf("client: next %d acked %d own %d edge %d", c.Next.Sub(first), c.Acked.Sub(first), c.Own.Sub(first), c.Edge.Sub(first))
	}
	if s.Next.Sub(s.Acked) != 50 || s.TSRecent != ts || s.MaxWnd != 65535 {
		t.Errorf("server: %+v", s)
	}
	r.done()
}

// TestWireBelieves: what an endpoint would not believe passes and changes
// nothing: seq in [acked − 64 KiB, edge], ack in [acked′ − window, next′], a
// TSval that is not older, an ACK.
func TestWireBelieves(t *testing.T) {
	for _, tt := range []struct {
		name     string
		off, ack int
		stamp    int
		flags    wire.Flags
		ok       bool
	}{
		{"in order", 1, 0, 0, wire.ACK, true},
		{"a gap", 60000, 0, 0, wire.ACK, true},
		{"at the edge", 65535, 0, 0, wire.ACK, true},
		{"far beyond the edge", 65536 + maxDrift, 0, 0, wire.ACK, false},
		{"64 KiB behind", -64 << 10, 0, 0, wire.ACK, true},
		{"further behind", -64<<10 - 1, 0, 0, wire.ACK, false},
		{"an ACK far beyond what was sent", 1, maxDrift + 2, 0, wire.ACK, false},
		{"an old ACK", 1, -65536, 0, wire.ACK, true},
		{"an ACK before the window", 1, -65537, 0, wire.ACK, false},
		{"an old TSval", 1, 0, -10, wire.ACK, false},
		{"no ACK", 1, 0, 0, wire.PSH, false},
	} {
		r := native(t)
		r.trusted = false
		s := r.seg(Client, tt.off, 10, tt.ack)
		s.Flags = tt.flags
		s.Options.TSVal += uint32(tt.stamp)
		before := *r.flow.Record()
		r.pass(Client, s)
		if changed := *r.flow.Record() != before; changed && !tt.ok {
			t.Errorf("%s: changed the record", tt.name)
		}
		if believed := r.count.By[Unbelieved] == 0; believed != tt.ok {
			t.Errorf("%s: believed %v", tt.name, believed)
		}
		r.done()
	}
}

// TestWireBeforeWindow: a segment that ends before what is acknowledged is within
// what passes daily, but no endpoint reads its ACK or window.
func TestWireBeforeWindow(t *testing.T) {
	r := native(t)
	r.trusted = false
	before := r.flow.Record().Dir[Server]
	r.window[Client] = 0xffff
	r.pass(Client, r.seg(Client, -1000, 0, 0))
	if d := r.flow.Record().Dir[Server]; d.Own != before.Own || d.Acked != before.Acked {
		t.Errorf("own edge %v, was %v", d.Own, before.Own)
	}
}

// TestWireTimestampRule: TS.Recent comes only from a segment that begins no
// later than next and ends no earlier than acked.
func TestWireTimestampRule(t *testing.T) {
	r := native(t)
	before := r.flow.Record().Dir[Client].TSRecent
	r.pass(Client, r.seg(Client, 5, 10, 0))
	if r.flow.Record().Dir[Client].TSRecent != before {
		t.Error("taken from behind a gap")
	}
	r.pass(Server, r.seg(Server, 0, 0, 15))
	r.pass(Client, r.seg(Client, 2, 10, 0))
	if r.flow.Record().Dir[Client].TSRecent != before {
		t.Error("taken from before what is acknowledged")
	}
	r.pass(Client, r.seg(Client, 15, 0, 0))
	if r.flow.Record().Dir[Client].TSRecent != r.stamp[Client] {
		t.Error("not taken from a segment in order")
	}
}

// TestWireRST: an RST removes the record only with seq = next.
func TestWireRST(t *testing.T) {
	r := native(t)
	for _, off := range []int{0, 2, 1000, -1} {
		r.pass(Client, r.rst(Client, off))
		r.wantState(OnWire)
	}
	r.wantCount(ForgedRST, 4)
	r.pass(Client, r.rst(Client, 1))
	r.wantState(Gone)
	r.wantCount(Reset, 1)
}

// TestWireFINs: the flow is gone when both FINs have passed, one is acknowledged and
// everything before the other, and what follows passes.
func TestWireFINs(t *testing.T) {
	r := establish(t)
	r.pass(Client, r.fin(Client, 0, 0, 0))
	r.pass(Client, r.fin(Client, 0, 0, 0))
	r.pass(Server, r.seg(Server, 0, 0, 1))
	r.wantState(OnWire)
	r.pass(Server, r.fin(Server, 0, 0, 1))
	r.wantState(Gone)
	r.wantCount(Finished, 1)
	r.pass(Server, r.fin(Server, 0, 0, 1))
	r.pass(Client, r.seg(Client, 1, 0, 1))
	r.done()
}

// TestWireFINsCross: while neither FIN is acknowledged the flow stays, for both may be
// lost; the first ACK ends it.
func TestWireFINsCross(t *testing.T) {
	r := establish(t)
	r.pass(Client, r.fin(Client, 0, 0, 0))
	r.pass(Server, r.fin(Server, 0, 0, 0))
	r.wantState(OnWire)
	r.pass(Client, r.seg(Client, 1, 0, 1))
	r.wantState(Gone)
	r.wantCount(Finished, 1)
	r.pass(Server, r.seg(Server, 1, 0, 1))
	r.done()
}

// TestWireSYN: a SYN passes and replaces the record only when its SYN-ACK is
// acknowledged; a repeated SYN of the same connection is none.
func TestWireSYN(t *testing.T) {
	r := native(t)
	r.trusted = false
	r.pass(Client, r.syn(Client))
	if r.flow.Reopening() {
		t.Fatal("a repeated SYN is another connection")
	}
	old := r.flow
	for i := range r.isn {
		r.isn[i] = r.isn[i].Add(1 << 20)
	}
	r.pass(Client, r.syn(Client))
	r.hear(Client, r.syn(Client))
	if !r.flow.Reopening() {
		t.Fatal("the SYN of another connection was not noticed")
	}
	r.wantState(OnWire)
	r.hear(Server, r.syn(Server))
	if !r.hear(Client, r.seg(Client, 0, 0, 0)) {
		t.Fatal("not established")
	}
	old.Replace()
	if old.State() != Gone || old.Why() != Replaced {
		t.Error("the old flow is not gone")
	}
	r.take(Client, r.seg(Client, 0, 10, 0))
}

// TestWirePassesIdly: keepalives, window updates and pure ACKs pass; a flow on
// the wire has no timer.
func TestWirePassesIdly(t *testing.T) {
	r := establish(t)
	r.pass(Client, r.seg(Client, -1, 0, 0))
	r.pass(Client, r.seg(Client, -1, 1, 0))
	r.pass(Server, r.seg(Server, 0, 0, 0))
	r.pass(Server, r.seg(Server, 0, 0, 0))
	r.advance(time.Hour)
	r.wantState(OnWire)
	r.done()
}

// TestWireReceiveAllocs: following packets allocates nothing.
func TestWireReceiveAllocs(t *testing.T) {
	r := native(t)
	s := r.seg(Server, 0, 0, 1)
	if n := testing.AllocsPerRun(1000, func() {
		if r.flow.Receive(r.now, Server, s, Meta{}) != Pass {
			t.Fatal("taken")
		}
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

// TestGapUnsyncs: after a gap nothing enters until fresh data and its ACK have
// shown acked = next in both directions.
func TestGapUnsyncs(t *testing.T) {
	r := establish(t)
	r.flow.Gap(r.now)
	// Meanwhile both sent megabytes past accd.
	const c, s = 3_000_000, 5_000_000
	r.trusted = false
	r.pass(Client, r.seg(Client, c, 100, s))
	r.pass(Client, r.seg(Client, c+100, 100, s))
	r.pass(Server, r.seg(Server, s, 0, c+100))
	if !r.flow.Record().Unsynced {
		t.Fatal("one direction was enough")
	}
	r.pass(Client, r.seg(Client, c+200, 10, s))
	if r.flow.Record().Unsynced {
		t.Fatal("data and its ACK did not show where the flow is")
	}
	r.wantCount(Unsynced, 3)
	r.pass(Client, r.seg(Client, c+210, 10, s)) // 100 bytes are not acknowledged
	r.wantCount(Busy, 1)
	r.pass(Server, r.seg(Server, s, 0, c+220))
	r.take(Client, r.seg(Client, c+220, 100, s))
	p := r.wantNext(Server, c+220, 100, s)
	if p.ts != r.stamp[Client] || p.ecr != r.stamp[Server] {
		t.Errorf("TSval %d and TSecr %d, want %d and %d", p.ts, p.ecr, r.stamp[Client], r.stamp[Server])
	}
}

// TestGapEdges: what acknowledges, after a gap, bytes that passed before it tells
// its receiver of a window, and custody must not take that back (I3), though the
// record begins anew where a repetition was seen.
func TestGapEdges(t *testing.T) {
	r := native(t)
	for off := range 10 {
		r.pass(Client, r.seg(Client, 1000*off, 1000, 0))
	}
	r.flow.Gap(r.now)
	r.trusted = false
	r.pass(Client, r.seg(Client, 2000, 1000, 0)) // fills a hole
	r.pass(Server, r.seg(Server, 0, 0, 10_000))
	want := r.isn[Client].Add(1 + 10_000 + int(r.window[Server])<<r.scale[Server])
	if got := r.flow.Record().Dir[Client].Edge; got != want {
		t.Errorf("the client was told of a window up to %d more than the record has", want.Sub(got))
	}
}

// TestUnnoticedGap: an endpoint that is beyond the record shows that packets went
// another way: the record is unsynced, until fresh data and its ACK.
func TestUnnoticedGap(t *testing.T) {
	for _, s := range []struct{ off, ack int }{{65536, 0}, {1, 1}} {
		r := native(t)
		r.trusted = false
		r.pass(Client, r.seg(Client, s.off, 10, s.ack))
		if !r.flow.Record().Unsynced {
			t.Errorf("%v: not noticed", s)
		}
		r.pass(Server, r.seg(Server, s.ack, 0, s.off+10))
		r.pass(Client, r.seg(Client, s.off+10, 10, s.ack))
		if r.flow.Record().Unsynced {
			t.Errorf("%v: fresh data and its ACK were seen", s)
		}
	}
}

// TestGapForged: forged numbers after a gap do not survive a real segment, and
// custody on them lets the real segments pass.
func TestGapForged(t *testing.T) {
	r := establish(t)
	r.flow.Gap(r.now)
	r.trusted = false
	const bogus = 1 << 29
	r.pass(Client, r.seg(Client, bogus, 100, bogus))
	r.pass(Client, r.seg(Client, 0, 100, 0)) // real
	r.pass(Server, r.seg(Server, bogus, 0, bogus+100))
	if !r.flow.Record().Unsynced {
		t.Fatal("forged segments synced the record over a real one")
	}
	r.pass(Client, r.seg(Client, bogus, 100, bogus))
	r.pass(Server, r.seg(Server, bogus, 0, bogus+100))
	r.give(Client, r.seg(Client, bogus+100, 100, bogus))
	r.wantState(InCustody)
	r.pass(Client, r.seg(Client, 100, 100, 0))
	r.pass(Server, r.seg(Server, 0, 100, 100))
	r.pass(Client, r.seg(Client, 200, 0, 100))
	r.advance(time.Hour)
	r.wantState(Gone)
	r.wantCount(Lost, 1)
}
