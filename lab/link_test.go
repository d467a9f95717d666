package lab

import (
	"bytes"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random tests")

const (
	mss  = 1448
	full = 14 + 20 + 32 + mss // a full segment on the line, IPv4 with timestamps
)

var (
	tuple4 = wire.TupleOf(netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("198.51.100.1:4711"))
	tuple6 = wire.TupleOf(netip.MustParseAddrPort("[2001:db8::1]:80"), netip.MustParseAddrPort("[2001:db8::2]:4711"))
)

// got is a segment that left a Link, superpackets taken apart.
type got struct {
	at    mono.Time
	seq   int
	data  []byte
	flags wire.Flags
	ecn   wire.ECN
	valid bool // the checksum
}

// linkTest drives one Link with a clock moved by hand.
type linkTest struct {
	t    *testing.T
	l    *Link
	pool buf.Pool
	now  mono.Time
	got  []got
}

func newLinkTest(t *testing.T, p Path) *linkTest {
	t.Helper()
	lt := &linkTest{t: t, now: 1}
	l, err := NewLink(p, &lt.pool)
	if err != nil {
		t.Fatal(err)
	}
	lt.l = l
	return lt
}

// pattern is what the TCP stream of the tests carries at seq.
func pattern(seq, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((seq + i) * 7 >> 3)
	}
	return b
}

// tcpFrame gives a frame of n payload bytes from seq on, to be cut at mss.
func tcpFrame(k wire.Tuple, seq, n int, flags wire.Flags) (wire.VirtioHeader, []byte) {
	b := make([]byte, wire.MaxHeader)
	h := wire.Header{Tuple: k, TTL: 64, Seq: wire.SeqOf(uint32(seq)), Flags: flags, Options: &wire.Options{Set: wire.HasTS}, PayloadLen: n}
	hlen, l4 := h.Put(b)
	vh := wire.VirtioHeader{Flags: wire.VirtioNeedsCsum, CsumStart: uint16(l4), CsumOffset: 16, HdrLen: uint16(hlen)}
	if n > mss {
		vh.GSOSize, vh.GSOType = mss, wire.VirtioGSOTCPv4
		if !k.Is4() {
			vh.GSOType = wire.VirtioGSOTCPv6
		}
	}
	return vh, append(b[:hlen], pattern(seq, n)...)
}

func (lt *linkTest) send(k wire.Tuple, seq, n int, flags wire.Flags) {
	vh, f := tcpFrame(k, seq, n, flags)
	lt.l.Enqueue(lt.now, &vh, lt.pool.Copy(f))
}

// drain takes everything out at its time and checks that nothing leaks.
func (lt *linkTest) drain() {
	lt.t.Helper()
	for d := lt.l.Deadline(); d != mono.Never; d = lt.l.Deadline() {
		lt.now = max(lt.now, d)
		f := lt.l.Dequeue(lt.now)
		if f == nil {
			lt.t.Fatal("nothing at the deadline")
		}
		lt.take(f)
	}
	if lt.l.Dequeue(lt.now) != nil {
		lt.t.Fatal("a frame without a deadline")
	}
	if n := lt.pool.InUse(); n != 0 {
		lt.t.Fatalf("%d bytes leaked", n)
	}
}

// take checks a frame's headers as its receiver would and takes it apart.
func (lt *linkTest) take(f *Frame) {
	lt.t.Helper()
	whole := slices.Concat(f.Head(), f.Body.Bytes())
	var v wire.View
	if v.Parse(whole) != wire.KindTCP {
		lt.got = append(lt.got, got{at: f.due, data: whole})
		return
	}
	if f.Virtio.Flags&wire.VirtioNeedsCsum != 0 {
		if int(f.Virtio.CsumStart) != v.L4 || f.Virtio.CsumOffset != 16 {
			lt.t.Fatalf("bad partial checksum: %+v", f.Virtio)
		}
		wire.FinishChecksum(whole[:v.Data], v.L4, [][]byte{v.Payload()})
	}
	valid := v.ChecksumOK()
	if !v.Is6 && wire.Fold(wire.Sum(whole[v.L3:v.L4], 0)) != 0xffff {
		lt.t.Fatal("bad IPv4 header checksum")
	}
	step := len(v.Payload())
	if f.Virtio.GSOSize > 0 {
		step = int(f.Virtio.GSOSize)
	} else if step > mss {
		lt.t.Fatalf("%d bytes in one segment", step)
	}
	for data, seq := v.Payload(), int(v.Seq().Uint32()); ; {
		n := min(step, len(data))
		g := got{at: f.due, seq: seq, data: bytes.Clone(data[:n]), flags: v.Flags(), ecn: v.ECN(), valid: valid}
		data, seq = data[n:], seq+n
		if len(data) > 0 {
			g.flags &^= wire.FIN | wire.PSH
		}
		lt.got = append(lt.got, g)
		if len(data) == 0 {
			return
		}
	}
}

