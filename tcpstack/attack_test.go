//go:build !race && linux

// The race detector multiplies costs unevenly, and has nothing to find here.

package tcpstack

import (
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
)

// load is a kind of traffic that one Conn receives. start makes a Conn and gives the
// function that gives it one packet and takes what it sends; that can be called
// batch times.
type load struct {
	name  string
	batch int
	start func(v *victim, r *rand.Rand) func()
}

// victim is the Conn and what its peer knows of it. It lives on from load to load, as
// the shard's memory does.
type victim struct {
	conn    Conn
	pool    buf.Pool
	in, out Stream
	now     mono.Time
	seg     Segment
	pkt     Packet
	view    wire.View
	header  wire.Header
	room    [wire.MaxHeader]byte
	options wire.Options
	body    [1500]byte
	una     wire.Seq
	rcv     wire.Seq
}

const attackMSS = 1448

func (v *victim) resume(flight int, edit func(*Snapshot)) {
	v.in.Reset()
	v.out.Reset()
	v.now, v.una, v.rcv = mono.Time(time.Second), wire.SeqOf(1<<31), wire.SeqOf(1<<32-9999)
	s := Snapshot{
		MSS: attackMSS, SACK: true, SndScale: 10, RcvScale: 10,
		SndUna: v.una, SndNxt: v.una, SndWnd: 16 << 20, RcvNxt: v.rcv, RcvEdge: v.rcv.Add(16 << 20),
		SRTT: 20 * time.Millisecond, RTTVar: time.Millisecond, MinRTT: 20 * time.Millisecond,
	}
	for _, a := range []*[16]byte{(*[16]byte)(&s.Tuple.Src), (*[16]byte)(&s.Tuple.Dst)} {
		a[10], a[11], a[12] = 0xff, 0xff, 10
	}
	s.CC.Window, s.CC.Ssthresh = flight, flight
	if edit != nil {
		edit(&s)
	}
	v.conn.Resume(v.now, &s, &v.in, &v.out, attackConfig)
}

var attackConfig = func() *Config {
	cfg := config("reno")
	cfg.Buffer = 16 << 20
	return cfg
}()

// write gives the Conn n more bytes to send.
func (v *victim) write(n int) {
	for ; n > 0; n -= 60_000 {
		v.pool.Room(60_000)
		v.out.Append(v.pool.Keep(0, 60_000))
	}
}

// flush takes what the Conn sends now, and makes its headers.
func (v *victim) flush() {
	for p := &v.pkt; v.conn.Transmit(v.now, p); {
		v.header = wire.Header{Tuple: v.conn.snap.Tuple, Seq: p.Seq, Ack: p.Ack, Flags: p.Flags,
			Window: p.Window, Options: &p.Options, PayloadLen: p.Len}
		v.header.Put(v.room[:])
	}
}

// flood lets the Conn send all it may, however paced.
func (v *victim) flood() {
	for {
		v.flush()
		if !v.conn.blocked {
			return
		}
		v.now = v.conn.pace.next
	}
}

// receive gives the Conn one segment of n bytes as a leg does: the frame is read,
// parsed, and taken.
func (v *victim) receive(seq wire.Seq, n int, ack wire.Seq, blocks ...wire.Block) {
	v.now = v.now.Add(time.Microsecond)
	o := &v.options
	o.Set, o.NSACK = 0, 0
	if len(blocks) > 0 {
		o.Set, o.NSACK = wire.HasSACK, uint8(len(blocks))
		copy(o.SACK[:], blocks)
	}
	frame := v.pool.Room(wire.MaxHeader + len(v.body))
	v.header = wire.Header{Tuple: v.conn.snap.Tuple, Seq: seq, Ack: ack, Flags: wire.ACK, Window: 16 << 10, Options: o, PayloadLen: n}
	h, _ := v.header.Put(frame)
	copy(frame[h:], v.body[:n])
	w, s := &v.view, &v.seg
	if w.Parse(frame[:h+n]) != wire.KindTCP {
		panic("BUG: tcpstack: a frame that does not parse")
	}
	*s = Segment{Seq: w.Seq(), Ack: w.Ack(), Flags: w.Flags(), Window: w.Window()}
	s.Options.Decode(w.OptionBytes())
	s.Payload = v.pool.Keep(w.Data, w.End)
	v.conn.Receive(v.now, s)
	if v.conn.Deadline() <= v.now {
		v.conn.Expire(v.now)
	}
	v.flush()
}

