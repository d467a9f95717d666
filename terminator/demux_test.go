package terminator

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"accd/splice"
	"accd/tcpstack/wire"
	"accd/terminator/link"
)

// wantPassed fails unless g is frame in, towards the other side, with nothing
// changed but the destination MAC, the TTL and the IPv4 header's checksum.
func wantPassed(t *testing.T, from splice.Side, in []byte, g got) {
	t.Helper()
	if g.side != from.Other() {
		t.Errorf("passed towards the %v, came from the %v", g.side, from)
	}
	want := bytes.Clone(in)
	copy(want, macs[from.Other()][:])
	var v wire.View
	v.Parse(want)
	v.SetTTL(above(v.TTL()))
	if !bytes.Equal(g.frame, want) {
		t.Errorf("passed\n% x, want\n% x", g.frame, want)
	}
}

// A packet that accd does not own leaves unmodified through
// the other tap.
//
// proves: MUST-3 MUST-50
func TestForeignFramesPassUnmodified(t *testing.T) {
	tcp := packet{tuple: web4, flags: wire.ACK | wire.PSH, seq: 7, ack: 9, window: 1, payload: []byte("mid-stream"), options: &clientTS}.frame()
	tcp6 := packet{tuple: web6, flags: wire.ACK, seq: 7, ack: 9, payload: []byte("x")}.frame()
	edit := func(f []byte, at int, b ...byte) []byte {
		f = bytes.Clone(f)
		copy(f[at:], b)
		return f
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  Reason
	}{
		{"unknown flow", tcp, NoFlow},
		{"unknown flow, IPv6", tcp6, NoFlow},
		{"reset of an unknown flow", packet{tuple: web4, flags: wire.RST, seq: 7}.frame(), NoFlow},
		{"bad checksum", edit(tcp, len(tcp)-1, 'X'), BadChecksum},
		{"fragment", edit(tcp, 20, 0x20), Fragmented},
		{"IP options", edit(tcp, 14, 0x46), IPOptions},
		{"UDP", edit(tcp, 23, 17), NotTCP},
		{"impossible data offset", edit(tcp, 46, 0x10), Malformed},
		{"TTL 255", packet{tuple: web4, flags: wire.ACK, ttl: 255}.frame(), NoFlow},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, from := range []splice.Side{splice.Client, splice.Server} {
				b := newBox(t, 1)
				b.put(0, from, wire.VirtioHeader{}, c.frame)
				wantPassed(t, from, c.frame, b.want1(0))
				b.wantReason(c.want, 1)
				if b.term.shards[0].pool.InUse() != 0 {
					t.Error("bytes are kept")
				}
			}
		})
	}
}

// The host's own chatter would loop between the taps.
func TestFramesNotForTheNeighbourAreDropped(t *testing.T) {
	b := newBox(t, 1)
	f := packet{tuple: web4, flags: wire.ACK}.frame()
	for _, mac := range [][6]byte{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {1, 0, 0x5e, 0, 0, 1}, {0x33, 0x33, 0, 0, 0, 1}, macs[0], {2, 0xac, 0xcd, 0, 0, 3}} {
		copy(f, mac[:])
		b.put(0, splice.Client, wire.VirtioHeader{}, f)
	}
	b.silence(0)
	b.wantReason(NotForUs, 5)
	arp := bytes.Clone(f)
	m := neighbourMAC(splice.LAN)
	copy(arp, m[:])
	arp[12], arp[13] = 8, 6
	b.put(0, splice.Client, wire.VirtioHeader{}, arp)
	b.put(0, splice.Client, wire.VirtioHeader{}, arp[:20])
	b.put(0, splice.Client, wire.VirtioHeader{}, arp[:7])
	b.silence(0)
	b.wantReason(NotIP, 2)
	b.wantReason(NotForUs, 6)
}

// A superpacket passes as one write, with its virtio-net header.
func TestSuperpacketPassesWhole(t *testing.T) {
	b := newBox(t, 1)
	f := packet{tuple: web4, flags: wire.ACK, payload: make([]byte, 14480)}.frame()
	vh := wire.VirtioHeader{Flags: wire.VirtioNeedsCsum, GSOType: wire.VirtioGSOTCPv4, HdrLen: 54, GSOSize: 1448, CsumStart: 34, CsumOffset: 16}
	binary.BigEndian.PutUint16(f[50:], 0x1234) // partial: not to be looked at
	b.put(0, splice.Server, vh, f)
	g := b.want1(0)
	wantPassed(t, splice.Server, f, g)
	if g.virtio != vh {
		t.Errorf("virtio-net header %+v, want %+v", g.virtio, vh)
	}
	if c := b.count(0); c.in[splice.Server].Packets != 10 || c.in[splice.Server].Frames != 1 || c.out[splice.Client].Packets != 10 {
		t.Errorf("counted %+v in, %+v out; want 10 packets", c.in, c.out)
	}
}