// seqs gives the numbers of the segments that arrived, from 1 in the order of
// the stream.
func (lt *linkTest) seqs() (n []int) {
	for _, g := range lt.got {
		n = append(n, g.seq/mss+1)
	}
	return n
}

func (lt *linkTest) wantIntact() {
	lt.t.Helper()
	for _, g := range lt.got {
		if !g.valid || !bytes.Equal(g.data, pattern(g.seq, len(g.data))) {
			lt.t.Fatalf("segment at %d came damaged", g.seq)
		}
	}
}

func upTo(n int) (s []int) {
	for i := range n {
		s = append(s, i+1)
	}
	return s
}

func TestRateAndDelay(t *testing.T) {
	lt := newLinkTest(t, Path{Rate: 100e6, Delay: 40 * time.Millisecond})
	begin := lt.now
	lt.send(tuple4, 0, 40*mss, wire.ACK|wire.PSH)
	lt.send(tuple4, 40*mss, 100, wire.ACK|wire.FIN)
	lt.drain()
	lt.wantIntact()
	if !slices.Equal(lt.seqs(), upTo(41)) {
		t.Fatal(lt.seqs())
	}
	segment := time.Duration(full * 8 * 10) // ns at 100 Mbit/s
	for i, g := range lt.got[:40] {
		// Each arrives with the last of its piece, at most maxPiece late.
		own := begin.Add(time.Duration(i+1)*segment + 40*time.Millisecond)
		if late := g.at.Sub(own); late < 0 || late > maxPiece {
			t.Errorf("segment %d came %v late", i+1, late)
		}
		if psh := g.flags.Has(wire.PSH); psh != (i == 39) {
			t.Errorf("segment %d: flags %v", i+1, g.flags)
		}
	}
	end := begin.Add(40*segment + (full-mss+100)*80 + 40*time.Millisecond)
	if g := lt.got[40]; g.at != end || !g.flags.Has(wire.FIN) {
		t.Errorf("the last came %v, want %v; flags %v", g.at, end, g.flags)
	}
	if s := lt.l.Stats(); s.Segments != 41 || s.Delivered != 41 || s.Bytes != 41*full-(mss-100) || s.Payload != 40*mss+100 {
		t.Errorf("%+v", s)
	}
}

// At 1 Gbit/s a superpacket of 64 KB is shorter than maxPiece and stays whole.
func TestSuperpacketStaysWhole(t *testing.T) {
	lt := newLinkTest(t, Path{Rate: 1e9})
	lt.send(tuple6, 0, 44*mss, wire.ACK)
	f := lt.l.Dequeue(lt.l.Deadline())
	if f.headLen != 0 || f.segs != 44 || f.Virtio.GSOSize != mss {
		t.Errorf("%d segments with %d bytes of new headers", f.segs, f.headLen)
	}
}

func TestLoseTheseSegments(t *testing.T) {
	for _, k := range []wire.Tuple{tuple4, tuple6} {
		lt := newLinkTest(t, Path{Lose: []int64{1, 7, 8, 44, 45}})
		lt.send(k, 0, 44*mss, wire.ACK|wire.CWR)
		lt.send(k, 44*mss, 3*mss, wire.ACK)
		lt.drain()
		lt.wantIntact()
		want := slices.DeleteFunc(upTo(47), func(n int) bool { return slices.Contains([]int{1, 7, 8, 44, 45}, n) })
		if !slices.Equal(lt.seqs(), want) {
			t.Errorf("got %v", lt.seqs())
		}
		for _, g := range lt.got {
			if g.flags.Has(wire.CWR) {
				t.Errorf("segment at %d carries the CWR of the first", g.seq)
			}
		}
		if s := lt.l.Stats(); s.Lost != 5 || s.Delivered != 42 {
			t.Errorf("%+v", s)
		}
	}
}

