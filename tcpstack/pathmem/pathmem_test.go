package pathmem

import (
	"testing"
	"time"

	"accd/tcpstack/cc"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

const start = mono.Time(time.Hour)

func addr4(a, b, c, d byte) wire.Addr {
	return wire.Addr{10: 0xff, 11: 0xff, 12: a, 13: b, 14: c, 15: d}
}

// memory is that of a flow which had so many bytes in flight over 100 ms.
func memory(capacity, ssthresh int) *cc.Memory {
	return &cc.Memory{Window: 2 * capacity, Ssthresh: ssthresh, Bandwidth: int64(10 * capacity), MinRTT: 100 * time.Millisecond}
}

func want(t *testing.T, got cc.Path, capacity int) {
	t.Helper()
	if got.Capacity != capacity {
		t.Errorf("capacity %d, want %d", got.Capacity, capacity)
	}
}

func TestPrefixes(t *testing.T) {
	p := New(16)
	p.Learn(start, addr4(192, 0, 2, 1), 1, memory(500_000, 0))
	want(t, p.Recall(start, addr4(192, 0, 2, 200), 1), 500_000)
	want(t, p.Recall(start, addr4(192, 0, 3, 1), 1), 0)
	want(t, p.Recall(start, addr4(192, 0, 2, 1), 2), 0)
	a := wire.Addr{0: 0x20, 1: 0x01, 5: 7, 15: 1}
	p.Learn(start, a, 1, memory(700_000, 0))
	a[6] = 9
	want(t, p.Recall(start, a, 1), 700_000)
	a[5] = 8
	want(t, p.Recall(start, a, 1), 0)
	// 0.0.0.0/24 and ::/48 have the same leading bytes.
	p.Learn(start, addr4(0, 0, 0, 1), 1, memory(900_000, 0))
	want(t, p.Recall(start, wire.Addr{15: 1}, 1), 0)
}

func TestAges(t *testing.T) {
	p := New(16)
	p.Learn(start, addr4(192, 0, 2, 1), 1, memory(500_000, 0))
	want(t, p.Recall(start.Add(Lasts-1), addr4(192, 0, 2, 1), 1), 500_000)
	want(t, p.Recall(start.Add(Lasts), addr4(192, 0, 2, 1), 1), 0)
}

// A flow that sent little proves little; one that found a limit proves it.
func TestWhatReplacesWhat(t *testing.T) {
	p, to := New(16), addr4(192, 0, 2, 1)
	for _, step := range []struct {
		capacity, ssthresh, want int
	}{
		{20_000, 0, 0},           // less than four first windows
		{500_000, 0, 500_000},    // new
		{100_000, 0, 500_000},    // still in slow start: it did not ask for more
		{800_000, 0, 800_000},    // more
		{300_000, 1, 300_000},    // the limit has become lower
		{600_000, 1, 600_000},    // or higher
		{20_000, 0, 600_000},     // a short flow
		{20_000, 1, 0},           // one that found next to nothing
		{400_000, 9999, 400_000}, // and again
	} {
		p.Learn(start, to, 1, memory(step.capacity, step.ssthresh))
		want(t, p.Recall(start, to, 1), step.want)
	}
}

// The window alone is no proof: bbr's is twice what the path holds.
func TestCapacityIsWhatWasUsed(t *testing.T) {
	p, to := New(16), addr4(192, 0, 2, 1)
	p.Learn(start, to, 1, &cc.Memory{Window: 1 << 20, MinRTT: time.Second})
	want(t, p.Recall(start, to, 1), 0)
	p.Learn(start, to, 1, &cc.Memory{Window: 1 << 20, Bandwidth: 1 << 19, MinRTT: time.Second})
	want(t, p.Recall(start, to, 1), 1<<19)
	p.Learn(start, to, 1, &cc.Memory{Window: 1 << 20, Bandwidth: 1 << 22, MinRTT: time.Second})
	want(t, p.Recall(start, to, 1), 1<<20)
}

// However many paths there are, the table stays as it is, and the newest is known.
func TestBounded(t *testing.T) {
	p := New(64)
	for i := range 100_000 {
		to := addr4(10, byte(i>>16), byte(i>>8), byte(i))
		now := start.Add(time.Duration(i) * time.Millisecond)
		p.Learn(now, to, uint8(i), memory(100_000+i, 0))
		want(t, p.Recall(now, to, uint8(i)), 100_000+i)
	}
	if len(p.places) != 64 {
		t.Errorf("%d places", len(p.places))
	}
}

func TestNilRemembersNothing(t *testing.T) {
	var p *Table
	p.Learn(start, wire.Addr{}, 0, memory(1<<20, 0))
	want(t, p.Recall(start, wire.Addr{}, 0), 0)
}

func TestAllocatesNothing(t *testing.T) {
	p, to, m := New(64), addr4(192, 0, 2, 1), memory(1<<20, 0)
	if n := testing.AllocsPerRun(100, func() {
		p.Learn(start, to, 1, m)
		p.Recall(start, to, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