// custody.md, Opening: the relayed MSS is clamped and AE is cleared.
func TestRelayedSYN(t *testing.T) {
	b := newBox(t, 1, func(c *Config) { c.MTU = [3]int{0, 9000, 1400} })
	for _, c := range []struct {
		tuple wire.Tuple
		mss   uint16
	}{{web4, 1360}, {web6, 1340}} {
		b.send(splice.Client, packet{tuple: c.tuple, flags: wire.SYN | wire.ECE | wire.CWR | wire.AE, seq: 1000, window: 65535, options: &synOptions, net: splice.LAN})
		g := b.want1(0)
		var o wire.Options
		o.Decode(g.view.OptionBytes())
		if o.MSS != c.mss || g.view.Flags() != wire.SYN|wire.ECE|wire.CWR || o.WScale != 7 || !o.Has(wire.HasSACKPermitted) || !g.view.ChecksumOK() || g.view.TTL() != 63 {
			t.Errorf("%v: relayed SYN: flags %v, options %+v, TTL %d", c.tuple, g.view.Flags(), o, g.view.TTL())
		}
	}
	b.wantReason(Opening, 2)
}

// custody.md, Opening: where the rule says jumbo the MSS is clamped to what the leg
// carries that the SYN goes out on.
func TestRelayedSYNJumbo(t *testing.T) {
	b := newBox(t, 1, func(c *Config) {
		c.MTU = [3]int{0, 9000, 1400}
		c.Policy = table(t, strings.Replace(config, "action: accelerate,", "action: accelerate, jumbo: true,", 1))
	})
	offer := synOptions
	offer.MSS = 8960
	answer := synAckOptions
	answer.MSS = 8960
	want := func(mss uint16) {
		t.Helper()
		g := b.want1(0)
		var o wire.Options
		o.Decode(g.view.OptionBytes())
		if o.MSS != mss || !g.view.ChecksumOK() {
			t.Errorf("the %v's MSS became %d, want %d", g.side.Other(), o.MSS, mss)
		}
	}
	b.send(splice.Client, packet{tuple: web4, flags: wire.SYN, seq: 1000, window: 65535, options: &offer, net: splice.LAN})
	want(1360)
	b.send(splice.Server, packet{tuple: web4.Reverse(), flags: wire.SYN | wire.ACK, seq: 5000, ack: 1001, window: 65535, options: &answer, net: splice.WAN})
	want(8960)
	b.send(splice.Client, packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS, net: splice.LAN})
	b.want1(0)
	fl := b.term.shards[0].attend(&web4)
	if fl == nil {
		t.Fatal("no flow")
	}
	if l := fl.Terms().Leg; l[splice.Client].MTU != 9000 || l[splice.Server].MTU != 1400 {
		t.Errorf("the legs' MTUs are %d and %d", l[splice.Client].MTU, l[splice.Server].MTU)
	}
}

func TestRuleThatPassesLeavesTheSYNAlone(t *testing.T) {
	b := newBox(t, 1)
	p := packet{tuple: ssh4, flags: wire.SYN | wire.ECE | wire.CWR, seq: 1000, window: 65535, options: &wire.Options{Set: wire.HasMSS, MSS: 8960}, net: splice.LAN}
	b.send(splice.Client, p)
	wantPassed(t, splice.Client, p.frame(), b.want1(0))
	b.wantReason(Rule, 1)
}

func TestHandshakeMakesAFlow(t *testing.T) {
	b := newBox(t, 1)
	for _, tuple := range []wire.Tuple{web4, web6} {
		b.handshake(0, tuple)
		fl := b.term.shards[0].attend(&tuple)
		if fl == nil {
			t.Fatalf("%v: no flow", tuple)
		}
		if fl.Terms().Rule != "rest" || fl.State() != splice.OnWire {
			t.Errorf("%v: rule %q, state %v", tuple, fl.Terms().Rule, fl.State())
		}
		if r := fl.Record(); r.Dir[splice.Client].Net != splice.LAN || r.Dir[splice.Server].Net != splice.WAN || r.Dir[splice.Client].TTL != 63 {
			t.Errorf("%v: record %+v", tuple, r)
		}
	}
	if n := b.term.flows.Load(); n != 2 {
		t.Errorf("%d flows are counted", n)
	}
}