// Which segments are lost depends on the seed and their numbers, not on how
// they are packed.
func TestLossIsReproducible(t *testing.T) {
	p := Path{Loss: 0.05, LossFrom: 100, Seed: *seed, Corrupt: 0.01}
	t.Logf("seed %d", p.Seed)
	lost := func(size int) []int {
		lt := newLinkTest(t, p)
		for seq := 0; seq < 1200*mss; seq += size * mss {
			lt.send(tuple4, seq, size*mss, wire.ACK)
		}
		lt.drain()
		return lt.seqs()
	}
	one := lost(1)
	if !slices.Equal(one, lost(30)) || !slices.Equal(one, lost(3)) {
		t.Error("the pattern depends on the packing")
	}
	if !slices.Equal(one[:99], upTo(99)) {
		t.Errorf("lost before segment 100: %v", one[:99])
	}
}

func TestLossShareAndBursts(t *testing.T) {
	t.Logf("seed %d", *seed)
	for _, p := range []Path{{Loss: 0.02}, {Loss: 0.02, Burst: 5}, {Loss: 0.3, Burst: 20}} {
		p.Seed = *seed
		var l losses
		l.init(&p)
		const n = 1_000_000
		lost, bursts, last := 0, 0, false
		for i := range int64(n) {
			now := l.lost(i + 1)
			if now {
				lost++
				if !last {
					bursts++
				}
			}
			last = now
		}
		share, length := float64(lost)/n, float64(lost)/float64(bursts)
		if share < 0.9*p.Loss || share > 1.1*p.Loss {
			t.Errorf("loss %v burst %v: lost %v", p.Loss, p.Burst, share)
		}
		want := max(p.Burst, 1/(1-p.Loss))
		if length < 0.9*want || length > 1.1*want {
			t.Errorf("loss %v burst %v: %v in a row", p.Loss, p.Burst, length)
		}
	}
}

// Of a superpacket larger than the room left, the segments that fit are kept.
func TestQueueDropsOnlyWhatDoesNotFit(t *testing.T) {
	lt := newLinkTest(t, Path{Rate: 10e6, Queue: 20 * full})
	lt.send(tuple4, 0, 15*mss, wire.ACK)
	lt.send(tuple4, 15*mss, 15*mss, wire.ACK)
	if w := lt.l.waiting(lt.now); w != 20*full {
		t.Errorf("%d bytes wait, want %d", w, 20*full)
	}
	// After the time of three segments there is room for three.
	lt.now = lt.now.Add(3 * full * 800)
	lt.send(tuple4, 30*mss, 15*mss, wire.ACK)
	lt.drain()
	lt.wantIntact()
	if want := append(upTo(20), 31, 32, 33); !slices.Equal(lt.seqs(), want) {
		t.Errorf("got %v", lt.seqs())
	}
	if s := lt.l.Stats(); s.QueueFull != 22 || s.Delivered != 23 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}

func TestReorder(t *testing.T) {
	lt := newLinkTest(t, Path{Rate: 100e6, Reorder: 0.1, ReorderBy: time.Millisecond, Seed: *seed})
	t.Logf("seed %d", *seed)
	for i := range 50 {
		lt.send(tuple4, i*20*mss, 20*mss, wire.ACK)
		lt.now = lt.now.Add(5 * time.Millisecond)
	}
	lt.drain()
	lt.wantIntact()
	n := lt.seqs()
	if slices.IsSorted(n) {
		t.Error("nothing was overtaken")
	}
	slices.Sort(n)
	s := lt.l.Stats()
	if !slices.Equal(n, upTo(1000)) || s.Reordered < 50 || s.Reordered > 200 {
		t.Errorf("%d segments arrived; %+v", len(n), s)
	}
}

func TestDuplicate(t *testing.T) {
	lt := newLinkTest(t, Path{Duplicate: 1})
	lt.send(tuple4, 0, 3*mss, wire.ACK)
	lt.drain()
	lt.wantIntact()
	if want := []int{1, 1, 2, 2, 3, 3}; !slices.Equal(lt.seqs(), want) {
		t.Errorf("got %v", lt.seqs())
	}
}

func TestCorrupt(t *testing.T) {
	t.Logf("seed %d", *seed)
	for _, k := range []wire.Tuple{tuple4, tuple6} {
		lt := newLinkTest(t, Path{Corrupt: 1, Seed: *seed})
		for i := range 30 {
			lt.send(k, i*10*mss, 10*mss, wire.ACK)
		}
		lt.send(k, 300*mss, 0, wire.ACK)
		var v wire.View
		n := 0
		for ; lt.l.Deadline() != mono.Never; n++ {
			f := lt.l.Dequeue(lt.now)
			if f.Virtio != (wire.VirtioHeader{}) {
				t.Fatalf("the receiver is told to trust it: %+v", f.Virtio)
			}
			// A flipped data offset makes the frame unreadable, which will do.
			if v.Parse(f.Body.Bytes()) == wire.KindTCP && v.ChecksumOK() {
				t.Fatalf("frame %d has a valid checksum", n)
			}
		}
		lt.drain()
		if n != 301 {
			t.Errorf("%d frames", n)
		}
	}
}

