package terminator

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"accd/splice"
	"accd/tcpstack"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// transfer is a download between two endpoints that never lose anything: the
// server sends superpackets as far as the window allows, the client acknowledges
// each frame it gets.
type transfer struct {
	*box
	name     wire.Tuple
	offload  bool
	nxt, una int // bytes sent by the server, and acknowledged to it
	edge     int // the right edge it was given
	got      int // bytes the client has
	ackedBy  int // by how much the server was acknowledged ahead of the client
	check    bool
	paused   bool // the server sends nothing
	deaf     bool // the client neither reads nor answers
	running  bool // the shards make turns by themselves
	scratch  []byte
	frame    link.Frame
	view     wire.View
	out      int // frames towards the client
}

const segment = 1448

func pattern(b []byte, off int) {
	for i := range b {
		b[i] = byte((off+i)*7) ^ byte((off+i)>>8)
	}
}

func newTransfer(b *box, name wire.Tuple, offload bool) *transfer {
	b.handshake(0, name)
	return &transfer{box: b, name: name, offload: offload, edge: 65535, scratch: make([]byte, 66000)}
}

// build writes a frame of the test into scratch; payload is there already.
func (x *transfer) build(tuple wire.Tuple, net splice.Network, seq, ack uint32, window uint16, opts *wire.Options, payload int) (frame []byte, l4 int) {
	h := wire.Header{
		DstMAC: neighbourMAC(net), Tuple: tuple, TTL: 62, Seq: wire.SeqOf(seq), Ack: wire.SeqOf(ack),
		Flags: wire.ACK, Window: window, Options: opts, PayloadLen: payload,
	}
	n, l4 := h.Put(x.scratch)
	return x.scratch[:n+payload], l4
}

// step lets each endpoint and the shard act once.
func (x *transfer) step() {
	x.t.Helper()
	size := segment
	if x.offload {
		size *= 10
	}
	for !x.paused && x.nxt+size <= x.edge {
		head := wire.EthLen + wire.HeadersLen(x.name.Is4()) + 12
		pattern(x.scratch[head:head+size], x.nxt)
		f, l4 := x.build(x.name.Reverse(), splice.WAN, 5001+uint32(x.nxt), 1001, 512, &serverTS, size)
		vh := wire.VirtioHeader{}
		if x.offload {
			vh = wire.VirtioHeader{Flags: wire.VirtioNeedsCsum, GSOType: wire.VirtioGSOTCPv4, GSOSize: segment, HdrLen: uint16(head), CsumStart: uint16(l4), CsumOffset: 16}
			if !x.name.Is4() {
				vh.GSOType = wire.VirtioGSOTCPv6
			}
		} else {
			wire.FinishChecksum(f[:head], l4, [][]byte{f[head:]})
		}
		x.put(0, splice.Server, vh, f)
		x.nxt += size
	}
	if !x.running {
		x.now = x.now.Add(50 * time.Microsecond)
		for x.term.shards[0].guarded(x.now) == x.now {
		}
	}
	for {
		ok, err := x.ends[0][splice.Server].Recv(&x.pool, &x.frame)
		if err != nil {
			x.t.Fatal(err)
		}
		if !ok {
			break
		}
		x.view.Parse(x.frame.Bytes)
		x.una = int(x.view.Ack().Uint32() - 5001)
		x.edge = max(x.edge, x.una+int(x.view.Window())<<7)
		x.ackedBy = max(x.ackedBy, x.una-x.got)
	}
	for !x.deaf {
		ok, err := x.ends[0][splice.Client].Recv(&x.pool, &x.frame)
		if err != nil {
			x.t.Fatal(err)
		}
		if !ok {
			break
		}
		x.out++
		x.receive()
	}
}

