package tcpstack

import (
	"testing"
	"time"

	"accd/tcpstack/mono"
)

// tuned gives a path of 100 Mbit/s and 200 ms whose receiver offers buffer bytes in
// the beginning, and the time that n bytes take on it.
func tuned(t *testing.T, edit func(*Snapshot), cfg *Config, n int) (time.Duration, *pair) {
	sender := config("cubic")
	p := newPair([2]*Config{sender, cfg}, edit)
	p.delay, p.rate, p.queue = 100*time.Millisecond, 12.5e6, 1_250_000
	return p.transfer(t, n), p
}

// Linux, tcp_moderate_rcvbuf: a receiver that begins with a small window is as
// fast as one that offers everything, with timestamps and without, and ends with
// no more than a few windows' worth.
func TestReceiveWindowGrows(t *testing.T) {
	const n, bdp = 48 << 20, 2_500_000
	for _, stamps := range []bool{true, false} {
		edit := func(s *Snapshot) { s.Timestamps = stamps }
		all := config("cubic")
		all.Buffer = 16 << 20
		fixed, _ := tuned(t, edit, all, n)
		few := config("cubic")
		few.Buffer, few.MinBuffer = 16<<20, 64<<10
		auto, p := tuned(t, edit, few, n)
		t.Logf("timestamps %v: %v with all of it, %v from 64 KiB to %d", stamps, fixed, auto, p.conn[1].buffer)
		if auto > fixed*11/10 {
			t.Errorf("timestamps %v: %v, and %v with the largest window", stamps, auto, fixed)
		}
		if b := p.conn[1].buffer; b < bdp || b > 6*bdp {
			t.Errorf("timestamps %v: a window of %d in the end, the path holds %d", stamps, b, bdp)
		}
	}
}

// A window grows with what the reader takes, not with what the sender would like.
func TestReceiveWindowOfASlowReader(t *testing.T) {
	cfg := config("cubic")
	cfg.Buffer, cfg.MinBuffer = 16<<20, 128<<10
	p := newPair([2]*Config{config("cubic"), cfg}, nil)
	p.delay, p.rate = 20*time.Millisecond, 12.5e6
	p.write(0, 4<<20)
	const reads = 100_000 // a second
	for end := p.now.Add(20 * time.Second); p.now < end && p.step(); {
		at := uint64(p.now.Sub(1e9).Seconds() * reads)
		p.in[1].Discard(min(at, p.in[1].End()))
	}
	if b := p.conn[1].buffer; b > 128<<10 {
		t.Errorf("the window has grown to %d for a reader of 4000 bytes a round trip", b)
	}
	p.in[1].Reset()
	p.out[0].Reset()
}

// Linux, tcp_mem: what buffers grow into is shared, and comes back. Nobody gets
// less than in the beginning.
func TestBudget(t *testing.T) {
	budget := &Budget{Limit: 1 << 20}
	cfg := config("cubic")
	cfg.Buffer, cfg.MinBuffer, cfg.Memory = 16<<20, 64<<10, budget
	var pairs []*pair
	for range 3 {
		_, p := tuned(t, nil, cfg, 8<<20)
		if b := p.conn[1].buffer; b < 64<<10 || b > 64<<10+budget.Limit {
			t.Errorf("a window of %d", b)
		}
		pairs = append(pairs, p)
		if budget.Used() > budget.Limit {
			t.Fatalf("%d of %d bytes are taken", budget.Used(), budget.Limit)
		}
	}
	if budget.Used() != budget.Limit {
		t.Errorf("%d bytes are taken, want all %d", budget.Used(), budget.Limit)
	}
	for _, p := range pairs {
		p.conn[1].Release()
	}
	if budget.Used() != 0 {
		t.Errorf("%d bytes are taken in the end", budget.Used())
	}
}

// Linux, tcp_sndbuf_expand: a writer keeps two congestion windows ready.
func TestSendRoom(t *testing.T) {
	cfg := config("reno")
	cfg.SendBuffer = 50_000
	s := established(t, cfg, nil)
	if got := s.c.SendRoom(); got != 20_000 {
		t.Errorf("room for %d bytes with a window of ten segments, want 20000", got)
	}
	s.write(10_000)
	s.sendAll()
	if got := s.c.SendRoom(); got != 10_000 {
		t.Errorf("room for %d bytes, want 10000", got)
	}
	s.wait(rtt)
	s.peer(0, 0, 10_000)
	if got := s.c.SendRoom(); got != 40_000 {
		t.Errorf("room for %d bytes, want 40000", got)
	}
	s.write(30_000)
	s.sendAll()
	s.wait(rtt)
	s.peer(0, 0, 30_000)
	if got := s.c.SendRoom(); got > 40_000 {
		t.Errorf("room for %d bytes, want 50000 less what waits at most", got)
	}
	s.sendAll()
	s.peer(0, 0, 40_000)
}

// A connection that is idle keeps no memory that it has grown by, on either side, and
// is as fast as before when it goes on. The window it has offered stays offered.
func TestIdleGivesMemoryBack(t *testing.T) {
	budgets := [2]*Budget{{Limit: 64 << 20}, {Limit: 64 << 20}}
	var cfg [2]*Config
	for i := range cfg {
		cfg[i] = config("cubic")
		cfg[i].Buffer, cfg[i].MinBuffer, cfg[i].Memory = 16<<20, 64<<10, budgets[i]
	}
	p := newPair(cfg, nil)
	p.delay, p.rate, p.queue = 20*time.Millisecond, 12.5e6, 1_250_000
	carry := func(n int) time.Duration {
		p.conn[0].SendRoom()
		start, end := p.now, p.in[1].End()+uint64(n)
		p.write(0, n)
		for p.in[1].End() < end || p.out[0].Len() > 0 {
			if !p.step() {
				t.Fatal("stuck")
			}
			p.in[1].Discard(p.in[1].End())
		}
		p.conn[0].SendRoom()
		return p.now.Sub(start)
	}
	first := carry(20 << 20)
	grown := [2]int{budgets[0].Used(), budgets[1].Used()}
	if grown[0] == 0 || grown[1] == 0 {
		t.Fatalf("grown by %v: want both", grown)
	}
	idle := p.now
	for p.conn[0].Deadline() < mono.Never || p.conn[1].Deadline() < mono.Never {
		edge := p.conn[1].RcvEdge()
		if !p.step() {
			break
		}
		if p.conn[1].RcvEdge().Less(edge) {
			t.Fatalf("the window has shrunk from %v to %v", edge, p.conn[1].RcvEdge())
		}
	}
	if took := p.now.Sub(idle); took > tuneIdle+time.Second {
		t.Errorf("it took %v", took)
	}
	for i, b := range budgets {
		if b.Used() != 0 || cap(p.conn[i].sent.records) > KeptRecords || cap(p.in[i].refs) > KeptRecords || cap(p.out[i].refs) > KeptRecords {
			t.Errorf("%d: %d of %d bytes and %d records are kept", i, b.Used(), grown[i], cap(p.conn[i].sent.records))
		}
	}
	if b := p.conn[1].buffer; b != 64<<10 {
		t.Errorf("a window of %d, want that of the beginning", b)
	}
	if again := carry(20 << 20); again > first*11/10 {
		t.Errorf("%v, and %v after the break", first, again)
	}
}
