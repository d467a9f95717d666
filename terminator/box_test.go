package terminator

import (
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"accd/policy"
	"accd/splice"
	"accd/tcpstack/buf"
	"accd/tcpstack/mono"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

const config = `
version: 1
steering: { mode: router }
sides:
  wan: { interfaces: [eth0] }
  lan: { interfaces: [eth1] }
limits: { flows: 1000, memory: 64MiB, new_flows_per_second: 1000, per_client_opening: 100 }
rules:
  - { name: ssh, match: { port: [22] }, action: pass }
  - { name: rest, action: accelerate, wan: { congestion: bbr } }
`

func table(t testing.TB, src string) *policy.Table {
	t.Helper()
	p, problems := policy.Parse("test.yaml", []byte(src))
	if p == nil {
		t.Fatalf("test.yaml:\n%s", problems)
	}
	return p
}

// box is a terminator without goroutines, between two wires of which the test
// holds the ends; time passes when the test says so.
type box struct {
	t    testing.TB
	term *Terminator
	ends [][2]*link.Mem // by shard, by side: what the kernel would hold
	pool buf.Pool
	now  mono.Time
}

var macs = [2][6]byte{{2, 0, 0, 0, 0, 0xa0}, {2, 0, 0, 0, 0, 0xa1}}

type change func(*Config)

func newBox(t testing.TB, shards int, changes ...change) *box {
	t.Helper()
	return newBoxOn(t, link.Caps{Offload: true, MTU: 65521}, shards, changes...)
}

func newBoxOn(t testing.TB, caps link.Caps, shards int, changes ...change) *box {
	t.Helper()
	b := &box{t: t, now: mono.Time(time.Hour)}
	cfg := Config{Policy: table(t, config), Log: zaptest.NewLogger(t)}
	for range shards {
		var ends [2]*link.Mem
		for side := range ends {
			inner, outer := link.NewMem(caps)
			ends[side] = outer
			cfg.Taps[side].Queues = append(cfg.Taps[side].Queues, inner)
			cfg.Taps[side].MAC = macs[side]
			t.Cleanup(func() { inner.Close(); outer.Close() })
		}
		b.ends = append(b.ends, ends)
	}
	for _, c := range changes {
		c(&cfg)
	}
	term, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	term.owners.seed = 1 // the same places in every run
	b.term = term
	for _, s := range term.shards {
		s.init(b.now)
		s.many = 0 // with few flows, too
		t.Cleanup(s.close)
	}
	return b
}

// turn gives every shard turns until none has more to do now.
func (b *box) turn() (next mono.Time) {
	for {
		next = mono.Never
		for _, s := range b.term.shards {
			next = min(next, s.guarded(b.now))
			if s.err != nil {
				b.t.Fatal(s.err)
			}
		}
		if next > b.now {
			return next
		}
	}
}

// pass lets time go by, with turns as often as the shards want them.
func (b *box) pass(d time.Duration) {
	for end := b.now.Add(d); ; {
		next := b.turn()
		if next > end {
			b.now = end
			b.turn()
			return
		}
		b.now = next
	}
}

func neighbourMAC(n splice.Network) [6]byte { return [6]byte{2, 0xac, 0xcd, 0, 0, byte(n)} }

// packet is a TCP packet of the test.
type packet struct {
	tuple   wire.Tuple
	flags   wire.Flags
	seq     uint32
	ack     uint32
	window  uint16
	ttl     uint8
	options *wire.Options
	payload []byte
	net     splice.Network
}

func (p packet) frame() []byte {
	h := wire.Header{
		DstMAC: neighbourMAC(p.net), SrcMAC: [6]byte{2, 0, 0, 0, 0, 0xee}, Tuple: p.tuple, TTL: p.ttl, Seq: wire.SeqOf(p.seq), Ack: wire.SeqOf(p.ack),
		Flags: p.flags, Window: p.window, Options: p.options, PayloadLen: len(p.payload),
	}
	if h.TTL == 0 {
		h.TTL = 62
	}
	b := make([]byte, wire.MaxHeader)
	n, l4 := h.Put(b)
	wire.FinishChecksum(b[:n], l4, [][]byte{p.payload})
	return append(b[:n], p.payload...)
}

// put hands the kernel's end of a tap a frame.
func (b *box) put(shard int, side splice.Side, vh wire.VirtioHeader, frame []byte) {
	b.t.Helper()
	if err := b.ends[shard][side].Send(&vh, frame, nil); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) send(side splice.Side, p packet) {
	b.t.Helper()
	b.put(0, side, wire.VirtioHeader{}, p.frame())
}

// got is a frame that came out of a tap.
type got struct {
	side   splice.Side
	virtio wire.VirtioHeader
	frame  []byte
	view   wire.View
}

// take gives what has come out of both taps of a shard since the last call.
func (b *box) take(shard int) (out []got) {
	b.t.Helper()
	var f link.Frame
	for side, end := range b.ends[shard] {
		for {
			ok, err := end.Recv(&b.pool, &f)
			if err != nil {
				b.t.Fatal(err)
			}
			if !ok {
				break
			}
			g := got{side: splice.Side(side), virtio: f.Virtio, frame: append([]byte(nil), f.Bytes...)}
			g.view.Parse(g.frame)
			out = append(out, g)
		}
	}
	return out
}

// want1 takes exactly one frame.
func (b *box) want1(shard int) got {
	b.t.Helper()
	b.turn()
	out := b.take(shard)
	if len(out) != 1 {
		b.t.Fatalf("%d frames came out, want 1", len(out))
	}
	return out[0]
}

// silence fails unless nothing comes out.
func (b *box) silence(shard int) {
	b.t.Helper()
	b.turn()
	if out := b.take(shard); len(out) != 0 {
		b.t.Fatalf("%d frames came out, want none; the first: % x", len(out), out[0].frame)
	}
}

func (b *box) count(shard int) *counters { return &b.term.shards[shard].count }

func (b *box) wantReason(r Reason, n uint64) {
	b.t.Helper()
	if got := b.count(0).reasons[r]; got != n {
		b.t.Errorf("%v is counted %d times, want %d", r, got, n)
	}
}

func tupleOf(client, server string) wire.Tuple {
	return wire.TupleOf(netip.MustParseAddrPort(client), netip.MustParseAddrPort(server))
}

var (
	web4 = tupleOf("10.1.0.7:40000", "192.0.2.9:80")
	web6 = tupleOf("[2001:db8::7]:40000", "[2001:db8:1::9]:80")
	ssh4 = tupleOf("10.1.0.7:40000", "192.0.2.9:22")
)

var (
	synOptions    = wire.Options{Set: wire.HasMSS | wire.HasSACKPermitted | wire.HasTS | wire.HasWScale, MSS: 1460, TSVal: 100, WScale: 7}
	synAckOptions = wire.Options{Set: wire.HasMSS | wire.HasSACKPermitted | wire.HasTS | wire.HasWScale, MSS: 1460, TSVal: 900, TSEcr: 100, WScale: 7}
	clientTS      = wire.Options{Set: wire.HasTS, TSVal: 101, TSEcr: 900}
	serverTS      = wire.Options{Set: wire.HasTS, TSVal: 901, TSEcr: 101}
)

// handshake opens a connection; client data begins at 1001, server data at 5001.
func (b *box) handshake(shard int, t wire.Tuple) {
	b.t.Helper()
	b.handshakeAt(shard, t, 1000)
}

// handshakeAt is handshake with another initial sequence number of the client.
func (b *box) handshakeAt(shard int, t wire.Tuple, isn uint32) {
	b.t.Helper()
	for _, p := range []struct {
		side splice.Side
		packet
	}{
		{splice.Client, packet{tuple: t, flags: wire.SYN, seq: isn, window: 65535, options: &synOptions, net: splice.LAN}},
		{splice.Server, packet{tuple: t.Reverse(), flags: wire.SYN | wire.ACK, seq: 5000, ack: isn + 1, window: 65535, options: &synAckOptions, net: splice.WAN}},
		{splice.Client, packet{tuple: t, flags: wire.ACK, seq: isn + 1, ack: 5001, window: 512, options: &clientTS, net: splice.LAN}},
	} {
		b.put(shard, p.side, wire.VirtioHeader{}, p.frame())
		if g := b.want1(shard); g.side != p.side.Other() || g.view.Flags() != p.flags {
			b.t.Fatalf("the handshake's %v came out as %v towards the %v", p.flags, g.view.Flags(), g.side)
		}
	}
}