// receive is the client's.
func (x *transfer) receive() {
	v := &x.view
	if v.Parse(x.frame.Bytes) != wire.KindTCP || v.Tuple() != x.name.Reverse() {
		x.t.Fatalf("the client got a foreign frame: % x", x.frame.Bytes)
	}
	if x.frame.Virtio.Flags&wire.VirtioNeedsCsum == 0 && !v.ChecksumOK() {
		x.t.Fatal("the client got a bad checksum")
	}
	if v.TTL() != 63 || [6]byte(v.Frame) != macs[splice.Client] {
		x.t.Fatalf("TTL %d, destination % x", v.TTL(), v.Frame[:6])
	}
	if v.Flags().Has(wire.RST) {
		x.t.Fatal("the client was reset")
	}
	p := v.Payload()
	if len(p) == 0 {
		return
	}
	if max := int(x.frame.Virtio.GSOSize); max > segment || max == 0 && len(p) > segment {
		x.t.Fatalf("segments of %d bytes, payload %d", max, len(p))
	}
	if off := int(v.Seq().Uint32() - 5001); x.running && off+len(p) <= x.got {
		return // with a real clock it may be repeated
	} else if off != x.got {
		x.t.Fatalf("byte %d came, %d was next", off, x.got)
	}
	if x.check {
		want := x.scratch[:len(p)]
		pattern(want, x.got)
		if !bytes.Equal(p, want) {
			x.t.Fatalf("bytes from %d on differ", x.got)
		}
	}
	x.got += len(p)
	f, l4 := x.build(x.name, splice.LAN, 1001, 5001+uint32(x.got), 512<<2, &clientTS, 0)
	vh := wire.VirtioHeader{Flags: wire.VirtioNeedsCsum, CsumStart: uint16(l4), CsumOffset: 16}
	if !x.offload {
		vh = wire.VirtioHeader{}
		wire.FinishChecksum(f, l4, nil)
	}
	x.put(0, splice.Client, vh, f)
}

// run steps until the client has n bytes.
func (x *transfer) run(n int) {
	x.t.Helper()
	for steps := 0; x.got < n; steps++ {
		if steps > 200_000 {
			x.t.Fatalf("stuck: %d of %d bytes; sent %d, acknowledged %d, edge %d", x.got, n, x.nxt, x.una, x.edge)
		}
		x.step()
	}
}

// settle lets everything come to rest, and fails unless accd gives it back.
func (x *transfer) settle() {
	x.t.Helper()
	x.paused = true
	for range 4000 {
		x.step()
	}
	s := x.term.shards[0]
	if fl := s.attend(&x.name); fl.State() != splice.OnWire || s.active != 0 || s.pool.InUse() != 0 {
		x.t.Fatalf("at rest the flow is in %v, %d active, %d bytes in use", fl.State(), s.active, s.pool.InUse())
	}
	if x.got != x.nxt || x.una != x.nxt {
		x.t.Fatalf("of %d bytes the client has %d, %d are acknowledged", x.nxt, x.got, x.una)
	}
}

func TestTransferThroughCustody(t *testing.T) {
	for _, c := range []struct {
		name    string
		tuple   wire.Tuple
		offload bool
	}{{"IPv4, superpackets", web4, true}, {"IPv6, superpackets", web6, true}, {"IPv4, plain", web4, false}, {"IPv6, plain", web6, false}} {
		t.Run(c.name, func(t *testing.T) {
			b := newBoxOn(t, link.Caps{Offload: c.offload, MTU: 65521}, 1, func(cfg *Config) {
				cfg.LedgerMem = make([]byte, splice.LedgerSize(16))
			})
			x := newTransfer(b, c.tuple, c.offload)
			x.check = true
			x.run(8 << 20)
			if x.ackedBy == 0 {
				t.Error("the server was never acknowledged before the client")
			}
			x.settle()
			st := &Status{Passed: map[string]uint64{}, Dropped: map[string]uint64{}, Reasons: map[string]uint64{}, Rules: map[string]int{}}
			b.term.shards[0].addTo(st)
			if float64(st.TakenBytes.ToClient) < .95*float64(x.got) || st.Entered == 0 || st.Entered != st.Exited || st.HeldBytes != 0 {
				t.Errorf("%d bytes: %+v", x.got, st)
			}
			if c.offload && x.out > x.got/segment/2 {
				t.Errorf("%d frames for %d bytes: no superpackets", x.out, x.got)
			}
			// Back on the wire, and into custody again.
			x.paused = false
			x.run(x.got + 1<<20)
			x.settle()
		})
	}
}

// custody.md, Drain: packets pass, what is held is delivered.
func TestDrainInMidTransfer(t *testing.T) {
	b := newBox(t, 1)
	x := newTransfer(b, web4, true)
	x.check = true
	x.run(1 << 20)
	s := b.term.shards[0]
	s.ask((*shard).drain)
	x.run(4 << 20) // natively
	x.settle()
	if s.count.reasons[Stopping] != 0 {
		t.Errorf("packets of the flow passed as strangers")
	}
	select {
	case <-s.quiet:
	default:
		t.Error("the shard does not say that it holds nothing")
	}
}