// honestData is a stream in order.
var honestData = load{"honest data", 2000, func(v *victim, _ *rand.Rand) func() {
	v.resume(20_000, nil)
	seq := v.rcv
	return func() {
		v.receive(seq, attackMSS, v.una)
		seq = seq.Add(attackMSS)
		v.in.Discard(v.in.End())
	}
}}

// honestAcks acknowledge two segments each, in time; each lets two more leave.
var honestAcks = load{"honest ACKs", 2000, func(v *victim, _ *rand.Rand) func() {
	v.resume(4<<20, nil)
	v.write(16 << 20)
	v.flood()
	ack := v.una
	return func() {
		v.now = v.now.Add(15 * time.Microsecond)
		ack = ack.Add(2 * attackMSS)
		v.receive(v.rcv, 0, ack)
	}
}}

// smack is a flood of small segments out of order (SegmentSmack, CVE-2018-5390).
func smack(name string, size int, place func(r *rand.Rand, i int) int) load {
	return load{name, 2000, func(v *victim, r *rand.Rand) func() {
		v.resume(20_000, nil)
		i := 0
		return func() {
			v.receive(v.rcv.Add(1+place(r, i)), size, v.una)
			i++
		}
	}}
}

// sacks is a flood of ACKs of a flight of 4 MiB with four blocks each (SACK slowness,
// CVE-2019-11478).
func sacks(name string, place func(r *rand.Rand, i int) int, edit func(*Snapshot)) load {
	return load{name, 300, func(v *victim, r *rand.Rand) func() {
		v.resume(4<<20, edit)
		v.write(8 << 20)
		v.flood()
		v.now = v.now.Add(20 * time.Millisecond)
		i := 0
		return func() {
			var b [4]wire.Block
			for k := range b {
				left := v.una.Add(place(r, i) * attackMSS)
				b[k] = wire.Block{Left: left, Right: left.Add(attackMSS)}
				i++
			}
			v.receive(v.rcv, 0, v.una, b[:]...)
		}
	}}
}

const attackSegments = 4 << 20 / attackMSS