// A device may have completed the checksum and padded the frame.
func TestCorruptPadded(t *testing.T) {
	lt := newLinkTest(t, Path{Corrupt: 1, Seed: 1})
	_, f := tcpFrame(tuple4, 0, 0, wire.ACK)
	wire.FinishChecksum(f, 34, nil)
	f = append(f, make([]byte, 10)...)
	lt.l.Enqueue(lt.now, &wire.VirtioHeader{Flags: wire.VirtioDataValid}, lt.pool.Copy(f))
	lt.drain()
	if len(lt.got) == 1 && lt.got[0].valid {
		t.Error("the checksum is valid")
	}
}

func TestChatterIsNotImpaired(t *testing.T) {
	lt := newLinkTest(t, Path{Loss: 1, Delay: time.Millisecond})
	arp := make([]byte, 42)
	binary.BigEndian.PutUint16(arp[12:], 0x0806)
	lt.l.Enqueue(lt.now, &wire.VirtioHeader{}, lt.pool.Copy(arp))
	vh, f := tcpFrame(tuple6, 0, 10, wire.ACK)
	f[0] = 0x33 // to a multicast MAC
	lt.l.Enqueue(lt.now, &vh, lt.pool.Copy(f))
	lt.send(tuple6, 0, 10, wire.ACK)
	begin := lt.now
	lt.drain()
	if len(lt.got) != 2 || lt.got[0].at != begin.Add(time.Millisecond) {
		t.Errorf("%d frames arrived", len(lt.got))
	}
	if s := lt.l.Stats(); s.Segments != 1 || s.Lost != 1 {
		t.Errorf("%+v", s)
	}
}

func TestRetransmissionsSeen(t *testing.T) {
	lt := newLinkTest(t, Path{Lose: []int64{3}})
	lt.send(tuple4, 1<<32-5*mss, 0, wire.SYN)
	lt.send(tuple4, 1<<32-5*mss+1, 10*mss, wire.ACK)
	lt.send(tuple4, 1<<32-5*mss+1, 0, wire.ACK)         // nothing in it
	lt.send(tuple4, 1<<32-4*mss+1, mss, wire.ACK)       // again
	lt.send(tuple4, 2*mss+1, 6*mss, wire.ACK)           // three again, three new
	lt.send(tuple4.Reverse(), 2*mss+1, 6*mss, wire.ACK) // another flow
	lt.send(tuple4, 9*mss, 0, wire.SYN)                 // the ports are used again
	lt.send(tuple4, 9*mss+1, 10, wire.ACK)
	lt.drain()
	if s := lt.l.Stats(); s.Retransmitted != 4 {
		t.Errorf("%d retransmissions, want 4", s.Retransmitted)
	}
}