// custody.md, Drain: at the deadline of a stop, flows that still hold bytes are
// reset on both sides.
func TestKillResetsBothSides(t *testing.T) {
	b := newBox(t, 1)
	x := newTransfer(b, web4, true)
	x.run(1 << 20)
	x.deaf = true
	for range 100 {
		x.step()
	}
	s := b.term.shards[0]
	held := s.attend(&web4).Held()
	if held[splice.Client] == 0 {
		t.Fatal("nothing is held towards a client that does not read")
	}
	x.take(0)
	s.ask((*shard).drain)
	b.turn()
	x.take(0)
	killed := 0
	s.ask(func(s *shard) { killed = s.kill() })
	b.turn()
	var resets [2]int
	for _, g := range b.take(0) {
		if g.view.Flags().Has(wire.RST) {
			resets[g.side]++
			// RFC 5961, 3.2: exactly the next byte the endpoint expects.
			if next := uint32(5001 + x.got); g.side == splice.Client && x.got > 0 && g.view.Seq().Uint32()-next > uint32(held[splice.Client]) {
				t.Errorf("RST towards the client at %v, it has everything before %d", g.view.Seq(), next)
			}
		}
	}
	if killed != 1 || resets[0] == 0 || resets[1] == 0 {
		t.Errorf("%d killed, resets %v", killed, resets)
	}
	b.pass(5 * time.Second)
	if s.active != 0 || s.pool.InUse() != 0 || s.flows.len() != 0 {
		t.Errorf("%d active, %d bytes in use, %d flows after the end", s.active, s.pool.InUse(), s.flows.len())
	}
}

// A panic in the middle of custody: the flow to blame is reset, the other drains.
func TestPanicInCustody(t *testing.T) {
	b := newBox(t, 1)
	x := newTransfer(b, web4, true)
	b.handshake(0, web6)
	x.check = true
	x.run(1 << 20)
	s := b.term.shards[0]
	s.ask(func(s *shard) {
		s.current = s.attend(&web6)
		panic("made by the test")
	})
	x.run(3 << 20)
	x.settle()
	if s.count.panics != 1 || s.attend(&web6) != nil || s.custody.By[splice.Restart] == 0 {
		t.Errorf("%d panics, drains %d", s.count.panics, s.custody.By[splice.Restart])
	}
}

// A fragment of a flow in custody drains it and passes; one whose number does not
// fit only passes.
func TestOddPacketDrains(t *testing.T) {
	for _, c := range []struct {
		name   string
		seq    func(*tcpstack.Conn) wire.Seq
		drains uint64
	}{
		{"beyond the window", func(leg *tcpstack.Conn) wire.Seq { return leg.RcvEdge().Add(1) }, 0},
		{"long before it", func(leg *tcpstack.Conn) wire.Seq { return leg.RcvNxt().Add(-1 << 20) }, 0},
		{"next", (*tcpstack.Conn).RcvNxt, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, 1)
			x := newTransfer(b, web4, true)
			x.run(1 << 20)
			shard := b.term.shards[0]
			x.paused = true
			if shard.active != 1 {
				t.Fatal("not in custody")
			}
			_, leg := shard.attend(&web4).Legs()
			f := packet{tuple: web4.Reverse(), flags: wire.ACK, seq: c.seq(leg).Uint32(), ack: 1001, payload: []byte("frag"), net: splice.WAN}.frame()
			f[20] |= 0x20
			sum := f[24:26]
			sum[0], sum[1] = 0, 0
			binary.BigEndian.PutUint16(sum, ^wire.Fold(wire.Sum(f[14:34], 0)))
			b.put(0, splice.Server, wire.VirtioHeader{}, f)
			b.turn()
			passed := false
			for _, g := range b.take(0) {
				passed = passed || g.view.Kind == wire.KindFragment
			}
			if n := shard.custody.By[splice.Fragment]; !passed || n != c.drains {
				t.Errorf("passed %v, drains %d, want %d", passed, n, c.drains)
			}
		})
	}
}

// A new connection of the same addresses and ports replaces a dead one.
func TestPortReuse(t *testing.T) {
	b := newBox(t, 1)
	b.handshake(0, web4)
	b.handshakeAt(0, web4, 777_000)
	s := b.term.shards[0]
	if s.flows.len() != 1 || s.count.replaced != 1 || s.count.flows != 2 || b.term.flows.Load() != 1 {
		t.Errorf("%d flows, %d replaced, %d made", s.flows.len(), s.count.replaced, s.count.flows)
	}
}

// BenchmarkCustody moves superpackets through one shard, queues in memory and
// endpoints included.
func BenchmarkCustody(b *testing.B) {
	x := newTransfer(newBox(b, 1), web4, true)
	x.run(64 << 20)
	start := x.got
	b.ReportAllocs()
	for b.Loop() {
		x.step()
	}
	b.SetBytes(int64((x.got - start) / max(1, b.N)))
}