// MPTCP and MD5 flows pass untouched: options accd does not share.
func TestFlowsWithForeignOptionsPass(t *testing.T) {
	for name, option := range map[string][]byte{
		"MPTCP": {30, 12, 0, 0x81, 1, 2, 3, 4, 5, 6, 7, 8},
		"MD5":   {19, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, 1)
			raw := func(p packet) []byte {
				p.payload = append(bytes.Clone(option), p.payload...)
				f := p.frame()
				// What was payload becomes options.
				f[46] += byte(len(option)/4) << 4
				var v wire.View
				v.Parse(f)
				f[50], f[51] = 0, 0
				h := append(append([]byte{}, f[26:34]...), 0, 6, 0, byte(len(f)-34))
				binary.BigEndian.PutUint16(f[50:], ^wire.Fold(wire.Sum(f[34:], wire.Sum(h, 0))))
				if !v.ChecksumOK() {
					t.Fatal("the test's own frame is wrong")
				}
				return f
			}
			for _, p := range []struct {
				from splice.Side
				packet
			}{
				{splice.Client, packet{tuple: web4, flags: wire.SYN, seq: 1000, window: 65535, net: splice.LAN}},
				{splice.Server, packet{tuple: web4.Reverse(), flags: wire.SYN | wire.ACK, seq: 5000, ack: 1001, window: 65535, net: splice.WAN}},
				{splice.Client, packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, net: splice.LAN}},
				{splice.Client, packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, net: splice.LAN, payload: []byte("data")}},
			} {
				f := raw(p.packet)
				b.put(0, p.from, wire.VirtioHeader{}, f)
				wantPassed(t, p.from, f, b.want1(0))
			}
			if b.term.shards[0].flows.len() != 0 {
				t.Error("a flow was made")
			}
		})
	}
}

func TestFullTablePasses(t *testing.T) {
	b := newBox(t, 1, func(c *Config) { c.Policy = table(t, strings.Replace(config, "flows: 1000", "flows: 1", 1)) })
	b.handshake(0, web4)
	b.handshake(0, web6)
	b.wantReason(TableFull, 1)
	p := packet{tuple: web6, flags: wire.ACK, seq: 1001, ack: 5001, payload: []byte("x"), options: &clientTS}
	b.send(splice.Client, p)
	wantPassed(t, splice.Client, p.frame(), b.want1(0))
	if b.term.flows.Load() != 1 {
		t.Errorf("%d flows are counted", b.term.flows.Load())
	}
}

func TestTooManyNewFlowsPass(t *testing.T) {
	b := newBox(t, 1, func(c *Config) {
		c.Policy = table(t, strings.Replace(config, "new_flows_per_second: 1000", "new_flows_per_second: 1", 1))
	})
	b.pass(2e9)
	b.handshake(0, web4)
	b.handshake(0, web6)
	b.wantReason(TooManyNew, 1)
	b.pass(1e9)
	b.handshake(0, tupleOf("10.1.0.8:1", "192.0.2.9:80"))
	b.wantReason(TooManyNew, 1)
}

func TestOneClientCannotFillTheOpening(t *testing.T) {
	b := newBox(t, 1)
	for port := range uint16(200) {
		tuple := web4
		tuple.SrcPort = 1000 + port
		b.send(splice.Client, packet{tuple: tuple, flags: wire.SYN, seq: 1000, options: &synOptions})
		b.want1(0)
	}
	b.wantReason(Opening, 100)
	b.wantReason(ClientOpening, 100)
	b.handshake(0, web6) // another client
	b.pass(3 * openingTime)
	b.handshake(0, web4)
	if b.term.shards[0].attend(&web4) == nil {
		t.Error("the client is still locked out")
	}
}

// ---- ICMP and handoff ----

// tooBig is what a router says of a packet of tuple.
func tooBig(tuple wire.Tuple, seq uint32, mtu uint16) []byte {
	quote := packet{tuple: tuple, flags: wire.ACK, seq: seq}.frame()[wire.EthLen:][:28]
	f := packet{tuple: tuple.Reverse()}.frame()[:34]
	m := neighbourMAC(splice.WAN)
	copy(f, m[:])
	msg := append([]byte{3, 4, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}, quote...)
	binary.BigEndian.PutUint16(msg[2:], ^wire.Fold(wire.Sum(msg, 0)))
	f[23] = wire.ProtoICMP
	binary.BigEndian.PutUint16(f[16:], uint16(20+len(msg)))
	f[24], f[25] = 0, 0
	binary.BigEndian.PutUint16(f[24:], ^wire.Fold(wire.Sum(f[14:34], 0)))
	return append(f, msg...)
}