// Whatever a path does, every segment arrives whole, is counted as dropped, or
// is counted as damaged.
func TestNothingIsUnaccounted(t *testing.T) {
	t.Logf("seed %d", *seed)
	r := rand.New(rand.NewPCG(*seed, 0))
	some := func(p float64) float64 { return p * float64(r.IntN(2)) * r.Float64() }
	for range 60 {
		p := Path{
			Rate: int64(r.IntN(3)) * 30e6, Queue: 20000 + r.IntN(200000), Delay: time.Duration(r.IntN(1e8)),
			Jitter: time.Duration(r.IntN(2) * 1e6), Loss: some(0.2), Burst: some(10),
			Reorder: some(0.1), ReorderBy: time.Duration(1 + r.IntN(1e7)), Duplicate: some(0.1), Corrupt: some(0.1), Seed: r.Uint64(),
		}
		lt := newLinkTest(t, p)
		k, seq, sent := tuple4, 0, 0
		if r.IntN(2) == 0 {
			k = tuple6
		}
		for range 200 {
			n := 1 + r.IntN(44*mss)
			lt.send(k, seq, n, wire.ACK)
			seq += n
			sent += (n + mss - 1) / mss
			lt.now = lt.now.Add(time.Duration(r.IntN(1e7)))
			for f := lt.l.Dequeue(lt.now); f != nil; f = lt.l.Dequeue(lt.now) {
				lt.take(f)
			}
		}
		lt.drain()
		s := lt.l.Stats()
		damaged := int64(0)
		for i, g := range lt.got {
			if i > 0 && g.at < lt.got[i-1].at {
				t.Fatalf("%+v: time runs backwards", p)
			}
			if !g.valid {
				damaged++
			} else if !bytes.Equal(g.data, pattern(g.seq, len(g.data))) {
				t.Fatalf("%+v: wrong data at %d", p, g.seq)
			}
		}
		if s.Segments != int64(sent) || s.Delivered != s.Segments-s.QueueFull-s.Lost+s.Duplicated ||
			s.Delivered != int64(len(lt.got)) || damaged != s.Corrupted {
			t.Fatalf("%+v: sent %d, came %d, %d damaged: %+v", p, sent, len(lt.got), damaged, s)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	lt := newLinkTest(t, Path{Rate: 1e9, Delay: time.Millisecond, Loss: 0.01})
	vh, f := tcpFrame(tuple4, 0, 44*mss, wire.ACK)
	turn := func() {
		room := lt.pool.Room(len(f))
		copy(room, f)
		lt.l.Enqueue(lt.now, &vh, lt.pool.Keep(0, len(f)))
		lt.now = lt.now.Add(600 * time.Microsecond)
		for lt.l.Dequeue(lt.now) != nil {
		}
	}
	for range 100 {
		turn()
	}
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Errorf("%v allocations per superpacket", n)
	}
}

func TestPathIsChecked(t *testing.T) {
	for _, p := range []Path{
		{Loss: 1.1}, {Loss: -1}, {Rate: -1}, {Reorder: 0.1}, {Loss: 1, Burst: 3},
		{Lose: []int64{0}}, {Lose: []int64{5, 5}}, {Delay: -1},
	} {
		if _, err := NewLink(p, new(buf.Pool)); err == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
}

func BenchmarkLink(b *testing.B) {
	for _, c := range []struct {
		name string
		segs int
		path Path
	}{
		{"superpackets", 44, Path{Rate: 10e9, Delay: 50 * time.Millisecond}},
		{"superpackets-lossy", 44, Path{Rate: 10e9, Delay: 50 * time.Millisecond, Loss: 0.01}},
		{"segments", 1, Path{Rate: 10e9, Delay: 50 * time.Millisecond}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var pool buf.Pool
			l, err := NewLink(c.path, &pool)
			if err != nil {
				b.Fatal(err)
			}
			vh, f := tcpFrame(tuple4, 0, c.segs*mss, wire.ACK)
			now := mono.Time(1)
			b.SetBytes(int64(c.segs * mss))
			b.ReportAllocs()
			for b.Loop() {
				copy(pool.Room(len(f)), f[:wire.MaxHeader])
				l.Enqueue(now, &vh, pool.Keep(0, len(f)))
				now = now.Add(time.Duration(c.segs * full * 8 / 10))
				for l.Dequeue(now) != nil {
				}
			}
		})
	}
}

// Above a queue ECN-capable segments are marked instead of nothing, and others
// are left alone; what is cut out of a superpacket for that is whole again.
func TestMarkAbove(t *testing.T) {
	for _, k := range []wire.Tuple{tuple4, tuple6} {
		for _, e := range []wire.ECN{wire.ECT0, wire.NotECT} {
			lt := newLinkTest(t, Path{Rate: 100e6, Queue: 1 << 20, MarkAbove: 10 * full})
			for _, n := range []int{30 * mss, mss, 100} {
				vh, f := tcpFrame(k, 0, n, wire.ACK|wire.PSH)
				var v wire.View
				v.Parse(f)
				v.SetECN(e)
				lt.l.Enqueue(lt.now, &vh, lt.pool.Copy(f))
			}
			lt.drain()
			lt.wantIntact()
			if len(lt.got) != 32 {
				t.Fatalf("%d segments arrived", len(lt.got))
			}
			marked := 0
			for i, g := range lt.got {
				if g.ecn == wire.CE {
					marked++
				} else if g.ecn != e || e == wire.ECT0 && i > 12 {
					t.Errorf("segment %d came as %v", i, g.ecn)
				}
			}
			if got := int(lt.l.Stats().Marked); got != marked || e == wire.ECT0 && (marked < 18 || marked > 22) || e == wire.NotECT && marked > 0 {
				t.Errorf("%v: %d marked, %d counted", e, marked, got)
			}
		}
	}
}