// attacks, with the honest traffic that they are compared with.
var attacks = []struct {
	load
	honest *load
}{
	{smack("SegmentSmack: crumbs at random", 1, func(r *rand.Rand, _ int) int { return r.IntN(1 << 20) }), &honestData},
	{smack("SegmentSmack: crumbs backwards", 1, func(_ *rand.Rand, i int) int { return 1<<20 - i }), &honestData},
	{smack("SegmentSmack: every second byte", 1, func(_ *rand.Rand, i int) int { return 2 * i }), &honestData},
	{smack("SegmentSmack: pieces at random", 256, func(r *rand.Rand, _ int) int { return 257 * r.IntN(20_000) }), &honestData},
	{smack("SegmentSmack: pieces backwards", 300, func(_ *rand.Rand, i int) int { return 4<<20 - 300*i }), &honestData},
	{smack("SegmentSmack: overlapping", 1400, func(r *rand.Rand, _ int) int { return r.IntN(1 << 20) }), &honestData},
	{smack("SegmentSmack: duplicates", 1400, func(_ *rand.Rand, i int) int { return 1500 * (i % 700) }), &honestData},
	{sacks("SACK slowness: every second", func(_ *rand.Rand, i int) int { return 1 + 2*i%attackSegments }, nil), &honestAcks},
	{sacks("SACK slowness: at random", func(r *rand.Rand, _ int) int { return 1 + r.IntN(attackSegments-1) }, nil), &honestAcks},
	{sacks("SACK slowness: backwards", func(_ *rand.Rand, i int) int { return attackSegments - 1 - 2*i%attackSegments }, nil), &honestAcks},
	{sacks("SACK slowness: tiny MSS", func(r *rand.Rand, _ int) int { return 1 + r.IntN(attackSegments-1) },
		func(s *Snapshot) { s.MSS = MinMSS }), &honestAcks},
	{sacks("SACK slowness: the same again", func(_ *rand.Rand, i int) int { return 1 + 2*(i%100) }, nil), &honestAcks},
	{load{"ACK division", 2000, func(v *victim, _ *rand.Rand) func() {
		v.resume(4<<20, nil)
		v.write(8 << 20)
		v.flood()
		ack := v.una
		return func() {
			ack = ack.Add(1)
			v.receive(v.rcv, 0, ack)
		}
	}}, &honestAcks},
	{load{"duplicate ACKs", 2000, func(v *victim, _ *rand.Rand) func() {
		v.resume(4<<20, func(s *Snapshot) { s.SACK = false })
		v.write(8 << 20)
		v.flood()
		return func() { v.receive(v.rcv, 0, v.una) }
	}}, &honestAcks},
	{load{"recovery and undo in turn", 2000, func(v *victim, _ *rand.Rand) func() {
		v.resume(4<<20, nil)
		v.write(12 << 20)
		v.flood()
		v.now = v.now.Add(20 * time.Millisecond)
		i, ack := 0, v.una
		return func() {
			switch i++; i % 3 {
			case 1: // a hole
				v.receive(v.rcv, 0, ack, wire.Block{Left: ack.Add(attackMSS), Right: ack.Add(5 * attackMSS)})
			case 2: // filled
				ack = ack.Add(5 * attackMSS)
				v.receive(v.rcv, 0, ack)
			case 0: // that was not needed
				v.receive(v.rcv, 0, ack, wire.Block{Left: ack.Add(-5 * attackMSS), Right: ack.Add(-4 * attackMSS)})
			}
		}
	}}, &honestAcks},
}

// measure gives what a packet costs.
func (l *load) measure(v *victim, r *rand.Rand) time.Duration {
	step := l.start(v, r)
	begin := threadTime()
	for range l.batch {
		step()
	}
	return (threadTime() - begin) / time.Duration(l.batch)
}

// threadTime gives the processor time that this thread has used.
func threadTime() time.Duration {
	const thread = 3 // CLOCK_THREAD_CPUTIME_ID; getrusage counts whole ticks
	var ts syscall.Timespec
	if _, _, e := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, thread, uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
		panic(e)
	}
	return time.Duration(ts.Nano())
}

// tcp.md 1.6: no packet of an attack costs more than three honest ones, whatever
// went before it. Attack and honest traffic are measured in turn, in processor time
// of this thread, so that what else the machine does meets both.
func TestAttackCost(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	r := random(t)
	var v victim
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const rounds, limit = 21, 3.0
	for i := range attacks {
		a := &attacks[i]
		for try := 0; ; try++ {
			var honest, attack []time.Duration
			runtime.GC()
			for range rounds {
				honest = append(honest, a.honest.measure(&v, r))
				attack = append(attack, a.measure(&v, r))
			}
			slices.Sort(honest)
			slices.Sort(attack)
			h, b := honest[rounds/2], attack[rounds/2]
			t.Logf("%-32s %6v a packet, %-12s %6v: %.1f times", a.name, b, a.honest.name, h, float64(b)/float64(h))
			if float64(b) <= limit*float64(h) {
				break
			}
			if try == 2 { // a busy machine may spoil one or two
				t.Errorf("%s costs more than %v times as much as %s", a.name, limit, a.honest.name)
				break
			}
		}
	}
}

// BenchmarkAttack is the cost of one packet, honest and not.
func BenchmarkAttack(b *testing.B) {
	loads := []*load{&honestData, &honestAcks}
	for i := range attacks {
		loads = append(loads, &attacks[i].load)
	}
	for _, l := range loads {
		b.Run(l.name, func(b *testing.B) {
			var v victim
			r := random(b)
			var step func()
			left := 0
			b.ReportAllocs()
			for b.Loop() {
				if left == 0 {
					b.StopTimer()
					step, left = l.start(&v, r), l.batch
					b.StartTimer()
				}
				step()
				left--
			}
		})
	}
}