func TestICMPErrorReachesTheShardOfItsFlow(t *testing.T) {
	b := newBox(t, 2)
	b.handshake(1, web4)
	// About a packet towards the server, and about one towards the client.
	for i, tuple := range []wire.Tuple{web4, web4.Reverse()} {
		b.put(0, splice.Server, wire.VirtioHeader{}, tooBig(tuple, 1001, 1300))
		b.turn()
		if n := b.count(0).handoff.icmp; n != uint64(i+1) {
			t.Errorf("%d ICMP errors handed over, want %d", n, i+1)
		}
		// Nothing of accd's own is in flight: it passes, from there.
		out := b.take(1)
		if len(out) != 1 || out[0].side != splice.Client || len(b.take(0)) != 0 {
			t.Fatalf("%d frames from the flow's shard", len(out))
		}
	}
	b.put(0, splice.Server, wire.VirtioHeader{}, tooBig(web6asweb4, 1, 1300))
	b.want1(0)
	b.wantReason(ICMPError, 1)
}

var web6asweb4 = tupleOf("10.1.0.99:40000", "192.0.2.9:80")

func TestSegmentOnTheWrongShardReachesItsFlow(t *testing.T) {
	b := newBox(t, 2)
	b.handshake(1, web4)
	p := packet{tuple: web4.Reverse(), flags: wire.ACK, seq: 5001, ack: 1001, window: 512, options: &serverTS, net: splice.WAN}
	b.put(0, splice.Server, wire.VirtioHeader{}, p.frame())
	b.turn()
	out := b.take(1)
	if len(out) != 1 || b.count(0).handoff.tcp != 1 {
		t.Fatalf("%d frames, %d handed over", len(out), b.count(0).handoff.tcp)
	}
	wantPassed(t, splice.Server, p.frame(), out[0])
}

// A handshake whose place among the owners another shard's flow has stays where
// it is.
func TestHandshakeAtATakenPlace(t *testing.T) {
	b := newBox(t, 2)
	b.term.owners.mask = 0 // one place for all
	b.handshake(1, web4)
	b.handshake(0, web6asweb4)
	if n := b.count(0).handoff.tcp; n != 0 || b.term.shards[0].attend(&web6asweb4) == nil {
		t.Errorf("%d segments handed over, flow %v", n, b.term.shards[0].attend(&web6asweb4))
	}
}

func TestFullInboxDrops(t *testing.T) {
	b := newBox(t, 2)
	b.handshake(1, web4)
	p := packet{tuple: web4, flags: wire.ACK, seq: 1001, ack: 5001, window: 512, options: &clientTS}
	f := &link.Frame{Bytes: p.frame()}
	for range inboxSize + 3 {
		b.term.shards[0].hand(b.term.shards[1], splice.Client, f)
	}
	if n := b.count(0).reasons[HandoffFull]; n != 3 {
		t.Errorf("%d dropped, want 3", n)
	}
	b.turn()
	if n := len(b.take(1)); n != inboxSize {
		t.Errorf("%d came through", n)
	}
}

// A client that resets a connection may use its port again at once. Whoever had the old
// connection hears of its end first, even if that is accd's to say: else it would take
// the SYN for a stray one of the old, and the client would wait for a second to repeat it.
func TestResetBeforeNewSYN(t *testing.T) {
	b := newBox(t, 1)
	b.handshake(0, web4)
	b.send(splice.Server, packet{tuple: web4.Reverse(), flags: wire.ACK | wire.PSH, seq: 5001, ack: 1001, window: 512, options: &serverTS, payload: []byte("hello"), net: splice.WAN})
	b.turn()
	b.take(0)
	for _, p := range []packet{
		{flags: wire.ACK, seq: 1001, ack: 5006, window: 512, options: &clientTS},
		{flags: wire.RST | wire.ACK, seq: 1001, ack: 5006, window: 512, options: &clientTS},
		{flags: wire.SYN, seq: 900_000, window: 65535, options: &synOptions},
	} {
		p.tuple, p.net = web4, splice.LAN
		b.send(splice.Client, p)
	}
	b.turn()
	var flags []wire.Flags
	for _, g := range b.take(0) {
		if f := g.view.Flags(); f.Any(wire.RST | wire.SYN) {
			flags = append(flags, f)
		}
	}
	if len(flags) != 2 || !flags[0].Has(wire.RST) || flags[1] != wire.SYN {
		t.Errorf("out came %v, want the reset and then the SYN", flags)
	}
}
